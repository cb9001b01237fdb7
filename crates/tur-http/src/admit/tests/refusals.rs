//! Answers without a body that could be of the file: 416, refusals and redirects.

use super::*;

#[test]
fn unsatisfiable_answers() {
    let file = file();
    let unsized_file = file_with(|file| file.total = None);
    let empty = file_with(|file| file.total = Some(0));
    let at_end = |total| Refusal::AtEnd { total };
    let changed = |text: &str| Refusal::Changed(text.into());
    for (total, start, identity, told) in [
        (Some(0), 0, None, at_end(0)),
        (Some(0), 0, Some(&unsized_file), at_end(0)),
        (Some(0), 0, Some(&empty), at_end(0)),
        (None, 0, Some(&empty), at_end(0)),
        (Some(0), 0, Some(&file), changed("size 100 -> 0")),
        (Some(100), 100, Some(&file), at_end(100)),
        (Some(100), 100, Some(&unsized_file), at_end(100)),
        (None, 100, Some(&file), at_end(100)),
        (Some(90), 100, Some(&file), changed("size 100 -> 90")),
        (Some(110), 100, Some(&file), changed("size 100 -> 110")),
        (Some(90), 100, Some(&unsized_file), Refusal::Unsatisfiable),
        (Some(90), 100, None, at_end(90)),
        (Some(100), 100, None, at_end(100)),
        (Some(100), 40, Some(&file), Refusal::Unsatisfiable),
        (Some(100), 0, None, Refusal::Unsatisfiable),
        (None, 40, Some(&file), Refusal::Unsatisfiable),
        (None, 0, None, Refusal::Unsatisfiable),
        (None, 100, Some(&unsized_file), Refusal::Unsatisfiable),
    ] {
        check(&Answer::Unsatisfiable { total }, start, identity, Err(told));
    }
}

#[test]
fn answers_that_are_no_content() {
    let moved = Answer::Moved {
        location: "/b".into(),
        asides: Asides::default(),
    };
    let fault = admit(&moved, &asked(0, None)).unwrap_err();
    assert_eq!(fault.kind(), Kind::Protocol);
    let refused = Answer::Refused {
        status: 404,
        reason: "Not Found".into(),
        retry_after: None,
        challenge: false,
        asides: Asides::default(),
    };
    let fault = admit(&refused, &asked(0, Some(&file()))).unwrap_err();
    assert_eq!(Some(fault), refused.fault());
}
