//! Waiting and wanting, without a driver.

use std::future::Future as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tur_core::{ByteRange, Identity, Kind, RangeSet};

use super::*;

/// Bytes that are zero, where there are any.
#[derive(Default)]
struct Fake {
    covered: Mutex<RangeSet>,
    /// What stands before this was given back.
    gone: Mutex<u64>,
}

impl Fake {
    fn put(&self, core: &Core, range: ByteRange) {
        self.covered.lock().expect("whole").insert(range);
        core.published(range);
    }
}

impl Source for Fake {
    fn covered(&self) -> RangeSet {
        self.covered.lock().expect("whole").clone()
    }

    fn first_missing(&self, range: ByteRange) -> Result<Option<u64>, Error> {
        if range.start < *self.gone.lock().expect("whole") {
            return Err(Error::new(Kind::Other, "it was given back"));
        }
        let gaps = self.covered().gaps(range);
        Ok(gaps.iter().next().map(|gap| gap.start))
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<usize, Error> {
        let run = self.covered().range_at(at);
        let len = run.map_or(0, |run| run.end - at).min(into.len() as u64);
        Ok(usize::try_from(len).expect("short"))
    }
}

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end)
}

fn open(total: Option<u64>) -> (Arc<Core>, Arc<Fake>, Reading) {
    let (core, fake) = (Core::new(), Arc::new(Fake::default()));
    let identity = Identity {
        total,
        ..Identity::default()
    };
    core.opened(Arc::clone(&fake) as Arc<dyn Source>, &identity);
    (Arc::clone(&core), fake, Reading::new(core))
}

/// Says whether it is ready, and whether it was woken since it was asked last.
struct Watched<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

impl<F: Future> Watched<F> {
    fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            woken: Arc::default(),
        }
    }

    fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn was_woken(&self) -> bool {
        self.woken
            .0
            .swap(false, std::sync::atomic::Ordering::SeqCst)
    }
}

#[test]
fn a_waiter_is_woken_by_its_byte_and_by_no_other() {
    let (core, fake, reading) = open(Some(100));
    let mut wait = Watched::new(reading.wait(None, range(10, 30)));
    assert!(wait.poll().is_pending());
    fake.put(&core, range(20, 40));
    assert!(!wait.was_woken(), "its first byte is missing still");
    fake.put(&core, range(5, 15));
    assert!(wait.was_woken());
    assert!(wait.poll().is_pending(), "and now another one is");
    fake.put(&core, range(15, 20));
    assert!(wait.was_woken());
    assert!(matches!(wait.poll(), Poll::Ready(Ok(()))));
    drop(wait);
    let mut beyond = Watched::new(reading.wait(None, range(100, 200)));
    assert!(beyond.poll().is_ready(), "there is nothing to wait for");
}

#[test]
fn what_was_given_back_is_an_error_to_who_waits_for_it() {
    let (core, fake, reading) = open(Some(100));
    fake.put(&core, range(0, 50));
    let mut wait = Watched::new(reading.wait(None, range(10, 60)));
    let mut behind = Watched::new(reading.wait(None, range(20, 60)));
    assert!(wait.poll().is_pending() && behind.poll().is_pending());
    *fake.gone.lock().expect("whole") = 20;
    core.gave_back();
    assert!(wait.was_woken() && behind.was_woken());
    assert!(matches!(wait.poll(), Poll::Ready(Err(error)) if error.kind() == Kind::Other));
    assert!(behind.poll().is_pending());
    assert!(!reading.is_covered(range(19, 30)) && reading.is_covered(range(20, 30)));
    fake.put(&core, range(50, 100));
    assert!(matches!(behind.poll(), Poll::Ready(Ok(()))));
    core.end(Ending::Committed(100));
    let mut late = Watched::new(reading.wait(None, range(0, 30)));
    assert!(matches!(late.poll(), Poll::Ready(Err(_))));
}

#[test]
fn without_a_length_the_end_is_waited_for() {
    let (core, fake, reading) = open(None);
    fake.put(&core, range(0, 50));
    let mut wait = Watched::new(reading.wait(None, range(50, 51)));
    assert!(wait.poll().is_pending());
    core.knows(Some(50), Some(false));
    assert!(wait.was_woken());
    assert!(wait.poll().is_ready());
    let mut into = [1; 8];
    assert_eq!(
        reading.read_at(reading.version(), 50, &mut into).ok(),
        Some(0)
    );
    assert_eq!(reading.len(), Some(50));
}

#[test]
fn every_end_wakes_every_waiter_once_and_for_all() {
    for changed in [false, true] {
        let (core, _fake, reading) = open(Some(100));
        let of = Some(reading.version());
        let mut waits = [
            Watched::new(reading.wait(of, range(10, 30))),
            Watched::new(reading.wait(of, range(90, 91))),
        ];
        assert!(waits.iter_mut().all(|wait| wait.poll().is_pending()));
        let kind = match changed {
            true => {
                core.restarted();
                Kind::Changed
            }
            false => {
                core.end(Ending::Failed(Error::cancelled()));
                core.end(Ending::Committed(100));
                Kind::Signal
            }
        };
        for wait in &mut waits {
            assert!(wait.was_woken());
            let Poll::Ready(Err(error)) = wait.poll() else {
                panic!("it waits on");
            };
            assert_eq!(error.kind(), kind);
        }
    }
}

#[test]
fn nothing_of_an_old_version_is_told_as_the_new_one() {
    let (core, fake, reading) = open(Some(100));
    fake.put(&core, range(0, 100));
    let old = reading.version();
    core.restarted();
    assert!(!reading.is_open() && reading.covered().is_empty());
    core.opened(fake, &Identity::default());
    let mut into = [1; 8];
    let error = reading.read_at(old, 0, &mut into).expect_err("it changed");
    assert_eq!(error.kind(), Kind::Changed);
    assert_eq!(
        reading.read_at(reading.version(), 0, &mut into).ok(),
        Some(8)
    );
    // Before anything was readable nothing can have been read.
    let core = Core::new();
    let reading = Reading::new(Arc::clone(&core));
    let first = reading.version();
    core.restarted();
    assert_eq!(reading.version(), first);
}

#[test]
fn the_driver_hears_what_is_wanted_by_now_and_no_more() {
    let (core, _fake, reading) = open(Some(100));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(core.poll_wants(&cx).is_pending());
    let first = reading.demand(range(10, 20));
    drop(reading.demand(range(30, 40)));
    let window: RangeSet = [range(0, 50)].into_iter().collect();
    reading.set_window(Some(window.clone()), RangeSet::new());
    assert!(core.poll_wants(&cx).is_ready());
    let heard = core.take_wants();
    assert_eq!(
        heard.demands,
        [range(10, 20)],
        "the other was taken back in time"
    );
    assert!(heard.withdrawn.is_empty());
    assert_eq!(heard.spans, Some((Some(window.clone()), RangeSet::new())));
    assert!(core.poll_wants(&cx).is_pending());
    let twice = reading.demand(range(10, 20));
    drop(first);
    assert_eq!(
        core.take_wants().withdrawn,
        [],
        "somebody waits for it still"
    );
    drop(twice);
    assert_eq!(core.take_wants().withdrawn, [range(10, 20)]);
    reading.set_window(Some(window.clone()), RangeSet::new());
    assert!(core.poll_wants(&cx).is_pending(), "nothing has changed");
    let spans = Some((Some(window), RangeSet::new()));
    assert_eq!(core.take_all_wants().spans, spans);
    let mut wait = pin!(reading.committed());
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    core.end(Ending::Committed(100));
    assert!(wait.poll(&mut cx).is_ready());
}

#[test]
fn what_was_covered_is_read_after_a_failure_that_says_nothing_against_it() {
    for (kind, readable) in [
        (Kind::Network, true),
        (Kind::DiskFull, true),
        (Kind::Signal, false),
        (Kind::Changed, false),
        (Kind::Checksum, false),
    ] {
        let (core, fake, reading) = open(Some(100));
        fake.put(&core, range(0, 50));
        let of = Some(reading.version());
        let mut waits = Watched::new(reading.wait(of, range(40, 60)));
        assert!(waits.poll().is_pending());
        core.end(Ending::Failed(Error::new(kind, "why")));
        assert!(waits.was_woken());
        assert!(matches!(waits.poll(), Poll::Ready(Err(error)) if error.kind() == kind));
        let read = |at| {
            let came = reading.read_at(reading.version(), at, &mut [1; 8]);
            came.map_err(|error| error.kind())
        };
        let there = if readable { Ok(8) } else { Err(kind) };
        assert_eq!(read(10), there);
        assert_eq!(read(50), Err(kind), "a hole");
        let mut there = Watched::new(reading.wait(of, range(10, 50)));
        let Poll::Ready(waited) = there.poll() else {
            panic!("it waits for nothing");
        };
        assert_eq!(waited.is_ok(), readable);
        let mut committed = Watched::new(reading.committed());
        assert!(matches!(committed.poll(), Poll::Ready(Err(_))));
        core.give_up();
        assert_eq!(read(10), Err(kind), "it was given up");
    }
}

/// An executor may poll in the very call that wakes it, and drop what it polled with the waker.
#[test]
fn who_is_woken_may_read_at_once() {
    struct Reads(Reading, Mutex<u64>);
    impl std::task::Wake for Reads {
        fn wake(self: Arc<Self>) {
            let Self(reading, seen) = &*self;
            let covered = reading.covered().len();
            drop(reading.demand(range(0, 1)));
            *seen.lock().expect("whole") += 1 + covered;
        }
    }
    let (core, fake, reading) = open(Some(100));
    let reads = Arc::new(Reads(reading.clone(), Mutex::new(0)));
    let waker = Waker::from(Arc::clone(&reads));
    let mut wait = pin!(reading.wait(None, range(10, 30)));
    let mut cx = Context::from_waker(&waker);
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    fake.put(&core, range(10, 20));
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    core.knows(Some(20), None);
    assert!(wait.as_mut().poll(&mut cx).is_ready());
    core.end(Ending::Committed(20));
    assert_eq!(*reads.1.lock().expect("whole"), 11 + 11 + 11);
}

#[test]
fn the_last_reader_that_goes_lets_the_part_go_whoever_knows_the_core() {
    for first in [true, false] {
        let (core, fake, reading) = open(Some(100));
        let before = Arc::strong_count(&fake);
        let other = reading.clone();
        drop(reading);
        let end = || core.end(Ending::Failed(Error::new(Kind::Network, "cut")));
        if first {
            end();
            assert_eq!(Arc::strong_count(&fake), before, "one reads still");
            drop(other);
        } else {
            drop(other);
            assert_eq!(Arc::strong_count(&fake), before, "it may be gone on with");
            end();
        }
        assert_eq!(Arc::strong_count(&fake), before - 1);
    }
}

/// Looks at the state when it is closed, as another thread may at that time.
struct Closes(Arc<Core>);

impl Source for Closes {
    fn covered(&self) -> RangeSet {
        RangeSet::new()
    }

    fn first_missing(&self, range: ByteRange) -> Result<Option<u64>, Error> {
        Ok(Some(range.start))
    }

    fn read(&self, _at: u64, _into: &mut [u8]) -> Result<usize, Error> {
        Ok(0)
    }
}

impl Drop for Closes {
    fn drop(&mut self) {
        assert!(self.0.lock().source.is_none());
    }
}

#[test]
fn files_are_closed_while_the_state_is_free() {
    let failures = [Error::cancelled(), Error::new(Kind::Server, "gone")];
    for (failure, is_left) in failures.into_iter().zip([false, true]) {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let core = Core::new();
            let closes = Arc::new(Closes(Arc::clone(&core)));
            core.opened(closes, &Identity::default());
            core.end(Ending::Failed(failure));
            assert_eq!(core.lock().source.is_some(), is_left);
            core.give_up();
            assert!(core.lock().source.is_none());
            tell.send(()).expect("it is waited for");
        });
        let limit = Duration::from_secs(60);
        told.recv_timeout(limit).expect("it waits for nothing");
    }
}
