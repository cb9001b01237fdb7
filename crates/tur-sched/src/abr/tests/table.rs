//! Each rule at its threshold: what is decided, exactly.

use super::*;

/// What is decided at second `now` with variant `current` playing, `kilobytes` per second and `seconds` ahead.
fn decided(
    now: u64,
    current: u32,
    kilobytes: Option<u64>,
    seconds: Option<u64>,
) -> Result<(u32, Why), Skip> {
    let mut abr = playing(current);
    let ahead = seconds.map(Duration::from_secs);
    drain(&mut abr, at(now), AbrEvent::Progress { ahead });
    drain(&mut abr, at(now), AbrEvent::Estimate(kilobytes.map(kilo)));
    intent(&abr)
}

#[test]
fn e2_up_at_1_3_times_with_ten_seconds_ahead() {
    let up = |kilobytes, seconds| decided(30, 0, Some(kilobytes), seconds);
    // 200 × 1.3 × 1.5 = 390.
    assert_eq!(up(390, Some(10)), Ok((1, Why::Up)));
    assert_eq!(up(389, Some(10)), Err(Skip::WithinMargin));
    assert_eq!(up(390, Some(9)), Err(Skip::ShortAhead));
    assert_eq!(up(390, None), Ok((1, Why::Up)));
    // Affordable from 300 on: below, what plays is the best.
    assert_eq!(up(300, Some(60)), Err(Skip::WithinMargin));
    assert_eq!(up(299, Some(60)), Err(Skip::Optimal));
}

#[test]
fn e2_up_goes_as_high_as_the_margin_allows() {
    let up = |kilobytes| decided(30, 0, Some(kilobytes), Some(10));
    assert_eq!(up(780), Ok((2, Why::Up)));
    // 400 is affordable here, and only 200 has the margin.
    assert_eq!(up(779), Ok((1, Why::Up)));
    assert_eq!(up(1_560), Ok((3, Why::Up)));
    assert_eq!(up(u64::MAX / 1_000), Ok((3, Why::Up)));
}

#[test]
fn e2_down_at_0_8_times() {
    let down = |kilobytes| decided(30, 2, Some(kilobytes), Some(20));
    // 400 × 0.8 × 1.5 = 480; affordable from 600 on.
    assert_eq!(down(480), Ok((1, Why::Down)));
    assert_eq!(down(481), Err(Skip::WithinMargin));
    assert_eq!(down(599), Err(Skip::WithinMargin));
    assert_eq!(down(600), Err(Skip::Optimal));
    assert_eq!(down(299), Ok((0, Why::Down)));
    assert_eq!(down(0), Ok((0, Why::Down)));
    // Nobody knows how much is ahead: no reason to hurry, and none to wait.
    assert_eq!(decided(30, 2, Some(480), None), Ok((1, Why::Down)));
    assert_eq!(decided(30, 2, Some(481), None), Err(Skip::WithinMargin));
}

#[test]
fn e2_urgent_with_five_seconds_ahead() {
    let down = |kilobytes, seconds| decided(0, 2, Some(kilobytes), Some(seconds));
    assert_eq!(down(599, 5), Ok((1, Why::Urgent)));
    assert_eq!(down(600, 5), Err(Skip::Optimal));
    assert_eq!(down(599, 6), Err(Skip::WithinMargin));
    assert_eq!(down(0, 0), Ok((0, Why::Urgent)));
    assert_eq!(decided(0, 0, Some(0), Some(0)), Err(Skip::Optimal));
}

#[test]
fn e2_no_estimate_stays() {
    assert_eq!(decided(30, 2, None, Some(0)), Err(Skip::NoEstimate));
    assert_eq!(decided(30, 2, None, Some(60)), Err(Skip::NoEstimate));
}

#[test]
fn e2_thirty_seconds_from_the_start_to_the_first_switch() {
    for (current, kilobytes) in [(0, 780), (2, 300)] {
        let due = Err(Skip::TooSoon(at(30)));
        assert_eq!(decided(29, current, Some(kilobytes), Some(20)), due);
        assert!(decided(30, current, Some(kilobytes), Some(20)).is_ok());
    }
}

#[test]
fn e2_thirty_seconds_between_switches_to_the_instant() {
    let mut abr = playing(0);
    drain(&mut abr, at(40), ahead(20));
    drain(&mut abr, at(40), estimate(390));
    let late = at(43) + Duration::from_micros(1);
    commit_pending(&mut abr, late);
    drain(&mut abr, at(50), estimate(780));
    let due = late + 30 * SECOND;
    assert_eq!(abr.next_wakeup(), Some(due));
    let before = due - Duration::from_micros(1);
    drain(&mut abr, before, AbrEvent::Tick);
    assert_eq!(intent(&abr), Err(Skip::TooSoon(due)));
    drain(&mut abr, due, AbrEvent::Tick);
    assert_eq!(intent(&abr), Ok((2, Why::Up)));
    assert_eq!(abr.next_wakeup(), None);
}

#[test]
fn e2_what_was_held_is_weighed_again_when_it_is_due() {
    let mut abr = playing(0);
    drain(&mut abr, at(1), ahead(20));
    drain(&mut abr, at(1), estimate(780));
    assert_eq!(abr.next_wakeup(), Some(at(30)));
    drain(&mut abr, at(2), estimate(200));
    assert_eq!(abr.next_wakeup(), None, "nothing is held any more");
    drain(&mut abr, at(30), AbrEvent::Tick);
    assert_eq!(intent(&abr), Err(Skip::Optimal));
}

#[test]
fn e2_rescues_and_the_users_word_do_not_wait() {
    let mut abr = playing(2);
    drain(&mut abr, at(1), ahead(5));
    drain(&mut abr, at(1), estimate(300));
    assert_eq!(intent(&abr), Ok((1, Why::Urgent)));
    commit_pending(&mut abr, at(2));
    drain(&mut abr, at(3), undelivered(1));
    assert_eq!(intent(&abr), Ok((0, Why::Escape)));
    commit_pending(&mut abr, at(4));
    drain(&mut abr, at(5), AbrEvent::Mode(Mode::Manual(id(3))));
    assert_eq!(intent(&abr), Ok((3, Why::Manual)));
    commit_pending(&mut abr, at(6));
    drain(&mut abr, at(7), ahead(20));
    drain(&mut abr, at(7), AbrEvent::Mode(Mode::Auto));
    assert_eq!(intent(&abr), Err(Skip::TooSoon(at(36))));
    drain(&mut abr, at(8), AbrEvent::Cap(Some(kilo(400))));
    assert_eq!(intent(&abr), Ok((0, Why::Cap)));
}

#[test]
fn e2_a_lock_holds_everything() {
    for event in [
        estimate(0),
        undelivered(2),
        AbrEvent::Cap(Some(kilo(100))),
        AbrEvent::Mode(Mode::Manual(id(3))),
        AbrEvent::Tick,
    ] {
        let mut abr = playing(2);
        drain(&mut abr, at(40), ahead(0));
        drain(&mut abr, at(40), AbrEvent::Locked(true));
        drain(&mut abr, at(90), event.clone());
        assert_eq!(intent(&abr), Err(Skip::Locked), "{event:?}");
        assert_eq!(abr.next_wakeup(), None, "{event:?}");
    }
    let mut abr = playing(2);
    drain(&mut abr, at(1), AbrEvent::Locked(true));
    drain(&mut abr, at(1), AbrEvent::Mode(Mode::Manual(id(3))));
    drain(&mut abr, at(2), AbrEvent::Locked(false));
    assert_eq!(intent(&abr), Ok((3, Why::Manual)), "once the seek is over");
}

#[test]
fn e2_manual_wins_over_estimate_cap_and_interval() {
    let mut abr = playing(0);
    drain(&mut abr, at(1), estimate(10));
    drain(&mut abr, at(1), ahead(0));
    drain(&mut abr, at(1), AbrEvent::Cap(Some(kilo(100))));
    drain(&mut abr, at(1), AbrEvent::Mode(Mode::Manual(id(3))));
    assert_eq!(intent(&abr), Ok((3, Why::Manual)));
    commit_pending(&mut abr, at(2));
    for event in [estimate(0), undelivered(3), AbrEvent::Tick] {
        drain(&mut abr, at(60), event);
        assert_eq!(intent(&abr), Err(Skip::Chosen));
    }
    drain(&mut abr, at(61), AbrEvent::Mode(Mode::Manual(id(9))));
    assert_eq!(intent(&abr), Err(Skip::NotThere(id(9))));
    // Back to automatic: the segment that did not come is still missing.
    drain(&mut abr, at(62), AbrEvent::Mode(Mode::Auto));
    assert_eq!(intent(&abr), Ok((0, Why::Escape)));
}

#[test]
fn e2_a_cap_bounds_what_is_chosen_and_what_plays() {
    let mut abr = playing(0);
    drain(&mut abr, at(40), ahead(20));
    drain(&mut abr, at(40), AbrEvent::Cap(Some(kilo(399))));
    drain(&mut abr, at(40), estimate(10_000));
    assert_eq!(intent(&abr), Ok((1, Why::Up)));
    drain(&mut abr, at(40), AbrEvent::Cap(Some(kilo(400))));
    assert_eq!(intent(&abr), Ok((2, Why::Up)), "equal is not above");
    drain(&mut abr, at(40), AbrEvent::Cap(Some(kilo(199))));
    assert_eq!(intent(&abr), Err(Skip::Optimal));

    let capped = |kilobytes: Option<u64>, cap| {
        let mut abr = playing(3);
        drain(&mut abr, at(0), AbrEvent::Estimate(kilobytes.map(kilo)));
        drain(&mut abr, at(0), AbrEvent::Cap(Some(kilo(cap))));
        intent(&abr)
    };
    assert_eq!(capped(None, 500), Ok((2, Why::Cap)));
    assert_eq!(capped(Some(599), 500), Ok((1, Why::Cap)));
    assert_eq!(capped(Some(0), 500), Ok((0, Why::Cap)));
    assert_eq!(capped(None, 1), Ok((0, Why::Cap)), "the lowest there is");
    assert_eq!(capped(None, 800), Err(Skip::NoEstimate));
}

#[test]
fn e4_a_segment_that_never_comes_is_escaped_from_without_an_estimate() {
    let mut abr = playing(0);
    drain(&mut abr, at(2), undelivered(0));
    assert_eq!(intent(&abr), Ok((1, Why::Escape)));
    commit_pending(&mut abr, at(3));
    // It is not gone back to while it is avoided, however low the bandwidth is.
    drain(&mut abr, at(4), estimate(10));
    drain(&mut abr, at(4), ahead(0));
    assert_eq!(intent(&abr), Err(Skip::Optimal));
    drain(&mut abr, at(33), AbrEvent::Tick);
    assert_eq!(intent(&abr), Ok((0, Why::Urgent)));
}

#[test]
fn e4_with_an_estimate_the_best_other_one_is_escaped_to() {
    for (kilobytes, to) in [(10_000, 3), (600, 1), (300, 1), (149, 0), (0, 0)] {
        let mut abr = playing(2);
        drain(&mut abr, at(2), estimate(kilobytes));
        drain(&mut abr, at(2), undelivered(2));
        assert_eq!(intent(&abr), Ok((to, Why::Escape)), "{kilobytes}");
    }
}

#[test]
fn e4_several_that_do_not_deliver_are_tried_in_turn() {
    let mut abr = playing(0);
    drain(&mut abr, at(2), undelivered(0));
    for (now, withheld, next) in [(4, 1, 2), (6, 2, 3), (8, 3, 1), (10, 1, 2)] {
        drain(&mut abr, at(now), undelivered(withheld));
        assert_eq!(intent(&abr), Ok((next, Why::Escape)), "{now}");
    }
    commit_pending(&mut abr, at(11));
    drain(&mut abr, at(13), undelivered(2));
    assert_eq!(intent(&abr), Ok((3, Why::Escape)), "left alone for longest");
}

#[test]
fn e4_an_escape_ends_when_the_segment_comes_after_all() {
    let mut abr = playing(1);
    drain(&mut abr, at(2), undelivered(1));
    let ticket = abr.pending().expect("an escape");
    drain(&mut abr, at(3), ahead(5));
    assert_eq!(abr.pending(), Some(ticket), "too little to trust it");
    let actions = drain(&mut abr, at(4), ahead(6));
    assert_eq!(actions[0], AbrAction::Retract { ticket });
    // A seek leads elsewhere: there the variant may well deliver.
    drain(&mut abr, at(5), undelivered(1));
    drain(&mut abr, at(6), AbrEvent::Locked(true));
    drain(&mut abr, at(7), AbrEvent::Locked(false));
    assert_eq!(intent(&abr), Err(Skip::NoEstimate));
}

#[test]
fn e4_a_reader_who_waits_has_nothing_ahead_whatever_was_said_before() {
    let mut abr = playing(0);
    drain(&mut abr, at(1), ahead(20));
    drain(&mut abr, at(2), undelivered(0));
    commit_pending(&mut abr, at(3));
    drain(&mut abr, at(33), estimate(10_000));
    assert_eq!(intent(&abr), Err(Skip::ShortAhead));
}

#[test]
fn e4_what_a_seek_interrupts_is_not_waited_for() {
    let mut abr = playing(0);
    drain(&mut abr, at(1), AbrEvent::Locked(true));
    drain(&mut abr, at(2), undelivered(0));
    drain(&mut abr, at(3), AbrEvent::Locked(false));
    assert_eq!(intent(&abr), Err(Skip::NoEstimate));
    // Nor is one for which the media layer has switched by itself.
    drain(&mut abr, at(4), undelivered(0));
    drain(&mut abr, at(5), AbrEvent::Variants(ladder(1)));
    assert_eq!(intent(&abr), Err(Skip::NoEstimate));
}

#[test]
fn e4_what_plays_is_not_avoided_whatever_it_did_earlier() {
    for back in [
        AbrEvent::Mode(Mode::Manual(id(0))),
        AbrEvent::Variants(ladder(0)),
    ] {
        let mut abr = playing(0);
        drain(&mut abr, at(2), undelivered(0));
        commit_pending(&mut abr, at(3));
        drain(&mut abr, at(4), back);
        if abr.pending().is_some() {
            commit_pending(&mut abr, at(4));
            drain(&mut abr, at(4), AbrEvent::Mode(Mode::Auto));
        }
        drain(&mut abr, at(5), ahead(4));
        drain(&mut abr, at(5), estimate(10));
        assert_eq!(intent(&abr), Err(Skip::Optimal));
    }
}

#[test]
fn e4_an_escape_keeps_the_cap_and_one_variant_has_none() {
    let mut abr = playing(0);
    drain(&mut abr, at(2), AbrEvent::Cap(Some(kilo(150))));
    drain(&mut abr, at(2), undelivered(0));
    assert_eq!(intent(&abr), Err(Skip::NoAlternative));
    drain(&mut abr, at(3), AbrEvent::Cap(None));
    assert_eq!(intent(&abr), Ok((1, Why::Escape)));

    let one = [ladder(0).current()];
    let only = Variants::new(&one, id(0)).expect("one variant");
    drain(&mut abr, at(4), AbrEvent::Variants(only));
    drain(&mut abr, at(5), undelivered(0));
    assert_eq!(intent(&abr), Err(Skip::OnlyOne));
}

#[test]
fn e7_a_manual_switch_needs_neither_an_estimate_nor_progress() {
    let mut abr = playing(2);
    let actions = drain(&mut abr, at(0), AbrEvent::Mode(Mode::Manual(id(0))));
    let [AbrAction::Switch { ticket, .. }] = actions[..] else {
        panic!("{actions:?}");
    };
    let committed = Commit::Committed {
        from: id(2),
        to: id(0),
        why: Why::Manual,
    };
    assert_eq!(abr.commit(at(0), ticket), committed);
}

#[test]
fn lists_may_be_in_any_order() {
    let list = [(2, 800), (9, 100), (5, 400), (4, 400)].map(|(n, need)| Variant {
        id: id(n),
        bandwidth: kilo(need),
    });
    let variants = Variants::new(&list, id(9)).expect("four variants");
    let ids: Vec<u32> = variants.iter().map(|variant| variant.id.0).collect();
    assert_eq!(ids, [9, 4, 5, 2]);
    let mut abr = playing(0);
    drain(&mut abr, at(30), AbrEvent::Variants(variants));
    drain(&mut abr, at(30), estimate(780));
    assert_eq!(intent(&abr), Ok((5, Why::Up)));
    commit_pending(&mut abr, at(30));
    // The other one that needs as much is no better, but it is there when this one does not deliver.
    drain(&mut abr, at(60), estimate(790));
    assert_eq!(intent(&abr), Err(Skip::Optimal));
    drain(&mut abr, at(60), undelivered(5));
    assert_eq!(intent(&abr), Ok((4, Why::Escape)));
}

#[test]
fn lists_that_make_no_sense_are_refused() {
    let variant = |n| Variant {
        id: id(n),
        bandwidth: kilo(1),
    };
    assert_eq!(Variants::new(&[], id(0)), Err(BadVariants::Missing(id(0))));
    assert_eq!(
        Variants::new(&[variant(1), variant(2), variant(1)], id(1)),
        Err(BadVariants::Twice(id(1)))
    );
    let many: Vec<Variant> = (0..257).map(variant).collect();
    assert_eq!(Variants::new(&many, id(0)), Err(BadVariants::TooMany(257)));
    assert!(Variants::new(&many[..256], id(255)).is_ok());
}
