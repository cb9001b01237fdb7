//! What a session, its streams and its bodies know in common.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use quinn::VarInt;
use tur_core::Fault;

use crate::windows::Gauge;

use super::meter::Breach;

/// The shared state of one connection.
pub(crate) struct Shared {
    head_limit: usize,
    /// Its window is taken for as long as anybody holds a stream.
    gauge: Gauge,
    /// The session takes no more requests.
    retired: AtomicBool,
    /// The session was dropped: all ends now.
    closed: AtomicBool,
    /// The connection had broken before that, or brought nothing any more.
    broken: AtomicBool,
    /// Requests that have not come to their end.
    running: AtomicUsize,
    /// The peer serves no request stream of this number or a later one.
    unserved_from: AtomicU64,
    /// What ended the connection, where neither quinn nor h3 knows it.
    verdict: OnceLock<Fault>,
    /// Request streams that live and have been read to their end, and how many bytes of content their frames have.
    ended: Mutex<BTreeMap<u64, u64>>,
    /// Request streams that were opened to see how many the peer allows, the next one first.
    spare: Mutex<VecDeque<Pair>>,
}

/// The two directions of a request stream.
pub(super) type Pair = (quinn::SendStream, quinn::RecvStream);

impl Shared {
    pub(super) fn new(head_limit: usize, gauge: Gauge, spare: VecDeque<Pair>) -> Arc<Self> {
        Arc::new(Self {
            head_limit,
            gauge,
            retired: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            unserved_from: AtomicU64::new(u64::MAX),
            verdict: OnceLock::new(),
            ended: Mutex::default(),
            spare: Mutex::new(spare),
        })
    }

    /// Bytes that a header section may have.
    pub(super) fn head_limit(&self) -> usize {
        self.head_limit
    }

    /// What the connection brings, and how much the peer may send ahead.
    pub(super) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// The session takes no more requests; those that run go on.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// The session was dropped.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The connection had broken before the session was dropped, or brings nothing any more.
    pub(super) fn breaks(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// A request begins on this connection.
    pub(super) fn begins(self: &Arc<Self>, connection: &quinn::Connection) -> Running {
        self.running.fetch_add(1, Ordering::AcqRel);
        Running {
            shared: Arc::clone(self),
            connection: connection.clone(),
            over: false,
        }
    }

    /// The connection has ended, and cut off a request: whatever it said at its end, it broke.
    pub(super) fn was_cut(&self) -> bool {
        // In this order: a request that is not counted any more has said before whether it was cut off.
        let runs = self.running.load(Ordering::Acquire) > 0;
        self.is_broken() || (runs && !self.is_closed())
    }

    /// The peer has said GOAWAY.
    pub(super) fn goes_away(&self, id: u64) {
        self.unserved_from.fetch_min(id, Ordering::Relaxed);
        self.retire();
    }

    /// True if the peer has said that it does not serve this stream.
    pub(super) fn is_unserved(&self, id: u64) -> bool {
        id >= self.unserved_from.load(Ordering::Relaxed)
    }

    /// The peer broke a rule of the connection; the first word counts.
    pub(super) fn condemn(&self, breach: Breach) {
        self.verdict
            .get_or_init(|| Fault::Malformed(breach.to_string()));
    }

    /// What ended the connection, where neither quinn nor h3 knows it.
    pub(super) fn verdict(&self) -> Option<Fault> {
        self.verdict.get().cloned()
    }

    /// A request stream has been read to its end: it has so many bytes of content.
    pub(super) fn end(&self, id: u64, content: u64) {
        lock(&self.ended).insert(id, content);
    }

    /// How many bytes of content a stream has, once its end was read.
    pub(super) fn content(&self, id: u64) -> Option<u64> {
        lock(&self.ended).get(&id).copied()
    }

    /// A request stream is gone.
    pub(super) fn forget(&self, id: u64) {
        lock(&self.ended).remove(&id);
    }

    /// The next stream that was opened before.
    pub(super) fn spare(&self) -> Option<Pair> {
        lock(&self.spare).pop_front()
    }
}

/// A request that runs. Dropped, it is cut off if the connection ended first.
pub(super) struct Running {
    shared: Arc<Shared>,
    connection: quinn::Connection,
    over: bool,
}

impl Running {
    /// Its answer has come to its end.
    pub(super) fn ends(mut self) {
        self.over = true;
    }

    /// Content has come: the peer may send more ahead, if that would bring more.
    pub(super) fn received(&self, bytes: u64) {
        let gauge = &self.shared.gauge;
        gauge.received(bytes);
        if let Some(window) = gauge.grow() {
            self.connection.set_receive_window(VarInt::from_u32(window));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over && !self.shared.is_closed() && self.connection.close_reason().is_some() {
            self.shared.breaks();
        }
        let before = self.shared.running.fetch_sub(1, Ordering::AcqRel);
        self.shared.gauge.ended(before == 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
