//! What is remembered of one origin, how a visit changes it, and how it fades.
//!
//! [`Profile`] is the memory, [`Facts`] what one visit measured, [`PhiRatio`] how unequal the lanes of a visit were.
//! Everything here is a hint: whoever measures something himself believes that instead.

use core::time::Duration;

use tur_core::{Challenge, Rate, Wall};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Younger than this, a profile is told as it was measured: networks and servers are much the same from day to day.
const FRESH: Duration = DAY;
/// After that, what it says about width and evenness of lanes counts half as much each week.
const HALF_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Older than this, nothing is told.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// A limit holds so long; then it doubles each time as much has passed. It is about how busy a server was, not about
/// what it is, so it is forgotten much faster than the rest.
const LIMIT_STEP: Duration = HOUR;
/// Steps after which a limit is gone: no origin is given more than 256 lanes anyway.
const LIMIT_STEPS: u64 = 8;

/// How unequal the lanes to an origin are: 1 + the coefficient of variation of their rates, from 1.1 to 2.5.
///
/// It is the ratio of the largest to the smallest size in a plan that adapts: even lanes get even pieces.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct PhiRatio(f64);

impl PhiRatio {
    /// The smallest: lanes that are all alike.
    pub const MIN: PhiRatio = PhiRatio(1.1);
    /// The largest.
    pub const MAX: PhiRatio = PhiRatio(2.5);

    /// The ratio nearest to `ratio`; the default for what is not a number.
    #[must_use]
    pub fn new(ratio: f64) -> Self {
        if ratio.is_nan() {
            return Self::default();
        }
        Self(ratio.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// The ratio of lanes with these rates, by the variation of the population. `None` for fewer than two lanes, or if
    /// nothing moved at all.
    pub fn of_rates(rates: impl Iterator<Item = Rate>) -> Option<Self> {
        // Welford's recurrence: one pass, and nothing is kept that the number of rates could drive.
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for rate in rates {
            let rate = rate.bytes_per_second() as f64;
            count += 1.0;
            let before = rate - mean;
            mean += before / count;
            squares += before * (rate - mean);
        }
        if count < 2.0 || mean <= 0.0 {
            return None;
        }
        let deviation = libm::sqrt((squares / count).max(0.0));
        Some(Self::new(1.0 + deviation / mean))
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }

    /// The point between `self` (at 0) and `other` (at 1).
    fn towards(self, other: Self, share: f64) -> Self {
        Self::new(self.0 + (other.0 - self.0) * share)
    }
}

impl Default for PhiRatio {
    /// 1.5: what connections over one bottleneck differ by when nothing else is known.
    fn default() -> Self {
        Self(1.5)
    }
}

/// A number of lanes beyond which an origin has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimit {
    /// It took so many lanes and no more.
    pub lanes: u16,
    /// When it last said so.
    pub seen: Wall,
}

impl LaneLimit {
    /// What is left of it at `now`: loosened step by step, then nothing.
    fn loosened(self, now: Wall) -> Option<Self> {
        let steps = apart(self.seen, now).as_secs() / LIMIT_STEP.as_secs();
        if steps >= LIMIT_STEPS {
            return None;
        }
        let lanes = self.lanes.max(1).saturating_mul(1 << steps);
        Some(Self { lanes, ..self })
    }
}

/// What is remembered of an origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Lanes that the last visit that searched for a width ended with. 1 if none did: begin as with a stranger.
    pub lanes: u16,
    /// Where it refused more lanes.
    pub lanes_limit: Option<LaneLimit>,
    /// Rate of one lane.
    pub lane_rate: Option<Rate>,
    /// From a request to the head of its answer, at best.
    pub rtt: Option<Duration>,
    /// Connect and TLS.
    pub handshake: Option<Duration>,
    /// How unequal its lanes are.
    pub ratio: PhiRatio,
    /// Bytes that were on their way at once on one connection: its rate times the round trip.
    pub window: Option<u32>,
    /// Whether it serves ranges.
    pub ranges: Option<bool>,
    /// What came instead of a file the last time, if that came.
    pub challenge: Option<Challenge>,
    /// What it needed: the fact, never the secret.
    pub needs: Needs,
    /// When something was noted last.
    pub updated: Wall,
}

/// What an origin needed to serve a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// It asked for credentials.
    pub authorization: bool,
    /// It served with cookies of the user what it had not served before.
    pub cookies: bool,
}

/// What one visit measured; `None` for what it could not tell. What is not measured is not to be filled in: a small
/// file that needed one lane says nothing about how many would have been best.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Facts {
    /// Lanes that a search for the best width ended with.
    pub lanes: Option<u16>,
    /// Lanes that were there when the origin refused one more.
    pub lanes_limit: Option<u16>,
    /// Rate of one lane, by busy time.
    pub lane_rate: Option<Rate>,
    /// From a request to the head of its answer, at best.
    pub rtt: Option<Duration>,
    /// Connect and TLS of a fresh connection.
    pub handshake: Option<Duration>,
    /// How unequal the lanes were.
    pub ratio: Option<PhiRatio>,
    /// Bytes that were on their way at once on one connection.
    pub window: Option<u32>,
    /// Whether ranges were served.
    pub ranges: Option<bool>,
    /// What came instead of the file; `Some(None)` if nothing did.
    pub challenge: Option<Option<Challenge>>,
    /// Whether credentials were asked for.
    pub authorization: Option<bool>,
    /// Whether cookies of the user made the difference.
    pub cookies: Option<bool>,
}

impl Facts {
    /// True if nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These facts, and in their place those that `later` has too.
    #[must_use]
    pub fn then(self, later: Facts) -> Facts {
        Facts {
            lanes: later.lanes.or(self.lanes),
            lanes_limit: later.lanes_limit.or(self.lanes_limit),
            lane_rate: later.lane_rate.or(self.lane_rate),
            rtt: later.rtt.or(self.rtt),
            handshake: later.handshake.or(self.handshake),
            ratio: later.ratio.or(self.ratio),
            window: later.window.or(self.window),
            ranges: later.ranges.or(self.ranges),
            challenge: later.challenge.or(self.challenge),
            authorization: later.authorization.or(self.authorization),
            cookies: later.cookies.or(self.cookies),
        }
    }
}

impl Profile {
    /// What a first visit leaves.
    #[must_use]
    pub fn new(now: Wall, facts: Facts) -> Self {
        let stranger = Self {
            lanes: 1,
            lanes_limit: None,
            lane_rate: None,
            rtt: None,
            handshake: None,
            ratio: PhiRatio::default(),
            window: None,
            ranges: None,
            challenge: None,
            needs: Needs::default(),
            updated: now,
        };
        Self {
            ratio: facts.ratio.unwrap_or_default(),
            ..stranger.learned(now, facts)
        }
    }

    /// What is remembered after one more visit.
    ///
    /// Yes or no, and the width, are taken as they were measured: a width is the end of a search that began at the old
    /// one, and an average would undo part of each search. Of quantities the visit weighs three quarters. It is an
    /// average over many samples itself and tells of the path of today, so it outweighs all before it; the quarter
    /// that stays keeps one odd visit from being all that is known.
    #[must_use]
    pub fn noted(&self, now: Wall, facts: Facts) -> Self {
        match self.faded(now) {
            Some(faded) => faded.learned(now, facts),
            None => Self::new(now, facts),
        }
    }

    /// What a download that begins now is told: width and ratio fade with age, a limit is loosened. `None` if it is
    /// too old to tell anything.
    #[must_use]
    pub fn hint(&self, now: Wall) -> Option<Self> {
        let faded = self.faded(now)?;
        let lanes_limit = faded.lanes_limit.and_then(|limit| limit.loosened(now));
        Some(Self {
            lanes: lanes_limit.map_or(faded.lanes, |limit| faded.lanes.min(limit.lanes)),
            lanes_limit,
            ..faded
        })
    }

    /// True if it tells nothing any more.
    #[must_use]
    pub fn is_stale(&self, now: Wall) -> bool {
        apart(self.updated, now) > AGE_MAX
    }

    fn learned(self, now: Wall, facts: Facts) -> Self {
        let lanes = facts.lanes.map(|lanes| lanes.max(1));
        let refused = facts.lanes_limit.map(|lanes| LaneLimit {
            lanes: lanes.max(1),
            seen: now,
        });
        // More lanes than it is said to take, and no word of refusal: the limit is disproved.
        let limit = self
            .lanes_limit
            .filter(|limit| lanes.is_none_or(|lanes| lanes <= limit.lanes));
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mix_time = |old: Option<Duration>, new: Option<Duration>| {
            mix(old.map(nanos), new.map(nanos)).map(Duration::from_nanos)
        };
        let rate = |rate: Rate| rate.bytes_per_second();
        Self {
            lanes: lanes.unwrap_or(self.lanes),
            lanes_limit: refused.or(limit),
            lane_rate: mix(self.lane_rate.map(rate), facts.lane_rate.map(rate))
                .map(Rate::per_second),
            rtt: mix_time(self.rtt, facts.rtt),
            handshake: mix_time(self.handshake, facts.handshake),
            ratio: facts
                .ratio
                .map_or(self.ratio, |ratio| self.ratio.towards(ratio, 0.75)),
            window: mix(self.window.map(u64::from), facts.window.map(u64::from))
                .map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX)),
            ranges: facts.ranges.or(self.ranges),
            challenge: facts.challenge.unwrap_or(self.challenge),
            needs: Needs {
                authorization: facts.authorization.unwrap_or(self.needs.authorization),
                cookies: facts.cookies.unwrap_or(self.needs.cookies),
            },
            updated: now,
        }
    }

    /// The same with less confidence; a limit that is gone is left out, one that holds is kept as it was seen.
    fn faded(&self, now: Wall) -> Option<Self> {
        if self.is_stale(now) {
            return None;
        }
        let old = apart(self.updated, now).saturating_sub(FRESH);
        let confidence = libm::exp2(-(old.as_secs_f64() / HALF_LIFE.as_secs_f64()));
        let more = f64::from(self.lanes.max(1) - 1) * confidence;
        Some(Self {
            // Rounded, never more than it was.
            lanes: 1 + libm::round(more) as u16,
            lanes_limit: self
                .lanes_limit
                .filter(|limit| limit.loosened(now).is_some()),
            ratio: PhiRatio::default().towards(self.ratio, confidence),
            ..*self
        })
    }
}

/// How far two dates are apart. A date that is still to come says that the clock was wrong then or is wrong now, nobody
/// knows which: it is worth as little as one that is as long past.
fn apart(one: Wall, other: Wall) -> Duration {
    one.until(other).max(other.until(one))
}

/// The new value weighs three quarters; see [`Profile::noted`].
fn mix(old: Option<u64>, new: Option<u64>) -> Option<u64> {
    match (old, new) {
        (Some(old), Some(new)) => {
            let sum = u128::from(old) + 3 * u128::from(new);
            Some(u64::try_from(sum / 4).expect("an average of 64-bit numbers has 64 bits"))
        }
        (old, new) => new.or(old),
    }
}

#[cfg(test)]
mod tests;
