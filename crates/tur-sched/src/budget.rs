//! How many sessions the process may hold over all origins, and who may open the next one when they are short.
//!
//! Read [`Budget`]. It counts nothing itself: whoever owns the sessions tells it, after each change, how an origin
//! stands ([`Standing`]), and does what it says. A count that is told anew each time cannot drift, so no way out of a
//! transfer can leak a slot.
//!
//! ```text
//!  over what is allowed ─▶ Close idle ones ─ still over ─▶ Owe: the next that come back are closed
//!  below, somebody wants ─▶ Open, origins in turn
//!  exactly there, somebody wants ─▶ Close an idle one of another origin; Owe, for an origin that has none
//! ```

use alloc::collections::{BTreeMap, VecDeque};
use core::fmt;
use core::time::Duration;

use tur_core::Timestamp;

/// How one origin stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Sessions that exist or are being opened, idle ones too.
    pub held: usize,
    /// Those of them that nobody uses.
    pub idle: usize,
    /// Sessions that would be opened at once if that were allowed.
    pub wants: usize,
    /// True if somebody waits for the permission to ask for one.
    pub awaited: bool,
    /// Sessions that will be closed when they come back.
    pub owed: usize,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetAction<K> {
    /// The origin may open one session.
    Open(K),
    /// The origin is to close one session that nobody uses.
    Close(K),
    /// So many of the origin's sessions are to be given back: fewer lanes now if possible, and no other use of those
    /// that come back. Replaces what was said before.
    Owe(K, usize),
    /// Fewer sessions are allowed than are in use or wanted.
    Shrunk {
        /// So many are.
        allowed: usize,
        /// What is short.
        why: Shortage,
    },
    /// More are allowed again.
    Grown {
        /// So many are.
        allowed: usize,
    },
}

/// A sign of what is left on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Memory that could be had without swapping, in bytes.
    Available(u64),
    /// Memory below the limit of the process's group, in bytes.
    Limit(u64),
    /// Descriptors that could still be opened.
    Descriptors(u64),
}

/// What is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Of the machine.
    Memory,
    /// Of the group that the process belongs to.
    MemoryLimit,
    /// Open files.
    Descriptors,
    /// A connection could not be made for want of one of these.
    Exhausted,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Shortage::Memory => "memory is short",
            Shortage::MemoryLimit => "memory is short below its limit",
            Shortage::Descriptors => "few more files can be opened",
            Shortage::Exhausted => "no more could be opened",
        })
    }
}

/// A row of [`MEMORY`].
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// With less than so many bytes left
    pub below: u64,
    /// at most so many sessions
    pub sessions: usize,
    /// for this reason.
    pub why: &'static str,
}

/// Sessions by memory that is left. One that brings data fast may cost 4 MiB: some hundred KiB of ours, and what the
/// kernel lets a receive buffer grow to (Linux: 6 MiB at most).
pub const MEMORY: [Row; 4] = [
    Row {
        below: 16 * MIB,
        sessions: 1,
        why: "one connection goes on, so that the download does",
    },
    Row {
        below: 64 * MIB,
        sessions: 4,
        why: "16 MiB, the least of this row, at 4 MiB each",
    },
    Row {
        below: 256 * MIB,
        sessions: 16,
        why: "64 MiB at 4 MiB each",
    },
    Row {
        below: 512 * MIB,
        sessions: 64,
        why: "256 MiB at 4 MiB each; above, the default ceiling of 128 has room",
    },
];

const MIB: u64 = 1 << 20;
/// Descriptors kept for other things than sessions: a race of addresses has two sockets at once, a resolver two, and a
/// download opens its part, its journal and their directory.
const DESCRIPTORS_KEPT: u64 = 8;
/// How long there must be room for more before more are allowed.
const CALM: Duration = Duration::from_secs(10);
/// After a connection could not be made, no more are allowed for so long; doubles with each time, up to the second.
const EXHAUSTED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// Sessions of the whole process, over all origins, which `K` names.
#[derive(Clone, Debug)]
pub struct Budget<K> {
    ceiling: usize,
    allowed: usize,
    why: Shortage,
    origins: BTreeMap<K, Standing>,
    /// Who was allowed to open last.
    last: Option<K>,
    /// Since when there has been room for more.
    calm: Option<Timestamp>,
    /// No growth before this; and for how long that is said the next time.
    hold: (Timestamp, Duration),
    /// What was told last, while it is less than the ceiling.
    told: Option<usize>,
    grown: bool,
    actions: VecDeque<BudgetAction<K>>,
}

impl<K: Ord + Clone> Budget<K> {
    /// A budget of `ceiling` sessions, at least one.
    #[must_use]
    pub fn new(ceiling: usize) -> Self {
        let ceiling = ceiling.max(1);
        Self {
            ceiling,
            allowed: ceiling,
            why: Shortage::Memory,
            origins: BTreeMap::new(),
            last: None,
            calm: None,
            hold: (Timestamp::ZERO, EXHAUSTED.0),
            told: None,
            grown: false,
            actions: VecDeque::new(),
        }
    }

    /// Takes how an origin stands now. To be told after each change, and after each action was done.
    pub fn tell(&mut self, origin: &K, standing: Standing) {
        if standing == Standing::default() {
            self.origins.remove(origin);
        } else {
            self.origins.insert(origin.clone(), standing);
        }
    }

    /// Another ceiling, which holds at once.
    pub fn set_ceiling(&mut self, ceiling: usize) {
        let ceiling = ceiling.max(1);
        let unbounded = self.allowed == self.ceiling;
        self.allowed = if unbounded {
            ceiling
        } else {
            self.allowed.min(ceiling)
        };
        self.ceiling = ceiling;
    }

    /// Takes the signs of the machine; none is none. Less is allowed at once; more only after ten seconds of calm, and if there
    /// is more room than the number needs, so that it does not go up and down.
    pub fn pressure(&mut self, now: Timestamp, signs: &[Sign]) {
        let (target, why) = self.target(signs);
        if target < self.allowed {
            (self.allowed, self.why) = (target, why);
            self.calm = None;
            return;
        }
        let eased: alloc::vec::Vec<Sign> = signs.iter().map(|sign| sign.eased()).collect();
        let (target, _) = self.target(&eased);
        if target <= self.allowed || now < self.hold.0 {
            self.calm = None;
        } else if now.since(*self.calm.get_or_insert(now)) >= CALM {
            self.allowed = target;
            self.calm = None;
            self.grown = true;
        }
    }

    /// A connection could not be made for want of descriptors or memory. Its slot must have been told to be free.
    pub fn exhausted(&mut self, now: Timestamp) {
        let (until, wait) = self.hold;
        // A long time after the last one it is another matter.
        let wait = if now > until + wait {
            EXHAUSTED.0
        } else {
            wait
        };
        self.hold = (now + wait, wait.saturating_mul(2).min(EXHAUSTED.1));
        self.calm = None;
        let held = self.held().max(1);
        if held < self.allowed {
            (self.allowed, self.why) = (held, Shortage::Exhausted);
        }
    }

    /// The next thing to do, until there is none. What is done is told before the next call.
    pub fn poll_action(&mut self) -> Option<BudgetAction<K>> {
        let action = self.next_action()?;
        // The mirror follows at once; what is told later replaces it.
        match &action {
            BudgetAction::Open(origin) => {
                self.last = Some(origin.clone());
                self.change(origin, |it| {
                    it.held += 1;
                    it.wants = it.wants.saturating_sub(1);
                });
            }
            BudgetAction::Close(origin) => self.change(origin, |it| {
                it.held = it.held.saturating_sub(1);
                it.idle = it.idle.saturating_sub(1);
            }),
            BudgetAction::Owe(origin, n) => self.change(origin, |it| it.owed = *n),
            BudgetAction::Shrunk { .. } | BudgetAction::Grown { .. } => {}
        }
        Some(action)
    }

    /// How many are allowed and why, while that is fewer than there may be.
    #[must_use]
    pub fn shortage(&self) -> Option<(usize, Shortage)> {
        (self.allowed < self.ceiling).then_some((self.allowed, self.why))
    }

    /// Sessions that exist or are being opened.
    #[must_use]
    pub fn held(&self) -> usize {
        self.sum(|it| it.held)
    }

    /// Sessions that may exist now.
    #[must_use]
    pub fn allowed(&self) -> usize {
        self.allowed
    }

    fn next_action(&mut self) -> Option<BudgetAction<K>> {
        self.news();
        if let Some(news) = self.actions.pop_front() {
            return Some(news);
        }
        let (held, wants) = (self.held(), self.sum(|it| it.wants));
        if held > self.allowed || (held == self.allowed && wants > 0) {
            let most = self
                .origins
                .iter()
                .filter(|(_, it)| it.idle > 0)
                .max_by_key(|(_, it)| it.idle);
            if let Some((origin, _)) = most {
                return Some(BudgetAction::Close(origin.clone()));
            }
        }
        if let Some(owe) = self.owe(held) {
            return Some(owe);
        }
        (held < self.allowed).then(|| self.next_in_turn())?
    }

    /// The origin after the one that was served last. One that owes waits for those it owes to, if they can use the slot:
    /// who still waits for the permission to ask for one cannot.
    fn next_in_turn(&self) -> Option<BudgetAction<K>> {
        let others = self.origins.values().any(|it| it.wants > 0 && it.owed == 0);
        let wants = |(_, it): &(&K, &Standing)| it.wants > 0 && (it.owed == 0 || !others);
        let after = self
            .origins
            .iter()
            .filter(wants)
            .find(|(origin, _)| self.last.as_ref().is_none_or(|last| *origin > last));
        let next = after.or_else(|| self.origins.iter().find(wants));
        next.map(|(origin, _)| BudgetAction::Open(origin.clone()))
    }

    /// The first origin that owes another number than it was told.
    fn owe(&self, held: usize) -> Option<BudgetAction<K>> {
        let starving = |it: &&Standing| it.held == 0 && (it.wants > 0 || it.awaited);
        let starving = self.origins.values().filter(starving).count();
        let mut excess = held.saturating_add(starving).saturating_sub(self.allowed);
        let mut owed: BTreeMap<&K, usize> = BTreeMap::new();
        while excess > 0 {
            // Of those that have most, so that in the end all have the same.
            let rest = |(origin, it): &(&K, &Standing)| {
                let already = owed.get(origin).copied().unwrap_or_default();
                it.held.saturating_sub(already)
            };
            let richest = self.origins.iter().max_by_key(rest).filter(|o| rest(o) > 0);
            let Some((origin, _)) = richest else { break };
            *owed.entry(origin).or_default() += 1;
            excess -= 1;
        }
        self.origins.iter().find_map(|(origin, it)| {
            let due = owed.get(origin).copied().unwrap_or_default();
            (it.owed != due).then(|| BudgetAction::Owe(origin.clone(), due))
        })
    }

    /// Tells of a shortage once it is felt, and of its end. Who has enough is not bothered.
    fn news(&mut self) {
        let allowed = self.allowed;
        if core::mem::take(&mut self.grown) && self.told.is_some() {
            self.told = (allowed < self.ceiling).then_some(allowed);
            self.actions.push_back(BudgetAction::Grown { allowed });
        }
        let demand = self.sum(|it| {
            let used = it.held - it.idle.min(it.held);
            used.saturating_add(it.wants) + usize::from(it.awaited)
        });
        let new = self.told.is_none_or(|told| allowed < told);
        if allowed < self.ceiling && demand > allowed && new {
            self.told = Some(allowed);
            let why = self.why;
            self.actions
                .push_back(BudgetAction::Shrunk { allowed, why });
        }
    }

    /// What the signs allow: the least that one of them does, and which.
    fn target(&self, signs: &[Sign]) -> (usize, Shortage) {
        let bounds = signs.iter().map(|sign| sign.bound(self.held()));
        let (least, why) = bounds
            .min_by_key(|(bound, _)| *bound)
            .unwrap_or((usize::MAX, self.why));
        (least.clamp(1, self.ceiling), why)
    }

    fn change(&mut self, origin: &K, how: impl FnOnce(&mut Standing)) {
        if let Some(standing) = self.origins.get_mut(origin) {
            how(standing);
        }
    }

    fn sum(&self, of: impl Fn(&Standing) -> usize) -> usize {
        self.origins.values().map(of).fold(0, usize::saturating_add)
    }
}

impl Sign {
    /// How many sessions it allows where `held` exist, and what is short if that is too few.
    fn bound(self, held: usize) -> (usize, Shortage) {
        match self {
            Sign::Available(bytes) => (by_memory(bytes), Shortage::Memory),
            Sign::Limit(bytes) => (by_memory(bytes), Shortage::MemoryLimit),
            Sign::Descriptors(left) => {
                let held = u64::try_from(held).unwrap_or(u64::MAX);
                let bound = held.saturating_add(left).saturating_sub(DESCRIPTORS_KEPT);
                let bound = usize::try_from(bound).unwrap_or(usize::MAX);
                (bound, Shortage::Descriptors)
            }
        }
    }

    /// The sign with a quarter less room: what must still be enough before more is allowed.
    fn eased(self) -> Self {
        let less = |n: u64| n - n / 4;
        match self {
            Sign::Available(bytes) => Sign::Available(less(bytes)),
            Sign::Limit(bytes) => Sign::Limit(less(bytes)),
            Sign::Descriptors(left) => Sign::Descriptors(less(left)),
        }
    }
}

fn by_memory(left: u64) -> usize {
    let row = MEMORY.iter().find(|row| left < row.below);
    row.map_or(usize::MAX, |row| row.sessions)
}

#[cfg(test)]
mod tests;
