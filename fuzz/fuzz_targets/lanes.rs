//! The lanes of one origin: whatever transfers say and measure, each is told a width that it may have, the widths are
//! those of the origin, and the scaler neither sleeps for ever nor spins.
//!
//! The input is two bytes (ceiling, start) and a list of turns, three bytes each: what happens, to whom, how much.
#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tur_core::Timestamp;
use tur_sched::{Asker, LaneId, LanesAction, LanesEvent, OriginLanes, ScalerConfig};

const TRANSFERS: u64 = 4;
const TURNS_MAX: usize = 400;
/// Wake-ups at one and the same time beyond which it spins.
const WAKEUPS_MAX: usize = 64;

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let Some((&[most, start], turns)) = data.split_first_chunk() else {
        return;
    };
    let config = ScalerConfig {
        lanes_max: u16::from(most % 40) + 1,
        lanes_start: u16::from(start % 40),
        limit: (start >= 128).then_some(u16::from(start % 16)),
    };
    let mut world = World {
        lanes: OriginLanes::new(config, Timestamp::ZERO),
        room: config.lanes_max,
        members: BTreeMap::new(),
        now: Timestamp::ZERO,
    };
    for turn in turns.chunks_exact(3).take(TURNS_MAX) {
        world.turn(turn[0], u64::from(turn[1]), turn[2]);
    }
    world.rest();
    for transfer in 0..TRANSFERS {
        world.leave(transfer);
    }
});

/// A transfer that is here.
#[derive(Clone, Copy)]
struct Member {
    most: u16,
    useful: u16,
    /// What it was told last; 0 before it was told anything.
    told: u16,
}

struct World {
    lanes: OriginLanes,
    room: u16,
    members: BTreeMap<u64, Member>,
    now: Timestamp,
}

impl World {
    /// One thing happens.
    fn turn(&mut self, what: u8, whom: u64, much: u8) {
        self.now = self.now + Duration::from_millis(u64::from(much) * 3);
        let (transfer, lanes) = (whom % TRANSFERS, u16::from(much % 48));
        let is_here = self.members.contains_key(&transfer);
        let event = match what % 12 {
            0 | 1 => return self.join(transfer, whom, lanes),
            2 => return self.leave(transfer),
            3 => LanesEvent::Refused { transfer },
            4 => {
                self.room = lanes.max(1);
                LanesEvent::Room { lanes }
            }
            5 => LanesEvent::Opened {
                handshake: Duration::from_millis(u64::from(much)),
            },
            6 => LanesEvent::Answered {
                rtt: Duration::from_micros(u64::from(much) * 500),
                reused: whom.is_multiple_of(2),
            },
            7 => return self.rest(),
            8 if is_here => {
                let useful = lanes;
                let member = self.members.get_mut(&transfer).expect("it is here");
                member.useful = useful.min(member.most);
                let streaming = member.told.min(u16::from(much / 4));
                LanesEvent::Lanes {
                    transfer,
                    streaming,
                    useful,
                }
            }
            _ if is_here => LanesEvent::Landed {
                lane: Asker {
                    transfer,
                    lane: LaneId((whom / TRANSFERS % 16) as u16),
                },
                bytes: 1 << (much % 30),
                busy: Duration::from_millis(u64::from(much)),
            },
            _ => LanesEvent::Tick,
        };
        self.tell(event);
    }

    fn join(&mut self, transfer: u64, whom: u64, lanes: u16) {
        let told = self.members.get(&transfer).map_or(0, |member| member.told);
        let most = lanes.max(1);
        let useful = (whom / TRANSFERS % 40) as u16;
        let member = Member {
            most,
            useful: useful.min(most),
            told,
        };
        self.members.insert(transfer, member);
        self.tell(LanesEvent::Join {
            transfer,
            least: (whom / 16) as u16,
            most: lanes,
            start: whom.is_multiple_of(3).then_some(lanes),
            useful,
        });
    }

    fn leave(&mut self, transfer: u64) {
        self.members.remove(&transfer);
        self.tell(LanesEvent::Gone { transfer });
    }

    /// Half a minute passes.
    fn rest(&mut self) {
        let until = self.now + Duration::from_secs(30);
        let mut same = 0;
        while let Some(at) = self.lanes.next_wakeup().filter(|at| *at <= until) {
            same = if at > self.now { 0 } else { same + 1 };
            assert!(same < WAKEUPS_MAX, "it spins: {:?}", self.lanes);
            self.now = self.now.max(at);
            self.tell(LanesEvent::Tick);
        }
    }

    fn tell(&mut self, event: LanesEvent) {
        self.lanes.handle(self.now, event);
        while let Some(action) = self.lanes.poll_action() {
            match action {
                LanesAction::Width { transfer, lanes } => {
                    let member = self
                        .members
                        .get_mut(&transfer)
                        .expect("told to who is here");
                    assert!(lanes >= 1, "nobody starves");
                    member.told = lanes;
                }
                // What is said is one line.
                LanesAction::Note(note) => assert!(!note.to_string().contains('\n')),
            }
        }
        self.check();
    }

    /// What holds after each event.
    fn check(&self) {
        let width = self.lanes.width();
        assert!((1..=self.room).contains(&width), "{width} of {}", self.room);
        let mut sum = 0;
        for (transfer, member) in &self.members {
            let most = member.most.min(self.room);
            assert!(
                (1..=most).contains(&member.told),
                "{transfer} is told {} of {most}",
                member.told
            );
            sum += usize::from(member.told);
        }
        let most = usize::from(width).max(self.members.len());
        assert!(sum <= most, "{sum} lanes are given away of {width}");
        let able: usize = self
            .members
            .values()
            .map(|m| usize::from(m.most.min(self.room)))
            .sum();
        assert!(
            sum >= able.min(usize::from(width)),
            "{sum} of {width} are used"
        );
        let facts = self.lanes.facts();
        assert!(facts.lanes.is_none_or(|lanes| lanes >= 1));
        assert!(
            facts
                .ratio
                .is_none_or(|ratio| (1.1..=2.5).contains(&ratio.value()))
        );
    }
}
