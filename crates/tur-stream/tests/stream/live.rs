//! Streams without an end, of which the last bytes are kept in memory.

use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::task::Poll;

use tur_core::ByteRange;
use tur_engine::{Downloader, Kind};
use tur_stream::{Live, LiveReader, ReadError};
use tur_testkit::{Behaviour, Deed, Gate, Loopback, When, content};

use crate::stand::{KIB, MIB, PATH, aside, cause, download_error, lengthless, range};

const RING: u64 = 128 * KIB;

/// Nobody knows how long it is, and nothing of it can be asked for.
fn radio(size: u64) -> Behaviour {
    lengthless(Behaviour::new(size)).no_validators()
}

fn listen(behaviour: Behaviour) -> (Loopback, Live) {
    let origin = Loopback::start([(PATH, behaviour)]);
    let downloader = Downloader::builder().build().expect("a downloader");
    let live = Live::open(&downloader, &origin.url(PATH), RING as usize);
    // It needs no other handle of its downloader than its own, but that one.
    std::mem::forget(downloader);
    (origin, live)
}

#[track_caller]
fn assert_next(reader: &mut LiveReader, version: u8, range: ByteRange) {
    let mut have = vec![0xee; usize::try_from(range.len()).expect("short")];
    reader.read_exact(&mut have).expect("it reads");
    assert!(have == content(version, range), "wrong bytes in {range}");
}

#[test]
fn who_keeps_up_reads_all_of_it_and_who_does_not_is_told() {
    let gate = Gate::at(100 * KIB);
    let (_origin, live) = listen(radio(MIB).rule(When::Always, Deed::Hold(gate.clone())));
    let (mut slow, mut quick) = (live.reader(), live.reader());
    assert_next(&mut quick, 0, range(0, 100 * KIB));
    assert_next(&mut slow, 0, range(0, 10 * KIB));
    assert_eq!(live.window(), range(0, 100 * KIB));
    assert!(matches!(quick.try_read(&mut [0; 9]), Poll::Pending));
    gate.open();
    while !live.is_over() {
        std::thread::yield_now();
    }
    let start = MIB - RING;
    assert_eq!(
        live.window(),
        range(start, MIB),
        "no more than was asked for"
    );
    let error = slow.read(&mut [0; 9]).expect_err("it has lagged");
    let missed = start - 10 * KIB;
    assert!(matches!(cause(&error), ReadError::Lagged { missed: n } if *n == missed));
    assert_next(&mut slow, 0, range(start, MIB));
    assert_eq!(slow.read(&mut [0; 9]).expect("the end"), 0);
    assert_next(&mut live.reader(), 0, range(start, MIB));
    assert_eq!(live.reader_now().read(&mut [0; 9]).expect("the end"), 0);
}

/// What is sent after a break is not what would have followed: nobody reads over it without being told.
#[test]
fn a_new_connection_is_a_break_that_every_reader_hears_of() {
    let cut = radio(MIB).rule(When::Always, Deed::CutAfter(50 * KIB));
    let (origin, live) = listen(cut);
    let mut reader = live.reader();
    assert_next(&mut reader, 0, range(0, 50 * KIB));
    let error = reader.read(&mut [0; 9]).expect_err("it was cut");
    assert_eq!(download_error(&error).kind(), Kind::Network, "{error}");
    assert_eq!(origin.requests(), 1, "it is not tried again by itself");
    origin.swap(PATH, radio(40 * KIB).version(1));
    live.reconnect();
    let error = reader.read(&mut [0; 9]).expect_err("not in silence");
    assert!(matches!(cause(&error), ReadError::Broken));
    assert_next(&mut reader, 1, range(0, 40 * KIB));
    assert_eq!(reader.read(&mut [0; 9]).expect("the end"), 0);
    // Who begins before it comes to it too; a read ends there.
    let mut other = live.reader();
    other.seek(SeekFrom::Start(50 * KIB - 5)).expect("there");
    assert_eq!(other.read(&mut [0; 9]).expect("what is left"), 5);
    let error = other.read(&mut [0; 9]).expect_err("not in silence");
    assert!(matches!(cause(&error), ReadError::Broken));
    assert_next(&mut other, 1, range(0, 40 * KIB));
}

#[test]
fn positions_outside_of_the_window_are_errors() {
    let hold = Gate::at(300 * KIB);
    let (_origin, live) = listen(radio(MIB).rule(When::Always, Deed::Hold(hold)));
    let mut reader = live.reader();
    while live.window().end < 300 * KIB {
        std::thread::yield_now();
    }
    let start = 300 * KIB - RING;
    assert_eq!(
        reader.seek(SeekFrom::Start(start + 7)).ok(),
        Some(start + 7)
    );
    assert_next(&mut reader, 0, range(start + 7, start + 100));
    for to in [
        SeekFrom::Start(start - 1),
        SeekFrom::Start(300 * KIB + 1),
        SeekFrom::Current(-200),
        SeekFrom::Current(i64::MAX),
    ] {
        let error = reader.seek(to).expect_err("it is not there");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let told = matches!(cause(&error), ReadError::Outside { start: s, .. } if *s == start);
        assert!(told, "{error}");
    }
    let error = reader.seek(SeekFrom::End(0)).expect_err("nobody knows");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_next(&mut reader, 0, range(start + 100, 300 * KIB));
}

#[tokio::test]
async fn it_is_read_in_a_runtime_and_a_wait_can_be_ended() {
    let hold = Gate::at(10 * KIB);
    let (_origin, live) = listen(radio(MIB).rule(When::Always, Deed::Hold(hold)));
    let mut reader = live.reader();
    let mut have = vec![0; 10 * KIB as usize];
    tokio::io::AsyncReadExt::read_exact(&mut reader, &mut have)
        .await
        .expect("it comes");
    assert!(have == content(0, range(0, 10 * KIB)));
    let interrupt = reader.interrupt();
    let read = aside(move || std::io::Read::read(&mut reader, &mut [0; 9]));
    interrupt.interrupt();
    let error = read.join().expect_err("interrupted");
    assert!(matches!(cause(&error), ReadError::Interrupted));
    // A URL that cannot be used is told as what it is.
    let downloader = Downloader::builder().build().expect("a downloader");
    let mut reader = Live::open(&downloader, "ftp://h/f", 1).reader();
    let error = std::io::Read::read(&mut reader, &mut [0; 9]).expect_err("no such scheme");
    assert_eq!(download_error(&error).kind(), Kind::Usage);
}
