//! A world as data: link, origin, disk, and who downloads what when.
//!
//! Read [`Scenario`]. A scenario and a seed determine a run.

use core::time::Duration;

use tur_core::Rate;
use tur_sched::{OnChange, RetryPolicy, Schedule, SpeedFloor};

use crate::link::Link;
use crate::origin::{Deed, PAGE, PAGE_LEN, Server};

/// A world.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// The path.
    pub link: Link,
    /// The far end.
    pub server: Server,
    /// The near end.
    pub disk: Disk,
    /// How many sessions there may be.
    pub caps: Caps,
    /// What all downloads together may receive.
    pub limit: Option<Rate>,
    /// What they may receive from a time on.
    pub relimits: Vec<(Duration, Option<Rate>)>,
    /// Who downloads. All from the one server.
    pub jobs: Vec<Job>,
    /// When the process dies; it begins again a second later, with what was written.
    pub crash: Option<Duration>,
    /// True if nothing here is a reason to give up.
    pub gentle: bool,
    /// How far a run may go.
    pub bounds: Bounds,
}

impl Scenario {
    /// One download over a link from an origin, on a fast disk.
    #[must_use]
    pub fn new(name: &str, link: Link, server: Server) -> Self {
        Self {
            name: name.to_owned(),
            link,
            server,
            disk: Disk::default(),
            caps: Caps::default(),
            limit: None,
            relimits: Vec::new(),
            jobs: vec![Job::default()],
            crash: None,
            gentle: true,
            bounds: Bounds::default(),
        }
    }

    /// The length of every version that the origin serves. A page that comes first is a file like any other.
    pub(crate) fn sizes(&self) -> Vec<(u32, u64)> {
        let mut sizes = vec![(0, self.server.size)];
        for (_, deed) in &self.server.rules {
            match deed {
                Deed::Version(version, size) => sizes.push((*version, *size)),
                Deed::Page => sizes.push((PAGE, PAGE_LEN)),
                _ => {}
            }
        }
        sizes
    }
}

/// Where bytes are written. A lane that waits for it does not read, so its busy time grows.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// What it takes; unlimited without.
    pub rate: Option<Rate>,
    /// How long each write takes besides.
    pub latency: Duration,
    /// Bytes until it is full, for all files together.
    pub space: Option<u64>,
    /// When it loses some of what was written, and says so.
    pub losses: Vec<Duration>,
}

impl Disk {
    /// Bytes in one write.
    const WRITE: f64 = 256.0 * 1024.0;

    /// What all lanes together can write, in bytes per second: one thread does it, one write after another.
    pub(crate) fn bytes_per_second(&self) -> f64 {
        let latency = self.latency.as_secs_f64();
        let transfer = self.rate.map_or(0.0, |rate| {
            Self::WRITE / (rate.bytes_per_second() as f64).max(1.0)
        });
        if latency + transfer > 0.0 {
            Self::WRITE / (latency + transfer)
        } else {
            f64::INFINITY
        }
    }
}

/// How many sessions the process may have.
#[derive(Clone, Debug)]
pub struct Caps {
    /// Over all origins.
    pub process: usize,
    /// To each, if the caller says so.
    pub per_origin: Option<usize>,
    /// What is left of memory from a time on.
    pub memory: Vec<(Duration, u64)>,
    /// So many connections in a thousand cannot be made for want of descriptors.
    pub exhausted: u64,
}

impl Default for Caps {
    /// 128 sessions, and nothing is short.
    fn default() -> Self {
        Self {
            process: 128,
            per_origin: None,
            memory: Vec::new(),
            exhausted: 0,
        }
    }
}

/// A download.
#[derive(Clone, Debug)]
pub struct Job {
    /// When it is asked for.
    pub at: Duration,
    /// Ceiling of lanes.
    pub lanes_max: u16,
    /// Lanes to start with, whatever is measured.
    pub lanes_start: Option<u16>,
    /// Geometry of the first division.
    pub schedule: Schedule,
    /// The phi ratio of an adaptive plan, whatever is remembered of the origin.
    pub ratio: Option<f64>,
    /// Never split below.
    pub piece_min: Option<u64>,
    /// Retries.
    pub retry: RetryPolicy,
    /// First byte, and silence.
    pub read_wait: Duration,
    /// The whole.
    pub total_wait: Option<Duration>,
    /// Minimum speed.
    pub speed_floor: Option<SpeedFloor>,
    /// What it may receive.
    pub limit: Option<Rate>,
    /// What to do about a change.
    pub on_change: OnChange,
    /// What the user does, by time since the download began.
    pub wishes: Vec<(Duration, Wish)>,
    /// How often it is begun again where what landed was kept.
    pub again: u32,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            at: Duration::ZERO,
            lanes_max: 32,
            lanes_start: None,
            schedule: Schedule::default(),
            ratio: None,
            piece_min: None,
            retry: RetryPolicy::default(),
            read_wait: Duration::from_secs(30),
            total_wait: None,
            speed_floor: None,
            limit: None,
            on_change: OnChange::Restart,
            wishes: Vec::new(),
            again: 0,
        }
    }
}

/// What a user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Stop fetching.
    Pause,
    /// Go on.
    Unpause,
    /// At least and at most so many lanes from now on.
    Lanes(u16, u16),
    /// Receive no more than this from now on.
    Limit(Option<Rate>),
    /// Stop for good; what landed is kept.
    Cancel,
}

/// How far a run may go before it counts as endless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Virtual time.
    pub time: Duration,
    /// Turns of the world.
    pub steps: u64,
    /// Requests of one download.
    pub requests: u32,
}

impl Default for Bounds {
    /// A day, ten million turns, ten thousand requests.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(86_400),
            steps: 10_000_000,
            requests: 10_000,
        }
    }
}
