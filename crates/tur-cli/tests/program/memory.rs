//! What the program holds, whatever a server sends: anonymous resident memory, as the kernel counts it.
#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    reason = "the kernel's account of the program is a file"
)]

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use tur_testkit::{Behaviour, Loopback};

use crate::harness::Place;
use crate::wild::{Step, Wild};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What the program may hold.
const LIMIT_KIB: u64 = 64 << 10;

/// A flood ends here: far beyond every bound.
const FLOOD: usize = 512 * MIB;

/// Like [`held`], at an origin that is shut until the program was looked at: it cannot be over before.
fn held_by(origin: &Wild, args: &[&str]) -> (Option<i32>, u64) {
    held(&origin.url("/f"), args, || origin.open())
}

/// Runs the program against `url` and returns its exit code and the most that it held, in KiB. What it says is not read,
/// so that nothing is measured but itself. After the first look at it the origin `may_answer`.
fn held(url: &str, args: &[&str], may_answer: impl Fn()) -> (Option<i32>, u64) {
    let place = Place::new();
    let mut child = place
        .command(&["--json", "-vv", "--max-time", "20"])
        .args(args)
        .arg(url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        if let Some(ended) = child.try_wait().expect("a child can be waited for") {
            return (ended.code(), most);
        }
        // Between its end and the wait the file says nothing of memory any more.
        let now = fs::read_to_string(&status).unwrap_or_default();
        most = most.max(anonymous(&now).unwrap_or(0));
        may_answer();
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn anonymous(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[track_caller]
fn check(what: &str, (code, most): (Option<i32>, u64), expected: &[i32]) {
    eprintln!("{what}: held {most} KiB, exit code {code:?}");
    assert!(
        code.is_some_and(|code| expected.contains(&code)),
        "{what}: {code:?}"
    );
    assert!(most > 0, "{what}: its account could be read");
    assert!(most <= LIMIT_KIB, "{what}: {most} KiB");
}

/// One answer on each connection: `head`, and then `flood` without end.
fn flood(what: &str, head: &str, flood: Vec<u8>, expected: &[i32]) {
    let head = head.as_bytes().to_vec();
    let steps = vec![Step::Send(head), Step::Flood(flood, FLOOD), Step::Hold];
    let origin = Wild::start_shut(move |_| steps.clone());
    let args = ["--retry", "1", "--read-timeout", "2", "-s", "8"];
    check(what, held_by(&origin, &args), expected);
}

#[test]
fn heads_without_end() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let lines = |line: &str| line.repeat(64 * KIB / line.len()).into_bytes();
    flood("one line", "HTTP/1.1 200 OK\r\nX: ", lines("a"), &[14]);
    flood("many fields", ok, lines("X-Field: value\r\n"), &[14]);
    flood(
        "small interim answers",
        "",
        lines("HTTP/1.1 103 \r\n\r\n"),
        &[14],
    );
    let reason = format!("HTTP/1.1 102 {}\r\n\r\n", "r".repeat(200 * KIB));
    flood(
        "interim answers with long reasons",
        "",
        reason.into_bytes(),
        &[14],
    );
    flood("no HTTP at all", "", vec![0; 64 * KIB], &[7, 14]);
}

#[test]
fn bodies_that_nobody_wants() {
    let moved = "HTTP/1.1 302 Found\r\nLocation: /f\r\nContent-Length: 9000000000\r\n\r\n";
    flood("the body of a redirect", moved, vec![b'x'; 64 * KIB], &[14]);
    let absent = "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n";
    flood(
        "the body of a 404",
        absent,
        b"1\r\nx\r\n".repeat(10_000),
        &[8],
    );
    let page =
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9223372036854775807\r\n\r\n";
    flood("a length that no disk has", page, vec![b'x'], &[3, 4, 8, 9]);
}

#[test]
fn chunks_without_end() {
    let head = |rest: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{rest}");
    let trailers = b"X-Trailer: y\r\n".repeat(1_000);
    flood(
        "trailers",
        &head("5\r\nhello\r\n0\r\n"),
        trailers,
        &[4, 7, 14],
    );
    flood(
        "a chunk extension",
        &head("5;"),
        vec![b'a'; 64 * KIB],
        &[4, 7, 14],
    );
    flood("the size of a chunk", &head(""), vec![b'0'; 64 * KIB], &[4]);
    // A flood that ends there: the file takes room on the disk of who tests.
    let steps = vec![
        Step::Send(head("").into_bytes()),
        Step::Flood(b"1\r\nx\r\n".repeat(10_000), 24 * MIB),
    ];
    let origin = Wild::start_shut(move |_| steps.clone());
    let ran = held_by(&origin, &["--retry", "0", "--read-timeout", "5"]);
    check("chunks of one byte", ran, &[4]);
}

#[test]
fn fields_as_long_as_a_head_may_be() {
    let long = "a".repeat(200 * KIB);
    for field in [
        format!("ETag: \"{long}\""),
        format!("Content-Disposition: attachment; filename*=UTF-8''{long}"),
        format!(
            "Content-Disposition: attachment; filename=\"{}",
            "\\\"".repeat(100 * KIB)
        ),
        format!("Content-Type: text/{long}"),
        format!("Content-Encoding: {long}"),
        format!("Last-Modified: {long}"),
        format!("Retry-After: {long}"),
    ] {
        let head = format!(
            "HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
        );
        let steps = vec![Step::Send(head.into_bytes())];
        let origin = Wild::start_shut(move |_| steps.clone());
        let ran = held_by(&origin, &["--retry", "0"]);
        check(&field[..24], ran, &[0, 3, 4, 7, 8]);
    }
}

/// Ranges, each one in chunks of one byte, over 32 connections at once.
#[test]
fn many_lanes_of_small_chunks() {
    let origin = Wild::start_shut(|request| {
        let range = request.split("Range: bytes=").nth(1).unwrap_or("0-");
        let range = range.split("\r\n").next().unwrap_or_default();
        let (start, end) = range.split_once('-').unwrap_or(("0", ""));
        let last = if end.is_empty() { "67108863" } else { end };
        let head = format!(
            "HTTP/1.1 206 Partial\r\nETag: \"v\"\r\nTransfer-Encoding: chunked\r\n\
             Content-Range: bytes {start}-{last}/67108864\r\n\r\n"
        );
        let chunks = b"1\r\nx\r\n".repeat(10_000);
        vec![
            Step::Send(head.into_bytes()),
            Step::Flood(chunks, FLOOD),
            Step::Hold,
        ]
    });
    let args = ["--max-time", "6", "-s32", "-x32", "-k64K", "--retry", "0"];
    let ran = held_by(&origin, &args);
    check("32 lanes of chunks of one byte", ran, &[0, 4, 7]);
}

#[test]
fn many_lanes_at_full_speed_and_held_back() {
    let size = 192 * MIB as u64;
    let args = ["-s32", "-x32", "-k64K"];
    let slow = [&args[..], &["--limit-rate", "512K", "--max-time", "4"]].concat();
    // It is to come to its end, however long that takes.
    let fast = [&args[..], &["--max-time", "600"]].concat();
    for secure in [false, true] {
        let behaviours = [("/f", Behaviour::new(size))];
        let origin = match secure {
            true => Loopback::start_tls(behaviours),
            false => Loopback::start(behaviours),
        };
        let pem = tempfile::NamedTempFile::new().expect("a test machine has room");
        fs::write(pem.path(), origin.ca_pem().unwrap_or_default()).expect("it is ours");
        let path = pem.path().to_string_lossy().into_owned();
        let authority = if secure {
            &["--ca-file", &path][..]
        } else {
            &[]
        };
        let url = origin.url("/f");
        check(
            "32 lanes at full speed",
            held(&url, &[&fast[..], authority].concat(), || ()),
            &[0],
        );
        check(
            "32 lanes held back",
            held(&url, &[&slow[..], authority].concat(), || ()),
            &[4],
        );
    }
}

/// Each of 32 answers has as much of a head as it may have, while the others are read.
#[test]
fn many_lanes_with_large_heads() {
    let origin = Wild::start_shut(|request| {
        let range = request.split("Range: bytes=").nth(1).unwrap_or("0-");
        let start = range.split('-').next().unwrap_or("0");
        let head = format!(
            "HTTP/1.1 206 Partial\r\nETag: \"v\"\r\nContent-Length: {}\r\n\
             Content-Range: bytes {start}-67108863/67108864\r\n",
            (64 << 20) - start.parse().unwrap_or(0)
        );
        let fields: String = (0..1_000)
            .map(|i| format!("X-{i}: {}\r\n", "y".repeat(245)))
            .collect();
        let head = [&head, &fields[..], "\r\n"].concat().into_bytes();
        vec![
            Step::Send(head),
            Step::Send(vec![b'x'; 4 * KIB]),
            Step::Hold,
        ]
    });
    let args = [
        "-s32",
        "-x32",
        "-k64K",
        "--retry",
        "0",
        "--read-timeout",
        "3",
    ];
    check("32 lanes with large heads", held_by(&origin, &args), &[4]);
}

/// A head that comes byte by byte is never silent, and is given up all the same.
#[test]
fn a_head_that_drips_is_given_up() {
    for head in ["", "HTTP/1.1 200 OK\r\nX: "] {
        let steps = vec![
            Step::Send(head.as_bytes().to_vec()),
            Step::Drip(b'H', Duration::from_millis(20)),
        ];
        let origin = Wild::start_shut(move |_| steps.clone());
        let began = std::time::Instant::now();
        let args = ["--retry", "0", "--read-timeout", "1"];
        check("a head that drips", held_by(&origin, &args), &[4]);
        assert!(began.elapsed() < Duration::from_secs(15), "{head:?}");
    }
}
