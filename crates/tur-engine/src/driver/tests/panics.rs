//! A driver that panics, as no driver should: what it had comes back all the same, and others go on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;
use tur_core::port::{Body, Fill, Reply, Request, Session, SessionFacts, Transport};
use tur_core::{ByteRange, Chunks, Fault, Kind, Origin};
use tur_storage::{Disk as _, MemDisk, Open};
use tur_testkit::sim::{SimBody, SimSession, SimTransport};
use tur_testkit::{Behaviour, Link, content};

use super::fetches::{Cup, Mouth, fetch_job};
use super::stand::{DIR, MIB, NAME, PATH, RTT, job};
use crate::board::Board;
use crate::bus::{Bus, Listener, ROOM};
use crate::clock::Clock;
use crate::compute::Compute;
use crate::desk::Desk;
use crate::driver::{self, Outside, World};
use crate::handle::Wish;
use crate::limits::{Limit, Limits};
use crate::lookout::Lookout;
use crate::origins::Origins;
use crate::sampler::Sampler;
use crate::scaling::Scaling;
use crate::sessions::{Caps, Sessions};
use crate::{PhaseWord, What};

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
    disk: MemDisk,
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
            disk: MemDisk::new(),
        }
    }

    fn world(&self) -> World<Buggy, MemDisk> {
        World {
            transport: Arc::new(self.transport.clone()),
            sessions: self.sessions.clone(),
            origins: Origins::in_memory(),
            disk: self.disk.clone(),
            filed: crate::filed::Filed::default(),
            compute: Compute::new(),
            desk: Desk::default(),
            lookout: Lookout::new(tur_sched::HANG),
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
        let listener = board.subscribe(ROOM);
        let (looked, transport) = (board.clone(), self.transport.clone());
        let (_commands, heard) = watch::channel(Wish::default());
        let (_life, life) = watch::channel(());
        let outside = Outside {
            board,
            commands: heard,
            life,
        };
        let world = self.world();
        let result = if is_fetch {
            let mouth = Box::new(Mouth(Cup::new()));
            let job = fetch_job(Some(ByteRange::new(MIB, SIZE)));
            driver::fetch(world, job, mouth, outside).await.map(drop)
        } else {
            let job = crate::job::Job {
                lanes_start: Some(4),
                ..job()
            };
            driver::run(world, job, outside).await.map(drop)
        };
        let left = transport.steps.load(Ordering::SeqCst);
        let panicked = left == 0 || left > nth;
        let ends = ends(&listener);
        assert_eq!(ends.len(), 1, "one end is told, and it is the last event");
        assert_eq!(looked.progress().phase, PhaseWord::Done);
        assert!(looked.progress().lane_map.is_empty());
        if !panicked {
            result.expect("without a bug it succeeds");
            return false;
        }
        assert_eq!(result.expect_err("it panicked").kind(), Kind::Other);
        assert!(
            matches!(&ends[0], What::Failed(error) if error.kind() == Kind::Other),
            "{:?}",
            ends[0]
        );
        self.assert_part_is_free();
        true
    }

    /// Nobody holds the lock of the part, and the same download may begin again at once.
    fn assert_part_is_free(&self) {
        let Ok(dir) = self.disk.open_dir(Path::new(DIR), false) else {
            return;
        };
        for name in [format!("{NAME}.part"), format!("{NAME}.tur")] {
            if let Ok(file) = self.disk.open(&dir, &name, Open::Existing) {
                assert!(
                    self.disk.try_lock(&file).expect("it can be asked"),
                    "{name}"
                );
            }
        }
    }
}

impl Shared {
    /// Each byte of the file is right.
    fn assert_file(&self) {
        let dir = self.disk.open_dir(Path::new(DIR), false).expect("made");
        let file = self.disk.open(&dir, NAME, Open::Existing).expect("there");
        let len = usize::try_from(SIZE).expect("a small file");
        let mut bytes = vec![0; len + 1];
        assert_eq!(self.disk.read_at(&file, 0, &mut bytes).expect("read"), len);
        assert!(bytes[..len] == content(0, ByteRange::new(0, SIZE)));
    }
}

/// The terminal events that were told. Nothing comes after one.
fn ends(listener: &Listener) -> Vec<What> {
    let cx = Context::from_waker(Waker::noop());
    let mut ends = Vec::new();
    while let Poll::Ready(Some(event)) = listener.poll_take(&cx) {
        assert!(ends.is_empty(), "{event:?} comes after the end");
        if let What::Completed(_) | What::Failed(_) | What::Cancelled(_) = event.what {
            ends.push(event.what);
        }
    }
    ends
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
        // Whoever comes next has all of it, and goes on with what was left.
        assert!(!shared.run(100, u64::MAX, is_fetch).await);
        if !is_fetch {
            shared.assert_file();
        }
        let later = shared.clock.now() + Duration::from_secs(60 * 60);
        shared.sessions.expire(later);
        assert_eq!(shared.sessions.held().0, 0);
        assert_eq!(shared.transport.inner.sockets(), 0);
    }
}
