//! What lies between the two ends, as data: delay, bottleneck, queue, loss, other traffic, and what changes when.
//!
//! Read [`Link`]. How bytes move over it is [`Net`](crate::net::Net)'s business.

use core::time::Duration;

use tur_core::Rate;

use crate::dice::Dice;

/// A path that all connections of a world share.
#[derive(Clone, Debug)]
pub struct Link {
    /// Round trip time without any queue.
    pub rtt: Duration,
    /// True if a connection needs one round trip more, for TLS.
    pub tls: bool,
    /// The bottleneck.
    pub rate: Rate,
    /// How long the bottleneck takes to empty its full queue.
    pub buffer: Duration,
    /// Share of packets lost at random, whatever the load.
    pub loss: f64,
    /// What one connection carries at most, whatever the bottleneck has left.
    pub lane: LaneSpeed,
    /// Flows of others in the bottleneck, each of which takes its fair share.
    pub cross: u32,
    /// What becomes different, by time since the start.
    pub changes: Vec<(Duration, Change)>,
}

impl Link {
    /// A link without loss, traffic or changes: 20 ms, a queue of 50 ms.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            rtt: Duration::from_millis(20),
            tls: false,
            rate,
            buffer: Duration::from_millis(50),
            loss: 0.0,
            lane: LaneSpeed::Free,
            cross: 0,
            changes: Vec::new(),
        }
    }

    /// What setting up a connection takes: a round trip for TCP, another for TLS 1.3.
    #[must_use]
    pub fn handshake(&self) -> Duration {
        if self.tls { 2 * self.rtt } else { self.rtt }
    }
}

/// What limits each connection apart from the bottleneck. Drawn anew for each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LaneSpeed {
    /// Nothing.
    Free,
    /// The same for each.
    Each(Rate),
    /// Log-normal around a median.
    LogNormal(Rate, f64),
    /// Pareto: a minimum and the exponent. Few are very fast.
    Pareto(Rate, f64),
    /// Every `every`-th connection is `factor` times slower than `rate`.
    EveryNth {
        /// The first slow one is this one.
        every: u32,
        /// Of the others.
        rate: Rate,
        /// How many times slower.
        factor: u32,
    },
}

impl LaneSpeed {
    /// The limit of the `nth` connection, from 1, in bytes per second.
    pub(crate) fn draw(&self, nth: u32, dice: &mut Dice) -> f64 {
        let of = |rate: Rate| rate.bytes_per_second() as f64;
        match *self {
            LaneSpeed::Free => f64::INFINITY,
            LaneSpeed::Each(rate) => of(rate),
            LaneSpeed::LogNormal(median, sigma) => dice.log_normal(of(median), sigma),
            LaneSpeed::Pareto(min, alpha) => dice.pareto(of(min), alpha),
            LaneSpeed::EveryNth {
                every,
                rate,
                factor,
            } => {
                let slow = nth.is_multiple_of(every.max(1));
                of(rate) / f64::from(if slow { factor.max(1) } else { 1 })
            }
        }
        .max(1.0)
    }
}

/// What becomes different.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// The bottleneck.
    Rate(Rate),
    /// What a connection carries: those that are there and those to come.
    Lane(LaneSpeed),
    /// The flows of others.
    Cross(u32),
    /// The connection that carries most falls silent for so long.
    Silence(Duration),
    /// All connections fall silent for so long.
    Outage(Duration),
    /// All connections are reset.
    Reset,
}
