//! The fluid model against what can be computed by hand.

use core::time::Duration;

use tur_core::Rate;

use super::*;
use crate::link::LaneSpeed;

const MIB: f64 = 1024.0 * 1024.0;

/// Lets a net run for `seconds`; returns the bytes each connection brought, which are taken.
fn run(net: &mut Net, seconds: f64) -> BTreeMap<ConnId, u64> {
    let end = net.now + (seconds * 1e6) as u64;
    let mut brought: BTreeMap<ConnId, u64> = BTreeMap::new();
    loop {
        net.settle();
        let next = net.next().unwrap_or(u64::MAX).min(end);
        net.advance(next);
        for id in net.ids() {
            let n = net.arrived(id);
            net.take(id, n);
            *brought.entry(id).or_default() += n;
        }
        if next == end {
            return brought;
        }
    }
}

fn net(link: &Link) -> Net {
    Net::new(link, f64::INFINITY, Dice::new(1))
}

fn started(net: &mut Net, n: usize) -> Vec<ConnId> {
    (0..n)
        .map(|_| {
            let id = net.open(None);
            net.start(id);
            id
        })
        .collect()
}

fn close_to(value: f64, expected: f64, tolerance: f64) {
    let off = (value / expected - 1.0).abs();
    assert!(
        off <= tolerance,
        "{value} is not {expected} (off by {off:.3})"
    );
}

#[test]
fn a_capped_connection_carries_its_cap() {
    let mut link = Link::new(Rate::per_second(100 << 20));
    link.lane = LaneSpeed::Each(Rate::per_second(1 << 20));
    let mut net = net(&link);
    let ids = started(&mut net, 3);
    run(&mut net, 2.0);
    let brought = run(&mut net, 10.0);
    for id in ids {
        close_to(brought[&id] as f64, 10.0 * MIB, 1e-4);
    }
    // Nothing changes any more, so no step is needed before six seconds without a reader have filled the buffers.
    let next = net.next().expect("full buffers");
    close_to((next - net.now) as f64, 6e6, 1e-4);
}

#[test]
fn a_full_receive_buffer_stops_the_far_end_until_half_of_it_is_free() {
    let mut net = net(&Link::new(Rate::per_second(100 << 20)));
    let id = net.open(Some(64 * 1024));
    net.start(id);
    while let Some(next) = net.next() {
        net.advance(next);
        net.settle();
    }
    let full = net.arrived(id);
    close_to(full as f64, 65_536.0, 1e-2);
    net.take(id, 30_000);
    net.settle();
    assert_eq!((net.next(), net.when(id, full)), (None, None));
    net.take(id, 5_000);
    net.settle();
    assert!(net.when(id, full).is_some());
    // A window is never larger than the buffer: 64 KiB in each round trip of 20 ms.
    let brought = run(&mut net, 10.0)[&id] as f64;
    close_to(brought, 64.0 * 1024.0 * 500.0, 1e-2);
}

#[test]
fn a_bottleneck_is_shared_fairly_and_fully() {
    let mut net = net(&Link::new(Rate::per_second(10 << 20)));
    let ids = started(&mut net, 4);
    run(&mut net, 5.0);
    let brought = run(&mut net, 60.0);
    for id in &ids {
        close_to(brought[id] as f64, 60.0 * 2.5 * MIB, 0.1);
    }
    // A queue longer than the pipe keeps it full although windows are halved.
    close_to(brought.values().sum::<u64>() as f64, 600.0 * MIB, 0.01);
}

#[test]
fn one_slow_connection_leaves_its_share_to_the_others() {
    let mut link = Link::new(Rate::per_second(10 << 20));
    link.lane = LaneSpeed::EveryNth {
        every: 3,
        rate: Rate::per_second(100 << 20),
        factor: 100,
    };
    let mut net = net(&link);
    let ids = started(&mut net, 3);
    run(&mut net, 5.0);
    let brought = run(&mut net, 20.0);
    close_to(brought[&ids[2]] as f64, 20.0 * MIB, 1e-3);
    close_to(
        (brought[&ids[0]] + brought[&ids[1]]) as f64,
        180.0 * MIB,
        0.02,
    );
}

#[test]
fn slow_start_doubles_in_each_round_trip() {
    let mut link = Link::new(Rate::per_second(1 << 40));
    link.rtt = Duration::from_millis(100);
    let mut net = net(&link);
    let ids = started(&mut net, 1);
    // After n round trips: 10 segments × (2ⁿ − 1).
    for n in 1..8i32 {
        let brought = run(&mut net, 0.1);
        let round = WINDOW_FIRST * f64::from(1 << (n - 1));
        close_to(brought[&ids[0]] as f64, round, 1e-3);
    }
}

#[test]
fn random_loss_leaves_what_the_square_root_law_says() {
    let mut link = Link::new(Rate::per_second(1 << 30));
    link.rtt = Duration::from_millis(50);
    link.loss = 0.001;
    let mut net = net(&link);
    let ids = started(&mut net, 2);
    run(&mut net, 5.0);
    let brought = run(&mut net, 10.0);
    // 1.22 × 1460 B / (50 ms × √0.001) = 1 126 525 B/s.
    for id in ids {
        close_to(brought[&id] as f64, 11_265_250.0, 1e-3);
    }
}

#[test]
fn others_take_their_shares() {
    let mut link = Link::new(Rate::per_second(10 << 20));
    link.cross = 3;
    let mut net = net(&link);
    let ids = started(&mut net, 1);
    run(&mut net, 5.0);
    let brought = run(&mut net, 60.0);
    close_to(brought[&ids[0]] as f64, 60.0 * 2.5 * MIB, 0.1);
    net.change(Change::Cross(0));
    run(&mut net, 10.0);
    let brought = run(&mut net, 20.0);
    close_to(brought[&ids[0]] as f64, 200.0 * MIB, 0.05);
}

#[test]
fn a_short_queue_and_one_flow_leave_some_of_the_pipe_empty() {
    let mut link = Link::new(Rate::per_second(10 << 20));
    link.buffer = Duration::ZERO;
    let mut net = net(&link);
    let ids = started(&mut net, 1);
    run(&mut net, 5.0);
    let brought = run(&mut net, 60.0);
    // A sawtooth between half and full, without a queue: three quarters on average.
    close_to(brought[&ids[0]] as f64, 600.0 * 0.75 * MIB, 0.05);
}

#[test]
fn silence_is_silent_and_ends() {
    let mut link = Link::new(Rate::per_second(10 << 20));
    link.lane = LaneSpeed::Each(Rate::per_second(1 << 20));
    let mut net = net(&link);
    let ids = started(&mut net, 1);
    run(&mut net, 1.0);
    net.silence(ids[0], net.now + 3_000_000);
    assert_eq!(run(&mut net, 3.0)[&ids[0]], 0);
    close_to(run(&mut net, 10.0)[&ids[0]] as f64, 10.0 * MIB, 0.05);
}

#[test]
fn a_disk_that_is_slower_than_the_link_rules() {
    let link = Link::new(Rate::per_second(10 << 20));
    let mut net = Net::new(&link, 4.0 * MIB, Dice::new(1));
    let ids = started(&mut net, 4);
    run(&mut net, 2.0);
    let brought = run(&mut net, 10.0);
    for id in ids {
        close_to(brought[&id] as f64, 10.0 * MIB, 0.01);
    }
}
