//! How the items of a run have ended, and the exit code that this comes to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tur_engine::{Completed, Error, Kind};

/// Counts a run.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Of each item, whether it is still to be done: it has not ended, or not well.
    left: Vec<bool>,
    /// Files of finished items that another one might take for its own.
    made: BTreeMap<usize, PathBuf>,
    /// Complete, those that were here already with them.
    pub(crate) done: usize,
    pub(crate) already: usize,
    pub(crate) failed: usize,
    /// Length of the files that are done and were not here already.
    pub(crate) bytes: u64,
    /// What of it this run has fetched.
    pub(crate) fetched: u64,
    /// The first failures.
    pub(crate) failures: Vec<Error>,
    worst: Option<Kind>,
}

impl Tally {
    /// A run of so many items, none of which has begun.
    pub(crate) fn new(items: usize) -> Self {
        Self {
            left: vec![true; items],
            made: BTreeMap::new(),
            done: 0,
            already: 0,
            failed: 0,
            bytes: 0,
            fetched: 0,
            failures: Vec::new(),
            worst: None,
        }
    }

    /// Counts the end of an item. One that was interrupted stays unfinished.
    pub(crate) fn count(&mut self, item: usize, outcome: &Result<Completed, Error>) {
        match outcome {
            Ok(done) => {
                self.left[item] = false;
                self.done += 1;
                self.already += usize::from(done.already);
                if !done.already {
                    let fetched = done.bytes.saturating_sub(done.resumed_bytes);
                    self.bytes = self.bytes.saturating_add(done.bytes);
                    self.fetched = self.fetched.saturating_add(fetched);
                }
            }
            Err(error) if error.kind() == Kind::Signal => {}
            Err(error) => {
                self.failed += 1;
                self.blame(error.kind());
                if self.failures.len() < FAILURES_KEPT {
                    self.failures.push(error.clone());
                }
            }
        }
    }

    /// An item has become this file, which another one might take for its own.
    pub(crate) fn make(&mut self, item: usize, file: PathBuf) {
        self.made.insert(item, file);
    }

    /// Something went wrong that is no item's failure.
    pub(crate) fn blame(&mut self, kind: Kind) {
        let worst = self.worst.map_or(kind, |worst| worse(worst, kind));
        self.worst = Some(worst);
    }

    /// How many items there are.
    pub(crate) fn items(&self) -> usize {
        self.left.len()
    }

    /// Items that have ended, well or not.
    pub(crate) fn ended(&self) -> usize {
        self.done + self.failed
    }

    /// Items that were interrupted or have not begun.
    pub(crate) fn unfinished(&self) -> usize {
        self.items() - self.ended()
    }

    /// Of each item, whether it is still to be done.
    pub(crate) fn left(&self) -> &[bool] {
        &self.left
    }

    /// Files of finished items that another one might take for its own.
    pub(crate) fn made(&self) -> &BTreeMap<usize, PathBuf> {
        &self.made
    }

    /// The exit code; `signal` is that of the signal which came, if one did. An interruption comes before any failure.
    pub(crate) fn exit_code(&self, signal: Option<u8>) -> u8 {
        if self.unfinished() > 0 {
            return signal.unwrap_or(Kind::Signal.exit_code());
        }
        self.failure()
    }

    /// The exit code that the failures come to, whatever was interrupted; 0 without any.
    pub(crate) fn failure(&self) -> u8 {
        self.worst.map_or(0, Kind::exit_code)
    }
}

/// The one of two that the exit code tells.
fn worse(a: Kind, b: Kind) -> Kind {
    let rank = |kind| WORST_FIRST.iter().position(|other| *other == kind);
    // What is not in the list comes after all that is.
    let rank = |kind| rank(kind).unwrap_or(WORST_FIRST.len());
    if rank(b) < rank(a) { b } else { a }
}

/// Failures that are told again in the end.
const FAILURES_KEPT: usize = 20;

/// Several failures: the exit code is that of the first in this order. First come those that a person has to do something about.
const WORST_FIRST: [Kind; 14] = [
    Kind::DiskFull,
    Kind::Local,
    Kind::Checksum,
    Kind::Changed,
    Kind::Tls,
    Kind::Auth,
    Kind::Server,
    Kind::Network,
    Kind::Protocol,
    Kind::Policy,
    Kind::Limit,
    Kind::Busy,
    Kind::NotResumable,
    Kind::Other,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_codes_is_the_promised_one() {
        let codes = WORST_FIRST.map(Kind::exit_code);
        assert_eq!(codes, [9, 3, 10, 11, 5, 6, 8, 4, 7, 13, 14, 15, 12, 1]);
        for (i, a) in WORST_FIRST.into_iter().enumerate() {
            for (j, b) in WORST_FIRST.into_iter().enumerate() {
                let mut tally = Tally::new(0);
                tally.blame(a);
                tally.blame(b);
                assert_eq!(tally.exit_code(None), WORST_FIRST[i.min(j)].exit_code());
            }
        }
        let mut tally = Tally::new(0);
        tally.blame(Kind::Usage);
        assert_eq!(tally.exit_code(None), 2);
        tally.blame(Kind::Other);
        assert_eq!(tally.exit_code(None), 1);
    }

    #[test]
    fn what_has_not_ended_is_an_interruption() {
        let mut tally = Tally::new(3);
        let done = |already| {
            Ok(Completed {
                bytes: 5,
                already,
                ..Completed::default()
            })
        };
        tally.count(1, &done(false));
        tally.count(2, &done(true));
        assert_eq!(
            (tally.left(), tally.unfinished()),
            (&[true, false, false][..], 1)
        );
        assert_eq!(
            (tally.exit_code(Some(143)), tally.exit_code(None)),
            (143, 130)
        );
        tally.count(0, &done(false));
        assert_eq!((tally.done, tally.already, tally.bytes), (3, 1, 10));
        // A signal that came too late stopped nothing.
        assert_eq!(tally.exit_code(Some(143)), 0);
        assert_eq!(Tally::new(0).exit_code(None), 0);
    }
}
