//! Bytes on their way into the file: what arrives is taken from the gate and written, and told now and then.

use core::time::Duration;

use tur_core::{ByteRange, Fault};
use tur_sched::{Ended, Event, LaneId, LanesEvent, LeaseId};

use super::World;
use super::lane::{Body, Lane};
use super::life::End;
use super::obey::asker;
use crate::net::SEGMENT;

/// The control plane hears of progress so often at most.
const REPORT_BYTES: u64 = 1024 * 1024;
pub(super) const REPORT_US: u64 = 50_000;
/// Steps of one lane at one instant before others have theirs.
const IN_A_ROW: usize = 64;

/// What a lane has to say.
enum Said {
    Landed,
    Ended(Ended),
    Differs,
}

impl World<'_> {
    /// When a lane has something to say next.
    pub(super) fn next_flow(&self) -> Option<u64> {
        let downloads = self.downloads.iter().enumerate();
        downloads
            .filter_map(|(d, download)| {
                let lanes = download.lanes.values();
                lanes.filter_map(|lane| self.next_of(d, lane)).min()
            })
            .min()
    }

    fn next_of(&self, d: usize, lane: &Lane) -> Option<u64> {
        let fetching = lane.fetching.as_ref()?;
        let body = fetching.body?;
        if self.is_limited(d) {
            return self.next_draw(d, lane.op?, fetching);
        }
        if body.held {
            return Some(self.now);
        }
        let gate = fetching.gate.end();
        let stop = [Some(body.end), Some(gate), body.stall]
            .into_iter()
            .flatten()
            .min()?;
        // A full gate is noticed with the next bytes that come.
        let missing = stop
            .saturating_sub(body.at)
            .max(u64::from(body.at < body.end));
        let (told, told_at) = body.told;
        if body.at < body.end && body.stall.is_some_and(|stall| body.at >= stall) {
            return (body.at > told).then_some(told_at + REPORT_US);
        }
        let over = self.net.when(fetching.conn, missing);
        let full = self
            .net
            .when(fetching.conn, (told + REPORT_BYTES).saturating_sub(body.at));
        let packet = if body.at > told {
            0
        } else {
            (SEGMENT as u64).min(missing.max(1))
        };
        let report = self
            .net
            .when(fetching.conn, packet)
            .map(|at| at.max(told_at + REPORT_US));
        [over, full, report].into_iter().flatten().min()
    }

    /// Every lane that has something to say says it.
    pub(super) fn flow(&mut self) {
        for d in 0..self.downloads.len() {
            let lanes: Vec<LaneId> = self.downloads[d].lanes.keys().copied().collect();
            for lane in lanes {
                // Under a limit many draws may follow one wait; a loop without end is left to the world to see.
                for _ in 0..IN_A_ROW {
                    let entry = self.downloads[d].lanes.get(&lane);
                    let due = entry.and_then(|entry| self.next_of(d, entry));
                    if due.is_none_or(|at| at > self.now) {
                        break;
                    }
                    if self.is_limited(d) {
                        self.paces(d, lane);
                        self.heed();
                    } else {
                        self.flows(d, lane);
                        self.heed();
                        break;
                    }
                }
            }
        }
    }

    fn flows(&mut self, d: usize, lane: LaneId) {
        if let Some((lease, body)) = self.body_mut(d, lane)
            && std::mem::take(&mut body.held)
        {
            // The limit that it waited for is gone.
            return self.tell(d, Event::Released { lease });
        }
        let fresh = self.write(d, lane);
        self.speaks(d, lane, fresh);
    }

    /// Says what there is to say after `fresh` bytes have come. True if there was something.
    pub(super) fn speaks(&mut self, d: usize, lane: LaneId, fresh: u64) -> bool {
        let told = self.body(d, lane).map(|(_, body)| body.told);
        let ended = self.downloads[d].end.is_some();
        let Some(told) = told.filter(|_| !ended) else {
            return true;
        };
        let Some(said) = self.says(d, lane, fresh) else {
            return false;
        };
        self.utter(d, lane, (said, told));
        true
    }

    /// Reports what has landed, if anything has. True if so.
    pub(super) fn reports(&mut self, d: usize, lane: LaneId) -> bool {
        let now = self.now;
        let Some((_, body)) = self
            .body_mut(d, lane)
            .filter(|(_, body)| body.at > body.told.0)
        else {
            return false;
        };
        let told = std::mem::replace(&mut body.told, (body.at, now));
        self.utter(d, lane, (Said::Landed, told));
        true
    }

    fn utter(&mut self, d: usize, lane: LaneId, (said, (told, told_at)): (Said, (u64, u64))) {
        let Some((lease, body)) = self.body(d, lane) else {
            return;
        };
        let busy = Duration::from_micros(self.now - told_at);
        if matches!(said, Said::Landed) {
            let landed = LanesEvent::Landed {
                lane: asker(d, lane),
                bytes: body.at - told,
                busy,
            };
            self.tell_home(d, landed);
        }
        let event = match said {
            Said::Landed => Event::Landed {
                lease,
                upto: body.at,
                busy,
            },
            Said::Differs => {
                self.ends(d, lane, &body, false);
                Event::Differs { lease, at: body.at }
            }
            Said::Ended(how) => {
                let session = how == Ended::Clean && body.keeps;
                self.ends(d, lane, &body, session);
                Event::Ended {
                    lease,
                    at: body.at,
                    how,
                    session,
                }
            }
        };
        self.tell(d, event);
    }

    pub(super) fn body_mut(&mut self, d: usize, lane: LaneId) -> Option<(LeaseId, &mut Body)> {
        let lane = self.downloads[d].lanes.get_mut(&lane)?;
        let fetching = lane.fetching.as_mut()?;
        Some((fetching.order.lease, fetching.body.as_mut()?))
    }

    pub(super) fn body(&self, d: usize, lane: LaneId) -> Option<(LeaseId, Body)> {
        let fetching = self.downloads[d].lanes.get(&lane)?.fetching.as_ref()?;
        Some((fetching.order.lease, fetching.body?))
    }

    /// The fetch of a lane is over: its connection is free, or gone.
    fn ends(&mut self, d: usize, lane: LaneId, body: &Body, session: bool) {
        let entry = self.downloads[d].lanes.get(&lane);
        let Some((op, conn)) =
            entry.and_then(|lane| Some((lane.op?, lane.fetching.as_ref()?.conn)))
        else {
            return;
        };
        if !session {
            // What a limit has held back has come for nothing, too.
            let held_back = if self.is_limited(d) {
                self.net.arrived(conn)
            } else {
                0
            };
            let coming =
                (self.net.in_flight(conn) + held_back).min(body.end.saturating_sub(body.at));
            self.downloads[d].tally.wasted += coming;
        }
        self.settle_session(op, session);
    }

    fn says(&mut self, d: usize, lane: LaneId, fresh: u64) -> Option<Said> {
        let now = self.now;
        let fetching = self.downloads[d].lanes.get_mut(&lane)?.fetching.as_mut()?;
        let (gate, conn) = (fetching.gate.end(), fetching.conn);
        let body = fetching.body.as_mut()?;
        if body.differs {
            return Some(Said::Differs);
        }
        if body.at >= body.end {
            let how = if body.clean {
                Ended::Clean
            } else {
                Ended::Fault(Fault::Truncated("the connection was reset".into()))
            };
            return Some(Said::Ended(how));
        }
        if fresh > 0 && body.at >= gate {
            return Some(Said::Ended(Ended::Cut));
        }
        if body.stall.is_some_and(|stall| body.at >= stall) {
            self.net.silence(conn, u64::MAX);
        }
        let (told, told_at) = body.told;
        let due = now >= told_at + REPORT_US && body.at > told;
        if due || body.at - told >= REPORT_BYTES {
            body.told = (body.at, now);
            return Some(Said::Landed);
        }
        None
    }

    /// Writes what has arrived and may be written; the rest is dropped. Returns how many bytes had arrived. Under a
    /// limit nothing is written but what was drawn, and that is written already.
    pub(super) fn write(&mut self, d: usize, lane: LaneId) -> u64 {
        if self.is_limited(d) {
            0
        } else {
            self.draw(d, lane, u64::MAX)
        }
    }

    /// As [`write`](World::write), but of `most` bytes, whatever the limits.
    pub(super) fn draw(&mut self, d: usize, lane: LaneId, most: u64) -> u64 {
        let download = &mut self.downloads[d];
        let fetching = download
            .lanes
            .get_mut(&lane)
            .and_then(|lane| lane.fetching.as_mut());
        let Some(fetching) = fetching else { return 0 };
        let Some(body) = &mut fetching.body else {
            return 0;
        };
        let stop = body.stall.unwrap_or(u64::MAX).min(body.end);
        let arrived = self
            .net
            .arrived(fetching.conn)
            .min(stop.saturating_sub(body.at))
            .min(most);
        if arrived == 0 {
            return 0;
        }
        self.net.take(fetching.conn, arrived);
        let placed = arrived.min(body.place.end.saturating_sub(body.at));
        let granted = fetching.gate.take(body.at, placed);
        if fetching.order.compare {
            let range = ByteRange::new(body.at, body.at + granted);
            body.differs = !download.truth.is_of(range, body.version);
            body.at += if body.differs { 0 } else { granted };
            download.tally.wasted += arrived;
            return arrived;
        }
        let fits = granted.min(self.space.unwrap_or(u64::MAX));
        let fresh = ByteRange::new(body.at, body.at + fits);
        body.at += fits;
        let version = body.version;
        if let Some(socket) = self.sockets.get_mut(&fetching.conn) {
            socket.carried += arrived;
        }
        download.tally.wasted += arrived - fits;
        let written = download.truth.write(fresh, version);
        if let Some(space) = &mut self.space {
            *space -= fits;
        }
        if fits < granted {
            download.end.get_or_insert(End::DiskFull);
        }
        if let Err(violation) = written {
            self.broken(violation);
        }
        arrived
    }
}
