//! Reading and seeking: scenarios C.

use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::task::Poll;

use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tur_core::Rate;
use tur_engine::Kind;
use tur_stream::{Fill, Media, ReadError};
use tur_testkit::{Behaviour, Deed, Gate, When, content};

use crate::stand::{
    KIB, MIB, SIZE, Stand, aside, assert_at, assert_next, cause, download_error, held, held_of,
    lengthless, range,
};

#[test]
fn c1_the_length_is_known_after_the_headers() {
    let (gate, stand) = held(0);
    let media = stand.media();
    media.wait_ready(range(0, 0)).expect("an answer");
    assert_eq!(media.len(), Some(SIZE));
    assert_eq!(
        media.content_type().as_deref(),
        Some("application/octet-stream")
    );
    assert!(media.is_seekable() && media.buffered().is_empty());
    gate.open();
    let (_gate, stand) = held_of(lengthless(Behaviour::new(SIZE)), 0);
    let media = stand.media();
    media.wait_ready(range(0, 0)).expect("an answer");
    assert_eq!(media.len(), None);
}

#[test]
fn c2_a_seek_from_the_end_needs_a_length() {
    let stand = Stand::new(Behaviour::new(SIZE));
    let media = stand.media();
    let mut reader = media.reader();
    assert_eq!(reader.seek(SeekFrom::End(-100)).ok(), Some(SIZE - 100));
    assert_next(&mut reader, 0, range(SIZE - 100, SIZE));
    assert_eq!(reader.read(&mut [0; 8]).ok(), Some(0), "the end");
    let (_gate, stand) = held_of(lengthless(Behaviour::new(SIZE)), 10);
    let mut reader = stand.media().reader();
    let error = reader.seek(SeekFrom::End(0)).expect_err("nobody knows");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_next(&mut reader, 0, range(0, 10));
}

#[test]
fn c3_an_impossible_seek_leaves_the_position_as_it_was() {
    let stand = Stand::new(Behaviour::new(SIZE));
    let mut reader = stand.media().reader();
    assert_next(&mut reader, 0, range(0, 10));
    for to in [
        SeekFrom::Current(-11),
        SeekFrom::Current(i64::MIN),
        SeekFrom::End(-(SIZE as i64) - 1),
    ] {
        let error = reader.seek(to).expect_err("there is nothing");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{to:?}");
        assert_eq!(reader.stream_position().ok(), Some(10));
    }
    let far = reader.seek(SeekFrom::Start(u64::MAX)).expect("a position");
    assert_eq!((far, reader.read(&mut [0; 8]).ok()), (u64::MAX, Some(0)));
    let error = reader.seek(SeekFrom::Current(1)).expect_err("overflow");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(reader.stream_position().ok(), Some(u64::MAX));
    assert_at(&mut reader, 0, range(10, 20));
}

#[test]
fn c5_every_byte_is_right_across_the_hole() {
    for storage in [
        tur_engine::StorageKind::Pwrite,
        tur_engine::StorageKind::Mmap,
    ] {
        let stand = Stand::on(storage, Behaviour::new(SIZE).pace(Rate::per_second(MIB)));
        let media = stand.media();
        let mut reader = media.reader();
        assert_next(&mut reader, 0, range(0, 100 * KIB));
        assert_at(&mut reader, 0, range(900 * KIB, 950 * KIB));
        assert_at(&mut reader, 0, range(50 * KIB, SIZE));
        media.wait_committed().expect("it is complete");
        stand.assert_file(0, SIZE);
    }
}

/// Reading what has just come is no reason to ask for anything else.
#[test]
fn c8_a_reader_that_follows_the_bytes_stops_no_fetch() {
    let stand = Stand::new(Behaviour::new(SIZE).pace(Rate::per_second(4 * MIB)));
    let media = stand.single();
    let mut reader = media.reader();
    for at in (0..SIZE).step_by(1000) {
        assert_next(&mut reader, 0, range(at, at + 1000));
    }
    assert_eq!(stand.starts(), [0]);
    assert_eq!(stand.origin.bytes_sent(), SIZE);
}

#[test]
fn c11_a_wait_that_is_interrupted_or_cancelled_ends_at_once_and_others_go_on() {
    let (gate, stand) = held(100);
    let media = stand.media();
    let (mut one, mut other) = (media.reader(), media.reader());
    let interrupt = one.interrupt();
    assert_next(&mut one, 0, range(0, 100));
    assert_next(&mut other, 0, range(0, 100));
    let one = aside(move || one.read(&mut [0; 8]).expect_err("it is interrupted"));
    let (tell, told) = std::sync::mpsc::channel();
    let other = aside(move || {
        assert_next(&mut other, 0, range(100, 101));
        tell.send(()).expect("somebody listens");
        other
            .read_to_end(&mut Vec::new())
            .expect_err("it is cancelled")
    });
    interrupt.interrupt();
    assert!(matches!(cause(&one.join()), ReadError::Interrupted));
    assert!(!other.is_over(), "it goes on waiting");
    gate.open_to(101);
    told.recv().expect("it reads on");
    media.cancel();
    assert_eq!(download_error(&other.join()).kind(), Kind::Signal);
    // What landed is kept.
    assert_eq!(stand.names(), ["file.bin.part", "file.bin.tur"]);
}

#[test]
fn c13_missing_bytes_are_pending_and_wanted() {
    let gate = Gate::at(20 * KIB);
    let stand = Stand::new(Behaviour::new(SIZE).rule(When::Only(1), Deed::Hold(gate.clone())));
    let media = stand.media();
    media.wait_ready(range(0, 20 * KIB)).expect("it comes");
    let mut reader = media.reader();
    let mut into = [0; 100];
    reader.seek(SeekFrom::Start(800 * KIB)).expect("it seeks");
    assert!(reader.try_read(&mut into).is_pending());
    // Nobody waits for it, and it comes all the same, before what is held.
    media
        .wait_ready(range(800 * KIB, 800 * KIB + 100))
        .expect("it comes");
    let starts = stand.starts();
    assert!(starts.contains(&(800 * KIB)), "{starts:?}");
    let Poll::Ready(Ok(100)) = reader.try_read(&mut into) else {
        panic!("it is there");
    };
    assert!(into[..] == content(0, range(800 * KIB, 800 * KIB + 100)));
    gate.open();
}

/// C14 is C6 in `chance.rs`, with the other traits; here is what they add.
#[tokio::test]
async fn c14_async_reads_and_seeks_are_those_of_a_file() {
    let stand = Stand::new(Behaviour::new(SIZE).pace(Rate::per_second(4 * MIB)));
    let media = stand.media();
    let mut reader = media.async_reader();
    assert_eq!(reader.seek(SeekFrom::End(-10)).await.ok(), Some(SIZE - 10));
    let mut have = Vec::new();
    reader.read_to_end(&mut have).await.expect("it reads");
    assert!(have == content(0, range(SIZE - 10, SIZE)));
    let error = reader.seek(SeekFrom::Current(i64::MIN)).await;
    assert_eq!(
        error.map_err(|error| error.kind()),
        Err(ErrorKind::InvalidInput)
    );
    assert_eq!(reader.stream_position().await.ok(), Some(SIZE));
    reader.rewind().await.expect("it seeks");
    have.clear();
    reader.read_to_end(&mut have).await.expect("it reads");
    assert!(have == content(0, range(0, SIZE)));
}

#[cfg(feature = "futures-io")]
#[tokio::test]
async fn c14_the_traits_of_futures_io_say_the_same() {
    use std::future::poll_fn;
    use std::pin::Pin;
    let stand = Stand::new(Behaviour::new(SIZE));
    let mut reader = stand.media().async_reader();
    let to = SeekFrom::End(-10);
    let at = poll_fn(|cx| futures_io::AsyncSeek::poll_seek(Pin::new(&mut reader), cx, to)).await;
    assert_eq!(at.ok(), Some(SIZE - 10));
    let mut into = [0; 4];
    let came =
        poll_fn(|cx| futures_io::AsyncRead::poll_read(Pin::new(&mut reader), cx, &mut into)).await;
    let came = came.expect("it reads");
    assert!(into[..came] == content(0, range(SIZE - 10, SIZE))[..came]);
}

#[test]
fn c15_withheld_bytes_are_neither_zero_nor_the_end() {
    let (gate, stand) = held(50 * KIB);
    let media = stand.media();
    let mut reader = media.reader();
    let mut into = vec![0xee; 100 * KIB as usize];
    // No more than is there, however much is asked for.
    let mut have = Vec::new();
    while (have.len() as u64) < 50 * KIB {
        let came = reader.read(&mut into).expect("it reads");
        assert!(came > 0, "this is not the end");
        have.extend_from_slice(&into[..came]);
    }
    assert!(have == content(0, range(0, 50 * KIB)));
    let read = aside(move || {
        assert_next(&mut reader, 0, range(50 * KIB, SIZE));
        reader.read(&mut [0; 8]).expect("the end")
    });
    assert!(!read.is_over());
    gate.open();
    assert_eq!(read.join(), 0);
}

/// Only what readers look ahead at is fetched, wherever they are, and the rest when they get there.
#[test]
fn a_window_goes_with_its_readers() {
    const BIG: u64 = 16 * MIB;
    let stand = Stand::new(Behaviour::new(BIG));
    let options = stand.options().fill(Fill::Window).look_ahead(MIB);
    let media = Media::of(stand.download().lanes(4), options);
    let mut reader = media.reader();
    assert_next(&mut reader, 0, range(0, 100));
    media.wait_ready(range(0, MIB)).expect("it comes");
    assert_at(&mut reader, 0, range(10 * MIB, 10 * MIB + 100));
    media
        .wait_ready(range(10 * MIB, 11 * MIB))
        .expect("it comes");
    // What was under way when the reader left comes as well, and that is less than a window.
    let there = media.buffered().len();
    assert!(there <= 3 * MIB, "{there}");
    assert_at(&mut reader, 0, range(0, BIG));
    media.wait_committed().expect("it is complete");
    stand.assert_file(0, BIG);
    // A lease that is cut for who waits in its middle costs what was under way.
    let twice = stand.origin.bytes_sent() - BIG;
    assert!(twice <= MIB, "{twice} bytes came for nothing");
}
