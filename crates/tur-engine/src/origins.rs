//! What downloads learned of origins, for the downloads to come.
//!
//! [`Origins`] is the handle: a hint is read from memory and a note is put there, so that a download never waits for a
//! disk. With a path, a thread of its own (`keeper`) reads the file at first and writes it now and then; what the file
//! looks like is `record`'s business, what a hint is worth tur-sched's.

mod keeper;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tur_core::{Challenge, Kind, Origin, Rate, Wall};
use tur_sched::{Facts, OriginMemory, Profile};
use tur_storage::Disk;

use crate::Error;
use crate::clock::Clock;

use self::keeper::{Keeper, Order};

/// A download waits so long at most for the file to be read: it takes a millisecond, unless the disk is ill.
const READY_MAX: Duration = Duration::from_millis(250);

/// What is remembered of an origin, as a download that begins now is told it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OriginRecord {
    /// Scheme, host and, unless it is the scheme's own, port. It may quote the network: see
    /// [`printable`](crate::printable).
    pub origin: String,
    /// Lanes to begin with; 1 if nothing is known.
    pub lanes: u16,
    /// Lanes beyond which it refused lately.
    pub lanes_limit: Option<u16>,
    /// Rate of one lane.
    pub lane_rate: Option<Rate>,
    /// From a request to the head of its answer, at best.
    pub rtt: Option<Duration>,
    /// Connect and TLS.
    pub handshake: Option<Duration>,
    /// How unequal its lanes are: 1 + the coefficient of variation of their rates, from 1.1 to 2.5.
    pub ratio: f64,
    /// Bytes that were on their way at once on one connection (rate times round trip): windows are sized by it.
    pub window: Option<u32>,
    /// Whether it serves ranges.
    pub ranges: Option<bool>,
    /// What came instead of a file the last time, if that came.
    pub challenge: Option<Challenge>,
    /// Whether it asked for credentials.
    pub needs_authorization: bool,
    /// Whether cookies of the user made it serve.
    pub needs_cookies: bool,
    /// Time since something was noted last.
    pub age: Duration,
}

/// The memory of origins. Clones share it; when the last one goes, what was noted is written.
#[derive(Clone)]
pub(crate) struct Origins {
    remembered: Arc<Remembered>,
    keeper: Option<Sender<Order>>,
}

/// What handle and thread share.
struct Remembered {
    state: Mutex<Memory>,
    /// True once the file was read.
    ready: watch::Sender<bool>,
}

#[derive(Default)]
struct Memory {
    known: OriginMemory,
    /// What is not in the file yet, at most one for each origin, in the order in which it came.
    notes: Vec<Note>,
    /// True while the thread knows that there are notes.
    announced: bool,
    /// What a user should be told.
    said: Vec<String>,
}

/// What one visit measured, or several in a row.
struct Note {
    origin: Origin,
    at: Wall,
    facts: Facts,
}

impl Origins {
    /// A memory that ends with the last handle.
    pub(crate) fn in_memory() -> Self {
        Self {
            remembered: Arc::new(Remembered::new(true)),
            keeper: None,
        }
    }

    /// A memory that is kept in a file, which is read in the background.
    ///
    /// # Errors
    /// `Usage` if the path names no file, `Other` if the system has no thread to give.
    pub(crate) fn open<D: Disk>(disk: D, path: &Path) -> Result<Self, Error> {
        let remembered = Arc::new(Remembered::new(false));
        let keeper = Keeper::new(disk, path, Arc::clone(&remembered))
            .map_err(|error| Error::new(Kind::Usage, error.to_string()))?;
        let (orders, inbox) = mpsc::channel();
        thread::Builder::new()
            .name("tur-origins".into())
            .spawn(move || keeper.run(&inbox))
            .map_err(|error| {
                Error::new(Kind::Other, format!("no thread for the memory: {error}"))
            })?;
        Ok(Self {
            remembered,
            keeper: Some(orders),
        })
    }

    /// Waits until the file was read, within bounds.
    pub(crate) async fn ready(&self) {
        self.ready_within(READY_MAX).await;
    }

    async fn ready_within(&self, most: Duration) {
        let mut ready = self.remembered.ready.subscribe();
        if *ready.borrow_and_update() {
            return;
        }
        if timeout(most, ready.wait_for(|ready| *ready)).await.is_err() {
            tracing::warn!("the memory of origins is not there yet: going on without");
        }
    }

    /// What a download from `origin` may begin with. Never waits.
    pub(crate) fn hint(&self, origin: &Origin) -> Option<Profile> {
        self.remembered.lock().known.hint(origin, Clock::wall())
    }

    /// What is remembered of an origin by now. Never waits.
    pub(crate) fn recall(&self, origin: &Origin) -> Option<OriginRecord> {
        let now = Clock::wall();
        let hint = self.remembered.lock().known.hint(origin, now)?;
        Some(OriginRecord::new(origin, &hint, now))
    }

    /// Notes what a download measured. Never waits: it is written later.
    pub(crate) fn note(&self, origin: &Origin, facts: Facts) {
        let at = Clock::wall();
        let mut memory = self.remembered.lock();
        memory.known.note(origin, at, facts);
        let Some(keeper) = &self.keeper else { return };
        if facts.is_empty() {
            return;
        }
        let origin = origin.clone();
        memory.keep(Note { origin, at, facts });
        if !std::mem::replace(&mut memory.announced, true) {
            drop(memory);
            if keeper.send(Order::Noted).is_err() {
                tracing::error!("the memory's thread is gone");
            }
        }
    }

    /// Writes now what was noted, and waits for that within `limit`.
    pub(crate) fn flush(&self, limit: Duration) -> Result<(), Error> {
        let Some(keeper) = &self.keeper else {
            return Ok(());
        };
        let (reply, answer) = mpsc::sync_channel(1);
        keeper.send(Order::Flush(reply)).map_err(|_| gone())?;
        match answer.recv_timeout(limit) {
            Ok(written) => written,
            Err(RecvTimeoutError::Timeout) => Err(Error::new(
                Kind::Local,
                "the memory of origins takes too long to write",
            )),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }

    /// Everything that is remembered, the latest first.
    pub(crate) fn list(&self) -> Result<Vec<OriginRecord>, Error> {
        match &self.keeper {
            None => Ok(records(&self.remembered.lock().known, Clock::wall())),
            Some(keeper) => ask(keeper, Order::List),
        }
    }

    /// Forgets what the pattern says and counts it.
    pub(crate) fn forget(&self, pattern: Pattern) -> Result<usize, Error> {
        match &self.keeper {
            None => Ok(self.remembered.forget(&pattern).len()),
            Some(keeper) => ask(keeper, |reply| Order::Forget(pattern, reply)),
        }
    }

    /// What a user should be told: a file that cannot be used.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.remembered.lock().said.clone()
    }
}

/// Which origins are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// All.
    All,
    /// This one.
    Origin(Origin),
    /// Those of a host, or of a host and a port.
    Host(String, Option<u16>),
}

impl Pattern {
    /// Reads a URL, of which only the origin counts, or `host`, or `host:port`.
    ///
    /// # Errors
    /// `Usage` if it is none of these.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let usage = |why: String| Error::new(Kind::Usage, why);
        if text.contains("://") {
            let (target, _) = tur_http::target(text).map_err(|error| usage(error.to_string()))?;
            return Ok(Self::Origin(target.origin));
        }
        let neither = || match text.contains('@') {
            // What stands before it may be a password.
            true => usage("this is neither an origin nor a host".to_owned()),
            false => usage(format!("{text:?} is neither an origin nor a host")),
        };
        if text.contains(['/', '\\', '?', '#', '@']) {
            return Err(neither());
        }
        // A host is read by the rules for URLs too, so that case and spelling do not matter.
        let (target, _) = tur_http::target(&format!("https://{text}/")).map_err(|_| neither())?;
        let bare = text
            .rsplit(']')
            .next()
            .is_some_and(|end| !end.contains(':'));
        let port = (!bare).then_some(target.origin.port);
        Ok(Self::Host(target.origin.host, port))
    }

    fn is(&self, origin: &Origin) -> bool {
        match self {
            Pattern::All => true,
            Pattern::Origin(meant) => origin == meant,
            Pattern::Host(host, port) => {
                origin.host == *host && port.is_none_or(|port| origin.port == port)
            }
        }
    }

    fn matching(&self, memory: &OriginMemory) -> Vec<Origin> {
        let origins = memory.iter().map(|(origin, _)| origin);
        origins.filter(|origin| self.is(origin)).cloned().collect()
    }
}

impl Remembered {
    fn new(ready: bool) -> Self {
        Self {
            state: Mutex::default(),
            ready: watch::channel(ready).0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // Each change leaves hints whole, so a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file holds; what was noted since counts on top of it.
    fn begin_with(&self, known: OriginMemory) {
        let memory = &mut *self.lock();
        memory.known = known;
        for note in &memory.notes {
            memory.known.note(&note.origin, note.at, note.facts);
        }
        self.ready.send_replace(true);
    }

    /// Takes what is to be written.
    fn take_notes(&self) -> Vec<Note> {
        let mut memory = self.lock();
        memory.announced = false;
        std::mem::take(&mut memory.notes)
    }

    /// What is to be written, still.
    fn notes(&self) -> Vec<Note> {
        let memory = self.lock();
        memory.notes.iter().map(Note::copy).collect()
    }

    /// Notes that could not be written wait, behind them what came since.
    fn put_back(&self, notes: Vec<Note>) {
        let mut memory = self.lock();
        let since = std::mem::replace(&mut memory.notes, notes);
        for note in since {
            memory.keep(note);
        }
    }

    fn forget(&self, pattern: &Pattern) -> BTreeSet<Origin> {
        let mut memory = self.lock();
        let gone = pattern.matching(&memory.known);
        for origin in &gone {
            memory.known.forget(origin);
        }
        memory.notes.retain(|note| !pattern.is(&note.origin));
        gone.into_iter().collect()
    }

    fn say(&self, text: String) {
        self.lock().said.push(text);
    }
}

impl Memory {
    /// Keeps a note to be written, joined with an earlier one of that origin. No more wait than can be remembered.
    fn keep(&mut self, mut note: Note) {
        if let Some(at) = self.notes.iter().position(|old| old.origin == note.origin) {
            note.facts = self.notes.remove(at).facts.then(note.facts);
        } else if self.notes.len() >= OriginMemory::ORIGINS_MAX {
            self.notes.remove(0);
        }
        self.notes.push(note);
    }
}

impl Note {
    fn copy(&self) -> Self {
        Self {
            origin: self.origin.clone(),
            ..*self
        }
    }
}

/// What a memory tells at `now`, the latest first.
fn records(memory: &OriginMemory, now: Wall) -> Vec<OriginRecord> {
    let mut records: Vec<_> = memory
        .iter()
        .filter_map(|(origin, profile)| Some(OriginRecord::new(origin, &profile.hint(now)?, now)))
        .collect();
    records.reverse();
    records
}

impl OriginRecord {
    fn new(origin: &Origin, hint: &Profile, now: Wall) -> Self {
        Self {
            origin: origin.to_string(),
            lanes: hint.lanes,
            lanes_limit: hint.lanes_limit.map(|limit| limit.lanes),
            lane_rate: hint.lane_rate,
            rtt: hint.rtt,
            handshake: hint.handshake,
            ratio: hint.ratio.value(),
            window: hint.window,
            ranges: hint.ranges,
            challenge: hint.challenge,
            needs_authorization: hint.needs.authorization,
            needs_cookies: hint.needs.cookies,
            age: hint.updated.until(now),
        }
    }
}

/// Asks the thread and waits for its answer, however long a disk takes.
fn ask<T>(
    keeper: &Sender<Order>,
    order: impl FnOnce(mpsc::SyncSender<Result<T, Error>>) -> Order,
) -> Result<T, Error> {
    let (reply, answer) = mpsc::sync_channel(1);
    keeper.send(order(reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

fn gone() -> Error {
    Error::new(Kind::Other, "the memory's thread is gone: this is a bug")
}
