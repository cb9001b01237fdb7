//! Whole downloads against origins that misbehave and disks that fail, in memory and under a paused clock.
//!
//! Read [`stand`] first: every test sets up a [`Stand`](stand::Stand), runs a job on it, and compares what is on the
//! disk byte by byte with what the origin meant to serve.

mod answers;
mod breaks;
mod challenges;
mod chance;
mod changes;
mod clocks;
mod crashes;
mod disks;
mod fetches;
mod files;
mod life;
mod limits;
mod memory;
mod outages;
mod overlaps;
mod panics;
mod reading;
mod redirects;
mod scarce;
mod scenarios;
mod stalls;
mod stand;
mod statuses;
mod terms;
mod torture;
mod widths;
