//! What crashes leave of a [`MemDisk`]: [`Loss`] for one of a kind, [`Crash`] for a certain one, [`Crashes`] for all.
//!
//! A killed process leaves everything written. A loss of power leaves what was synced, and of each change since then
//! what its [`Fate`] says. No more is taken for granted than file systems promise, and a little less:
//!
//! * A sync of a file (`fdatasync`) saves its bytes and its length, and nothing of its name; a sync of a directory saves
//!   its names, and nothing of the files (fsync(2)).
//! * Writes to a file reach the disk in any order, or do not, each sector of 512 bytes for itself. A length may be saved
//!   before the bytes: they are then zeros, or what stood there before the file was made shorter. No file shows bytes of
//!   another one (ext4 with `data=ordered`, XFS, Btrfs, APFS).
//! * Changes of different names in a directory may be saved early, and in any order; changes of one name, or of names of
//!   one file, keep their order. A rename is one step. (Pillai et al., "All File Systems Are Not Created Equal", OSDI
//!   2014, table 1, has the systems that do such things.)
//! * A sync that fails may have saved any part of what it was to save; a later one that succeeds does not save the rest,
//!   unless its page of 4 KiB was written to again. What is read afterwards is either what the disk has (Btrfs) or what was written (ext4, XFS). (Rebello et al., "Can
//!   Applications Recover from fsync Failures?", USENIX ATC 2020.)
//! * A write that is overtaken by a later one to the same place ([`Fate::Late`]) happens on no system known: what
//!   survives it survives more than must be.
//! * Directories that were made are there: making one includes the sync of the directory above.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::tree::{Change, Names, Node, Tree, edit, edit_names, put};
use super::{MemDisk, enter};

/// Bytes that reach the disk together or not at all.
const SECTOR: usize = 512;

/// What a crash takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process was killed: everything written is there, in the same boot.
    Nothing,
    /// Power was lost: what was not synced is gone.
    Unsynced,
    /// Power was lost: each change that was not synced had a fate of its own. Seeded.
    Torn(u64),
}

/// What became of a change that was not synced when the power was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It did not reach the disk.
    Lost,
    /// It did.
    Kept,
    /// Some sectors of a write did: the first ones, the last ones, or any.
    Torn,
    /// The length that a write gave to the file did, its bytes did not.
    Hollow,
    /// It did, after all that came later.
    Late,
}

/// A loss of power at one point of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// So many changes had been made.
    pub changes: usize,
    /// What became of those that were not synced, in the order in which they were made.
    pub fates: Vec<Fate>,
    /// Decides which sectors of torn writes are there.
    pub seed: u64,
}

/// How many states are made of each point of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Up to so many unsynced changes, every subset of them is lost; and each subset is made once more with fates that
    /// are drawn for the rest.
    pub whole: usize,
    /// Beyond it, so many states are drawn.
    pub samples: usize,
    /// Where drawing begins.
    pub seed: u64,
}

/// The states that losses of power may leave, from the beginning of the record to its end. Of states that are equal and
/// of one point, the first one is given.
#[derive(Debug)]
pub struct Crashes {
    disk: MemDisk,
    sampling: Sampling,
    /// The record as far as `changes`.
    tree: Tree,
    changes: usize,
    /// Which state of this point comes next, and which were given.
    next: usize,
    seen: BTreeSet<u64>,
    generated: usize,
}

impl Crashes {
    /// How many states were made so far, counting equal ones.
    #[must_use]
    pub fn generated(&self) -> usize {
        self.generated
    }

    /// Without the states of the points before this many changes.
    #[must_use]
    pub fn from(mut self, changes: usize) -> Self {
        while self.changes < changes && self.step() {}
        self
    }

    pub(super) fn new(disk: MemDisk, sampling: Sampling) -> Self {
        let tree = enter(&disk.world).base.clone();
        Self {
            disk,
            sampling,
            tree,
            changes: 0,
            next: 0,
            seen: BTreeSet::new(),
            generated: 0,
        }
    }

    /// Goes on to the next point of the record; false at its end.
    fn step(&mut self) -> bool {
        let change = enter(&self.disk.world).log.get(self.changes).cloned();
        let Some(change) = change else { return false };
        self.tree.apply(&change);
        self.changes += 1;
        self.next = 0;
        self.seen.clear();
        true
    }

    /// The fates of the next state of this point; `None` once there are enough of them.
    fn fates(&self) -> Option<Crash> {
        let pending = self.tree.pending().len();
        let seed = self.sampling.seed ^ ((self.changes as u64) << 20) ^ self.next as u64;
        let mut dice = Dice::new(seed);
        let whole = pending <= self.sampling.whole;
        let fates: Vec<Fate> = if whole {
            let subset = self.next >> 1;
            if subset >> pending != 0 {
                return None;
            }
            let kept = |bit: usize| subset >> bit & 1 == 1;
            let strange = self.next & 1 == 1;
            let fate = |bit| match (kept(bit), strange) {
                (false, _) => Fate::Lost,
                (true, false) => Fate::Kept,
                (true, true) => dice.fate(1),
            };
            (0..pending).map(fate).collect()
        } else {
            match self.next {
                0 => vec![Fate::Lost; pending],
                1 => vec![Fate::Kept; pending],
                drawn if drawn < self.sampling.samples => dice.fates(pending),
                _ => return None,
            }
        };
        Some(Crash {
            changes: self.changes,
            fates,
            seed,
        })
    }
}

impl Iterator for Crashes {
    type Item = (Crash, MemDisk);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(crash) = self.fates() else {
                if !self.step() {
                    return None;
                }
                continue;
            };
            self.next += 1;
            self.generated += 1;
            let left = self.tree.after(&crash.fates, crash.seed);
            if self.seen.insert(left.fingerprint()) {
                return Some((crash, self.disk.found(left, true)));
            }
        }
    }
}

impl Tree {
    /// What of the record is not on the disk for certain, oldest first, by serial number.
    pub(super) fn pending(&self) -> Vec<u64> {
        let unsafe_ones = |node: &Node| -> Vec<u64> {
            let uncertain = node.since.iter().filter(|since| !since.safe);
            uncertain.map(|since| since.serial).collect()
        };
        let names = self.name_changes.iter().map(|(serial, _)| *serial);
        let mut pending: Vec<u64> = names.collect();
        pending.extend(self.nodes.values().flat_map(unsafe_ones));
        pending.sort_unstable();
        pending
    }

    /// What `loss` leaves.
    pub(super) fn lose(&self, loss: Loss) -> Tree {
        let pending = self.pending().len();
        match loss {
            Loss::Nothing => {
                let mut tree = self.clone();
                let named: BTreeSet<u64> = tree.names.values().copied().collect();
                let old: BTreeSet<u64> = tree.durable_names.values().copied().collect();
                tree.nodes
                    .retain(|ino, _| named.contains(ino) || old.contains(ino));
                tree
            }
            Loss::Unsynced => self.after(&vec![Fate::Lost; pending], 0),
            Loss::Torn(seed) => self.after(&Dice::new(seed).fates(pending), seed),
        }
    }

    /// What a loss of power leaves, if the pending changes have these fates; those without one are lost.
    pub(super) fn after(&self, fates: &[Fate], seed: u64) -> Tree {
        let pending = self.pending();
        let fate = |serial: u64| {
            let place = pending.binary_search(&serial).ok();
            place.and_then(|place| fates.get(place)).copied()
        };
        let fate = |serial| fate(serial).unwrap_or(Fate::Lost);
        let names = self.names_after(&fate);
        let mut nodes = std::collections::BTreeMap::new();
        for ino in names.values() {
            if let Some(node) = self.nodes.get(ino) {
                nodes.insert(*ino, node.after(&fate, seed));
            }
        }
        Tree {
            dirs: self.dirs.clone(),
            durable_names: names.clone(),
            names,
            nodes,
            ..Tree::default()
        }
    }

    /// A change of names is there if it was kept, and if those before it that concern the same name or file are.
    fn names_after(&self, fate: &impl Fn(u64) -> Fate) -> Names {
        let mut names = self.durable_names.clone();
        let mut missing = BTreeSet::new();
        let mut missing_files = BTreeSet::new();
        for (serial, change) in &self.name_changes {
            let (Change::Create { ino, .. }
            | Change::Link { ino, .. }
            | Change::Rename { ino, .. }
            | Change::Unlink { ino, .. }) = &**change
            else {
                continue;
            };
            let mut touched = change.touches().into_iter().flatten();
            let depends = touched.any(|at| missing.contains(at)) || missing_files.contains(ino);
            if depends || fate(*serial) == Fate::Lost {
                missing.extend(change.touches().into_iter().flatten().cloned());
                missing_files.insert(*ino);
            } else {
                edit_names(&mut names, change);
            }
        }
        names
    }

    /// Equal for equal trees.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.names.hash(&mut hasher);
        for (ino, node) in &self.nodes {
            let bytes = (node.data.len(), crc32fast::hash(&node.data));
            let attributes = (node.attributes.mode, node.attributes.modified.unix_secs());
            (ino, bytes, attributes).hash(&mut hasher);
        }
        hasher.finish()
    }
}

impl Node {
    fn after(&self, fate: &impl Fn(u64) -> Fate, seed: u64) -> Node {
        let mut data = self.durable.clone();
        let mut attributes = self.durable_attributes;
        let mut late: Vec<&Arc<Change>> = Vec::new();
        for since in &self.since {
            let fate = match fate(since.serial) {
                // What a sync has dropped does not come back.
                Fate::Late if since.in_doubt => Fate::Kept,
                _ if since.safe => Fate::Kept,
                fate => fate,
            };
            let mut dice = Dice::new(seed ^ since.serial << 32);
            match (fate, &*since.change) {
                (Fate::Lost, _) => {}
                (Fate::Late, _) => late.push(&since.change),
                (Fate::Hollow, Change::Write { at, bytes, .. }) => {
                    self.lengthen(&mut data, *at as usize + bytes.len(), &mut dice);
                }
                (Fate::Torn, Change::Write { at, bytes, .. }) => {
                    if dice.below(2) == 0 {
                        self.lengthen(&mut data, *at as usize + bytes.len(), &mut dice);
                    }
                    for (from, to) in dice.tear(*at as usize, bytes.len()) {
                        put(&mut data, at + from as u64, &bytes[from..to]);
                    }
                }
                (Fate::Kept | Fate::Hollow | Fate::Torn, change) => {
                    edit(&mut data, change);
                    attributes.edit(change);
                }
            }
        }
        for change in late {
            edit(&mut data, change);
            attributes.edit(change);
        }
        self.settled(data, attributes)
    }

    /// The length is saved, and the bytes are not.
    fn lengthen(&self, data: &mut Vec<u8>, end: usize, dice: &mut Dice) {
        let from = data.len();
        if from >= end {
            return;
        }
        data.resize(end, 0);
        let shown = self.ghost.len().min(end);
        if dice.below(2) == 0 && from < shown {
            data[from..shown].copy_from_slice(&self.ghost[from..shown]);
        }
    }
}

/// A small generator (xorshift): enough to vary a crash, the same for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// Seeds that are close give draws that are not.
    fn new(seed: u64) -> Self {
        let mixed = (seed ^ seed >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self((mixed ^ mixed >> 32) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// One of the fates, without the first `from` of them.
    fn fate(&mut self, from: u64) -> Fate {
        const FATES: [Fate; 5] = [Fate::Lost, Fate::Kept, Fate::Torn, Fate::Hollow, Fate::Late];
        let drawn = from + self.below(FATES.len() as u64 - from);
        FATES[usize::try_from(drawn).expect("a small number")]
    }

    /// Fates for `count` changes. How many are lost is drawn first: few and many are as likely as half of them.
    fn fates(&mut self, count: usize) -> Vec<Fate> {
        let lost = self.below(101);
        let strange = self.below(101);
        let mut draw = || {
            if self.below(100) < lost {
                Fate::Lost
            } else if self.below(100) < strange {
                self.fate(2)
            } else {
                Fate::Kept
            }
        };
        (0..count).map(|_| draw()).collect()
    }

    /// Which pieces of a write of `len` bytes at `at` are there: whole sectors.
    fn tear(&mut self, at: usize, len: usize) -> Vec<(usize, usize)> {
        let first = (SECTOR - at % SECTOR).min(len);
        let edges = (0..).map(|n| if n == 0 { 0 } else { first + (n - 1) * SECTOR });
        let edges: Vec<usize> = edges.take_while(|edge| *edge < len).chain([len]).collect();
        let sectors: Vec<(usize, usize)> = edges.windows(2).map(|w| (w[0], w[1])).collect();
        let middle = self.below(sectors.len() as u64 + 1) as usize;
        match self.below(3) {
            0 => sectors[..middle].to_vec(),
            1 => sectors[middle..].to_vec(),
            _ => sectors.into_iter().filter(|_| self.below(2) == 0).collect(),
        }
    }
}
