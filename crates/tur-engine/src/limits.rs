//! Rate limits in the engine: who waits for them, in which order, and how a change reaches those who wait.
//!
//! Read [`Limits`]. What a rate allows is decided by [`Bucket`]; this puts a lock around it and lanes in a queue. Lanes of
//! one download take turns at its limit, and the one whose turn it is waits for the limit of the process: so downloads
//! share the process's rate equally, whatever their number of lanes, and lanes that of their download. No share is
//! computed, so none can go to somebody who is not there any more.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::select;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::sleep_until;
use tur_core::Rate;
use tur_sched::Bucket;

use crate::clock::Clock;

/// One limit, which may change at any time from any thread.
#[derive(Debug)]
pub(crate) struct Limit {
    clock: Clock,
    bucket: Mutex<Bucket>,
    /// Whether there is a rate: read before each draw, so that without one nothing is locked.
    is_set: AtomicBool,
    changed: Notify,
    /// Whoever holds it may draw as soon as the bucket is ready. Its waiters are served in order.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Limit {
    /// A limit; `None` allows everything.
    pub(crate) fn new(clock: Clock, rate: Option<Rate>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            bucket: Mutex::new(Bucket::new(clock.now(), rate)),
            is_set: AtomicBool::new(rate.is_some()),
            changed: Notify::new(),
            turn: Arc::default(),
        })
    }

    /// Allows another rate from now on, also for those who wait.
    pub(crate) fn set(&self, rate: Option<Rate>) {
        {
            let mut bucket = self.bucket();
            bucket.set_rate(self.clock.now(), rate);
            self.is_set.store(rate.is_some(), Ordering::Relaxed);
        }
        self.changed.notify_waiters();
    }

    pub(crate) fn rate(&self) -> Option<Rate> {
        self.bucket().rate()
    }

    fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }

    fn debit(&self, bytes: u64) {
        if self.is_set() {
            self.bucket().debit(self.clock.now(), bytes);
        }
    }

    /// The turn, if nobody waits for it and it can be used at once.
    fn try_turn(&self) -> Option<OwnedMutexGuard<()>> {
        let turn = Arc::clone(&self.turn).try_lock_owned().ok()?;
        let now = self.clock.now();
        (self.bucket().ready_at(now) <= now).then_some(turn)
    }

    /// The turn, as soon as it can be used. Given up by dropping the future.
    async fn turn(&self) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        loop {
            // Made before the bucket is asked: it hears of every change from here on.
            let changed = pin!(self.changed.notified());
            let now = self.clock.now();
            let at = self.bucket().ready_at(now);
            if at <= now {
                return turn;
            }
            select(changed, pin!(sleep_until(self.clock.instant(at)))).await;
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        // A bucket is a few numbers that are whole after any panic elsewhere.
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The limits of a download: the process's and its own.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) process: Arc<Limit>,
    pub(crate) transfer: Arc<Limit>,
}

/// The right to draw now. Kept until what was drawn is debited, so that the next in turn knows of it; not while waiting
/// for the network.
#[derive(Debug)]
pub(crate) struct Turn {
    _process: OwnedMutexGuard<()>,
    _transfer: OwnedMutexGuard<()>,
}

impl Limits {
    /// True if there is any limit.
    pub(crate) fn is_set(&self) -> bool {
        self.process.is_set() || self.transfer.is_set()
    }

    /// The turn, if it can be had without waiting.
    pub(crate) fn try_turn(&self) -> Option<Turn> {
        Some(Turn {
            _transfer: self.transfer.try_turn()?,
            _process: self.process.try_turn()?,
        })
    }

    /// Waits for the turn. Given up by dropping the future.
    pub(crate) async fn turn(&self) -> Turn {
        let transfer = self.transfer.turn().await;
        Turn {
            _process: self.process.turn().await,
            _transfer: transfer,
        }
    }

    /// How many bytes to draw at a time.
    pub(crate) fn quantum(&self) -> usize {
        let quantum = |limit: &Limit| limit.bucket().quantum(limit.clock.now());
        let least = quantum(&self.process).min(quantum(&self.transfer));
        usize::try_from(least).unwrap_or(usize::MAX)
    }

    /// `bytes` came.
    pub(crate) fn debit(&self, bytes: usize) {
        self.transfer.debit(bytes as u64);
        self.process.debit(bytes as u64);
    }

    /// The receive buffer of connections that are opened under these limits, in bytes; `None` leaves it to the system.
    ///
    /// A buffer that the limit needs minutes to empty is fetched in vain if the download is stopped. But one that the
    /// network fills in less than a round trip slows the download below its limit; so it holds what comes in a long
    /// round trip on a single connection, and where that is much, the system's own measure is better than any guess.
    pub(crate) fn receive_buffer(&self) -> Option<usize> {
        let rates = [self.process.rate(), self.transfer.rate()];
        let least = rates.into_iter().flatten().min()?;
        let bytes = usize::try_from(least.bytes_in(ROUND_TRIP)).unwrap_or(usize::MAX);
        (bytes <= BUFFER_MAX).then(|| bytes.max(BUFFER_MIN))
    }
}

/// A long round trip: to the other side of the earth, through queues.
const ROUND_TRIP: Duration = Duration::from_millis(300);
/// Less than the usual first window gains nothing, and Linux allows no more than about 208 KiB without asking its
/// administrator.
const BUFFER_MIN: usize = 64 * 1024;
const BUFFER_MAX: usize = 192 * 1024;

#[cfg(test)]
mod tests;
