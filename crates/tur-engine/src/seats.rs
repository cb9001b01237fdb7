//! How many downloads have files open at a time: the others wait for their turn, in the order they came.
//!
//! Read [`Seats`]. Part, journal and directory are three descriptors for as long as a download runs; a thousand of them
//! would leave none for connections.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::driver::{Outside, or_cancelled};

/// One download for so many descriptors that the process may have: half of all for files, of which a download has
/// three, and one while it opens or removes them; the rest is for connections.
const DESCRIPTORS_EACH: u64 = 8;

/// The turns of a downloader. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Seats(Arc<Semaphore>);

/// A turn, until it is dropped.
pub(crate) type Seat = OwnedSemaphorePermit;

impl Seats {
    /// For a process that may have so many descriptors; `None` if there is no limit.
    pub(crate) fn new(descriptors: Option<u64>) -> Self {
        let seats = descriptors.map_or(u64::MAX, |all| (all / DESCRIPTORS_EACH).max(1));
        let seats = usize::try_from(seats).unwrap_or(usize::MAX);
        Self(Arc::new(Semaphore::new(seats.min(Semaphore::MAX_PERMITS))))
    }

    /// Waits for a turn; `None` if the caller, or the whole downloader, wants no more. A download that is paused keeps
    /// its turn, and its files.
    pub(crate) async fn take(&self, outside: &mut Outside) -> Option<Seat> {
        let seat = or_cancelled(outside, Arc::clone(&self.0).acquire_owned()).await?;
        Some(seat.expect("the turns are never closed"))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::watch;

    use super::*;
    use crate::board::Board;
    use crate::bus::Bus;
    use crate::clock::Clock;
    use crate::handle::Wish;

    type Ends = (watch::Sender<Wish>, watch::Sender<()>);

    fn outside() -> (Outside, Ends) {
        let (wishes, commands) = watch::channel(Wish::default());
        let (living, life) = watch::channel(());
        let board = Board::new(1, Bus::new(Clock::start()).scope().clone());
        let outside = Outside {
            board,
            commands,
            life,
        };
        (outside, (wishes, living))
    }

    /// Without a runtime, which would make it yield after so many turns in a row.
    #[test]
    fn there_are_as_many_turns_as_descriptors_allow_and_one_at_least() {
        for (descriptors, turns) in [(0, 1), (15, 1), (256, 32), (1024, 128)] {
            let seats = Seats::new(Some(descriptors));
            let (mut outside, _ends) = outside();
            let mut taken = Vec::new();
            while let Some(seat) = seats.take(&mut outside).now_or_never() {
                taken.push(seat.expect("nobody cancels"));
            }
            assert_eq!(taken.len(), turns);
            taken.pop();
            assert!(seats.take(&mut outside).now_or_never().is_some());
        }
    }

    #[tokio::test]
    async fn who_waits_can_be_cancelled() {
        let seats = Seats::new(Some(1));
        let (mut first, _ends) = outside();
        let _seat = seats.take(&mut first).await;
        let (mut second, (wishes, living)) = outside();
        assert!(seats.take(&mut second).now_or_never().is_none());
        wishes.send_modify(|wish| wish.cancelled = true);
        assert!(seats.take(&mut second).await.is_none());
        drop((wishes, living));
    }
}
