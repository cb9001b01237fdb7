//! What this process holds: anonymous memory, descriptors, threads.

use std::fmt;
use std::future::pending;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Unused connections are kept for 15 s, threads of the runtime that have nothing to do for 10 s.
const REST_MAX: u32 = 240;
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the process holds at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Bytes.
    pub(crate) anonymous: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

impl Figures {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").expect("readable");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            let number = number.and_then(|number| number.parse::<u64>().ok());
            number.expect("a number in /proc/self/status")
        };
        Self {
            anonymous: field("RssAnon:") * 1024,
            descriptors: descriptors(),
            threads: field("Threads:"),
        }
    }

    /// Once what nobody uses is closed: as few descriptors and threads as at `start`, or as there will be.
    pub(crate) async fn at_rest(start: Option<&Self>) -> Self {
        let mut least = Self::now();
        let mut steady = 0;
        for _ in 0..REST_MAX {
            pause(LOOK_EVERY).await;
            let now = Self::now();
            let fewer = now.descriptors < least.descriptors || now.threads < least.threads;
            steady = if fewer { 0 } else { steady + 1 };
            least = now;
            let as_few = start.is_some_and(|start| {
                least.descriptors <= start.descriptors && least.threads <= start.threads
            });
            // Longer than anything unused is kept.
            if as_few || steady > 72 {
                break;
            }
        }
        least
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.anonymous / 1024;
        let (descriptors, threads) = (self.descriptors, self.threads);
        write!(
            f,
            "{kib} KiB anonymous, {descriptors} descriptors, {threads} threads"
        )
    }
}

fn descriptors() -> u64 {
    match std::fs::read_dir("/proc/self/fd") {
        // One of them is the directory itself.
        Ok(entries) => entries.count().saturating_sub(1) as u64,
        // None is left to look with.
        Err(_) => getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
    }
}

async fn pause(time: Duration) {
    let waited = timeout(time, pending::<()>()).await;
    assert!(waited.is_err(), "nothing comes of it");
}

/// Looks at the descriptors until it is ended.
pub(crate) struct Peak {
    stop: oneshot::Sender<()>,
    looking: JoinHandle<u64>,
    runtime: tokio::runtime::Handle,
}

pub(crate) fn watch_peak() -> Peak {
    let runtime = tokio::runtime::Handle::current();
    let (stop, mut stopped) = oneshot::channel();
    let looking = runtime.spawn(async move {
        let mut peak = descriptors();
        while timeout(Duration::from_millis(5), &mut stopped)
            .await
            .is_err()
        {
            peak = peak.max(descriptors());
        }
        peak
    });
    Peak {
        stop,
        looking,
        runtime,
    }
}

impl Peak {
    pub(crate) fn end(self) -> u64 {
        drop(self.stop);
        tokio::task::block_in_place(|| self.runtime.block_on(self.looking)).expect("it looked")
    }
}

/// A limit of descriptors; what was before it comes back when it is dropped.
pub(crate) struct Limit(Rlimit);

impl Limit {
    pub(crate) fn set(descriptors: u64) -> Self {
        let before = getrlimit(Resource::Nofile);
        let now = Rlimit {
            current: Some(descriptors),
            ..before
        };
        setrlimit(Resource::Nofile, now).expect("a lower limit can be set");
        Self(before)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).expect("the limit was possible before");
    }
}
