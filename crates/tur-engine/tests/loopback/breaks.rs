//! Connections and streams that end at random points of downloads: the files are right, and nothing is lost but time.
//!
//! `BREAKS` has the number of seeds, the first of them, and the MiB of the large file; `cargo xtask breaks` sets it. Failures
//! name the seed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tempfile::TempDir;
use tur_core::Rate;
use tur_engine::{Downloader, Handle, Protocols};
use tur_sim::Dice;
use tur_testkit::{Behaviour, Deed, Gate, Link, Loopback, Setup, Speaks, Strike, Tls, When};

use crate::stand::{LIMIT, MIB, assert_content, outcome};

#[tokio::test]
async fn http1_connections_break_at_random_points() {
    Ordeal::from_environment(Protocol::H1).run().await;
}

#[tokio::test]
async fn http2_connections_and_streams_break_at_random_points() {
    Ordeal::from_environment(Protocol::H2).run().await;
}

/// HTTP/3 alone, so that no break makes TCP take over; one of them is that the server forgets every connection (X05).
#[cfg(feature = "http3")]
#[tokio::test]
async fn http3_connections_and_streams_break_at_random_points() {
    Ordeal::from_environment(Protocol::H3).run().await;
}

/// Who carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    H1,
    H2,
    #[cfg(feature = "http3")]
    H3,
}

/// How much is asked for.
struct Ordeal {
    protocol: Protocol,
    seeds: std::ops::Range<u64>,
    /// Bytes of the large file; each of the others has an eighth.
    size: u64,
}

/// What one seed came to.
struct Course {
    seed: u64,
    took: Duration,
    sent: u64,
    wanted: u64,
    connections: u64,
    requests: u64,
    strikes: BTreeMap<Strike, usize>,
    retries: Vec<(String, u64)>,
}

impl Ordeal {
    fn from_environment(protocol: Protocol) -> Self {
        let asked = std::env::var("BREAKS").unwrap_or_else(|_| "2 1 6".to_owned());
        let numbers: Vec<u64> = asked
            .split(' ')
            .map(|n| n.parse().expect("BREAKS has numbers"))
            .collect();
        let [count, first, mib] = numbers[..] else {
            panic!("BREAKS has three numbers: seeds, the first seed, MiB");
        };
        Self {
            protocol,
            seeds: first..first + count,
            size: mib * MIB + 4_321,
        }
    }

    async fn run(&self) {
        let mut twice = Vec::new();
        for seed in self.seeds.clone() {
            let course = self.course(seed).await;
            println!("{:?} {course}", self.protocol);
            twice.push(course.sent - course.wanted);
        }
        twice.sort_unstable();
        println!(
            "{:?}: {} seeds, sent twice of {} MiB: median {:.1} MiB, most {:.1} MiB",
            self.protocol,
            twice.len(),
            (self.size + 3 * (self.size / 8)) / MIB,
            twice[twice.len() / 2] as f64 / MIB as f64,
            twice[twice.len() - 1] as f64 / MIB as f64,
        );
    }

    /// Downloads one large file and three small ones at once, so that streams share connections, while these break.
    #[expect(
        clippy::disallowed_methods,
        reason = "how long it took is said, and decides nothing"
    )]
    async fn course(&self, seed: u64) -> Course {
        let began = Instant::now();
        let sizes = [self.size, self.size / 8, self.size / 8, self.size / 8];
        let origin = self.origin(&sizes);
        let downloader = downloader(&origin, self.protocol);
        let dir = TempDir::new().expect("a directory");
        let mut handles: Vec<Handle> = (0..sizes.len())
            .map(|n| start(&downloader, &origin, &dir, &name(n)))
            .collect();
        let wanted: u64 = sizes.iter().sum();
        let mut strikes = BTreeMap::new();
        let ended = {
            let all = join_all(handles.iter_mut().map(Handle::wait));
            let mut all = std::pin::pin!(tokio::time::timeout(self.limit(), all));
            tokio::select! {
                biased;
                ended = &mut all => ended,
                () = strike((&origin, self.protocol.strikes()), Dice::new(seed).fork(wanted), (wanted, &mut strikes)) => all.await,
            }
        };
        for done in ended.unwrap_or_else(|_| panic!("seed {seed} hangs")) {
            let done = done.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(done.protocol, self.protocol.name(), "seed {seed}");
        }
        let (sent, connections) = (origin.bytes_sent(), origin.connections());
        for (n, size) in sizes.iter().enumerate() {
            assert_content(&dir.path().join(name(n)), 0, *size);
        }
        let metrics = downloader.metrics();
        assert_eq!(metrics.running, 0, "seed {seed}: a download runs");
        let retries = metrics.all.retries.iter();
        let course = Course {
            seed,
            took: began.elapsed(),
            sent,
            wanted,
            connections,
            requests: metrics.all.requests(),
            strikes,
            retries: retries.map(|(name, n)| (name.to_string(), *n)).collect(),
        };
        self.every_permit_is_free((&downloader, &origin), &dir, seed)
            .await;
        course
    }

    fn origin(&self, sizes: &[u64]) -> Loopback {
        let setup = Setup {
            tls: Some(Tls::default()),
            speaks: match self.protocol {
                Protocol::H1 => Speaks::H1,
                Protocol::H2 => Speaks::H2,
                #[cfg(feature = "http3")]
                Protocol::H3 => Speaks::H3,
            },
            link: Link {
                bottleneck: Some(Rate::per_second(RATE)),
                // All connections together have room for what there are permits, so that one that is kept is missed.
                streams: Some(u32::try_from(LANES * DOWNLOADS / CONNECTIONS).expect("a few")),
                ..Link::default()
            },
            ..Setup::default()
        };
        let sizes = sizes.iter().enumerate();
        let files = sizes.map(|(n, size)| (format!("/{}", name(n)), Behaviour::new(*size)));
        Loopback::start_with(setup, files)
    }

    /// A download that takes longer hangs: many times what it needs, with some time for each wait after a strike.
    fn limit(&self) -> Duration {
        Duration::from_secs(120 + 20 * self.size / RATE)
    }

    /// As many requests as there are permits run at once: none is kept by what broke.
    async fn every_permit_is_free(
        &self,
        (downloader, origin): (&Downloader, &Loopback),
        dir: &TempDir,
        seed: u64,
    ) {
        let gate = Gate::at(0);
        let held = Behaviour::new(100).rule(When::Always, Deed::HoldHead(gate.clone()));
        origin.swap("/held", held);
        let before = origin.requests();
        let permits = match self.protocol {
            Protocol::H1 => CONNECTIONS,
            _ => LANES * DOWNLOADS,
        };
        let mut handles: Vec<Handle> = (0..permits)
            .map(|n| {
                let download = downloader.download(&origin.url("/held"));
                let file = format!("held{n}");
                download.dir(dir.path()).file(file).lanes(1).start()
            })
            .collect();
        // It holds this thread; the downloader has its own.
        let all_ask = origin.wait_for_requests(before + permits as u64, LIMIT);
        assert!(all_ask, "seed {seed}: a permit or a session is lost");
        gate.open();
        for handle in &mut handles {
            outcome(handle).await.expect("it succeeds");
        }
        let metrics = downloader.metrics();
        assert_eq!(metrics.running, 0, "seed {seed}");
        assert!(metrics.connections_held <= CONNECTIONS, "seed {seed}");
    }
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Protocol::H1 => "h1",
            Protocol::H2 => "h2",
            #[cfg(feature = "http3")]
            Protocol::H3 => "h3",
        }
    }

    /// What is done to connections, each as often as it stands here.
    fn strikes(self) -> &'static [Strike] {
        match self {
            #[cfg(feature = "http3")]
            Protocol::H3 => &[
                Strike::Forget,
                Strike::Forget,
                Strike::Cut,
                Strike::GoAway,
                Strike::ResetHalf,
                Strike::Calm,
            ],
            _ => &[
                Strike::Cut,
                Strike::GoAway,
                Strike::ResetHalf,
                Strike::ResetHalf,
                Strike::Calm,
            ],
        }
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let twice = (self.sent - self.wanted) as f64 / MIB as f64;
        write!(
            f,
            "seed {}: {:.2} s, {} connections, {} requests, {twice:.2} MiB twice, {:?}, retried {:?}",
            self.seed,
            self.took.as_secs_f64(),
            self.connections,
            self.requests,
            self.strikes,
            self.retries
        )
    }
}

/// Strikes at random points of what is sent.
async fn strike(
    (origin, strikes): (&Loopback, &[Strike]),
    mut dice: Dice,
    (wanted, met): (u64, &mut BTreeMap<Strike, usize>),
) {
    let count = dice.between(STRIKES.0, STRIKES.1);
    let mut points: Vec<u64> = (0..count).map(|_| dice.below(wanted)).collect();
    points.sort_unstable();
    for point in points {
        origin.bytes_reach(point).await;
        let strike = dice.pick(strikes);
        // All connections, or every second one.
        if origin.strike(strike, dice.between(1, 2)) > 0 {
            *met.entry(strike).or_default() += 1;
        }
    }
}

fn downloader(origin: &Loopback, protocol: Protocol) -> Downloader {
    let pem = origin.ca_pem().expect("a TLS origin").as_bytes().to_vec();
    Downloader::builder()
        .roots_pem(pem)
        .protocols(match protocol {
            #[cfg(feature = "http3")]
            Protocol::H3 => Protocols::Http3,
            _ => Protocols::Auto,
        })
        .connections(LANES * DOWNLOADS)
        .connections_per_origin(CONNECTIONS)
        .build()
        .expect("a downloader")
}

fn start(downloader: &Downloader, origin: &Loopback, dir: &TempDir, name: &str) -> Handle {
    let lanes = u16::try_from(LANES).expect("a few");
    let download = downloader.download(&origin.url(&format!("/{name}")));
    let download = download.dir(dir.path()).file(name);
    download.lanes(lanes).start_lanes(lanes).start()
}

fn name(n: usize) -> String {
    format!("file{n}.bin")
}

/// Bytes per second of the origin, over all connections.
const RATE: u64 = 96 * MIB;
/// Downloads at once, and lanes of each.
const DOWNLOADS: usize = 4;
const LANES: usize = 4;
/// Connections that all of them share.
const CONNECTIONS: usize = 4;
/// Fewest and most strikes on a course.
const STRIKES: (u64, u64) = (6, 12);
