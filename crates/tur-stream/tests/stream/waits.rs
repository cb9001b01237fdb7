//! Waits that something else happens to: every one of them ends, and none is ended by what does not concern it.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tur_engine::{Kind, PhaseWord, StorageKind};
use tur_stream::{Fill, Media, ReadError};
use tur_testkit::{Behaviour, Deed, Gate, Ranges, TODAY, When, content};

use crate::stand::{
    HALF, KIB, MIB, SIZE, Stand, aside, assert_at, assert_next, cause, download_error, held,
    held_of, lengthless, range,
};

const BIG: u64 = 16 * MIB;

fn windowed(stand: &Stand, look_ahead: u64) -> Media {
    let options = stand.options().fill(Fill::Window).look_ahead(look_ahead);
    Media::of(stand.download().lanes(4), options)
}

/// Polls once, for nobody.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_pause_ends_no_wait_and_an_interruption_or_a_cancellation_does() {
    let (_gate, stand) = held(100);
    let media = stand.media();
    let (mut one, mut other) = (media.reader(), media.reader());
    let interrupt = one.interrupt();
    media.wait_ready(range(0, 100)).expect("it comes");
    media.pause();
    let one = aside(move || one.seek_and_read(500).expect_err("it is interrupted"));
    let other = aside(move || other.seek_and_read(600).expect_err("it is cancelled"));
    interrupt.interrupt();
    assert!(matches!(cause(&one.join()), ReadError::Interrupted));
    assert!(!other.is_over());
    media.cancel();
    assert_eq!(download_error(&other.join()).kind(), Kind::Signal);
}

trait SeekAndRead {
    fn seek_and_read(&mut self, at: u64) -> std::io::Result<usize>;
}

impl SeekAndRead for tur_stream::Reader {
    fn seek_and_read(&mut self, at: u64) -> std::io::Result<usize> {
        self.seek(SeekFrom::Start(at))?;
        self.read(&mut [0; 8])
    }
}

/// The reader stands a little further than lanes were told, and waits there when the window becomes shorter than that.
#[tokio::test]
async fn a_look_ahead_that_becomes_short_includes_who_waits() {
    let gate = Gate::at(300 * KIB);
    let stand = Stand::new(Behaviour::new(BIG).rule(When::Always, Deed::Hold(gate.clone())));
    let media = windowed(&stand, 4 * MIB);
    let mut reader = media.async_reader();
    // Less than an eighth of the window: not worth telling.
    let mut have = vec![0; 300 * KIB as usize];
    reader.read_exact(&mut have).await.expect("it reads");
    let (tell, woken) = mpsc::channel();
    let waker = Waker::from(Arc::new(Tell(tell)));
    let mut into = [0; 8];
    let pending = pin!(reader.read(&mut into)).poll(&mut Context::from_waker(&waker));
    assert!(pending.is_pending());
    // What is under way would come all the same.
    media.pause();
    while media.progress().phase != PhaseWord::Paused {
        std::thread::yield_now();
    }
    media.set_look_ahead(0);
    gate.open();
    media.resume();
    let limit = std::time::Duration::from_secs(60);
    woken.recv_timeout(limit).expect("the byte comes");
    media.set_look_ahead(BIG);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).await.expect("it reads");
    assert!(rest == content(0, range(300 * KIB, BIG)));
    media.committed().await.expect("it is complete");
    stand.assert_file(0, BIG);
}

/// Says that it was woken.
struct Tell(mpsc::Sender<()>);

impl Wake for Tell {
    fn wake(self: Arc<Self>) {
        self.0.send(()).ok();
    }
}

#[test]
fn two_readers_far_apart_have_a_window_each() {
    let stand = Stand::new(Behaviour::new(BIG));
    let media = windowed(&stand, MIB);
    let (mut one, mut other) = (media.reader(), media.reader());
    other
        .seek(SeekFrom::Start(BIG - 3 * MIB))
        .expect("it seeks");
    for step in 0..2 {
        let at = step * MIB;
        assert_next(&mut one, 0, range(at, at + MIB));
        let at = BIG - 3 * MIB + step * MIB;
        assert_next(&mut other, 0, range(at, at + MIB));
    }
    let there = media.buffered().len();
    assert!(there <= 10 * MIB, "{there} bytes: not what lies between");
    // At the end of the file the window ends, and so does the reader, whatever is missing before it.
    assert_next(&mut other, 0, range(BIG - MIB, BIG));
    assert_eq!(other.read(&mut [0; 8]).ok(), Some(0));
    assert_next(&mut one, 0, range(2 * MIB, BIG));
    media.wait_committed().expect("it is complete");
    stand.assert_file(0, BIG);
}

/// What is asked of the origin to compare a file that is there lies outside of what readers look at.
#[test]
fn a_window_holds_up_no_comparison_of_a_complete_file() {
    let stand = Stand::new(Behaviour::new(BIG).last_modified(Some(TODAY)));
    stand.media().wait_committed().expect("it is complete");
    let before = stand.origin.bytes_sent();
    let media = windowed(&stand, 64 * KIB);
    let mut reader = media.reader();
    let read = aside(move || assert_next(&mut reader, 0, range(0, BIG)));
    read.join();
    media.wait_committed().expect("it is complete");
    assert!(stand.origin.bytes_sent() - before <= 1);
    stand.assert_file(0, BIG);
}

/// Nor does it keep what an earlier run has left from being confirmed, although nothing is missing in it.
#[test]
fn a_window_in_what_was_left_is_read_once_that_is_confirmed() {
    const LEFT: u64 = 10 * MIB;
    let strong = Behaviour::new(BIG);
    let dated = Behaviour::new(BIG).etag(None).date(None);
    for behaviour in [strong, dated.last_modified(Some(TODAY))] {
        let hold = Deed::Hold(Gate::at(LEFT));
        let stand = Stand::new(behaviour.clone().rule(When::Always, hold));
        let media = stand.single();
        assert_next(&mut media.reader(), 0, range(0, LEFT));
        media.cancel();
        media.wait_committed().expect_err("it is cancelled");
        stand.origin.swap("/file.bin", behaviour);
        let before = stand.origin.bytes_sent();
        let media = windowed(&stand, 64 * KIB);
        let mut reader = media.reader();
        let read = aside(move || {
            assert_next(&mut reader, 0, range(0, MIB));
            reader
        });
        let mut reader = read.join();
        let sent = stand.origin.bytes_sent() - before;
        assert!(
            sent < MIB,
            "{sent} bytes: what is there is not in the window"
        );
        assert_next(&mut reader, 0, range(MIB, BIG));
        media.wait_committed().expect("it is complete");
        let sent = stand.origin.bytes_sent() - before;
        assert!(sent < BIG - LEFT + MIB, "{sent} bytes: it went on");
        stand.assert_file(0, BIG);
    }
}

/// Without ranges the bytes before it have to come, in a window or not.
#[test]
fn a_seek_ahead_in_one_stream_waits_for_what_lies_before_and_no_longer() {
    for fill in [Fill::All, Fill::Window] {
        let stand = Stand::new(Behaviour::new(BIG).ranges(Ranges::Ignored));
        let options = stand.options().fill(fill).look_ahead(MIB);
        let media = Media::of(stand.download().lanes(4), options);
        let mut reader = media.reader();
        assert_next(&mut reader, 0, range(0, 100));
        let read = aside(move || {
            assert_at(&mut reader, 0, range(10 * MIB, 10 * MIB + 100));
            assert_at(&mut reader, 0, range(100, BIG));
        });
        read.join();
        media.wait_committed().expect("it is complete");
        stand.assert_file(0, BIG);
    }
}

#[tokio::test]
async fn a_file_without_bytes_is_at_its_end_at_once() {
    for fill in [Fill::All, Fill::Window] {
        let stand = Stand::new(Behaviour::new(0));
        let options = stand.options().fill(fill);
        let media = Media::of(stand.download(), options);
        let mut reader = media.async_reader();
        assert_eq!(reader.read(&mut [0; 8]).await.ok(), Some(0));
        assert_eq!(reader.seek(SeekFrom::End(0)).await.ok(), Some(0));
        let mut reader = media.reader();
        let waits = aside(move || {
            assert_eq!(reader.seek(SeekFrom::End(0)).ok(), Some(0));
            reader.seek(SeekFrom::End(-1)).expect_err("before it");
            assert_eq!(reader.seek(SeekFrom::Start(9)).ok(), Some(9));
            reader.read(&mut [0; 8]).expect("its end")
        });
        assert_eq!(waits.join(), 0);
        media.committed().await.expect("it is complete");
        assert!(media.is_empty());
        stand.assert_file(0, 0);
    }
}

#[tokio::test]
async fn a_read_of_nothing_waits_for_nothing() {
    let (_gate, stand) = held(0);
    let media = stand.media();
    let mut reader = media.reader();
    assert_eq!(reader.read(&mut []).ok(), Some(0));
    assert!(matches!(reader.try_read(&mut []), Poll::Ready(Ok(0))));
    let mut reader = media.async_reader();
    assert_eq!(reader.read(&mut []).await.ok(), Some(0));
}

/// At the end of the file nothing is waited for, although almost nothing is there; and behind it neither.
#[test]
fn the_end_is_where_the_length_says_before_the_bytes_come() {
    let (gate, stand) = held(10);
    let media = stand.media();
    let mut reader = media.reader();
    for by in [0, 1000] {
        reader.seek(SeekFrom::End(by)).expect("it seeks");
        assert_eq!(reader.read(&mut [0; 8]).ok(), Some(0));
    }
    gate.open();
    assert_at(&mut reader, 0, range(0, SIZE));
}

/// Whatever the length turns out to be.
#[test]
fn at_the_last_position_nothing_is_waited_for() {
    let (_gate, stand) = held_of(lengthless(Behaviour::new(SIZE)), 10);
    let media = stand.media();
    let mut reader = media.reader();
    assert_next(&mut reader, 0, range(0, 10));
    let last = aside(move || reader.seek_and_read(u64::MAX).expect("nothing"));
    assert_eq!(last.join(), 0);
}

/// Nobody tells the length: who waits behind the end learns it from the end.
#[test]
fn who_waits_behind_an_end_that_is_not_known_yet_is_told_of_it() {
    let (gate, stand) = held_of(lengthless(Behaviour::new(SIZE)), HALF);
    let media = stand.media();
    let mut behind = media.reader();
    let behind = aside(move || behind.seek_and_read(SIZE + 7).expect("the end"));
    let all = media.clone();
    let all = aside(move || all.wait_ready(range(HALF, 2 * SIZE)));
    assert_next(&mut media.reader(), 0, range(0, HALF));
    assert!(!behind.is_over() && !all.is_over());
    gate.open();
    assert_eq!(behind.join(), 0);
    all.join().expect("as far as it reaches");
    media.wait_committed().expect("it is complete");
    stand.assert_file(0, SIZE);
}

#[tokio::test]
async fn a_read_that_is_dropped_moves_nothing_and_the_next_one_reads_on() {
    let (gate, stand) = held(100);
    let media = stand.media();
    let mut reader = media.async_reader();
    let mut have = [0; 100];
    reader.read_exact(&mut have).await.expect("it reads");
    for _ in 0..3 {
        assert!(poll_once(reader.read(&mut [0; 8])).is_pending());
        assert_eq!(reader.stream_position().await.ok(), Some(100));
    }
    // Neither does it keep others, or itself elsewhere, from reading.
    reader.seek(SeekFrom::Start(10)).await.expect("it seeks");
    reader.read_exact(&mut have[..90]).await.expect("it reads");
    assert!(have[..90] == content(0, range(10, 100)));
    assert!(poll_once(reader.read(&mut [0; 8])).is_pending());
    gate.open();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).await.expect("it reads");
    assert!(rest == content(0, range(100, SIZE)));
}

/// A seek from the end waits for the first answer; nobody waits for it any more, and reads where it is.
#[tokio::test]
async fn a_seek_that_is_dropped_is_not_made_behind_the_back_of_a_read() {
    let head = Gate::at(0);
    let stand = Stand::new(Behaviour::new(SIZE).rule(When::Only(1), Deed::HoldHead(head.clone())));
    let media = stand.single();
    let mut reader = media.async_reader();
    assert!(poll_once(reader.seek(SeekFrom::End(-10))).is_pending());
    assert!(poll_once(reader.read(&mut [0; 8])).is_pending());
    head.open();
    let mut have = [0; 100];
    reader.read_exact(&mut have).await.expect("it reads");
    assert!(have[..] == content(0, range(0, 100)));
    assert_eq!(reader.stream_position().await.ok(), Some(100));
}

/// Nothing is fetched any more for who was interrupted, although it is not dropped.
#[test]
fn what_an_interrupted_reader_wanted_is_wanted_no_more() {
    let stand = Stand::new(Behaviour::new(BIG));
    let media = windowed(&stand, 64 * KIB);
    media.wait_ready(range(0, 64 * KIB)).expect("it comes");
    media.pause();
    let mut reader = media.reader();
    reader.seek(SeekFrom::Start(10 * MIB)).expect("it seeks");
    assert!(reader.try_read(&mut [0; 8]).is_pending());
    reader.interrupt().interrupt();
    assert!(reader.try_read(&mut [0; 8]).is_ready());
    media.resume();
    // Of two that wait, the one that came first is not served last.
    media
        .wait_ready(range(14 * MIB, 15 * MIB))
        .expect("it comes");
    media
        .wait_ready(range(12 * MIB, 13 * MIB))
        .expect("it comes");
    let there = media.buffered();
    assert!(there.range_at(10 * MIB).is_none(), "{there:?}");
    reader.read(&mut [0; 8]).expect_err("it was interrupted");
}

/// The version changes under who waits: whoever has read is told, whoever has not waits for the new one.
#[test]
fn a_change_ends_the_waits_of_those_who_have_read() {
    let (held, head) = (Gate::at(HALF), Gate::at(0));
    let stand = Stand::new(
        Behaviour::new(SIZE)
            .changes_after(1, 1)
            .rule(When::Only(1), Deed::CutAfter(HALF))
            .rule(When::Only(1), Deed::Hold(held.clone()))
            .rule(When::After(1), Deed::HoldHead(head.clone())),
    );
    let media = stand.single();
    let mut has_read = media.reader();
    assert_next(&mut has_read, 0, range(0, 10));
    let has_read = aside(move || {
        let error = has_read.seek_and_read(HALF + 5).expect_err("it changed");
        (download_error(&error).kind(), has_read)
    });
    let mut has_not = media.reader();
    let has_not = aside(move || assert_at(&mut has_not, 1, range(HALF + 5, SIZE)));
    let ready = media.clone();
    let ready = aside(move || ready.wait_ready(range(0, SIZE)));
    held.open();
    assert!(!has_not.is_over() && !ready.is_over());
    head.open();
    let (kind, mut has_read) = has_read.join();
    assert_eq!(kind, Kind::Changed);
    has_not.join();
    ready.join().expect("the new one");
    // It stays with what it began with, even where nothing has to be waited for.
    let error = has_read.seek_and_read(0).expect_err("it changed");
    assert_eq!(download_error(&error).kind(), Kind::Changed);
    media.wait_committed().expect("it is complete");
    stand.assert_file(1, SIZE);
}

/// Somebody cuts the file: what is missing then is fetched again, and an error once nobody fetches it.
#[test]
fn a_file_that_was_cut_kills_nobody() {
    for storage in [StorageKind::Pwrite, StorageKind::Mmap] {
        let gate = Gate::at(HALF);
        let hold = Deed::Hold(gate.clone());
        let stand = Stand::on(storage, Behaviour::new(SIZE).rule(When::Only(1), hold));
        let media = stand.single();
        let mut reader = media.reader();
        assert_next(&mut reader, 0, range(0, HALF));
        cut(&stand.dir.path().join("file.bin.part"), 1000);
        reader.seek(SeekFrom::Start(0)).expect("it seeks");
        assert_next(&mut reader, 0, range(0, 1000));
        let read = aside(move || {
            assert_next(&mut reader, 0, range(1000, SIZE));
            reader
        });
        gate.open();
        let mut reader = read.join();
        media.wait_committed().expect("it is complete");
        stand.assert_file(0, SIZE);
        cut(&stand.path(), 1000);
        assert_at(&mut reader, 0, range(0, 1000));
        let error = reader.read(&mut [0; 8]).expect_err("nobody fetches it");
        assert_eq!(download_error(&error).kind(), Kind::Local, "{error}");
    }
}

fn cut(path: &std::path::Path, len: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path);
    let cut = file.and_then(|file| file.set_len(len));
    cut.expect("it is there");
}
