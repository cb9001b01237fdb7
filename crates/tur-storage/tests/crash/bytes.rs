//! The journal of the script, cut and flipped at every byte.

use tur_storage::journal::{Here, Journal, Replayed, replay};
use tur_storage::{Disk, FileId, Loss, MemDisk};

use crate::common::{content, place, tag_of};
use crate::script::{claims_are_true, scripted};

/// The journal's bytes and the part's at a crash, and where they were.
fn files(disk: &MemDisk) -> Option<(Vec<u8>, Vec<u8>, Here)> {
    let place = place("/d");
    let journal = content(disk, &place, "file.tur")?;
    let part = content(disk, &place, "file.part")?;
    let dir = disk.open_dir(&place.dir, false).unwrap();
    let id: FileId = disk.stat_at(&dir, "file.part").unwrap().id;
    let boot = disk.boot_id();
    Some((journal, part, Here { boot, part: id }))
}

/// What may be believed of a replayed journal, checked against the part.
fn replay_is_true(bytes: &[u8], part: &[u8], here: &Here, mended: bool, what: &str) -> bool {
    let Replayed::Journal(journal) = replay(bytes, here) else {
        return false;
    };
    let Journal {
        source,
        claimed,
        runs,
        ..
    } = *journal;
    let Some(source) = source else {
        assert!(claimed.is_empty() && runs.is_empty(), "{what}");
        return false;
    };
    let tag = tag_of(&source.identity);
    claims_are_true(&claimed, tag, part, mended, what);
    for run in runs {
        let (start, end) = (run.range.start as usize, run.range.end as usize);
        let proven = part
            .get(start..end)
            .filter(|bytes| crc32fast::hash(bytes) == run.crc);
        if proven.is_some() {
            let range = [run.range].into_iter().collect();
            claims_are_true(&range, tag, part, mended, what);
        }
    }
    !claimed.is_empty()
}

#[test]
fn a_journal_cut_or_flipped_at_every_byte_claims_nothing_false() {
    let (disk, marks) = scripted(0);
    let (mut cuts, mut flips, mut believed) = (0, 0, 0);
    for mark in marks.iter().skip(3).step_by(4) {
        let crashed = disk.crash(mark.changes, Loss::Nothing);
        let Some((journal, part, here)) = files(&crashed) else {
            continue;
        };
        let elsewhere = Here { boot: None, ..here };
        for at in 0..=journal.len() {
            for here in [&here, &elsewhere] {
                let what = format!("{} cut at {at}", mark.changes);
                let cut = replay_is_true(&journal[..at], &part, here, mark.mended, &what);
                believed += usize::from(cut);
                cuts += 1;
            }
        }
        let mut flipped = journal.clone();
        for at in 0..journal.len() {
            flipped[at] ^= 1 << (at % 8);
            let what = format!("{} flipped at {at}", mark.changes);
            replay_is_true(&flipped, &part, &here, mark.mended, &what);
            flipped[at] = journal[at];
            flips += 1;
        }
    }
    println!("{cuts} cuts ({believed} with claims), {flips} flips");
    assert!(believed > 100 && cuts > 50_000);
}
