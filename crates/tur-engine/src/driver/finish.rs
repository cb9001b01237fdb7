//! A download from its first look at the disk to its end, in order.

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;
use tur_core::port::Transport;
use tur_core::{Identity, Kind};
use tur_sched::Hint;
use tur_storage::{Disk, Found, Opened, Stay, StorageError};

use super::digest::Follower;
use super::existing::Existing;
use super::file::{Early, ToFile, config, errand};
use super::filing::{Resumable, plain};
use super::{Driver, End, Outside, World};
use crate::careful::unharmed;
use crate::checksum::{Algorithm, hex};
use crate::job::Job;
use crate::reading::{Core, Ending};
use crate::tenants::Tenure;
use crate::{Checksum, Completed, Error, PhaseWord, What};

/// The longest that the end of a failed download waits for the disk.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// The longest that a download waits for another one of its file that nobody wants any more: a disk that saves a large file may
/// take its time, and one that hangs must be told of.
const FREED_MAX: Duration = Duration::from_secs(30);

/// Looks, compares, downloads, verifies, commits.
pub(super) async fn download<T, D>(
    world: World<T, D>,
    job: &Job,
    tenure: Arc<Tenure>,
    mut outside: Outside,
) -> Result<Completed, Error>
where
    T: Transport,
    D: Disk + Clone,
{
    world.origins.ready().await;
    if let Some(hint) = world.origins.hint(&job.target.origin) {
        tracing::debug!(origin = %job.target.origin, ?hint, "remembered");
    }
    let board = outside.board.clone();
    let (clock, lookout) = (world.clock, &world.lookout);
    let watched = lookout.watch(board.clone(), clock, clock.now());
    let store = ToFile::new((&world.disk, &world.filed), job, tenure, watched);
    let config = config(job, None, Hint::default());
    let mut driver = Driver::new(&world, errand(job), config, board, store);
    let result = match unharmed(driver.carry_through(&mut outside)).await {
        Ok(result) => result,
        Err(fallen) => return Err(driver.clear_up(fallen).await),
    };
    driver.remember();
    driver.board.metrics().put(driver.tally.metrics());
    result
}

impl<T: Transport, D: Disk + Clone> Driver<'_, T, D, ToFile<'_, D>> {
    /// After a panic: lets the part go, and leaves what can be gone on with, as far as that can still be done.
    async fn clear_up(&mut self, fallen: Error) -> Error {
        let told = fallen.clone();
        let clear = async {
            self.let_part_go().await;
            self.leave(told)
        };
        unharmed(clear).await.unwrap_or(fallen)
    }

    async fn carry_through(&mut self, outside: &mut Outside) -> Result<Completed, Error> {
        let freed = timeout(FREED_MAX, self.store.filing.freed());
        match or_cancelled(outside, freed).await {
            None => return Err(self.interrupted().await),
            Some(Err(_)) => tracing::debug!("the download before has the part still"),
            Some(Ok(())) => {}
        }
        let begun = if self.store.filing.is_read() {
            // Whoever reads what a failed download has left keeps it until it is known that the part is wanted.
            let surveying = self.store.filing.surveying();
            self.opened(outside, || surveying().map(Err)).await?
        } else {
            let beginning = self.store.filing.beginning();
            self.opened(outside, beginning).await?
        };
        let saved = match begun {
            Ok(saved) => saved,
            Err(found) => {
                let existing = self.store.filing.judge(found)?;
                if let Some(existing) = existing
                    && let Some(done) = self.existing(existing, outside).await?
                {
                    return Ok(done);
                }
                for readers in self.store.filing.take_over() {
                    let_reads_end(&readers).await;
                }
                let opening = self.store.filing.opening();
                let opened = self.opened(outside, || opening().map(Ok)).await?;
                opened.ok().flatten()
            }
        };
        self.begin(saved, None);
        loop {
            let end = self.drive(outside).await;
            if !matches!(end, End::Landed(_)) {
                self.let_part_go().await;
            }
            match end {
                End::Landed(total) => {
                    if let Some(done) = self.landed(total, outside).await? {
                        return Ok(done);
                    }
                }
                End::Own(Early::Already) => return Ok(self.already()),
                End::Own(Early::Compared(_)) => {
                    return Err(self.leave(Error::new(Kind::Other, "compared without a file")));
                }
                End::Failed(failure) => {
                    let keep = failure.keep || self.has_unheard(failure.kind);
                    return Err(self.part_with(keep, failure.into()));
                }
                End::Broken(error) => return Err(self.leave(error)),
                End::Cancelled => return Err(self.interrupted().await),
            }
        }
    }

    /// Has the part opened elsewhere, and tells what can be gone on with, or what has the name. It may take a while, in which
    /// other downloads go on, and this one can be cancelled.
    async fn opened(
        &mut self,
        outside: &mut Outside,
        work: impl FnOnce() -> Result<Result<Opened<D>, Found>, StorageError> + Send + 'static,
    ) -> Result<Result<Option<Resumable>, Found>, Error> {
        let mut opening = self.world.desk.leave(work);
        let opened = self.on_disk().wait(or_cancelled(outside, &mut opening));
        if let Some(opened) = opened.await {
            return Ok(opened?.map(|opened| self.store.filing.take(opened)));
        }
        // What it opens is left in order, and let go, before the end is told: one that still waits for a thread gets one.
        self.world.desk.hurry();
        if let Ok(Ok(Ok(opened))) = timeout(LEAVE_MAX, opening).await {
            self.store.filing.take(opened);
        }
        Err(self.interrupted().await)
    }

    /// True if lanes have written what can be gone on with, and the machine has heard of nothing yet.
    fn has_unheard(&self, kind: Kind) -> bool {
        let joinable = self.transfer.is_joinable() && self.transfer.facts().ranges != Some(false);
        self.transfer.ledger().landed().is_empty()
            && kind != Kind::Changed
            && self.store.filing.is_worth_keeping(joinable)
    }

    /// Deals with a file that has the name already. `Some` if nothing is left to do.
    async fn existing(
        &mut self,
        existing: Existing,
        outside: &mut Outside,
    ) -> Result<Option<Completed>, Error> {
        let job = self.store.job;
        let skip = job.on_exists == crate::OnExists::Skip;
        if skip && job.checksum.is_none() {
            return Ok(Some(self.already()));
        }
        let looking = self.world.desk.leave(self.store.filing.looking_around());
        let around = self.on_disk().wait(or_cancelled(outside, looking)).await;
        let around = around.ok_or_else(Error::cancelled)??;
        let found = match &job.checksum {
            // A digest is the better proof, and needs no network. Whoever else has the file has the same one.
            Some(checksum) => {
                let mut files = self.store.filing.candidates(existing.clone(), around);
                if files.first() != Some(&existing) {
                    files.insert(0, existing);
                }
                self.digested(checksum, files, outside).await?
            }
            None => {
                let files = self.store.filing.candidates(existing, around);
                self.same_of(files, outside).await?
            }
        };
        if let Some(file) = found {
            self.store.filing.settle_on(file);
            return Ok(Some(self.already()));
        }
        if let Some(checksum) = job.checksum.as_ref().filter(|_| skip) {
            let (path, algorithm) = (self.store.filing.path(), checksum.algorithm.name());
            let message = format!(
                "{} exists and its {algorithm} differs: it is left as it is",
                path.display()
            );
            return Err(Error::new(Kind::Checksum, message));
        }
        match self.store.filing.taken()? {
            true => Ok(None),
            false => Ok(Some(self.already())),
        }
    }

    /// The first of these files that has the digest.
    async fn digested(
        &self,
        checksum: &Checksum,
        files: Vec<Existing>,
        outside: &mut Outside,
    ) -> Result<Option<Existing>, Error> {
        for file in files {
            if self.has_digest(&file, checksum, outside).await? {
                self.store.filing.claim(&file);
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Whether that file has the digest.
    async fn has_digest(
        &self,
        file: &Existing,
        checksum: &Checksum,
        outside: &mut Outside,
    ) -> Result<bool, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let filing = &self.store.filing;
        let work = filing.digest_work(&file.name, checksum, Arc::clone(&stop));
        let verdict = or_cancelled(outside, self.world.compute.run(work)).await;
        stop.store(true, Ordering::Relaxed);
        // Work that panicked has proven nothing.
        verdict
            .map(|verdict| verdict.unwrap_or(false))
            .ok_or_else(Error::cancelled)
    }

    /// The one of these files that the origin has, by its answer to a request for one byte.
    async fn same_of(
        &mut self,
        files: Vec<Existing>,
        outside: &mut Outside,
    ) -> Result<Option<Existing>, Error> {
        if files.is_empty() {
            return Ok(None);
        }
        self.begin(None, Some(files));
        let end = self.drive(outside).await;
        self.release_all();
        match end {
            End::Own(Early::Compared(same)) => Ok(same),
            End::Failed(failure) => Err(failure.into()),
            End::Broken(error) => Err(error),
            End::Cancelled => Err(Error::cancelled()),
            // A machine that compares asks for nothing else; if all is there without asking, it is no proof.
            End::Landed(_) | End::Own(Early::Already) => Ok(None),
        }
    }

    fn already(&mut self) -> Completed {
        self.release_all();
        self.store.filing.leave(false);
        self.store.filing.sweep();
        self.store.filing.show_whole();
        let bytes = match self.store.filing.look() {
            Ok(Some(existing)) => existing.len,
            _ => 0,
        };
        Completed {
            path: self.store.filing.path(),
            bytes,
            already: true,
            ..self.report()
        }
    }

    /// Every byte has landed: verifies and commits. `None` if the disk has lost some, which are fetched again.
    async fn landed(
        &mut self,
        total: u64,
        outside: &mut Outside,
    ) -> Result<Option<Completed>, Error> {
        if !self.store.filing.begun {
            // Nothing was sent, because nothing was missing: an empty file, or one that an earlier run had all of.
            let empty = Identity {
                total: Some(total),
                ..Identity::default()
            };
            let identity = self.identity().cloned().unwrap_or(empty);
            self.store
                .filing
                .begin(&identity)
                .map_err(|error| self.leave(error.into()))?;
        }
        self.check_storage();
        match self.end.take() {
            Some(End::Broken(error)) => return Err(self.leave(error)),
            _ if !self.transfer.ledger().is_complete() => return Ok(None),
            _ => {}
        }
        self.release_all();
        let since = self.now();
        self.publish_verifying(total);
        self.tell(What::Verifying);
        let on_disk = self.on_disk();
        if let Some((running, _)) = &mut self.store.checkpoint.running {
            // A commit waits for the sync that runs; what that one found is found again by the commit's own.
            if on_disk.wait(or_cancelled(outside, running)).await.is_none() {
                return Err(self.interrupted().await);
            }
            self.store.checkpoint.running = None;
        }
        if !self.prove(outside).await? {
            return Ok(None);
        }
        let Some(sha256) = self.verify(total, outside).await? else {
            return Ok(None);
        };
        let path = self.commit(total).await?;
        let verify = self.now().since(since);
        Ok(Some(Completed {
            path,
            bytes: total,
            verify,
            sha256,
            ..self.report()
        }))
    }

    /// Reads the part again where its room says that somebody may have cut it unseen. False if that cost bytes, which are
    /// fetched again.
    async fn prove(&mut self, outside: &mut Outside) -> Result<bool, Error> {
        let proving = self.store.filing.proving();
        let Some(proving) = proving.map_err(|error| self.leave(error.into()))? else {
            return Ok(true);
        };
        let proved = self
            .on_disk()
            .wait(or_cancelled(outside, self.world.desk.leave(proving)));
        let lost = match proved.await {
            None => return Err(self.interrupted().await),
            Some(lost) => lost.map_err(|error| self.leave(error.into()))?,
        };
        self.lost(&lost);
        Ok(lost.is_empty())
    }

    /// A checkpoint or a digest that runs holds the lock of the part: who is told of the end may want to begin again at
    /// once.
    async fn let_part_go(&mut self) {
        self.release_all();
        let (checkpoint, follower) = (
            self.store.checkpoint.running.take(),
            &mut self.store.follower,
        );
        let over = async {
            if let Some((running, _)) = checkpoint {
                // It was not waited for to learn how it ended.
                drop(running.await);
            }
            if let Some(follower) = follower {
                follower.leave().await;
            }
        };
        // A disk that takes longer must not hold up an interruption.
        if timeout(LEAVE_MAX, over).await.is_err() {
            tracing::debug!("the part is let go later");
        }
    }

    fn publish_verifying(&mut self, total: u64) {
        let mut progress = self.board.progress();
        progress.phase = PhaseWord::Verifying;
        progress.landed = total;
        progress.total = Some(total);
    }

    /// Compares the digest, and returns it if it is a SHA-256. `None` if bytes are missing, which are fetched again.
    async fn verify(
        &mut self,
        total: u64,
        outside: &mut Outside,
    ) -> Result<Option<Option<String>>, Error> {
        let (Some(checksum), Some(follower)) = (&self.store.job.checksum, &mut self.store.follower)
        else {
            return Ok(Some(None));
        };
        let Some(part) = self.store.filing.part() else {
            return Ok(Some(None));
        };
        let work = follower.finish(part, &self.world.compute, total);
        let Some(digest) = or_cancelled(outside, work).await else {
            return Err(self.interrupted().await);
        };
        let digest = match digest {
            Ok(Some(digest)) => digest,
            Ok(None) => {
                // Somebody cut the part while it was read.
                self.store.follower = Some(Follower::new(checksum.algorithm));
                self.check_storage();
                let gaps = self.store.filing.gaps(total);
                self.lost(&gaps);
                return Ok(None);
            }
            Err(error) => return Err(self.leave(error.into())),
        };
        if !checksum.matches(&digest) {
            let algorithm = checksum.algorithm.name();
            let mut message = format!(
                "{algorithm} differs: expected {checksum}, the file has {}",
                hex(&digest)
            );
            if self.store.job.keep_bad {
                self.release_all();
                message += &self.store.filing.set_aside();
            }
            return Err(self.part_with(false, Error::new(Kind::Checksum, message)));
        }
        Ok(Some(
            (checksum.algorithm == Algorithm::Sha256).then(|| hex(&digest)),
        ))
    }

    async fn commit(&mut self, total: u64) -> Result<PathBuf, Error> {
        let Some((part, exists, modified)) = self.store.filing.hand_over() else {
            return Err(Error::new(Kind::Other, "there is no part to commit"));
        };
        // Before it has its name: another download may look at that at once.
        let noting = self.store.filing.noting();
        let commit = move || part.commit_announced(total, exists, modified, noting);
        let committed = self.on_disk().wait(self.world.desk.leave(commit)).await;
        let path = plain(&committed?);
        self.store.filing.remember(&path);
        Ok(path)
    }

    async fn interrupted(&mut self) -> Error {
        self.let_part_go().await;
        if !self
            .store
            .filing
            .is_worth_keeping(self.transfer.is_joinable())
        {
            return self.part_with(false, Error::cancelled());
        }
        if self.store.job.stay != Stay::Kept {
            return self.part_with(true, Error::cancelled());
        }
        let kept = self
            .store
            .filing
            .part()
            .map_or(0, |part| part.covered().len());
        let message =
            format!("interrupted; {kept} bytes are kept, and the same download goes on from there");
        self.part_with(true, Error::new(Kind::Signal, message))
    }

    /// Ends without the file, keeping what a later run can use.
    fn leave(&mut self, error: Error) -> Error {
        let keep = self
            .store
            .filing
            .is_worth_keeping(self.transfer.is_joinable());
        self.part_with(keep, error)
    }

    fn part_with(&mut self, keep: bool, error: Error) -> Error {
        self.release_all();
        self.store.filing.leave(keep);
        error
    }

    fn report(&mut self) -> Completed {
        Completed {
            protocol: self.tally.protocol(),
            connections: self.tally.connections,
            lanes_max: self.tally.lanes_max,
            requests: self.tally.requests,
            resumed_bytes: self.tally.resumed,
            wasted_bytes: self.tally.wasted,
            unverifiable: self.tally.unverifiable,
            metrics: self.tally.metrics().clone(),
            ..Completed::default()
        }
    }
}

/// Tells readers of the end, and sees to it that no read is under way: who is told of the end may want to begin again at once.
pub(super) async fn let_readers_go(readers: &Core, result: &Result<Completed, Error>) {
    readers.end(Ending::of(result));
    if result.is_err() {
        let_reads_end(readers).await;
    }
}

/// Waits for reads that are under way, which hold the part.
async fn let_reads_end(readers: &Core) {
    let quiet = poll_fn(|cx| readers.poll_quiet(cx));
    if timeout(LEAVE_MAX, quiet).await.is_err() {
        tracing::debug!("a read holds the part");
    }
}

/// Waits for `work`; `None` if the caller, or the whole downloader, wants no more. There is nothing to pause here.
pub(crate) async fn or_cancelled<R>(
    outside: &mut Outside,
    work: impl Future<Output = R>,
) -> Option<R> {
    let mut work = pin!(work);
    let Outside { commands, life, .. } = outside;
    let mut gone = pin!(life.changed());
    // An error says that the handle is gone.
    let mut cancelled = pin!(commands.wait_for(|wish| wish.cancelled));
    poll_fn(|cx| {
        if cancelled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if gone.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}
