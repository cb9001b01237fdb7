//! What the long way itself does: how much it carries when nothing limits it, and how exact its delay is.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tur_testkit::{Distance, Way};

use crate::spread::Spread;

/// A sentence about a way of this length, without a limit of rate.
pub(super) fn of(rtt: Duration) -> Result<String> {
    let distance = Distance::to(source()?, Way { rtt, rate: None })?;
    let mut errors = Vec::with_capacity(PINGS);
    let mut stream = connect(&distance)?;
    for _ in 0..=PINGS {
        let start = Instant::now();
        stream.write_all(&[0])?;
        stream.read_exact(&mut [0])?;
        errors.push((start.elapsed().as_secs_f64() - rtt.as_secs_f64()) * 1e3);
    }
    // The first one also waits for the handshake.
    let error = Spread::of(&errors[1..]);
    let rates = [1, 8].map(|connections| carries(&distance, connections));
    let [one, eight] = rates;
    Ok(format!(
        "The way alone: {:.0} MiB/s over one connection of plain TCP, {:.0} MiB/s over eight; its round trip is late by {:.2} ms (at most {:.2} ms).",
        one?, eight?, error.median, error.max
    ))
}

/// MiB per second over so many connections.
fn carries(distance: &Distance, connections: usize) -> Result<f64> {
    let start = Instant::now();
    let reading: Vec<JoinHandle<Result<()>>> = (0..connections)
        .map(|_| {
            let mut stream = connect(distance)?;
            let share = CARRIED / connections;
            Ok(std::thread::spawn(move || {
                stream.write_all(&[1])?;
                let (mut left, mut buffer) = (share, vec![0; 256 * 1024]);
                while left > 0 {
                    let n = stream.read(&mut buffer)?;
                    left = left.saturating_sub(n.max(1));
                }
                Ok(())
            }))
        })
        .collect::<Result<_>>()?;
    for reader in reading {
        reader.join().expect("a reader does not panic")?;
    }
    Ok(CARRIED as f64 / f64::from(1 << 20) / start.elapsed().as_secs_f64())
}

fn connect(distance: &Distance) -> Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, distance.port()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A server that sends a zero back for each zero, and bytes without end for anything else.
fn source() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no loopback port")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut asked, bytes) = ([0], vec![7; 256 * 1024]);
                // A client that goes away has had enough.
                while stream.set_nodelay(true).is_ok() && stream.read_exact(&mut asked).is_ok() {
                    if asked == [0] {
                        drop(stream.write_all(&[0]));
                    } else {
                        while stream.write_all(&bytes).is_ok() {}
                    }
                }
            });
        }
    });
    Ok(address)
}

/// Round trips that are timed.
const PINGS: usize = 50;
/// Bytes that are carried to see how fast.
const CARRIED: usize = 512 << 20;
