//! Somebody who takes bytes as a test wants it, and a stand for single fetches.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tur_core::{ByteRange, Kind};
use tur_testkit::{Behaviour, content};

use super::super::stand::{Caller, Stand};
use crate::fetch::{FetchJob, Fetched, Full, Head, Taker};
use crate::{Error, Event, Events, What, driver};

/// Virtual time after which a fetch hangs.
const HANG: Duration = Duration::from_secs(24 * 60 * 60);

/// A callback in which a taker panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum In {
    Head,
    Room,
    Take,
    Slow,
    Drop,
}

/// What a taker has seen, and how it behaves.
#[derive(Default)]
pub(super) struct Log {
    pub(super) heads: Vec<Head>,
    pub(super) bytes: Vec<u8>,
    pub(super) slow: usize,
    /// Most bytes that came while it had been asked once for room.
    pub(super) gulp: usize,
    /// Room for so many bytes in all.
    room: usize,
    waker: Option<Waker>,
    since_asked: usize,
    refuses: Option<&'static str>,
    panics: Option<In>,
    fallen: bool,
}

/// Takes everything, unless told otherwise. Clones are the same one.
#[derive(Clone)]
pub(in super::super) struct Cup(Arc<Mutex<Log>>);

impl Cup {
    pub(in super::super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Log {
            room: usize::MAX,
            ..Log::default()
        })))
    }

    /// With room for so many bytes until there is [more](Self::make_room).
    pub(in super::super) fn of(room: usize) -> Self {
        let cup = Self::new();
        cup.log().room = room;
        cup
    }

    pub(super) fn refusing(why: &'static str) -> Self {
        let cup = Self::new();
        cup.log().refuses = Some(why);
        cup
    }

    pub(super) fn panicking(place: In) -> Self {
        let cup = Self::new();
        cup.log().panics = Some(place);
        cup
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        // A panic in a callback poisons it, as it is meant to.
        self.0.lock().unwrap_or_else(|log| log.into_inner())
    }

    pub(super) fn room(&self) -> usize {
        self.log().room
    }

    pub(super) fn make_room(&self, bytes: usize) {
        let mut log = self.log();
        log.room = log.room.saturating_add(bytes);
        if let Some(waker) = log.waker.take() {
            waker.wake();
        }
    }

    fn enter(&self, place: In) -> MutexGuard<'_, Log> {
        let mut log = self.log();
        assert!(!log.fallen, "called again after a panic");
        if log.panics == Some(place) {
            log.fallen = true;
            panic!("as the test wants it");
        }
        log
    }
}

/// The taker that a fetch is given.
pub(in super::super) struct Mouth(pub(in super::super) Cup);

impl Taker for Mouth {
    fn head(&mut self, head: &Head) -> Result<(), String> {
        let mut log = self.0.enter(In::Head);
        assert!(log.bytes.is_empty(), "a head comes before any byte");
        log.heads.push(head.clone());
        log.refuses.map_or(Ok(()), |why| Err(why.to_owned()))
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut log = self.0.enter(In::Room);
        if log.bytes.len() < log.room {
            log.since_asked = 0;
            return Poll::Ready(());
        }
        log.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn take(&mut self, bytes: Bytes) -> Result<(), Full> {
        let mut log = self.0.enter(In::Take);
        assert!(!bytes.is_empty() && !log.heads.is_empty());
        log.bytes.extend_from_slice(&bytes);
        log.since_asked += bytes.len();
        log.gulp = log.gulp.max(log.since_asked);
        Ok(())
    }

    fn slow(&mut self) {
        self.0.enter(In::Slow).slow += 1;
    }
}

impl Drop for Mouth {
    fn drop(&mut self) {
        let panics = self.0.log().panics;
        assert_ne!(panics, Some(In::Drop), "as the test wants it");
    }
}

/// A fetch that runs.
pub(super) struct Running {
    pub(super) caller: Caller,
    pub(super) cup: Cup,
    pub(super) wanted: ByteRange,
    outcome: oneshot::Receiver<Result<Fetched, Error>>,
}

/// A fetch that is over.
pub(super) struct Tried {
    pub(super) result: Result<Fetched, Error>,
    pub(super) events: Vec<Event>,
    pub(super) log: Log,
    start: u64,
}

/// A fetch of `http://origin.test/file.bin` with the defaults.
pub(in super::super) fn fetch_job(span: Option<ByteRange>) -> FetchJob {
    let (target, _) = tur_http::target("http://origin.test/file.bin").expect("a URL");
    FetchJob::new(target, span)
}

/// Runs a fetch against one behaviour, and sees that nothing is left of it.
pub(super) async fn tried(behaviour: Behaviour, job: FetchJob, cup: Cup) -> (Stand, Tried) {
    let mut stand = Stand::new(behaviour);
    let tried = stand.try_fetch(job, cup).await;
    (stand, tried)
}

impl Stand {
    pub(super) fn begin_fetch(&mut self, job: FetchJob, cup: Cup) -> Running {
        let (outside, caller) = self.outside();
        let (told, outcome) = oneshot::channel();
        let (world, wanted) = (self.world(None), job.wanted());
        let mouth = Box::new(Mouth(cup.clone()));
        self.spawn(async move {
            let result = driver::fetch(world, job, mouth, outside).await;
            drop(told.send(result));
        });
        Running {
            caller,
            cup,
            wanted,
            outcome,
        }
    }

    pub(super) async fn try_fetch(&mut self, job: FetchJob, cup: Cup) -> Tried {
        let running = self.begin_fetch(job, cup);
        let tried = self.end_fetch(running).await;
        self.assert_idle();
        tried
    }

    /// Waits for the end.
    pub(super) async fn end_fetch(&self, running: Running) -> Tried {
        let Running {
            caller,
            cup,
            wanted,
            outcome,
        } = running;
        let result = timeout(HANG, outcome).await.expect("it hangs");
        let result = result.expect("no driver panics");
        drop(caller.bus);
        let mut stream = Events::new(caller.first);
        let mut events = Vec::new();
        while let Some(event) = stream.next().await {
            events.push(event);
        }
        let log = std::mem::take(&mut *cup.log());
        let tried = Tried {
            result,
            events,
            log,
            start: wanted.start,
        };
        tried.check();
        tried
    }
}

impl Tried {
    /// What must hold of every fetch.
    fn check(&self) {
        let is = |what: &What| match what {
            What::Started { .. } => 's',
            What::Opened { .. } => 'o',
            What::Completed(_) => 'c',
            What::Failed(_) | What::Cancelled(_) => 'f',
            _ => ' ',
        };
        if self.count(|what| matches!(what, What::Lagged(_))) > 0 {
            return;
        }
        let order: String = self.events.iter().map(|event| is(&event.what)).collect();
        assert!(order.starts_with('s'), "{order}");
        let last = if self.result.is_ok() { 'c' } else { 'f' };
        assert!(order.ends_with(last), "{order}");
        let over = order.matches(['c', 'f']).count();
        assert_eq!(over, 1, "one outcome");
        assert!(self.count(|what| matches!(what, What::Slow)) <= 1);
        if let Ok(done) = &self.result {
            assert_eq!(done.bytes, self.log.bytes.len() as u64);
        }
    }

    /// Exactly these bytes of a version came.
    #[track_caller]
    pub(super) fn assert_bytes(&self, version: u8, range: ByteRange) {
        let meant = content(version, range);
        assert_eq!(self.start, range.start);
        let have = &self.log.bytes;
        let wrong = (0..have.len().min(meant.len())).find(|at| have[*at] != meant[*at]);
        assert_eq!(wrong, None, "first wrong byte");
        assert_eq!(have.len(), meant.len(), "{:?}", self.result);
    }

    /// What came is right as far as it goes.
    #[track_caller]
    pub(super) fn assert_begun(&self, version: u8) {
        let end = self.start + self.log.bytes.len() as u64;
        self.assert_bytes(version, ByteRange::new(self.start, end));
    }

    #[track_caller]
    pub(super) fn done(&self) -> &Fetched {
        self.result.as_ref().expect("the fetch succeeds")
    }

    #[track_caller]
    pub(super) fn error(&self, kind: Kind) -> &Error {
        let error = self.result.as_ref().expect_err("the fetch fails");
        assert_eq!(error.kind(), kind, "{error}");
        error
    }

    pub(super) fn count(&self, is: impl Fn(&What) -> bool) -> usize {
        self.events.iter().filter(|event| is(&event.what)).count()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.events.last().expect("a last event").t
    }
}
