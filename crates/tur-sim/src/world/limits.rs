//! Rate limits in a world: who waits for them, and in which order, as in the engine.
//!
//! Read [`World::paces`]. What a rate allows is decided by the production [`Bucket`]. Lanes of a download stand in line
//! at its limit, and the first of them stands in line at that of the process; what was drawn is debited afterwards. A
//! connection whose lane waits is not read, so its receive buffer fills and its far end has to stop.

use std::collections::VecDeque;

use tur_core::{Rate, Timestamp};
use tur_sched::{Bucket, Event, LaneId};

use super::World;
use super::flow::REPORT_US;
use super::lane::{Fetching, Op, Turn};
use crate::net::SEGMENT;

/// A lane that was let through waits so long for a whole draw, and then takes what is there. A lane of the engine takes
/// each packet by itself; where the network is slower than the limit, that makes no difference but steps.
const GATHER_US: u64 = 20_000;
/// What all lanes of a download may have read and not written, and the bounds of one lane's share.
const UNWRITTEN_MAX: u64 = 1024 * 1024;
const FILL_MIN: u64 = 32 * 1024;
const FILL_MAX: u64 = 256 * 1024;
/// Receive buffers of connections that are opened under a limit: what comes in so long a time, within bounds.
const BUFFER_US: u64 = 300_000;
const BUFFER_MIN: u64 = 64 * 1024;
const BUFFER_MAX: u64 = 192 * 1024;

/// One limit.
#[derive(Debug)]
pub(super) struct Limit {
    bucket: Bucket,
    /// Who waits, the first with the turn.
    line: VecDeque<Op>,
    /// When the first asks again.
    at: Option<u64>,
}

impl Default for Limit {
    /// Everything is allowed.
    fn default() -> Self {
        Self::new(Timestamp::from_micros(0), None)
    }
}

impl Limit {
    pub(super) fn new(now: Timestamp, rate: Option<Rate>) -> Self {
        Self {
            bucket: Bucket::new(now, rate),
            line: VecDeque::new(),
            at: None,
        }
    }

    fn is_ready(&self, now: Timestamp) -> bool {
        self.bucket.ready_at(now) <= now
    }

    /// True if a lane that comes now need not wait.
    fn is_free(&self, now: Timestamp) -> bool {
        self.line.is_empty() && self.is_ready(now)
    }

    /// When a lane asks again: it has to be the first.
    fn wakes(&self, op: Op) -> Option<u64> {
        (self.line.front() == Some(&op)).then_some(self.at?)
    }

    fn join(&mut self, op: Op) {
        self.line.push_back(op);
    }

    /// The first leaves.
    fn leave(&mut self, op: Op) {
        self.line.retain(|other| *other != op);
        self.at = None;
    }

    fn line_up(&mut self, now: Timestamp, is_running: impl Fn(Op) -> bool) {
        while self.line.front().is_some_and(|op| !is_running(*op)) {
            self.line.pop_front();
            self.at = None;
        }
        if self.at.is_none() && !self.line.is_empty() {
            self.at = Some(self.bucket.ready_at(now).as_micros());
        }
    }
}

impl World<'_> {
    /// True if there is any limit for a download.
    pub(super) fn is_limited(&self, d: usize) -> bool {
        self.limit.bucket.rate().is_some() || self.downloads[d].limit.bucket.rate().is_some()
    }

    /// The receive buffer that is asked for, for a connection of a download.
    pub(super) fn receive_buffer(&self, d: usize) -> Option<u64> {
        let rates = [&self.limit, &self.downloads[d].limit].map(|limit| limit.bucket.rate());
        let least = rates.into_iter().flatten().min()?;
        let bytes = least.bytes_in(core::time::Duration::from_micros(BUFFER_US));
        (bytes <= BUFFER_MAX).then_some(bytes.max(BUFFER_MIN))
    }

    /// Sets the limit of a download, or of the process.
    pub(super) fn relimit(&mut self, download: Option<usize>, rate: Option<Rate>) {
        self.log(format_args!("limit of {download:?}: {rate:?}"));
        let now = self.timestamp();
        let limit = match download {
            Some(d) => &mut self.downloads[d].limit,
            None => &mut self.limit,
        };
        limit.bucket.set_rate(now, rate);
        limit.at = None;
        for d in 0..self.downloads.len() {
            if !self.is_limited(d) {
                self.disperse(d);
            }
        }
    }

    /// Nobody of a download waits any more.
    fn disperse(&mut self, d: usize) {
        let lanes: Vec<LaneId> = self.downloads[d].lanes.keys().copied().collect();
        for lane in lanes {
            self.passes(d, lane);
            if let Some((_, body)) = self.body_mut(d, lane) {
                body.turn = Turn::Wanted;
            }
        }
    }

    /// Who does not run any more leaves its line, and who has become the first learns when it may draw.
    pub(super) fn line_up(&mut self) {
        let now = self.timestamp();
        let mut limit = std::mem::take(&mut self.limit);
        limit.line_up(now, |op| self.is_running(op));
        self.limit = limit;
        for d in 0..self.downloads.len() {
            let mut limit = std::mem::take(&mut self.downloads[d].limit);
            limit.line_up(now, |op| self.is_running(op));
            self.downloads[d].limit = limit;
        }
    }

    /// When a lane under a limit has something to do.
    pub(super) fn next_draw(&self, d: usize, op: Op, fetching: &Fetching) -> Option<u64> {
        let body = fetching.body?;
        let (since, most) = match body.turn {
            Turn::Wanted => return Some(self.now),
            Turn::Waiting { last: false, .. } => return self.downloads[d].limit.wakes(op),
            Turn::Waiting { last: true, .. } => return self.limit.wakes(op),
            Turn::Granted { since, most } => (since, most),
        };
        let (told, told_at) = body.told;
        let report = (body.at > told).then_some(told_at + REPORT_US);
        if body.at < body.end && body.stall.is_some_and(|stall| body.at >= stall) {
            return report;
        }
        let stop = body.end.min(fetching.gate.end());
        let missing = stop.min(body.stall.unwrap_or(u64::MAX));
        let missing = missing.saturating_sub(body.at);
        let missing = missing.max(u64::from(body.at < body.end)).min(most);
        let whole = self.net.when(fetching.conn, missing);
        let packet = missing.min(SEGMENT as u64);
        let packet = self.net.when(fetching.conn, packet);
        let some = packet.map(|at| at.max(since + GATHER_US));
        [whole, some, report].into_iter().flatten().min()
    }

    /// A lane under a limit does what comes next: it asks, waits, draws, or reports.
    pub(super) fn paces(&mut self, d: usize, lane: LaneId) {
        let op = self.downloads[d].lanes.get(&lane).and_then(|lane| lane.op);
        let turn = self.body(d, lane).map(|(_, body)| body.turn);
        let (Some(op), Some(turn)) = (op, turn) else {
            return;
        };
        match turn {
            Turn::Wanted => self.asks(d, lane, op),
            Turn::Waiting { last, .. } => self.waits(d, lane, (op, last)),
            Turn::Granted { most, .. } => {
                let fresh = self.draw(d, lane, most);
                self.debit(d, lane, fresh);
                let said = self.speaks(d, lane, fresh);
                if fresh == 0 && !said {
                    self.reports(d, lane);
                }
            }
        }
    }

    fn asks(&mut self, d: usize, lane: LaneId, op: Op) {
        let (now, since) = (self.timestamp(), self.now);
        let lanes = self.downloads[d].lanes.values();
        let lanes = lanes.filter(|lane| lane.fetching.is_some()).count() as u64;
        let share = (UNWRITTEN_MAX / lanes.max(1)).clamp(FILL_MIN, FILL_MAX);
        let limits = [&self.limit, &self.downloads[d].limit];
        let quanta = limits.map(|limit| limit.bucket.quantum(now));
        let most = quanta.into_iter().fold(share, u64::min);
        if limits.iter().all(|limit| limit.is_free(now)) {
            return self.granted(d, lane, most);
        }
        // What has landed is told before it waits.
        if self.reports(d, lane) {
            return;
        }
        self.downloads[d].limit.join(op);
        let Some((lease, body)) = self.body_mut(d, lane) else {
            return;
        };
        body.turn = Turn::Waiting {
            since,
            most,
            last: false,
        };
        if !std::mem::replace(&mut body.held, true) {
            self.tell(d, Event::Held { lease });
        }
        self.line_up();
    }

    /// The first in line asks again.
    fn waits(&mut self, d: usize, lane: LaneId, (op, last): (Op, bool)) {
        let now = self.timestamp();
        let limit = if last {
            &mut self.limit
        } else {
            &mut self.downloads[d].limit
        };
        if !limit.is_ready(now) {
            limit.at = None;
        } else if last || self.limit.is_free(now) {
            let most = self.passes(d, lane);
            // Its tail may have gone to another lane while it waited.
            let full = self.gate(d, lane).map(|gate| gate.end());
            let at = self.body(d, lane).map(|(_, body)| body.at);
            if at < full || !self.speaks(d, lane, 1) {
                self.granted(d, lane, most);
            }
        } else {
            self.limit.join(op);
            if let Some((_, body)) = self.body_mut(d, lane)
                && let Turn::Waiting { last, .. } = &mut body.turn
            {
                *last = true;
            }
        }
        self.line_up();
    }

    /// A lane leaves the lines. The time in them was not busy: it is as if it had not passed. Returns what it may draw.
    fn passes(&mut self, d: usize, lane: LaneId) -> u64 {
        let now = self.now;
        let op = self.downloads[d].lanes.get(&lane).and_then(|lane| lane.op);
        if let Some(op) = op {
            self.limit.leave(op);
            self.downloads[d].limit.leave(op);
        }
        match self.body_mut(d, lane) {
            Some((_, body)) => match body.turn {
                Turn::Waiting { since, most, .. } => {
                    body.told.1 += now - since;
                    most
                }
                Turn::Granted { most, .. } => most,
                Turn::Wanted => 0,
            },
            None => 0,
        }
    }

    /// A lane was let through: it draws what is there. If there is nothing, the origin is waited for again.
    fn granted(&mut self, d: usize, lane: LaneId, most: u64) {
        let since = self.now;
        let Some((lease, body)) = self.body_mut(d, lane) else {
            return;
        };
        body.turn = Turn::Granted { since, most };
        let (at, end) = (body.at, body.end);
        let conn = self.downloads[d]
            .lanes
            .get(&lane)
            .and_then(|lane| Some(lane.fetching.as_ref()?.conn));
        let there = conn.map_or(0, |conn| self.net.arrived(conn));
        if at >= end || there >= most.min(end - at).min(SEGMENT as u64) {
            let fresh = self.draw(d, lane, most);
            if fresh > 0 || at >= end {
                self.debit(d, lane, fresh);
                self.speaks(d, lane, fresh);
                return;
            }
        }
        if let Some((_, body)) = self.body_mut(d, lane)
            && std::mem::take(&mut body.held)
        {
            self.tell(d, Event::Released { lease });
        }
    }

    /// Bytes came.
    fn debit(&mut self, d: usize, lane: LaneId, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let now = self.timestamp();
        self.limit.bucket.debit(now, bytes);
        self.downloads[d].limit.bucket.debit(now, bytes);
        if let Some((_, body)) = self.body_mut(d, lane) {
            body.turn = Turn::Wanted;
        }
    }
}
