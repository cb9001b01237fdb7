//! Media over real sockets: scenarios A, B, C and F, each test named by its row, and seeks at random.
//!
//! Byte i of a file is i mod 251 of its version, and every test compares every byte that it reads with that.

mod cache;
mod chance;
mod crash;
mod early;
mod examples;
mod fails;
mod live;
mod places;
mod room;
mod seek;
mod spoilt;
mod stand;
mod still;
mod waits;
