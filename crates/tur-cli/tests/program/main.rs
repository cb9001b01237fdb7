//! The real program against origins on the loopback interface: files, exit codes, output and signals.
//!
//! Every download that is to succeed is read back and hashed; see [`harness::Place::check`].
#![cfg(unix)]

mod admission;
mod batch;
mod challenges;
mod downloads;
mod events;
mod exits;
mod harness;
mod hostile;
mod identity;
mod interrupts;
mod limits;
mod memory;
mod network;
mod origins;
mod requests;
mod resume;
mod secrets;
#[cfg(feature = "serve")]
mod serves;
mod storage;
mod streams;
mod terminal;
mod wild;
