//! The production machines of tur in a seeded world with virtual time.
//!
//! Read [`Scenario`] (a world as data), then [`run`]: it puts a `tur_sched::Transfer` for each download, and a pool and
//! the lanes of each origin, into a world of links, origins, disks and users, obeys them as the engine's driver does,
//! and judges them by the truth: what was really written, and of which version. What must never happen is
//! a [`Violation`]. [`random`] makes a world of a seed, [`scoreboard`](table::scoreboard) is the list of worlds in
//! which time is compared with the ideal, and [`Trace`] is the text form of a run, which [`replay`] runs again.
//! [`permits`] is a smaller world: of peers that want permits of a `tur_sched::Dispatch`.
//!
//! Links are a fluid model: rates are constant between events, so a step is as long as nothing changes. No clock, no
//! file, no socket and no thread: a scenario and a seed determine every line of a run.
#![forbid(unsafe_code)]

mod admit;
mod dice;
mod link;
mod net;
mod origin;
mod permits;
mod random;
mod replay;
mod report;
mod scenario;
mod seeds;
pub mod table;
mod trace;
mod truth;
mod violation;
mod world;

pub use dice::Dice;
pub use link::{Change, LaneSpeed, Link};
pub use origin::{Deed, Framing, Server, Signed, Tag, When};
pub use permits::{PermitsReport, permits};
pub use random::random;
pub use replay::{Divergence, Header, Replayed, recording, replay};
pub use report::{DownloadReport, Outcome, Report, Sample};
pub use scenario::{Bounds, Caps, Disk, Job, Scenario, Wish};
pub use seeds::{KEPT, kept};
pub use trace::Trace;
pub use violation::Violation;
pub use world::{run, visit};

/// What earlier visits have learned of origins: [`visit`] takes it and leaves more.
pub use tur_sched::OriginMemory;
/// The geometry of a first division, of [`Job`].
pub use tur_sched::Schedule;
