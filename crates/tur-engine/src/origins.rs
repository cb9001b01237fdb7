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
use tur_core::{Advert, Challenge, Kind, Origin, Rate, Scheme, Wall};
use tur_sched::{Facts, Http3, Http3Fact, OriginMemory, Profile};
use tur_storage::Disk;

use crate::Error;
use crate::clock::Clock;

use self::keeper::{Keeper, Order};

/// A download waits so long at most for the file to be read: it takes a millisecond, unless the disk is ill.
const READY_MAX: Duration = Duration::from_millis(250);
/// Notes that wait to be written: a visit of each origin that can be remembered.
const NOTES_MAX: usize = OriginMemory::ORIGINS_MAX;

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
    /// What is known of HTTP/3 there, if the origin offers it.
    pub http3: Option<Http3Record>,
    /// Time since something was noted last.
    pub age: Duration,
}

/// What is remembered of HTTP/3 at an origin that offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Http3Record {
    /// Where, as `Alt-Svc` writes it: `HOST:PORT`, or `:PORT` on the origin's own host.
    pub alternative: String,
    /// True while it is not tried because it failed.
    pub paused: bool,
    /// Rate of a lane over HTTP/3.
    pub rate: Option<Rate>,
    /// Rate of a lane over TCP.
    pub tcp_rate: Option<Rate>,
}

/// The memory of origins. Clones share it; when the last one goes, what was noted is written.
#[derive(Clone)]
pub(crate) struct Origins {
    remembered: Arc<Remembered>,
    keeper: Option<Sender<Order>>,
    /// False if what origins say of HTTP/3 is not taken.
    hears: bool,
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
    /// What is not in the file yet, in the order in which it came; of visits at most one for each origin.
    notes: Vec<Note>,
    /// True while the thread knows that there are notes.
    announced: bool,
    /// What a user should be told.
    said: Vec<String>,
}

/// Something that was learned.
#[derive(Clone)]
struct Note {
    origin: Origin,
    at: Wall,
    learned: Learned,
}

#[derive(Clone)]
enum Learned {
    /// What one visit measured, or several in a row.
    Visit(Facts),
    /// Something about HTTP/3.
    Http3(Http3Fact),
}

impl Origins {
    /// A memory in a file, or without one. What origins say of HTTP/3 is taken only where it is checked who says it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn kept<D: Disk>(
        disk: D,
        path: Option<&Path>,
        checked: bool,
    ) -> Result<Self, Error> {
        let memory = match path {
            Some(path) => Self::open(disk, path)?,
            None => Self::in_memory(),
        };
        Ok(Self {
            hears: checked,
            ..memory
        })
    }

    /// A memory that ends with the last handle.
    pub(crate) fn in_memory() -> Self {
        Self {
            remembered: Arc::new(Remembered::new(true)),
            keeper: None,
            hears: true,
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
            hears: true,
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
        let known = &self.remembered.lock().known;
        let hint = known.hint(origin, now)?;
        Some(OriginRecord::new(origin, &hint, known.http3(origin), now))
    }

    /// Notes what a download measured. Never waits: it is written later.
    pub(crate) fn note(&self, origin: &Origin, facts: Facts) {
        let at = Clock::wall();
        if facts.is_empty() {
            return;
        }
        self.learn(Note {
            origin: origin.clone(),
            at,
            learned: Learned::Visit(facts),
        });
    }

    /// What is known of HTTP/3 at an origin. Never waits.
    pub(crate) fn http3(&self, origin: &Origin) -> Option<Http3> {
        self.remembered.lock().known.http3(origin).cloned()
    }

    /// Notes something about HTTP/3 at an origin. Never waits.
    pub(crate) fn note_http3(&self, origin: &Origin, fact: Http3Fact) {
        let at = Clock::wall();
        let known = self.http3(origin);
        let renewed = match (&fact, &known) {
            (Http3Fact::Said(Advert::Withdrawn), known) => {
                known.as_ref().is_some_and(|known| known.offer.is_some())
            }
            // The same is said with each answer: what is still good for half of its time is left as it is.
            (Http3Fact::Said(Advert::Http3(said)), Some(known)) => {
                known.offer.as_ref().is_none_or(|offer| {
                    let left = at.until(offer.until);
                    offer.alternative != said.alternative
                        || offer.persist != said.persist
                        || left < said.max_age / 2
                        || left > said.max_age
                })
            }
            (Http3Fact::Said(_), None) => true,
            (Http3Fact::Overtaken, known) => {
                known.as_ref().is_some_and(|known| known.worked.is_some())
            }
            (_, known) => known.is_some(),
        };
        if renewed {
            self.learn(Note {
                origin: origin.clone(),
                at,
                learned: Learned::Http3(fact),
            });
        }
    }

    /// Takes what an answer of an origin says of HTTP/3. Only TLS tells whose word it is.
    pub(crate) fn heard(&self, origin: &Origin, advert: &Advert) {
        if self.hears && origin.scheme == Scheme::Https {
            let mut advert = advert.clone();
            if let Advert::Http3(offer) = &mut advert
                && offer.alternative.host.as_ref() == Some(&origin.host)
            {
                offer.alternative.host = None;
            }
            self.note_http3(origin, Http3Fact::Said(advert));
        }
    }

    fn learn(&self, note: Note) {
        let mut memory = self.remembered.lock();
        note.apply(&mut memory.known);
        let Some(keeper) = &self.keeper else { return };
        memory.keep(note);
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

    fn matching(&self, memory: &OriginMemory) -> BTreeSet<Origin> {
        let origins = memory.iter().map(|(origin, _)| origin);
        let origins = origins.chain(memory.http3_all().map(|(origin, _)| origin));
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
            note.apply(&mut memory.known);
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
        memory.notes.clone()
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
        gone
    }

    fn say(&self, text: String) {
        self.lock().said.push(text);
    }
}

impl Memory {
    /// Keeps a note to be written, that of a visit joined with an earlier one of that origin. No more wait than can be
    /// remembered.
    fn keep(&mut self, mut note: Note) {
        if let Learned::Visit(facts) = &mut note.learned {
            let earlier = |old: &Note| match old.learned {
                Learned::Visit(facts) if old.origin == note.origin => Some(facts),
                _ => None,
            };
            let found = self.notes.iter().enumerate();
            let found = found.filter_map(|(at, old)| Some((at, earlier(old)?)));
            if let Some((at, before)) = { found }.next() {
                *facts = before.then(*facts);
                self.notes.remove(at);
            }
        }
        if self.notes.len() >= NOTES_MAX {
            self.notes.remove(0);
        }
        self.notes.push(note);
    }
}

impl Note {
    fn apply(&self, memory: &mut OriginMemory) {
        match &self.learned {
            Learned::Visit(facts) => memory.note(&self.origin, self.at, *facts),
            Learned::Http3(fact) => memory.learn_http3(&self.origin, self.at, fact),
        }
    }
}

/// What a memory tells at `now`, the latest first.
fn records(memory: &OriginMemory, now: Wall) -> Vec<OriginRecord> {
    let mut records: Vec<_> = memory
        .iter()
        .filter_map(|(origin, profile)| {
            let http3 = memory.http3(origin);
            Some(OriginRecord::new(origin, &profile.hint(now)?, http3, now))
        })
        .collect();
    records.reverse();
    records
}

impl OriginRecord {
    fn new(origin: &Origin, hint: &Profile, http3: Option<&Http3>, now: Wall) -> Self {
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
            http3: http3.and_then(|known| Http3Record::new(known, now)),
            age: hint.updated.until(now),
        }
    }
}

impl Http3Record {
    fn new(known: &Http3, now: Wall) -> Option<Self> {
        let offer = known.offer.as_ref()?;
        Some(Self {
            alternative: offer.alternative.to_string(),
            paused: known.is_paused(now),
            rate: known.rate,
            tcp_rate: known.tcp_rate,
        })
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
