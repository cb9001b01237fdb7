//! An origin for many small files that costs next to nothing: a thread for each connection, bodies in memory.
//!
//! It serves whole files and ranges over connections that are kept, and counts those: [`Origin`].

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use tur_core::ByteRange;
use tur_testkit::content;

/// How many different bodies there are: neighbours differ, so that a file under another's name is found.
const BODIES: usize = 97;

/// A running origin; it ends with the process.
pub(super) struct Origin {
    port: u16,
    shelf: Arc<Shelf>,
}

struct Shelf {
    bodies: Vec<Vec<u8>>,
    connections: AtomicU64,
}

impl Origin {
    /// Serves files of so many bytes.
    ///
    /// # Errors
    /// The machine has no loopback port to give.
    pub(super) fn start(size: u64) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no loopback port")?;
        let body = |version| content(version, ByteRange::new(0, size));
        let shelf = Arc::new(Shelf {
            bodies: (0..BODIES as u8).map(body).collect(),
            connections: AtomicU64::new(0),
        });
        let port = listener.local_addr()?.port();
        let served = Arc::clone(&shelf);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                served.connections.fetch_add(1, Ordering::Relaxed);
                let shelf = Arc::clone(&served);
                // A client that goes away is nobody to tell.
                std::thread::spawn(move || serve(&stream, &shelf).ok());
            }
        });
        Ok(Self { port, shelf })
    }

    /// Where the file of this number is.
    pub(super) fn url(&self, number: usize) -> String {
        format!("http://127.0.0.1:{}/{}", self.port, name(number))
    }

    /// What is in it.
    pub(super) fn body(&self, number: usize) -> &[u8] {
        &self.shelf.bodies[number % BODIES]
    }

    /// Connections so far.
    pub(super) fn connections(&self) -> u64 {
        self.shelf.connections.load(Ordering::Relaxed)
    }
}

/// The name of a file.
pub(super) fn name(number: usize) -> String {
    format!("f{number:05}.bin")
}

fn serve(stream: &TcpStream, shelf: &Shelf) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let number = line.strip_prefix("GET /f").and_then(|rest| rest.get(..5));
        let number: usize = number.context("an unknown path")?.parse()?;
        let mut range = None;
        loop {
            line.clear();
            ensure!(reader.read_line(&mut line)? > 0, "a head that ends early");
            if line == "\r\n" {
                break;
            }
            let lower = line.trim_end().to_ascii_lowercase();
            if let Some(asked) = lower.strip_prefix("range: bytes=") {
                range = Some(asked.to_owned());
            }
        }
        answer(
            stream,
            number,
            &shelf.bodies[number % BODIES],
            range.as_deref(),
        )?;
    }
}

/// Head and body leave in one call, as far as the socket takes them.
fn answer(mut stream: &TcpStream, number: usize, body: &[u8], range: Option<&str>) -> Result<()> {
    let total = body.len();
    let (status, placed, part) = match range {
        None => ("200 OK", String::new(), body),
        Some(range) => {
            let (first, last) = range.split_once('-').context("an unknown range")?;
            let first: usize = first.parse()?;
            let last = last
                .parse()
                .map_or(total, |last: usize| (last + 1).min(total));
            let part = body.get(first..last).context("a range beyond the end")?;
            let placed = format!("Content-Range: bytes {first}-{}/{total}\r\n", last - 1);
            ("206 Partial Content", placed, part)
        }
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{placed}ETag: \"{number}\"\r\nAccept-Ranges: bytes\r\n\r\n",
        part.len()
    );
    let mut bytes = Vec::with_capacity(head.len() + part.len());
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(part);
    Ok(stream.write_all(&bytes)?)
}
