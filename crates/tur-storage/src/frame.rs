//! The bytes of a journal: header, slots and record frames.
//!
//! Page 0 (4096 bytes) holds the [`Header`] and one [`Slot`] per lane; records follow. All numbers are little-endian.
//! A record's CRC covers its place and the generation it was written in, so that a record left over from before can
//! not be read as one of now.

use serde::{Deserialize, Serialize};
use tur_core::{ByteRange, ETag, Identity, LastModified, Wall};

use crate::FileId;
use crate::journal::{Run, SLOTS, Source};

/// Bytes of the first page.
pub(crate) const PAGE: usize = 4096;
/// Bytes of the header.
pub(crate) const HEADER: usize = 64;
/// Bytes of a slot.
pub(crate) const SLOT: usize = 32;
/// Bytes in front of a record: length and CRC.
pub(crate) const FRAME: usize = 8;
/// The longest record: a URL and an identity of the largest header section we take fit, with room to spare.
pub(crate) const RECORD_MAX: usize = 1 << 20;
/// Ranges in one record; longer lists are split.
pub(crate) const LIST_MAX: usize = 4096;
/// The format written here.
pub(crate) const VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"tur.jrnl";

/// What the journal says about itself. Magic, version and CRC keep their place in every format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) pid: u32,
    pub(crate) boot: Option<[u8; 16]>,
    pub(crate) part: FileId,
    /// Records up to this generation were written: a journal that does not reach it was cut.
    pub(crate) generation: u32,
}

/// What the first bytes of a journal turn out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    Good(Header),
    Version(u16),
    Damaged,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10] = u8::from(self.boot.is_some());
        out[12..16].copy_from_slice(&self.pid.to_le_bytes());
        out[16..32].copy_from_slice(&self.boot.unwrap_or_default());
        out[32..40].copy_from_slice(&self.part.dev.to_le_bytes());
        out[40..48].copy_from_slice(&self.part.ino.to_le_bytes());
        out[48..52].copy_from_slice(&self.generation.to_le_bytes());
        let crc = crc32fast::hash(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Head {
        let Some(bytes) = bytes.first_chunk::<HEADER>() else {
            return Head::Damaged;
        };
        if &bytes[..8] != MAGIC || crc32fast::hash(&bytes[..60]) != u32_at(bytes, 60) {
            return Head::Damaged;
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Head::Version(version);
        }
        let mut boot = [0; 16];
        boot.copy_from_slice(&bytes[16..32]);
        Head::Good(Header {
            pid: u32_at(bytes, 12),
            boot: (bytes[10] == 1).then_some(boot),
            part: FileId {
                dev: u64_at(bytes, 32),
                ino: u64_at(bytes, 40),
            },
            generation: u32_at(bytes, 48),
        })
    }
}

/// True if the file began as a journal, or as nothing at all: zeros are what a power loss leaves.
pub(crate) fn may_be_ours(head: &[u8]) -> bool {
    head.starts_with(MAGIC) || head.iter().all(|byte| *byte == 0)
}

/// The progress of one lane since its last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) generation: u32,
    pub(crate) lease: u32,
    pub(crate) start: u64,
    pub(crate) cursor: u64,
    /// CRC-32 of the bytes from `start` to `cursor`; 0 where it is not told.
    pub(crate) data_crc: u32,
}

impl Slot {
    pub(crate) fn encode(&self) -> [u8; SLOT] {
        let mut out = [0; SLOT];
        out[..4].copy_from_slice(&self.generation.to_le_bytes());
        out[4..8].copy_from_slice(&self.lease.to_le_bytes());
        out[8..16].copy_from_slice(&self.start.to_le_bytes());
        out[16..24].copy_from_slice(&self.cursor.to_le_bytes());
        out[24..28].copy_from_slice(&self.data_crc.to_le_bytes());
        let crc = crc32fast::hash(&out[..28]);
        out[28..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Slot> {
        let bytes = bytes.first_chunk::<SLOT>()?;
        let slot = Slot {
            generation: u32_at(bytes, 0),
            lease: u32_at(bytes, 4),
            start: u64_at(bytes, 8),
            cursor: u64_at(bytes, 16),
            data_crc: u32_at(bytes, 24),
        };
        (crc32fast::hash(&bytes[..28]) == u32_at(bytes, 28)).then_some(slot)
    }

    /// Where slot `index` stands; `None` past the page.
    pub(crate) fn offset(index: u16) -> Option<u64> {
        (usize::from(index) < SLOTS).then(|| (HEADER + usize::from(index) * SLOT) as u64)
    }
}

/// One entry of the journal. Variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// Another representation, or the same from scratch: all earlier claims are void.
    Source(SourceV1),
    /// Written, not synced.
    Claimed(Vec<SpanV1>),
    /// Synced before this was written.
    Durable(Vec<RunV1>),
    /// Not vouched for any more.
    Forgot(Vec<SpanV1>),
    /// Written, not synced, with the CRC of what was written.
    Written(Vec<RunV1>),
}

impl Record {
    /// Source and Forgot open a new generation: what stood in a slot before them counts no more.
    pub(crate) fn opens_generation(&self) -> bool {
        matches!(self, Record::Source(_) | Record::Forgot(_))
    }

    pub(crate) fn claimed(ranges: impl Iterator<Item = ByteRange>) -> impl Iterator<Item = Record> {
        split(ranges.map(SpanV1::from)).map(Record::Claimed)
    }

    pub(crate) fn forgot(ranges: impl Iterator<Item = ByteRange>) -> impl Iterator<Item = Record> {
        split(ranges.map(SpanV1::from)).map(Record::Forgot)
    }

    pub(crate) fn durable(runs: impl Iterator<Item = Run>) -> impl Iterator<Item = Record> {
        split(runs.map(RunV1::from)).map(Record::Durable)
    }

    pub(crate) fn written(runs: impl Iterator<Item = Run>) -> impl Iterator<Item = Record> {
        split(runs.map(RunV1::from)).map(Record::Written)
    }

    /// Appends the frame to `out`; false (and nothing appended) if the record is longer than any may be.
    pub(crate) fn encode(&self, at: u64, generation: u32, out: &mut Vec<u8>) -> bool {
        let Ok(payload) = postcard::to_stdvec(self) else {
            return false;
        };
        let Some(len) = u32::try_from(payload.len())
            .ok()
            .filter(|_| payload.len() <= RECORD_MAX)
        else {
            return false;
        };
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&record_crc(at, generation, &payload).to_le_bytes());
        out.extend_from_slice(&payload);
        true
    }

    /// Reads the frame at the front of `bytes`, which stands at `at`, and says how long it is.
    pub(crate) fn decode(bytes: &[u8], at: u64, generation: u32) -> Option<(Record, usize)> {
        let frame = bytes.get(..FRAME)?;
        let len = usize::try_from(u32_at(frame, 0)).ok()?;
        if len > RECORD_MAX {
            return None;
        }
        let payload = bytes.get(FRAME..FRAME + len)?;
        if record_crc(at, generation, payload) != u32_at(frame, 4) {
            return None;
        }
        // Nothing may be left over: a record has one reading.
        match postcard::take_from_bytes(payload) {
            Ok((record, [])) => Some((record, FRAME + len)),
            _ => None,
        }
    }
}

/// Cuts a list into records of bounded length.
fn split<T>(mut items: impl Iterator<Item = T>) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        let list: Vec<T> = items.by_ref().take(LIST_MAX).collect();
        (!list.is_empty()).then_some(list)
    })
}

fn record_crc(at: u64, generation: u32, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&at.to_le_bytes());
    crc.update(&generation.to_le_bytes());
    crc.update(payload);
    crc.finalize()
}

/// Mirror of [`ByteRange`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpanV1 {
    start: u64,
    end: u64,
}

impl From<ByteRange> for SpanV1 {
    fn from(range: ByteRange) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

impl From<SpanV1> for ByteRange {
    fn from(span: SpanV1) -> Self {
        ByteRange::new(span.start, span.end)
    }
}

/// Mirror of [`Run`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunV1 {
    start: u64,
    end: u64,
    crc: u32,
}

impl From<Run> for RunV1 {
    fn from(run: Run) -> Self {
        Self {
            start: run.range.start,
            end: run.range.end,
            crc: run.crc,
        }
    }
}

impl From<RunV1> for Run {
    fn from(run: RunV1) -> Self {
        Run {
            range: ByteRange::new(run.start, run.end),
            crc: run.crc,
        }
    }
}

/// Mirror of [`Source`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceV1 {
    url: String,
    total: Option<u64>,
    etag: Option<(bool, Vec<u8>)>,
    last_modified: Option<(String, i64, bool)>,
    encoding: Option<String>,
    media_type: Option<String>,
}

impl SourceV1 {
    pub(crate) fn new(url: &str, identity: &Identity) -> Self {
        let date = |date: &LastModified| (date.text.clone(), date.at.unix_secs(), date.strong);
        Self {
            url: url.to_owned(),
            total: identity.total,
            etag: identity
                .etag
                .as_ref()
                .map(|tag| (tag.weak, tag.opaque.clone())),
            last_modified: identity.last_modified.as_ref().map(date),
            encoding: identity.encoding.clone(),
            media_type: identity.media_type.clone(),
        }
    }

    /// Length in bytes, if it is known.
    pub(crate) fn total(&self) -> Option<u64> {
        self.total
    }
}

impl From<SourceV1> for Source {
    fn from(source: SourceV1) -> Self {
        Source {
            url: source.url,
            identity: Identity {
                total: source.total,
                etag: source.etag.map(|(weak, opaque)| ETag { weak, opaque }),
                last_modified: source.last_modified.map(|(text, at, strong)| LastModified {
                    text,
                    at: Wall::from_unix_secs(at),
                    strong,
                }),
                encoding: source.encoding,
                media_type: source.media_type,
            },
        }
    }
}

/// The number at a place that the caller knows to be there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

/// See [`u32_at`].
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
