//! The lanes of one origin: its scaler, and what each transfer gets of them.
//!
//! Read [`OriginLanes`]. Whoever drives transfers tells it what they do and hands each its width; nothing else decides
//! how many lanes work.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use tur_core::Timestamp;

use crate::Asker;
use crate::memory::{Facts, PhiRatio};
use crate::scaler::{Scaler, ScalerAction, ScalerConfig, ScalerEvent, ScalerNote};
use crate::shares::{Want, shares};

/// What transfers do at the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanesEvent {
    /// A transfer begins, or its bounds change: at least and at most so many lanes. `start` lanes are tried at once.
    Join {
        /// Which.
        transfer: u64,
        /// Promised, if they are of use.
        least: u16,
        /// Its ceiling.
        most: u16,
        /// Begin with so many.
        start: Option<u16>,
        /// Lanes that would find work now.
        useful: u16,
    },
    /// What it has in hand and could use, as it now is.
    Lanes {
        /// Whose.
        transfer: u64,
        /// Lanes that receive a body.
        streaming: u16,
        /// Lanes that would find work.
        useful: u16,
    },
    /// It is over.
    Gone {
        /// Which.
        transfer: u64,
    },
    /// The origin refused one of its lanes while others were receiving.
    Refused {
        /// Whose.
        transfer: u64,
    },
    /// A lane was busy with `bytes` for `busy`, up to now.
    Landed {
        /// Which.
        lane: Asker,
        /// How many.
        bytes: u64,
        /// For how long.
        busy: Duration,
    },
    /// Whoever counts connections has room for so many lanes.
    Room {
        /// How many.
        lanes: u16,
    },
    /// A connection was set up.
    Opened {
        /// Connect and TLS.
        handshake: Duration,
    },
    /// A request was answered.
    Answered {
        /// From the request to its head.
        rtt: Duration,
        /// True if its connection had carried one before.
        reused: bool,
    },
    /// The time that `next_wakeup` named has come.
    Tick,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanesAction {
    /// Tell a transfer how many of its lanes may work ([`Event::Width`](crate::Event::Width)).
    Width {
        /// Whom.
        transfer: u64,
        /// How many, at least one.
        lanes: u16,
    },
    /// A decision, for people, tests and traces.
    Note(ScalerNote),
}

#[derive(Clone, Copy, Debug)]
struct Member {
    least: u16,
    most: u16,
    streaming: u16,
    useful: u16,
    /// What it was told last.
    told: u16,
}

/// All lanes to one origin.
#[derive(Clone, Debug)]
pub struct OriginLanes {
    scaler: Scaler,
    lanes_max: u16,
    members: BTreeMap<u64, Member>,
    actions: VecDeque<LanesAction>,
}

impl OriginLanes {
    /// An origin that nobody uses yet.
    #[must_use]
    pub fn new(config: ScalerConfig, now: Timestamp) -> Self {
        Self {
            scaler: Scaler::new(config, now),
            lanes_max: config.lanes_max,
            members: BTreeMap::new(),
            actions: VecDeque::new(),
        }
    }

    /// Takes what happened. Actions must have been drained before.
    pub fn handle(&mut self, now: Timestamp, event: LanesEvent) {
        match event {
            LanesEvent::Join {
                transfer,
                least,
                most,
                start,
                useful,
            } => self.join(now, (transfer, useful), (least, most), start),
            LanesEvent::Lanes {
                transfer,
                streaming,
                useful,
            } => {
                if let Some(member) = self.members.get_mut(&transfer) {
                    member.streaming = streaming;
                    member.useful = useful.min(member.most);
                }
                self.sum(now);
            }
            LanesEvent::Gone { transfer } => {
                self.members.remove(&transfer);
                self.scaler.handle(now, ScalerEvent::Gone { transfer });
                self.promise(now);
                self.sum(now);
            }
            LanesEvent::Refused { transfer } if self.members.contains_key(&transfer) => {
                self.scaler.handle(now, ScalerEvent::Refused);
                // It has taken back its own width: it is told what holds, also if that is what it was.
                if let Some(member) = self.members.get_mut(&transfer) {
                    member.told = 0;
                }
            }
            LanesEvent::Refused { .. } => {}
            LanesEvent::Landed { lane, bytes, busy } => {
                self.scaler
                    .handle(now, ScalerEvent::Landed { lane, bytes, busy });
            }
            LanesEvent::Room { lanes } => {
                self.lanes_max = lanes.max(1);
                self.scaler.handle(now, ScalerEvent::AtMost(lanes));
                self.promise(now);
            }
            LanesEvent::Opened { handshake } => {
                self.scaler.handle(now, ScalerEvent::Opened { handshake });
            }
            LanesEvent::Answered { rtt, reused } => {
                self.scaler
                    .handle(now, ScalerEvent::Answered { rtt, reused });
            }
            LanesEvent::Tick => self.scaler.handle(now, ScalerEvent::Tick),
        }
        self.divide();
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<LanesAction> {
        self.actions.pop_front()
    }

    /// When a [`Tick`](LanesEvent::Tick) is wanted.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        self.scaler.next_wakeup()
    }

    /// What has been measured, for the memory. The width is a fact only if it was searched for: a file that was over
    /// before two lanes had been measured says nothing about how many are best.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let measured = self.scaler.measurements();
        Facts {
            lanes: measured.searched.then_some(measured.lanes),
            lanes_limit: measured.limit,
            lane_rate: measured.lane_rate,
            rtt: measured.rtt,
            handshake: measured.handshake,
            ratio: measured.variation.map(|cv| PhiRatio::new(1.0 + cv)),
            ..Facts::default()
        }
    }

    /// Lanes that may work now, over all transfers.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.scaler.width()
    }

    fn join(
        &mut self,
        now: Timestamp,
        (id, useful): (u64, u16),
        (least, most): (u16, u16),
        start: Option<u16>,
    ) {
        // As asked for: what there is room for now is not what there will be.
        let most = most.max(1);
        let least = least.clamp(1, most);
        let old = self.members.get(&id).copied();
        let member = Member {
            least,
            most,
            streaming: old.map_or(0, |old| old.streaming),
            useful: useful.min(most),
            told: old.map_or(0, |old| old.told),
        };
        self.members.insert(id, member);
        self.promise(now);
        if let Some(start) = start {
            self.scaler.handle(now, ScalerEvent::Start(start.min(most)));
        }
        self.sum(now);
    }

    /// Tells the scaler the largest promise that was made to a transfer that is here.
    fn promise(&mut self, now: Timestamp) {
        let least = self.members.values().map(|m| m.least).max().unwrap_or(1);
        self.scaler.handle(now, ScalerEvent::AtLeast(least));
    }

    /// Tells the scaler what all transfers do together.
    fn sum(&mut self, now: Timestamp) {
        let sum =
            |of: fn(&Member) -> u16| self.members.values().map(of).fold(0, u16::saturating_add);
        let (streaming, useful) = (sum(|m| m.streaming), sum(|m| m.useful));
        self.scaler
            .handle(now, ScalerEvent::Lanes { streaming, useful });
    }

    /// Divides the width anew, and tells those whose share has changed.
    fn divide(&mut self) {
        while let Some(action) = self.scaler.poll_action() {
            if let ScalerAction::Note(note) = action {
                self.actions.push_back(LanesAction::Note(note));
            }
        }
        let wants = self.members.iter().map(|(id, member)| {
            // A transfer that has not begun is given what it may need: it will not use more than it can.
            let useful = member.useful.max(1);
            let want = Want {
                least: member.least,
                useful,
                most: member.most.min(self.lanes_max),
            };
            (*id, want)
        });
        for (transfer, lanes) in shares(self.scaler.width(), &wants.collect()) {
            if let Some(member) = self.members.get_mut(&transfer)
                && member.told != lanes
            {
                member.told = lanes;
                self.actions
                    .push_back(LanesAction::Width { transfer, lanes });
            }
        }
    }
}
