//! What answers say: whole files, ranges, redirects, refusals, labels.

use std::time::Duration;

use tur_core::port::{Session as _, Transport};
use tur_core::{Answer, BodyKind, ByteRange, Fault, RetryAfter};

use super::{Rig, SIZE, assert_body, drain, fetch, limited, open, placed, ranged, request};
use crate::behaviour::{Behaviour, Deed, Ranges, When};

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
