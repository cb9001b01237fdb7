//! The worlds of the scoreboard, and the ideal that each is compared with.
//!
//! Read [`scoreboard`]. Sizes are such that the ideal takes about half a minute, as a large download does.

use core::time::Duration;

use tur_core::Rate;

use crate::dice::Dice;
use crate::link::{Change, LaneSpeed, Link};
use crate::origin::{Deed, Server, When};
use crate::scenario::{Job, Scenario};

const KB: u64 = 1_000;
const MB: u64 = 1_000 * KB;
const GB: u64 = 1_000 * MB;

/// A row of the scoreboard.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The world.
    pub scenario: Scenario,
    /// What is in it, for the reader of the table.
    pub about: &'static str,
    /// Lanes that the ideal uses: as many as the origin allows and as bring something.
    pub lanes: u16,
    /// Why the ideal is what it is.
    pub because: &'static str,
    /// What connections carry in the ideal case, if that is not what comes first: bad ones can be replaced.
    pub replaced: Option<LaneSpeed>,
}

impl Scene {
    /// The time that nobody can beat here with so many lanes: set-up, a round trip for the first answer, and then all
    /// bytes at what link and lanes carry together from the first instant on. No slow start, no search, no losses.
    #[must_use]
    pub fn ideal(&self, seed: u64) -> Duration {
        let scenario = &self.scenario;
        let (mut link, mut at) = (scenario.link.clone(), 0.0);
        let begin = (link.handshake() + link.rtt + scenario.server.first_byte).as_secs_f64();
        let mut left = (scenario.server.size * scenario.jobs.len() as u64) as f64;
        let mut changes = link.changes.clone();
        changes.sort_by_key(|(at, _)| *at);
        for (when, change) in changes {
            let until = when.as_secs_f64();
            let rate = self.rate(&link, seed);
            let active = (until - f64::max(begin, at)).max(0.0);
            if rate * active >= left {
                break;
            }
            left -= rate * active;
            at = until;
            match change {
                Change::Rate(rate) => link.rate = rate,
                Change::Lane(lane) => link.lane = lane,
                Change::Cross(flows) => link.cross = flows,
                // Another lane takes over at once.
                Change::Silence(_) | Change::Outage(_) | Change::Reset => {}
            }
        }
        Duration::from_secs_f64(f64::max(begin, at) + left / self.rate(&link, seed))
    }

    /// What all lanes together carry, in bytes per second.
    fn rate(&self, link: &Link, seed: u64) -> f64 {
        let lanes = u32::from(self.lanes);
        let mut dice = lane_dice(&Dice::new(seed));
        let law = crate::net::loss_cap(link);
        let lane = self.replaced.unwrap_or(link.lane);
        let sum: f64 = (1..=lanes).map(|n| lane.draw(n, &mut dice).min(law)).sum();
        let share = f64::from(lanes) / f64::from(lanes + link.cross);
        let limit = self.scenario.limit.unwrap_or(link.rate).min(link.rate);
        sum.min(limit.bytes_per_second() as f64)
            .min(link.rate.bytes_per_second() as f64 * share)
    }
}

/// The dice that the limits of connections are drawn with.
pub(crate) fn lane_dice(world: &Dice) -> Dice {
    world.fork(1).fork(1)
}

fn mbps(megabytes: u64) -> Rate {
    Rate::per_second(megabytes * MB)
}

fn scene(name: &str, about: &'static str, link: Link, server: Server) -> Scene {
    let mut scenario = Scenario::new(name, link, server);
    scenario.bounds.requests = 100_000;
    scenario.bounds.steps = 50_000_000;
    Scene {
        scenario,
        about,
        lanes: 32,
        because: "the link",
        replaced: None,
    }
}

impl Scene {
    fn ideal_with(mut self, lanes: u16, because: &'static str) -> Self {
        (self.lanes, self.because) = (lanes, because);
        self
    }

    fn replacing(mut self, lane: LaneSpeed) -> Self {
        self.replaced = Some(lane);
        self
    }

    fn lanes_max(mut self, lanes: u16) -> Self {
        for job in &mut self.scenario.jobs {
            job.lanes_max = lanes;
        }
        self
    }
}

/// A link whose connections carry `lane` each.
fn capped(link: u64, lane: LaneSpeed) -> Link {
    Link {
        lane,
        ..Link::new(mbps(link))
    }
}

fn each(rate: u64) -> LaneSpeed {
    LaneSpeed::Each(Rate::per_second(rate))
}

/// Every row.
#[must_use]
pub fn scoreboard() -> Vec<Scene> {
    let mut scenes = clean();
    scenes.extend(lanes());
    scenes.extend(limits());
    scenes.extend(weather());
    scenes.extend(sizes());
    scenes
}

fn clean() -> Vec<Scene> {
    let far = Link {
        rtt: Duration::from_millis(200),
        ..Link::new(mbps(50))
    };
    let near = Link {
        rtt: Duration::from_millis(10),
        buffer: Duration::from_millis(100),
        ..Link::new(Rate::per_second(12_500 * KB))
    };
    vec![
        scene(
            "clean fat link",
            "1 Gbit/s, 20 ms, 4 GB",
            Link::new(mbps(125)),
            Server::new(4 * GB),
        ),
        scene(
            "one lane saturates",
            "100 Mbit/s, 10 ms, a queue of 100 ms, 375 MB",
            near,
            Server::new(375 * MB),
        ),
        scene(
            "200 ms round trip",
            "50 MB/s, 200 ms, a queue of 50 ms, 1.5 GB",
            far,
            Server::new(1_500 * MB),
        ),
    ]
}

fn lanes() -> Vec<Scene> {
    let slow_one = LaneSpeed::EveryNth {
        every: 4,
        rate: mbps(8),
        factor: 20,
    };
    let mut changing = capped(50, each(4 * MB));
    changing.changes = vec![(Duration::from_secs(15), Change::Lane(each(MB)))];
    let mut stalling = capped(125, each(4 * MB));
    stalling.changes = vec![(
        Duration::from_secs(10),
        Change::Silence(Duration::from_secs(30)),
    )];
    vec![
        scene(
            "16 capped lanes",
            "2 MB/s on each connection, 16 allowed by the user, 1 GB",
            capped(125, each(2 * MB)),
            Server::new(GB),
        )
        .lanes_max(16)
        .ideal_with(16, "16 lanes at their cap"),
        scene(
            "64 capped lanes",
            "0.5 MB/s on each connection, 64 allowed by the user, 1 GB",
            capped(125, each(500 * KB)),
            Server::new(GB),
        )
        .lanes_max(64)
        .ideal_with(64, "64 lanes at their cap"),
        scene(
            "cap changes midway",
            "4 MB/s on each connection, 1 MB/s after 15 s, over 50 MB/s, 1.23 GB",
            changing,
            Server::new(1_230 * MB),
        )
        .ideal_with(32, "the link, later 32 lanes at their cap"),
        scene(
            "one of 4 lanes 20x slower",
            "8 MB/s on each connection, every fourth 20 times slower, 4 allowed, 960 MB",
            capped(125, slow_one),
            Server::new(960 * MB),
        )
        .lanes_max(4)
        .ideal_with(
            4,
            "4 connections at full speed, because a slow one can be replaced",
        )
        .replacing(each(8 * MB)),
        scene(
            "heavy-tailed lanes",
            "Pareto rates, at least 0.5 MB/s, exponent 1.5, 16 allowed, over 50 MB/s, 600 MB",
            capped(50, LaneSpeed::Pareto(Rate::per_second(500 * KB), 1.5)),
            Server::new(600 * MB),
        )
        .lanes_max(16)
        .ideal_with(
            16,
            "the first 16 connections at the speeds that the seed draws",
        ),
        scene(
            "one lane stalls",
            "4 MB/s on each connection, 8 allowed, one silent for 30 s after 10 s, 960 MB",
            stalling,
            Server::new(960 * MB),
        )
        .lanes_max(8)
        .ideal_with(8, "8 lanes at their cap; another takes over at once"),
    ]
}

fn limits() -> Vec<Scene> {
    let mut resetting = Server::new(960 * MB);
    resetting.reset_every = Some(8 * MB);
    let mut limited = scene(
        "limited to 5 MB/s, 8 lanes",
        "5 MB/s allowed by the user, 8 lanes, over 125 MB/s, 150 MB",
        Link::new(mbps(125)),
        Server::new(150 * MB),
    )
    .lanes_max(8)
    .ideal_with(8, "the rate limit");
    limited.scenario.limit = Some(mbps(5));
    for job in &mut limited.scenario.jobs {
        job.lanes_start = Some(8);
    }
    vec![
        scene(
            "429 past 4 lanes",
            "8 MB/s on each connection, 429 to a fifth, 1 GB",
            capped(125, each(8 * MB)),
            Server::new(GB).rule(When::Over(4), Deed::Status(429, None)),
        )
        .ideal_with(4, "4 lanes at their cap"),
        scene(
            "403 past 2 lanes",
            "8 MB/s on each connection, 403 to a third, 500 MB",
            capped(125, each(8 * MB)),
            Server::new(500 * MB).rule(When::Over(2), Deed::Status(403, None)),
        )
        .ideal_with(2, "2 lanes at their cap"),
        scene(
            "reset every 8 MB",
            "4 MB/s on each connection, each reset after 8 MB, over 32 MB/s, 960 MB",
            capped(32, each(4 * MB)),
            resetting,
        ),
        limited,
    ]
}

fn weather() -> Vec<Scene> {
    let lossy = |loss| Link {
        rtt: Duration::from_millis(40),
        loss,
        ..Link::new(mbps(25))
    };
    let mut crossed = Link::new(mbps(25));
    crossed.cross = 4;
    crossed.changes = vec![
        (Duration::from_secs(10), Change::Cross(0)),
        (Duration::from_secs(20), Change::Cross(8)),
    ];
    let mut dipping = Link::new(mbps(25));
    dipping.changes = vec![
        (
            Duration::from_secs(10),
            Change::Rate(Rate::per_second(6_250 * KB)),
        ),
        (Duration::from_secs(16), Change::Rate(mbps(25))),
    ];
    vec![
        scene(
            "0.1 % loss",
            "25 MB/s, 40 ms, 750 MB",
            lossy(0.001),
            Server::new(750 * MB),
        )
        .ideal_with(
            32,
            "the link, or 32 lanes at what the square-root law leaves them",
        ),
        scene(
            "0.5 % loss",
            "25 MB/s, 40 ms, 600 MB",
            lossy(0.005),
            Server::new(600 * MB),
        )
        .ideal_with(32, "32 lanes at what the square-root law leaves them"),
        scene(
            "cross traffic",
            "25 MB/s; 4 flows of others for 10 s, none for 10 s, then 8; 500 MB",
            crossed,
            Server::new(500 * MB),
        )
        .ideal_with(8, "the fair share of 8 lanes among the others"),
        scene(
            "rate dip",
            "25 MB/s, a quarter of it from 10 s to 16 s, 640 MB",
            dipping,
            Server::new(640 * MB),
        ),
    ]
}

fn sizes() -> Vec<Scene> {
    let huge = Link {
        rtt: Duration::from_millis(10),
        ..Link::new(mbps(1_250))
    };
    let tls = Link {
        tls: true,
        ..Link::new(mbps(12))
    };
    let mut two = scene(
        "two downloads at once",
        "4 MB/s on each connection, over 50 MB/s, twice 750 MB from one origin",
        capped(50, each(4 * MB)),
        Server::new(750 * MB),
    )
    .ideal_with(32, "the link, until both are complete");
    two.scenario.jobs = vec![Job::default(), Job::default()];
    vec![
        scene(
            "tiny file",
            "12 MB/s, 20 ms, TLS, 10 kB",
            tls,
            Server::new(10 * KB),
        )
        .ideal_with(
            1,
            "set-up and one round trip; the model spreads the first window over one more",
        ),
        scene(
            "100 GB file",
            "10 Gbit/s, 10 ms, 100 GB",
            huge,
            Server::new(100 * GB),
        ),
        two,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ideal(name: &str) -> f64 {
        let scene = scoreboard()
            .into_iter()
            .find(|scene| scene.scenario.name == name);
        scene.expect("a row of this name").ideal(1).as_secs_f64()
    }

    #[test]
    fn ideals_are_what_can_be_computed_by_hand() {
        let near = |name, expected: f64| {
            let ideal = ideal(name);
            assert!(
                (ideal - expected).abs() < 1e-3,
                "{name}: {ideal}, not {expected}"
            );
        };
        near("clean fat link", 0.04 + 32.0);
        near("16 capped lanes", 0.04 + 31.25);
        near("cap changes midway", 15.0 + (1230.0 - 50.0 * 14.96) / 32.0);
        near("one of 4 lanes 20x slower", 0.04 + 30.0);
        near("rate dip", 16.0 + (640.0 - 25.0 * 9.96 - 6.25 * 6.0) / 25.0);
        near("two downloads at once", 0.04 + 30.0);
        near("limited to 5 MB/s, 8 lanes", 0.04 + 30.0);
        near(
            "0.5 % loss",
            0.08 + 600e6 / (32.0 * 1.22 * 1460.0 / (0.04 * 0.005f64.sqrt())),
        );
    }

    #[test]
    fn names_are_unique_and_ideals_are_long_enough_to_matter() {
        let scenes = scoreboard();
        let names: std::collections::BTreeSet<_> = scenes
            .iter()
            .map(|scene| scene.scenario.name.clone())
            .collect();
        assert_eq!(names.len(), scenes.len());
        for scene in scenes
            .iter()
            .filter(|scene| scene.scenario.name != "tiny file")
        {
            let ideal = scene.ideal(1).as_secs();
            assert!(
                (15..=90).contains(&ideal),
                "{}: {ideal} s",
                scene.scenario.name
            );
        }
    }
}
