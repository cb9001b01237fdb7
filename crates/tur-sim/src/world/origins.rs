//! What all downloads have in common at an origin: the pool, the lanes, and what is remembered of it.
//!
//! Read [`OriginSide`]. Whoever drives transfers tells `OriginLanes` what they do and hands each its width; the widths
//! travel as words, as those of the pool do.

use core::time::Duration;
use std::collections::BTreeMap;

use tur_core::{Fault, Origin};
use tur_sched::{
    Facts, Hint, LaneId, LanesAction, LanesEvent, OriginLanes, PhiRatio, Pool, PoolAction,
    PoolEvent, Remedy, ScalerConfig, SessionId, remedy,
};

use super::World;
use super::lane::Word;
use super::obey::asker;
use crate::net::ConnId;
use crate::violation::Violation;

/// How long the engine keeps an unused connection.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// One origin: the pool decides about sessions, `live` holds the connections, `lanes` says who may use how many.
#[derive(Debug)]
pub(super) struct OriginSide {
    pub(super) pool: Pool,
    pub(super) live: BTreeMap<SessionId, ConnId>,
    pub(super) lanes: OriginLanes,
}

/// What a download has told of itself at an origin.
#[derive(Debug)]
pub(super) struct Membership {
    origin: Origin,
    streaming: u16,
    useful: u16,
}

impl World<'_> {
    fn side(&mut self, origin: &Origin) -> &mut OriginSide {
        if !self.origins.contains_key(origin) {
            let hint = self.memory.hint(origin, self.wall);
            let limit = self.lanes_max();
            let config = ScalerConfig {
                lanes_max: u16::try_from(limit).unwrap_or(u16::MAX),
                lanes_start: hint.map_or(1, |hint| hint.lanes),
                limit: hint
                    .and_then(|hint| hint.lanes_limit)
                    .map(|limit| limit.lanes),
            };
            let side = OriginSide {
                pool: Pool::new(limit, IDLE_MAX),
                live: BTreeMap::new(),
                lanes: OriginLanes::new(config, self.timestamp()),
            };
            self.origins.insert(origin.clone(), side);
        }
        self.origins.get_mut(origin).expect("it is there by now")
    }

    /// Tells an origin's pool what happened and passes on what it decides.
    pub(super) fn tell_pool(&mut self, origin: &Origin, event: PoolEvent) {
        let (now, limit) = (self.timestamp(), self.lanes_max());
        let side = self.side(origin);
        side.pool.handle(now, event);
        let lanes = side.pool.len();
        if lanes > limit {
            self.broken(Violation::TooManyLanes { lanes, limit });
        }
        self.carry(origin);
    }

    /// Passes on what a pool has decided.
    pub(super) fn carry(&mut self, origin: &Origin) {
        while let Some(side) = self.origins.get_mut(origin)
            && let Some(action) = side.pool.poll_action()
        {
            let word = match action {
                PoolAction::Close(id) => {
                    if let Some(conn) = side.live.remove(&id) {
                        self.drop_conn(conn);
                    }
                    continue;
                }
                PoolAction::Open(id, asker) => Word::Open {
                    download: index(asker.transfer),
                    lane: asker.lane,
                    id,
                    origin: origin.clone(),
                },
                PoolAction::Lend(id, asker) => Word::Lend {
                    download: index(asker.transfer),
                    lane: asker.lane,
                    id,
                    origin: origin.clone(),
                },
            };
            self.words.push_back(word);
        }
    }

    /// Tells the lanes of an origin what happened and passes on what they decide.
    pub(super) fn tell_lanes(&mut self, origin: &Origin, event: LanesEvent) {
        let now = self.timestamp();
        let side = self.side(origin);
        side.lanes.handle(now, event);
        while let Some(side) = self.origins.get_mut(origin)
            && let Some(action) = side.lanes.poll_action()
        {
            match action {
                LanesAction::Width { transfer, lanes } => self.words.push_back(Word::Width {
                    download: index(transfer),
                    lanes,
                }),
                LanesAction::Note(note) => self.log(format_args!("lanes of {origin}: {note}")),
            }
        }
    }

    /// What a download does at its origin, told to the lanes of where it is asked for now.
    pub(super) fn attend(&mut self, d: usize) {
        let now = self.timestamp();
        let Some(transfer) = &self.downloads[d].transfer else {
            return;
        };
        let streaming = u16::try_from(transfer.lanes_streaming()).unwrap_or(u16::MAX);
        let useful = transfer.lanes_useful(now);
        let there = &transfer.target().origin;
        let member = self.downloads[d].member.as_ref();
        let at_home = member.is_some_and(|member| member.origin == *there);
        if at_home && member.is_some_and(|m| (m.streaming, m.useful) == (streaming, useful)) {
            return;
        }
        let origin = there.clone();
        if !at_home {
            self.part(d);
            self.join(d, &origin);
        }
        self.downloads[d].member = Some(Membership {
            origin: origin.clone(),
            streaming,
            useful,
        });
        let event = LanesEvent::Lanes {
            transfer: d as u64,
            streaming,
            useful,
        };
        self.tell_lanes(&origin, event);
    }

    fn join(&mut self, d: usize, origin: &Origin) {
        let Some(job) = self.scenario.jobs.get(d) else {
            return;
        };
        let event = LanesEvent::Join {
            transfer: d as u64,
            least: 1,
            most: job.lanes_max,
            start: job.lanes_start,
        };
        self.tell_lanes(origin, event);
    }

    /// A download is over, or goes to another origin. What was learned of this one is remembered.
    pub(super) fn part(&mut self, d: usize) {
        let Some(member) = self.downloads[d].member.take() else {
            return;
        };
        let ranges = self.downloads[d]
            .transfer
            .as_ref()
            .map(|_| self.desk.server().ranges);
        let found = self.side(&member.origin).lanes.measurements();
        let facts = Facts {
            lanes: found
                .lane_rate
                .is_some()
                .then_some(found.lanes)
                .filter(|lanes| *lanes > 1),
            lanes_limit: found.limit,
            lane_rate: found.lane_rate,
            rtt: found.rtt,
            handshake: found.handshake,
            ratio: found
                .variation
                .map(|variation| PhiRatio::new(1.0 + variation)),
            ranges,
        };
        self.memory.note(&member.origin, self.wall, facts);
        let transfer = d as u64;
        self.tell_lanes(&member.origin, LanesEvent::Gone { transfer });
    }

    /// Tells the lanes of a download's origin what one of its lanes did.
    pub(super) fn tell_home(&mut self, d: usize, event: LanesEvent) {
        if let Some(origin) = self.downloads[d]
            .member
            .as_ref()
            .map(|member| member.origin.clone())
        {
            self.tell_lanes(&origin, event);
        }
    }

    /// A lane was busy with bytes.
    pub(super) fn tell_busy(&mut self, d: usize, lane: LaneId, (bytes, busy): (u64, Duration)) {
        let event = LanesEvent::Landed {
            lane: asker(d, lane),
            bytes,
            busy,
        };
        self.tell_home(d, event);
    }

    /// True if a fault says that the origin has enough of lanes: it turns one away while others receive.
    pub(super) fn is_enough(&self, d: usize, fault: &Fault) -> bool {
        let told = self
            .downloads
            .iter()
            .filter_map(|download| download.member.as_ref());
        let home = self.downloads[d]
            .member
            .as_ref()
            .map(|member| &member.origin);
        let receives = told
            .filter(|member| Some(&member.origin) == home)
            .any(|m| m.streaming > 0);
        receives && matches!(remedy(fault), Remedy::Fewer | Remedy::Resolve)
    }

    /// The origin has enough of lanes, if so.
    pub(super) fn enough(&mut self, d: usize, enough: bool) {
        if enough {
            self.tell_home(d, LanesEvent::Refused { transfer: d as u64 });
        }
    }

    /// What is remembered of the origin that a download begins at.
    pub(super) fn hint(&self, origin: &Origin) -> Hint {
        let profile = self.memory.hint(origin, self.wall);
        profile.map_or_else(Hint::default, |profile| Hint {
            lane_rate: profile.lane_rate,
            ratio: profile.ratio.value(),
        })
    }
}

fn index(transfer: u64) -> usize {
    usize::try_from(transfer).expect("made of an index")
}
