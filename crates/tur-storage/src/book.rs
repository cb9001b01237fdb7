//! What is true of every byte of one part, without any file operation: [`Book`].
//!
//! Kept under one lock. Bytes come in by [`Book::publish`] after they were written, leave by [`Book::void`], and move
//! from *pending* to *durable* in a checkpoint. Every covered byte is either durable, in a pending or growing run whose
//! CRC is known, or *unhashed*: claimed by an earlier process, its CRC still to be read.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use tur_core::{ByteRange, RangeSet};

use crate::buffer::Buffer;
use crate::frame::{Record, Slot, SourceV1};
use crate::journal::Run;
use crate::runs::RunSet;
use crate::view::{Seen, View};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// True once it is known which representation the bytes belong to.
    pub(crate) begun: bool,
    /// Total length, if known.
    pub(crate) total: Option<u64>,
    /// The source on record, since it was begun with.
    pub(crate) source: Option<SourceV1>,
    /// What is covered, and where it is read.
    pub(crate) view: View,
    /// True while the bytes are in memory and in no file: see `held`.
    pub(crate) held: bool,
    /// Covered, and neither in a record nor in the slot of a writer at work.
    pub(crate) unrecorded: Vec<Run>,
    /// The same, where the CRC is not known any more.
    pub(crate) bare: RangeSet,
    /// Covered, without a known CRC.
    pub(crate) unhashed: RangeSet,
    /// Closed runs that no sync has seen yet.
    pub(crate) pending: Vec<Run>,
    /// Recorded as durable.
    pub(crate) durable: RunSet,
    /// Writers at work.
    pub(crate) active: BTreeMap<u64, Active>,
    /// While a checkpoint runs: what became void since it began.
    pub(crate) voided: Option<RangeSet>,
    /// Losses found while writing, to be told by the next check.
    pub(crate) cut: RangeSet,
    /// Counts failed syncs: a write that one of them overtook is lost with it.
    pub(crate) losses: u32,
    /// Counts what voided claims: slots of another generation count no more.
    pub(crate) generation: u32,
    /// Where the next record goes.
    pub(crate) tail: u64,
    /// Where it went when the journal was last synced: records from here on may be dropped by a sync that fails.
    pub(crate) synced: u64,
    /// Bytes of records when the journal was last written anew.
    pub(crate) renewed: u64,
    /// True if a journal with a good header is on disk.
    pub(crate) headed: bool,
    /// True once the journal says more than is true: nothing more may be written.
    pub(crate) broken: bool,
    /// Room that was asked for.
    pub(crate) allocated: RangeSet,
    /// False once the file system said that it cannot reserve room.
    pub(crate) allocates: bool,
    next_key: u64,
}

/// One writer at work.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) slot: Option<u16>,
    pub(crate) lease: u32,
    /// From here on the slot vouches; before it, records do.
    claim_start: u64,
    /// From `claim_start` to `run_start`.
    claim_crc: crc32fast::Hasher,
    /// From here on `crc` reaches to `cursor`.
    run_start: u64,
    pub(crate) cursor: u64,
    crc: crc32fast::Hasher,
}

impl Active {
    /// What the slot vouches for.
    pub(crate) fn claim(&self) -> Run {
        let mut crc = self.claim_crc.clone();
        if self.claim_start < self.run_start {
            crc.combine(&self.crc);
        } else {
            crc = self.crc.clone();
        }
        Run {
            range: ByteRange::new(self.claim_start, self.cursor),
            crc: crc.finalize(),
        }
    }

    /// What comes from here on is vouched for by the slot, what came before by records.
    fn claim_anew(&mut self) {
        self.claim_start = self.run_start;
        self.claim_crc = crc32fast::Hasher::new();
    }
}

impl Book {
    pub(crate) fn new() -> Self {
        Self {
            allocates: true,
            ..Self::default()
        }
    }

    /// What readers see. To be let go of before any disk is waited for.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.view.look()
    }

    /// What is held, which is not held from then on. Readers find it in memory still.
    pub(crate) fn take_held(&mut self) -> Option<Arc<Buffer>> {
        let held = std::mem::take(&mut self.held);
        self.seen().memory.clone().filter(|_| held)
    }

    /// Takes in a writer. A slot that is in use is not shared: the writer then has none.
    pub(crate) fn enter(&mut self, slot: u16, lease: u32, start: u64) -> u64 {
        let taken = self.active.values().any(|a| a.slot == Some(slot));
        self.next_key += 1;
        let is_there = Slot::offset(slot).is_some();
        let active = Active {
            slot: (is_there && !taken).then_some(slot),
            lease,
            claim_start: start,
            claim_crc: crc32fast::Hasher::new(),
            run_start: start,
            cursor: start,
            crc: crc32fast::Hasher::new(),
        };
        self.active.insert(self.next_key, active);
        self.next_key
    }

    /// `piece` covers the `len` bytes that writer `key` has written at its cursor.
    pub(crate) fn publish(&mut self, key: u64, len: u64, piece: &crc32fast::Hasher) {
        let active = self
            .active
            .get_mut(&key)
            .expect("a writer leaves only when it ends");
        let range = ByteRange::new(active.cursor, active.cursor + len);
        active.crc.combine(piece);
        active.cursor = range.end;
        self.seen().covered.insert(range);
    }

    /// Closes the run of writer `key`: the next byte begins another one.
    fn rotate(&mut self, key: u64) {
        let Some(active) = self.active.get_mut(&key) else {
            return;
        };
        let range = ByteRange::new(active.run_start, active.cursor);
        let crc = std::mem::take(&mut active.crc);
        active.claim_crc.combine(&crc);
        let crc = crc.finalize();
        active.run_start = active.cursor;
        if !range.is_empty() {
            self.pending.push(Run { range, crc });
        }
    }

    pub(crate) fn rotate_all(&mut self) {
        let keys: Vec<u64> = self.active.keys().copied().collect();
        keys.into_iter().for_each(|key| self.rotate(key));
    }

    /// Ends writer `key`; its claim is to be recorded.
    pub(crate) fn leave(&mut self, key: u64) {
        self.rotate(key);
        if let Some(active) = self.active.remove(&key) {
            self.unrecord(active.claim());
        }
    }

    /// What writer `key` has written since its last record is to be recorded, if that is `least` bytes or more and no slot
    /// vouches for it. True if there is something.
    pub(crate) fn take_slotless(&mut self, key: u64, least: u64) -> bool {
        let due = self.active.get(&key).is_some_and(|active| {
            active.slot.is_none() && active.cursor - active.claim_start >= least
        });
        if due {
            self.rotate(key);
            if let Some(active) = self.active.get_mut(&key) {
                let claim = active.claim();
                active.claim_anew();
                self.unrecord(claim);
            }
        }
        due
    }

    /// A claim that is to be recorded.
    fn unrecord(&mut self, claim: Run) {
        if !claim.range.is_empty() {
            self.unrecorded.push(claim);
        }
    }

    /// Everything that is not on record yet, as records.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Record> {
        Record::written(self.unrecorded.iter().copied()).chain(Record::claimed(self.bare.iter()))
    }

    /// All that is covered, as records: for a source that begins with it.
    pub(crate) fn everything(&self) -> impl Iterator<Item = Record> {
        let mut bare = self.seen().covered.clone();
        for run in self.durable.iter().chain(self.pending.iter().copied()) {
            bare.remove(run.range);
        }
        let bare: Vec<ByteRange> = bare.iter().collect();
        Record::durable(self.durable.iter())
            .chain(Record::written(self.pending.iter().copied()))
            .chain(Record::claimed(bare.into_iter()))
    }

    /// What was on record, but for what is durable, may not be any more: all of it is to be recorded again.
    pub(crate) fn claim_again(&mut self) {
        let covered = self.seen().covered.clone();
        self.bare = covered;
        for run in self.durable.iter().chain(self.pending.iter().copied()) {
            self.bare.remove(run.range);
        }
        self.unrecorded.clone_from(&self.pending);
    }

    /// All claims are on record.
    pub(crate) fn recorded(&mut self) {
        self.unrecorded.clear();
        self.bare = RangeSet::new();
    }

    /// Moves what the slots vouch for to what is to be recorded: before the slots' generation ends.
    pub(crate) fn take_claims(&mut self) {
        self.rotate_all();
        let claims: Vec<Run> = self
            .active
            .values_mut()
            .map(|active| {
                let claim = active.claim();
                active.claim_anew();
                claim
            })
            .collect();
        claims.into_iter().for_each(|claim| self.unrecord(claim));
    }

    /// These bytes are not vouched for any more. Runs that lose a byte lose their CRC: their rest is to be read again.
    pub(crate) fn void(&mut self, lost: &RangeSet) {
        self.take_claims();
        let hit = |run: &Run| lost.overlaps(run.range);
        let mut orphans: Vec<ByteRange> = Vec::new();
        self.pending.retain(|run| {
            if hit(run) {
                orphans.push(run.range);
            }
            !hit(run)
        });
        for range in lost.iter() {
            orphans.extend(self.durable.remove(range).iter().map(|run| run.range));
        }
        self.unhashed.extend(orphans);
        let mut bare: Vec<ByteRange> = Vec::new();
        self.unrecorded.retain(|run| {
            if hit(run) {
                bare.push(run.range);
            }
            !hit(run)
        });
        self.bare.extend(bare);
        for range in lost.iter() {
            self.seen().lose(range);
            self.bare.remove(range);
            self.unhashed.remove(range);
        }
        if let Some(voided) = &mut self.voided {
            voided.extend(lost.iter());
        }
    }

    /// Forgets everything: another representation begins.
    pub(crate) fn restart(&mut self, total: Option<u64>) {
        self.view.clear();
        *self = Self {
            view: self.view.clone(),
            begun: true,
            total,
            generation: self.generation,
            tail: self.tail,
            synced: self.synced,
            renewed: self.renewed,
            source: self.source.take(),
            headed: self.headed,
            broken: self.broken,
            allocates: self.allocates,
            next_key: self.next_key,
            losses: self.losses,
            // A checkpoint that still runs has nothing left to say.
            voided: self
                .voided
                .as_ref()
                .map(|_| RangeSet::from_iter([ByteRange::from(0)])),
            ..Self::default()
        };
    }

    /// Begins a checkpoint: all runs so far, and what must be read first.
    pub(crate) fn snapshot(&mut self) -> (Vec<Run>, RangeSet) {
        self.rotate_all();
        self.voided = Some(RangeSet::new());
        (
            std::mem::take(&mut self.pending),
            std::mem::take(&mut self.unhashed),
        )
    }

    /// Those of a checkpoint's runs that lost no byte since it began.
    pub(crate) fn standing(&self, runs: &[Run]) -> Vec<Run> {
        let hit = |run: &&Run| {
            self.voided
                .as_ref()
                .is_some_and(|voided| voided.overlaps(run.range))
        };
        runs.iter().filter(|run| !hit(run)).copied().collect()
    }

    /// Ends a checkpoint. Where it `synced`, its standing runs are durable and are returned; all else goes back.
    pub(crate) fn settle(&mut self, runs: Vec<Run>, unread: RangeSet, synced: bool) -> RangeSet {
        let standing = self.standing(&runs);
        let voided = self.voided.take().unwrap_or_default();
        let hit = runs.iter().filter(|run| voided.overlaps(run.range));
        let mut orphans: RangeSet = hit.map(|run| run.range).chain(unread.iter()).collect();
        // What was voided and written again since has a run of its own.
        for range in voided.iter() {
            orphans.remove(range);
        }
        self.unhashed.extend(orphans.iter());
        if !synced {
            self.pending.extend(standing);
            return RangeSet::new();
        }
        let durable: RangeSet = standing.iter().map(|run| run.range).collect();
        for run in standing {
            self.durable.insert(run);
        }
        for active in self.active.values_mut() {
            // The slots shrink to what no record vouches for.
            let rotated = ByteRange::new(active.claim_start, active.run_start);
            if durable.covers(rotated) {
                active.claim_anew();
            }
        }
        durable
    }

    /// Everything that a sync would have to save: covered and not durable.
    pub(crate) fn volatile(&self) -> RangeSet {
        let mut volatile = self.seen().covered.clone();
        for run in self.durable.iter() {
            volatile.remove(run.range);
        }
        volatile
    }

    /// One past the last covered byte: the file is at least so long.
    pub(crate) fn high(&self) -> u64 {
        self.seen().high()
    }
}
