//! What all downloads have in common at an origin: the pool, the lanes, and what is remembered of it.
//!
//! Read [`OriginSide`]. Whoever drives transfers tells `OriginLanes` what they do and hands each its width; the widths
//! travel as words, as those of the pool do.

use core::time::Duration;
use std::collections::BTreeMap;

use tur_core::{Origin, Timestamp};
use tur_sched::{
    Event, Hint, LanesAction, LanesEvent, OriginLanes, Pool, PoolAction, PoolEvent, ScalerConfig,
    SessionId,
};

use super::World;
use super::lane::Word;
use crate::net::ConnId;
use crate::violation::Violation;

/// How long the engine keeps an unused connection.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// One origin: the pool decides about sessions, `live` holds the connections, `lanes` says who may use how many.
#[derive(Debug)]
pub(super) struct OriginSide {
    pub(super) pool: Pool,
    pub(super) live: BTreeMap<SessionId, ConnId>,
    pub(super) lanes: Option<Scaling>,
}

/// The lanes of an origin, as long as a download works there.
#[derive(Debug)]
pub(super) struct Scaling {
    lanes: OriginLanes,
    members: usize,
}

impl OriginSide {
    /// When something is to be done by itself: by the pool, by the lanes.
    pub(super) fn wakeups(&self) -> [Option<Timestamp>; 2] {
        let lanes = self
            .lanes
            .as_ref()
            .and_then(|scaling| scaling.lanes.next_wakeup());
        [self.pool.next_wakeup(), lanes]
    }
}

/// What a download has told of itself at an origin.
#[derive(Debug)]
pub(super) struct Membership {
    origin: Origin,
    /// Lanes that receive, and lanes that would find work.
    told: (u16, u16),
}

impl World<'_> {
    /// Tells an origin's pool what happened and passes on what it decides.
    pub(super) fn tell_pool(&mut self, origin: &Origin, event: PoolEvent) {
        let (now, limit) = (self.timestamp(), self.lanes_max());
        let side = self
            .origins
            .entry(origin.clone())
            .or_insert_with(|| OriginSide {
                pool: Pool::new(limit, IDLE_MAX),
                live: BTreeMap::new(),
                lanes: None,
            });
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
        let scaling = self
            .origins
            .get_mut(origin)
            .and_then(|side| side.lanes.as_mut());
        let Some(Scaling { lanes, .. }) = scaling else {
            return;
        };
        lanes.handle(now, event);
        let mut notes = Vec::new();
        while let Some(action) = lanes.poll_action() {
            match action {
                LanesAction::Width { transfer, lanes } => self.words.push_back(Word::Width {
                    download: index(transfer),
                    lanes,
                }),
                LanesAction::Note(note) => notes.push(note),
            }
        }
        for note in notes {
            self.log(format_args!("lanes of {origin}: {note}"));
        }
    }

    /// What a download does, told to the lanes of the origin where it is asked for now. Before anything was answered
    /// there is nothing to tell, and where it is asked for may yet change.
    pub(super) fn attend(&mut self, d: usize) {
        let now = self.timestamp();
        let Some(transfer) = &self.downloads[d].transfer else {
            return;
        };
        if transfer.identity().is_none() {
            return;
        }
        let streaming = u16::try_from(transfer.lanes_streaming()).unwrap_or(u16::MAX);
        let told = (streaming, transfer.lanes_useful(now));
        let there = &transfer.target().origin;
        let member = self.downloads[d].member.as_ref();
        let at_home = member.is_some_and(|member| member.origin == *there);
        if at_home && member.is_some_and(|member| member.told == told) {
            return;
        }
        let origin = there.clone();
        if !at_home {
            self.part(d);
            self.join(d, &origin);
        }
        self.downloads[d].member = Some(Membership {
            origin: origin.clone(),
            told,
        });
        let event = LanesEvent::Lanes {
            transfer: d as u64,
            streaming,
            useful: told.1,
        };
        self.tell_lanes(&origin, event);
    }

    fn join(&mut self, d: usize, origin: &Origin) {
        let hint = self.memory.hint(origin, self.wall);
        let config = ScalerConfig {
            lanes_max: u16::try_from(self.lanes_max()).unwrap_or(u16::MAX),
            lanes_start: hint.map_or(1, |hint| hint.lanes),
            limit: hint.and_then(|hint| Some(hint.lanes_limit?.lanes)),
        };
        let now = self.timestamp();
        if let Some(side) = self.origins.get_mut(origin) {
            let scaling = side.lanes.get_or_insert_with(|| Scaling {
                lanes: OriginLanes::new(config, now),
                members: 0,
            });
            scaling.members += 1;
        }
        let start = self.scenario.jobs.get(d).and_then(|job| job.lanes_start);
        if let Some(event) = self.join_event(d, start) {
            self.tell_lanes(origin, event);
        }
    }

    fn join_event(&self, d: usize, start: Option<u16>) -> Option<LanesEvent> {
        let download = &self.downloads[d];
        let (least, most) = download
            .bounds
            .unwrap_or((1, self.scenario.jobs.get(d)?.lanes_max));
        Some(LanesEvent::Join {
            transfer: d as u64,
            least,
            most,
            start,
            useful: download.transfer.as_ref()?.lanes_useful(self.timestamp()),
        })
    }

    /// The user wants at least and at most so many lanes from now on.
    pub(super) fn set_bounds(&mut self, d: usize, (least, most): (u16, u16)) {
        let most = most.max(1);
        self.downloads[d].bounds = Some((least.clamp(1, most), most));
        self.tell(d, Event::Ceiling(most));
        if let Some(event) = self.join_event(d, None) {
            self.tell_home(d, event);
        }
    }

    /// A download is over, or goes to another origin. What was learned of this one is remembered; with the last one its
    /// lanes go too.
    pub(super) fn part(&mut self, d: usize) {
        let Some(member) = self.downloads[d].member.take() else {
            return;
        };
        let transfer = d as u64;
        self.tell_lanes(&member.origin, LanesEvent::Gone { transfer });
        let Some(side) = self.origins.get_mut(&member.origin) else {
            return;
        };
        if let Some(scaling) = &mut side.lanes {
            let facts = scaling.lanes.facts();
            scaling.members -= 1;
            if scaling.members == 0 {
                side.lanes = None;
            }
            self.memory.note(&member.origin, self.wall, facts);
        }
    }

    /// Tells the lanes of a download's origin what it did.
    pub(super) fn tell_home(&mut self, d: usize, event: LanesEvent) {
        let member = self.downloads[d].member.as_ref();
        if let Some(origin) = member.map(|member| member.origin.clone()) {
            self.tell_lanes(&origin, event);
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
