//! The admission table, row by row, and the properties that hold for all rows.

mod refusals;
mod terms;

use super::*;
use proptest::prelude::*;
use tur_core::{Asides, Kind, LastModified, Wall};

const TOTAL: u64 = 100;

fn tag(text: &str) -> Option<ETag> {
    let (weak, opaque) = text
        .strip_prefix("W/")
        .map_or((false, text), |rest| (true, rest));
    Some(ETag {
        weak,
        opaque: format!("\"{opaque}\"").into_bytes(),
    })
}

fn modified(secs: i64) -> Option<LastModified> {
    Some(LastModified {
        text: format!("date {secs}"),
        at: Wall::from_unix_secs(secs),
        strong: true,
    })
}

/// The facts of the file in these tests: a strong tag and a date.
fn facts() -> Representation {
    Representation {
        etag: tag("a"),
        last_modified: modified(1),
        media_type: Some("application/zip".into()),
        ..Representation::default()
    }
}

fn file() -> Identity {
    identity_after(None, &facts(), Some(TOTAL))
}

fn facts_with(change: impl FnOnce(&mut Representation)) -> Representation {
    let mut facts = facts();
    change(&mut facts);
    facts
}

fn file_with(change: impl FnOnce(&mut Identity)) -> Identity {
    let mut file = file();
    change(&mut file);
    file
}

fn partial_of(
    start: u64,
    end: u64,
    total: impl Into<Option<u64>>,
    representation: Representation,
) -> Answer {
    Answer::Partial {
        range: Some(ContentRange {
            range: ByteRange::new(start, end),
            total: total.into(),
        }),
        content: Content {
            representation,
            body: BodyKind::Length(end - start),
            asides: Asides::default(),
        },
    }
}

fn whole_of(body: BodyKind, representation: Representation) -> Answer {
    Answer::Whole(Content {
        representation,
        body,
        asides: Asides::default(),
    })
}

fn asked(start: u64, identity: Option<&Identity>) -> Asked<'_> {
    Asked {
        ask: Ask::Range(ByteRange::from(start)),
        if_range: true,
        identity,
        terms: Terms::NONE,
    }
}

/// Where an answer to `bytes=start-` is admitted to, or why not.
fn verdict(answer: &Answer, start: u64, identity: Option<&Identity>) -> Result<ByteRange, Refusal> {
    match admit(answer, &asked(start, identity)) {
        Ok(admitted) => Ok(admitted.place()),
        Err(Fault::NotAdmitted(refusal)) => Err(refusal),
        Err(other) => panic!("{other:?}"),
    }
}

#[track_caller]
fn check(
    answer: &Answer,
    start: u64,
    identity: Option<&Identity>,
    told: Result<(u64, u64), Refusal>,
) {
    let told = told.map(|(start, end)| ByteRange::new(start, end));
    assert_eq!(verdict(answer, start, identity), told, "{answer:?}");
}

fn changed_text(text: &str) -> Result<(u64, u64), Refusal> {
    Err(Refusal::Changed(text.into()))
}

#[test]
fn the_first_answer_fixes_the_identity() {
    let answer = partial_of(0, 60, TOTAL, facts());
    let admitted = admit(&answer, &asked(0, None)).unwrap();
    assert_eq!(admitted.identity(), &file());
    assert_eq!(admitted.place(), ByteRange::new(0, 60));
    assert_eq!(admitted.body(), BodyKind::Length(60));
    assert!(admitted.is_partial());

    let answer = whole_of(BodyKind::Length(TOTAL), facts());
    let admitted = admit(&answer, &asked(0, None)).unwrap();
    assert_eq!(admitted.place(), ByteRange::new(0, TOTAL));
    assert!(!admitted.is_partial());
    assert_eq!(admitted.into_identity(), file());
}

#[test]
fn an_unknown_length_is_an_open_place() {
    for body in [BodyKind::Marked, BodyKind::UntilClose] {
        let admitted = admit(&whole_of(body, facts()), &asked(0, None)).unwrap();
        assert!(admitted.place().is_open());
        assert_eq!(admitted.identity().total, None);
        assert_eq!(admitted.body(), body);
    }
    // Known before: the body may not reach beyond it.
    check(
        &whole_of(BodyKind::Marked, facts()),
        0,
        Some(&file()),
        Ok((0, TOTAL)),
    );
}

#[test]
fn a_total_that_becomes_known_is_filled_in_and_nothing_else() {
    let known = file_with(|file| file.total = None);
    let answer = partial_of(
        10,
        20,
        TOTAL,
        facts_with(|facts| facts.last_modified = modified(9)),
    );
    let admitted = admit(&answer, &asked(10, Some(&known))).unwrap();
    assert_eq!(admitted.identity(), &file());
    let answer = partial_of(10, 20, None, facts());
    let admitted = admit(&answer, &asked(10, Some(&known))).unwrap();
    assert_eq!(admitted.identity(), &known);
}

#[test]
fn partial_answers_are_placed_by_their_range() {
    let file = file();
    let known = Some(&file);
    check(
        &partial_of(40, 100, TOTAL, facts()),
        40,
        known,
        Ok((40, 100)),
    );
    check(&partial_of(40, 50, TOTAL, facts()), 40, known, Ok((40, 50)));
    check(&partial_of(40, 50, None, facts()), 40, known, Ok((40, 50)));
    for (start, end) in [(0, 100), (39, 100), (41, 100)] {
        let refusal = Refusal::Misplaced {
            asked: ByteRange::from(40),
            got: ByteRange::new(start, end),
        };
        check(
            &partial_of(start, end, TOTAL, facts()),
            40,
            known,
            Err(refusal),
        );
    }
    // Longer than a bounded range that was asked for.
    let asked = Asked {
        ask: Ask::Range(ByteRange::new(40, 50)),
        ..asked(0, known)
    };
    let admitted = admit(&partial_of(40, 100, TOTAL, facts()), &asked).unwrap();
    assert_eq!(admitted.place(), ByteRange::new(40, 100));
}

#[test]
fn partial_answers_that_contradict_themselves() {
    let mut answer = partial_of(40, 100, TOTAL, facts());
    let Answer::Partial { range, content } = &mut answer else {
        unreachable!()
    };
    for length in [59, 61] {
        content.body = BodyKind::Length(length);
        let text = format!("Content-Range has 60 bytes, Content-Length {length}");
        let answer = Answer::Partial {
            range: *range,
            content: content.clone(),
        };
        let told = Err(Refusal::Contradiction(text));
        check(&answer, 40, Some(&file()), told);
    }
    content.body = BodyKind::Marked;
    *range = None;
    check(&answer, 40, Some(&file()), Err(Refusal::NoContentRange));
    check(&answer, 0, None, Err(Refusal::NoContentRange));
    // Never made by `read`, but a caller may build it.
    for (start, end, total) in [
        (40, 40, None),
        (40, ByteRange::OPEN, None),
        (40, 60, Some(59)),
    ] {
        let answer = partial_of(start, end, total, facts());
        check(&answer, 40, None, Err(Refusal::NoContentRange));
    }
}

#[test]
fn another_representation_is_a_change() {
    type Change = fn(&mut Representation);
    let rows: [(Change, &str); 5] = [
        (|facts| facts.etag = tag("b"), "ETag \"a\" -> \"b\""),
        (|facts| facts.etag = tag("W/b"), "ETag \"a\" -> W/\"b\""),
        (
            |facts| facts.etag = tag(&"b".repeat(100)),
            &format!("ETag \"a\" -> \"{}…", "b".repeat(62)),
        ),
        (
            |facts| facts.etag = tag("\u{9b}"),
            "ETag \"a\" -> \"\\u{9b}\"",
        ),
        (
            |facts| facts.encoding = Some("gzip".into()),
            "Content-Encoding none -> gzip",
        ),
    ];
    let file = file();
    for (change, text) in rows {
        let facts = facts_with(change);
        let partial = partial_of(40, 100, TOTAL, facts.clone());
        check(&partial, 40, Some(&file), changed_text(text));
        let whole = whole_of(BodyKind::Length(TOTAL), facts);
        check(&whole, 40, Some(&file), changed_text(text));
        check(&whole, 0, Some(&file), changed_text(text));
    }
}

#[test]
fn another_size_is_a_change() {
    let file = file();
    let text = "size 100 -> 101";
    check(
        &partial_of(40, 100, 101, facts()),
        40,
        Some(&file),
        changed_text(text),
    );
    let whole = whole_of(BodyKind::Length(101), facts());
    check(&whole, 40, Some(&file), changed_text(text));
    check(&whole, 0, Some(&file), changed_text(text));
    let text = "size 100 -> at least 101";
    check(
        &partial_of(40, 101, None, facts()),
        40,
        Some(&file),
        changed_text(text),
    );
}

#[test]
fn dates_count_where_tags_do_not_decide() {
    let text = "Last-Modified date 1 -> date 2";
    let later = |facts: &mut Representation| facts.last_modified = modified(2);
    let tagged = partial_of(40, 100, TOTAL, facts_with(later));
    check(&tagged, 40, Some(&file()), Ok((40, 100)));
    let file_without = file_with(|file| file.etag = None);
    // A tag that comes up where there was none says nothing of what came before.
    let appeared = changed_text("ETag none -> \"a\"");
    check(&tagged, 40, Some(&file_without), appeared);
    let untagged = facts_with(|facts| {
        later(facts);
        facts.etag = None;
    });
    let answer = partial_of(40, 100, TOTAL, untagged.clone());
    check(&answer, 40, Some(&file_without), changed_text(text));
    check(&answer, 40, Some(&file()), changed_text(text));
    let answer = whole_of(BodyKind::Marked, untagged);
    check(&answer, 0, Some(&file_without), changed_text(text));
}

#[test]
fn tags_are_compared_with_their_strength() {
    let weak = file_with(|file| file.etag = tag("W/a"));
    let rows = [
        (&weak, "W/a", Ok((40, 100))),
        (&weak, "a", changed_text("ETag W/\"a\" -> \"a\"")),
        (&file(), "W/a", changed_text("ETag \"a\" -> W/\"a\"")),
    ];
    for (identity, text, told) in rows {
        let facts = facts_with(|facts| facts.etag = tag(text));
        let answer = partial_of(40, 100, TOTAL, facts);
        check(&answer, 40, Some(identity), told);
    }
}

#[test]
fn another_type_is_another_thing_unless_a_tag_says_otherwise() {
    let untagged = |media_type: &str| {
        facts_with(|facts| {
            facts.etag = None;
            facts.media_type = Some(media_type.to_string());
        })
    };
    let file_without = file_with(|file| file.etag = None);
    let image = partial_of(40, 100, TOTAL, untagged("image/png"));
    let text = "Content-Type application/zip -> image/png";
    check(&image, 40, Some(&file_without), changed_text(text));
    let page = partial_of(40, 100, TOTAL, untagged("text/html"));
    check(&page, 40, Some(&file_without), Err(Refusal::Page));
    let tagged = facts_with(|facts| facts.media_type = Some("image/png".to_string()));
    check(
        &partial_of(40, 100, TOTAL, tagged),
        40,
        Some(&file()),
        Ok((40, 100)),
    );
}

#[test]
fn a_validator_that_the_file_had_may_not_be_missing() {
    let untagged = facts_with(|facts| facts.etag = None);
    let undated = facts_with(|facts| facts.last_modified = None);
    let bare = facts_with(|facts| {
        facts.etag = None;
        facts.last_modified = None;
    });
    let file = file();
    let file_without = file_with(|file| file.etag = None);
    let file_with_nothing = file_with(|file| {
        file.etag = None;
        file.last_modified = None;
    });
    let missing = |what| Err(Refusal::ValidatorMissing(what));
    let rows = [
        (&untagged, &file, missing("ETag")),
        (&undated, &file, Ok((0, TOTAL))),
        (&bare, &file_without, missing("Last-Modified")),
        (&untagged, &file_without, Ok((0, TOTAL))),
        (&bare, &file_with_nothing, Ok((0, TOTAL))),
    ];
    for (facts, identity, told) in rows {
        let partial = partial_of(0, TOTAL, TOTAL, facts.clone());
        check(&partial, 0, Some(identity), told.clone());
        let whole = whole_of(BodyKind::Length(TOTAL), facts.clone());
        check(&whole, 0, Some(identity), told);
        let ignored = Err(Refusal::RangeIgnored { if_range: true });
        check(&whole, 40, Some(identity), ignored);
    }
}

#[test]
fn a_whole_answer_is_never_content_at_an_offset() {
    let whole = whole_of(BodyKind::Length(TOTAL), facts());
    for if_range in [false, true] {
        for identity in [None, Some(&file())] {
            let asked = Asked {
                if_range,
                ..asked(1, identity)
            };
            let refusal = Refusal::RangeIgnored { if_range };
            assert_eq!(
                admit(&whole, &asked),
                Err(Fault::NotAdmitted(refusal)),
                "{asked:?}"
            );
        }
    }
    check(&whole, 0, Some(&file()), Ok((0, TOTAL)));
}

#[test]
fn a_request_without_a_range_takes_what_starts_at_zero() {
    let asked = Asked {
        ask: Ask::Whole,
        ..asked(0, None)
    };
    let place = |answer| admit(&answer, &asked).map(|admitted| admitted.place());
    assert_eq!(
        place(whole_of(BodyKind::Length(5), facts())),
        Ok(ByteRange::new(0, 5))
    );
    assert_eq!(
        place(partial_of(0, 5, TOTAL, facts())),
        Ok(ByteRange::new(0, 5))
    );
    let misplaced = Refusal::Misplaced {
        asked: ByteRange::from(0),
        got: ByteRange::new(1, 5),
    };
    assert_eq!(
        place(partial_of(1, 5, TOTAL, facts())),
        Err(Fault::NotAdmitted(misplaced))
    );
}

#[test]
fn a_page_is_told_from_a_change() {
    for html in ["text/html", "application/xhtml+xml"] {
        let page = whole_of(
            BodyKind::Length(7),
            Representation {
                media_type: Some(html.into()),
                ..Representation::default()
            },
        );
        check(&page, 40, Some(&file()), Err(Refusal::Page));
        check(&page, 0, Some(&file()), Err(Refusal::Page));
        let untyped = file_with(|file| file.media_type = None);
        check(&page, 40, Some(&untyped), Err(Refusal::Page));
        // The first answer may be a page: it may be what was asked for.
        check(&page, 0, None, Ok((0, 7)));
        let page_file = file_with(|file| file.media_type = Some("text/html".into()));
        check(&page, 40, Some(&page_file), changed_text("size 100 -> 7"));
        // The same strong tag proves that it is the file, whatever its type is called now.
        let facts = facts_with(|facts| facts.media_type = Some(html.into()));
        let proven = whole_of(BodyKind::Length(TOTAL), facts);
        check(&proven, 0, Some(&file()), Ok((0, TOTAL)));
        let weak_file = file_with(|file| file.etag = tag("W/a"));
        let facts = facts_with(|facts| {
            facts.etag = tag("W/a");
            facts.media_type = Some(html.into());
        });
        let unproven = whole_of(BodyKind::Length(TOTAL), facts);
        check(&unproven, 0, Some(&weak_file), Err(Refusal::Page));
    }
}

fn any_tag() -> impl Strategy<Value = Option<ETag>> {
    proptest::option::of("(W/)?[ab]".prop_map(|text| tag(&text).unwrap()))
}

fn any_facts() -> impl Strategy<Value = Representation> {
    (
        any_tag(),
        proptest::option::of((1_i64..3).prop_map(|secs| modified(secs).unwrap())),
        proptest::option::of(proptest::sample::select(
            &["text/html", "application/zip"][..],
        )),
        proptest::option::of(proptest::sample::select(&["gzip", "br"][..])),
    )
        .prop_map(
            |(etag, last_modified, media_type, encoding)| Representation {
                etag,
                last_modified,
                media_type: media_type.map(Into::into),
                encoding: encoding.map(Into::into),
                ..Representation::default()
            },
        )
}

fn any_body() -> impl Strategy<Value = BodyKind> {
    prop_oneof![
        (0_u64..12).prop_map(BodyKind::Length),
        Just(BodyKind::Marked),
        Just(BodyKind::UntilClose),
    ]
}

/// Answers over a small world, so that agreement is as likely as disagreement.
fn any_answer() -> impl Strategy<Value = Answer> {
    let total = || proptest::option::of(8_u64..11);
    let range = (0_u64..10, 0_u64..12, total()).prop_map(|(start, end, total)| ContentRange {
        range: ByteRange::new(start, end),
        total,
    });
    let content = || {
        (any_facts(), any_body()).prop_map(|(representation, body)| Content {
            representation,
            body,
            asides: Asides::default(),
        })
    };
    prop_oneof![
        4 => (proptest::option::weighted(0.9, range), content())
            .prop_map(|(range, content)| Answer::Partial { range, content }),
        4 => content().prop_map(Answer::Whole),
        1 => total().prop_map(|total| Answer::Unsatisfiable { total }),
    ]
}

fn any_identity() -> impl Strategy<Value = Identity> {
    (any_facts(), proptest::option::of(8_u64..11))
        .prop_map(|(facts, total)| identity_after(None, &facts, total))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_000))]

    #[test]
    fn what_is_admitted_is_inside_the_file_and_starts_where_asked(
        answer in any_answer(), start in 0_u64..10, identity in proptest::option::of(any_identity()),
    ) {
        let Ok(admitted) = admit(&answer, &asked(start, identity.as_ref())) else { return Ok(()) };
        let place = admitted.place();
        prop_assert_eq!(place.start, start);
        prop_assert_eq!(place.intersect(admitted.identity().extent()), place);
        match &answer {
            Answer::Partial { range, .. } => prop_assert_eq!(Some(place), range.map(|range| range.range)),
            Answer::Whole(_) => prop_assert_eq!(start, 0),
            other => prop_assert!(false, "admitted {other:?}"),
        }
        if let BodyKind::Length(length) = admitted.body() {
            prop_assert_eq!(length, place.len());
        }
        // The identity is the one there was; only its total may have become known.
        if let Some(identity) = identity {
            let total = admitted.identity().total;
            prop_assert_eq!(&Identity { total, ..identity.clone() }, admitted.identity());
            prop_assert!(identity.total.is_none() || identity.total == total);
        }
    }

    #[test]
    fn a_differing_validator_is_never_admitted(
        answer in any_answer(), start in 0_u64..10, identity in any_identity(),
    ) {
        let (Answer::Partial { content, .. } | Answer::Whole(content)) = &answer else { return Ok(()) };
        let found = &content.representation;
        let opaque = |tag: &Option<ETag>| tag.as_ref().map(|tag| tag.opaque.clone());
        let date = |date: &Option<LastModified>| date.as_ref().map(|date| date.at);
        let tag_differs = identity.etag.is_some() && opaque(&identity.etag) != opaque(&found.etag);
        let date_differs = identity.etag.is_none() && identity.last_modified.is_some()
            && date(&identity.last_modified) != date(&found.last_modified);
        if tag_differs || date_differs || identity.encoding != found.encoding {
            prop_assert!(admit(&answer, &asked(start, Some(&identity))).is_err());
        }
    }

    #[test]
    fn an_identity_agrees_with_itself(answer in any_answer(), start in 0_u64..10) {
        let Ok(first) = admit(&answer, &asked(start, None)) else { return Ok(()) };
        let identity = first.identity().clone();
        let again = admit(&answer, &asked(start, Some(&identity)));
        prop_assert_eq!(again, Ok(first));
    }
}
