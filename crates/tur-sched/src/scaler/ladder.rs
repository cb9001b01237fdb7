//! The law of the scaler: what a change of width has brought, and which width to try next.
//!
//! Pure functions over two measurements. Read [`judge`], then [`Thresholds`] for the constants and their reasons.

use super::estimator::number;

/// What a width brought, in bytes per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) lanes: u16,
    pub(crate) rate: f64,
}

/// How the next width is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// From the beginning until goodput stops following: 1, 4, 8, 16, …
    Doubling,
    /// Afterwards: a quarter more now and then.
    Probing,
}

/// Which gain is worth its lanes. A gain is compared with the fair one: `m/n - 1` for growing from `n` to `m`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Thresholds {
    /// Share of the fair gain that lets doubling go on. Three fifths tells a doubling that half failed (the shared
    /// limit lies in between) from one that noise has made look worse.
    pub(crate) double: f64,
    /// Share of the fair gain that a probe must bring to be kept.
    pub(crate) probe: f64,
    /// Gain below which a wider set has brought nothing: measurements of the same thing differ by so much.
    pub(crate) nothing: f64,
    /// Loss that a narrower set may show and still be as good.
    pub(crate) loss: f64,
}

impl Thresholds {
    /// Of HTTP/1.1. Where connections are seldom used again, each lane costs more: it must bring more.
    pub(crate) fn http1(reuse_is_low: bool) -> Self {
        Self {
            double: if reuse_is_low { 0.7 } else { 0.6 },
            probe: if reuse_is_low { 0.6 } else { 0.5 },
            nothing: 0.08,
            loss: 0.05,
        }
    }
}

/// What a measurement says about the width it was made at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// More lanes brought more: go on.
    Worth,
    /// They brought something, as much as this many would have.
    Settle(u16),
    /// They brought nothing: the path is full.
    Full(u16),
    /// Fewer lanes are as good.
    Enough,
    /// Fewer lanes are worse: back to this many.
    Short(u16),
}

/// Compares a measurement with the one before the width was changed.
pub(crate) fn judge(
    before: Measured,
    now: Measured,
    growth: Growth,
    thresholds: Thresholds,
) -> Verdict {
    let gain = if before.rate > 0.0 {
        now.rate / before.rate - 1.0
    } else {
        f64::INFINITY
    };
    let (from, to) = (before.lanes.max(1), now.lanes.max(1));
    if to < from {
        return if gain >= -thresholds.loss {
            Verdict::Enough
        } else {
            Verdict::Short(from)
        };
    }
    let fair = number(u64::from(to)) / number(u64::from(from)) - 1.0;
    let share = match growth {
        Growth::Doubling => thresholds.double,
        Growth::Probing => thresholds.probe,
    };
    if gain >= share * fair {
        Verdict::Worth
    } else if gain < thresholds.nothing || growth == Growth::Probing {
        Verdict::Full(from)
    } else {
        // As if each lane brought what it brought before, until they shared a limit.
        let lanes = libm::ceil(number(u64::from(from)) * (1.0 + gain));
        Verdict::Settle(narrow(lanes).clamp(from, to))
    }
}

/// The next width up from `n`. The first step is to four, which is less than a browser opens for a page: it saves one
/// round of measuring, and no origin is hurt by it.
pub(crate) fn step_up(n: u16, growth: Growth) -> u16 {
    match growth {
        Growth::Doubling => n.saturating_mul(2).max(4),
        Growth::Probing => n.saturating_add((n / 4).max(1)),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and a number of lanes is not negative"
)]
fn narrow(lanes: f64) -> u16 {
    lanes as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lanes: u16, rate: f64) -> Measured {
        Measured { lanes, rate }
    }

    fn doubled(before: Measured, now: Measured) -> Verdict {
        judge(before, now, Growth::Doubling, Thresholds::http1(false))
    }

    #[test]
    fn doubling_goes_on_while_goodput_follows() {
        assert_eq!(doubled(at(4, 4e6), at(8, 8e6)), Verdict::Worth);
        assert_eq!(doubled(at(4, 4e6), at(8, 6.5e6)), Verdict::Worth);
        assert_eq!(doubled(at(1, 0.0), at(4, 1e6)), Verdict::Worth);
    }

    #[test]
    fn a_shared_limit_in_between_is_found_by_proportion() {
        assert_eq!(doubled(at(8, 8e6), at(16, 10e6)), Verdict::Settle(10));
        assert_eq!(doubled(at(4, 4e6), at(8, 4.1e6)), Verdict::Full(4));
        assert_eq!(doubled(at(4, 4e6), at(8, 3e6)), Verdict::Full(4));
    }

    #[test]
    fn a_probe_pays_for_half_of_its_lanes_at_least() {
        let probe = |rate| {
            judge(
                at(8, 8e6),
                at(10, rate),
                Growth::Probing,
                Thresholds::http1(false),
            )
        };
        assert_eq!(probe(9.2e6), Verdict::Worth);
        assert_eq!(probe(8.8e6), Verdict::Full(8));
    }

    #[test]
    fn fewer_lanes_are_enough_if_nothing_is_lost() {
        assert_eq!(doubled(at(8, 8e6), at(4, 7.8e6)), Verdict::Enough);
        assert_eq!(doubled(at(8, 8e6), at(4, 7e6)), Verdict::Short(8));
    }

    #[test]
    fn steps_grow_by_their_kind() {
        assert_eq!(step_up(1, Growth::Doubling), 4);
        assert_eq!(step_up(8, Growth::Doubling), 16);
        assert_eq!(step_up(2, Growth::Probing), 3);
        assert_eq!(step_up(16, Growth::Probing), 20);
    }
}
