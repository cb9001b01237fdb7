//! The stand that downloads are run on: simulated origins, a disk in memory, a paused clock.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tur_core::{ByteRange, Kind, Rate};
use tur_http::RedirectPolicy;
use tur_sched::{OnChange, Priority, RetryPolicy};
use tur_storage::{Disk as _, FileName, MemDisk, Open};
use tur_testkit::sim::{SimSession, SimTransport};
use tur_testkit::{Behaviour, Link, content};

use crate::board::Board;
use crate::bus::{Bus, Listener, ROOM};
use crate::clock::Clock;
use crate::compute::Compute;
use crate::desk::Desk;
use crate::driver::{self, Outside, World};
use crate::handle::Wish;
use crate::job::{Destination, Job};
use crate::limits::{Limit, Limits};
use crate::origins::Origins;
use crate::sampler::Sampler;
use crate::scaling::Scaling;
use crate::sessions::{Caps, Sessions};
use crate::{Completed, Error, Event, Handle, OnExists, PhaseWord, What};

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const PATH: &str = "/file.bin";
pub(super) const NAME: &str = "file.bin";
pub(super) const DIR: &str = "/downloads";
pub(super) const RTT: Duration = Duration::from_millis(10);

/// Virtual time after which a download hangs: far more than any deadline of a test adds up to.
const HANG: Duration = Duration::from_secs(24 * 60 * 60);

/// A world, and what was found in it at the end.
pub(super) struct Stand {
    pub(super) transport: SimTransport,
    pub(super) disk: MemDisk,
    pub(super) clock: Clock,
    /// That of the downloader.
    pub(super) limit: Arc<Limit>,
    sessions: Sessions<SimSession>,
    scaling: Scaling,
    pub(super) origins: Origins,
    compute: Compute,
    filed: crate::filed::Filed,
    /// Events that are kept until they are taken.
    pub(super) room: usize,
    /// How long nothing may move.
    pub(super) hang: Duration,
    life: Option<watch::Sender<()>>,
    drivers: JoinSet<()>,
    next: u64,
}

/// The caller's side of a driver.
pub(super) struct Caller {
    pub(super) commands: watch::Sender<Wish>,
    /// Keeps the events open.
    pub(super) bus: Bus,
    /// Has seen none of them.
    pub(super) first: Listener,
}

/// A download that is over.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) result: Result<Completed, Error>,
    pub(super) events: Vec<Event>,
}

/// What must come of a download.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want {
    /// The whole file, of this version and size, and nothing beside it.
    File(u8, u64),
    /// This kind of failure, no file, no part and no journal.
    Nothing(Kind),
    /// This kind of failure, no file, part and journal kept.
    Part(Kind),
}

/// An honest origin whose connections bring 4 MiB/s each, so that more of them help.
pub(super) fn origin(size: u64) -> Behaviour {
    Behaviour::new(size).pace(Rate::per_second(4 * MIB))
}

/// A download of `http://origin.test/file.bin` to `/downloads/file.bin`, with the defaults and up to four lanes.
pub(super) fn job() -> Job {
    job_of("http://origin.test/file.bin")
}

pub(super) fn job_of(url: &str) -> Job {
    let (target, _) = tur_http::target(url).expect("a URL");
    Job {
        target,
        destination: Destination::File {
            dir: DIR.into(),
            name: FileName::new(NAME).expect("a name"),
            create: true,
        },
        lanes_max: 4,
        lanes_start: None,
        priority: Priority::Low,
        schedule: tur_sched::Schedule::Equal,
        piece_min: None,
        retry: RetryPolicy::default(),
        limit: None,
        read_timeout: Duration::from_secs(30),
        max_time: None,
        speed_floor: None,
        on_exists: OnExists::ByName,
        on_change: OnChange::Restart,
        checksum: None,
        keep_remote_time: true,
        terms: tur_http::Terms::default(),
        keep_bad: false,
        fields: Vec::new(),
        sign_in: crate::passport::SignIn::default(),
        redirects: RedirectPolicy {
            allow_downgrade: false,
        },
        seed: 1,
        stay: tur_storage::Stay::Kept,
        reading: None,
    }
}

/// Runs the job against one behaviour and compares what is left with what must be.
pub(super) async fn check(behaviour: Behaviour, job: Job, want: Want) -> (Stand, Ran) {
    let mut stand = Stand::new(behaviour);
    let ran = stand.check(job, want).await;
    (stand, ran)
}

impl Stand {
    /// One origin with one file, 10 ms away.
    pub(super) fn new(behaviour: Behaviour) -> Self {
        Self::with([(PATH, behaviour)])
    }

    /// Several paths or origins, 10 ms away.
    pub(super) fn with<P: Into<String>>(paths: impl IntoIterator<Item = (P, Behaviour)>) -> Self {
        let link = Link {
            rtt: RTT,
            ..Link::default()
        };
        Self::over(link, paths)
    }

    pub(super) fn over<P: Into<String>>(
        link: Link,
        paths: impl IntoIterator<Item = (P, Behaviour)>,
    ) -> Self {
        let clock = Clock::start();
        Self {
            transport: SimTransport::with_link(link, paths),
            disk: MemDisk::new(),
            clock,
            limit: Limit::new(clock, None),
            scaling: Scaling::new(),
            sessions: Sessions::new(Caps::default()),
            origins: Origins::in_memory(),
            compute: Compute::new(),
            filed: crate::filed::Filed::default(),
            room: ROOM,
            hang: tur_sched::HANG,
            life: Some(watch::channel(()).0),
            drivers: JoinSet::new(),
            next: 1,
        }
    }

    /// With other limits of connections.
    pub(super) fn caps(mut self, caps: Caps) -> Self {
        self.sessions = Sessions::new(caps);
        self
    }

    /// What follows is done by another process, as far as files go.
    pub(super) fn forget(&mut self) {
        self.filed = crate::filed::Filed::default();
    }

    /// Sessions that count, and how many may.
    pub(super) fn held(&self) -> (usize, usize) {
        self.sessions.held()
    }

    /// Nothing is lent, wanted or counted on any more. Closes what is idle.
    pub(super) fn assert_idle(&self) {
        assert_eq!(self.held().0, self.transport.sockets(), "no slot leaks");
        let later = self.clock.now() + Duration::from_secs(60 * 60);
        assert_eq!(self.sessions.expire(later), None);
        assert_eq!(self.held().0, 0, "all sessions came back");
        assert_eq!(self.transport.sockets(), 0, "and are closed");
        assert!(self.scaling.is_empty(), "no scaler counts on anybody");
        assert_eq!(self.sessions.members(), 0, "everybody has left");
    }

    /// Begins a download as a downloader does.
    pub(super) fn start(&mut self, job: Job) -> Handle {
        let (outside, caller) = self.outside();
        let (told, outcome) = oneshot::channel();
        let world = self.world(job.limit);
        let own_limit = Arc::clone(&world.limits.transfer);
        let bus = caller.bus;
        let board = outside.board.clone();
        self.drivers.spawn(async move {
            let result = driver::run(world, job, outside).await;
            drop(bus);
            drop(told.send(result));
        });
        Handle::new(board, caller.commands, own_limit, outcome, caller.first)
    }

    /// What the next driver hears, and what it is told by.
    pub(super) fn outside(&mut self) -> (Outside, Caller) {
        let id = self.next;
        self.next += 1;
        let bus = Bus::new(self.clock);
        let board = Board::new(id, bus.scope().clone());
        let first = board.subscribe(self.room);
        let (commands, heard) = watch::channel(Wish::default());
        let life = self
            .life
            .as_ref()
            .expect("the downloader lives")
            .subscribe();
        let outside = Outside {
            board,
            commands: heard,
            life,
        };
        let caller = Caller {
            commands,
            bus,
            first,
        };
        (outside, caller)
    }

    /// What drivers share, and a limit of their own.
    pub(super) fn world(&self, limit: Option<Rate>) -> World<SimTransport, MemDisk> {
        let limits = Limits {
            process: Arc::clone(&self.limit),
            transfer: Limit::new(self.clock, limit),
        };
        World {
            transport: Arc::new(self.transport.clone()),
            sessions: self.sessions.clone(),
            origins: self.origins.clone(),
            disk: self.disk.clone(),
            filed: self.filed.clone(),
            compute: self.compute.clone(),
            desk: Desk::default(),
            lookout: crate::lookout::Lookout::new(self.hang),
            limits,
            scaling: self.scaling.clone(),
            sampler: Sampler::new(self.clock),
            clock: self.clock,
            pin: crate::driver::Pin::none(),
            hang: self.hang,
        }
    }

    /// Runs a driver beside the others.
    pub(super) fn spawn(&mut self, driver: impl Future<Output = ()> + Send + 'static) {
        self.drivers.spawn(driver);
    }

    /// The downloader and all its clones are gone.
    pub(super) fn end_life(&mut self) {
        self.life = None;
    }

    /// Starts a job and waits for its end.
    pub(super) async fn run(&mut self, job: Job) -> Ran {
        // Digests are computed on threads that the paused clock does not wait for: it would jump to any time-out.
        let hang = job.checksum.is_none().then_some(HANG);
        let handle = self.start(job);
        self.finish(handle, hang).await
    }

    /// Waits for the end of a download that was started.
    pub(super) async fn end(&mut self, handle: Handle) -> Ran {
        self.finish(handle, Some(HANG)).await
    }

    async fn finish(&mut self, mut handle: Handle, hang: Option<Duration>) -> Ran {
        let mut stream = handle.events_with_room(self.room);
        let result = match hang {
            Some(hang) => timeout(hang, handle.wait()).await.expect("it hangs"),
            None => handle.wait().await,
        };
        let mut events = Vec::new();
        while let Some(event) = stream.next().await {
            events.push(event);
        }
        self.settle().await;
        assert_eq!(handle.progress().phase, PhaseWord::Done);
        assert!(handle.wait().await.is_err(), "an outcome is told once");
        let ran = Ran { result, events };
        ran.check_order();
        ran
    }

    /// Waits until every driver has left the stand; one that panicked fails the test.
    pub(super) async fn settle(&mut self) {
        while let Some(ended) = self.drivers.join_next().await {
            ended.expect("no driver panics");
        }
    }

    /// Runs the job and compares what is left with what must be.
    pub(super) async fn check(&mut self, job: Job, want: Want) -> Ran {
        let ran = self.run(job).await;
        self.assert_left(&ran, want);
        ran
    }

    pub(super) fn assert_left(&self, ran: &Ran, want: Want) {
        match want {
            Want::File(version, size) => {
                let done = ran.result.as_ref().expect("the download succeeds");
                assert_eq!(done.bytes, size);
                assert_eq!(done.path, Path::new(DIR).join(NAME));
                self.assert_file(NAME, version, size);
                self.assert_sides(NAME, false);
            }
            Want::Nothing(kind) | Want::Part(kind) => {
                let error = ran.result.as_ref().expect_err("the download fails");
                assert_eq!(error.kind(), kind, "{error}");
                assert!(!self.exists(NAME), "no file after a failure");
                self.assert_sides(NAME, matches!(want, Want::Part(_)));
            }
        }
    }

    /// Each byte of the file is the one that the origin means by its version.
    pub(super) fn assert_file(&self, name: &str, version: u8, size: u64) {
        let have = self.read(name).expect("the file is there");
        let meant = content(version, ByteRange::new(0, size));
        assert_eq!(have.len(), meant.len(), "length of {name}");
        let wrong = (0..have.len()).find(|at| have[*at] != meant[*at]);
        assert_eq!(wrong, None, "first wrong byte of {name}");
    }

    /// Part and journal are both there, or neither is.
    pub(super) fn assert_sides(&self, name: &str, kept: bool) {
        for side in ["part", "tur"] {
            let side = format!("{name}.{side}");
            assert_eq!(self.exists(&side), kept, "{side}");
        }
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        let Ok(dir) = self.disk.open_dir(Path::new(DIR), false) else {
            return false;
        };
        self.disk.stat_at(&dir, name).is_ok()
    }

    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let dir = self.disk.open_dir(Path::new(DIR), false).ok()?;
        let file = self.disk.open(&dir, name, Open::Existing).ok()?;
        let len = self.disk.stat(&file).expect("an open file").len;
        let mut bytes = vec![0; usize::try_from(len).expect("a small file")];
        let came = self.disk.read_at(&file, 0, &mut bytes).expect("it reads");
        assert_eq!(came, bytes.len());
        Some(bytes)
    }

    /// Puts a file there that tur did not make.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        let dir = self.disk.open_dir(Path::new(DIR), true).expect("made");
        let file = self.disk.open(&dir, name, Open::New(0o644)).expect("made");
        let slices = [std::io::IoSlice::new(bytes)];
        let len = self.disk.write_at(&file, 0, &slices).expect("written");
        assert_eq!(len, bytes.len());
    }

    /// Lets virtual time pass.
    pub(super) async fn pass(&self, time: Duration) {
        driver::until(Some(self.clock.instant(self.clock.now() + time))).await;
    }

    /// Lets virtual time pass as it does for a downloader: connections that nobody uses are closed when they are due,
    /// to the second.
    pub(super) async fn pass_and_expire(&self, secs: u32) {
        for _ in 0..secs {
            self.pass(Duration::from_secs(1)).await;
            self.sessions.expire(self.clock.now());
        }
    }
}

impl Ran {
    pub(super) fn done(&self) -> &Completed {
        self.result.as_ref().expect("the download succeeds")
    }

    /// The events of one kind.
    pub(super) fn count(&self, is: impl Fn(&What) -> bool) -> usize {
        self.events.iter().filter(|event| is(&event.what)).count()
    }

    /// Where the first event of a kind stands.
    fn place(&self, is: impl Fn(&What) -> bool) -> Option<usize> {
        self.events.iter().position(|event| is(&event.what))
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.events.last().expect("a last event").t
    }

    /// Started, Opened before any progress, one outcome at the end, all of one download and in time.
    fn check_order(&self) {
        if self.count(|what| matches!(what, What::Lagged(_))) > 0 {
            return;
        }
        let failed = |what: &What| matches!(what, What::Failed(_) | What::Cancelled(_));
        let over = |what: &What| failed(what) || matches!(what, What::Completed(_));
        assert_eq!(
            self.place(|what| matches!(what, What::Started { .. })),
            Some(0)
        );
        assert_eq!(self.count(over), 1, "one outcome");
        assert_eq!(
            self.place(over),
            Some(self.events.len() - 1),
            "and it is last"
        );
        let last = &self.events[self.events.len() - 1];
        let failed = failed(&last.what);
        assert_eq!(
            failed,
            self.result.is_err(),
            "the outcome is the one returned"
        );
        let opened = self.place(|what| matches!(what, What::Opened { .. }));
        let moving = self.place(|what| matches!(what, What::Progress(_) | What::Lanes(_)));
        if let Some(moving) = moving {
            assert!(opened.is_some_and(|opened| opened < moving));
        }
        assert!(
            self.events
                .iter()
                .all(|event| event.id == self.events[0].id)
        );
        assert!(self.events.windows(2).all(|pair| pair[0].t <= pair[1].t));
    }
}
