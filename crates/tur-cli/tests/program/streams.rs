//! `tur stream` and `-o -`: a file to standard output, in order, and nothing left anywhere.

use std::io::Read as _;
use std::process::{Child, ChildStdout, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tur_core::{ByteRange, Rate};
use tur_testkit::{Behaviour, Deed, Gate, Loopback, Ranges, When, content};

use crate::harness::{Place, Ran, end_within, sha256};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 5 * MIB + 3;

/// Runs it with what passes in the place itself, so that what it leaves is seen.
fn stream(place: &Place, args: &[&str]) -> Output {
    let mut command = place.command(&["stream", "--max-time", "120"]);
    let output = command.args(args).env("TMPDIR", place.path()).output();
    let output = output.expect("the program starts");
    assert_eq!(place.names(), [""; 0], "nothing is left");
    output
}

/// Starts it; what it writes is read by the test.
fn begun(place: &Place, args: &[&str]) -> (Child, ChildStdout) {
    let mut child = place
        .command(&["stream"])
        .args(args)
        .env("TMPDIR", place.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let out = child.stdout.take().expect("it is piped");
    (child, out)
}

fn origin(behaviour: Behaviour) -> (Loopback, String) {
    let origin = Loopback::start([("/f", behaviour)]);
    let url = origin.url("/f");
    (origin, url)
}

#[track_caller]
fn assert_bytes(output: &Output, from: u64) {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    let meant = content(0, ByteRange::new(from, SIZE));
    assert!(output.stdout == meant, "{} bytes", output.stdout.len());
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_file_goes_to_standard_output_in_order() {
    let behaviour = Behaviour::new(SIZE)
        .pace(Rate::per_second(16 * MIB))
        .rule(When::Every(3), Deed::CutAfter(200_000));
    let (_origin, url) = origin(behaviour);
    let place = Place::new();
    assert_bytes(&stream(&place, &[&url]), 0);
    assert_bytes(&stream(&place, &["-s", "8", &url]), 0);
    assert_bytes(&stream(&place, &["--from", "5M", "-q", &url]), 5 * MIB);
    assert_bytes(&stream(&place, &["-d", ".", "-o", "-", &url]), 0);
    let mut plain = place.command(&["-o", "-", &url]);
    let output = plain.env("TMPDIR", place.path()).output();
    assert_bytes(&output.expect("it starts"), 0);
}

/// The first request asks for a piece of the window, and the answer is all there is.
#[test]
fn a_server_without_ranges_is_asked_once() {
    const LONG: u64 = 40 * MIB;
    let (origin, url) = origin(Behaviour::new(LONG).ranges(Ranges::Ignored));
    let place = Place::new();
    let output = stream(&place, &["-x", "8", &url]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let meant = content(0, ByteRange::new(0, LONG));
    assert!(output.stdout == meant, "{} bytes", output.stdout.len());
    assert_eq!(origin.requests(), 1);
}

/// A body without ranges broke off, and comes again from 0: what had passed is digested and given back once more.
#[test]
fn what_comes_again_is_verified_again() {
    const LONG: u64 = 24 * MIB;
    let behaviour = Behaviour::new(LONG)
        .ranges(Ranges::Ignored)
        .rule(When::Only(1), Deed::CutAfter(20 * MIB));
    let digest = format!("sha256:{}", sha256(0, LONG));
    let meant = content(0, ByteRange::new(0, LONG));
    for to_nowhere in [false, true] {
        let (origin, url) = origin(behaviour.clone());
        let place = Place::new();
        let output = match to_nowhere {
            false => stream(&place, &["--checksum", &digest, &url]),
            true => {
                let mut command = place.command(&["-o", "/dev/null", "--checksum", &digest, &url]);
                let output = command.env("TMPDIR", place.path()).output();
                output.expect("it starts")
            }
        };
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(to_nowhere || output.stdout == meant);
        assert!(origin.requests() <= 4, "{}", origin.requests());
    }
}

#[test]
fn events_are_told_beside_it() {
    let (_origin, url) = origin(Behaviour::new(SIZE));
    let place = Place::new();
    // Of a part of it, as of the whole.
    for (args, from) in [
        (&[][..], 0),
        (&["--from", "0"], 0),
        (&["--from", "5M"], 5 * MIB),
    ] {
        let output = stream(&place, &[&["--json", &url], args].concat());
        assert_bytes(&output, from);
        let said = said(&output);
        let last = said.lines().last().expect("a line");
        let last: serde_json::Value = serde_json::from_str(last).expect("an object");
        assert_eq!(
            (&last["event"], &last["path"]),
            (&"done".into(), &"-".into())
        );
        assert_eq!(last["protocol"], "h1", "{last}");
        for counted in ["connections", "requests", "lanes_max"] {
            assert!(last[counted].as_u64() >= Some(1), "{last}");
        }
        let bytes = SIZE - from;
        assert_eq!(
            (&last["bytes"], &last["url"]),
            (&bytes.into(), &url.clone().into())
        );
    }
}

#[test]
fn a_failure_has_its_code_although_bytes_were_written() {
    let (_origin, url) = origin(Behaviour::new(SIZE));
    let place = Place::new();
    let wrong = format!("md5:{}", "0".repeat(32));
    let output = stream(&place, &["--checksum", &wrong, &url]);
    assert_eq!(output.status.code(), Some(10), "{}", said(&output));
    let gone = Deed::Status {
        status: 404,
        retry_after: None,
    };
    let (_origin, url) = origin_of(gone);
    let output = stream(&place, &[&url]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(8), 0));
}

/// As a download, but for the file.
#[test]
fn what_goes_nowhere_is_verified_and_leaves_nothing() {
    let (origin, url) = origin(Behaviour::new(SIZE));
    let place = Place::new();
    let good = format!("sha256:{}", sha256(0, SIZE));
    let run = |args: &[&str]| {
        let mut command = place.command(&["--json", "--max-time", "120", "-o", "/dev/null"]);
        let output = command.args(args).env("TMPDIR", place.path()).output();
        assert_eq!(place.names(), [""; 0], "nothing is left");
        Ran::of(output.expect("it starts"))
    };
    let done = run(&["-s", "4", "--checksum", &good, &url])
        .ends_with(0)
        .last();
    assert_eq!(
        (&done["event"], &done["path"], &done["bytes"]),
        (&"done".into(), &"/dev/null".into(), &SIZE.into())
    );
    assert_eq!(done["sha256"], good["sha256:".len()..]);
    let wrong = format!("sha256:{}", sha256(1, SIZE));
    let error = run(&["--checksum", &wrong, &url]).ends_with(10).last();
    assert_eq!(error["kind"], "checksum");
    run(&["--keep-bad", "--checksum", &wrong, &url]).ends_with(2);
    let behaviour = Behaviour::new(SIZE).rule(When::Always, Deed::CutAfter(MIB));
    origin.swap("/f", behaviour.ranges(Ranges::Ignored));
    run(&["--retry", "0", &url]).ends_with(4);
}

/// Nobody has time to clean up, and nothing is there to be cleaned up.
#[test]
fn a_kill_leaves_nothing() {
    let gate = Gate::at(MIB);
    let (_origin, url) = origin_of(Deed::Hold(gate));
    let place = Place::new();
    let (mut child, mut out) = begun(&place, &[&url]);
    out.read_exact(&mut vec![0; MIB as usize])
        .expect("it comes");
    assert_eq!(place.names(), [""; 0], "nor while it runs");
    child.kill().expect("it runs");
    child.wait().expect("it is gone");
    assert_eq!(place.names(), [""; 0]);
}

fn origin_of(deed: Deed) -> (Loopback, String) {
    origin(Behaviour::new(SIZE).rule(When::Always, deed))
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (origin, url) = origin(Behaviour::new(SIZE));
    let place = Place::new();
    let digest = format!("sha256:{}", sha256(0, SIZE));
    for args in [
        &["stream", &url, &url][..],
        &["stream"],
        &["stream", "-o", "f", &url],
        &["stream", "--save-session", "s", &url],
        &["--from", "5", &url],
        &["stream", "--from", "5", "--checksum", &digest, &url],
        &[
            "-o",
            "/dev/null",
            "--from",
            "5",
            "--checksum",
            &digest,
            &url,
        ],
    ] {
        place.tur_plain(args).ends_with(2);
    }
    assert_eq!(origin.requests(), 0);
}

/// Who reads slowly is waited for: what is fetched ahead is bounded, and nothing counts as a stall.
#[test]
fn a_reader_that_waits_stops_the_connections() {
    const BIG: u64 = 80 * MIB;
    let (origin, url) = origin(Behaviour::new(BIG));
    let place = Place::new();
    let (child, mut out) = begun(&place, &["--speed-limit", "1K", "--speed-time", "1", &url]);
    let mut have = vec![0; MIB as usize];
    out.read_exact(&mut have).expect("it comes");
    // All that may be fetched comes, and no more.
    let soon = Duration::from_secs(60);
    assert!(origin.wait_for_bytes(32 * MIB, soon));
    let beyond = Duration::from_secs(2);
    assert!(!origin.wait_for_bytes(45 * MIB, beyond));
    out.read_to_end(&mut have).expect("the rest comes");
    assert!(have == content(0, ByteRange::new(0, BIG)));
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_reader_that_goes_ends_it_without_noise() {
    let (_origin, url) = origin(Behaviour::new(SIZE));
    let place = Place::new();
    let (child, mut out) = begun(&place, &["-q", &url]);
    out.read_exact(&mut [0; 100]).expect("it comes");
    drop(out);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), said(&output)),
        (Some(3), String::new())
    );
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_signal_ends_it_and_leaves_nothing() {
    let gate = Gate::at(MIB);
    let (_origin, url) = origin_of(Deed::Hold(gate));
    let place = Place::new();
    let (child, mut out) = begun(&place, &[&url]);
    out.read_exact(&mut vec![0; MIB as usize])
        .expect("it comes");
    send(&child, Signal::INT);
    assert_eq!(out.read(&mut [0; 8]).ok(), Some(0));
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    assert_eq!(place.names(), [""; 0]);
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a pid"), signal).expect("it runs");
}

/// Who reads has the pipe open and takes nothing from it: that must not hold up an end, whether all of the file is there or not.
#[test]
fn a_reader_that_stands_still_holds_up_no_end() {
    const SOON: Duration = Duration::from_secs(10);
    let whole = Behaviour::new(SIZE);
    let part = whole.clone().rule(When::Always, Deed::Hold(Gate::at(MIB)));
    for (behaviour, sent) in [(whole, SIZE), (part, MIB)] {
        let (origin, url) = origin(behaviour);
        let place = Place::new();
        for (signal, code) in [
            (Some(Signal::INT), 130),
            (Some(Signal::TERM), 143),
            (None, 4),
        ] {
            let before = origin.bytes_sent();
            let limit = signal.map_or("2", |_| "120");
            let (mut child, mut out) = begun(&place, &["-q", "--max-time", limit, &url]);
            out.read_exact(&mut [0; 100]).expect("it comes");
            assert!(origin.wait_for_bytes(before + sent, SOON));
            if let Some(signal) = signal {
                send(&child, signal);
            }
            assert_eq!(end_within(&mut child, SOON), Some(code), "{signal:?}");
            let output = child.wait_with_output().expect("it has ended");
            assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
            assert!(!said(&output).contains("kept"), "{}", said(&output));
            assert_eq!(place.names(), [""; 0]);
        }
    }
}

/// Nothing of it is, however it ends.
#[test]
fn nobody_is_told_that_what_passes_is_kept() {
    let cut = Deed::CutAfter(MIB);
    let (_origin, url) = origin_of(cut);
    let place = Place::new();
    let output = stream(&place, &["--retry", "0", "-x", "1", &url]);
    assert_eq!(output.status.code(), Some(4));
    assert!(
        said(&output).contains("bytes had come"),
        "{}",
        said(&output)
    );
    let (_origin, url) = origin_of(Deed::Hold(Gate::at(MIB)));
    let (child, mut out) = begun(&place, &[&url]);
    out.read_exact(&mut vec![0; MIB as usize])
        .expect("it comes");
    send(&child, Signal::INT);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert!(!said(&output).contains("kept"), "{}", said(&output));
}

#[test]
fn a_place_beyond_all_files_asks_the_server_all_the_same() {
    let (origin, url) = origin(Behaviour::new(SIZE));
    let place = Place::new();
    let last = u64::MAX.to_string();
    let output = stream(&place, &["-q", "--from", &last, &url]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    assert!(origin.requests() >= 1);
    let nobody = "http://127.0.0.1:1/f";
    let output = stream(&place, &["-q", "--retry", "0", "--from", &last, nobody]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
}

#[test]
fn a_directory_for_what_passes_is_not_made() {
    let (origin, url) = origin(Behaviour::new(SIZE));
    let place = Place::new();
    for words in [
        &["stream"][..],
        &["-o", "/dev/null"],
        #[cfg(feature = "serve")]
        &["serve", "--idle", "1"],
    ] {
        let mut command = place.command(words);
        let output = command.arg(&url).env("TMPDIR", place.file("none")).output();
        Ran::of(output.expect("it starts")).ends_with(3);
        assert_eq!(place.names(), [""; 0]);
    }
    assert_eq!(origin.requests(), 0);
}

/// Room that the program's files without names take, in bytes.
#[cfg(target_os = "linux")]
fn room_of(child: &Child) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let files = std::path::PathBuf::from(format!("/proc/{}/fd", child.id()));
    let open = files.read_dir().expect("it runs").filter_map(Result::ok);
    let seen = open.filter_map(|file| file.path().metadata().ok());
    let unnamed = seen.filter(|file| file.is_file() && file.nlink() == 0);
    unnamed.map(|file| file.blocks() * 512).sum()
}

/// A server without ranges sends it all the same; nobody reads it, so it takes no room.
#[cfg(target_os = "linux")]
#[test]
fn what_stands_before_the_first_byte_wanted_takes_no_room() {
    const LONG: u64 = 60 * MIB;
    let gate = Gate::at(50 * MIB);
    let behaviour = Behaviour::new(LONG).ranges(Ranges::Ignored);
    let (origin, url) = origin(behaviour.rule(When::Always, Deed::Hold(gate.clone())));
    let place = Place::new();
    let (child, mut out) = begun(&place, &["-q", "--from", "52M", &url]);
    assert!(origin.wait_for_bytes(50 * MIB, Duration::from_secs(60)));
    let is_little = || {
        std::thread::yield_now();
        room_of(&child) <= 12 * MIB
    };
    assert!((0..100_000).any(|_| is_little()), "{}", room_of(&child));
    gate.open();
    let mut have = Vec::new();
    out.read_to_end(&mut have).expect("it comes");
    assert!(have == content(0, ByteRange::new(52 * MIB, LONG)));
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}
