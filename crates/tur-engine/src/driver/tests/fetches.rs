//! Single fetches: which bytes come, and which requests that takes.
//!
//! Read [`cup`] first: every test lets a fetch fill a [`Cup`](cup::Cup), and compares what is in it byte by byte.

mod chance;
mod cup;
mod ends;
mod loopback;
mod waits;

use tur_core::{ByteRange, Kind};
use tur_sched::LEAD_MAX;
use tur_testkit::{Behaviour, Deed, Framing, Ranges, When};

pub(super) use self::cup::{Cup, Mouth, fetch_job};
use self::cup::{Tried, tried};
use super::stand::{KIB, MIB, Stand, origin};
use crate::What;
use crate::region::FILL_MAX;

const SIZE: u64 = MIB + 12_345;

const WHOLE: ByteRange = ByteRange::from(0);

const fn span(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end)
}

/// Fetches the span; exactly its bytes come.
async fn filled(behaviour: Behaviour, wanted: ByteRange) -> (Stand, Tried) {
    let there = wanted.intersect(span(0, behaviour.size));
    let (stand, tried) = tried(behaviour, fetch_job(Some(wanted)), Cup::new()).await;
    tried.assert_bytes(0, there);
    tried.done();
    (stand, tried)
}

#[tokio::test(start_paused = true)]
async fn a_range_takes_one_request_and_no_file() {
    for (wanted, there) in [
        (WHOLE, span(0, SIZE)),
        (span(0, 1), span(0, 1)),
        (span(500, 700), span(500, 700)),
        (span(300 * KIB, MIB), span(300 * KIB, MIB)),
        (span(SIZE - 1, SIZE), span(SIZE - 1, SIZE)),
        (span(SIZE - 50, SIZE + 50), span(SIZE - 50, SIZE)),
        (ByteRange::from(SIZE - 50), span(SIZE - 50, SIZE)),
    ] {
        let (stand, tried) = filled(origin(SIZE), wanted).await;
        let done = tried.done();
        let head = done.head.as_ref().expect("there is one");
        assert_eq!(
            (head.total, head.range, head.protocol),
            (Some(SIZE), there, "h1")
        );
        assert_eq!(head.url, "http://origin.test/file.bin");
        assert_eq!(head.validator.as_deref(), Some("\"v0\""));
        assert_eq!(head.media_type.as_deref(), Some("application/octet-stream"));
        assert_eq!(done.bytes, there.len());
        assert_eq!((done.requests, done.connections), (1, 1));
        assert_eq!((done.wasted_bytes, done.unverifiable), (0, false));
        assert_eq!(stand.transport.requests(), 1);
        assert_eq!(stand.transport.seen()[0].range, Some(wanted));
        assert_eq!(stand.transport.bytes_sent(), there.len());
        assert_eq!(stand.disk.changes(), 0, "a fetch writes no file");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_span_it_is_the_whole() {
    for size in [0, 1, SIZE] {
        let (_, tried) = tried(origin(size), fetch_job(None), Cup::new()).await;
        tried.assert_bytes(0, span(0, size));
        assert_eq!(tried.done().bytes, size);
        let head = tried.done().head.clone().expect("there is one");
        assert_eq!((head.total, head.range), (Some(size), span(0, size)));
        assert_eq!(tried.done().first_byte.is_some(), size > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_for_an_empty_span() {
    let (stand, tried) = tried(origin(SIZE), fetch_job(Some(span(7, 7))), Cup::new()).await;
    assert_eq!(tried.done().bytes, 0);
    assert!(tried.done().head.is_none() && tried.log.heads.is_empty());
    assert_eq!(stand.transport.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_span_behind_the_end_is_a_416() {
    for ranges in [Ranges::Honest, Ranges::Ignored, Ranges::Refused] {
        for (start, size) in [(SIZE, SIZE), (SIZE - 1, 100), (1, 0)] {
            let start = start.min(LEAD_MAX);
            let size = size.min(start);
            let behaviour = origin(size).ranges(ranges.clone());
            let job = fetch_job(Some(span(start, start + 10)));
            let (stand, tried) = tried(behaviour, job, Cup::new()).await;
            let error = tried.error(Kind::Server);
            assert!(error.to_string().starts_with("416 "), "{error}");
            assert!(tried.log.heads.is_empty() && tried.log.bytes.is_empty());
            assert!(stand.transport.requests() <= 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_in_answer_to_a_range_from_zero_is_read_up_to_its_end() {
    for framing in [Framing::Length, Framing::Chunked, Framing::UntilClose] {
        let behaviour = Behaviour::new(100 * MIB)
            .ranges(Ranges::Ignored)
            .framing(framing);
        let (stand, tried) = filled(behaviour, span(0, 100 * KIB)).await;
        assert_eq!(stand.transport.requests(), 1);
        let sent = stand.transport.bytes_sent();
        assert!(sent <= 100 * KIB + FILL_MAX as u64, "{sent}");
        assert_eq!(tried.done().wasted_bytes, sent - 100 * KIB);
    }
}

#[tokio::test(start_paused = true)]
async fn without_ranges_what_lies_before_the_span_is_dropped_if_it_is_little() {
    let plain = |size| {
        Behaviour::new(size)
            .ranges(Ranges::Ignored)
            .framing(Framing::Chunked)
    };
    for start in [1, 100 * KIB, LEAD_MAX] {
        let wanted = span(start, start + 300 * KIB);
        let (stand, tried) = filled(plain(10 * MIB), wanted).await;
        assert_eq!(stand.transport.requests(), 2);
        assert_eq!(tried.log.heads.len(), 1);
        assert_eq!(tried.log.heads[0].range, wanted);
        assert!(tried.done().wasted_bytes >= start);
    }
    let job = fetch_job(Some(span(LEAD_MAX + 1, LEAD_MAX + 2)));
    let (stand, tried) = tried(plain(10 * MIB), job, Cup::new()).await;
    tried.error(Kind::Protocol);
    assert!(tried.log.heads.is_empty() && tried.log.bytes.is_empty());
    assert_eq!(stand.transport.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_odd_answer_leads_to_the_right_bytes() {
    let rows = [
        origin(SIZE).framing(Framing::Chunked),
        origin(SIZE).framing(Framing::UntilClose),
        origin(SIZE)
            .ranges(Ranges::Ignored)
            .framing(Framing::Chunked),
        origin(SIZE).ranges(Ranges::Refused),
        origin(SIZE).ranges(Ranges::ShortAtMost(64 * KIB)),
        origin(SIZE).ranges(Ranges::LongToEnd),
        origin(SIZE).ranges(Ranges::FromZero),
        origin(SIZE).ranges(Ranges::NoContentRange),
        origin(SIZE).ranges(Ranges::StarTotal),
        origin(SIZE).ranges(Ranges::Shifted(1_000)),
        origin(SIZE).no_validators(),
        origin(SIZE).no_keep_alive(),
        origin(SIZE).rule(When::Always, Deed::Extra(4_096)),
        origin(SIZE).rule(When::First(2), Deed::Hangup),
        origin(SIZE).rule(When::Only(1), Deed::ResetAfter(50_000)),
    ];
    for behaviour in rows {
        for wanted in [
            WHOLE,
            span(0, 200_000),
            span(99_999, 300_001),
            span(MIB - 9, SIZE),
        ] {
            println!("{wanted} of {:?}, {:?}", behaviour.ranges, behaviour.rules);
            filled(behaviour.clone(), wanted).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_cut_short_is_gone_on_with_from_there() {
    for deed in [Deed::CutAfter(100_000), Deed::ResetAfter(100_000)] {
        let behaviour = origin(SIZE).rule(When::Only(1), deed);
        let (stand, tried) = filled(behaviour, span(50_000, 500_000)).await;
        let asked: Vec<_> = stand.transport.seen().iter().map(|s| s.range).collect();
        assert_eq!(
            asked,
            [Some(span(50_000, 500_000)), Some(span(150_000, 500_000))]
        );
        assert!(stand.transport.seen()[1].if_range.is_some());
        assert_eq!(stand.transport.bytes_sent(), 450_000);
        assert_eq!(tried.log.heads.len(), 1, "the head is shown once");
        assert_eq!(tried.count(|what| matches!(what, What::Retrying { .. })), 1);
    }
    // Without ranges it comes again from 0, and what is there is dropped.
    let behaviour = origin(SIZE)
        .ranges(Ranges::Ignored)
        .rule(When::Only(1), Deed::CutAfter(100_000));
    let (_, tried) = filled(behaviour, span(0, 500_000)).await;
    assert!(tried.done().wasted_bytes >= 100_000);
    assert_eq!(tried.log.heads.len(), 1);
}
