//! The thread that carries the memory of origins to its file and back: [`Keeper`].
//!
//! It writes what was noted onto what the file holds by then, so that several processes add up instead of overwriting
//! each other. It is the only one here who waits for a disk or a lock.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use tur_core::Timestamp;
use tur_sched::OriginMemory;
use tur_storage::{Disk, State, StateFile, StorageError};

use super::record::{FORMAT, decode, encode};
use super::{OriginRecord, Pattern, Remembered, records};
use crate::Error;
use crate::clock::Clock;

/// What was noted is written after so long at most, and no more often. A process that is killed loses as much.
const DEBOUNCE: Duration = Duration::from_secs(5);
/// How often the lock is tried for while another process has it, and how long it is waited in between: 2 s together.
/// Others hold it for one write.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What the thread is told.
pub(super) enum Order {
    /// Something waits to be written.
    Noted,
    /// Write it now, and say how that went.
    Flush(SyncSender<Result<(), Error>>),
    /// What is remembered, by all processes.
    List(SyncSender<Result<Vec<OriginRecord>, Error>>),
    /// Forget, and say how many.
    Forget(Pattern, SyncSender<Result<usize, Error>>),
}

/// The file, and what is to go into it.
pub(super) struct Keeper<D> {
    file: StateFile<D>,
    remembered: Arc<Remembered>,
}

impl<D: Disk> Keeper<D> {
    /// Keeps `remembered` in the file at `path`.
    pub(super) fn new(
        disk: D,
        path: &Path,
        remembered: Arc<Remembered>,
    ) -> Result<Self, StorageError> {
        let file = StateFile::new(disk, path, FORMAT)?;
        Ok(Self { file, remembered })
    }

    /// Reads the file, then does what it is told until nobody is left to tell it.
    pub(super) fn run(self, orders: &Receiver<Order>) {
        self.load();
        let clock = Clock::start();
        let mut due: Option<Timestamp> = None;
        loop {
            let order = match due {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => orders.recv_timeout(due.since(clock.now())),
            };
            match order {
                Ok(Order::Noted) => {
                    due.get_or_insert(clock.now() + DEBOUNCE);
                }
                Ok(Order::Flush(reply)) => {
                    due = None;
                    answer(&reply, self.save());
                }
                Ok(Order::List(reply)) => answer(&reply, self.list()),
                Ok(Order::Forget(pattern, reply)) => answer(&reply, self.forget(&pattern)),
                Err(RecvTimeoutError::Timeout) => {
                    due = None;
                    self.save_or_warn();
                }
                Err(RecvTimeoutError::Disconnected) => return self.save_or_warn(),
            }
        }
    }

    fn load(&self) {
        let found = self.read();
        if let Err(error) = &found {
            tracing::warn!(%error, "no memory of origins");
            // A file that is there and is no use concerns its owner. That there can be none is told to whoever asks
            // for it to be written.
            if !matches!(error, StorageError::Io { .. }) {
                self.remembered
                    .say(format!("the memory of origins: {error}"));
            }
        }
        self.remembered
            .begin_with(found.ok().flatten().unwrap_or_default());
    }

    /// What the file holds; `None` without a file.
    fn read(&self) -> Result<Option<OriginMemory>, StorageError> {
        let Some(state) = self.file.load()? else {
            return Ok(None);
        };
        match decode(&state, Clock::wall()) {
            Some(memory) => Ok(Some(memory)),
            None => Err(StorageError::Damaged {
                path: self.file.path(),
            }),
        }
    }

    fn save_or_warn(&self) {
        if let Err(error) = self.save() {
            tracing::warn!(%error, "the memory of origins is not written");
        }
    }

    /// Writes what was noted onto what is there. If that fails, it waits for the next time.
    fn save(&self) -> Result<(), Error> {
        let notes = self.remembered.take_notes();
        if notes.is_empty() {
            return Ok(());
        }
        let mut merged = None;
        let written = self.update(|old| {
            let mut memory = old.unwrap_or_default();
            for note in &notes {
                note.apply(&mut memory);
            }
            let bytes = encode(&memory);
            merged = Some(memory);
            Some(bytes)
        });
        match (written, merged) {
            (Ok(()), Some(memory)) => {
                self.remembered.begin_with(memory);
                Ok(())
            }
            (Ok(()), None) => Ok(()),
            (Err(error), _) => {
                self.remembered.put_back(notes);
                Err(error.into())
            }
        }
    }

    /// Everything that is remembered here or in the file, the latest first.
    fn list(&self) -> Result<Vec<OriginRecord>, Error> {
        let now = Clock::wall();
        let mut memory = self.read()?.unwrap_or_default();
        for note in self.remembered.notes() {
            note.apply(&mut memory);
        }
        Ok(records(&memory, now))
    }

    /// Forgets here and in the file.
    fn forget(&self, pattern: &Pattern) -> Result<usize, Error> {
        let mut gone = self.remembered.forget(pattern);
        if matches!(self.file.load(), Ok(None)) {
            return Ok(gone.len());
        }
        self.update(|old| {
            let mut memory = old.unwrap_or_default();
            let matching = pattern.matching(&memory);
            for origin in &matching {
                memory.forget(origin);
            }
            gone.extend(matching);
            Some(encode(&memory))
        })?;
        Ok(gone.len())
    }

    /// Replaces what the file holds. `merge` is given nothing if there is no file, or a damaged one.
    fn update(
        &self,
        merge: impl FnOnce(Option<OriginMemory>) -> Option<Vec<u8>>,
    ) -> Result<(), StorageError> {
        let now = Clock::wall();
        let read = |state: State| decode(&state, now);
        self.file
            .update(&mut patience(), |old| merge(old.and_then(read)))
    }
}

/// Who asked may have stopped waiting: then nobody wants the answer.
fn answer<T>(reply: &SyncSender<T>, with: T) {
    reply.send(with).ok();
}

/// Waits a little each time it is called, and so often at most.
fn patience() -> impl FnMut() -> bool {
    let mut left = LOCK_TRIES;
    move || {
        left = left.saturating_sub(1);
        pause();
        left > 0
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this thread has nothing else to do while another process writes"
)]
fn pause() {
    thread::sleep(LOCK_PAUSE);
}
