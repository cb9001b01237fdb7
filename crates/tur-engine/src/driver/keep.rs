//! Keeping what a download has: making bytes durable now and then, and noticing what the disk has lost.
//!
//! Read [`Checkpointing`]; that the time it takes stays in proportion is decided in `next_checkpoint`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;
use tur_core::Timestamp;
use tur_core::port::Transport;
use tur_sched::Event;
use tur_storage::{Disk, Durable, Part, Room, StorageError};

use super::Driver;
use super::file::ToFile;
use crate::What;

/// Time before the first checkpoint, and between two at least.
const CHECKPOINT: Duration = Duration::from_secs(2);
/// What else writes to a disk in the time of a download: with less than that left, it is nearly full.
const DISK_MARGIN: u64 = 64 << 20;
/// A checkpoint may take this share of the time: one part in ten.
const CHECKPOINT_REST: u32 = 9;

/// Making bytes durable now and then.
#[derive(Default)]
pub(super) struct Checkpointing {
    pub(super) running: Option<(JoinHandle<Result<Durable, StorageError>>, Timestamp)>,
    next: Option<Timestamp>,
    /// True if the last one failed: a second failure in a row is final.
    failed: bool,
}

impl Checkpointing {
    /// The running checkpoint's result; never ready without one.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Durable, StorageError>> {
        let Some((job, _)) = &mut self.running else {
            return Poll::Pending;
        };
        Pin::new(job).poll(cx).map(|result| match result {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        })
    }
}

impl<T: Transport, D: Disk + Clone> Driver<'_, T, D, ToFile<'_, D>> {
    pub(super) fn checkpoint_if_due(&mut self) {
        let now = self.now();
        let due = *self.store.checkpoint.next.get_or_insert(now + CHECKPOINT);
        if now < due || self.store.checkpoint.running.is_some() || self.end.is_some() {
            return;
        }
        self.check_storage();
        let Some(part) = self.store.filing.part() else {
            return;
        };
        match part.checkpoint() {
            Ok(job) => {
                let job = tokio::task::spawn_blocking(move || job.run());
                self.store.checkpoint.running = Some((job, now));
            }
            Err(error) => tracing::warn!(%error, "no checkpoint"),
        }
    }

    pub(super) fn checkpoint_done(&mut self, result: Result<Durable, StorageError>) {
        let now = self.now();
        let took = self
            .store
            .checkpoint
            .running
            .take()
            .map_or(Duration::ZERO, |(_, since)| now.since(since));
        self.store.checkpoint.next = Some(next_checkpoint(now, took));
        match result {
            Ok(durable) => {
                self.store.checkpoint.failed = false;
                self.look_at_room();
                tracing::debug!(bytes = durable.ranges().len(), ?took, "checkpoint");
            }
            // Once may be bad luck. A disk that cannot keep anything is not fed for ever.
            Err(error @ StorageError::Lost { .. }) if self.store.checkpoint.failed => {
                self.broken(error)
            }
            Err(StorageError::Lost { lost, .. }) => {
                self.store.checkpoint.failed = true;
                self.lost(&lost);
            }
            Err(error) => tracing::warn!(%error, "checkpoint failed; the next one tries again"),
        }
    }

    fn look_at_room(&mut self) {
        if self.disk_told {
            return;
        }
        if let Some(Ok(room)) = self.store.filing.part().map(Part::room) {
            self.warn_of_full_disk(room);
        }
    }

    /// Tells once that the disk is nearly full. What can be written is for the writes to find out.
    pub(super) fn warn_of_full_disk(&mut self, room: Option<Room>) {
        let Some(Room { missing, available }) = room.filter(|_| !self.disk_told) else {
            return;
        };
        if missing > 0 && available < missing.saturating_add(DISK_MARGIN) {
            self.disk_told = true;
            self.tell(What::DiskLow { available, missing });
        }
    }

    /// Looks whether somebody else touched the part.
    pub(super) fn check_storage(&mut self) {
        match self.store.filing.check() {
            Ok(lost) => self.lost(&lost),
            Err(error) => self.broken(error),
        }
    }

    /// Bytes that storage has lost are holes again.
    pub(super) fn lost(&mut self, lost: &tur_core::RangeSet) {
        if lost.is_empty() {
            return;
        }
        self.tell_written();
        for range in lost.iter() {
            self.tell(What::Note(format!(
                "{} bytes were lost on disk and are fetched again",
                range.len()
            )));
            if let Some(follower) = &mut self.store.follower {
                follower.void(range);
            }
            self.tell_machine(Event::Lost { range });
        }
    }

    /// Tells what lanes have written since they last told. A loss must come after it: told the other way round, lost
    /// bytes would seem to be there.
    pub(super) fn tell_written(&mut self) {
        let running = self
            .lanes
            .values()
            .filter_map(|lane| lane.fetching.as_ref());
        let written: Vec<_> = running
            .map(|fetching| (fetching.order.lease, fetching.gate.taken()))
            .collect();
        for (lease, upto) in written {
            self.tell_machine(Event::Landed {
                lease,
                upto,
                busy: Duration::ZERO,
            });
        }
    }
}

fn next_checkpoint(now: Timestamp, took: Duration) -> Timestamp {
    now + CHECKPOINT.max(took * CHECKPOINT_REST)
}
