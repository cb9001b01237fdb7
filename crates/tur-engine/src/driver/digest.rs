//! A digest that follows the frontier of a download, so that little is left to compute at its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tur_core::ByteRange;
use tur_storage::{Disk, Part, Reader, StorageError};

use crate::checksum::{Algorithm, Hasher};
use crate::compute::Compute;

/// New bytes that are worth a turn of the pool.
const STEP: u64 = 4 * 1024 * 1024;
/// Bytes read at once.
const BUFFER: usize = 256 * 1024;

/// What a turn of the pool brings back.
type Turn = Result<(Box<Hasher>, u64), StorageError>;

enum State {
    Idle(Box<Hasher>, u64),
    Running(oneshot::Receiver<Turn>),
}

/// Computes a digest of bytes `0..` of a part while it grows.
pub(super) struct Follower {
    algorithm: Algorithm,
    state: State,
    /// What stands before this is in the digest; it is not read again, unless some of it becomes void.
    reached: u64,
    /// True if what is being computed is of no use: bytes behind it were voided.
    stale: bool,
    /// Set when nobody wants the digest any more.
    stop: Arc<AtomicBool>,
}

impl Follower {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            state: State::Idle(fresh(algorithm), 0),
            reached: 0,
            stale: false,
            stop: Arc::default(),
        }
    }

    /// Goes on if enough has come.
    pub(super) fn poke<D: Disk>(&mut self, part: &Part<D>, compute: &Compute) {
        if let State::Running(turn) = &mut self.state
            && let Ok(turn) = turn.try_recv()
        {
            self.take(turn);
        }
        if let State::Idle(_, at) = self.state
            && part.frontier() >= at + STEP
        {
            self.go(part, compute);
        }
    }

    /// What stands before this will not be read again.
    pub(super) fn reached(&self) -> u64 {
        self.reached
    }

    /// Bytes in `range` are void.
    pub(super) fn void(&mut self, range: ByteRange) {
        match &self.state {
            State::Idle(_, at) if *at > range.start => *self = Self::new(self.algorithm),
            State::Idle(..) => {}
            State::Running(_) => self.stale = true,
        }
    }

    /// Gives up. When this ends, no turn reads the part any more.
    pub(super) async fn leave(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let State::Running(turn) = &mut self.state {
            // What it would have brought is not wanted, and neither is why it could not.
            drop(turn.await);
        }
        *self = Self::new(self.algorithm);
    }

    /// The digest of the whole part, which has `total` bytes; `None` if some are not there. Given up by dropping the
    /// future; the part is read until [`leave`](Self::leave) ends.
    pub(super) async fn finish<D: Disk>(
        &mut self,
        part: &Part<D>,
        compute: &Compute,
        total: u64,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let mut failed = false;
        let mut reached = None;
        loop {
            match &mut self.state {
                State::Idle(hasher, at) if *at == total => {
                    *at = 0;
                    let whole = std::mem::replace(hasher, fresh(self.algorithm));
                    return Ok(Some(whole.finish()));
                }
                // A turn that got no further met a gap.
                State::Idle(_, at) if reached == Some(*at) && !failed => return Ok(None),
                State::Idle(_, at) => {
                    reached = Some(*at);
                    self.go(part, compute);
                }
                State::Running(turn) => match turn.await {
                    Ok(Err(error)) if failed => return Err(error),
                    Ok(turn) => {
                        failed = turn.is_err();
                        self.take(turn);
                    }
                    // The pool has no thread to give: this one is.
                    Err(_gone) => {
                        let whole = fresh(self.algorithm);
                        self.take(advance((whole, 0), &part.reader(), &self.stop));
                    }
                },
            }
        }
    }

    fn go<D: Disk>(&mut self, part: &Part<D>, compute: &Compute) {
        let idle = State::Idle(fresh(self.algorithm), 0);
        if let State::Idle(hasher, at) = std::mem::replace(&mut self.state, idle) {
            let (reader, stop) = (part.reader(), Arc::clone(&self.stop));
            let turn = compute.run(move || advance((hasher, at), &reader, &stop));
            self.state = State::Running(turn);
        }
    }

    /// A turn that could not read begins anew: the next one may, and the last one's failure is told.
    fn take(&mut self, turn: Turn) {
        let anew = || (fresh(self.algorithm), 0);
        let (hasher, at) = if self.stale {
            anew()
        } else {
            turn.unwrap_or_else(|_error| anew())
        };
        self.stale = false;
        self.reached = at;
        self.state = State::Idle(hasher, at);
    }
}

fn fresh(algorithm: Algorithm) -> Box<Hasher> {
    Box::new(Hasher::new(algorithm))
}

/// Takes in everything from where the hasher is to the frontier, or until it is stopped.
fn advance<D: Disk>(
    (mut hasher, mut at): (Box<Hasher>, u64),
    reader: &Reader<D>,
    stop: &AtomicBool,
) -> Turn {
    let end = reader.frontier();
    let mut buffer = vec![0; BUFFER];
    while at < end && !stop.load(Ordering::Relaxed) {
        let want = usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER);
        let came = reader.read_at(at, &mut buffer[..want])?;
        if came == 0 {
            // Cut by somebody: the check before the commit finds out which bytes are gone.
            break;
        }
        hasher.update(&buffer[..came]);
        at += came as u64;
    }
    Ok((hasher, at))
}
