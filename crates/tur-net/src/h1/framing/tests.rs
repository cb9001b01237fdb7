//! Tests.

use http::Response;

use super::*;

/// How the body ends, and whether another request may follow.
fn facts(version: Version, status: u16, fields: &[(&str, &str)]) -> (BodyKind, bool) {
    let mut builder = Response::builder().version(version).status(status);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    let head = builder.body(()).unwrap().into_parts().0;
    let kind = body_kind(&head).unwrap();
    (kind, reusable(&head, kind))
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
        let (_, found) = facts(version, 200, &fields);
        assert_eq!(found, reusable, "{version:?} {fields:?}");
    }
}

#[test]
fn statuses_without_a_body_have_none() {
    for status in [204, 304] {
        let found = facts(Version::HTTP_11, status, &[("content-length", "5")]);
        assert_eq!(found, (BodyKind::Length(0), true));
    }
}
