//! A small pool of threads for work that needs a processor, not a socket: digests that follow a download.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crossbeam_deque::{Injector, Steal};
use tokio::sync::oneshot;

/// Threads of the pool: digests of a few downloads keep no more busy.
const THREADS_MAX: usize = 4;

type Piece = Box<dyn FnOnce() + Send>;

/// Runs pieces of work in the order they come. Dropping the last clone lets the threads finish and end.
#[derive(Clone)]
pub(crate) struct Compute {
    shared: Arc<Shared>,
    _life: Arc<Life>,
}

struct Shared {
    queue: Injector<Piece>,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    threads: usize,
    idle: usize,
    over: bool,
}

/// Ends the threads when the last clone of the pool goes.
struct Life(Arc<Shared>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .over = true;
        self.0.wake.notify_all();
    }
}

impl Compute {
    pub(crate) fn new() -> Self {
        let shared = Arc::new(Shared {
            queue: Injector::new(),
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        Self {
            _life: Arc::new(Life(Arc::clone(&shared))),
            shared,
        }
    }

    /// Runs `work` on a thread of the pool. The receiver fails only if `work` panics, or no thread can be had.
    pub(crate) fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> oneshot::Receiver<R> {
        let (done, result) = oneshot::channel();
        // Who asked may have gone: then nobody wants the result.
        self.shared
            .queue
            .push(Box::new(move || drop(done.send(work()))));
        let mut state = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let limit = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(THREADS_MAX);
        if state.idle == 0 && state.threads < limit {
            let shared = Arc::clone(&self.shared);
            let began = thread::Builder::new()
                .name("tur-compute".into())
                .spawn(move || shared.serve());
            match began {
                Ok(_) => state.threads += 1,
                Err(error) => tracing::warn!(%error, "no thread for digests"),
            }
            if state.threads == 0 {
                // Nobody will take it: who waits for it is told by the channel it drops.
                while !self.shared.queue.is_empty() {
                    drop(self.shared.queue.steal());
                }
            }
        }
        drop(state);
        self.shared.wake.notify_one();
        result
    }
}

impl Shared {
    fn serve(&self) {
        loop {
            match self.queue.steal() {
                Steal::Success(piece) => {
                    // A piece owns all it touches, so nothing half done is seen after its panic; who waits for its
                    // result is told by the channel it drops.
                    if catch_unwind(AssertUnwindSafe(piece)).is_err() {
                        tracing::error!("a piece of work panicked");
                    }
                }
                Steal::Retry => {}
                Steal::Empty => {
                    let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    // Looked at under the lock: a piece pushed before the lock was taken is seen here, one pushed after
                    // finds this thread idle and wakes it.
                    if !self.queue.is_empty() {
                        continue;
                    }
                    if state.over {
                        return;
                    }
                    state.idle += 1;
                    state = self
                        .wake
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                    state.idle -= 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_piece_runs_and_a_panic_costs_only_its_own() {
        let compute = Compute::new();
        assert!(compute.run(|| panic!("on purpose")).await.is_err());
        let results: Vec<_> = (0..100u64).map(|n| compute.run(move || n * n)).collect();
        let mut sum = 0;
        for result in results {
            sum += result.await.expect("ran");
        }
        assert_eq!(sum, (0..100).map(|n| n * n).sum::<u64>());
    }
}
