//! Readers that go anywhere while everything fails, stalls included: what they read is right, it comes in the end, and
//! nothing that was there is asked for again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tur_core::{ByteRange, RangeSet, Rate};
use tur_testkit::{Behaviour, Deed, Ranges, When, content};

use super::stand::{KIB, MIB, Stand, Want, job, origin};
use crate::Reading;
use crate::job::Job;
use crate::reading::Core;

const SIZE: u64 = 8 * MIB;
const PAIRS: u64 = 25;

/// Numbers that look random (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % n
    }
}

fn failing(dice: &mut Dice) -> Behaviour {
    let unavailable = Deed::Status {
        status: 503,
        retry_after: None,
    };
    origin(SIZE)
        .pace(Rate::per_second(MIB))
        .rule(When::Every(3 + dice.below(5)), Deed::CutAfter(90 * KIB))
        .rule(When::Every(5 + dice.below(9)), Deed::StallAfter(70_001))
        .rule(When::Every(9 + dice.below(9)), unavailable)
        .rule(When::Every(17), Deed::BlackHole)
        .rule(When::Only(4 + dice.below(9)), Deed::Ranges(Ranges::Ignored))
}

/// What is looked ahead at: nothing special, a part of the file, or nothing beyond it.
fn look_ahead(dice: &mut Dice, reading: &Reading, wanted: ByteRange) {
    let ahead = RangeSet::from_iter([ByteRange::new(wanted.start, wanted.end + 200 * KIB)]);
    match dice.below(3) {
        0 => reading.set_window(None, RangeSet::new()),
        1 => reading.set_window(None, ahead),
        _ => reading.set_window(Some(ahead.clone()), ahead),
    }
}

async fn round(seed: u64) {
    let mut dice = Dice(seed);
    let mut stand = Stand::new(failing(&mut dice));
    let core = Core::new();
    let reading = Reading::new(Arc::clone(&core));
    let lanes_max = [1, 2, 4, 6][usize::try_from(dice.below(4)).expect("small")];
    let handle = stand.start(Job {
        lanes_max,
        reading: Some(core),
        ..job()
    });
    for _ in 0..PAIRS {
        let at = dice.below(SIZE);
        let wanted = ByteRange::new(at, (at + 1 + dice.below(50_000)).min(SIZE));
        let (from, there) = (stand.transport.seen().len(), reading.covered());
        look_ahead(&mut dice, &reading, wanted);
        let demand = (dice.below(4) > 0).then(|| reading.demand(wanted));
        reading.wait(None, wanted).await.expect("it comes");
        drop(demand);
        let mut have = vec![0; usize::try_from(wanted.len()).expect("short")];
        let came = reading.read_at(reading.version(), at, &mut have);
        assert_eq!(came.ok(), Some(have.len()), "seed {seed}, {wanted}");
        assert!(have == content(0, wanted), "seed {seed}, {wanted}");
        for seen in &stand.transport.seen()[from..] {
            // One without a range is made where ranges have failed for good.
            let Some(asked) = seen.range else { continue };
            let twice = there.intersect(asked);
            assert!(twice.is_empty(), "seed {seed}: {asked} again, {twice:?}");
        }
    }
    reading.set_window(None, RangeSet::new());
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, SIZE));
    stand.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn readers_that_go_anywhere_read_the_truth_through_stalls() {
    for seed in 0..12 {
        // A day of virtual time is more than all that can be waited for.
        let day = Duration::from_secs(24 * 60 * 60);
        timeout(day, round(seed)).await.expect("it hangs");
    }
}
