//! Benches of the pieces of tur, by themselves: what one operation costs, not what a download takes.
//!
//! Each module builds the state it measures and adds its benches to a [`criterion::Criterion`]; `benches/pieces.rs`
//! runs them all. For the program beside other programs, see `cargo xtask bench`.
#![forbid(unsafe_code)]

pub mod ranges;
pub mod reads;
mod scratch;
pub mod storage;
pub mod transfer;
