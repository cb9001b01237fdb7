//! What answers say: whole files, ranges, redirects, refusals, labels.

use std::time::Duration;

use tur_core::port::{Request, Session as _, Transport};
use tur_core::{Answer, Ask, BodyKind, ByteRange, Fault, RetryAfter, Wall};

use super::{Rig, SIZE, assert_body, drain, fetch, limited, open, placed, ranged, request};
use crate::behaviour::{Behaviour, Deed, Ranges, When, weak};

/// A plain request gives the whole, a range gives its bytes, and a range that is ignored gives the whole.
///
/// # Panics
/// If it does not.
pub async fn reads_whole_and_ranges<T: Transport>(transport: &T, rig: &impl Rig) {
    let target = rig.serve(Behaviour::new(SIZE));
    let session = open(transport, &target).await;
    let reply = fetch("whole", &session, request(&target)).await;
    let Answer::Whole(found) = &reply.answer else {
        panic!("whole: {:?}", reply.answer);
    };
    assert_eq!(found.body, BodyKind::Length(SIZE), "whole");
    assert!(
        found.representation.etag.is_some(),
        "whole: the entity tag is told"
    );
    assert_body("whole", reply, ByteRange::new(0, SIZE)).await;
    for range in [
        ByteRange::new(0, 1),
        ByteRange::new(SIZE - 1, SIZE),
        ByteRange::new(70_000, 140_001),
        ByteRange::from(0),
        ByteRange::from(SIZE - 300),
    ] {
        let reply = fetch("range", &session, ranged(&target, range)).await;
        let served = ByteRange::new(range.start, range.end.min(SIZE));
        assert_eq!(
            placed("range", &reply),
            Some((served, Some(SIZE))),
            "range {range}"
        );
        assert_body("range", reply, served).await;
    }
    let target = rig.serve(Behaviour::new(SIZE).ranges(Ranges::Ignored));
    let reply = fetch(
        "ignored",
        &session,
        ranged(&target, ByteRange::new(500, 600)),
    )
    .await;
    assert!(
        matches!(reply.answer, Answer::Whole(_)),
        "ignored range: {:?}",
        reply.answer
    );
    assert_body("ignored range", reply, ByteRange::new(0, SIZE)).await;
}

/// Entity tags, dates and types are told as they were sent, and none is made up.
///
/// # Panics
/// If they are not.
pub async fn tells_validators<T: Transport>(transport: &T, rig: &impl Rig) {
    let date = Some(Wall::from_unix_secs(1_700_000_000));
    let base = || Behaviour::new(SIZE).media_type("application/x-tar");
    for (name, behaviour) in [
        ("strong", base()),
        ("weak", base().etag(Some(weak("w")))),
        ("date", base().etag(None).last_modified(date)),
        ("both", base().last_modified(date)),
        ("none", base().no_validators()),
    ] {
        let target = rig.serve(behaviour.clone());
        let session = open(transport, &target).await;
        let range = ByteRange::new(3, SIZE);
        for request in [request(&target), ranged(&target, range)] {
            let reply = fetch(name, &session, request).await;
            let (found, body) = match &reply.answer {
                Answer::Whole(found) => (found, ByteRange::new(0, SIZE)),
                Answer::Partial { content, .. } => (content, range),
                other => panic!("{name}: {other:?}"),
            };
            let told = &found.representation;
            assert_eq!(told.etag, behaviour.etag, "{name}");
            let at = told.last_modified.as_ref().map(|told| told.at);
            assert_eq!(at, behaviour.last_modified, "{name}");
            assert_eq!(told.media_type, behaviour.media_type, "{name}");
            assert_body(name, reply, body).await;
        }
    }
}

/// A condition goes with a range and with nothing else, and is sent as it was given.
///
/// # Panics
/// If it is not.
pub async fn asks_with_if_range<T: Transport>(transport: &T, rig: &impl Rig) {
    let target = rig.serve(Behaviour::new(SIZE));
    let session = open(transport, &target).await;
    let range = ByteRange::new(7, SIZE - 7);
    let whole = ByteRange::new(0, SIZE);
    for (name, ask, tag, part) in [
        ("the same", Ask::Range(range), r#""v0""#, true),
        ("another", Ask::Range(range), r#""v1""#, false),
        ("weak", Ask::Range(range), r#"W/"v0""#, false),
        ("the whole", Ask::Whole, r#""v0""#, false),
    ] {
        let request = Request {
            ask,
            if_range: Some(tag.as_bytes().to_vec()),
            ..request(&target)
        };
        let reply = fetch(name, &session, request).await;
        let is_part = matches!(reply.answer, Answer::Partial { .. });
        assert_eq!(is_part, part, "if-range, {name}: {:?}", reply.answer);
        assert_body(name, reply, if part { range } else { whole }).await;
    }
}

/// Each status that redirects does, with its place as it was sent; nothing is followed.
///
/// # Panics
/// If it does not.
pub async fn reads_every_redirect<T: Transport>(transport: &T, rig: &impl Rig) {
    let places = ["/a?b=c%20d", "https://elsewhere.test:8443/x", "../up"];
    for status in [301, 302, 303, 307, 308] {
        for place in places {
            let name = format!("{status} to {place:?}");
            let location = place.to_owned();
            let deed = Deed::Redirect { status, location };
            let target = rig.serve(Behaviour::new(SIZE).rule(When::Always, deed));
            let session = open(transport, &target).await;
            let mut reply = fetch(&name, &session, ranged(&target, ByteRange::from(0))).await;
            match &reply.answer {
                Answer::Moved { location, .. } => assert_eq!(location, place, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
            let (_, outcome) = drain(&name, &mut reply.body).await;
            assert_eq!(outcome, Ok(()), "{name}: its body ends");
        }
    }
}

/// Redirects, refusals and 416 are read, and their bodies can be read away.
///
/// # Panics
/// If they are not.
pub async fn reads_answers_without_the_file<T: Transport>(transport: &T, rig: &impl Rig) {
    let status = |status, retry_after| Deed::Status {
        status,
        retry_after,
    };
    let retry_after = Some(RetryAfter::Delay(Duration::from_secs(7)));
    let redirect = Deed::Redirect {
        status: 302,
        location: "/elsewhere?a=b".to_owned(),
    };
    for deed in [
        redirect,
        status(404, None),
        status(503, retry_after),
        Deed::Challenge,
    ] {
        let name = format!("{deed:?}");
        let target = rig.serve(Behaviour::new(SIZE).rule(When::Always, deed));
        let session = open(transport, &target).await;
        let mut reply = fetch(&name, &session, request(&target)).await;
        match (&reply.answer, name.split(' ').next()) {
            (Answer::Moved { location, .. }, Some("Redirect")) => {
                assert_eq!(location, "/elsewhere?a=b");
            }
            (
                Answer::Refused {
                    status: 404,
                    retry_after: None,
                    ..
                },
                Some("Status"),
            ) => {}
            (
                Answer::Refused {
                    status: 503,
                    retry_after: told,
                    ..
                },
                Some("Status"),
            ) => {
                assert_eq!(*told, retry_after);
            }
            (
                Answer::Refused {
                    status: 401,
                    challenge: true,
                    ..
                },
                Some("Challenge"),
            ) => {}
            (other, _) => panic!("{name}: {other:?}"),
        }
        let (_, outcome) = drain(&name, &mut reply.body).await;
        assert_eq!(outcome, Ok(()), "{name}: its body ends");
        assert!(session.is_open(), "{name}: the connection stands");
    }
    let target = rig.serve(Behaviour::new(SIZE).ranges(Ranges::Refused));
    let session = open(transport, &target).await;
    let reply = fetch("416", &session, ranged(&target, ByteRange::new(1, 2))).await;
    assert_eq!(
        reply.answer,
        Answer::Unsatisfiable { total: Some(SIZE) },
        "416"
    );
}

/// What a 206 says about itself is passed on as it is, and a label that cannot be read is never made one.
///
/// # Panics
/// If it is not.
pub async fn places_by_content_range<T: Transport>(transport: &T, rig: &impl Rig) {
    let asked = ByteRange::new(1_000, 2_000);
    for (ranges, label, body) in [
        (
            Ranges::Shifted(17),
            Some((ByteRange::new(1_017, 2_017), Some(SIZE))),
            ByteRange::new(1_017, 2_017),
        ),
        (
            Ranges::ShortAtMost(10),
            Some((ByteRange::new(1_000, 1_010), Some(SIZE))),
            ByteRange::new(1_000, 1_010),
        ),
        (
            Ranges::LongToEnd,
            Some((ByteRange::new(1_000, SIZE), Some(SIZE))),
            ByteRange::new(1_000, SIZE),
        ),
        (
            Ranges::FromZero,
            Some((ByteRange::new(0, SIZE), Some(SIZE))),
            ByteRange::new(0, SIZE),
        ),
        (Ranges::StarTotal, Some((asked, None)), asked),
        (
            Ranges::WrongTotal(SIZE + 1),
            Some((asked, Some(SIZE + 1))),
            asked,
        ),
        (Ranges::NoContentRange, None, ByteRange::new(0, SIZE)),
    ] {
        let name = format!("{ranges:?}");
        let target = rig.serve(Behaviour::new(SIZE).ranges(ranges));
        let session = open(transport, &target).await;
        let reply = fetch(&name, &session, ranged(&target, asked)).await;
        assert_eq!(placed(&name, &reply), label, "{name}");
        assert_body(&name, reply, body).await;
    }
    for label in [
        "bytes 2000-1000/9000",
        "bytes 0-9/5",
        "lines 1-2/3",
        "bytes 18446744073709551616-/1",
    ] {
        let target = rig.serve(Behaviour::new(SIZE).ranges(Ranges::Label(label.to_owned())));
        let session = open(transport, &target).await;
        match limited(label, session.fetch(ranged(&target, asked))).await {
            Err(Fault::Malformed(_)) => {}
            Ok(reply) => assert_eq!(placed(label, &reply), None, "{label}"),
            Err(other) => panic!("{label}: {other:?}"),
        }
    }
}
