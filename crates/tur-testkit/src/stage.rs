//! What the worlds share: paths with their behaviours, the counts that rules look at, the link and the log.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::behaviour::{Behaviour, Beyond, Deed, Link, When};
use crate::clock;
use crate::log::{Log, Seen};
use crate::pace::{Grain, Pacer, SLACK};
use crate::play::{Act, Asked, Play, Script, Wanted};
use crate::scene::play;
use crate::strike::Strikes;

/// One origin's state.
pub(crate) struct Stage {
    pub(crate) log: Log,
    pub(crate) strikes: Strikes,
    pub(crate) link: Link,
    bottleneck: Option<Mutex<Pacer>>,
    paths: Mutex<HashMap<String, Path>>,
    /// Connections that have a place in the crowd.
    standing: Mutex<u64>,
    choose: Option<Box<Choose>>,
}

/// Says how a path that nobody has named behaves, from `host/path?query`.
type Choose = dyn Fn(&str) -> Behaviour + Send + Sync;

#[derive(Debug)]
struct Path {
    behaviour: Arc<Behaviour>,
    requests: u64,
    active: u64,
    /// Connections that were there before the behaviour.
    connections_before: u64,
}

impl Path {
    fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour: Arc::new(behaviour),
            requests: 0,
            active: 0,
            connections_before: 0,
        }
    }
}

impl Stage {
    pub(crate) fn new(
        behaviours: impl IntoIterator<Item = (String, Behaviour)>,
        link: Link,
    ) -> Arc<Self> {
        let stage = Self::empty(link);
        for (path, behaviour) in behaviours {
            stage.swap(path, behaviour);
        }
        Arc::new(stage)
    }

    /// An origin whose behaviours are chosen as they are asked for.
    pub(crate) fn choosing(link: Link, choose: Box<Choose>) -> Arc<Self> {
        Arc::new(Self {
            choose: Some(choose),
            ..Self::empty(link)
        })
    }

    fn empty(link: Link) -> Self {
        Self {
            log: Log::new(clock::now()),
            strikes: Strikes::new(),
            bottleneck: link
                .bottleneck
                .map(|rate| Mutex::new(Pacer::new(rate, SLACK))),
            link,
            paths: Mutex::default(),
            standing: Mutex::default(),
            choose: None,
        }
    }

    /// Gives a path a (new) behaviour and starts its numbering anew.
    pub(crate) fn swap(&self, path: String, behaviour: Behaviour) {
        let mut paths = self.paths();
        let active = paths.get(&path).map_or(0, |path| path.active);
        let fresh = Path {
            active,
            connections_before: self.log.connections(),
            ..Path::new(behaviour)
        };
        paths.insert(path, fresh);
    }

    /// Counts a connection; `None` if the link refuses it.
    pub(crate) fn connect(self: &Arc<Self>) -> Option<Seat> {
        let number = self.log.connected();
        let refused = number <= self.link.refuse_first
            || self.link.refuse_after.is_some_and(|after| number > after);
        if refused {
            return None;
        }
        let mut seat = Seat {
            number,
            turned_away: None,
            place_in: None,
        };
        let Some(crowd) = &self.link.crowd else {
            return Some(seat);
        };
        let mut standing = lock(&self.standing);
        if *standing < crowd.limit {
            *standing += 1;
            seat.place_in = Some(self.clone());
            return Some(seat);
        }
        match &crowd.beyond {
            Beyond::Refuse => None,
            Beyond::Meet(deed) => {
                seat.turned_away = Some(deed.clone());
                Some(seat)
            }
        }
    }

    /// Takes a request on a connection and decides what happens to it.
    pub(crate) fn request(
        self: &Arc<Self>,
        seat: &Seat,
        seen: Seen,
        wanted: Option<Wanted>,
    ) -> (Play, Turn) {
        let mut asked = Asked {
            number: 1,
            method: seen.method.clone(),
            fields: seen.fields.clone(),
            range: wanted,
            if_range: seen.if_range.clone(),
            active: 1,
            connection: seat.number,
            turned_away: seat.turned_away.clone(),
        };
        let key = self.key(&seen);
        let behaviour = match self.paths().get_mut(&key) {
            Some(path) => {
                path.requests += 1;
                path.active += 1;
                (asked.number, asked.active) = (path.requests, path.active);
                asked.connection = seat.number.saturating_sub(path.connections_before);
                path.behaviour.clone()
            }
            None => Arc::new(missing()),
        };
        let play = play(&behaviour, &asked);
        let index = self.log.requested(seen, clock::now());
        if let Act::Answer(script) = &play.act {
            self.log.status(index, script.head.status);
        }
        let turn = Turn {
            stage: self.clone(),
            key,
            index,
        };
        (play, turn)
    }

    /// When `bytes` may pass the bottleneck; `None` is never.
    fn reserve(&self, now: Instant, bytes: u64) -> Option<Instant> {
        match &self.bottleneck {
            None => Some(now),
            Some(pacer) => lock(pacer).reserve(now, bytes),
        }
    }

    /// The slice that fits the bottleneck, if there is one.
    fn slice(&self, slice_max: u64) -> Option<u64> {
        self.bottleneck
            .as_ref()
            .map(|pacer| lock(pacer).slice(slice_max))
    }

    /// The key of the behaviour for a request: `host/path?query`, `/path?query` or `/path`, the first that exists.
    fn key(&self, seen: &Seen) -> String {
        let bare = seen.path.split('?').next().unwrap_or_default();
        let hosted = format!("{}{}", seen.host, seen.path);
        let paths = self.paths();
        for key in [hosted.as_str(), seen.path.as_str()] {
            if paths.contains_key(key) {
                return key.to_owned();
            }
        }
        if let Some(choose) = &self.choose
            && !paths.contains_key(bare)
        {
            // Not under the lock: the closure may look at the world.
            drop(paths);
            let path = Path::new(choose(&hosted));
            self.paths().entry(hosted.clone()).or_insert(path);
            return hosted;
        }
        bare.to_owned()
    }

    fn paths(&self) -> MutexGuard<'_, HashMap<String, Path>> {
        lock(&self.paths)
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("link", &self.link)
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

/// A connection as the origin took it; dropping it frees its place.
#[derive(Debug)]
pub(crate) struct Seat {
    /// From 1.
    pub(crate) number: u64,
    turned_away: Option<Deed>,
    place_in: Option<Arc<Stage>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(stage) = &self.place_in {
            *lock(&stage.standing) -= 1;
        }
    }
}

/// A request that is being answered; dropping it ends its turn.
#[derive(Debug)]
pub(crate) struct Turn {
    stage: Arc<Stage>,
    key: String,
    index: usize,
}

impl Turn {
    /// Counts body bytes that were sent.
    pub(crate) fn sent(&self, bytes: u64) {
        self.stage.log.sends(self.index, || (bytes, ()));
    }

    /// Counts the body bytes that `send` says it has sent, before anybody can look at the count again.
    pub(crate) fn sends<T>(&self, send: impl FnOnce() -> (usize, T)) -> T {
        self.stage.log.sends(self.index, || {
            let (bytes, result) = send();
            (bytes as u64, result)
        })
    }

    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(path) = self.stage.paths().get_mut(&self.key) {
            path.active = path.active.saturating_sub(1);
        }
    }
}

/// The schedule of one body: its own pace and the bottleneck that it shares.
#[derive(Debug)]
pub(crate) struct Schedule {
    pace: Option<Pacer>,
    slice_max: u64,
    /// `None` is never.
    start: Option<Instant>,
}

impl Schedule {
    /// Begins now, or after the script's delay; what is not paced comes in the largest slices of the grain.
    pub(crate) fn new(script: &Script, grain: Grain) -> Self {
        Self {
            slice_max: grain.slice_max,
            pace: script.pace.map(|rate| Pacer::new(rate, grain.slack)),
            start: clock::now().checked_add(script.delay),
        }
    }

    /// How many of `left` bytes go next.
    pub(crate) fn slice(&self, stage: &Stage, left: u64) -> u64 {
        let max = self.slice_max;
        let own = self.pace.as_ref().map_or(max, |pace| pace.slice(max));
        own.min(stage.slice(max).unwrap_or(max)).min(left)
    }

    /// When the next `bytes` may leave; `None` is never.
    pub(crate) fn reserve(&mut self, stage: &Stage, bytes: u64) -> Option<Instant> {
        let now = clock::now().max(self.start?);
        let own = match &mut self.pace {
            None => now,
            Some(pacer) => pacer.reserve(now, bytes)?,
        };
        Some(own.max(stage.reserve(now, bytes)?))
    }
}

/// What answers for a path that has no behaviour.
fn missing() -> Behaviour {
    let deed = Deed::Status {
        status: 404,
        retry_after: None,
    };
    Behaviour::new(0).rule(When::Always, deed)
}

/// A test that panicked elsewhere leaves state that can still be used.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
