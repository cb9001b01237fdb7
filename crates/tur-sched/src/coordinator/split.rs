//! Stealing: from which lease a free lane takes, how much, and whether that pays.
//!
//! Read [`steal`]. The victim is the lease that would finish last; the split lets victim and thief finish together.

use core::time::Duration;

use tur_core::{ByteRange, Rate};

use super::plan::{ALIGN, as_f64, as_u64};
use crate::LeaseId;

/// The share that a thief takes where no rate is known: the golden section.
const GOLDEN: f64 = 0.618_033_988_75;

/// A lease that something may be taken from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) lease: LeaseId,
    /// From the lane's cursor to the lease's end.
    pub(crate) rest: ByteRange,
    /// Where the running request ends.
    pub(crate) asked: u64,
    /// What its lane brings now, if known.
    pub(crate) rate: Option<Rate>,
    /// True while its request is too young to be judged: it may lose a tail, not everything.
    pub(crate) young: bool,
    /// True if a request that is cut ends with its connection: where it is no stream.
    pub(crate) closes: bool,
}

/// A lane that is free.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thief {
    /// What it will bring, if anything tells.
    pub(crate) rate: Option<Rate>,
    /// Time before its first byte: a round trip, and set-up where a connection must be opened.
    pub(crate) cost: Duration,
    /// No part may be smaller.
    pub(crate) piece_min: u64,
}

/// A lease to cut, and where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Split {
    pub(crate) lease: LeaseId,
    pub(crate) at: u64,
}

/// What the thief takes, if it pays.
///
/// With both rates known, victim and thief finish together: the thief takes `x = (R - c·v)·t / (t + v)` of the rest `R`,
/// where `v` and `t` are the rates and `c` is what the thief costs. It pays if the lease is done at least `c` sooner: for
/// equal rates, no rest of less than three times `c` is split. Where the victim's connection ends by it, it must save
/// twice as much, and no rest of less than five times `c` is split. A victim that brings next to nothing loses everything.
/// With no rate known, the thief takes the golden section.
pub(crate) fn steal(candidates: impl Iterator<Item = Candidate>, thief: Thief) -> Option<Split> {
    candidates
        .filter_map(|candidate| cut(&candidate, &thief))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, split)| split)
}

/// How many lanes like `thief` would find something worth taking from a lease: none if one would not, else one for each
/// three times its cost, as in [`steal`] between equals.
pub(crate) fn openings(candidate: &Candidate, thief: &Thief) -> u64 {
    if cut(candidate, thief).is_none() {
        return 0;
    }
    let rest = candidate.rest.len();
    let by_size = (rest / thief.piece_min.max(ALIGN)).saturating_sub(1);
    let Some(rate) = candidate.rate.or(thief.rate) else {
        return by_size.max(1);
    };
    let needs = (3 * thief.cost).as_micros().max(1);
    let by_time = rate.time_for(rest).as_micros() / needs;
    by_size
        .min(u64::try_from(by_time).unwrap_or(u64::MAX))
        .max(1)
}

/// The split of one lease, with its urgency: when it would finish without help, in seconds.
fn cut(candidate: &Candidate, thief: &Thief) -> Option<(f64, Split)> {
    let rest = as_f64(candidate.rest.len());
    let cost = thief.cost.as_secs_f64();
    let (victim_rate, thief_rate) = rates(candidate.rate, thief.rate);
    let alone = rest / victim_rate;
    let take = match (candidate.rate, thief.rate) {
        (None, None) => rest * GOLDEN,
        _ => (rest - cost * victim_rate) * thief_rate / (thief_rate + victim_rate),
    };
    if take < as_f64(ALIGN) {
        return None;
    }
    let known = candidate.rate.is_some() || thief.rate.is_some();
    let pays = |at: &u64| {
        let victim = as_f64(at - candidate.rest.start) / victim_rate;
        let tail = cost + as_f64(candidate.rest.end - at) / thief_rate;
        // A cut into what was asked for may end a connection: it must save twice as much then.
        let closes = candidate.closes && *at < candidate.asked && *at > candidate.rest.start;
        let worth = if closes { 2.0 * cost } else { cost };
        !known || alone - victim.max(tail) >= worth
    };
    let at = places(candidate, as_u64(take), thief.piece_min)
        .into_iter()
        .flatten()
        .find(pays)?;
    let lease = candidate.lease;
    Some((alone, Split { lease, at }))
}

/// Rates to count with: an unknown one is like the other.
fn rates(victim: Option<Rate>, thief: Option<Rate>) -> (f64, f64) {
    let number = |rate: Rate| as_f64(rate.bytes_per_second().max(1));
    match (victim, thief) {
        (Some(v), Some(t)) => (number(v), number(t)),
        (Some(v), None) => (number(v), number(v)),
        (None, Some(t)) => (number(t), number(t)),
        (None, None) => (1.0, 1.0),
    }
}

/// Where a cut that takes about `take` bytes may fall, best first. What has not been asked for goes before the rest, so
/// that a connection survives; what would be left over as a crumb goes too.
fn places(candidate: &Candidate, take: u64, piece_min: u64) -> [Option<u64>; 2] {
    let (rest, floor) = (candidate.rest, piece_min.max(ALIGN));
    let ideal = rest.end - take.min(rest.len());
    let cut = |at: u64| {
        let at = at.max(rest.start);
        let left = at - rest.start;
        let at = if left < ALIGN { rest.start } else { at };
        let whole = at == rest.start && !candidate.young;
        let fits = whole || (at > rest.start && left >= piece_min);
        (fits && rest.end.saturating_sub(at) >= floor).then_some(at)
    };
    let spares = ideal < candidate.asked && rest.end.saturating_sub(candidate.asked) >= take / 2;
    let behind_asked = candidate.asked.checked_next_multiple_of(ALIGN);
    let nearest = ideal.saturating_add(ALIGN / 2) / ALIGN * ALIGN;
    [behind_asked.and_then(cut).filter(|_| spares), cut(nearest)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn rate(mib: u64) -> Option<Rate> {
        Some(Rate::per_second(mib * MIB))
    }

    fn candidate(len: u64, rate: Option<Rate>) -> Candidate {
        Candidate {
            lease: LeaseId(7),
            rest: ByteRange::new(MIB, MIB + len),
            asked: MIB,
            rate,
            young: false,
            closes: true,
        }
    }

    fn thief(rate: Option<Rate>, ms: u64) -> Thief {
        Thief {
            rate,
            cost: Duration::from_millis(ms),
            piece_min: 0,
        }
    }

    fn taken(candidate: Candidate, thief: Thief) -> Option<u64> {
        steal([candidate].into_iter(), thief).map(|split| candidate.rest.end - split.at)
    }

    #[test]
    fn victim_and_thief_finish_together() {
        // 100 MiB at 3 and at 1 MiB/s: a quarter, less what the victim does before the thief begins.
        let took = taken(candidate(100 * MIB, rate(3)), thief(rate(1), 0)).expect("pays");
        assert!(took.abs_diff(25 * MIB) <= ALIGN, "{took}");
        let took = taken(candidate(100 * MIB, rate(3)), thief(rate(1), 4_000)).expect("pays");
        assert!(took.abs_diff(22 * MIB) <= ALIGN, "{took}");
    }

    #[test]
    fn without_rates_the_golden_section_is_taken() {
        let took = taken(candidate(100 * MIB, None), thief(None, 100)).expect("pays");
        assert!(took.abs_diff(61 * MIB + 8 * MIB / 10) <= MIB / 4, "{took}");
    }

    #[test]
    fn no_tail_is_taken_that_comes_sooner_than_a_new_request() {
        // Equal rates: three times the cost is the least that is split.
        assert_eq!(
            taken(candidate(29 * MIB / 10, rate(1)), thief(rate(1), 1_000)),
            None
        );
        assert!(taken(candidate(33 * MIB / 10, rate(1)), thief(rate(1), 1_000)).is_some());
    }

    #[test]
    fn a_cut_that_ends_a_connection_saves_twice_as_much() {
        // All of it was asked for. Three times the cost is the least that is split of a stream, five times of a connection.
        let all = |len| Candidate {
            asked: u64::MAX,
            ..candidate(len * MIB / 10, rate(1))
        };
        let stream = |len| Candidate {
            closes: false,
            ..all(len)
        };
        let thief = thief(rate(1), 1_000);
        assert_eq!(taken(stream(29), thief), None);
        assert!(taken(stream(33), thief).is_some());
        assert_eq!(taken(all(48), thief), None);
        assert!(taken(all(52), thief).is_some());
    }

    #[test]
    fn a_dead_victim_loses_everything() {
        let dead = Some(Rate::per_second(0));
        assert_eq!(taken(candidate(MIB, dead), thief(rate(4), 100)), Some(MIB));
        let young = Candidate {
            young: true,
            ..candidate(MIB, dead)
        };
        assert_eq!(taken(young, thief(rate(4), 100)), None);
    }

    #[test]
    fn what_was_not_asked_for_goes_first() {
        let mut victim = candidate(100 * MIB, rate(1));
        victim.asked = MIB + 60 * MIB;
        let took = taken(victim, thief(rate(1), 0)).expect("pays");
        assert_eq!(
            took,
            40 * MIB,
            "ten less than half, and the connection lives"
        );
        victim.asked = MIB + 90 * MIB;
        let took = taken(victim, thief(rate(1), 0)).expect("pays");
        assert_eq!(took, 50 * MIB);
    }

    #[test]
    fn the_last_to_finish_is_the_victim() {
        let slow = Candidate {
            lease: LeaseId(1),
            ..candidate(10 * MIB, rate(1))
        };
        let large = candidate(50 * MIB, rate(20));
        let split = steal([large, slow].into_iter(), thief(rate(5), 1)).expect("pays");
        assert_eq!(split.lease, LeaseId(1));
    }

    #[test]
    fn a_minimum_piece_holds_on_both_sides() {
        let thief = Thief {
            piece_min: 6 * MIB,
            ..thief(rate(1), 0)
        };
        assert_eq!(taken(candidate(11 * MIB, rate(1)), thief), None);
        assert!(taken(candidate(12 * MIB, rate(1)), thief).is_some());
    }

    proptest! {
        #[test]
        fn a_split_lies_within_its_lease_and_saves_time(
            start in 0u64..1 << 40, len in 1u64..1 << 40, asked in 0f64..=1.0,
            v in proptest::option::of(0u64..1 << 32), t in proptest::option::of(0u64..1 << 32), ms in 0u64..5_000,
        ) {
            let rest = ByteRange::new(start, start + len);
            let asked = start + as_u64(as_f64(len) * asked);
            let candidate = Candidate { lease: LeaseId(0), rest, asked, rate: v.map(Rate::per_second), young: ms % 2 == 0, closes: ms % 3 == 0 };
            let thief = thief(t.map(Rate::per_second), ms);
            if let Some(split) = steal([candidate].into_iter(), thief) {
                prop_assert!(split.at >= start && split.at < start + len);
                prop_assert!((split.at == start && !candidate.young) || split.at % ALIGN == 0);
                prop_assert!(start + len - split.at >= ALIGN);
            }
        }
    }
}
