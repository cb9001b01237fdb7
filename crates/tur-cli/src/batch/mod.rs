//! Several downloads in one run: what they are, whose turn it is, how they ended, and what is left.
//!
//! [`Items`] is what is to be done, [`Turns`] says what begins next, [`Tally`] counts, and a [`Session`] keeps what is
//! left in a file. [`crate::run`] puts them together.

mod items;
mod list;
mod session;
mod tally;
mod turns;

pub(crate) use items::{Item, Items};
pub(crate) use list::{List, read};
pub(crate) use session::Session;
pub(crate) use tally::Tally;
pub(crate) use turns::Turns;
