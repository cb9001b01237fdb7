//! What a driver and the readers of its download share: [`Core`].
//!
//! The driver says what became true ([`Core::opened`], [`Core::published`], [`Core::restarted`], [`Core::end`]) and takes
//! what is wanted ([`Core::poll_wants`]). Lock order: the state here, then what the part shows its readers, which nobody
//! locks who waits for a disk. Nothing is read from a disk while the state is locked.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tur_core::{ByteRange, Identity, Kind, RangeSet};

use super::{Source, Version};
use crate::{Completed, Error};

/// How a download ended.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    /// The file is complete, so many bytes long.
    Committed(u64),
    /// It is not.
    Failed(Error),
}

impl Ending {
    /// What the outcome of a download is to its readers.
    pub(crate) fn of(result: &Result<Completed, Error>) -> Self {
        match result {
            Ok(done) => Self::Committed(done.bytes),
            Err(error) => Self::Failed(error.clone()),
        }
    }
}

/// Whether what was covered when a download failed is read further on. What its user ended is over for readers too, and what
/// may be of another version, or is known to be wrong, is read by nobody.
fn is_readable_after(failure: Kind) -> bool {
    !matches!(failure, Kind::Signal | Kind::Changed | Kind::Checksum)
}

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// These bytes, as far as there are any.
    Covered(ByteRange),
    /// The end.
    Committed,
}

/// What has to happen before a waiter looks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// This byte is covered, or anything else but coverage changes.
    Byte(u64),
    /// Anything but coverage changes.
    News,
}

struct Waiter {
    seat: u64,
    need: Need,
    waker: Waker,
}

/// What readers want of the driver.
#[derive(Default)]
pub(super) struct Wants {
    demands: Vec<(u64, ByteRange)>,
    window: Option<RangeSet>,
    ahead: RangeSet,
    next: u64,
    /// What the driver has not heard of yet.
    unheard: Heard,
    spans_unheard: bool,
}

/// What a driver hears of its readers, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Nobody waits for these any more.
    pub(crate) withdrawn: Vec<ByteRange>,
    /// Only these may be fetched from now on, and these come before others, if there is word of it.
    pub(crate) spans: Option<(Option<RangeSet>, RangeSet)>,
    /// These are waited for, the newest last.
    pub(crate) demands: Vec<ByteRange>,
}

impl Wants {
    pub(super) fn demand(&mut self, range: ByteRange) -> u64 {
        self.next += 1;
        self.demands.push((self.next, range));
        self.unheard.withdrawn.retain(|other| *other != range);
        self.unheard.demands.push(range);
        self.next
    }

    /// True if the driver has to hear of it.
    pub(super) fn withdraw(&mut self, id: u64) -> bool {
        let Some(index) = self.demands.iter().position(|(other, _)| *other == id) else {
            return false;
        };
        let (_, range) = self.demands.remove(index);
        if self.demands.iter().any(|(_, other)| *other == range) {
            return false;
        }
        let before = self.unheard.demands.len();
        self.unheard.demands.retain(|other| *other != range);
        if self.unheard.demands.len() == before {
            self.unheard.withdrawn.push(range);
        }
        true
    }

    /// True if the driver has to hear of it.
    pub(super) fn set_spans(&mut self, window: Option<RangeSet>, ahead: RangeSet) -> bool {
        let changes = (&self.window, &self.ahead) != (&window, &ahead);
        (self.window, self.ahead) = (window, ahead);
        self.spans_unheard |= changes;
        changes
    }

    /// Where what is wanted ends; `None` where all is.
    fn reach(&self) -> Option<u64> {
        let window = self.window.as_ref()?;
        let ends = window.iter().map(|part| part.end);
        let demands = self.demands.iter().map(|(_, range)| range.end);
        Some(ends.chain(demands).max().unwrap_or(0))
    }

    fn spans(&self) -> (Option<RangeSet>, RangeSet) {
        (self.window.clone(), self.ahead.clone())
    }

    fn take(&mut self) -> Heard {
        let mut heard = std::mem::take(&mut self.unheard);
        if std::mem::take(&mut self.spans_unheard) {
            heard.spans = Some(self.spans());
        }
        heard
    }

    /// All of it, for who has heard nothing yet.
    fn take_all(&mut self) -> Heard {
        self.unheard = Heard::default();
        self.spans_unheard = false;
        Heard {
            withdrawn: Vec::new(),
            spans: Some(self.spans()),
            demands: self.demands.iter().map(|(_, range)| *range).collect(),
        }
    }

    fn is_unheard(&self) -> bool {
        self.spans_unheard || self.unheard != Heard::default()
    }
}

/// See the module.
pub(crate) struct Core {
    state: Mutex<State>,
    /// Waiters: who writes and finds none is done.
    seated: AtomicUsize,
}

/// What is true of a download that is read.
pub(super) struct State {
    pub(super) version: Version,
    pub(super) source: Option<Arc<dyn Source>>,
    pub(super) total: Option<u64>,
    pub(super) media_type: Option<String>,
    pub(super) ranges: Option<bool>,
    pub(super) ending: Option<Ending>,
    pub(super) wants: Wants,
    /// Reads that are under way.
    pub(super) reads: usize,
    /// True once there is nobody who could read.
    unread: bool,
    waiters: Vec<Waiter>,
    next_seat: u64,
    driver: Option<Waker>,
    /// A body that waits until readers come nearer. What comes in one stream comes in one at a time.
    held: Option<Waker>,
    /// Waits for the last read to end.
    closing: Option<Waker>,
}

impl State {
    /// As much of `range` as the file is known to have.
    pub(super) fn within(&self, range: ByteRange) -> ByteRange {
        let end = self.total.unwrap_or(u64::MAX).min(range.end);
        ByteRange::new(range.start.min(end), end)
    }

    /// What has to happen before `goal` is reached; `None` if it is.
    pub(super) fn need(&self, of: Option<Version>, goal: Goal) -> Result<Option<Need>, Error> {
        self.check(of)?;
        let need = match (goal, &self.source) {
            (Goal::Committed, _) | (_, None) => Some(Need::News),
            // What was given back is an error whenever it is asked for.
            (Goal::Covered(range), Some(source)) => {
                source.first_missing(self.within(range))?.map(Need::Byte)
            }
        };
        match (&self.ending, need) {
            (Some(Ending::Committed(_)), _) => Ok(None),
            // What was there when it failed is there still; nothing comes any more.
            (Some(Ending::Failed(reason)), Some(_)) => Err(reason.clone()),
            (_, need) => Ok(need),
        }
    }

    fn has_failed(&self) -> bool {
        matches!(self.ending, Some(Ending::Failed(_)))
    }

    /// The driver has to hear of what is wanted.
    pub(super) fn wants_changed(&mut self) {
        if self.ending.is_some() {
            // Nobody hears of it any more.
            self.wants.unheard = Heard::default();
            self.wants.spans_unheard = false;
        }
        let told = [self.driver.take(), self.held.take()];
        told.into_iter().flatten().for_each(Waker::wake);
    }

    pub(super) fn read_is_over(&mut self) {
        self.reads -= 1;
        if self.reads == 0
            && let Some(closing) = self.closing.take()
        {
            closing.wake();
        }
    }

    /// Who is to be woken, once the state is not locked any more: a waker may do whatever it likes, such as read.
    fn due(&self, is_due: impl Fn(Need) -> bool) -> Vec<Waker> {
        let due = self.waiters.iter().filter(|waiter| is_due(waiter.need));
        due.map(|waiter| waiter.waker.clone()).collect()
    }
}

impl Core {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                version: Version(0),
                source: None,
                total: None,
                media_type: None,
                ranges: None,
                ending: None,
                wants: Wants::default(),
                reads: 0,
                unread: false,
                waiters: Vec::new(),
                next_seat: 0,
                driver: None,
                held: None,
                closing: None,
            }),
            seated: AtomicUsize::new(0),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Each step leaves it whole: what a panic may have left undone is a waker that was not called.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a waiter a seat.
    pub(super) fn sit(&self, state: &mut State, need: Need, waker: &Waker) -> u64 {
        state.next_seat += 1;
        state.waiters.push(Waiter {
            seat: state.next_seat,
            need,
            waker: waker.clone(),
        });
        self.seated.store(state.waiters.len(), Ordering::SeqCst);
        state.next_seat
    }

    /// Takes a seat back. The waker is to be dropped when the state is not locked any more: with it may go whatever waited.
    #[must_use]
    pub(super) fn leave(&self, state: &mut State, seat: u64) -> Option<Waker> {
        let index = state.waiters.iter().position(|waiter| waiter.seat == seat);
        let left = index.map(|index| state.waiters.swap_remove(index).waker);
        self.seated.store(state.waiters.len(), Ordering::SeqCst);
        left
    }

    /// These bytes are covered. Called when the part shows it to readers, whose lock orders it with who has just sat down.
    pub(crate) fn published(&self, range: ByteRange) {
        if self.seated.load(Ordering::SeqCst) > 0 && !range.is_empty() {
            let is_due = |need| matches!(need, Need::Byte(at) if range.contains(at));
            let due = self.lock().due(is_due);
            due.into_iter().for_each(Waker::wake);
        }
    }

    /// What could be read before cannot be read any more: who waits for more than that looks again.
    pub(crate) fn gave_back(&self) {
        self.news(|_| {});
    }

    /// Changes what is true of it, and wakes everybody.
    fn news(&self, change: impl FnOnce(&mut State)) {
        let due = {
            let mut state = self.lock();
            change(&mut state);
            state.due(|_| true)
        };
        due.into_iter().for_each(Waker::wake);
    }

    /// From now on these bytes may be read: they belong to what the origin serves.
    pub(crate) fn opened(&self, source: Arc<dyn Source>, identity: &Identity) {
        self.news(|state| {
            state.source = Some(source);
            state.total = identity.total;
            state.media_type.clone_from(&identity.media_type);
        });
    }

    /// What the machine knows by now.
    pub(crate) fn knows(&self, total: Option<u64>, ranges: Option<bool>) {
        let is_new = {
            let state = self.lock();
            (state.total, state.ranges) != (total, ranges) && state.source.is_some()
        };
        // Only the driver calls this, as all that changes what is true.
        if is_new {
            self.news(|state| (state.total, state.ranges) = (total, ranges));
        }
    }

    /// What could be read belongs to nothing any more. Called before any byte of it is overwritten.
    pub(crate) fn restarted(&self) {
        self.news(|state| {
            if state.source.take().is_some() {
                state.version = Version(state.version.0 + 1);
                (state.total, state.media_type, state.ranges) = (None, None, None);
            }
        });
    }

    /// It is over; only the first word of that counts.
    pub(crate) fn end(&self, ending: Ending) {
        if let Ending::Failed(reason) = &ending
            && !is_readable_after(reason.kind())
        {
            // Before anybody hears of the end: who does may want the part.
            self.close(|state| state.ending.is_none());
        }
        self.news(|state| {
            if state.ending.is_some() {
                return;
            }
            match &ending {
                Ending::Committed(len) => state.total = Some(*len),
                Ending::Failed(reason) if is_readable_after(reason.kind()) && !state.unread => {}
                Ending::Failed(_) => state.source = None,
            }
            state.ending = Some(ending);
        });
    }

    /// The part of a download that failed is to be free for who goes on with it: nothing is read from it any more.
    pub(crate) fn give_up(&self) {
        self.close(|state| state.has_failed());
    }

    /// Nobody can read any more: what a failed download has left is let go of.
    pub(super) fn unread(&self) {
        self.close(|state| {
            state.unread = true;
            state.has_failed()
        });
    }

    /// Lets the files go, if the state is so. That may take its time, and the state is not locked meanwhile.
    fn close(&self, is_due: impl FnOnce(&mut State) -> bool) {
        let left = {
            let mut state = self.lock();
            let is_due = is_due(&mut state);
            state.source.take_if(|_| is_due)
        };
        drop(left);
    }

    /// Ready when no read is under way.
    pub(crate) fn poll_quiet(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.reads == 0 {
            return Poll::Ready(());
        }
        state.closing = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready when there is word of what readers want.
    pub(crate) fn poll_wants(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.wants.is_unheard() {
            return Poll::Ready(());
        }
        let known = state
            .driver
            .as_ref()
            .is_some_and(|driver| driver.will_wake(cx.waker()));
        if !known {
            state.driver = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ready if there is no window, or what readers want reaches beyond `at`.
    pub(crate) fn poll_reach(&self, cx: &Context<'_>, at: u64) -> Poll<()> {
        let mut state = self.lock();
        if state.wants.reach().is_none_or(|reach| reach > at) {
            state.held = None;
            return Poll::Ready(());
        }
        state.held = Some(cx.waker().clone());
        Poll::Pending
    }

    /// True while a body waits until readers come nearer.
    pub(crate) fn holds_up(&self) -> bool {
        self.lock().held.is_some()
    }

    /// What is new of what readers want.
    pub(crate) fn take_wants(&self) -> Heard {
        self.lock().wants.take()
    }

    /// All that readers want.
    pub(crate) fn take_all_wants(&self) -> Heard {
        self.lock().wants.take_all()
    }
}

/// Readers of a download hear of its end, whatever becomes of its driver.
pub(crate) struct LastWord(pub(crate) Option<Arc<Core>>);

impl LastWord {
    /// The outcome.
    pub(crate) fn end(&self, result: &Result<Completed, Error>) {
        if let Some(core) = &self.0 {
            core.end(Ending::of(result));
        }
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        self.end(&Err(Error::new(
            Kind::Other,
            "the engine stopped: this is a bug",
        )));
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}
