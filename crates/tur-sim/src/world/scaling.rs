//! How many lanes downloads get: the lanes of each origin, and what is remembered of it.
//!
//! Read [`World::attend`]. As in the engine, whoever drives transfers tells `OriginLanes` what they do and hands each its
//! width; the widths travel as words, as those of the pools do.

use tur_core::{Origin, Timestamp};
use tur_sched::{Event, Hint, LanesAction, LanesEvent, OriginLanes, ScalerConfig};

use super::World;
use super::lane::Word;
use super::pools::index;

/// The lanes of an origin, as long as a download works there.
#[derive(Debug)]
pub(super) struct Scaling {
    lanes: OriginLanes,
    members: usize,
}

impl Scaling {
    /// When the lanes want a tick.
    pub(super) fn next_wakeup(&self) -> Option<Timestamp> {
        self.lanes.next_wakeup()
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
            lanes_max: self.lanes_max(),
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
