//! Many downloads through one downloader, in a process of their own: nothing grows, and few descriptors make it slower
//! and never wrong.
//!
//! `SOAK` says how many downloads; `cargo xtask soak` asks for a thousand. The origin is another process, so that its
//! descriptors, threads and memory count for nothing here.
#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files and at the process from outside, not through the engine's ports"
)]

mod faults;
mod figures;
mod source;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tur_core::ByteRange;
use tur_engine::{Completed, Downloader, Error};
use tur_testkit::content;

use self::faults::Trouble;
use self::figures::{Figures, Limit};
use self::source::Source;

/// A download that takes longer hangs: ten times what the slowest one should.
const HANG: Duration = Duration::from_secs(300);
/// Downloads at a time, where all of them at once is not the point.
const ABREAST: usize = 12;
/// Descriptors of a process that has few.
const DESCRIPTORS: u64 = 256;
/// Anonymous memory that may come and go between the middle and the end.
const SLACK: u64 = 16 << 20;

/// Threads that the pool for digests, which looks at memory too, may add to its first one.
const POOL: u64 = 3;

/// Both tests look at the whole process, so they take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many downloads: `usual`, unless somebody asks for more.
fn how_many(usual: u32) -> u32 {
    std::env::var("SOAK").map_or(usual, |n| n.parse().expect("SOAK is a number"))
}

/// The process that serves; a test in name only, so that this binary needs no other entry.
#[test]
fn source() {
    source::serve_if_asked();
}

#[test]
fn a_downloader_does_not_grow() {
    let _turn = turn();
    let n = how_many(200);
    let source = Source::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let downloader = Downloader::builder().build().expect("a downloader");
        let mut bench = Bench::new(downloader, source);
        // What is made once is made before anything is compared.
        bench.run(0..n / 20, ABREAST).await;
        let start = Figures::at_rest(None).await;
        bench.run(n / 20..n / 2, ABREAST).await;
        let middle = Figures::at_rest(Some(&start)).await;
        bench.run(n / 2..n, ABREAST).await;
        let end = Figures::at_rest(Some(&start)).await;
        println!("{n} downloads, one downloader: {}", bench.tally());
        for (when, figures) in [("start", &start), ("middle", &middle), ("end", &end)] {
            println!("  {when:6} {figures}");
        }
        for later in [&middle, &end] {
            assert!(later.descriptors <= start.descriptors, "descriptors grow");
            assert!(later.threads <= start.threads + POOL, "threads grow");
        }
        assert!(end.anonymous <= middle.anonymous + SLACK, "memory grows");
        let faulty = bench
            .outcomes
            .keys()
            .filter(|trouble| **trouble != Trouble::None);
        assert_eq!(
            faulty.count(),
            Trouble::ALL.len() - 1,
            "every trouble was met"
        );
    });
}

#[test]
fn few_descriptors_make_it_slower_and_never_wrong() {
    let _turn = turn();
    let n = how_many(300);
    let source = Source::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _limit = Limit::set(DESCRIPTORS);
    runtime.block_on(async {
        // More connections than there can be beside the files.
        let builder = Downloader::builder().connections(200);
        let builder = builder.connections_per_origin(200);
        let downloader = builder.build().expect("a downloader");
        let mut bench = Bench::new(downloader, source);
        bench.calm = true;
        let began = Instant::now();
        let peak = figures::watch_peak();
        bench.run(0..n, n as usize).await;
        let peak = peak.end();
        println!(
            "{n} downloads at once, {DESCRIPTORS} descriptors: {}; {:.1} s, peak {peak} descriptors",
            bench.tally(),
            began.elapsed().as_secs_f64()
        );
        assert!(peak <= DESCRIPTORS, "{peak} descriptors");
    });
}

/// Runs downloads and compares what they leave.
struct Bench {
    downloader: Downloader,
    source: Source,
    dir: TempDir,
    /// True if nothing goes wrong but what this process lacks.
    calm: bool,
    outcomes: BTreeMap<Trouble, u32>,
    bytes: u64,
}

impl Bench {
    fn new(downloader: Downloader, source: Source) -> Self {
        Self {
            downloader,
            source,
            dir: TempDir::new().expect("a directory"),
            calm: false,
            outcomes: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Runs these downloads, so many at a time; each one must end with the right file.
    async fn run(&mut self, numbers: std::ops::Range<u32>, abreast: usize) {
        let mut running = JoinSet::new();
        for number in numbers {
            if running.len() >= abreast {
                self.ended(
                    running
                        .join_next()
                        .await
                        .expect("some run")
                        .expect("no panic"),
                );
            }
            running.spawn(self.one(number));
        }
        while let Some(ended) = running.join_next().await {
            self.ended(ended.expect("no panic"));
        }
    }

    fn one(&self, number: u32) -> impl Future<Output = (u32, Result<Completed, Error>)> + use<> {
        let path = faults::path(number, self.calm);
        let mut handle = self
            .downloader
            .download(&self.source.url(&path))
            .dir(self.dir.path())
            .file(format!("{number}.bin"))
            .lanes(4)
            .read_timeout(Duration::from_secs(4))
            .start();
        async move {
            let done = timeout(HANG, handle.wait()).await;
            (number, done.expect("a download ends"))
        }
    }

    fn ended(&mut self, (number, result): (u32, Result<Completed, Error>)) {
        let trouble = faults::trouble(number, self.calm);
        let done = result.unwrap_or_else(|error| panic!("{number}, {trouble:?}: {error}"));
        let path = self.dir.path().join(format!("{number}.bin"));
        let have = std::fs::read(&path).expect("the file is there");
        let size = faults::size(number);
        assert_eq!((done.bytes, have.len() as u64), (size, size));
        let right = faults::versions(number, self.calm)
            .any(|version| have == content(version, ByteRange::new(0, size)));
        assert!(right, "{number}, {trouble:?}: wrong bytes");
        std::fs::remove_file(&path).expect("removed");
        for side in ["part", "tur"] {
            let side = path.with_extension(format!("bin.{side}"));
            assert!(!side.exists(), "{} was left", side.display());
        }
        *self.outcomes.entry(trouble).or_default() += 1;
        self.bytes += size;
    }

    fn tally(&self) -> String {
        let n: u32 = self.outcomes.values().sum();
        format!("{n} right, {} MiB, {:?}", self.bytes >> 20, self.outcomes)
    }
}
