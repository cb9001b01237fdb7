//! Journals: whatever stands in one, reading it neither fails nor claims more than its good records say.
//!
//! The input says what the journal is to hold; the target writes it with the right CRCs, so that what lies behind them
//! is reached. A byte of flags, the header's generation, the number of slots, the slots (generation, start, end), then
//! records, each a length and so many bytes. The last two bytes say where a byte is damaged afterwards.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_core::RangeSet;
use tur_fuzz::crc32;
use tur_storage::FileId;
use tur_storage::journal::{Here, Journal, Replayed, SLOTS, replay};

/// Bytes of the first page, of the header in it, of a slot, and in front of a record.
const PAGE: usize = 4096;
const HEADER: usize = 64;
const SLOT: usize = 32;
const FRAME: usize = 8;

const BOOT: [u8; 16] = [7; 16];
const PART: FileId = FileId { dev: 1, ino: 2 };

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let Some((wanted, damage)) = data.split_last_chunk::<2>() else {
        return;
    };
    let Some((head, rest)) = wanted.split_first_chunk::<3>() else {
        return;
    };
    let [flags, generation, slots] = *head;
    let mut bytes = header(flags & 1 != 0, generation);
    let rest = write_slots(&mut bytes, usize::from(slots), rest);
    write_records(&mut bytes, rest);
    let here = Here {
        boot: (flags & 2 != 0).then_some(BOOT),
        part: if flags & 4 != 0 {
            PART
        } else {
            FileId::default()
        },
    };
    let journal = match replay(&bytes, &here) {
        Replayed::Journal(journal) => journal,
        Replayed::Damaged => {
            return assert!(
                generation > 0,
                "the format written here is not the one read"
            );
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(journal.trusted, flags & 7 == 7);
    assert_sound(&journal, bytes.len());
    let tail = usize::try_from(journal.tail).expect("it is inside");
    let cut = replay(&bytes[..tail], &here);
    assert_eq!(
        cut,
        Replayed::Journal(journal.clone()),
        "nothing behind the tail counts"
    );
    damage_one(&mut bytes, usize::from(u16::from_le_bytes(*damage)));
    if let Replayed::Journal(damaged) = replay(&bytes, &here) {
        assert_sound(&damaged, bytes.len());
    }
});

/// Asserts what holds for every journal, whatever it claims.
fn assert_sound(journal: &Journal, len: usize) {
    assert!(journal.tail >= PAGE as u64 && journal.tail <= len as u64);
    for run in &journal.written {
        let claimed = journal.claimed.covers(run.range);
        assert!(!run.range.is_empty() && claimed == journal.trusted);
    }
    let mut seen = RangeSet::new();
    for run in &journal.runs {
        assert!(!run.range.is_empty());
        assert_eq!(
            seen.insert(run.range),
            run.range.len(),
            "two CRCs for one byte"
        );
        let claimed = journal.claimed.covers(run.range);
        assert_eq!(
            claimed, journal.trusted,
            "what is durable is claimed, where claims count"
        );
    }
    assert!(journal.trusted || journal.claimed.is_empty());
    // Without a source nobody could tell what the slots belong to.
    assert!(journal.generation > 0 || journal.source.is_none());
}

/// The first page with its header.
fn header(has_boot: bool, generation: u8) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    page[..8].copy_from_slice(b"tur.jrnl");
    page[8] = 1;
    page[10] = u8::from(has_boot);
    page[16..32].copy_from_slice(&BOOT);
    page[32..40].copy_from_slice(&PART.dev.to_le_bytes());
    page[40..48].copy_from_slice(&PART.ino.to_le_bytes());
    page[48] = generation;
    let crc = crc32(&[&page[..60]]);
    page[60..HEADER].copy_from_slice(&crc.to_le_bytes());
    page
}

/// Fills the slots and says what follows them in the input.
fn write_slots<'a>(bytes: &mut [u8], count: usize, mut rest: &'a [u8]) -> &'a [u8] {
    for index in 0..count.min(SLOTS) {
        let Some((&[generation, start, end], after)) = rest.split_first_chunk() else {
            break;
        };
        let slot = &mut bytes[HEADER + index * SLOT..][..SLOT];
        (slot[0], slot[8], slot[16]) = (generation, start, end);
        let crc = crc32(&[&slot[..28]]);
        slot[28..].copy_from_slice(&crc.to_le_bytes());
        rest = after;
    }
    rest
}

/// Appends the records, each with the CRC of its place and generation.
fn write_records(bytes: &mut Vec<u8>, mut rest: &[u8]) {
    let mut generation = 0_u32;
    while let Some((&len, after)) = rest.split_first() {
        let (payload, after) = after.split_at(usize::from(len).min(after.len()));
        let at = bytes.len() as u64;
        let crc = crc32(&[&at.to_le_bytes(), &generation.to_le_bytes(), payload]);
        bytes.reserve(FRAME + payload.len());
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(payload);
        // Another source, and a claim that is taken back, open a generation.
        generation += u32::from(matches!(payload.first(), Some(0 | 3)));
        rest = after;
    }
}

fn damage_one(bytes: &mut [u8], at: usize) {
    let at = at % bytes.len();
    bytes[at] ^= 1;
}
