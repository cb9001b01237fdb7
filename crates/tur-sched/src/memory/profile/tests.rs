//! What a profile becomes with visits and with time.

use super::*;
use proptest::option::of;
use proptest::prelude::*;
use std::vec::Vec;

const NOW: Wall = Wall::from_unix_secs(1_800_000_000);

fn later(by: Duration) -> Wall {
    Wall::from_unix_secs(NOW.unix_secs() + i64::try_from(by.as_secs()).unwrap())
}

fn ratio_of(rates: &[u64]) -> Option<f64> {
    PhiRatio::of_rates(rates.iter().map(|rate| Rate::per_second(*rate))).map(PhiRatio::value)
}

fn wide() -> Profile {
    let facts = Facts {
        lanes: Some(17),
        lane_rate: Some(Rate::per_second(1_000)),
        rtt: Some(Duration::from_millis(40)),
        handshake: Some(Duration::from_millis(80)),
        ratio: PhiRatio::of_rates([1, 3].map(Rate::per_second).into_iter()),
        ranges: Some(true),
        ..Facts::default()
    };
    Profile::new(NOW, facts)
}

#[test]
fn a_ratio_needs_two_lanes_that_move() {
    for (rates, ratio) in [
        (&[][..], None),
        (&[5], None),
        (&[0, 0], None),
        (&[5, 5], Some(1.1)),
        // Mean 2, deviation 1.
        (&[1, 3], Some(1.5)),
        (&[0, 0, 0, 9], Some(2.5)),
        (&[u64::MAX, u64::MAX], Some(1.1)),
        (&[u64::MAX, 0], Some(2.0)),
    ] {
        assert_eq!(ratio_of(rates), ratio, "{rates:?}");
    }
    assert_eq!(PhiRatio::new(f64::NAN), PhiRatio::default());
    assert_eq!(PhiRatio::new(f64::INFINITY), PhiRatio::MAX);
    assert_eq!(PhiRatio::new(-1.0), PhiRatio::MIN);
}

#[test]
fn a_young_profile_is_told_as_it_is_and_an_old_one_fades() {
    let profile = wide();
    let lanes = |age| profile.hint(later(age)).map(|hint| hint.lanes);
    assert_eq!(lanes(Duration::ZERO), Some(17));
    assert_eq!(lanes(DAY), Some(17));
    assert_eq!(lanes(DAY + HALF_LIFE), Some(9));
    assert_eq!(lanes(DAY + 2 * HALF_LIFE), Some(5));
    assert_eq!(lanes(AGE_MAX), Some(1));
    assert_eq!(lanes(AGE_MAX + Duration::from_secs(1)), None);
    let old = profile.hint(later(AGE_MAX)).expect("not too old");
    assert_eq!(
        (old.rtt, old.ranges, old.lane_rate),
        (profile.rtt, Some(true), profile.lane_rate)
    );
    assert!((old.ratio.value() - PhiRatio::default().value()).abs() < 0.01);
}

#[test]
fn a_clock_that_goes_back_is_survived() {
    let profile = wide();
    let before = |by: Duration| {
        let secs = i64::try_from(by.as_secs()).unwrap();
        Wall::from_unix_secs(NOW.unix_secs() - secs)
    };
    assert_eq!(profile.hint(before(HOUR)), profile.hint(NOW));
    assert_eq!(profile.hint(Wall::from_unix_secs(0)), None);
    assert_eq!(profile.hint(Wall::from_unix_secs(i64::MIN)), None);
    // What is noted then counts, and is of that time.
    let noted = profile.noted(
        before(HOUR),
        Facts {
            lanes: Some(3),
            ..Facts::default()
        },
    );
    assert_eq!((noted.lanes, noted.updated), (3, before(HOUR)));
}

#[test]
fn a_limit_is_loosened_hour_by_hour() {
    let refused = Facts {
        lanes: Some(3),
        lanes_limit: Some(3),
        ..Facts::default()
    };
    let profile = wide().noted(NOW, refused);
    let told = |age| {
        let hint = profile.hint(later(age)).expect("young");
        (hint.lanes_limit.map(|limit| limit.lanes), hint.lanes)
    };
    assert_eq!(told(HOUR - Duration::from_secs(1)), (Some(3), 3));
    assert_eq!(told(HOUR), (Some(6), 3));
    assert_eq!(told(3 * HOUR), (Some(24), 3));
    assert_eq!(told(8 * HOUR), (None, 3));
    // A visit that says nothing of it does not make it younger.
    let visited = profile.noted(later(2 * HOUR), Facts::default());
    let hint = visited.hint(later(3 * HOUR)).expect("young");
    assert_eq!(hint.lanes_limit.map(|limit| limit.lanes), Some(24));
    // Who was refused is not told a width beyond it.
    let busy = wide().noted(
        NOW,
        Facts {
            lanes_limit: Some(4),
            ..Facts::default()
        },
    );
    assert_eq!(busy.hint(NOW).map(|hint| hint.lanes), Some(4));
    assert_eq!(busy.hint(later(3 * HOUR)).map(|hint| hint.lanes), Some(17));
    // More lanes than the limit disprove it.
    let more = Facts {
        lanes: Some(4),
        ..Facts::default()
    };
    assert_eq!(profile.noted(NOW, more).lanes_limit, None);
    assert!(profile.noted(NOW, refused).lanes_limit.is_some());
}

#[test]
fn a_visit_outweighs_what_was_known() {
    let profile = wide().noted(
        NOW,
        Facts {
            lanes: Some(2),
            lane_rate: Some(Rate::per_second(2_000)),
            rtt: Some(Duration::from_millis(80)),
            ranges: Some(false),
            ..Facts::default()
        },
    );
    assert_eq!(profile.lanes, 2);
    assert_eq!(profile.lane_rate, Some(Rate::per_second(1_750)));
    assert_eq!(profile.rtt, Some(Duration::from_millis(70)));
    assert_eq!(profile.handshake, wide().handshake);
    assert_eq!(profile.ratio, wide().ratio);
    assert_eq!(profile.ranges, Some(false));
    // After so long it is a first visit.
    let again = Facts {
        rtt: Some(Duration::from_millis(1)),
        ..Facts::default()
    };
    let much_later = later(2 * AGE_MAX);
    assert_eq!(
        wide().noted(much_later, again),
        Profile::new(much_later, again)
    );
}

#[test]
fn later_facts_replace_earlier_ones() {
    let first = Facts {
        lanes: Some(4),
        ranges: Some(true),
        ..Facts::default()
    };
    let second = Facts {
        lanes: Some(8),
        rtt: Some(HOUR),
        ..Facts::default()
    };
    let both = Facts {
        lanes: Some(8),
        rtt: Some(HOUR),
        ranges: Some(true),
        ..Facts::default()
    };
    assert_eq!(first.then(second), both);
    assert!(!first.is_empty() && Facts::default().is_empty());
}

#[test]
fn what_an_origin_needs_is_kept_until_another_visit_says_otherwise() {
    let challenge = Some(Some(tur_core::Challenge::Captcha));
    let seen = Facts {
        challenge,
        authorization: Some(true),
        ..Facts::default()
    };
    let first = Profile::new(NOW, seen);
    let quiet = first.noted(
        NOW,
        Facts {
            ranges: Some(true),
            ..Facts::default()
        },
    );
    for profile in [first, quiet] {
        assert_eq!(Some(profile.challenge), challenge);
        let needs = Needs {
            authorization: true,
            cookies: false,
        };
        assert_eq!(profile.needs, needs);
    }
    let served = Facts {
        challenge: Some(None),
        cookies: Some(true),
        authorization: Some(false),
        ..Facts::default()
    };
    let later = quiet.noted(NOW, served);
    assert_eq!(later.challenge, None);
    assert_eq!(
        later.needs,
        Needs {
            authorization: false,
            cookies: true
        }
    );
}

fn facts() -> impl Strategy<Value = Facts> {
    (
        (of(any::<u16>()), of(any::<u16>()), of(any::<u64>())),
        (of(any::<u64>()), of(any::<u64>())),
        (of(any::<f64>()), of(any::<bool>())),
    )
        .prop_map(
            |((lanes, limit, rate), (rtt, handshake), (ratio, ranges))| Facts {
                lanes,
                lanes_limit: limit,
                lane_rate: rate.map(Rate::per_second),
                rtt: rtt.map(Duration::from_nanos),
                handshake: handshake.map(Duration::from_nanos),
                ratio: ratio.map(PhiRatio::new),
                ranges,
                ..Facts::default()
            },
        )
}

proptest! {
    #[test]
    fn a_ratio_is_in_its_bounds(rates in proptest::collection::vec(any::<u64>(), 0..40)) {
        let naive = |rates: &[f64]| {
            let mean = rates.iter().sum::<f64>() / rates.len() as f64;
            let squares = rates.iter().map(|rate| (rate - mean) * (rate - mean)).sum::<f64>();
            1.0 + (squares / rates.len() as f64).sqrt() / mean
        };
        match ratio_of(&rates) {
            None => prop_assert!(rates.len() < 2 || rates.iter().all(|rate| *rate == 0)),
            Some(ratio) => {
                prop_assert!((1.1..=2.5).contains(&ratio));
                let floats: Vec<f64> = rates.iter().map(|rate| *rate as f64).collect();
                prop_assert!((ratio - naive(&floats).clamp(1.1, 2.5)).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn confidence_only_falls(facts in facts(), ages in proptest::collection::vec(0_u64..10_000_000, 2..20)) {
        let profile = Profile::new(NOW, facts);
        let mut ages = ages;
        ages.sort_unstable();
        let hints: Vec<_> = ages.iter().map(|age| profile.hint(later(Duration::from_secs(*age)))).collect();
        for pair in hints.windows(2) {
            let Some(after) = pair[1] else { continue };
            let before = pair[0].expect("what is forgotten stays forgotten");
            let limit = |hint: Profile| hint.lanes_limit.map_or(u32::MAX, |limit| u32::from(limit.lanes));
            prop_assert!(limit(after) >= limit(before));
            // The width falls, but for a limit that it stood under.
            if facts.lanes_limit.is_none() {
                prop_assert!(after.lanes <= before.lanes);
            }
            let far = |hint: Profile| (hint.ratio.value() - PhiRatio::default().value()).abs();
            prop_assert!(far(after) <= far(before) + 1e-12);
            prop_assert!(after.lanes >= 1 && u32::from(after.lanes) <= limit(after));
        }
    }

    #[test]
    fn the_same_facts_twice_say_nothing_new(facts in facts(), secs in any::<i64>()) {
        let now = Wall::from_unix_secs(secs);
        let once = Profile::new(now, facts);
        let twice = once.noted(now, facts);
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn nothing_panics_and_every_profile_is_sound(visits in proptest::collection::vec((any::<i64>(), facts()), 1..10)) {
        let mut profile: Option<Profile> = None;
        for (secs, facts) in visits {
            let now = Wall::from_unix_secs(secs);
            let noted = profile.map_or_else(|| Profile::new(now, facts), |profile| profile.noted(now, facts));
            let hint = noted.hint(now).expect("just noted");
            prop_assert!(hint.lanes >= 1);
            prop_assert!((1.1..=2.5).contains(&hint.ratio.value()));
            profile = Some(noted);
        }
    }
}
