//! A world of a seed: link, origin, disk and user are drawn, and what goes wrong with them.
//!
//! Read [`random`]. Only lies that a client can see are told: a world in which right and wrong bytes look alike has no
//! right answer.

use core::time::Duration;

use tur_core::Rate;
use tur_sched::{OnChange, SpeedFloor};

use crate::dice::Dice;
use crate::link::{Change, LaneSpeed, Link};
use crate::origin::{Deed, Framing, Server, Signed, Tag, When};
use crate::scenario::{Bounds, Caps, Disk, Job, Scenario, Wish};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The world of a seed. What is added to worlds is drawn last, so that kept seeds go on to mean what they meant.
#[must_use]
pub fn random(seed: u64) -> Scenario {
    let mut dice = Dice::new(seed).fork(0x57);
    let size = size(&mut dice);
    let (link, hard_link) = link(&mut dice, size);
    let (server, hard_server) = server(&mut dice, size);
    let (disk, hard_disk) = disk(&mut dice, size);
    let expected = expected(&link, size);
    let mut scenario = Scenario::new(&format!("random {seed}"), link, server);
    scenario.disk = disk;
    let jobs = if dice.chance(150) { 2 } else { 1 };
    scenario.jobs = (0..jobs).map(|n| job(&mut dice, n, expected)).collect();
    let patient = scenario
        .jobs
        .iter()
        .all(|job| job.total_wait.is_none() && job.speed_floor.is_none());
    scenario.crash = dice
        .chance(150)
        .then(|| Duration::from_micros(dice.below(2 * expected)));
    scenario.caps = caps(&mut dice, expected);
    scenario.disk.losses = losses(&mut dice);
    limits(&mut dice, &mut scenario, expected);
    // A download that comes second is turned away by an origin whose limit the first one has reached: it takes part in
    // the division of lanes only from its first answer on, so it may give up before one is free.
    let alone = jobs == 1 && scenario.caps.exhausted == 0;
    scenario.gentle = alone && patient && !hard_link && !hard_server && !hard_disk;
    scenario.bounds = Bounds {
        requests: 5_000,
        steps: 2_000_000,
        ..Bounds::default()
    };
    scenario
}

fn size(dice: &mut Dice) -> u64 {
    match dice.below(20) {
        0 => 0,
        1 => dice.between(1, 3),
        2 => 64 * KIB * dice.between(1, 64),
        3 | 4 => dice.log_uniform(8 * MIB, 64 * MIB),
        _ => dice.log_uniform(KIB, 8 * MIB),
    }
}

/// About how long a good run takes, in microseconds.
fn expected(link: &Link, size: u64) -> u64 {
    let rate = link.rate.bytes_per_second().max(1);
    let us = u128::from(size) * 1_000_000 / u128::from(rate);
    6 * crate::origin::micros(link.rtt) + u64::try_from(us).unwrap_or(u64::MAX / 4) + 100_000
}

/// A link, and whether it is a reason to give up.
fn link(dice: &mut Dice, size: u64) -> (Link, bool) {
    let mut link = Link::new(Rate::per_second(dice.log_uniform(200 * KIB, 200 * MIB)));
    link.rtt = Duration::from_micros(dice.log_uniform(300, 400_000));
    link.tls = dice.chance(700);
    link.buffer = Duration::from_millis(dice.log_uniform(1, 300));
    if dice.chance(200) {
        link.loss = dice.unit() * 0.01;
    }
    let rate = link.rate.bytes_per_second();
    let slice = |dice: &mut Dice| Rate::per_second((rate / dice.between(2, 40)).max(50 * KIB));
    link.lane = match dice.below(10) {
        0..=2 => LaneSpeed::Each(slice(dice)),
        3 => LaneSpeed::LogNormal(slice(dice), 1.0),
        4 => LaneSpeed::Pareto(slice(dice), 1.5),
        5 => LaneSpeed::EveryNth {
            every: u32::try_from(dice.between(2, 5)).unwrap_or(2),
            rate: slice(dice),
            factor: u32::try_from(dice.between(2, 30)).unwrap_or(2),
        },
        _ => LaneSpeed::Free,
    };
    let span = 2 * expected(&link, size);
    let mut hard = false;
    for _ in 0..dice.below(4) {
        let at = Duration::from_micros(dice.below(span));
        let change = match dice.below(8) {
            0 | 1 => Change::Rate(Rate::per_second((rate / dice.between(2, 20)).max(20 * KIB))),
            2 => Change::Rate(Rate::per_second(rate)),
            3 => Change::Cross(u32::try_from(dice.below(6)).unwrap_or(0)),
            4 => Change::Lane(LaneSpeed::Each(slice(dice))),
            5 => {
                hard = true;
                Change::Silence(Duration::from_millis(dice.log_uniform(100, 90_000)))
            }
            6 => {
                hard = true;
                Change::Outage(Duration::from_millis(dice.log_uniform(100, 90_000)))
            }
            _ => {
                hard = true;
                Change::Reset
            }
        };
        link.changes.push((at, change));
    }
    (link, hard)
}

/// An origin, and whether it is a reason to give up.
fn server(dice: &mut Dice, size: u64) -> (Server, bool) {
    let mut server = Server::new(size);
    server.first_byte = Duration::from_millis(if dice.chance(300) {
        dice.log_uniform(1, 3_000)
    } else {
        0
    });
    server.keep_alive = dice.chance(850);
    server.idle_max = dice
        .chance(200)
        .then(|| Duration::from_millis(dice.log_uniform(50, 20_000)));
    let mut hard = false;
    match dice.below(12) {
        0 => server.tag = Tag::Weak,
        1 => server.tag = Tag::Absent,
        2 => server.ranges = false,
        3 => server.framing = Framing::Marked,
        4 => {
            (server.framing, server.ranges) = (Framing::UntilClose, false);
        }
        5 => server.starred = true,
        6 => {
            (server.framing, server.ranges) = (Framing::Marked, false);
        }
        _ => {}
    }
    if dice.chance(150) {
        server.connections = Some(usize::try_from(dice.between(1, 6)).unwrap_or(1));
    }
    if dice.chance(100) {
        let most = (size / 4).max(512 * KIB);
        server.reset_every = Some(dice.between(256 * KIB, most));
        hard = true;
    }
    if dice.chance(100) {
        server.signed = Some(Signed {
            good_for: Duration::from_millis(dice.log_uniform(1_000, 60_000)),
            status: dice.pick(&[401, 403, 404, 410]),
            elsewhere: dice.chance(500),
        });
        hard = true;
    }
    for _ in 0..[0, 0, 1, 1, 2, 3][usize::try_from(dice.below(6)).unwrap_or(0)] {
        let (rule, bad) = rule(dice, &server);
        // A change that comes without a tag cannot be told from what was there.
        let blind = |deed: &Deed| matches!(deed, Deed::NoTag);
        let changes = |deed: &Deed| matches!(deed, Deed::Version(..));
        let others = |is: &dyn Fn(&Deed) -> bool| server.rules.iter().any(|(_, deed)| is(deed));
        if (blind(&rule.1) && others(&changes)) || (changes(&rule.1) && others(&blind)) {
            continue;
        }
        hard |= bad;
        server.rules.push(rule);
    }
    (server, hard)
}

fn when(dice: &mut Dice) -> When {
    match dice.below(8) {
        0 => When::Always,
        1 => When::First(dice.between(1, 5)),
        2 => When::After(dice.between(1, 12)),
        3 => When::Only(dice.between(1, 6)),
        4 => When::Every(dice.between(2, 5)),
        5 => When::Later,
        _ => When::PerMille(dice.log_uniform(20, 700)),
    }
}

/// Something that goes wrong, and whether it is a reason to give up.
fn rule(dice: &mut Dice, server: &Server) -> ((When, Deed), bool) {
    let k = usize::try_from(dice.between(1, 6)).unwrap_or(1);
    let wait = dice.chance(300).then(|| dice.between(0, 5));
    // Each answer brings something worth its request: a file in answers of a byte takes as many requests as it has bytes.
    let n = dice.log_uniform(server.size / 256 + 1, server.size.max(2));
    // Where no length is told, a body that ends early is whole as far as anybody can see.
    let tells = server.framing == Framing::Length && !server.starred && server.ranges;
    let deed = match dice.below(18) {
        0 | 1 => {
            return (
                (When::Over(k), Deed::Status(dice.pick(&[429, 503]), wait)),
                false,
            );
        }
        2 => return ((When::Over(k), Deed::Status(403, None)), true),
        3 => Deed::Status(dice.pick(&[429, 503]), wait),
        4 => Deed::Status(dice.pick(&[500, 502, 504, 408]), None),
        5 => Deed::Status(dice.pick(&[404, 401, 410, 400]), None),
        6 => Deed::IgnoreRange,
        7 => Deed::Shift(dice.log_uniform(1, 100_000)),
        8 => Deed::NoContentRange,
        9 => Deed::Shorten(n),
        10 => Deed::Unsatisfiable,
        11 => Deed::Page,
        12 => Deed::NoTag,
        13 => Deed::CutAfter(n),
        14 if tells => Deed::EndAfter(n),
        15 => Deed::StallAfter(n),
        16 => Deed::Late(dice.log_uniform(10, 60_000)),
        17 if server.tag != Tag::Absent => return (change(dice, server.size), true),
        _ => dice.pick(&[Deed::Mute, Deed::Hangup]),
    };
    // An answer without a validator that is the first is believed: nothing then tells a change.
    ((when(dice), deed), true)
}

/// Another version, told apart by its tag.
fn change(dice: &mut Dice, size: u64) -> (When, Deed) {
    let other = if dice.chance(500) {
        size
    } else {
        dice.log_uniform(1, 2 * size.max(1))
    };
    let when = match dice.below(4) {
        0 => When::Every(dice.between(2, 5)),
        1 => When::Only(dice.between(2, 8)),
        _ => When::After(dice.between(1, 12)),
    };
    (when, Deed::Version(1, other))
}

fn disk(dice: &mut Dice, size: u64) -> (Disk, bool) {
    let mut disk = Disk::default();
    if dice.chance(150) {
        disk.rate = Some(Rate::per_second(dice.log_uniform(MIB, 500 * MIB)));
    }
    if dice.chance(100) {
        disk.latency = Duration::from_micros(dice.log_uniform(50, 50_000));
    }
    let full = dice.chance(80);
    disk.space = full.then(|| dice.below(size.max(1)));
    (disk, false)
}

/// When the disk loses bytes.
fn losses(dice: &mut Dice) -> Vec<Duration> {
    let n = if dice.chance(80) {
        dice.between(1, 3)
    } else {
        0
    };
    let at = |dice: &mut Dice| Duration::from_micros(dice.log_uniform(10_000, 60_000_000));
    (0..n).map(|_| at(dice)).collect()
}

/// Rate limits, of the process and of downloads, that may come, change and go. None is a reason to give up, and none
/// is so low that the run takes more than a few minutes: each draw is a step.
fn limits(dice: &mut Dice, scenario: &mut Scenario, expected: u64) {
    let least = (scenario.server.size / 100).max(20 * KIB);
    let rate = |dice: &mut Dice| Rate::per_second(dice.log_uniform(least, 64 * MIB));
    let other = |dice: &mut Dice| {
        let at = Duration::from_micros(dice.log_uniform(1_000, 2 * expected + 10_000_000));
        (at, dice.chance(700).then(|| rate(dice)))
    };
    if dice.chance(80) {
        scenario.limit = dice.chance(800).then(|| rate(dice));
        scenario.relimits = (0..dice.below(3)).map(|_| other(dice)).collect();
    }
    for job in &mut scenario.jobs {
        if dice.chance(80) {
            job.limit = dice.chance(800).then(|| rate(dice));
            for _ in 0..dice.below(3) {
                let (at, rate) = other(dice);
                job.wishes.push((at, Wish::Limit(rate)));
            }
        }
    }
}

fn caps(dice: &mut Dice, expected: u64) -> Caps {
    let mut caps = Caps::default();
    if dice.chance(150) {
        caps.process = usize::try_from(dice.between(1, 12)).unwrap_or(1);
    }
    if dice.chance(100) {
        caps.per_origin = usize::try_from(dice.between(1, 8)).ok();
    }
    if dice.chance(100) {
        let mut at = 0;
        for _ in 0..dice.between(1, 4) {
            at += dice.below(expected + 20_000_000);
            let left = dice.log_uniform(1 << 20, 1 << 31);
            caps.memory.push((Duration::from_micros(at), left));
        }
    }
    if dice.chance(80) {
        caps.exhausted = dice.log_uniform(1, 300);
    }
    caps
}

fn job(dice: &mut Dice, n: u64, expected: u64) -> Job {
    let mut job = Job {
        at: Duration::from_micros(if n == 0 { 0 } else { dice.below(expected) }),
        again: u32::try_from(dice.below(3)).unwrap_or(0),
        ..Job::default()
    };
    job.lanes_max = dice.pick(&[1, 2, 4, 8, 16, 32, 32, 32]);
    if dice.chance(300) {
        job.lanes_start = Some(dice.pick(&[1, 2, 4, 8, 16]));
    }
    if dice.chance(100) {
        job.piece_min = Some(dice.log_uniform(1, 4 * MIB));
    }
    if dice.chance(50) {
        job.total_wait = Some(Duration::from_micros(dice.between(1, 3 * expected)));
    }
    if dice.chance(50) {
        job.speed_floor = Some(SpeedFloor {
            rate: Rate::per_second(dice.log_uniform(KIB, MIB)),
            over: Duration::from_secs(dice.between(0, 10)),
        });
    }
    if dice.chance(150) {
        job.on_change = OnChange::Fail;
    }
    let at = |dice: &mut Dice| Duration::from_micros(dice.below(2 * expected));
    if dice.chance(150) {
        let pause = at(dice);
        job.wishes.push((pause, Wish::Pause));
        job.wishes.push((pause + at(dice), Wish::Unpause));
    }
    for _ in 0..[0, 0, 0, 1, 3][usize::try_from(dice.below(5)).unwrap_or(0)] {
        let least = u16::try_from(dice.between(1, 8)).unwrap_or(1);
        let most = u16::try_from(dice.between(1, 32)).unwrap_or(1);
        job.wishes.push((at(dice), Wish::Lanes(least, most)));
    }
    if dice.chance(60) {
        job.wishes.push((at(dice), Wish::Cancel));
    }
    job
}
