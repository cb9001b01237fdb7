//! What holds whatever happens.

use proptest::prelude::*;

use super::*;

/// One step: how many milliseconds pass, and what happens then.
#[derive(Clone, Debug)]
enum Step {
    Tell(AbrEvent),
    /// Commits the ticket that was given out so many before the last one.
    Commit(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let rate = || prop::option::weighted(0.9, (0..2_000_u64).prop_map(kilo));
    let variant = || (0..5_u32).prop_map(id);
    let mode = prop_oneof![
        3 => Just(Mode::Auto),
        1 => variant().prop_map(Mode::Manual),
    ];
    let time = prop::option::weighted(0.9, (0..40_u64).prop_map(Duration::from_secs));
    prop_oneof![
        8 => rate().prop_map(|rate| Step::Tell(AbrEvent::Estimate(rate))),
        6 => time.prop_map(|ahead| Step::Tell(AbrEvent::Progress { ahead })),
        2 => variant().prop_map(|variant| Step::Tell(AbrEvent::Undelivered { variant })),
        1 => mode.prop_map(|mode| Step::Tell(AbrEvent::Mode(mode))),
        1 => rate().prop_map(|cap| Step::Tell(AbrEvent::Cap(cap))),
        2 => any::<bool>().prop_map(|locked| Step::Tell(AbrEvent::Locked(locked))),
        1 => (0..4_u32).prop_map(|n| Step::Tell(AbrEvent::Variants(ladder(n)))),
        2 => Just(Step::Tell(AbrEvent::Tick)),
        6 => (0..3_usize).prop_map(Step::Commit),
    ]
}

/// What a naive observer knows: the tickets, in the order they were given out, and which of them hold.
#[derive(Default)]
struct Observer {
    given: Vec<(Ticket, VariantId, Why)>,
    /// The one that was neither retracted nor used; a new one is given only then.
    holds: Option<Ticket>,
    locked: bool,
    mode: Mode,
    cap: Option<Rate>,
    switched: Timestamp,
}

impl Observer {
    /// Checks actions against what may be decided.
    fn watch(&mut self, abr: &mut Abr, now: Timestamp) {
        while let Some(action) = abr.poll_action() {
            match action {
                AbrAction::Switch {
                    ticket,
                    from,
                    to,
                    why,
                } => {
                    assert_eq!(self.holds, None, "two tickets at once");
                    assert!(!self.locked, "in a seek");
                    assert!(self.given.iter().all(|(old, ..)| *old < ticket));
                    assert_eq!(Some(from), abr.current());
                    self.judge(now, from, to, why);
                    self.given.push((ticket, to, why));
                    self.holds = Some(ticket);
                }
                AbrAction::Retract { ticket } => {
                    assert_eq!(self.holds.take(), Some(ticket));
                }
                AbrAction::Note(_) => {}
            }
        }
        assert_eq!(abr.pending(), self.holds);
    }

    /// Holds one decision against the rules, without knowing the estimate.
    fn judge(&self, now: Timestamp, from: VariantId, to: VariantId, why: Why) {
        let need = |id: VariantId| NEEDS[usize::try_from(id.0).expect("small")];
        match self.mode {
            Mode::Manual(chosen) => return assert_eq!((to, why), (chosen, Why::Manual)),
            Mode::Auto => assert_ne!(why, Why::Manual),
        }
        let fits = self.cap.is_none_or(|cap| kilo(need(to)) <= cap);
        assert!(fits || to == id(0), "above the cap: {to}");
        match why {
            Why::Up => assert!(need(to) > need(from)),
            Why::Down | Why::Urgent => assert!(need(to) < need(from)),
            _ => {}
        }
        if matches!(why, Why::Up | Why::Down) {
            assert!(now.since(self.switched) >= 30 * SECOND, "{why} too soon");
        }
    }
}

proptest! {
    #[test]
    fn e3_a_stale_decision_never_commits(
        steps in prop::collection::vec((0..20_000_u64, step()), 1..200)
    ) {
        let mut abr = playing(0);
        let mut seen = Observer::default();
        let mut now = at(0);
        for (pause, step) in steps {
            now = now + Duration::from_millis(pause);
            match step {
                Step::Tell(event) => {
                    match &event {
                        AbrEvent::Locked(locked) => seen.locked = *locked,
                        AbrEvent::Mode(mode) => seen.mode = *mode,
                        AbrEvent::Cap(cap) => seen.cap = *cap,
                        _ => {}
                    }
                    abr.handle(now, event);
                }
                Step::Commit(back) => {
                    let Some(&(ticket, to, why)) = seen.given.iter().rev().nth(back) else {
                        continue;
                    };
                    let from = abr.current().expect("variants are known");
                    let committed = abr.commit(now, ticket);
                    if seen.holds == Some(ticket) {
                        prop_assert_eq!(committed, Commit::Committed { from, to, why });
                        prop_assert_eq!(abr.current(), Some(to));
                        prop_assert!(!seen.locked);
                        seen.holds = None;
                        seen.switched = now;
                    } else {
                        prop_assert_eq!(committed, Commit::Stale { valid: seen.holds });
                        prop_assert_eq!(abr.current(), Some(from));
                    }
                }
            }
            seen.watch(&mut abr, now);
        }
    }

    /// Whatever is ahead, and whenever boundaries come: a network that only gets better is no reason to go down.
    #[test]
    fn e3_rising_bandwidth_never_switches_down(
        begin in 150_u64..400,
        steps in prop::collection::vec(
            (0..10_000_u64, 0..200_u64, prop::option::of(0..40_u64), any::<bool>()), 1..100)
    ) {
        let mut abr = playing(0);
        let (mut now, mut kilobytes) = (at(0), begin);
        for (pause, more, seconds, boundary) in steps {
            now = now + Duration::from_millis(pause);
            kilobytes += more;
            let ahead = seconds.map(Duration::from_secs);
            for event in [estimate(kilobytes), AbrEvent::Progress { ahead }, AbrEvent::Tick] {
                for action in drain(&mut abr, now, event) {
                    if let AbrAction::Switch { from, to, why, .. } = action {
                        prop_assert!(to > from && why == Why::Up, "{from} {to} {why}");
                    }
                    prop_assert!(
                        !matches!(action, AbrAction::Retract { .. }) || abr.pending().is_some(),
                        "given up for nothing"
                    );
                }
            }
            if boundary && abr.pending().is_some() {
                commit_pending(&mut abr, now);
            }
        }
    }

    /// The same of the estimate that it rests on: rates that rise give estimates that rise, and none is above the last.
    #[test]
    fn e3_rising_rates_give_rising_estimates(
        rises in prop::collection::vec((2..60_u64, 0..500_000_u64), 1..40)
    ) {
        let mut bandwidth = Bandwidth::new();
        let (mut now, mut rate, mut last) = (at(0), 100_000_u64, Rate::default());
        bandwidth.begin(now);
        for (beats, more) in rises {
            rate += more;
            for _ in 0..2 * beats {
                now = now + Duration::from_millis(50);
                bandwidth.landed(now, rate / 20);
            }
            let Some(estimate) = bandwidth.estimate(now) else { continue };
            prop_assert!(estimate >= last, "{estimate} after {last}");
            prop_assert!(estimate <= Rate::per_second(rate + 1), "{estimate} of {rate}");
            last = estimate;
        }
    }

    /// How finely the reports come changes nothing that matters.
    #[test]
    fn reports_may_be_cut_as_they_come(cuts in prop::collection::vec(1..200_u64, 20..200)) {
        let mut bandwidth = Bandwidth::new();
        let mut now = at(0);
        bandwidth.begin(now);
        for cut in cuts {
            now = now + Duration::from_millis(cut);
            bandwidth.landed(now, 1_000 * cut);
        }
        if let Some(estimate) = bandwidth.estimate(now) {
            let off = estimate.bytes_per_second().abs_diff(1_000_000);
            prop_assert!(off <= 1_000, "{estimate}");
        }
    }

    /// Whatever is told in whatever order, at whatever time: no panic, and never more than came.
    #[test]
    fn an_estimate_survives_anything(
        turns in prop::collection::vec((any::<u64>(), 0..3_u8, any::<u64>()), 1..100)
    ) {
        let (mut bandwidth, mut told) = (Bandwidth::new(), 0_u64);
        for (now, what, bytes) in turns {
            let now = Timestamp::from_micros(now);
            match what {
                0 => bandwidth.begin(now),
                1 => bandwidth.landed(now, bytes),
                _ => bandwidth.end(now),
            }
            told = told.saturating_add(if what == 1 { bytes } else { 0 });
            prop_assert!(bandwidth.estimate(now).is_none() || told >= 32 * 1_024);
        }
    }

    /// A held switch is made at the time that was named, unless something happens.
    #[test]
    fn a_wake_up_makes_what_was_held(
        current in 0..4_u32, kilobytes in 0..2_000_u64, seconds in 6..40_u64, second in 0..30_u64
    ) {
        let mut abr = playing(current);
        drain(&mut abr, at(second), ahead(seconds));
        drain(&mut abr, at(second), estimate(kilobytes));
        let due = abr.next_wakeup();
        prop_assert!(due.is_none_or(|due| due == at(30)));
        drain(&mut abr, at(30), AbrEvent::Tick);
        prop_assert_eq!(due.is_some(), abr.pending().is_some());
    }
}
