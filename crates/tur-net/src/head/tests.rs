//! Tests.

use http::Response;

use super::*;

fn facts(version: Version, status: u16, fields: &[(&str, &str)]) -> Result<HeadFacts, Fault> {
    let mut builder = Response::builder().version(version).status(status);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    read(&builder.body(()).unwrap().into_parts().0)
}

#[test]
fn a_connection_is_used_again_only_if_both_want_it() {
    let length = ("content-length", "5");
    for (version, fields, reusable) in [
        (Version::HTTP_11, vec![length], true),
        (
            Version::HTTP_11,
            vec![length, ("connection", "close")],
            false,
        ),
        (
            Version::HTTP_11,
            vec![length, ("connection", "x, Close")],
            false,
        ),
        (
            Version::HTTP_11,
            vec![
                length,
                ("connection", "keep-alive"),
                ("connection", "close"),
            ],
            false,
        ),
        (Version::HTTP_11, vec![], false),
        (
            Version::HTTP_11,
            vec![("transfer-encoding", "chunked")],
            true,
        ),
        (
            Version::HTTP_11,
            vec![("transfer-encoding", "chunked"), length],
            false,
        ),
        (Version::HTTP_10, vec![length], false),
        (
            Version::HTTP_10,
            vec![length, ("connection", "Keep-Alive")],
            true,
        ),
        (Version::HTTP_10, vec![("connection", "keep-alive")], false),
    ] {
        let facts = facts(version, 200, &fields).unwrap();
        assert_eq!(facts.reusable, reusable, "{version:?} {fields:?}");
    }
}

#[test]
fn statuses_without_a_body_have_none() {
    for status in [204, 304] {
        let facts = facts(Version::HTTP_11, status, &[("content-length", "5")]).unwrap();
        assert_eq!(facts.body, BodyKind::Length(0));
        assert!(facts.reusable);
    }
}

#[test]
fn an_upgrade_nobody_asked_for_is_malformed() {
    let found = facts(Version::HTTP_11, 101, &[("upgrade", "h2c")]);
    assert!(matches!(found, Err(Fault::Malformed(_))));
}

#[test]
fn a_reason_is_passed_on_and_cut() {
    let reason = |text: &'static str| {
        let mut response = Response::builder().status(404).body(()).unwrap();
        response
            .extensions_mut()
            .insert(ReasonPhrase::from_static(text.as_bytes()));
        match read(&response.into_parts().0).unwrap().answer {
            Answer::Refused { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason("Gone Fishing"), "Gone Fishing");
    assert_eq!(reason("ééé"), "ééé");
    let long: &'static str = "x".repeat(1_000).leak();
    assert_eq!(reason(long).len(), REASON_MAX);
    match facts(Version::HTTP_11, 404, &[]).unwrap().answer {
        Answer::Refused { reason, .. } => assert_eq!(reason, "Not Found"),
        other => panic!("{other:?}"),
    }
}
