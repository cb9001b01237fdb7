//! Who takes what: how work is divided at first, and how it moves to lanes that are free.
//!
//! Pure functions and small values; the transfer asks them and acts. Read [`plan::Geometry`] for the first division,
//! [`split::steal`] for every later one, and [`demand::Demands`] for what a reader waits for.

pub(crate) mod demand;
pub(crate) mod plan;
pub(crate) mod split;
