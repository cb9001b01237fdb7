//! Calls to the disk that the data thread makes itself and that do not come back: it hangs with them, so another thread tells.
//!
//! Read [`Lookout`]. What is written costs two additions more: the lookout counts on its own clock how long it has seen the
//! same call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tur_core::Timestamp;
use tur_sched::WaitsFor;

use crate::What;
use crate::board::Board;
use crate::clock::Clock;
use crate::desk::now;

/// Bounds of the time between two looks; an eighth of what is too long otherwise.
const OFTEN: Duration = Duration::from_millis(10);
const SELDOM: Duration = Duration::from_secs(5);

/// Looks after the files of a downloader, on a thread that there is while there are any. Clones share it.
#[derive(Clone)]
pub(crate) struct Lookout {
    shared: Arc<Shared>,
    _life: Arc<Life>,
}

struct Shared {
    /// A call that takes longer is told, and again at each doubling.
    hang: Duration,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    files: Vec<Seen>,
    looks: bool,
    over: bool,
}

/// A file, as the lookout saw it last.
struct Seen {
    calls: Weak<Calls>,
    count: u64,
    /// It has been so since then, and was told to have lasted for less than this.
    since: Instant,
    next: Duration,
}

/// The calls for one file.
#[derive(Default)]
pub(crate) struct Calls {
    /// Those that began and those that came back: odd while one is under way.
    count: AtomicU64,
    /// Nobody once the file is done with: nothing is told of a download after its end.
    teller: Mutex<Option<Teller>>,
}

/// Who is told.
struct Teller {
    board: Board,
    clock: Clock,
    began: Timestamp,
}

/// A file that is looked after, until this is dropped.
pub(crate) struct Watched(Arc<Calls>);

/// Lets the thread end with the last clone of its lookout.
struct Life(Arc<Shared>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.state().over = true;
        self.0.wake.notify_all();
    }
}

impl Lookout {
    /// Nothing may take longer than `hang` without being told.
    pub(crate) fn new(hang: Duration) -> Self {
        let shared = Arc::new(Shared {
            hang,
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        Self {
            _life: Arc::new(Life(Arc::clone(&shared))),
            shared,
        }
    }

    /// Looks after the calls for a file; what it finds is told on this board, of what began then.
    pub(crate) fn watch(&self, board: Board, clock: Clock, began: Timestamp) -> Watched {
        let teller = Teller {
            board,
            clock,
            began,
        };
        let calls = Arc::new(Calls {
            count: AtomicU64::new(0),
            teller: Mutex::new(Some(teller)),
        });
        let mut state = self.shared.state();
        state.files.push(Seen {
            calls: Arc::downgrade(&calls),
            count: 0,
            since: now(),
            next: self.shared.hang,
        });
        if !state.looks {
            let shared = Arc::clone(&self.shared);
            let began = thread::Builder::new()
                .name("tur-lookout".into())
                .spawn(move || shared.look());
            match began {
                Ok(_) => state.looks = true,
                Err(error) => tracing::warn!(%error, "nobody will tell if a write hangs"),
            }
        }
        Watched(calls)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Looks now and then, until there has been nothing to look after between two looks.
    fn look(&self) {
        let every = (self.hang / 8).clamp(OFTEN, SELDOM);
        let mut state = self.state();
        loop {
            let waited = self.wake.wait_timeout(state, every);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.over || state.files.is_empty() {
                state.looks = false;
                return;
            }
            let now = now();
            let mut late = Vec::new();
            state.files.retain_mut(|seen| {
                let Some(calls) = seen.calls.upgrade() else {
                    return false;
                };
                if let Some(lasted) = seen.again(now, calls.count(), self.hang) {
                    late.push((calls, seen.count, lasted));
                }
                true
            });
            drop(state);
            for (calls, count, lasted) in late {
                calls.tell(count, lasted);
            }
            state = self.state();
        }
    }
}

impl Seen {
    /// How long a call has lasted, if that is to be told.
    fn again(&mut self, now: Instant, count: u64, hang: Duration) -> Option<Duration> {
        if count.is_multiple_of(2) || count != self.count {
            (self.count, self.since, self.next) = (count, now, hang);
            return None;
        }
        let lasted = now.saturating_duration_since(self.since);
        if lasted < self.next {
            return None;
        }
        while self.next <= lasted {
            self.next = self.next.saturating_mul(2).max(OFTEN);
        }
        Some(lasted)
    }
}

impl Calls {
    /// Makes a call. One thread makes all of a file, one after the other.
    pub(crate) fn during<R>(&self, call: impl FnOnce() -> R) -> R {
        /// It is back, by a panic too.
        struct Back<'a>(&'a AtomicU64);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let _back = Back(&self.count);
        call()
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn tell(&self, count: u64, lasted: Duration) {
        let teller = lock(&self.teller);
        if let Some(teller) = &*teller
            && self.count() == count
        {
            let what = What::Stalled {
                lane: None,
                waits_for: Some(WaitsFor::Disk),
                lasted,
            };
            tracing::warn!(
                id = teller.board.id(),
                ?lasted,
                "a write does not come back"
            );
            let t = teller.clock.now().since(teller.began);
            teller.board.tell(t, what);
        }
    }
}

impl Watched {
    /// What the calls are made by.
    pub(crate) fn calls(&self) -> Arc<Calls> {
        Arc::clone(&self.0)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        *lock(&self.0.teller) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each step leaves what is behind it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_call_is_told_once_it_has_lasted_and_at_each_doubling() {
        let (start, hang) = (now(), 60 * SECOND);
        let mut seen = Seen {
            calls: Weak::new(),
            count: 0,
            since: start,
            next: hang,
        };
        let mut told = Vec::new();
        for secs in (0..300).step_by(5) {
            // Idle, then many calls, then one that stays from 20 s to 280 s, then another.
            let count = match secs {
                0 => 0,
                5..20 => 2 * secs + 1,
                20..280 => 999,
                _ => 1_001,
            };
            let at = start + Duration::from_secs(secs);
            told.extend(seen.again(at, count, hang).map(|lasted| (secs, lasted)));
        }
        let want = [(80, 60), (140, 120), (260, 240)];
        assert_eq!(
            told,
            want.map(|(secs, lasted)| (secs, Duration::from_secs(lasted)))
        );
        assert_eq!(seen.again(start + 2_000 * SECOND, 1_002, hang), None);
    }

    #[test]
    fn a_call_that_panics_is_back() {
        let calls = Calls::default();
        assert_eq!(calls.during(|| calls.count()), 1);
        let fallen = crate::careful::caught(|| calls.during(|| panic!("on purpose")));
        assert!(fallen.is_err());
        assert_eq!(calls.count(), 4);
    }
}
