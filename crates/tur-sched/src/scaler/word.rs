//! The words that a scaler and its caller exchange.

use core::fmt;
use core::time::Duration;

use tur_core::Rate;

use crate::Asker;

/// Bounds and beginning of a [`Scaler`](crate::Scaler).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalerConfig {
    /// Ceiling of lanes to the origin.
    pub lanes_max: u16,
    /// Width to begin with: one, unless the user or an earlier visit says otherwise.
    pub lanes_start: u16,
    /// A limit that an earlier visit has met.
    pub limit: Option<u16>,
}

impl Default for ScalerConfig {
    /// From one lane to 32.
    fn default() -> Self {
        Self {
            lanes_max: 32,
            lanes_start: 1,
            limit: None,
        }
    }
}

/// What happened at the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalerEvent {
    /// A lane was busy with `bytes` for `busy`, up to now.
    Landed {
        /// Which.
        lane: Asker,
        /// How many.
        bytes: u64,
        /// For how long.
        busy: Duration,
    },
    /// A connection was set up.
    Opened {
        /// Connect and TLS.
        handshake: Duration,
    },
    /// A request was answered.
    Answered {
        /// From the request to its head.
        rtt: Duration,
        /// True if its connection had carried one before.
        reused: bool,
    },
    /// Lanes that receive a body, and lanes that would find work.
    Lanes {
        /// Receive.
        streaming: u16,
        /// Would find work.
        useful: u16,
    },
    /// The origin refused a lane while others were receiving.
    Refused,
    /// At least so many lanes from now on, if they are of use: the user's word.
    AtLeast(u16),
    /// So many lanes to begin with: the user's word, or a guess.
    Start(u16),
    /// At most so many lanes from now on.
    AtMost(u16),
    /// A transfer has gone, and its lanes with it.
    Gone {
        /// Which.
        transfer: u64,
    },
    /// The time that `next_wakeup` named has come.
    Tick,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalerAction {
    /// So many lanes from now on.
    Width(u16),
    /// A decision, for people, tests and traces.
    Note(ScalerNote),
}

/// A decision worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalerNote {
    /// More lanes are tried.
    Trying {
        /// From so many.
        from: u16,
        /// To so many.
        to: u16,
    },
    /// What was tried is kept, or not.
    Holding {
        /// Lanes.
        lanes: u16,
        /// What they bring.
        rate: Rate,
    },
    /// The origin allows no more than this, for now.
    Limited {
        /// Lanes.
        lanes: u16,
    },
    /// Connections are seldom used again: new lanes have to bring more.
    ReuseDegraded,
    /// Connections are used again.
    ReuseRecovered,
}

impl fmt::Display for ScalerNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScalerNote::Trying { from, to } => write!(f, "trying {to} lanes instead of {from}"),
            ScalerNote::Holding { lanes, rate } => write!(f, "{lanes} lanes bring {rate}"),
            ScalerNote::Limited { lanes } => write!(f, "the origin allows {lanes} lanes"),
            ScalerNote::ReuseDegraded => f.write_str("connections are seldom used again"),
            ScalerNote::ReuseRecovered => f.write_str("connections are used again"),
        }
    }
}

/// What a visit has measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurements {
    /// The width it ended with.
    pub lanes: u16,
    /// True if that width was compared with another.
    pub searched: bool,
    /// The limit that the origin has shown.
    pub limit: Option<u16>,
    /// What one lane brings.
    pub lane_rate: Option<Rate>,
    /// Shortest time from a request to its answer.
    pub rtt: Option<Duration>,
    /// Shortest set-up of a connection.
    pub handshake: Option<Duration>,
    /// How much lanes differ: coefficient of variation of their rates.
    pub variation: Option<f64>,
}
