//! Bytes to a file, and the journal that vouches for them.
//!
//! A download is written to `NAME.part`; beside it `NAME.tur`, the journal, says which of its bytes may be trusted.
//! `NAME` itself appears only by a rename, once every byte is there and synced. Read [`Part`] first: it is opened,
//! told which representation it holds ([`Part::begin`]), written by one [`Writer`] per lease, made durable by a
//! [`Checkpoint`] now and then, and ends in [`Part::commit`], [`Part::stop`], [`Part::set_aside`] or [`Part::discard`].
//!
//! Words for what is true of a byte, each one stronger than the one before:
//! * *covered*: written, and to be read back by this process;
//! * *claimed*: the journal says so, and it survives the death of the process;
//! * *durable*: synced, then recorded with the CRC of its run; it survives the loss of power.
//!
//! Beside that, a [`StateFile`] keeps what several processes remember together: small, and replaced as a whole.
//!
//! All file operations go through the port [`Disk`]: [`PosixDisk`] is the real one, [`FileDisk`] the same with mapped
//! windows for who asks for them, and [`MemDisk`] records what was done and can crash at any point of it. Nothing here is asynchronous and nothing reads a clock.
// Not forbidden, because `map` allows it for itself; a test allows no other file to.
#![deny(unsafe_code)]

mod aside;
mod book;
mod buffer;
mod checkpoint;
mod commit;
mod disk;
mod error;
mod frame;
mod held;
pub mod journal;
#[cfg(unix)]
mod map;
mod mem;
mod name;
#[cfg(unix)]
mod native;
mod open;
mod part;
#[cfg(unix)]
mod posix;
mod renew;
mod room;
mod runs;
mod shared;
mod standing;
mod state;
#[cfg(unix)]
mod unfinished;
#[cfg(unix)]
mod unnamed;
mod view;
#[cfg(unix)]
mod windows;
mod writer;

pub use checkpoint::{Checkpoint, Durable};
pub use commit::Exists;
pub use disk::{Disk, FileId, FileKind, Onto, Open, Stat};
pub use error::StorageError;
pub use mem::{Crash, Crashes, Fate, Loss, MemDisk, Sampling};
pub use name::FileName;
#[cfg(unix)]
pub use native::{FileDisk, NativeDir, NativeFile, Stay, StorageKind};
pub use open::{Found, JOURNAL_BYTES_MAX, Place, survey};
pub use part::{Opened, Part, Reader, Saved};
#[cfg(unix)]
pub use posix::PosixDisk;
pub use room::Room;
pub use standing::{Numbered, is_begun, numbered};
pub use state::{State, StateFile, StateFormat};
#[cfg(unix)]
pub use unfinished::{Unfinished, obstacle, unfinished, unfinished_file};
pub use writer::Writer;
