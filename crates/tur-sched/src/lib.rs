//! Every decision of the tur download engine, as pure state machines.
//!
//! Time is an argument. A machine never reads a clock, opens a file, logs or spawns; it has three verbs:
//! `handle(now, event)`, `poll_action()`, drained before the next `handle`, and `next_wakeup()`. The same events give
//! the same actions everywhere, so a failing run can be replayed.
//!
//! Read [`Transfer`] first: it moves one representation and conducts a [`Ledger`] (who owns which byte), a crew of
//! lanes, a route (where to ask) and a pace (when to try again). [`Pool`] lends sessions of one origin to the lanes of
//! all transfers. [`OriginLanes`] decides how many lanes an origin gets, and which transfer gets them; [`OriginMemory`]
//! is what one visit leaves for the next. [`Budget`] says how many connections there may be over all origins, [`Bucket`] is
//! a rate limit. [`Dispatch`] says which of all that want to fetch something may do so next, and a [`Watchdog`] whether
//! anything moves. [`Gate`] is the one value that a machine's decision and the hot path share.
//!
//! [`abr`] is for players: which variant of a presentation plays, by what the network brings.
//!
//! The example `sched_alone` is a whole program around a [`Transfer`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod abr;
mod budget;
mod coordinator;
mod crew;
mod dispatch;
mod gate;
mod ledger;
mod limit;
mod memory;
mod origin_lanes;
mod pace;
mod pool;
mod retry;
mod route;
mod scaler;
mod shares;
mod transfer;
mod watchdog;
mod word;

pub use budget::{Budget, BudgetAction, MEMORY, Row, Shortage, Sign, Standing};
pub use coordinator::plan::Schedule;
pub use dispatch::{
    AsSaid, Demand, Dispatch, DispatchAction, DispatchConfig, DispatchEvent, GRACE, LOOK_EVERY,
    PATIENCE, PeerId, Priority, STARTS_BOUND, STARTS_MAX, TicketId, Whose,
};
pub use gate::Gate;
pub use ledger::{Lease, Ledger};
pub use limit::Bucket;
pub use memory::{
    Facts, Http3, Http3Fact, LaneLimit, Needs, Offered, OriginMemory, PhiRatio, Profile, Racing,
};
pub use origin_lanes::{LanesAction, LanesEvent, OriginLanes};
pub use pace::{RetryPolicy, SpeedFloor};
pub use pool::{Asker, Pool, PoolAction, PoolEvent, SessionId};
pub use retry::{Remedy, remedy};
pub use route::REDIRECTS_MAX;
pub use scaler::{Measurements, Scaler, ScalerAction, ScalerConfig, ScalerEvent, ScalerNote};
pub use shares::{Want, shares};
pub use transfer::{Hint, LEAD_MAX, OnChange, Proof, Resumed, Transfer, TransferConfig, Waits};
pub use watchdog::{HANG, Observation, Pulse, Stall, WaitsFor, Watchdog};
pub use word::{Action, Decision, Ended, Event, Failure, FetchOrder, LaneId, LeaseId, Reason};
