//! Peers that speak HTTP/2 by hand, and break its rules.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::harness::Place;

/// Says to whoever connects what it has to say, and counts connections.
struct Peer {
    url: String,
    connections: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Script {
    greeting: Vec<u8>,
    /// In answer to a request.
    answer: Vec<u8>,
    /// It waits until the other side closes, and does not close by itself.
    stays: bool,
}

impl Peer {
    fn saying(greeting: Vec<u8>, stays: bool) -> Self {
        Self::with(Script {
            greeting,
            answer: Vec::new(),
            stays,
        })
    }

    fn answering(answer: Vec<u8>) -> Self {
        Self::with(Script {
            greeting: frame(SETTINGS, 0, 0, &[]),
            answer,
            stays: true,
        })
    }

    fn with(script: Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let script = script.clone();
                // What becomes of a connection is the other side's business.
                thread::spawn(move || say(stream, &script).ok());
            }
        });
        Self {
            url: format!("http://127.0.0.1:{port}/file.bin"),
            connections,
        }
    }
}

fn say(mut stream: TcpStream, script: &Script) -> io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface)?;
    stream.write_all(&script.greeting)?;
    if !script.stays {
        return Ok(());
    }
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let len = usize::from(head[1]) << 8 | usize::from(head[2]);
        stream.read_exact(&mut vec![0; len])?;
        if head[3] == HEADERS {
            stream.write_all(&script.answer)?;
        }
    }
}

/// RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = len[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, stream]);
    frame.extend(payload);
    frame
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

fn setting(id: u8, value: u32) -> Vec<u8> {
    let mut payload = vec![0, id];
    payload.extend(value.to_be_bytes());
    frame(SETTINGS, 0, 0, &payload)
}

/// Their connections die before anything can be asked on them.
#[test]
fn settings_that_break_a_rule_are_an_attempt_that_failed() {
    let broken = [
        setting(4, 1 << 31),
        setting(5, 100),
        setting(2, 7),
        frame(SETTINGS, 0, 0, &[0; 5]),
        frame(SETTINGS, 0, 1, &[]),
    ];
    for bytes in broken {
        let peer = Peer::saying(bytes, true);
        let place = Place::new();
        let ran = place.tur(&["--http2", "--retry", "2", &peer.url]);
        assert_eq!(ran.code, Some(7), "{ran:?}");
        ran.says("broke the rules of HTTP/2");
        assert_eq!(peer.connections.load(Ordering::Relaxed), 1);
        assert_eq!(place.names(), [""; 0]);
    }
}

#[test]
fn connections_that_end_after_the_settings_are_attempts_that_failed() {
    let goaway = |code: u8| frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, code]);
    let hello = frame(SETTINGS, 0, 0, &[]);
    for bytes in [
        hello.clone(),
        [hello.clone(), goaway(0)].concat(),
        [hello.clone(), goaway(1)].concat(),
        [hello, goaway(11)].concat(),
    ] {
        let peer = Peer::saying(bytes, false);
        let place = Place::new();
        let ran = place.tur(&["--http2", "--retry", "2", &peer.url]);
        assert_eq!(ran.code, Some(4), "{ran:?}");
        let connections = peer.connections.load(Ordering::Relaxed);
        assert!(connections <= 6, "{connections} connections: {ran:?}");
        assert_eq!(place.names(), [""; 0]);
    }
}

/// In frames of the size that most servers send.
#[test]
fn a_header_section_is_bounded_by_its_bytes_and_not_by_its_frames() {
    for (fields, code) in [(100, 0), (240, 0), (300, 14)] {
        // :status 200, content-length 0, and fields of 1 000 bytes that enter no table (RFC 7541, section 6.2.2).
        let mut section = vec![0x88, 0x0f, 0x0d, 1, b'0'];
        for n in 0..fields {
            section.extend([0, 5]);
            section.extend(format!("x-{n:03}").bytes());
            section.extend([0x7f, 0xe9, 0x06]);
            section.extend([b'v'; 1_000]);
        }
        let mut bytes = Vec::new();
        let mut chunks = section.chunks(16 << 10).peekable();
        let (mut kind, mut ends) = (HEADERS, 1);
        while let Some(chunk) = chunks.next() {
            let last = if chunks.peek().is_none() { 4 } else { 0 };
            bytes.extend(frame(kind, ends | last, 1, chunk));
            (kind, ends) = (CONTINUATION, 0);
        }
        let peer = Peer::answering(bytes);
        let place = Place::new();
        let ran = place.tur(&["--http2", "--retry", "0", &peer.url]);
        assert_eq!(ran.code, Some(code), "{fields} fields: {ran:?}");
        if code == 14 {
            ran.says("the header section is too large");
        }
    }
}
