//! What is downloaded while it is killed: sizes, lanes, paces and validators, drawn from a seed.

use tur_core::Rate;
use tur_sim::Dice;
use tur_testkit::{Behaviour, weak};

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// Bytes.
    pub(crate) size: u64,
    /// Connections, from the start.
    pub(crate) lanes: u16,
    /// What the origin gives each connection.
    pub(crate) pace: Rate,
    /// False for a weak entity tag: what has landed proves nothing then, and each run begins from zero.
    pub(crate) is_strong: bool,
    /// The backend that is asked for, where there is a choice.
    pub(crate) storage: Option<&'static str>,
}

impl Case {
    /// What the origin does.
    pub(crate) fn behaviour(&self) -> Behaviour {
        let mut behaviour = Behaviour::new(self.size).pace(self.pace);
        if !self.is_strong {
            behaviour.etag = Some(weak("v0"));
        }
        behaviour
    }
}

/// So many files. Lanes, paces, validators and backends take turns, so that each of them is there; sizes are drawn.
pub(crate) fn draw(files: usize, has_backends: bool, dice: &Dice) -> Vec<Case> {
    let mut dice = dice.fork(0);
    (0..files)
        .map(|n| {
            let lanes = LANES[n % LANES.len()];
            // A whole download is to take some seconds at most, and the slowest of few connections bound the size.
            let pace = dice.pick(&PACES);
            let longest = pace.bytes_per_second() * u64::from(lanes) * SECONDS_MAX;
            let most = longest.min(SIZE_MAX);
            // Each power of two is as likely as any other.
            let power = dice.between(SIZE_MIN.ilog2().into(), u64::from(most.ilog2()) - 1);
            let size = (1 << power) + dice.below(1 << power);
            Case {
                size,
                lanes,
                pace,
                is_strong: n % WEAK_EACH != WEAK_EACH - 1,
                storage: has_backends.then(|| BACKENDS[n % BACKENDS.len()]),
            }
        })
        .collect()
}

/// Lanes take turns.
const LANES: [u16; 6] = [1, 2, 4, 8, 16, 3];

/// Paces of a connection, in bytes per second.
const PACES: [Rate; 4] = [
    Rate::per_second(1 << 20),
    Rate::per_second(4 << 20),
    Rate::per_second(16 << 20),
    Rate::per_second(64 << 20),
];

/// Backends take turns, where there is a choice.
const BACKENDS: [&str; 3] = ["auto", "pwrite", "mmap"];

/// Each so many files one has a weak validator.
const WEAK_EACH: usize = 10;

/// Bytes of the smallest and of the largest file.
const SIZE_MIN: u64 = 8 << 10;
const SIZE_MAX: u64 = 64 << 20;

/// How long a download takes at most that nobody kills.
const SECONDS_MAX: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_files_and_all_kinds_are_there() {
        let cases = draw(20, true, &Dice::new(1));
        assert_eq!(cases, draw(20, true, &Dice::new(1)));
        assert_ne!(cases, draw(20, true, &Dice::new(2)));
        for lanes in LANES {
            assert!(cases.iter().any(|case| case.lanes == lanes));
        }
        for storage in BACKENDS {
            assert!(cases.iter().any(|case| case.storage == Some(storage)));
        }
        assert_eq!(cases.iter().filter(|case| !case.is_strong).count(), 2);
        let sizes = SIZE_MIN..=SIZE_MAX;
        assert!(cases.iter().all(|case| sizes.contains(&case.size)));
    }
}
