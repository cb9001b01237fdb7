//! Origins, spans and readers as chance has them: whatever comes is right, and in order, and everything comes to an end.

use std::time::Duration;

use proptest::prelude::*;
use tokio::runtime::Builder;
use tur_core::{ByteRange, Kind, Rate, RetryAfter};
use tur_sched::RetryPolicy;
use tur_testkit::{Behaviour, Deed, Framing, Ranges, When, content, weak};

use super::super::stand::{KIB, Stand};
use super::cup::{Cup, fetch_job};
use crate::fetch::FetchJob;

fn deed() -> impl Strategy<Value = Deed> {
    let at = || prop_oneof![Just(0), 1..300_000_u64];
    let delay = || (1..40_u64).prop_map(Duration::from_secs);
    prop_oneof![
        at().prop_map(Deed::CutAfter),
        at().prop_map(Deed::ResetAfter),
        at().prop_map(Deed::StallAfter),
        delay().prop_map(Deed::FirstByte),
        delay().prop_map(Deed::BodyAfter),
        (1..200_000_u64).prop_map(|rate| Deed::Pace(Rate::per_second(1_000 + rate))),
        ranges().prop_map(Deed::Ranges),
        framing().prop_map(Deed::Framing),
        Just(Deed::Hangup),
        Just(Deed::BlackHole),
        Just(Deed::Page),
        Just(Deed::Close),
        Just(Deed::Extra(4_000)),
        prop_oneof![Just(503), Just(500), Just(429), Just(404)].prop_map(|status| Deed::Status {
            status,
            retry_after: (status == 429).then_some(RetryAfter::Delay(Duration::from_secs(2))),
        }),
        (1..3_u8).prop_map(|version| Deed::Serve {
            version,
            etag: Some(tur_testkit::strong(&format!("v{version}"))),
            size: 500_000,
        }),
    ]
}

fn ranges() -> impl Strategy<Value = Ranges> {
    prop_oneof![
        Just(Ranges::Honest),
        Just(Ranges::Ignored),
        Just(Ranges::Refused),
        (1..200_000_u64).prop_map(Ranges::ShortAtMost),
        Just(Ranges::LongToEnd),
        Just(Ranges::FromZero),
        Just(Ranges::NoContentRange),
        Just(Ranges::StarTotal),
        (-500..500_i64).prop_map(Ranges::Shifted),
    ]
}

fn framing() -> impl Strategy<Value = Framing> {
    prop_oneof![
        Just(Framing::Length),
        Just(Framing::Chunked),
        Just(Framing::UntilClose)
    ]
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    let rule = (0..4_u8, 1..6_u64, deed()).prop_map(|(when, n, deed)| {
        let when = match when {
            0 => When::Only(n),
            1 => When::First(n),
            2 => When::After(n),
            _ => When::Every(n + 1),
        };
        (when, deed)
    });
    let size = prop_oneof![Just(0), Just(1), 2..600_000_u64];
    let rules = proptest::collection::vec(rule, 0..4);
    (size, ranges(), framing(), 0..3_u8, rules).prop_map(|(size, ranges, framing, tag, rules)| {
        let behaviour = Behaviour::new(size).framing(framing);
        // Half of all origins are honest about ranges.
        let behaviour = if tag == 0 {
            behaviour
        } else {
            behaviour.ranges(ranges)
        };
        let behaviour = match tag {
            2 => behaviour.etag(Some(weak("w"))),
            _ => behaviour,
        };
        Behaviour { rules, ..behaviour }
    })
}

fn wanted() -> impl Strategy<Value = ByteRange> {
    let len = prop_oneof![Just(0), Just(u64::MAX), 1..400_000_u64];
    let start = prop_oneof![Just(0), 0..650_000_u64];
    (start, len).prop_map(|(start, len)| ByteRange::new(start, start.saturating_add(len)))
}

/// What a reader does: makes so much room, then waits.
fn sips() -> impl Strategy<Value = Vec<(usize, u64)>> {
    proptest::collection::vec((0..100_000_usize, 0..50_u64), 0..5)
}

async fn one(behaviour: Behaviour, wanted: ByteRange, sips: Vec<(usize, u64)>) {
    let job = FetchJob {
        retry: RetryPolicy {
            retries: 3,
            ..RetryPolicy::default()
        },
        slow_after: Duration::from_millis(300),
        ..fetch_job(Some(wanted))
    };
    let changes = behaviour
        .rules
        .iter()
        .any(|(_, deed)| matches!(deed, Deed::Serve { .. }));
    let pages = behaviour.rules.iter().any(|(_, deed)| *deed == Deed::Page);
    let size = behaviour.size;
    let mut stand = Stand::new(behaviour);
    let running = stand.begin_fetch(job, Cup::of(sips.first().map_or(usize::MAX, |sip| sip.0)));
    for (room, secs) in sips {
        stand.pass(Duration::from_secs(secs)).await;
        running.cup.make_room(room);
    }
    running.cup.make_room(usize::MAX);
    let tried = stand.end_fetch(running).await;
    stand.settle().await;
    stand.assert_idle();
    let have = &tried.log.bytes;
    let end = wanted.start + have.len() as u64;
    let is_of = |version| *have == content(version, ByteRange::new(wanted.start, end));
    // A page that comes first is the file, as far as anybody can know.
    assert!(pages || (0..3).any(is_of), "spliced, or out of place");
    if let Ok(done) = &tried.result {
        if let Some(total) = done.head.as_ref().and_then(|head| head.total) {
            let there = wanted.intersect(ByteRange::new(0, total));
            assert_eq!(have.len() as u64, there.len());
        }
        // A body that only its connection ends may have been cut.
        if !changes && !pages && !done.unverifiable {
            let there = wanted.intersect(ByteRange::new(0, size));
            assert_eq!(have.len() as u64, there.len());
        }
    } else {
        assert_ne!(
            tried.result.as_ref().map_err(crate::Error::kind).err(),
            Some(Kind::Other)
        );
    }
    let requests = stand.transport.requests();
    assert!(requests < 10 + 5 * (600 * KIB / 16), "{requests} requests");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_comes_is_right_and_in_order(behaviour in behaviour(), wanted in wanted(), sips in sips()) {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(one(behaviour, wanted, sips));
    }
}
