//! What a journal claims, as a pure function of its bytes: [`replay`].
//!
//! Format 1, which no release has written yet: until one has, kinds of records may be added without another number. The
//! first page holds a header (magic, version, process, boot, the part's device and inode, generation,
//! CRC-32) and [`SLOTS`] slots of 32 bytes (generation, lease, start, cursor, CRC-32 of the bytes in between, CRC-32 of
//! the slot), which lanes overwrite after each data write. Then come records, only ever appended: length, CRC-32, payload. A `Source` record says which
//! representation the bytes belong to and voids every claim before it; `Written` lists runs that were
//! written, with the CRC-32 of their bytes, `Claimed` bytes whose CRC is not known, `Durable` runs that were synced first;
//! `Forgot` takes claims back. A header whose generation no record reaches says that nothing counts.
//!
//! What may be believed depends on where the journal is read. In the same boot, with the same part, everything written
//! is in the page cache and counts. After a loss of power only runs count, and only once their bytes have been read again
//! and their CRCs agree: [`Journal::trusted`] tells the two apart.

use tur_core::{ByteRange, Identity, RangeSet};

use crate::FileId;
use crate::frame::{HEADER, Head, Header, LIST_MAX, PAGE, Record, SLOT, Slot};
use crate::runs::RunSet;

/// Lanes that have a slot. Lanes beyond it are claimed by records alone, one for each MiB.
pub const SLOTS: usize = (PAGE - HEADER) / SLOT;

/// Ranges and runs that one journal may amount to; records after that are not read.
pub const FRAGMENTS_MAX: usize = 1 << 16;

/// Where a journal is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Here {
    /// The running boot; `None` if it cannot be told.
    pub boot: Option<[u8; 16]>,
    /// The part beside the journal.
    pub part: FileId,
}

/// What the bytes turn out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Not a journal, or one that was cut: nothing in it counts.
    Damaged,
    /// A journal of another format.
    Version(u16),
    /// A journal.
    Journal(Box<Journal>),
}

/// A journal's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The process that wrote it last.
    pub pid: u32,
    /// True if it was written in this boot for this very part: then `claimed` counts. Otherwise `claimed` is empty, and
    /// `runs` and `written` count once their CRCs have been verified.
    pub trusted: bool,
    /// The representation; `None` before the first one was known.
    pub source: Option<Source>,
    /// Bytes that were written.
    pub claimed: RangeSet,
    /// Runs that were synced and not forgotten since.
    pub runs: Vec<Run>,
    /// Runs that were written and not forgotten since, synced or not. They may overlap `runs`.
    pub written: Vec<Run>,
    /// One past the last good record.
    pub tail: u64,
    /// How many records voided earlier claims.
    pub generation: u32,
}

/// Which representation the bytes belong to, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// URL without userinfo.
    pub url: String,
    /// What identifies it.
    pub identity: Identity,
}

/// Contiguous bytes of one lease with their CRC-32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which bytes.
    pub range: ByteRange,
    /// CRC-32 (IEEE) of them.
    pub crc: u32,
}

/// Reads a journal. Any bytes are an answer; none of them panics, and memory is bounded by their number.
#[must_use]
pub fn replay(bytes: &[u8], here: &Here) -> Replayed {
    let header = match Header::decode(bytes) {
        Head::Good(header) if bytes.len() >= PAGE => header,
        Head::Good(_) | Head::Damaged => return Replayed::Damaged,
        Head::Version(version) => return Replayed::Version(version),
    };
    let mut journal = Journal {
        pid: header.pid,
        trusted: header.boot.is_some() && header.boot == here.boot && header.part == here.part,
        source: None,
        claimed: RangeSet::new(),
        runs: Vec::new(),
        written: Vec::new(),
        tail: PAGE as u64,
        generation: 0,
    };
    let mut sets = Sets::default();
    journal.read_records(&bytes[PAGE..], &mut sets);
    // The header is written after a record that voids claims: without that record older claims would seem to hold.
    if journal.generation < header.generation {
        return Replayed::Damaged;
    }
    journal.read_slots(&bytes[HEADER..PAGE], &mut sets);
    if !journal.trusted {
        journal.claimed = RangeSet::new();
    }
    journal.runs = sets.durable.iter().collect();
    journal.written = sets.written.iter().collect();
    Replayed::Journal(Box::new(journal))
}

/// Runs while they are collected.
#[derive(Default)]
struct Sets {
    durable: RunSet,
    written: RunSet,
}

impl Journal {
    fn read_records(&mut self, mut rest: &[u8], sets: &mut Sets) {
        while let Some((record, len)) = Record::decode(rest, self.tail, self.generation) {
            let fragments = self.claimed.fragments() + sets.durable.len() + sets.written.len();
            let room = fragments + LIST_MAX <= FRAGMENTS_MAX;
            if !room && !record.opens_generation() {
                break;
            }
            self.apply(record, sets);
            self.tail += len as u64;
            rest = &rest[len..];
        }
    }

    fn apply(&mut self, record: Record, sets: &mut Sets) {
        self.generation = self
            .generation
            .saturating_add(u32::from(record.opens_generation()));
        match record {
            Record::Source(source) => {
                self.source = Some(source.into());
                self.claimed = RangeSet::new();
                *sets = Sets::default();
            }
            Record::Claimed(spans) => self.claimed.extend(spans.into_iter().map(Into::into)),
            Record::Durable(list) => {
                for run in list.into_iter().map(Run::from) {
                    self.claimed.insert(run.range);
                    sets.durable.insert(run);
                }
            }
            Record::Written(list) => {
                for run in list.into_iter().map(Run::from) {
                    self.claimed.insert(run.range);
                    sets.written.insert_new(run);
                }
            }
            Record::Forgot(spans) => {
                for range in spans.into_iter().map(Into::<ByteRange>::into) {
                    self.claimed.remove(range);
                    // Its CRC could not be verified any more.
                    sets.durable.remove(range);
                    sets.written.remove(range);
                }
            }
        }
    }

    /// A slot of an older generation is covered by records: whoever opens a generation writes them first.
    fn read_slots(&mut self, slots: &[u8], sets: &mut Sets) {
        let current = slots
            .chunks_exact(SLOT)
            .filter_map(Slot::decode)
            .filter(|slot| slot.generation == self.generation && self.source.is_some());
        for slot in current {
            let range = ByteRange::new(slot.start, slot.cursor);
            self.claimed.insert(range);
            if slot.data_crc != 0 {
                let crc = slot.data_crc;
                // The lane may have ended since: then its record says the same.
                sets.written.insert_new(Run { range, crc });
            }
        }
    }
}
