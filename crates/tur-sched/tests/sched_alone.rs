//! The example `sched_alone` runs, and shows what it says it does.

use std::collections::BTreeSet;

use tur_sched::LaneId;

#[path = "../examples/sched_alone.rs"]
#[expect(dead_code, reason = "its `main` is for `cargo run --example`")]
mod sched_alone;

#[test]
fn the_bytes_come_together_from_several_lanes() {
    let came = sched_alone::run();
    let lanes: BTreeSet<LaneId> = came.iter().map(|(lane, _)| *lane).collect();
    assert_eq!(lanes.len(), 3, "{came:?}");
    let mut upto = 0;
    for (_, range) in &came {
        assert_eq!(range.start, upto, "a gap, or bytes that were written twice");
        upto = range.end;
    }
    assert_eq!(upto, 4 << 20);
}
