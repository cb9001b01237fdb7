//! Where heads and bodies end, and what is refused.

use std::time::Duration;

use tur_core::port::{Session as _, Transport};
use tur_core::{Answer, BodyKind, ByteRange, Fault};

use super::{Rig, SIZE, assert_body, drain, fault, fetch, has_streams, limited, open, request};
use crate::behaviour::{Behaviour, Deed, Framing, When};
use crate::content::content;

/// The kind of a body is told as the framing has it, and its end is said where the framing says it.
///
/// # Panics
/// If it does not.
pub async fn tells_framing<T: Transport>(transport: &T, rig: &impl Rig) {
    for (size, framing, kind) in [
        (SIZE, Framing::Chunked, BodyKind::Marked),
        (SIZE, Framing::UntilClose, BodyKind::UntilClose),
        (0, Framing::Length, BodyKind::Length(0)),
        (0, Framing::Chunked, BodyKind::Marked),
        (1, Framing::Length, BodyKind::Length(1)),
    ] {
        let name = format!("{framing:?} of {size}");
        let target = rig.serve(Behaviour::new(size).framing(framing));
        let session = open(transport, &target).await;
        let reply = fetch(&name, &session, request(&target)).await;
        let Answer::Whole(found) = &reply.answer else {
            panic!("{name}: {:?}", reply.answer);
        };
        let kind = match kind {
            // The end of a stream is marked; where there is no body, by the head: over HTTP/3 the mark may come later.
            BodyKind::Marked if has_streams(&session) && size == 0 => match found.body {
                BodyKind::Marked if session.facts().protocol == "h3" => BodyKind::Marked,
                _ => BodyKind::Length(0),
            },
            BodyKind::UntilClose if has_streams(&session) => BodyKind::Marked,
            kind => kind,
        };
        assert_eq!(found.body, kind, "{name}");
        assert_body(&name, reply, ByteRange::new(0, size)).await;
        if kind == BodyKind::UntilClose {
            assert!(!session.is_open(), "{name}: the connection is used up");
        }
    }
    let target = rig.serve(Behaviour::new(SIZE).no_keep_alive());
    let session = open(transport, &target).await;
    let reply = fetch("close", &session, request(&target)).await;
    assert_body("close", reply, ByteRange::new(0, SIZE)).await;
}

/// A body that is cut or reset gives its good bytes and then a fault.
///
/// # Panics
/// If it does not.
pub async fn never_takes_a_cut_for_an_end<T: Transport>(transport: &T, rig: &impl Rig) {
    let cut = SIZE / 2 + 1;
    let base = || Behaviour::new(SIZE);
    for (name, behaviour) in [
        ("cut", base().rule(When::Always, Deed::CutAfter(cut))),
        ("cut at 0", base().rule(When::Always, Deed::CutAfter(0))),
        (
            "cut 1 short",
            base().rule(When::Always, Deed::CutAfter(SIZE - 1)),
        ),
        (
            "cut in chunks",
            base()
                .framing(Framing::Chunked)
                .rule(When::Always, Deed::CutAfter(cut)),
        ),
        ("reset", base().rule(When::Always, Deed::ResetAfter(cut))),
        (
            "reset in chunks",
            base()
                .framing(Framing::Chunked)
                .rule(When::Always, Deed::ResetAfter(cut)),
        ),
        (
            "reset until close",
            base()
                .framing(Framing::UntilClose)
                .rule(When::Always, Deed::ResetAfter(cut)),
        ),
        (
            "promised more",
            base().framing(Framing::LyingLength(SIZE + 1)),
        ),
    ] {
        let target = rig.serve(behaviour);
        let session = open(transport, &target).await;
        let streams = has_streams(&session);
        // A reset may overtake the head.
        let mut reply = match limited(name, session.fetch(request(&target))).await {
            Ok(reply) => reply,
            Err(Fault::Lost(_)) if name.starts_with("reset") => continue,
            Err(other) => panic!("{name}: {other:?}"),
        };
        let (bytes, outcome) = drain(name, &mut reply.body).await;
        assert!(bytes.len() as u64 <= SIZE, "{name}: {} bytes", bytes.len());
        assert_eq!(
            bytes,
            content(0, ByteRange::new(0, bytes.len() as u64)),
            "{name}: good bytes"
        );
        let ended_short = streams && name == "promised more";
        let named = match &outcome {
            Err(Fault::Truncated(_) | Fault::Lost(_)) => !ended_short,
            // RFC 9113, section 8.1.1: a stream that ends before its length is malformed.
            Err(Fault::Malformed(_)) => ended_short,
            _ => false,
        };
        assert!(named, "{name}: {outcome:?}");
        let stream_alone = streams && (ended_short || name.starts_with("reset"));
        assert!(
            session.is_open() == stream_alone,
            "{name}: what broke is gone, and no more: {stream_alone}"
        );
    }
}

/// A body is never longer than its frame, and what follows it is never an answer.
///
/// # Panics
/// If it is.
pub async fn ends_where_the_frame_ends<T: Transport>(transport: &T, rig: &impl Rig) {
    let base = || Behaviour::new(SIZE);
    let streams = has_streams(&open(transport, &rig.serve(base())).await);
    if streams {
        // Nothing can follow the end of a stream; what comes before it and is too much is malformed.
        let target = rig.serve(base().framing(Framing::LyingLength(SIZE - 100)));
        let session = open(transport, &target).await;
        let mut reply = fetch("promised less", &session, request(&target)).await;
        let (bytes, outcome) = drain("promised less", &mut reply.body).await;
        let good = content(0, ByteRange::new(0, bytes.len() as u64));
        assert!(bytes == good, "promised less: good bytes");
        assert!(
            matches!(outcome, Err(Fault::Malformed(_))),
            "promised less: {outcome:?}"
        );
        assert!(session.is_open(), "promised less: the connection stands");
        return;
    }
    for (name, behaviour, length) in [
        (
            "promised less",
            base().framing(Framing::LyingLength(SIZE - 100)),
            SIZE - 100,
        ),
        (
            "extra bytes",
            base().rule(When::Always, Deed::Extra(5_000)),
            SIZE,
        ),
        (
            "extra bytes after chunks",
            base()
                .framing(Framing::Chunked)
                .rule(When::Always, Deed::Extra(5_000)),
            SIZE,
        ),
    ] {
        let target = rig.serve(behaviour);
        let session = open(transport, &target).await;
        let reply = fetch(name, &session, request(&target)).await;
        assert_body(name, reply, ByteRange::new(0, length)).await;
        // What follows may or may not have been noticed yet; it must never be taken for an answer.
        if let Ok(reply) = limited(name, session.fetch(request(&target))).await {
            assert_body(name, reply, ByteRange::new(0, length)).await;
        }
    }
}

/// Bytes that are not HTTP, and lengths that are none, are `Malformed`; no answer at all is `Lost`.
///
/// # Panics
/// If they are not.
pub async fn refuses_what_is_not_http<T: Transport>(transport: &T, rig: &impl Rig) {
    let lengths = |texts: &[&str]| {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        Behaviour::new(SIZE).framing(Framing::Lengths(texts))
    };
    for (name, behaviour) in [
        (
            "not HTTP",
            Behaviour::new(SIZE).rule(When::Always, Deed::NotHttp),
        ),
        ("negative length", lengths(&["-1"])),
        ("length of 2^64", lengths(&["18446744073709551616"])),
        ("huge length", lengths(&["99999999999999999999999"])),
        ("two lengths", lengths(&["1000", "1001"])),
        ("two lengths in a list", lengths(&["1000, 1001"])),
        ("no digits", lengths(&["ten"])),
    ] {
        let target = rig.serve(behaviour);
        let session = open(transport, &target).await;
        let streams = has_streams(&session);
        if streams && name == "not HTTP" {
            // Frames are made by a library that writes no others: bytes that are none are tested byte by byte elsewhere.
            continue;
        }
        let fault = fault(name, &session, &target).await;
        assert!(matches!(fault, Fault::Malformed(_)), "{name}: {fault:?}");
        assert!(
            session.is_open() == streams,
            "{name}: what is malformed is closed"
        );
    }
    let target = rig.serve(Behaviour::new(SIZE).rule(When::Always, Deed::Hangup));
    let session = open(transport, &target).await;
    let fault = fault("hang-up", &session, &target).await;
    assert!(matches!(fault, Fault::Lost(_)), "hang-up: {fault:?}");
    assert!(!session.is_open(), "hang-up: the connection is gone");
}

/// Heads and interim answers are bounded; a slow head is waited for.
///
/// # Panics
/// If they are not.
pub async fn bounds_what_comes_before_a_body<T: Transport>(transport: &T, rig: &impl Rig) {
    let target = rig.serve(Behaviour::new(SIZE).rule(When::Always, Deed::EndlessHead));
    let session = open(transport, &target).await;
    let endless = fault("endless head", &session, &target).await;
    assert!(
        matches!(endless, Fault::HeadTooLarge { .. }),
        "endless head: {endless:?}"
    );
    let target = rig.serve(Behaviour::new(SIZE).rule(When::Always, Deed::Interim(500)));
    let session = open(transport, &target).await;
    let flood = fault("interim flood", &session, &target).await;
    assert!(
        matches!(flood, Fault::TooManyInterim { .. }),
        "interim flood: {flood:?}"
    );
    assert!(
        !session.is_open(),
        "interim flood: the connection is closed"
    );
    let large = vec![b'x'; 1_000];
    let fields = (0..30).map(|nth| (format!("x-large-{nth}"), large.clone()));
    for (name, behaviour) in [
        (
            "interim answers",
            Behaviour::new(SIZE).rule(When::Always, Deed::Interim(3)),
        ),
        (
            "slow head",
            Behaviour::new(SIZE).first_byte(Duration::from_millis(30)),
        ),
        (
            "large head",
            fields.fold(Behaviour::new(SIZE), |all, (name, value)| {
                all.field(&name, &value)
            }),
        ),
    ] {
        let target = rig.serve(behaviour);
        let session = open(transport, &target).await;
        let reply = fetch(name, &session, request(&target)).await;
        assert_body(name, reply, ByteRange::new(0, SIZE)).await;
    }
}
