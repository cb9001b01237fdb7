//! How many lanes work: the caller's bounds, and what a first visit leaves for the second.

use std::time::Duration;

use tur_core::Rate;

use super::stand::{DIR, KIB, MIB, Stand, Want, job, job_of, origin};
use crate::What;
use crate::job::{Destination, Job};

const SIZE: u64 = 64 * MIB;

fn paced() -> tur_testkit::Behaviour {
    origin(SIZE).pace(Rate::per_second(MIB))
}

#[tokio::test(start_paused = true)]
async fn fewer_lanes_are_in_force_at_once_and_cost_next_to_nothing() {
    let mut stand = Stand::new(paced());
    let handle = stand.start(Job {
        lanes_max: 8,
        lanes_start: Some(8),
        ..job()
    });
    stand.transport.bytes_reach(8 * MIB).await;
    assert_eq!(handle.progress().lanes, 8);
    handle.set_lanes(1..=2);
    // The next snapshot, and a fifth of a second is how old one may be.
    stand.pass(Duration::from_millis(400)).await;
    assert_eq!(handle.progress().lanes, 2);
    stand.pass(Duration::from_secs(5)).await;
    assert_eq!(handle.progress().lanes, 2);
    handle.set_lanes(6..=6);
    stand.pass(Duration::from_secs(2)).await;
    assert_eq!(handle.progress().lanes, 6);
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, SIZE));
    let twice = stand.transport.bytes_sent() - SIZE;
    assert!(twice <= 16 * 64 * KIB, "{twice} bytes twice");
}

#[tokio::test(start_paused = true)]
async fn lanes_are_found_by_measurement_and_a_second_visit_begins_with_them() {
    let mut stand = Stand::with([("/a", paced()), ("/b", paced())]);
    let mut visits = Vec::new();
    for name in ["a", "b"] {
        let handle = stand.start(Job {
            destination: Destination::Directory(DIR.into()),
            lanes_max: 16,
            lanes_start: None,
            ..job_of(&format!("http://origin.test/{name}"))
        });
        let ran = stand.end(handle).await;
        stand.assert_file(name, 0, SIZE);
        assert_eq!(ran.done().lanes_max, 16, "{name}");
        visits.push(ran);
    }
    let trying = |what: &What| matches!(what, What::Decision(text) if text.contains("trying"));
    assert!(visits[0].count(trying) >= 3);
    // Sixteen lanes of 1 MiB/s.
    let ideal = Duration::from_secs(4);
    let (first, second) = (visits[0].elapsed(), visits[1].elapsed());
    assert!(second < first, "{second:?} after {first:?}");
    assert!(second < ideal + ideal / 10, "{second:?}");
}
