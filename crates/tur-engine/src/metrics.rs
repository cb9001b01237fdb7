//! What downloads count and measure while they run, and what that comes to for a downloader.
//!
//! Read [`Metrics`]. A driver counts in its own, and puts a copy where it can be looked at with each snapshot and at its
//! end; [`Totals`] adds up those that are over and those that run. Nothing but these copies is locked to read them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tur_core::port::Window;
use tur_core::{Fault, Wait};

/// What one download has counted and measured so far, or all of a downloader. Times are moving averages, in which the
/// latest eight or so count most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Connections and requests, by protocol: `h1`, `h2`, `h3`.
    pub protocols: BTreeMap<&'static str, ProtocolMetrics>,
    /// Most lanes that received at once.
    pub lanes_max: u16,
    /// Lanes that were allowed in addition, over time.
    pub lanes_added: u64,
    /// Lanes that were taken away again.
    pub lanes_dropped: u64,
    /// Work that moved from one lane to another.
    pub steals: Steals,
    /// Bytes received and not used.
    pub wasted_bytes: u64,
    /// Bytes that an earlier run had left.
    pub resumed_bytes: u64,
    /// Attempts that failed and were made again, by the name of the fault: `lost`, `truncated`, `status 503`, … At most 32
    /// names; further ones count as `other`.
    pub retries: BTreeMap<Cow<'static, str>, u64>,
    /// From a request to the head of its answer.
    pub rtt: Option<Duration>,
    /// Connect and TLS of a connection.
    pub handshake: Option<Duration>,
    /// From the call of a write to its return; a write has up to 256 KiB.
    pub write: Option<Duration>,
    /// Windows of the connections that were opened, where the protocol has such.
    pub windows: WindowMetrics,
    /// Visits of an origin that was remembered: a download has one, and one more for each origin that a redirect leads to.
    pub memory_hits: u64,
    /// Visits of an origin of which nothing was known.
    pub memory_misses: u64,
}

/// Counts of one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProtocolMetrics {
    /// Connections opened.
    pub connections: u64,
    /// Requests that were the first of their connection.
    pub fresh: u64,
    /// Requests on a connection that had carried one before, of this or another download.
    pub reused: u64,
    /// Bytes of bodies received.
    pub bytes: u64,
}

/// How much peers may send ahead, by connection: HTTP/2 has windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowMetrics {
    /// Connections by what their window was chosen by: `default`, `measured` (by this process), `remembered` (of an earlier
    /// visit).
    pub sources: BTreeMap<&'static str, u64>,
    /// Bytes of the smallest and the largest one.
    pub bytes: Option<(u32, u32)>,
}

impl WindowMetrics {
    pub(crate) fn count(&mut self, window: Window) {
        *self.sources.entry(window.source.as_str()).or_default() += 1;
        self.widen(window.bytes, window.bytes);
    }

    fn widen(&mut self, least: u32, most: u32) {
        let (low, high) = self.bytes.unwrap_or((least, most));
        self.bytes = Some((low.min(least), high.max(most)));
    }

    fn absorb(&mut self, other: &Self) {
        for (source, count) in &other.sources {
            *self.sources.entry(source).or_default() += count;
        }
        if let Some((least, most)) = other.bytes {
            self.widen(least, most);
        }
    }
}

/// Work that moved from one lane to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Steals {
    /// The tail of what a lane had left went to a free one.
    pub tails: u64,
    /// A lane was so slow that all it had left went to others.
    pub revoked: u64,
    /// Bytes that moved.
    pub bytes: u64,
}

/// What a downloader has counted and measured so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DownloaderMetrics {
    /// Downloads that began and are over.
    pub ended: u64,
    /// Downloads that run.
    pub running: usize,
    /// All of them together.
    pub all: Metrics,
    /// Connections that it was given.
    pub connections_configured: usize,
    /// Connections that it may have now: fewer while memory or descriptors are short.
    pub connections_allowed: usize,
    /// Connections that it has.
    pub connections_held: usize,
}

impl Metrics {
    /// Requests sent, over all protocols.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let each = self.protocols.values();
        each.map(|protocol| protocol.fresh + protocol.reused).sum()
    }

    /// Connections opened, over all protocols.
    #[must_use]
    pub fn connections(&self) -> u64 {
        let each = self.protocols.values();
        each.map(|protocol| protocol.connections).sum()
    }

    /// The protocol that has carried most bytes; none before any were received.
    #[must_use]
    pub fn protocol(&self) -> Option<&'static str> {
        let most = self.protocols.iter().max_by_key(|(_, counts)| counts.bytes);
        most.filter(|(_, counts)| counts.bytes > 0)
            .map(|(protocol, _)| *protocol)
    }

    /// Requests on connections that had carried one before.
    #[must_use]
    pub fn reused(&self) -> u64 {
        self.protocols
            .values()
            .map(|protocol| protocol.reused)
            .sum()
    }

    /// Attempts that were made again, whatever the fault.
    #[must_use]
    pub fn retried(&self) -> u64 {
        self.retries.values().sum()
    }

    pub(crate) fn retry(&mut self, fault: &Fault) {
        self.count_retries(name(fault), 1);
    }

    fn count_retries(&mut self, name: Cow<'static, str>, n: u64) {
        let full = self.retries.len() >= RETRY_NAMES_MAX - 1;
        let name = match full && !self.retries.contains_key(&name) {
            true => Cow::Borrowed("other"),
            false => name,
        };
        *self.retries.entry(name).or_default() += n;
    }

    /// Adds another's. Its averages count as one sample each.
    fn absorb(&mut self, other: &Metrics) {
        for (protocol, theirs) in &other.protocols {
            let ours = self.protocols.entry(protocol).or_default();
            ours.connections += theirs.connections;
            ours.fresh += theirs.fresh;
            ours.reused += theirs.reused;
            ours.bytes += theirs.bytes;
        }
        self.lanes_max = self.lanes_max.max(other.lanes_max);
        self.lanes_added += other.lanes_added;
        self.lanes_dropped += other.lanes_dropped;
        self.steals.tails += other.steals.tails;
        self.steals.revoked += other.steals.revoked;
        self.steals.bytes += other.steals.bytes;
        self.wasted_bytes += other.wasted_bytes;
        self.resumed_bytes += other.resumed_bytes;
        for (name, n) in &other.retries {
            self.count_retries(name.clone(), *n);
        }
        for (ours, theirs) in [
            (&mut self.rtt, other.rtt),
            (&mut self.handshake, other.handshake),
            (&mut self.write, other.write),
        ] {
            if let Some(sample) = theirs {
                blend(ours, sample);
            }
        }
        self.windows.absorb(&other.windows);
        self.memory_hits += other.memory_hits;
        self.memory_misses += other.memory_misses;
    }
}

/// Names of faults that are counted, so that an origin cannot make the map grow with statuses.
const RETRY_NAMES_MAX: usize = 32;

/// Takes one more sample into a moving average: an eighth of it.
pub(crate) fn blend(average: &mut Option<Duration>, sample: Duration) {
    *average = Some(average.map_or(sample, |old| old - old / 8 + sample / 8));
}

/// The stable name of a fault.
fn name(fault: &Fault) -> Cow<'static, str> {
    Cow::Borrowed(match fault {
        Fault::Status { status, .. } => return Cow::Owned(format!("status {status}")),
        Fault::Resolve { .. } => "resolve",
        Fault::Connect { .. } => "connect",
        Fault::Offline { .. } => "offline",
        Fault::Exhausted(_) => "exhausted",
        Fault::Tls(_) => "tls",
        Fault::Lost(_) => "lost",
        Fault::StreamRefused(_) => "refused",
        Fault::Calm(_) => "calm",
        Fault::Truncated(_) => "truncated",
        Fault::TimedOut(Wait::Connect, _) => "connect timed out",
        Fault::TimedOut(Wait::FirstByte, _) => "answer timed out",
        Fault::TimedOut(Wait::Body, _) => "body timed out",
        Fault::Malformed(_) => "malformed",
        Fault::ProxyFailed { .. } | Fault::ProxyRefused { .. } => "proxy",
        Fault::NotAdmitted(_) => "not admitted",
        Fault::Challenged(_) => "challenged",
        Fault::Undecodable(_) => "undecodable",
        // The rest is not tried again.
        _ => "other",
    })
}

/// Metrics of one download that may be looked at while it runs. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown(Arc<Mutex<Metrics>>);

impl Shown {
    pub(crate) fn put(&self, metrics: &Metrics) {
        self.lock().clone_from(metrics);
    }

    pub(crate) fn look(&self) -> Metrics {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Metrics> {
        // Counts are whole after any panic: each is written by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sums of a downloader. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals(Arc<Mutex<Sums>>);

#[derive(Debug, Default)]
struct Sums {
    ended: u64,
    over: Metrics,
    running: BTreeMap<u64, Shown>,
}

/// Counts a download as running for as long as it is there, and as ended from then on.
#[derive(Debug)]
pub(crate) struct Counted {
    totals: Totals,
    id: u64,
}

impl Totals {
    /// A download begins, under a number of its own.
    pub(crate) fn enter(&self, id: u64, shown: Shown) -> Counted {
        self.lock().running.insert(id, shown);
        Counted {
            totals: self.clone(),
            id,
        }
    }

    pub(crate) fn look(&self, gauge: &Gauge) -> DownloaderMetrics {
        let sums = self.lock();
        let mut all = sums.over.clone();
        for shown in sums.running.values() {
            all.absorb(&shown.lock());
        }
        DownloaderMetrics {
            ended: sums.ended,
            running: sums.running.len(),
            all,
            connections_configured: gauge.configured,
            connections_allowed: gauge.allowed.load(Ordering::Relaxed),
            connections_held: gauge.held.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut sums = self.totals.lock();
        let sums = &mut *sums;
        if let Some(shown) = sums.running.remove(&self.id) {
            sums.ended += 1;
            sums.over.absorb(&shown.lock());
        }
    }
}

/// How the budget of connections stands: written under the lock of the sessions, and read without it.
#[derive(Debug)]
pub(crate) struct Gauge {
    pub(crate) configured: usize,
    allowed: AtomicUsize,
    held: AtomicUsize,
}

impl Gauge {
    pub(crate) fn new(configured: usize) -> Self {
        Self {
            configured,
            allowed: AtomicUsize::new(configured),
            held: AtomicUsize::new(0),
        }
    }

    pub(crate) fn show(&self, allowed: usize, held: usize) {
        self.allowed.store(allowed, Ordering::Relaxed);
        self.held.store(held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Fault {
        Fault::Status {
            status,
            reason: String::new(),
            retry_after: None,
            challenge: false,
        }
    }

    #[test]
    fn an_average_follows_its_samples_slowly() {
        let mut average = None;
        blend(&mut average, Duration::from_millis(80));
        assert_eq!(average, Some(Duration::from_millis(80)));
        blend(&mut average, Duration::from_millis(160));
        assert_eq!(average, Some(Duration::from_millis(90)));
        for _ in 0..100 {
            blend(&mut average, Duration::from_millis(160));
        }
        assert!(average > Some(Duration::from_millis(159)));
    }

    #[test]
    fn names_of_faults_are_bounded_and_every_retry_counts() {
        let mut metrics = Metrics::default();
        for n in 100..400 {
            metrics.retry(&status(n));
        }
        metrics.retry(&status(100));
        metrics.retry(&Fault::Lost("it went".into()));
        assert_eq!(metrics.retries.len(), RETRY_NAMES_MAX);
        assert_eq!(metrics.retries.get("status 100"), Some(&2));
        assert_eq!(metrics.retried(), 302);
        let mut sum = metrics.clone();
        sum.absorb(&metrics);
        assert_eq!((sum.retries.len(), sum.retried()), (RETRY_NAMES_MAX, 604));
    }

    #[test]
    fn what_runs_and_what_is_over_counts_once() {
        let (totals, gauge) = (Totals::default(), Gauge::new(9));
        let shown = [Shown::default(), Shown::default()];
        let mut counted: Vec<_> = (1..)
            .zip(&shown)
            .map(|(id, shown)| totals.enter(id, shown.clone()))
            .collect();
        let mut metrics = Metrics::default();
        metrics.retry(&status(503));
        metrics.wasted_bytes = 5;
        metrics.protocols.entry("h1").or_default().fresh = 2;
        metrics.rtt = Some(Duration::from_secs(1));
        for shown in &shown {
            shown.put(&metrics);
        }
        gauge.show(7, 3);
        let look = || {
            let seen = totals.look(&gauge);
            let sums = (
                seen.all.requests(),
                seen.all.wasted_bytes,
                seen.all.retried(),
            );
            assert_eq!(sums, (4, 10, 2));
            assert_eq!(seen.all.rtt, Some(Duration::from_secs(1)));
            assert_eq!((seen.connections_allowed, seen.connections_held), (7, 3));
            (seen.ended, seen.running)
        };
        assert_eq!(look(), (0, 2));
        counted.pop();
        assert_eq!(look(), (1, 1));
        counted.pop();
        assert_eq!(look(), (2, 0));
    }
}
