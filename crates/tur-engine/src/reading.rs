//! Reading a download while it arrives: [`Reading`], what a layer of readers stands on.
//!
//! Bytes may be read as soon as they are *covered*: written to the part, of a representation that the origin has confirmed.
//! That is published with the write, not with what the machine hears later. What else is here: waiting for bytes
//! ([`Wait`]), saying what is wanted first ([`Demand`]) and what at all ([`Reading::set_window`]), and how it all stands
//! ([`Status`]). Nothing here needs a runtime. The driver's side is `core.rs`.

mod core;
mod source;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tur_core::{ByteRange, Kind, RangeSet};

pub(crate) use self::core::{Core, Ending, Heard, LastWord};
use self::core::{Goal, State};
pub(crate) use self::source::{Source, WholeFile};
use crate::Error;

/// Which representation bytes are of. Bytes of two versions are never to be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(u64);

impl Version {
    /// Its number among those of this download, from 0 on.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

/// How a download that is read stands.
#[derive(Clone, Debug)]
pub enum Status {
    /// It runs.
    Active {
        /// Bytes that can be read.
        landed: u64,
        /// The length that the origin has told, or shown by an end.
        expected: Option<u64>,
    },
    /// The file is complete under its name, and goes on to be readable here.
    Committed {
        /// Its length in bytes.
        len: u64,
    },
    /// It is over without the file. What landed is kept for the next run as far as it can be used, and goes on to be readable
    /// here, up to the first hole: until a download of the same [`Downloader`](crate::Downloader) begins in the same place.
    /// Others find the place [busy](Kind::Busy) for as long as somebody could read here. Nothing is readable any more if it was
    /// cancelled, if the file changed at its origin, or if its digest is wrong.
    Failed {
        /// Why.
        reason: Error,
    },
}

/// A download that is read while it arrives. Cheap to clone, all clones are one; works on any thread.
///
/// It does not keep the download alive: that is the [`Handle`](crate::Handle)'s.
#[derive(Clone)]
pub struct Reading {
    core: Arc<Core>,
    /// The same for all clones.
    #[expect(dead_code, reason = "its end tells that nobody reads any more")]
    readers: Arc<Readers>,
}

/// All clones of a [`Reading`]: with the last one goes what only readers kept, at once, whoever else knows the core still.
struct Readers(Arc<Core>);

impl Drop for Readers {
    fn drop(&mut self) {
        self.0.unread();
    }
}

impl Reading {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let readers = Arc::new(Readers(Arc::clone(&core)));
        Self { core, readers }
    }

    /// Of what bytes are read now. It changes if the representation changes and the download begins anew.
    #[must_use]
    pub fn version(&self) -> Version {
        self.core.lock().version
    }

    /// True once an answer has told what the file is.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.core.lock().source.is_some()
    }

    /// Its length in bytes, as soon as the origin has told it, or its end has shown it.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        self.core.lock().total
    }

    /// True if it is known to have no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The media type that the origin tells (`Content-Type` without its parameters).
    #[must_use]
    pub fn content_type(&self) -> Option<String> {
        self.core.lock().media_type.clone()
    }

    /// Whether the origin serves ranges: without them bytes come in their order, whatever is demanded. `None` while nothing
    /// has shown it.
    #[must_use]
    pub fn takes_ranges(&self) -> Option<bool> {
        self.core.lock().ranges
    }

    /// The bytes that can be read now: without those that were given back ([`Handle::passed`](crate::Handle::passed)).
    #[must_use]
    pub fn covered(&self) -> RangeSet {
        let source = self.core.lock().source.clone();
        source.map_or_else(RangeSet::new, |source| source.covered())
    }

    /// True if all bytes of `range` can be read now, as far as the file is known to reach.
    #[must_use]
    pub fn is_covered(&self, range: ByteRange) -> bool {
        let state = self.core.lock();
        let range = state.within(range);
        let source = state.source.as_ref();
        let is_there = |source: &Arc<dyn Source>| matches!(source.first_missing(range), Ok(None));
        range.is_empty() || source.is_some_and(is_there)
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.core.lock();
        match &state.ending {
            Some(Ending::Committed(len)) => Status::Committed { len: *len },
            Some(Ending::Failed(reason)) => Status::Failed {
                reason: reason.clone(),
            },
            None => Status::Active {
                landed: state.source.as_ref().map_or(0, |source| source.landed()),
                expected: state.total,
            },
        }
    }

    /// Reads covered bytes of version `of` from `at` on, as many as stand there without a gap, and says how many came. 0 if
    /// the one at `at` is not covered, or lies behind the end. A hole is never read as zeros.
    ///
    /// # Errors
    /// `Changed` if the representation is another one by now; why the download failed, if it did and the byte at `at` is not
    /// there; what the disk says.
    pub fn read_at(&self, of: Version, at: u64, into: &mut [u8]) -> Result<usize, Error> {
        let source = {
            let mut state = self.core.lock();
            state.check(Some(of))?;
            let wanted = state.within(ByteRange::new(at, at.saturating_add(into.len() as u64)));
            let Some(source) = state.source.clone().filter(|_| !wanted.is_empty()) else {
                return Ok(0);
            };
            state.reads += 1;
            source
        };
        let came = source.read(at, into);
        drop(source);
        let mut state = self.core.lock();
        state.read_is_over();
        // If it began anew meanwhile, nobody knows of what these bytes are.
        state.check(Some(of))?;
        match (came?, &state.ending) {
            (0, Some(Ending::Committed(_))) => {
                let message = "somebody has cut the file, and nobody fetches it again";
                Err(Error::new(Kind::Local, message))
            }
            (0, Some(Ending::Failed(reason))) => Err(reason.clone()),
            (came, _) => Ok(came),
        }
    }

    /// Ready when all bytes of `range` are covered, as far as the file reaches; for an empty range, when an answer has told
    /// what the file is.
    ///
    /// It ends with an error as soon as the download has failed without them, was cancelled or is gone, or if bytes of another
    /// version than `of` are about to come, or if what the range begins with was given back. Dropping it is all it takes to
    /// wait no more.
    #[must_use = "nothing waits before it is awaited"]
    pub fn wait(&self, of: Option<Version>, range: ByteRange) -> Wait {
        self.wait_for(of, Goal::Covered(range))
    }

    /// Ready when the file is complete under its name; an error if it never will be.
    #[must_use = "nothing waits before it is awaited"]
    pub fn committed(&self) -> Wait {
        self.wait_for(None, Goal::Committed)
    }

    fn wait_for(&self, of: Option<Version>, goal: Goal) -> Wait {
        Wait {
            core: Arc::clone(&self.core),
            of,
            goal,
            seat: None,
        }
    }

    /// Somebody waits for these bytes: they come before all others, the newest demand first, until it is dropped. At most
    /// 16 are heeded at a time.
    #[must_use = "it is taken back when it is dropped"]
    pub fn demand(&self, range: ByteRange) -> Demand {
        let mut state = self.core.lock();
        let id = state.wants.demand(range);
        state.wants_changed();
        drop(state);
        Demand {
            core: Arc::clone(&self.core),
            id,
        }
    }

    /// Says which bytes are fetched from now on, `None` for all, and which of them, `ahead`, come before the rest because
    /// readers will want them soon. When all of a window is there, its lanes rest, and that is no stall. A demand outside of
    /// the window waits until that includes it.
    pub fn set_window(&self, window: Option<RangeSet>, ahead: RangeSet) {
        let mut state = self.core.lock();
        if state.wants.set_spans(window, ahead) {
            state.wants_changed();
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// A wish that bytes come first; see [`Reading::demand`].
pub struct Demand {
    core: Arc<Core>,
    id: u64,
}

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Demand").field(&self.id).finish()
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        let mut state = self.core.lock();
        if state.wants.withdraw(self.id) {
            state.wants_changed();
        }
    }
}

/// Waits for bytes, for an answer or for the end; see [`Reading::wait`].
pub struct Wait {
    core: Arc<Core>,
    of: Option<Version>,
    goal: Goal,
    seat: Option<u64>,
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("goal", &self.goal)
            .finish_non_exhaustive()
    }
}

impl Future for Wait {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let core = Arc::clone(&self.core);
        // The waker of an earlier poll, dropped after the lock.
        let mut left = None;
        let mut state = core.lock();
        let mut sat_for = None;
        loop {
            let need = match state.need(self.of, self.goal) {
                Ok(Some(need)) => need,
                Ok(None) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            };
            // Who writes looks for waiters after it has published: so it must be looked once more after sitting down.
            if sat_for == Some(need) {
                return Poll::Pending;
            }
            sat_for = Some(need);
            if let Some(seat) = self.seat.take() {
                let waker = core.leave(&mut state, seat);
                left = left.or(waker);
            }
            self.seat = Some(core.sit(&mut state, need, cx.waker()));
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(seat) = self.seat {
            let left = self.core.leave(&mut self.core.lock(), seat);
            drop(left);
        }
    }
}

/// What is still needed is the driver's to know; this is how it is looked up.
impl State {
    /// An error if nothing of `of` can be read here any more.
    fn check(&self, of: Option<Version>) -> Result<(), Error> {
        if let (Some(Ending::Failed(reason)), None) = (&self.ending, &self.source) {
            return Err(reason.clone());
        }
        if of.is_some_and(|of| of != self.version) {
            let message =
                "the file changed at its origin while it was read: it has to be read anew";
            return Err(Error::new(Kind::Changed, message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
