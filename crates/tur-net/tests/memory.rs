//! What sixteen lanes hold at once, measured in a process of its own.
#![cfg(target_os = "linux")]

use tur_core::port::{Body, Fill, Request, Session, Transport};
use tur_core::{Ask, Chunks, Origin, Scheme, Target};
use tur_net::{HttpTransport, NetConfig, Spawner};
use tur_testkit::{Behaviour, Loopback};

const LANES: usize = 16;
const SIZE: u64 = 32 * 1024 * 1024;
const BUDGET: usize = 64 * 1024;
const LIMIT_KIB: u64 = 16 * 1024;

/// Anonymous resident memory of this process, in KiB.
#[expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the kernel's own account of this process"
)]
fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs drivers on the runtime of the test.
#[expect(clippy::disallowed_methods, reason = "the test owns its runtime")]
fn spawner() -> Spawner {
    Spawner::new(|driver| drop(tokio::spawn(driver)))
}

/// Each lane is drawn from in turn and keeps what it drew until all have drawn: a writer that is always behind.
#[tokio::test]
async fn sixteen_lanes_hold_less_than_16_mib() {
    let loopback = Loopback::start([("/big", Behaviour::new(SIZE))]);
    let target = Target {
        origin: Origin {
            scheme: Scheme::Http,
            host: "127.0.0.1".to_owned(),
            port: loopback.port(),
        },
        path: "/big".to_owned(),
    };
    let transport = HttpTransport::new(NetConfig::default(), spawner()).unwrap();
    let mut lanes = Vec::new();
    let before = anonymous_kib();
    for _ in 0..LANES {
        let session = transport.open(&target.origin).await.unwrap();
        let request = Request {
            target: target.clone(),
            ask: Ask::Whole,
            if_range: None,
            no_cache: false,
            fields: Vec::new(),
        };
        let reply = session.fetch(request).await.unwrap();
        lanes.push((session, reply.body, Chunks::new()));
    }
    let mut peak = 0;
    let mut ended = 0;
    while ended < LANES {
        ended = 0;
        for (_, body, chunks) in &mut lanes {
            if body.fill(chunks, BUDGET).await.unwrap() == Fill::End {
                ended += 1;
            }
        }
        peak = peak.max(anonymous_kib());
        for (_, _, chunks) in &mut lanes {
            chunks.advance(chunks.len());
        }
    }
    let held = peak.saturating_sub(before);
    eprintln!("{LANES} lanes held {held} KiB");
    assert!(held < LIMIT_KIB, "{LANES} lanes held {held} KiB");
}
