//! A driver that panics, as no driver should: what it had comes back all the same, and others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tur_core::port::{Body, Fill, Reply, Request, Session, SessionFacts, Transport};
use tur_core::{ByteRange, Chunks, Fault, Origin};
use tur_storage::MemDisk;
use tur_testkit::sim::{SimBody, SimSession, SimTransport};
use tur_testkit::{Behaviour, Link};

use super::fetches::{Cup, Mouth, fetch_job};
use super::stand::{MIB, PATH, RTT, job};
use crate::board::Board;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::compute::Compute;
use crate::driver::{self, Outside, World};
use crate::handle::Wish;
use crate::limits::{Limit, Limits};
use crate::origins::Origins;
use crate::sampler::Sampler;
use crate::scaling::Scaling;
use crate::sessions::{Caps, Sessions};

const SIZE: u64 = 8 * MIB;

/// A transport with a bug: it panics at its nth step of any kind.
#[derive(Clone)]
struct Buggy {
    inner: SimTransport,
    steps: Arc<AtomicU64>,
}

struct BuggySession(SimSession, Arc<AtomicU64>);

struct BuggyBody(SimBody, Arc<AtomicU64>);

/// Counts down to the panic.
fn step(left: &AtomicU64) {
    assert_ne!(left.fetch_sub(1, Ordering::SeqCst), 1, "a bug");
}

impl Transport for Buggy {
    type Session = BuggySession;

    async fn open(&self, origin: &Origin) -> Result<BuggySession, Fault> {
        let session = self.inner.open(origin).await?;
        step(&self.steps);
        Ok(BuggySession(session, Arc::clone(&self.steps)))
    }
}

impl Session for BuggySession {
    type Body = BuggyBody;

    async fn fetch(&self, request: Request) -> Result<Reply<BuggyBody>, Fault> {
        let Reply { answer, body } = self.0.fetch(request).await?;
        step(&self.1);
        let body = BuggyBody(body, Arc::clone(&self.1));
        Ok(Reply { answer, body })
    }

    fn facts(&self) -> SessionFacts {
        self.0.facts()
    }

    fn is_open(&self) -> bool {
        self.0.is_open()
    }
}

impl Body for BuggyBody {
    async fn fill(&mut self, chunks: &mut Chunks, budget: usize) -> Result<Fill, Fault> {
        step(&self.1);
        self.0.fill(chunks, budget).await
    }
}

/// What drivers share.
#[derive(Clone)]
struct Shared {
    transport: Buggy,
    sessions: Sessions<BuggySession>,
    scaling: Scaling,
    clock: Clock,
}

impl Shared {
    fn new() -> Self {
        let link = Link {
            rtt: RTT,
            ..Link::default()
        };
        let behaviour = Behaviour::new(SIZE).pace(tur_core::Rate::per_second(4 * MIB));
        let transport = Buggy {
            inner: SimTransport::with_link(link, [(PATH, behaviour)]),
            steps: Arc::default(),
        };
        Self {
            transport,
            sessions: Sessions::new(Caps::default()),
            scaling: Scaling::new(),
            clock: Clock::start(),
        }
    }

    fn world(&self) -> World<Buggy, MemDisk> {
        World {
            transport: Arc::new(self.transport.clone()),
            sessions: self.sessions.clone(),
            origins: Origins::in_memory(),
            disk: MemDisk::new(),
            compute: Compute::new(),
            limits: Limits {
                process: Limit::new(self.clock, None),
                transfer: Limit::new(self.clock, None),
            },
            scaling: self.scaling.clone(),
            sampler: Sampler::new(self.clock),
            clock: self.clock,
            pin: crate::driver::Pin::none(),
            hang: tur_sched::HANG,
        }
    }

    /// Runs a driver that panics at its nth step. True if it came to that.
    async fn run(&self, id: u64, nth: u64, is_fetch: bool) -> bool {
        self.transport.steps.store(nth, Ordering::SeqCst);
        let bus = Bus::new(self.clock);
        let board = Board::new(id, bus.scope().clone());
        let (_commands, heard) = watch::channel(Wish::default());
        let (_life, life) = watch::channel(());
        let outside = Outside {
            board,
            commands: heard,
            life,
        };
        let world = self.world();
        let mut drivers = JoinSet::new();
        drivers.spawn(async move {
            if is_fetch {
                let mouth = Box::new(Mouth(Cup::new()));
                let job = fetch_job(Some(ByteRange::new(MIB, SIZE)));
                driver::fetch(world, job, mouth, outside).await.map(drop)
            } else {
                let job = crate::job::Job {
                    lanes_start: Some(4),
                    ..job()
                };
                driver::run(world, job, outside).await.map(drop)
            }
        });
        let ended = drivers.join_next().await.expect("one runs");
        match ended {
            Ok(result) => {
                result.expect("without a bug it succeeds");
                false
            }
            Err(error) => {
                assert!(error.is_panic());
                true
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_panics_gives_back_what_it_had() {
    for is_fetch in [true, false] {
        let shared = Shared::new();
        // The first steps are connections and heads, later ones bodies, on one lane and on four.
        let steps = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 50];
        for (nth, id) in steps.into_iter().zip(1..) {
            assert!(shared.run(id, nth, is_fetch).await, "step {nth}");
            let (held, _) = shared.sessions.held();
            assert_eq!(held, shared.transport.inner.sockets(), "no slot leaks");
            assert!(shared.scaling.is_empty());
            assert_eq!(shared.sessions.members(), 0);
        }
        // Whoever comes next has all of it.
        assert!(!shared.run(100, u64::MAX, is_fetch).await);
        let later = shared.clock.now() + Duration::from_secs(60 * 60);
        shared.sessions.expire(later);
        assert_eq!(shared.sessions.held().0, 0);
        assert_eq!(shared.transport.inner.sockets(), 0);
    }
}
