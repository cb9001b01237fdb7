//! What HTTP/2 peers can fill that send more than anybody reads, measured in a process of its own.
#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use tur_core::port::{Request, Session, Transport};
use tur_core::{Ask, Origin, Scheme, Target};
use tur_net::{HttpTransport, NetConfig, Protocols, Spawner};

const SESSIONS: usize = 8;
const STREAMS: usize = 8;
const LIMIT_KIB: u64 = 128 * 1024;

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

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Answers each request, and when all have come sends DATA of `size` bytes to all of them in turn, whatever the windows
/// say, until the client closes.
fn serve(mut tcp: TcpStream, size: usize) {
    let mut preface = [0; 24];
    if tcp.read_exact(&mut preface).is_err() || tcp.write_all(&frame(4, 0, 0, &[])).is_err() {
        return;
    }
    let mut streams = Vec::new();
    while streams.len() < STREAMS {
        let mut head = [0; 9];
        if tcp.read_exact(&mut head).is_err() {
            return;
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if tcp.read_exact(&mut payload).is_err() {
            return;
        }
        // The windows of our SETTINGS count once they are acknowledged.
        if head[3] == 4 && head[4] == 0 && tcp.write_all(&frame(4, 1, 0, &[])).is_err() {
            return;
        }
        if head[3] == 1 {
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if tcp.write_all(&frame(1, 4, stream, b"\x88")).is_err() {
                return;
            }
            streams.push(stream);
        }
    }
    for stream in streams.iter().cycle() {
        if tcp
            .write_all(&frame(0, 0, *stream, &vec![7; size]))
            .is_err()
        {
            return;
        }
    }
}

/// Floods eight connections of eight streams, which nobody reads, and says what was held at most.
#[expect(clippy::disallowed_methods, reason = "the test owns its runtime")]
async fn held_under(size: usize) -> u64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port can be had");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            std::thread::spawn(move || serve(tcp, size));
        }
    });
    let target = Target {
        origin: Origin {
            scheme: Scheme::Http,
            host: "127.0.0.1".to_owned(),
            port,
        },
        path: "/".to_owned(),
    };
    let config = NetConfig::default().protocols(Protocols::Http2);
    let spawner = Spawner::new(|driver| drop(tokio::spawn(driver)));
    let transport = HttpTransport::new(config, spawner).expect("a transport");
    let before = anonymous_kib();
    let mut peak = 0;
    let mut kept = Vec::new();
    for _ in 0..SESSIONS {
        let session = transport.open(&target.origin).await.expect("it opens");
        let mut bodies = Vec::new();
        for _ in 0..STREAMS {
            let request = Request {
                target: target.clone(),
                ask: Ask::Whole,
                if_range: None,
                no_cache: false,
                fields: Vec::new(),
            };
            bodies.push(session.fetch(request).await.expect("it is answered"));
        }
        // The peer goes on until it has broken the rules: there is no end that it might mark.
        while session.is_open() {
            tokio::task::yield_now().await;
        }
        peak = peak.max(anonymous_kib());
        kept.push((session, bodies));
    }
    peak.saturating_sub(before)
}

#[tokio::test]
async fn what_nobody_reads_is_bounded_over_all_connections() {
    for size in [16_384, 300, 1] {
        let held = held_under(size).await;
        eprintln!(
            "{SESSIONS} connections of {STREAMS} streams held {held} KiB in frames of {size}"
        );
        assert!(held < LIMIT_KIB, "frames of {size}: {held} KiB");
    }
}
