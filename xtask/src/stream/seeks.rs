//! A seek into a hole, to its first byte, beside asking the origin for that range directly.
//!
//! All lanes of the reader's download are busy meanwhile, at a pace that the origin sets for each connection. curl is timed
//! by its own `time_starttransfer`, so that the start of its process counts for nothing: once over a new connection, and once
//! over the one it has. That is the first byte of the head; readers and the bare socket wait for one of the body, which an
//! origin with a pace sends later.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tur_core::{ByteRange, Rate};
use tur_testkit::{Behaviour, Distance, Loopback, Way};

use super::asked::Asked;
use super::cell;

/// Long enough that holes are left at the end.
const SIZE: u64 = 4 << 30;
/// Of each connection.
const PACE: u64 = 4 << 20;
/// Read behind each seek.
const READ: u64 = 64 << 10;
/// No part of the file begins there.
const ODD: u64 = 41_000_003;
const PATH: &str = "/film.bin";

/// Measures and prints one table.
pub(super) fn measure(asked: &Path, rtt: u64, rounds: usize) -> Result<()> {
    let behaviour = Behaviour::new(SIZE).pace(Rate::per_second(PACE));
    let origin = Loopback::start([(PATH, behaviour)]);
    let server = ([127, 0, 0, 1], origin.port()).into();
    let way = Way {
        rtt: Duration::from_millis(rtt),
        rate: None,
    };
    let port = match rtt {
        0 => origin.port(),
        _ => Distance::to(server, way)?.port(),
    };
    let url = format!("http://127.0.0.1:{port}{PATH}");
    let directory = tempfile::tempdir()?;
    let mut reader = Asked::start(asked, &url, directory.path(), "pwrite")?;
    reader.read(ByteRange::new(0, 8 << 20))?;
    let mut bare = Bare::connect(port)?;
    bare.first_byte(0)?;
    let mut times = [const { Vec::new() }; 4];
    let (before, mut curls) = (origin.connections(), 0);
    for round in 0..rounds {
        // Lanes begin at even parts of the file, so that holes are behind odd ones.
        let step = SIZE / 2 / rounds as u64;
        let at = SIZE / 2 + (round as u64 * 37 % rounds as u64) * step + ODD;
        let (took, there) = reader.read(ByteRange::new(at, at + READ))?;
        if there {
            continue;
        }
        curls += 1;
        let (cold, warm) = curl(&url, at)?;
        let direct = bare.first_byte(at)?;
        for (times, took) in times.iter_mut().zip([took, warm, cold, direct]) {
            times.push(took);
        }
    }
    // One connection for each curl; what is left was opened by the reader.
    let opened = origin.connections() - before - curls;
    ensure!(curls > 0, "there was no hole");
    println!("\n### A seek into a hole, round trip {rtt} ms; {curls} of {rounds} led into one\n");
    println!("{opened} connections were opened for the reader meanwhile.\n");
    println!("| way to the first byte | median ms | min–max ms |");
    println!("|---|---|---|");
    let names = [
        "a reader of `Media`, lanes busy",
        "curl, the head, over the connection it has",
        "curl, the head, over a new connection",
        "a bare socket, kept alive",
    ];
    for (name, times) in names.iter().zip(&times) {
        println!("| {name} | {} |", cell(times, 2));
    }
    Ok(())
}

/// Milliseconds to the first byte over a new connection, and over one that is there.
fn curl(url: &str, at: u64) -> Result<(f64, f64)> {
    let mut command = Command::new("curl");
    let format = "%{time_starttransfer} %{num_connects}\\n";
    let one = |command: &mut Command, at: u64| {
        command.args(["--silent", "--fail", "--noproxy", "*", "-o", "/dev/null"]);
        command.args(["-w", format, "-r"]);
        command.arg(format!("{at}-{}", at + READ - 1)).arg(url);
    };
    one(&mut command, at);
    one(command.arg("--next"), at);
    let output = command.output()?;
    ensure!(output.status.success(), "curl ended with {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let [cold, "1", warm, "0"] = words[..] else {
        anyhow::bail!("curl says {text:?}");
    };
    Ok((1e3 * cold.parse::<f64>()?, 1e3 * warm.parse::<f64>()?))
}

/// A connection and nothing else.
struct Bare {
    stream: TcpStream,
    port: u16,
}

impl Bare {
    fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, port })
    }

    /// Milliseconds to the first byte of a body. Reads all of that.
    fn first_byte(&mut self, at: u64) -> Result<f64> {
        let request = format!(
            "GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nRange: bytes={at}-{}\r\n\r\n",
            self.port,
            at + READ - 1
        );
        let start = Instant::now();
        self.stream.write_all(request.as_bytes())?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        self.stream.read_exact(&mut byte)?;
        let took = start.elapsed().as_secs_f64() * 1e3;
        ensure!(head.starts_with(b"HTTP/1.1 206 "), "no range came");
        let rest = usize::try_from(READ - 1).context("short")?;
        self.stream.read_exact(&mut vec![0; rest])?;
        Ok(took)
    }
}
