//! What a journal claims, as a pure function of its bytes: [`replay`].
//!
//! Format 1. The first page holds a header (magic, version, process, boot, the part's device and inode, generation,
//! CRC-32) and [`SLOTS`] slots of 32 bytes (generation, lease, start, cursor, CRC-32), which lanes overwrite after each
//! data write. Then come records, only ever appended: length, CRC-32, payload. A `Source` record says which
//! representation the bytes belong to and voids every claim before it; `Claimed` lists bytes that were written,
//! `Durable` runs that were synced first, with the CRC-32 of their bytes; `Forgot` takes claims back.
//!
//! What may be believed depends on where the journal is read. In the same boot, with the same part, everything written
//! is in the page cache and counts. After a loss of power only durable runs count, and only once their bytes have been
//! read again and their CRCs agree: [`Journal::trusted`] tells the two apart.

use tur_core::{ByteRange, Identity, RangeSet};

use crate::FileId;
use crate::frame::{HEADER, Head, Header, LIST_MAX, PAGE, Record, SLOT, Slot};
use crate::runs::RunSet;

/// Lanes that have a slot. Lanes beyond it are claimed by records alone.
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
    /// `runs` count once their CRCs have been verified.
    pub trusted: bool,
    /// The representation; `None` before the first one was known.
    pub source: Option<Source>,
    /// Bytes that were written.
    pub claimed: RangeSet,
    /// Runs that were synced and not forgotten since.
    pub runs: Vec<Run>,
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
        tail: PAGE as u64,
        generation: 0,
    };
    let mut runs = RunSet::default();
    journal.read_records(&bytes[PAGE..], &mut runs);
    journal.runs = runs.iter().collect();
    // The header is written after a record that voids claims: without that record older claims would seem to hold.
    if journal.generation < header.generation {
        return Replayed::Damaged;
    }
    if journal.trusted {
        journal.read_slots(&bytes[HEADER..PAGE]);
    } else {
        journal.claimed = RangeSet::new();
    }
    Replayed::Journal(Box::new(journal))
}

impl Journal {
    fn read_records(&mut self, mut rest: &[u8], runs: &mut RunSet) {
        while let Some((record, len)) = Record::decode(rest, self.tail, self.generation) {
            let room = self.claimed.fragments() + runs.len() + LIST_MAX <= FRAGMENTS_MAX;
            if !room && !record.opens_generation() {
                break;
            }
            self.apply(record, runs);
            self.tail += len as u64;
            rest = &rest[len..];
        }
    }

    fn apply(&mut self, record: Record, runs: &mut RunSet) {
        self.generation = self
            .generation
            .saturating_add(u32::from(record.opens_generation()));
        match record {
            Record::Source(source) => {
                self.source = Some(source.into());
                self.claimed = RangeSet::new();
                runs.clear();
            }
            Record::Claimed(spans) => self.claimed.extend(spans.into_iter().map(Into::into)),
            Record::Durable(list) => {
                for run in list.into_iter().map(Run::from) {
                    self.claimed.insert(run.range);
                    runs.insert(run);
                }
            }
            Record::Forgot(spans) => {
                for range in spans.into_iter().map(Into::<ByteRange>::into) {
                    self.claimed.remove(range);
                    // Its CRC could not be verified any more.
                    runs.remove(range);
                }
            }
        }
    }

    /// A slot of an older generation is covered by records: whoever opens a generation writes them first.
    fn read_slots(&mut self, slots: &[u8]) {
        let current = slots
            .chunks_exact(SLOT)
            .filter_map(Slot::decode)
            .filter(|slot| slot.generation == self.generation && self.source.is_some());
        self.claimed
            .extend(current.map(|slot| ByteRange::new(slot.start, slot.cursor)));
    }
}
