//! What the readers of a download want, told to its machine, and what the machine knows, told to them.
//!
//! Read [`Driver::heed_readers`]. That bytes are covered they hear from the write itself.

use tur_core::Timestamp;
use tur_core::port::Transport;
use tur_sched::Event;
use tur_storage::Disk;

use super::Driver;
use super::file::ToFile;
use crate::reading::Heard;

impl<T: Transport, D: Disk + Clone> Driver<'_, T, D, ToFile<'_, D>> {
    /// Hands on what readers want by now.
    pub(super) fn heed_readers(&mut self) {
        let Some(reading) = &self.store.job.reading else {
            return;
        };
        let heard = reading.take_wants();
        if !heard.demands.is_empty() {
            // Who waits for the next byte of a lane is served by it: told late how far that is, the machine would cut it.
            self.tell_written();
        }
        for event in events(heard) {
            self.tell_machine(event);
        }
    }

    /// Tells a machine that has just begun what is wanted.
    pub(super) fn tell_all_wants(&mut self, now: Timestamp) {
        let looks = self.store.compare.is_some();
        let Some(reading) = self.store.job.reading.as_ref().filter(|_| !looks) else {
            return;
        };
        for event in events(reading.take_all_wants()) {
            self.transfer.handle(now, event);
        }
    }

    /// Tells readers what the machine knows.
    pub(super) fn tell_readers(&self) {
        if let Some(reading) = &self.store.job.reading {
            let total = self.transfer.ledger().total();
            reading.knows(total, self.transfer.facts().ranges);
        }
    }
}

fn events(heard: Heard) -> impl Iterator<Item = Event> {
    let withdrawn = heard.withdrawn.into_iter().map(Event::Withdrawn);
    let spans = heard
        .spans
        .into_iter()
        .flat_map(|(window, ahead)| [Event::Window(window), Event::Ahead(ahead)]);
    let demands = heard.demands.into_iter().map(Event::Demand);
    withdrawn.chain(spans).chain(demands)
}
