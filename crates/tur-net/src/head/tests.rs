//! Tests.

use http::Response;

use super::*;

fn read(response: Response<()>) -> Result<Answer, Fault> {
    answer(&response.into_parts().0, BodyKind::Length(0))
}

#[test]
fn an_upgrade_nobody_asked_for_is_malformed() {
    let response = Response::builder().status(101).header("upgrade", "h2c");
    let found = read(response.body(()).unwrap());
    assert!(matches!(found, Err(Fault::Malformed(_))));
}

#[test]
fn a_reason_is_passed_on_and_cut() {
    let reason = |text: &'static str| {
        let mut response = Response::builder().status(404).body(()).unwrap();
        response
            .extensions_mut()
            .insert(ReasonPhrase::from_static(text.as_bytes()));
        match read(response).unwrap() {
            Answer::Refused { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason("Gone Fishing"), "Gone Fishing");
    assert_eq!(reason("ééé"), "ééé");
    let long: &'static str = "x".repeat(1_000).leak();
    assert_eq!(reason(long).len(), REASON_MAX);
    let bare = Response::builder().status(404).body(()).unwrap();
    match read(bare).unwrap() {
        Answer::Refused { reason, .. } => assert_eq!(reason, "Not Found"),
        other => panic!("{other:?}"),
    }
}
