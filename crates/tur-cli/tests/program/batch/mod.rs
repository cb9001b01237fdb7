//! Several downloads in one run: lists, what is common and what is not, and how it ends.
//!
//! Every file that is to be complete is read back and hashed.

mod ends;
mod lists;
mod names;
mod sessions;

use tur_core::Wall;
use tur_testkit::Behaviour;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const SIZE: u64 = 40 * KIB;

/// Before the day that origins live in.
const YESTERDAY: i64 = tur_testkit::TODAY.unix_secs() - 86_400;

/// A file that is told apart from the others by its version, with a date by which it is recognised later.
fn file(version: u8) -> Behaviour {
    Behaviour {
        version,
        ..Behaviour::new(SIZE)
    }
    .last_modified(Some(Wall::from_unix_secs(YESTERDAY + i64::from(version))))
}

/// Files that length and date do not tell apart.
fn alike(version: u8) -> Behaviour {
    file(version).last_modified(Some(Wall::from_unix_secs(YESTERDAY)))
}
