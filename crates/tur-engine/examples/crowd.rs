//! Many peers on one downloader: each asks for many small fetches, all through one door. Says how fair that was, what it
//! cost, and that each fetch ended once.
//!
//! ```text
//! cargo run --release -p tur-engine --example crowd -- [PEERS] [FETCHES] [URL]
//! ```
//!
//! Without a URL it serves itself a file of 4 KiB. The memory that it tells is then that of the origin too, which keeps a log
//! of some 500 bytes for each request.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tur_engine::{Abr, Command, Downloader, Peer};
use tur_testkit::{Behaviour, Loopback};

/// Bytes of the file that is served without a URL.
const SIZE: u64 = 4_096;
/// Commands that a peer hands over when it is asked.
const BATCH: usize = 8;

/// One that wants the same file again and again.
struct Guest {
    url: String,
    number: usize,
    /// How often it still wants it.
    left: Mutex<usize>,
    counts: Arc<Counts>,
    ends: mpsc::UnboundedSender<(usize, Option<u64>)>,
}

/// What runs at this moment, and how much that was at most.
#[derive(Default)]
struct Counts {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Abr for Guest {}

impl Peer for Guest {
    fn poll_next(&self, _: &mut Context<'_>) -> Poll<Option<Vec<Command>>> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let n = BATCH.min(*left);
        *left -= n;
        Poll::Ready((n > 0).then(|| (0..n).map(|_| self.command()).collect()))
    }
}

impl Guest {
    fn command(&self) -> Command {
        let (counts, ends, number) = (Arc::clone(&self.counts), self.ends.clone(), self.number);
        let begun = Arc::clone(&counts);
        Command::new(&self.url)
            .on_response(move |_| {
                let now = begun.now.fetch_add(1, Ordering::SeqCst) + 1;
                begun.most.fetch_max(now, Ordering::SeqCst);
            })
            .on_complete(move |result| {
                counts.now.fetch_sub(1, Ordering::SeqCst);
                // The receiver is gone only if this program is.
                ends.send((number, result.ok().map(|fetched| fetched.bytes)))
                    .ok();
            })
    }
}

/// What was seen.
pub(crate) struct Report {
    /// Ends that were told.
    pub(crate) ends: usize,
    /// Of them those that brought nothing.
    pub(crate) failed: usize,
    /// Fetches that received at the same time, at most.
    pub(crate) peak: usize,
    /// Connections that the origin saw; `None` for one that is not ours.
    pub(crate) connections: Option<u64>,
    elapsed: Duration,
    /// When each peer had its last fetch, in order.
    finished: Vec<Duration>,
    memory_kib: Option<u64>,
}

impl Report {
    /// When the last peer was done, as a multiple of when the middle one was.
    pub(crate) fn unfairness(&self) -> f64 {
        let middle = self.finished.get(self.finished.len() / 2);
        let last = self.finished.last();
        let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
        seconds(last) / seconds(middle).max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ends, {} failed, in {:.2} s; {} at once at most, {:?} connections; last peer done at {:.3} of the median; \
             anonymous memory {:?} KiB",
            self.ends,
            self.failed,
            self.elapsed.as_secs_f64(),
            self.peak,
            self.connections,
            self.unfairness(),
            self.memory_kib
        )
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), tur_engine::Error> {
    let mut args = std::env::args().skip(1);
    let mut number = |default| args.next().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (peers, fetches) = (number(1_000), number(100));
    let url = std::env::args().nth(3);
    println!("{}", gather(peers, fetches, url).await?);
    Ok(())
}

/// Lets so many peers fetch so many times.
pub(crate) async fn gather(
    peers: usize,
    fetches: usize,
    url: Option<String>,
) -> Result<Report, tur_engine::Error> {
    let origin = Loopback::start([("/small", Behaviour::new(SIZE))]);
    let own = url.is_none();
    let url = url.unwrap_or_else(|| origin.url("/small"));
    let downloader = Downloader::builder().build()?;
    let (ends, mut ended) = mpsc::unbounded_channel();
    let counts = Arc::new(Counts::default());
    let began = moment();
    let guests = (0..peers).map(|number| {
        downloader.register(Arc::new(Guest {
            url: url.clone(),
            number,
            left: Mutex::new(fetches),
            counts: Arc::clone(&counts),
            ends: ends.clone(),
        }))
    });
    let handles: Vec<_> = guests.collect();
    let mut report = Report {
        ends: 0,
        failed: 0,
        peak: 0,
        connections: None,
        elapsed: Duration::ZERO,
        finished: Vec::new(),
        memory_kib: None,
    };
    let mut had = vec![0usize; peers];
    while report.ends < peers * fetches {
        let Some((number, bytes)) = ended.recv().await else {
            break;
        };
        report.ends += 1;
        report.failed += usize::from(bytes.is_none_or(|bytes| bytes == 0));
        had[number] += 1;
        if had[number] == fetches {
            report.finished.push(began.elapsed());
        }
        if report.ends == peers * fetches / 2 {
            report.memory_kib = anonymous_kib();
        }
    }
    report.elapsed = began.elapsed();
    // One that came twice would have been counted for another that never came.
    drop(handles);
    drop(downloader);
    while ended.try_recv().is_ok() {
        report.ends += 1;
    }
    report.peak = counts.most.load(Ordering::SeqCst);
    report.connections = own.then(|| origin.connections());
    Ok(report)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program that measures itself looks at the clock"
)]
fn moment() -> Instant {
    Instant::now()
}

/// Anonymous resident memory of this process, where the system tells.
#[expect(
    clippy::disallowed_methods,
    reason = "what the kernel says of this process"
)]
fn anonymous_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse().ok()
}
