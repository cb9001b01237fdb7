//! A world whose every port may be struck: runs the driver in it, and sees what it leaves behind.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tur_core::ByteRange;
use tur_storage::{Disk as _, MemDisk, Open};
use tur_testkit::content;
use tur_testkit::sim::SimTransport;

use super::disk::Struck;
use super::fates::{Fates, Way};
use super::network::{Shaken, ShakenSession};
use super::scenes::Scene;
use super::wakes::Woken;
use crate::board::Board;
use crate::bus::{Bus, ROOM};
use crate::clock::Clock;
use crate::compute::Compute;
use crate::desk::Desk;
use crate::driver::tests::stand::{DIR, NAME};
use crate::driver::{self, Outside, World, until};
use crate::handle::Wish;
use crate::job::Job;
use crate::limits::{Limit, Limits};
use crate::lookout::Lookout;
use crate::origins::Origins;
use crate::sampler::Sampler;
use crate::scaling::Scaling;
use crate::sessions::{Caps, Sessions};
use crate::{Completed, Error};

/// Virtual time after which a download hangs: more than all retries and time-outs of one strike or two add up to.
const HANG: Duration = Duration::from_secs(60 * 60);
/// How often the clock may jump that far while threads compute, for which it does not wait.
const JUMPS_MAX: u32 = 1_000_000;
/// Longer than an unused connection is kept.
const IDLE: Duration = Duration::from_secs(16);

/// See the module.
pub(super) struct Rack {
    pub(super) transport: Shaken,
    pub(super) disk: Struck,
    pub(super) fates: Fates,
    clock: Clock,
    sessions: Sessions<ShakenSession>,
    scaling: Scaling,
    origins: Origins,
    next: u64,
}

/// What a run came to; `Err` for one that hangs or panics.
pub(super) type Ran = Result<Result<Completed, Error>, String>;

impl Rack {
    /// The scene, on a copy of this disk.
    pub(super) fn new(scene: &Scene, disk: &MemDisk) -> Self {
        let (fates, clock) = (Fates::default(), Clock::start());
        let paths = scene.paths.iter().cloned();
        let transport = SimTransport::with_link(scene.link(), paths);
        let disk = disk.crash(disk.changes(), tur_storage::Loss::Nothing);
        Self {
            transport: Shaken::new(transport, fates.clone(), clock),
            disk: Struck::new(disk, fates.clone()),
            fates,
            clock,
            sessions: Sessions::new(Caps::default()),
            scaling: Scaling::new(),
            origins: Origins::in_memory(),
            next: 1,
        }
    }

    /// Runs a download to its end while these operations are struck.
    pub(super) async fn run(&mut self, job: Job, strikes: &[(u64, Way)]) -> Ran {
        self.fates.arm(strikes);
        let jumps = if job.checksum.is_some() { JUMPS_MAX } else { 1 };
        let (life, alive) = watch::channel(());
        let (wishes, heard) = watch::channel(Wish::default());
        let bus = Bus::new(self.clock);
        let board = Board::new(self.next, bus.scope().clone());
        let events = board.subscribe(ROOM);
        self.next += 1;
        let outside = Outside {
            board,
            commands: heard,
            life: alive,
        };
        let inner = Box::pin(driver::run(self.world(&job), job, outside));
        let mut drivers = JoinSet::new();
        drivers.spawn(Woken::new(inner, self.fates.clone(), self.clock));
        let mut ran = Err("it hangs".to_owned());
        for _ in 0..jumps {
            if let Ok(ended) = timeout(HANG, drivers.join_next()).await {
                let ended = ended.expect("one driver was spawned");
                ran = ended.map_err(|error| format!("it panics: {error}"));
                break;
            }
            std::thread::yield_now();
        }
        drivers.shutdown().await;
        drop((life, wishes, events, bus));
        ran
    }

    fn world(&self, job: &Job) -> World<Shaken, Struck> {
        World {
            transport: Arc::new(self.transport.clone()),
            sessions: self.sessions.clone(),
            origins: self.origins.clone(),
            disk: self.disk.clone(),
            filed: crate::filed::Filed::default(),
            compute: Compute::new(),
            desk: Desk::default(),
            lookout: Lookout::new(tur_sched::HANG),
            limits: Limits {
                process: Limit::new(self.clock, None),
                transfer: Limit::new(self.clock, job.limit),
            },
            scaling: self.scaling.clone(),
            sampler: Sampler::new(self.clock),
            clock: self.clock,
            pin: crate::driver::Pin::none(),
            hang: tur_sched::HANG,
        }
    }

    /// What is still held though nothing runs any more.
    pub(super) async fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        if !self.is_unlocked() {
            leaks.push("the part is locked".to_owned());
        }
        let mut see = |what: &str, n: usize| {
            if n > 0 {
                leaks.push(format!("{n} {what} left"));
            }
        };
        see("files", self.disk.live_files());
        until(Some(self.clock.instant(self.clock.now() + IDLE))).await;
        self.sessions.expire(self.clock.now());
        see("sessions in the pool", self.sessions.held().0);
        see("connections", self.transport.inner.sockets());
        see("sessions, bodies or requests", self.transport.live());
        leaks
    }

    fn is_unlocked(&self) -> bool {
        let disk = &self.disk.inner;
        let Ok(dir) = disk.open_dir(Path::new(DIR), false) else {
            return true;
        };
        disk.open(&dir, &format!("{NAME}.part"), Open::Existing)
            .is_ok_and(|part| disk.try_lock(&part).expect("it can be asked"))
            || !self.exists("part")
    }

    /// True if the file with this extension is there; none for the target.
    pub(super) fn exists(&self, extension: &str) -> bool {
        read(&self.disk.inner, extension).is_some()
    }

    /// True if the target is this version of the file, byte for byte.
    pub(super) fn is_whole(&self, version: u8, size: u64) -> bool {
        read(&self.disk.inner, "")
            .is_some_and(|have| have == content(version, ByteRange::new(0, size)))
    }
}

/// What a file holds; `None` if it is not there.
pub(super) fn read(disk: &MemDisk, extension: &str) -> Option<Vec<u8>> {
    let name = match extension {
        "" => NAME.to_owned(),
        extension => format!("{NAME}.{extension}"),
    };
    let dir = disk.open_dir(Path::new(DIR), false).ok()?;
    let file = disk.open(&dir, &name, Open::Existing).ok()?;
    let len = disk.stat(&file).expect("an open file").len;
    let mut bytes = vec![0; usize::try_from(len).expect("a small file")];
    let came = disk.read_at(&file, 0, &mut bytes).expect("it reads");
    assert_eq!(came, bytes.len());
    Some(bytes)
}
