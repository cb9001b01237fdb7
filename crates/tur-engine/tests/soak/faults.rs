//! What goes wrong with which download: a pure function of its number.

use std::time::Duration;

use tur_core::RetryAfter;
use tur_testkit::{Behaviour, Deed, Ranges, When};

/// A thing that goes wrong once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    None,
    Reset,
    Cut,
    Stall,
    Busy,
    Hangup,
    Refused,
    WrongRange,
    RangesIgnored,
    Changes,
}

impl Trouble {
    pub(crate) const ALL: [Trouble; 10] = [
        Trouble::None,
        Trouble::Reset,
        Trouble::Cut,
        Trouble::Stall,
        Trouble::Busy,
        Trouble::Hangup,
        Trouble::Refused,
        Trouble::WrongRange,
        Trouble::RangesIgnored,
        Trouble::Changes,
    ];
}

pub(crate) fn trouble(number: u32, calm: bool) -> Trouble {
    match calm {
        true => Trouble::None,
        // Neighbours differ, and so do runs of neighbours.
        false => Trouble::ALL[(number + number / 10 * 3) as usize % Trouble::ALL.len()],
    }
}

/// Between 16 and 272 KiB, whole pages or not.
pub(crate) fn size(number: u32) -> u64 {
    16 * 1024 + u64::from(number) * 7_919 % (256 * 1024)
}

/// Versions that the file may be of.
pub(crate) fn versions(number: u32, calm: bool) -> impl Iterator<Item = u8> {
    let version = version(number);
    let changes = trouble(number, calm) == Trouble::Changes;
    std::iter::once(version).chain(changes.then_some(version + 1))
}

fn version(number: u32) -> u8 {
    u8::try_from(number % 100).expect("below 100")
}

pub(crate) fn path(number: u32, calm: bool) -> String {
    let world = if calm { "calm" } else { "rough" };
    format!("/{world}/{number}")
}

/// What a path serves.
pub(crate) fn behaviour(number: u32, calm: bool) -> Behaviour {
    let half = size(number) / 2;
    let honest = Behaviour::new(size(number)).version(version(number));
    let cut = || honest.clone().rule(When::Only(1), Deed::CutAfter(half));
    match trouble(number, calm) {
        Trouble::None => honest,
        Trouble::Cut => cut(),
        Trouble::Reset => honest.rule(When::First(2), Deed::ResetAfter(half)),
        Trouble::Stall => honest.rule(When::Only(1), Deed::StallAfter(half)),
        Trouble::Busy => honest.rule(
            When::Only(1),
            Deed::Status {
                status: 503,
                retry_after: Some(RetryAfter::Delay(Duration::from_secs(1))),
            },
        ),
        Trouble::Hangup => honest.rule(When::Only(1), Deed::Hangup),
        Trouble::Refused => honest.rule(
            When::First(2),
            Deed::Status {
                status: 500,
                retry_after: None,
            },
        ),
        Trouble::WrongRange => cut().rule(When::Only(2), Deed::Ranges(Ranges::Shifted(1))),
        Trouble::RangesIgnored => cut().ranges(Ranges::Ignored),
        Trouble::Changes => cut().changes_after(1, version(number) + 1),
    }
}
