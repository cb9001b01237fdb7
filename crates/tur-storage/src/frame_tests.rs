//! Tests of the frames and of their replay: what was encoded is read, and nothing else is.

use proptest::prelude::*;
use tur_core::RangeSet;

use super::*;
use crate::journal::{Here, Journal, Replayed, replay};

const HERE: Here = Here {
    boot: Some([7; 16]),
    part: FileId { dev: 1, ino: 2 },
};

fn identity() -> impl Strategy<Value = Identity> {
    let etag = proptest::option::of((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)));
    let date = proptest::option::of(("[ -~]{0,30}", any::<i64>(), any::<bool>()));
    let text = proptest::option::of("[a-z/]{0,12}");
    (any::<Option<u64>>(), etag, date, text).prop_map(|(total, etag, date, text)| Identity {
        total,
        etag: etag.map(|(weak, opaque)| ETag { weak, opaque }),
        last_modified: date.map(|(text, at, strong)| LastModified {
            text,
            at: Wall::from_unix_secs(at),
            strong,
        }),
        encoding: text.clone(),
        media_type: text,
    })
}

fn range() -> impl Strategy<Value = ByteRange> {
    (0_u64..5_000, 1_u64..900).prop_map(|(start, len)| ByteRange::new(start, start + len))
}

#[derive(Clone, Debug)]
enum Entry {
    Source(Identity),
    Claimed(Vec<ByteRange>),
    Durable(Vec<Run>),
    Written(Vec<Run>),
    Forgot(Vec<ByteRange>),
}

fn entry() -> impl Strategy<Value = Entry> {
    let ranges = || proptest::collection::vec(range(), 1..5);
    let run = || (range(), any::<u32>()).prop_map(|(range, crc)| Run { range, crc });
    prop_oneof![
        1 => identity().prop_map(Entry::Source),
        4 => ranges().prop_map(Entry::Claimed),
        4 => proptest::collection::vec(run(), 1..5).prop_map(Entry::Durable),
        4 => proptest::collection::vec(run(), 1..5).prop_map(Entry::Written),
        2 => ranges().prop_map(Entry::Forgot),
    ]
}

impl Entry {
    fn record(&self) -> Record {
        match self {
            Entry::Source(identity) => Record::Source(SourceV1::new("http://a/b", identity)),
            Entry::Claimed(list) => Record::claimed(list.iter().copied()).next().unwrap(),
            Entry::Durable(list) => Record::durable(list.iter().copied()).next().unwrap(),
            Entry::Written(list) => Record::written(list.iter().copied()).next().unwrap(),
            Entry::Forgot(list) => Record::forgot(list.iter().copied()).next().unwrap(),
        }
    }

    /// What the entry does, said naively.
    fn apply(&self, source: &mut Option<Identity>, claimed: &mut RangeSet) {
        match self {
            Entry::Source(identity) => {
                *source = Some(identity.clone());
                *claimed = RangeSet::new();
            }
            Entry::Claimed(list) => claimed.extend(list.iter().copied()),
            Entry::Durable(list) | Entry::Written(list) => {
                claimed.extend(list.iter().map(|run| run.range))
            }
            Entry::Forgot(list) => list.iter().for_each(|range| {
                claimed.remove(*range);
            }),
        }
    }
}

/// A journal of these entries, written as a part writes it: the header knows every generation.
fn journal(entries: &[Entry], slots: &[Slot]) -> Vec<u8> {
    let mut bytes = vec![0; PAGE];
    let mut generation = 0;
    for entry in entries {
        let record = entry.record();
        assert!(record.encode(bytes.len() as u64, generation, &mut bytes));
        generation += u32::from(record.opens_generation());
    }
    let header = Header {
        pid: 42,
        boot: HERE.boot,
        part: HERE.part,
        generation,
    };
    bytes[..HEADER].copy_from_slice(&header.encode());
    for (index, slot) in slots.iter().enumerate() {
        let at = Slot::offset(index as u16).unwrap() as usize;
        bytes[at..at + SLOT].copy_from_slice(&slot.encode());
    }
    bytes
}

fn read(bytes: &[u8], here: &Here) -> Option<Journal> {
    match replay(bytes, here) {
        Replayed::Journal(journal) => Some(*journal),
        Replayed::Damaged | Replayed::Version(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_was_written_is_read(entries in proptest::collection::vec(entry(), 0..12)) {
        let bytes = journal(&entries, &[]);
        let (mut source, mut claimed) = (None, RangeSet::new());
        entries.iter().for_each(|entry| entry.apply(&mut source, &mut claimed));
        let found = read(&bytes, &HERE).unwrap();
        prop_assert_eq!(found.tail, bytes.len() as u64);
        prop_assert_eq!(found.pid, 42);
        prop_assert!(found.trusted);
        prop_assert_eq!(&found.claimed, &claimed);
        prop_assert!(found.runs.iter().all(|run| claimed.covers(run.range)));
        prop_assert!(found.written.iter().all(|run| claimed.covers(run.range)));
        prop_assert_eq!(found.source.map(|source| source.identity), source);
        // Elsewhere only runs remain, to be verified.
        let elsewhere = Here { boot: Some([8; 16]), ..HERE };
        let found = read(&bytes, &elsewhere).unwrap();
        prop_assert!(!found.trusted && found.claimed.is_empty());
        prop_assert!(found.runs.iter().all(|run| claimed.covers(run.range)));
    }

    /// Any damage ends the reading; it never adds a claim that no prefix of the journal made.
    #[test]
    fn damage_adds_nothing(
        entries in proptest::collection::vec(entry(), 1..10),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = journal(&entries, &[]);
        for (at, flip) in &damage {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Some(found) = read(&bytes, &HERE) {
            let (mut source, mut claimed) = (None, RangeSet::new());
            let mut prefixes = vec![(source.clone(), claimed.clone())];
            for entry in &entries {
                entry.apply(&mut source, &mut claimed);
                prefixes.push((source.clone(), claimed.clone()));
            }
            let state = (found.source.map(|source| source.identity), found.claimed);
            prop_assert!(prefixes.contains(&state), "{state:?}");
        }
    }

    #[test]
    fn any_bytes_are_an_answer(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = journal(&[Entry::Source(Identity::default())], &[]);
        bytes.extend_from_slice(&tail);
        let found = read(&bytes, &HERE).unwrap();
        prop_assert!(found.claimed.is_empty());
        prop_assert_eq!(replay(&tail, &HERE), Replayed::Damaged);
    }

    #[test]
    fn slots_of_this_generation_count(
        slots in proptest::collection::vec((0_u32..4, range(), any::<Option<(u8, u8)>>()), 1..20),
    ) {
        let entries = [
            Entry::Source(Identity::default()),
            Entry::Forgot(vec![ByteRange::new(0, 1)]),
        ];
        let list: Vec<Slot> = slots
            .iter()
            .map(|(generation, range, _)| Slot {
                generation: *generation,
                lease: 1,
                start: range.start,
                cursor: range.end,
                data_crc: range.end as u32 % 2,
            })
            .collect();
        let mut bytes = journal(&entries, &list);
        let mut claimed = RangeSet::new();
        for (index, (generation, range, damage)) in slots.iter().enumerate() {
            let at = Slot::offset(index as u16).unwrap() as usize;
            match damage {
                Some((at_byte, flip)) if *flip != 0 => {
                    bytes[at + usize::from(*at_byte) % SLOT] ^= flip;
                }
                _ if *generation == 2 => {
                    claimed.insert(*range);
                }
                _ => {}
            }
        }
        let found = read(&bytes, &HERE).unwrap();
        prop_assert_eq!(&found.claimed, &claimed);
        for run in found.written {
            prop_assert!(claimed.covers(run.range));
            // Neighbours are joined, and have the CRC of both.
            let within = |at: u64| run.range.start < at && at < run.range.end;
            let joined = slots.iter().any(|(_, range, _)| within(range.start));
            prop_assert!(joined || run.crc == 1);
        }
    }
}

#[test]
fn another_version_is_told_and_a_cut_journal_is_not_believed() {
    let source = Entry::Source(Identity::default());
    let claim = Entry::Claimed(vec![ByteRange::new(0, 10)]);
    let forgot = Entry::Forgot(vec![ByteRange::new(0, 10)]);
    let mut bytes = journal(&[source.clone(), claim.clone()], &[]);
    let with_claim = bytes.len();
    bytes[8] = 9;
    assert_eq!(replay(&bytes, &HERE), Replayed::Damaged, "its CRC is wrong");
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(replay(&bytes, &HERE), Replayed::Version(9));
    // Without the record that takes a claim back, the claim must not come to life again.
    let bytes = journal(&[source, claim, forgot], &[]);
    assert_eq!(replay(&bytes[..with_claim], &HERE), Replayed::Damaged);
}

/// What was written before slots and records told the CRC of what they claim is read all the same; and a reader of then
/// stops at a record that it does not know, which claims less and nothing wrong.
#[test]
fn claims_without_a_crc_are_still_claims() {
    let at = |start, end| ByteRange::new(start, end);
    let run = |start, end| Run {
        range: at(start, end),
        crc: 9,
    };
    let entries = [
        Entry::Source(Identity::default()),
        Entry::Claimed(vec![at(0, 10)]),
        Entry::Written(vec![run(20, 30)]),
    ];
    let slot = |start, data_crc| Slot {
        generation: 1,
        lease: 1,
        start,
        cursor: start + 10,
        data_crc,
    };
    let bytes = journal(&entries, &[slot(40, 0), slot(60, 7)]);
    let found = read(&bytes, &HERE).unwrap();
    let claimed = [at(0, 10), at(20, 30), at(40, 50), at(60, 70)];
    assert_eq!(found.claimed, claimed.into_iter().collect());
    let told: Vec<_> = found
        .written
        .iter()
        .map(|run| (run.range.start, run.crc))
        .collect();
    assert_eq!(told, [(20, 9), (60, 7)]);
    let unknown = Record::Written(vec![RunV1::from(run(20, 30))]);
    let first = postcard::to_stdvec(&unknown).unwrap()[0];
    assert_eq!(first, 4, "a variant of its own, behind those of before");
}

#[test]
fn long_lists_are_split_and_long_records_refused() {
    let ranges = (0..10_000_u64).map(|i| ByteRange::new(i * 2, i * 2 + 1));
    let records: Vec<Record> = Record::claimed(ranges).collect();
    assert_eq!(records.len(), 3);
    for record in &records {
        let mut bytes = Vec::new();
        assert!(record.encode(0, 0, &mut bytes));
        let (read, len) = Record::decode(&bytes, 0, 0).unwrap();
        assert_eq!((&read, len), (record, bytes.len()));
        assert_eq!(Record::decode(&bytes, 1, 0), None, "another place");
        assert_eq!(Record::decode(&bytes, 0, 1), None, "another generation");
    }
    let url = "u".repeat(RECORD_MAX);
    let long = Record::Source(SourceV1::new(&url, &Identity::default()));
    let mut bytes = Vec::new();
    assert!(!long.encode(0, 0, &mut bytes) && bytes.is_empty());
}

#[test]
fn a_header_survives_its_bytes() {
    for boot in [None, Some([3; 16])] {
        let header = Header {
            pid: 77,
            boot,
            part: FileId { dev: 5, ino: 6 },
            generation: 9,
        };
        assert_eq!(Header::decode(&header.encode()), Head::Good(header));
    }
    assert_eq!(Slot::offset(SLOTS as u16), None);
    assert_eq!(Slot::offset(SLOTS as u16 - 1), Some((PAGE - SLOT) as u64));
}
