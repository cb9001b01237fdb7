//! Sockets without a program: what the origin gives a client that costs next to nothing.
#![expect(
    clippy::disallowed_methods,
    reason = "it measures the origin; nothing here is part of tur"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::program::{Cpu, End, Expected, Timed};

/// Reads the file over so many connections, an equal part on each, and forgets it. What comes is counted, not compared.
///
/// # Errors
/// A connection fails, or brings more or less than it should.
pub(super) fn read(url: &str, connections: u64, expected: &Expected) -> Result<Timed> {
    let rest = url.strip_prefix("http://").context("not in clear text")?;
    let (authority, path) = rest.split_once('/').context("no path")?;
    let size = expected.size();
    let before = Cpu::now();
    let start = Instant::now();
    let readers: Vec<JoinHandle<Result<()>>> = (0..connections)
        .map(|n| {
            let (first, end) = (size * n / connections, size * (n + 1) / connections);
            let head = format!(
                "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nRange: bytes={first}-{}\r\nConnection: close\r\n\r\n",
                end - 1
            );
            let authority = authority.to_owned();
            std::thread::spawn(move || part(&authority, &head, end - first))
        })
        .collect();
    for reader in readers {
        reader.join().expect("a reader does not panic")?;
    }
    Ok(Timed {
        end: End::Right(start.elapsed()),
        cpu: Cpu::since(before),
    })
}

fn part(authority: &str, head: &str, len: u64) -> Result<()> {
    let mut stream = TcpStream::connect(authority)?;
    stream.write_all(head.as_bytes())?;
    let mut buffer = vec![0; 256 * 1024];
    let mut answer = Vec::new();
    let body = loop {
        let n = stream.read(&mut buffer)?;
        ensure!(n > 0, "the origin closed before its answer");
        answer.extend_from_slice(&buffer[..n]);
        if let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break answer.len() - at - 4;
        }
    };
    ensure!(
        answer.starts_with(b"HTTP/1.1 206 "),
        "the origin refused a bare socket"
    );
    let mut got = body as u64;
    while got < len {
        let n = stream.read(&mut buffer)?;
        ensure!(n > 0, "the origin closed early");
        got += n as u64;
    }
    ensure!(got == len, "the origin sent too much");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tur_testkit::{Behaviour, Deed, Loopback, When};

    #[test]
    fn each_connection_reads_its_part() {
        let origin = Loopback::start([("/a", Behaviour::new(1_000_003))]);
        read(&origin.url("/a"), 3, &Expected::of(1_000_003)).unwrap();
        let ranges: u64 = origin
            .seen()
            .iter()
            .filter_map(|s| s.range)
            .map(|r| r.len())
            .sum();
        assert_eq!((origin.connections(), ranges), (3, 1_000_003));
    }

    #[test]
    fn a_part_that_is_cut_is_no_part() {
        let cut = Behaviour::new(1_000).rule(When::OnConnection(2), Deed::CutAfter(10));
        let origin = Loopback::start([("/a", cut)]);
        assert!(read(&origin.url("/a"), 2, &Expected::of(1_000)).is_err());
    }
}
