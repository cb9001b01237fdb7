//! Calls to the disk that the data thread does not make itself: opening a part, and putting a file in place.
//!
//! Read [`Desk`]. A thread for each such call costs more than the call where no device is waited for: with thousands of
//! small files most of the time went into waking threads. So one thread serves them all in turn, and another one joins it
//! only where the first is found waiting.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

/// A thread that has been with one call for so long waits for a device: many calls of a memory file system take less.
const WAITS: Duration = Duration::from_micros(200);
/// A call that nobody has taken up for so long gets a thread of its own, at the latest.
pub(crate) const PATIENCE: Duration = Duration::from_millis(5);

type Piece = Box<dyn FnOnce() + Send>;

/// Makes calls on other threads, in the order they come. Clones share the threads.
#[derive(Clone, Default)]
pub(crate) struct Desk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Piece>,
    /// Since when each thread has been with its call.
    serving: Vec<Option<Instant>>,
}

/// A call that was left at the desk. Dropped before its end, it is made all the same.
pub(crate) struct Call<R>(oneshot::Receiver<thread::Result<R>>);

impl<R> Future for Call<R> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        Pin::new(&mut self.0).poll(cx).map(|made| match made {
            Ok(Ok(result)) => result,
            // As if it had been called here.
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => panic!("a call is made before its desk goes"),
        })
    }
}

impl Desk {
    /// Has `work` done. Needs the runtime around it, whose threads these are.
    pub(crate) fn leave<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Call<R> {
        let (told, result) = oneshot::channel();
        let piece = move || {
            // It owns all it touches. Who asked may have gone: then nobody wants the result.
            drop(told.send(catch_unwind(AssertUnwindSafe(work))));
        };
        let mut state = self.state();
        state.waiting.push_back(Box::new(piece));
        if state.all_wait() {
            self.serve_with_one_more(state);
        }
        Call(result)
    }

    /// What waits has waited for [`PATIENCE`]: it gets a thread.
    pub(crate) fn hurry(&self) {
        let state = self.state();
        if !state.waiting.is_empty() {
            self.serve_with_one_more(state);
        }
    }

    fn serve_with_one_more(&self, mut state: MutexGuard<'_, State>) {
        let place = state.serving.iter().position(Option::is_none);
        let place = place.unwrap_or_else(|| {
            state.serving.push(None);
            state.serving.len() - 1
        });
        state.serving[place] = Some(now());
        drop(state);
        let desk = self.clone();
        // It ends by itself, and nothing is to be learned from that.
        drop(spawn_blocking(move || desk.serve(place)));
    }

    /// Makes calls until none is left.
    fn serve(&self, place: usize) {
        loop {
            let mut state = self.state();
            let Some(piece) = state.waiting.pop_front() else {
                state.serving[place] = None;
                return;
            };
            state.serving[place] = Some(now());
            drop(state);
            piece();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// True if no thread is expected to be free at once.
    fn all_wait(&self) -> bool {
        let mut serving = self.serving.iter().flatten();
        serving.all(|since| since.elapsed() >= WAITS)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a thread of this process is with the system; no download knows of it"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::careful::unharmed;

    #[tokio::test]
    async fn every_call_is_made_and_a_panic_is_that_of_who_asked() {
        let desk = Desk::default();
        let calls: Vec<_> = (0..1_000u64).map(|n| desk.leave(move || n)).collect();
        let fallen = desk.leave(|| -> u64 { panic!("on purpose") });
        drop(desk.leave(|| ()));
        let mut sum = 0;
        for call in calls {
            sum += call.await;
        }
        assert_eq!(sum, 499_500);
        assert!(unharmed(fallen).await.is_err());
        assert_eq!(desk.leave(|| 1).await, 1);
    }

    /// One call waits for a device, and the others do not wait for it.
    #[tokio::test]
    async fn a_call_that_hangs_holds_up_no_other() {
        let desk = Desk::default();
        let (let_go, held) = mpsc::channel::<()>();
        let hangs = desk.leave(move || held.recv().is_ok());
        // At once: the thread may still seem to be quick. Whoever waits looks after it.
        let mut next = desk.leave(|| 2);
        let mut made = None;
        for _ in 0..2_000 {
            made = tokio::time::timeout(PATIENCE, &mut next).await.ok();
            if made.is_some() {
                break;
            }
            desk.hurry();
        }
        assert_eq!(made, Some(2));
        let_go.send(()).unwrap();
        assert!(hangs.await);
        // Threads that have nothing to do go.
        let calls: Vec<_> = (0..100).map(|n| desk.leave(move || n)).collect();
        for call in calls {
            call.await;
        }
        assert!(desk.state().waiting.is_empty());
    }
}
