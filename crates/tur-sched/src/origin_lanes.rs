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

impl Member {
    /// What it can use of the origin's lanes.
    fn want(&self, lanes_max: u16) -> Want {
        Want {
            least: self.least,
            // A transfer that has not begun is given what it may need: it will not use more than it can.
            useful: self.useful.max(1),
            most: self.most.min(lanes_max),
        }
    }

    /// True if it can never have a second lane: it gets one, whatever the others do.
    fn is_narrow(&self) -> bool {
        self.most == 1
    }
}

/// All lanes to one origin.
///
/// Thousands of small fetches come and go here, so what concerns all members is kept as sums, and nothing is divided while
/// nobody could get another share.
#[derive(Clone, Debug)]
pub struct OriginLanes {
    scaler: Scaler,
    lanes_max: u16,
    members: BTreeMap<u64, Member>,
    sums: Sums,
    /// The width that was divided last; `None` if it is to be divided anew.
    divided: Option<u16>,
    actions: VecDeque<LanesAction>,
}

/// What all members do together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums {
    streaming: u64,
    useful: u64,
    /// Members that can have more than one lane.
    wide: usize,
    /// How many were promised so many lanes.
    promises: BTreeMap<u16, usize>,
}

impl Sums {
    fn add(&mut self, member: &Member) {
        self.streaming += u64::from(member.streaming);
        self.useful += u64::from(member.useful);
        self.wide += usize::from(!member.is_narrow());
        *self.promises.entry(member.least).or_default() += 1;
    }

    fn subtract(&mut self, member: &Member) {
        self.streaming -= u64::from(member.streaming);
        self.useful -= u64::from(member.useful);
        self.wide -= usize::from(!member.is_narrow());
        if let Some(n) = self.promises.get_mut(&member.least) {
            *n -= 1;
            if *n == 0 {
                self.promises.remove(&member.least);
            }
        }
    }
}

impl OriginLanes {
    /// An origin that nobody uses yet.
    #[must_use]
    pub fn new(config: ScalerConfig, now: Timestamp) -> Self {
        Self {
            scaler: Scaler::new(config, now),
            lanes_max: config.lanes_max,
            members: BTreeMap::new(),
            sums: Sums::default(),
            divided: None,
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
                if let Some(old) = self.members.get(&transfer).copied() {
                    let useful = useful.min(old.most);
                    self.put(
                        transfer,
                        Member {
                            streaming,
                            useful,
                            ..old
                        },
                    );
                }
                self.sum(now);
            }
            LanesEvent::Gone { transfer } => {
                if let Some(member) = self.members.remove(&transfer) {
                    self.sums.subtract(&member);
                    self.divided = self.divided.filter(|_| self.sums.wide == 0);
                }
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
                self.divided = None;
            }
            LanesEvent::Refused { .. } => {}
            LanesEvent::Landed { lane, bytes, busy } => {
                self.scaler
                    .handle(now, ScalerEvent::Landed { lane, bytes, busy });
            }
            LanesEvent::Room { lanes } => {
                if self.lanes_max != lanes.max(1) {
                    self.lanes_max = lanes.max(1);
                    self.divided = None;
                }
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
        self.put(id, member);
        self.promise(now);
        if let Some(start) = start {
            self.scaler.handle(now, ScalerEvent::Start(start.min(most)));
        }
        self.sum(now);
    }

    /// Puts a member in the place of what it was, and sees whether that changes anybody's share.
    fn put(&mut self, id: u64, member: Member) {
        let old = self.members.insert(id, member);
        if let Some(old) = &old {
            self.sums.subtract(old);
        }
        self.sums.add(&member);
        let want = |member: &Member| member.want(self.lanes_max);
        if old.as_ref().map(want) == Some(want(&member)) {
            return;
        }
        if self.sums.wide > 0 || old.is_some_and(|old| !old.is_narrow()) {
            self.divided = None;
        } else if member.told != 1 {
            // It gets its one lane, and so do all others.
            self.tell(id, 1);
        }
    }

    /// Tells a transfer its width, if that is another one.
    fn tell(&mut self, transfer: u64, lanes: u16) {
        if let Some(member) = self.members.get_mut(&transfer)
            && member.told != lanes
        {
            member.told = lanes;
            self.actions
                .push_back(LanesAction::Width { transfer, lanes });
        }
    }

    /// Tells the scaler the largest promise that was made to a transfer that is here.
    fn promise(&mut self, now: Timestamp) {
        let most = self.sums.promises.last_key_value();
        let least = most.map_or(1, |(least, _)| *least);
        self.scaler.handle(now, ScalerEvent::AtLeast(least));
    }

    /// Tells the scaler what all transfers do together.
    fn sum(&mut self, now: Timestamp) {
        let most = |sum: u64| u16::try_from(sum).unwrap_or(u16::MAX);
        let (streaming, useful) = (most(self.sums.streaming), most(self.sums.useful));
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
        let width = self.scaler.width();
        let is_new = self.divided.is_none();
        if !is_new && (self.divided == Some(width) || self.sums.wide == 0) {
            return;
        }
        self.divided = Some(width);
        let wants = self.members.iter();
        let wants = wants.map(|(id, member)| (*id, member.want(self.lanes_max)));
        for (transfer, lanes) in shares(width, &wants.collect()) {
            self.tell(transfer, lanes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything computed anew: what each member must have been told by now.
    fn judge(lanes: &OriginLanes) {
        let wants = lanes.members.iter();
        let wants = wants.map(|(id, member)| (*id, member.want(lanes.lanes_max)));
        for (id, share) in shares(lanes.width(), &wants.collect()) {
            assert_eq!(lanes.members[&id].told, share, "{id}");
        }
        let mut sums = Sums::default();
        lanes.members.values().for_each(|member| sums.add(member));
        assert_eq!(lanes.sums, sums);
    }

    proptest! {
        #[test]
        fn everybody_is_told_what_dividing_anew_would_give(
            events in proptest::collection::vec((0u8..12, 0u64..6, 0u16..5, 0u16..9), 1..200),
        ) {
            let config = ScalerConfig {
                lanes_max: 8,
                lanes_start: 1,
                limit: None,
            };
            let mut lanes = OriginLanes::new(config, Timestamp::ZERO);
            let mut told: BTreeMap<u64, u16> = BTreeMap::new();
            let mut now = Timestamp::ZERO;
            for (what, transfer, a, b) in events {
                now = now + Duration::from_millis(u64::from(b) * 20);
                let event = match what {
                    0..=2 => LanesEvent::Join {
                        transfer,
                        least: 1 + a / 2,
                        // Most are as narrow as small fetches.
                        most: if b < 6 { 1 } else { b },
                        start: (a == 4).then_some(b),
                        useful: b,
                    },
                    3..=6 => LanesEvent::Lanes {
                        transfer,
                        streaming: a,
                        useful: b,
                    },
                    7 | 8 => LanesEvent::Gone { transfer },
                    9 => LanesEvent::Refused { transfer },
                    10 => LanesEvent::Room { lanes: b },
                    _ => LanesEvent::Tick,
                };
                lanes.handle(now, event);
                if let LanesEvent::Refused { transfer } | LanesEvent::Gone { transfer } = event {
                    told.remove(&transfer);
                }
                while let Some(action) = lanes.poll_action() {
                    if let LanesAction::Width { transfer, lanes } = action {
                        prop_assert_ne!(told.insert(transfer, lanes), Some(lanes), "told twice");
                    }
                }
                judge(&lanes);
            }
        }
    }
}
