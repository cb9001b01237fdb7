//! What the network brings to this process, shared by everything that fetches and everything that plays.
//!
//! Read [`Sampler`]. `tur_sched::abr::Bandwidth` has the law; this is where it lives, and a fetch that is under way is a
//! value here ([`UnderWay`]), so that its end is told however it ends: by a return, an error, or a future that is dropped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tur_core::Rate;
use tur_sched::abr::Bandwidth;

use crate::clock::Clock;

/// The bandwidth of a downloader. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    bandwidth: Arc<Mutex<Bandwidth>>,
    clock: Clock,
}

/// A fetch that is under way, from its request on. Dropped, it is not.
#[derive(Debug)]
#[must_use = "dropped, the fetch is no longer under way"]
pub(crate) struct UnderWay {
    sampler: Sampler,
    /// True while it waits for its reader: the network does not owe that time.
    stands: bool,
}

impl Sampler {
    /// Nothing measured yet.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            bandwidth: Arc::default(),
            clock,
        }
    }

    /// The request of a fetch is being sent.
    pub(crate) fn fetch_began(&self) -> UnderWay {
        self.lock().begin(self.clock.now());
        UnderWay {
            sampler: self.clone(),
            stands: false,
        }
    }

    /// What the network brings, for each `Abr`; `None` before there is evidence.
    pub(crate) fn estimate(&self) -> Option<Rate> {
        self.lock().estimate(self.clock.now())
    }

    fn lock(&self) -> MutexGuard<'_, Bandwidth> {
        // Each step leaves the averages whole, so a panic elsewhere spoils nothing.
        self.bandwidth
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// It begins to wait for its reader, or goes on.
    pub(crate) fn stand(&mut self, stands: bool) {
        if stands != std::mem::replace(&mut self.stands, stands) {
            let now = self.sampler.clock.now();
            let mut bandwidth = self.sampler.lock();
            if stands {
                bandwidth.end(now);
            } else {
                bandwidth.begin(now);
            }
        }
    }

    /// Bytes came from the network. Told in batches, the last one before the end.
    pub(crate) fn landed(&self, bytes: u64) {
        let now = self.sampler.clock.now();
        self.sampler.lock().landed(now, bytes);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.stand(true);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn downloads_that_share_a_link_are_one_sample() {
        let sampler = Sampler::new(Clock::start());
        let other = sampler.clone();
        let (one, two) = (sampler.fetch_began(), other.fetch_began());
        assert_eq!(sampler.estimate(), None);
        for _ in 0..4 {
            advance(SECOND).await;
            one.landed(500_000);
            two.landed(500_000);
        }
        assert_eq!(sampler.estimate(), Some(Rate::per_second(1_000_000)));
        assert_eq!(other.estimate(), sampler.estimate());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_is_dropped_is_no_longer_under_way() {
        let sampler = Sampler::new(Clock::start());
        let fetch = sampler.fetch_began();
        advance(SECOND).await;
        fetch.landed(1_000_000);
        let running = async {
            let _fetch = fetch;
            std::future::pending::<()>().await;
        };
        drop(running);
        advance(60 * SECOND).await;
        assert_eq!(sampler.estimate(), Some(Rate::per_second(1_000_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_its_time_does_not_make_the_network_slow() {
        let sampler = Sampler::new(Clock::start());
        let mut fetch = sampler.fetch_began();
        for _ in 0..10 {
            advance(SECOND).await;
            fetch.landed(1_000_000);
            fetch.stand(true);
            advance(SECOND).await;
            fetch.stand(false);
        }
        assert_eq!(sampler.estimate(), Some(Rate::per_second(1_000_000)));
        fetch.stand(true);
        drop(fetch);
        let next = sampler.fetch_began();
        advance(SECOND).await;
        next.landed(1_000_000);
        assert_eq!(sampler.estimate(), Some(Rate::per_second(1_000_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_elsewhere_leaves_it_whole() {
        let sampler = Sampler::new(Clock::start());
        let fetch = sampler.fetch_began();
        let inner = sampler.clone();
        let thread = std::thread::spawn(move || {
            let _held = inner.bandwidth.lock();
            panic!("on purpose");
        });
        assert!(thread.join().is_err() && sampler.bandwidth.is_poisoned());
        advance(SECOND).await;
        fetch.landed(1_000_000);
        assert_eq!(sampler.estimate(), Some(Rate::per_second(1_000_000)));
    }
}
