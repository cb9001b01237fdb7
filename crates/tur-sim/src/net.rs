//! Bytes in motion: a fluid model of connections that share a bottleneck, with rates that are constant between events.
//!
//! Read [`Net`]. A connection's rate is the least of its window per round trip, its own limit, what random loss leaves
//! it, and its max-min fair share of the bottleneck and of the disk. Windows double in each round trip until the queue
//! at the bottleneck overflows, then grow by a segment per round trip (RFC 5681); whoever overflows it halves.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::dice::Dice;
use crate::link::{Change, Link};

/// Payload of a full segment over IPv4 and Ethernet.
pub(crate) const SEGMENT: f64 = 1460.0;
/// First window of a connection (RFC 6928).
const WINDOW_FIRST: f64 = 10.0 * SEGMENT;
/// A window never falls below this.
const WINDOW_MIN: f64 = 2.0 * SEGMENT;
/// Windows larger than this are not useful to any receiver here.
const WINDOW_MAX: f64 = 64.0 * 1024.0 * 1024.0;
/// What a connection holds for a reader that does not read, where the system chooses (Linux, `tcp_rmem`).
const ROOM: f64 = 6.0 * 1024.0 * 1024.0;
/// A connection that was silent for so long begins with its first window again (RFC 5681, section 4.1).
const IDLE_MAX_US: u64 = 1_000_000;
/// While it grows by segments, a window is adjusted so often at most.
const GROWTH_MIN_US: u64 = 4_000;
/// Constant of the square-root law of random loss (Mathis, Semke, Mahdavi, Ott: "The macroscopic behavior of the TCP
/// congestion avoidance algorithm", 1997).
const LOSS_LAW: f64 = 1.22;

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnId(pub(crate) u32);

#[derive(Clone, Debug)]
struct Conn {
    window: f64,
    /// Where doubling ends.
    threshold: f64,
    /// Its own limit, in bytes per second.
    cap: f64,
    /// What the window is bounded by because a receive buffer was asked for, in bytes.
    room: Option<f64>,
    /// True while what has arrived fills the receive buffer: the far end may send nothing.
    full: bool,
    sending: bool,
    silent_until: u64,
    rate: f64,
    /// Bytes that have arrived and were not taken.
    arrived: f64,
    grow_at: u64,
    idle_since: u64,
}

impl Conn {
    /// What it would carry if it were alone.
    fn demand(&self, net: &Shape) -> f64 {
        (self.window / net.rtt).min(self.limit(net))
    }

    fn limit(&self, net: &Shape) -> f64 {
        let law = self.cap.min(net.loss_cap);
        self.room.map_or(law, |room| law.min(room / net.rtt))
    }

    fn flows(&self, now: u64) -> bool {
        self.sending && self.silent_until <= now && !self.full
    }

    fn holds(&self) -> f64 {
        self.room.unwrap_or(ROOM)
    }

    /// When what arrives fills the receive buffer.
    fn full_at(&self, now: u64) -> u64 {
        if self.rate <= 0.0 {
            return u64::MAX;
        }
        let us = libm::ceil((self.holds() - self.arrived) / self.rate * 1e6);
        now.saturating_add((us.max(0.0) as u64).max(1))
    }
}

/// The numbers of the link as they are now: seconds, bytes, bytes per second.
#[derive(Clone, Debug)]
struct Shape {
    rtt: f64,
    rate: f64,
    buffer: f64,
    loss_cap: f64,
    cross: u32,
    disk: f64,
}

/// All connections of a world.
#[derive(Debug)]
pub(crate) struct Net {
    now: u64,
    shape: Shape,
    conns: BTreeMap<ConnId, Conn>,
    lane: crate::link::LaneSpeed,
    opened: u32,
    /// Draws the limits of connections, and nothing else, so that they can be known beforehand.
    lane_dice: Dice,
    dice: Dice,
    /// True if rates must be computed again.
    stale: bool,
    /// What the queue adds to the round trip, in seconds.
    delay: f64,
}

impl Net {
    /// Nothing is connected; `disk` is what can be written, in bytes per second.
    pub(crate) fn new(link: &Link, disk: f64, dice: Dice) -> Self {
        let rtt = link.rtt.as_secs_f64().max(1e-5);
        let rate = (link.rate.bytes_per_second() as f64).max(1.0);
        let shape = Shape {
            rtt,
            rate,
            buffer: link.buffer.as_secs_f64() * rate,
            loss_cap: loss_cap(link),
            cross: link.cross,
            disk,
        };
        Self {
            now: 0,
            shape,
            conns: BTreeMap::new(),
            lane: link.lane,
            opened: 0,
            lane_dice: dice.fork(1),
            dice,
            stale: true,
            delay: 0.0,
        }
    }

    /// A connection that carries nothing yet, with a receive buffer of `room` bytes if one is asked for.
    pub(crate) fn open(&mut self, room: Option<u64>) -> ConnId {
        self.opened += 1;
        let id = ConnId(self.opened);
        let cap = self.lane.draw(self.opened, &mut self.lane_dice);
        self.conns.insert(
            id,
            Conn {
                window: WINDOW_FIRST,
                threshold: WINDOW_MAX,
                cap,
                room: room.map(|bytes| bytes as f64),
                full: false,
                sending: false,
                silent_until: 0,
                rate: 0.0,
                arrived: 0.0,
                grow_at: u64::MAX,
                idle_since: self.now,
            },
        );
        id
    }

    /// The connection is gone.
    pub(crate) fn close(&mut self, id: ConnId) {
        self.conns.remove(&id);
        self.stale = true;
    }

    /// A body begins to come.
    pub(crate) fn start(&mut self, id: ConnId) {
        let (now, rtt) = (self.now, micros(self.shape.rtt));
        if let Some(conn) = self.conns.get_mut(&id) {
            if now.saturating_sub(conn.idle_since) > IDLE_MAX_US {
                conn.window = conn.window.min(WINDOW_FIRST);
            }
            (conn.sending, conn.full) = (true, false);
            conn.arrived = 0.0;
            conn.grow_at = now + rtt;
        }
        self.stale = true;
    }

    /// The body is over, or not wanted any more.
    pub(crate) fn stop(&mut self, id: ConnId) {
        let now = self.now;
        if let Some(conn) = self.conns.get_mut(&id) {
            (conn.sending, conn.rate, conn.arrived) = (false, 0.0, 0.0);
            (conn.grow_at, conn.idle_since) = (u64::MAX, now);
        }
        self.stale = true;
    }

    /// Nothing comes before `until`, in microseconds; for ever with `u64::MAX`.
    pub(crate) fn silence(&mut self, id: ConnId, until: u64) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.silent_until = conn.silent_until.max(until);
        }
        self.stale = true;
    }

    /// The connection that carries most at this moment.
    pub(crate) fn busiest(&self) -> Option<ConnId> {
        let flowing = self.conns.iter().filter(|(_, conn)| conn.rate > 0.0);
        flowing
            .max_by(|a, b| a.1.rate.total_cmp(&b.1.rate))
            .map(|(id, _)| *id)
    }

    /// All connections.
    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.conns.keys().copied().collect()
    }

    /// Changes what concerns rates; silences and resets concern connections.
    pub(crate) fn change(&mut self, change: Change) {
        match change {
            Change::Rate(rate) => {
                let rate = (rate.bytes_per_second() as f64).max(1.0);
                self.shape.buffer *= rate / self.shape.rate;
                self.shape.rate = rate;
            }
            Change::Lane(lane) => {
                self.lane = lane;
                for (id, conn) in &mut self.conns {
                    conn.cap = lane.draw(id.0, &mut self.lane_dice);
                }
            }
            Change::Cross(flows) => self.shape.cross = flows,
            Change::Silence(_) | Change::Outage(_) | Change::Reset => {}
        }
        self.rearm();
        self.stale = true;
    }

    /// What a new limit allows may be grown into.
    fn rearm(&mut self) {
        let at = self.now + micros(self.shape.rtt);
        for conn in self.conns.values_mut().filter(|conn| conn.sending) {
            conn.grow_at = conn.grow_at.min(at);
        }
    }

    /// Whole bytes that have arrived and were not taken.
    pub(crate) fn arrived(&self, id: ConnId) -> u64 {
        // What rounding took from a whole number is given back: time is in microseconds, rates are not.
        self.conns
            .get(&id)
            .map_or(0, |conn| (conn.arrived + 1e-3) as u64)
    }

    /// Takes bytes that have arrived. A receive buffer that was full is opened again when half of it is free: what is
    /// told of less would cost more than it brings (RFC 9293, section 3.8.6.2).
    pub(crate) fn take(&mut self, id: ConnId, bytes: u64) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.arrived = (conn.arrived - bytes as f64).max(0.0);
            if conn.full && conn.arrived <= conn.holds() / 2.0 {
                conn.full = false;
                self.stale = true;
            }
        }
    }

    /// What is under way to us on a connection: sent and not yet arrived.
    pub(crate) fn in_flight(&self, id: ConnId) -> u64 {
        self.conns
            .get(&id)
            .map_or(0, |conn| (conn.rate * (self.shape.rtt + self.delay)) as u64)
    }

    /// When `bytes` will have arrived (those that have arrived count), if nothing changes.
    pub(crate) fn when(&self, id: ConnId, bytes: u64) -> Option<u64> {
        let conn = self.conns.get(&id)?;
        let missing = bytes as f64 - conn.arrived;
        if missing <= 1e-3 {
            return Some(self.now);
        }
        (conn.rate > 0.0).then(|| {
            let us = libm::ceil(missing / conn.rate * 1e6);
            if us < 1e15 {
                self.now + (us as u64).max(1)
            } else {
                u64::MAX
            }
        })
    }

    /// The round trip as it is now, queue included, in microseconds.
    pub(crate) fn rtt(&self) -> u64 {
        micros(self.shape.rtt + self.delay)
    }

    /// When rates change next by themselves. Rates must be fresh ([`settle`](Net::settle)).
    pub(crate) fn next(&self) -> Option<u64> {
        let sending = self.conns.values().filter(|conn| conn.sending);
        let times = sending.map(|conn| {
            if conn.silent_until > self.now {
                conn.silent_until
            } else if conn.full {
                u64::MAX
            } else {
                conn.grow_at.min(conn.full_at(self.now))
            }
        });
        times.min().filter(|at| *at < u64::MAX)
    }

    /// Lets time pass, to `to` at most as far as [`next`](Net::next).
    pub(crate) fn advance(&mut self, to: u64) {
        let seconds = to.saturating_sub(self.now) as f64 / 1e6;
        self.now = self.now.max(to);
        for conn in self.conns.values_mut().filter(|conn| conn.sending) {
            conn.arrived += conn.rate * seconds;
            if !conn.full && conn.arrived >= conn.holds() {
                conn.full = true;
                self.stale = true;
            }
            if conn.silent_until > 0 && conn.silent_until <= self.now {
                // It comes back as a connection does after a time-out: with a small window.
                conn.silent_until = 0;
                conn.window = conn.window.min(WINDOW_FIRST);
                conn.grow_at = self.now + micros(self.shape.rtt);
                self.stale = true;
            }
        }
        self.grow();
    }

    /// Windows whose time has come grow.
    fn grow(&mut self) {
        let (now, rtt) = (self.now, self.shape.rtt + self.delay);
        for conn in self.conns.values_mut() {
            if conn.grow_at > now || !conn.flows(now) {
                continue;
            }
            self.stale = true;
            let enough = 2.0 * conn.limit(&self.shape) * self.shape.rtt;
            if conn.window >= enough.min(WINDOW_MAX) {
                // What it has is more than it can use: a window that is not used does not grow.
                conn.grow_at = u64::MAX;
            } else if conn.window < conn.threshold {
                conn.window = (2.0 * conn.window).min(conn.threshold).min(WINDOW_MAX);
                conn.grow_at = now + micros(rtt);
            } else {
                // What stands in the queue makes a round trip as long as the window takes to arrive.
                let queued = if conn.rate > 0.0 {
                    conn.window / conn.rate
                } else {
                    0.0
                };
                let trip = rtt.max(queued).min(10.0);
                let trips = (conn.window / SEGMENT / 16.0).clamp(1.0, 256.0);
                let step = micros(trips * trip).max(GROWTH_MIN_US);
                conn.window += SEGMENT * (step as f64 / 1e6 / trip);
                conn.grow_at = now + step;
            }
        }
    }

    /// Computes rates that are due to be computed.
    pub(crate) fn settle(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        // A halved window frees the queue, so this ends: windows have a least size.
        for _ in 0..64 {
            self.share();
            if !self.overflow() {
                break;
            }
        }
    }

    /// Max-min fair rates: first at the bottleneck, then at the disk.
    fn share(&mut self) {
        let now = self.now;
        let mut demands: Vec<(f64, ConnId)> = Vec::with_capacity(self.conns.len());
        for (id, conn) in &mut self.conns {
            conn.rate = 0.0;
            if conn.flows(now) {
                demands.push((conn.demand(&self.shape), *id));
            }
        }
        demands.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        fill(&mut demands, self.shape.rate, self.shape.cross);
        if self.shape.disk < f64::INFINITY {
            demands.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            fill(&mut demands, self.shape.disk, 0);
        }
        for (rate, id) in demands {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.rate = rate;
            }
        }
    }

    /// What windows hold beyond the pipe stands in the queue. If that overflows, those who stand there halve: each
    /// with even chance, the largest in any case. True if any did.
    fn overflow(&mut self) -> bool {
        let (now, shape) = (self.now, self.shape.clone());
        let mut standing = Vec::new();
        let mut queued = 0.0;
        for (id, conn) in self.conns.iter().filter(|(_, conn)| conn.flows(now)) {
            // A window that its own limit leaves unused is not sent.
            let sent = conn.window.min(2.0 * conn.limit(&shape) * shape.rtt);
            let pushed = (sent - conn.rate * shape.rtt).max(0.0);
            if conn.demand(&shape) > conn.rate * (1.0 + 1e-9) && pushed > 0.0 {
                queued += pushed;
                standing.push((conn.window, *id));
            }
        }
        let flows = standing.len() as f64;
        let room = shape.buffer * flows / (flows + f64::from(shape.cross)).max(1.0);
        // Others keep the queue half full.
        let others = if shape.cross > 0 {
            (shape.buffer - room) / 2.0
        } else {
            0.0
        };
        self.delay = (queued.min(room) + others) / shape.rate;
        let disk_bound = shape.disk < shape.rate;
        if queued <= room || disk_bound {
            return false;
        }
        let largest = standing
            .iter()
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, id)| *id);
        let mut halved = false;
        for (_, id) in standing {
            let hit = self.dice.chance(500) || Some(id) == largest;
            if let Some(conn) = self
                .conns
                .get_mut(&id)
                .filter(|conn| hit && conn.window > WINDOW_MIN)
            {
                conn.window = (conn.window / 2.0).max(WINDOW_MIN);
                conn.threshold = conn.window;
                if conn.grow_at == u64::MAX {
                    conn.grow_at = now + micros(shape.rtt);
                }
                halved = true;
            }
        }
        halved
    }
}

/// Water-filling: turns demands, sorted, into max-min fair rates. `others` flows want as much as they can have.
fn fill(demands: &mut [(f64, ConnId)], capacity: f64, others: u32) {
    let mut left = capacity;
    let mut sharers = demands.len() as f64 + f64::from(others);
    for (demand, _) in demands {
        let rate = demand.min(left / sharers);
        left -= rate;
        sharers -= 1.0;
        *demand = rate;
    }
}

/// What random loss leaves a connection, in bytes per second.
pub(crate) fn loss_cap(link: &Link) -> f64 {
    if link.loss > 0.0 {
        LOSS_LAW * SEGMENT / (link.rtt.as_secs_f64().max(1e-5) * libm::sqrt(link.loss))
    } else {
        f64::INFINITY
    }
}

/// Microseconds, at least one.
fn micros(seconds: f64) -> u64 {
    ((seconds * 1e6) as u64).max(1)
}
