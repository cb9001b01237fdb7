//! The same over real sockets: HTTP as it is on a wire.

use std::sync::Arc;

use tokio::sync::watch;
use tur_core::{ByteRange, Kind};
use tur_net::{HttpTransport, NetConfig};
use tur_storage::MemDisk;
use tur_testkit::{Behaviour, Deed, Framing, Loopback, Ranges, When, content};

use super::cup::{Cup, Mouth};
use super::{WHOLE, span};
use crate::board::Board;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::compute::Compute;
use crate::desk::Desk;
use crate::driver::{self, Outside, World};
use crate::fetch::{FetchJob, Fetched};
use crate::handle::Wish;
use crate::limits::{Limit, Limits};
use crate::lookout::Lookout;
use crate::origins::Origins;
use crate::sampler::Sampler;
use crate::scaling::Scaling;
use crate::sessions::{Caps, Sessions};
use crate::{Error, region::FILL_MAX};

const SIZE: u64 = 1_000_003;

/// Fetches a span of a behaviour over a socket.
async fn fetched(
    behaviour: Behaviour,
    wanted: ByteRange,
) -> (Loopback, Vec<u8>, Result<Fetched, Error>) {
    let origin = Loopback::start([("/file", behaviour)]);
    let clock = Clock::start();
    let sessions = Sessions::new(Caps::default());
    let transport = HttpTransport::new(NetConfig::default(), crate::connections::spawner())
        .expect("a transport");
    let world = World {
        transport: Arc::new(transport),
        sessions: sessions.clone(),
        origins: Origins::in_memory(),
        disk: MemDisk::new(),
        filed: crate::filed::Filed::default(),
        compute: Compute::new(),
        desk: Desk::default(),
        lookout: Lookout::new(tur_sched::HANG),
        limits: Limits {
            process: Limit::new(clock, None),
            transfer: Limit::new(clock, None),
        },
        scaling: Scaling::new(),
        sampler: Sampler::new(clock),
        clock,
        pin: crate::driver::Pin::none(),
        hang: tur_sched::HANG,
    };
    let bus = Bus::new(clock);
    let board = Board::new(1, bus.scope().clone());
    let (_commands, commands) = watch::channel(Wish::default());
    let (_life, life) = watch::channel(());
    let outside = Outside {
        board,
        commands,
        life,
    };
    let (target, _) = tur_http::target(&origin.url("/file")).expect("a URL");
    let job = FetchJob::new(target, Some(wanted));
    let cup = Cup::new();
    let mouth = Box::new(Mouth(cup.clone()));
    let result = driver::fetch(world, job, mouth, outside).await;
    assert_eq!(sessions.members(), 0);
    let bytes = std::mem::take(&mut cup.log().bytes);
    (origin, bytes, result)
}

#[tokio::test]
async fn ranges_come_as_they_are() {
    let rows = [
        (Behaviour::new(SIZE), 1),
        (Behaviour::new(SIZE).framing(Framing::Chunked), 1),
        (Behaviour::new(SIZE).ranges(Ranges::Ignored), 2),
        (
            Behaviour::new(SIZE).rule(When::Only(1), Deed::CutAfter(0)),
            2,
        ),
        (
            Behaviour::new(SIZE).rule(When::Only(1), Deed::Extra(70_000)),
            1,
        ),
    ];
    for (behaviour, requests) in rows {
        for wanted in [
            WHOLE,
            span(0, 70_000),
            span(70_000, 270_001),
            span(SIZE - 1, SIZE + 1),
        ] {
            let (origin, bytes, result) = fetched(behaviour.clone(), wanted).await;
            let done = result.expect("the fetch succeeds");
            let there = wanted.intersect(span(0, SIZE));
            assert_eq!(bytes.len() as u64, there.len());
            assert!(bytes == content(0, there), "{wanted} of {behaviour:?}");
            assert!(origin.requests() <= requests);
            assert!(done.wasted_bytes <= there.start + 2 * FILL_MAX as u64);
        }
    }
}

#[tokio::test]
async fn failures_are_told_as_they_are() {
    let (_origin, bytes, result) = fetched(Behaviour::new(100), span(100, 200)).await;
    let error = result.expect_err("there is no such range");
    assert_eq!((error.kind(), bytes.len()), (Kind::Server, 0));
    let changing = Behaviour::new(SIZE)
        .changes_after(1, 1)
        .rule(When::Only(1), Deed::CutAfter(300_000));
    let (_origin, bytes, result) = fetched(changing, span(10, SIZE)).await;
    assert_eq!(result.expect_err("it changed").kind(), Kind::Changed);
    assert!(bytes == content(0, span(10, 10 + bytes.len() as u64)));
    assert!(!bytes.is_empty());
}
