//! Every state that a loss of power may leave of each scene: claims are true, promises are kept, names show whole files.

use tur_core::RangeSet;
use tur_storage::{Loss, MemDisk, Opened, Part, Sampling, Saved, StorageError};

use crate::common::{URL, byte, content, fill, identity, range, tag_of};
use crate::recorder::{Promise, Recorder, SIZE, WRONG, whole};
use crate::scenes::{HELD, SCENES, Scene, all};

/// Of so many states, one is downloaded to the end.
const ENDED: usize = 8;
/// Of so many that are, one is crashed again at every change.
const AGAIN: usize = 64;

const FULL: Sampling = Sampling {
    whole: 10,
    samples: 64,
    seed: 1,
};
/// For what is done many times over.
const SPARSE: Sampling = Sampling {
    whole: 2,
    samples: 6,
    seed: 2,
};

/// What was counted.
#[derive(Debug, Default)]
struct Tally {
    generated: usize,
    distinct: usize,
    /// Opened, and every claim compared.
    recovered: usize,
    /// Of those, with bytes that could be gone on with.
    resumed: usize,
    /// With the new file in place already.
    complete: usize,
    /// Downloaded to the end.
    ended: usize,
    twice: usize,
}

/// What is judged, and against what.
struct Judge<'a> {
    scene: &'a Scene,
    promise: Promise,
    /// Which disk it is, for whom it fails.
    what: String,
}

impl Judge<'_> {
    /// Looks at a disk after a crash. What is kept can be gone on with.
    fn judge(&self, disk: &MemDisk, tally: &mut Tally) -> Option<(Part<MemDisk>, Option<Saved>)> {
        let place = crate::common::place("/d");
        let what = &self.what;
        for name in disk.names(&place.dir) {
            let known = ["file", "file.part", "file.tur", self.scene.target];
            assert!(known.contains(&name.as_str()), "{what}: {name}");
        }
        let shown = content(disk, &place, "file");
        let is_new = |bytes: &[u8]| bytes == whole(self.promise.tag);
        let old = shown.as_deref() == self.scene.old;
        let new = shown.as_deref().is_some_and(is_new) && self.scene.target == "file";
        assert!(old || new, "{what}: the name shows something else");
        let target = content(disk, &place, self.scene.target)
            .filter(|_| !old || self.scene.target != "file");
        assert!(target.as_deref().is_none_or(is_new), "{what}: target");
        assert!(target.is_some() || !self.promise.committed, "{what}: gone");
        if target.is_some() {
            tally.complete += 1;
            return None;
        }
        let opened = Part::open(disk.clone(), &place, URL);
        let Opened { part, saved } = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        tally.recovered += 1;
        self.claims(disk, saved.as_ref());
        tally.resumed += usize::from(
            saved
                .as_ref()
                .is_some_and(|saved| !saved.claimed.is_empty()),
        );
        Some((part, saved))
    }

    /// Every claimed byte is one of the representation that is named, and everything promised is claimed.
    fn claims(&self, disk: &MemDisk, saved: Option<&Saved>) {
        let what = &self.what;
        let nothing = RangeSet::new();
        let tag = saved.map_or(0, |saved| tag_of(&saved.identity));
        let claimed = saved.map_or(&nothing, |saved| &saved.claimed);
        let bytes = content(disk, &crate::common::place("/d"), "file.part").unwrap_or_default();
        let truth = whole(tag);
        for piece in claimed.iter() {
            let at = piece.start as usize..piece.end as usize;
            if bytes
                .get(at.clone())
                .is_some_and(|found| found == &truth[at])
            {
                continue;
            }
            for at in piece.start..piece.end {
                let found = bytes.get(at as usize).copied();
                let known = self.promise.wrong.overlaps(range(at, at + 1))
                    && found == Some(byte(WRONG, at));
                let right = found == Some(byte(tag, at));
                assert!(right || known, "{what}: byte {at} of {tag} is {found:?}");
            }
        }
        for range in self.promise.durable.iter() {
            let kept = tag == self.promise.tag && claimed.covers(range);
            assert!(
                kept,
                "{what}: {range:?} was durable, {claimed:?} of {tag} is claimed"
            );
        }
    }

    /// Downloads to the end what a crash has left.
    fn end(&self, disk: &MemDisk, part: Part<MemDisk>, saved: Option<&Saved>) {
        let what = &self.what;
        let tag = self.promise.tag.max(1);
        let keep = saved.is_some_and(|saved| tag_of(&saved.identity) == tag);
        let ended = || -> Result<(), StorageError> {
            part.begin(URL, &identity(tag, SIZE), keep)?;
            for range in self.promise.wrong.iter() {
                part.forget(range)?;
            }
            let gaps: Vec<_> = part.covered().gaps(range(0, SIZE)).iter().collect();
            for gap in gaps {
                fill(&part, 0, tag, gap)?;
            }
            part.commit(SIZE, self.scene.exists, None).map(drop)
        };
        ended().unwrap_or_else(|error| panic!("{what}, ended: {error}"));
        let place = crate::common::place("/d");
        let target = content(disk, &place, self.scene.target);
        assert!(target.as_deref() == Some(whole(tag)), "{what}: ended");
        for name in ["file.part", "file.tur"] {
            assert!(content(disk, &place, name).is_none(), "{what}: {name}");
        }
    }
}

/// A scene that was played.
struct Record<'a> {
    scene: &'a Scene,
    recorder: &'a Recorder,
    what: &'a str,
    /// From so many changes on it is judged.
    from: usize,
}

/// Judges every state of a record.
fn sweep(record: &Record<'_>, sampling: Sampling, tally: &mut Tally) {
    let Record {
        scene,
        recorder,
        what,
        from,
    } = *record;
    let mut crashes = recorder.disk.crashes(sampling).from(from);
    for (crash, disk) in crashes.by_ref() {
        let judge = Judge {
            scene,
            promise: recorder.promise(crash.changes),
            what: format!("{what}: {crash:?}"),
        };
        tally.distinct += 1;
        let left = judge.judge(&disk, tally);
        if let Some((part, saved)) = left.filter(|_| tally.distinct.is_multiple_of(ENDED)) {
            judge.end(&disk, part, saved.as_ref());
            tally.ended += 1;
            if tally.ended.is_multiple_of(AGAIN) {
                again(&judge, &disk, tally);
            }
        }
    }
    tally.generated += crashes.generated();
}

/// Power is lost once more while the first loss is recovered from.
fn again(judge: &Judge<'_>, recovered: &MemDisk, tally: &mut Tally) {
    for (second, disk) in recovered.crashes(SPARSE) {
        let last = second.changes == recovered.changes();
        let judge = Judge {
            scene: judge.scene,
            promise: Promise {
                tag: judge.promise.tag.max(1),
                durable: RangeSet::new(),
                wrong: judge.promise.wrong.clone(),
                changes: 0,
                committed: last,
            },
            what: format!("{}, then {second:?}", judge.what),
        };
        tally.twice += 1;
        let mut of_these = Tally::default();
        if let Some((part, saved)) = judge.judge(&disk, &mut of_these) {
            judge.end(&disk, part, saved.as_ref());
        }
    }
}

#[test]
fn every_loss_of_power_leaves_right_bytes_or_a_restart() {
    let mut tally = Tally::default();
    for scene in all() {
        let recorder = scene.played();
        let before = tally.generated;
        let record = Record {
            scene,
            recorder: &recorder,
            what: scene.name,
            from: 0,
        };
        sweep(&record, FULL, &mut tally);
        let made = tally.generated - before;
        println!("{}: {made} states", scene.name);
    }
    println!("{tally:?}, 0 wrong");
    // A sweep that has shrunk proves less than it says.
    assert!(tally.generated > 18_000 && tally.recovered > 4_000);
    assert!(tally.resumed > 2_500 && tally.complete > 150);
    assert!(tally.ended > 500 && tally.twice > 300);
}

/// Between the rename, or the link, and the sync of the directory either name may be there after a loss of power, and
/// nothing else.
#[test]
fn a_cut_between_rename_and_sync_shows_the_old_file_or_the_new_one() {
    // The last changes: rename, sync, journal removed, sync; or link, part removed, sync.
    let renamed = SCENES.iter().map(|scene| (scene, 3));
    for (scene, since) in renamed.chain([(&HELD[0], 2)]) {
        if scene.target != "file" {
            continue;
        }
        let disk = scene.played().disk;
        let named = disk.changes() - since;
        let (mut old, mut new) = (0, 0);
        let cuts = disk.crashes(FULL).from(named);
        for (crash, disk) in cuts.take_while(|(crash, _)| crash.changes == named) {
            let shown = content(&disk, &crate::common::place("/d"), "file");
            let whole = shown.as_deref() == Some(whole(2)) || shown.as_deref() == Some(whole(1));
            assert!(whole || shown.as_deref() == scene.old, "{crash:?}");
            (old, new) = (old + usize::from(!whole), new + usize::from(whole));
        }
        assert!(old > 0 && new > 0, "{}: {old} old, {new} new", scene.name);
    }
}

#[test]
fn every_kill_leaves_right_bytes_or_a_restart() {
    let mut tally = Tally::default();
    for scene in all() {
        for short in 0..8 {
            let mut recorder = scene.recorder();
            recorder.disk.write_short(short);
            (scene.play)(&mut recorder).unwrap();
            for changes in 0..=recorder.disk.changes() {
                let mut promise = recorder.promise(changes);
                if short != 0 {
                    // A header that is written in two calls vouches for nothing in between: then all begins anew.
                    promise.durable = RangeSet::new();
                }
                let judge = Judge {
                    scene,
                    promise,
                    what: format!("{}: killed at {changes}, {short}", scene.name),
                };
                let disk = recorder.disk.crash(changes, Loss::Nothing);
                tally.generated += 1;
                if let Some((part, saved)) = judge.judge(&disk, &mut tally) {
                    judge.end(&disk, part, saved.as_ref());
                    tally.ended += 1;
                }
            }
        }
    }
    println!("{tally:?}, 0 wrong");
    assert!(tally.generated > 7_000 && tally.resumed > 5_000);
    assert!(tally.ended > 7_000 && tally.complete > 200);
}

#[test]
fn no_failed_sync_makes_a_loss_of_power_worse() {
    let mut tally = Tally::default();
    let mut runs = 0;
    for scene in all() {
        for stale in [false, true] {
            for sync in 1.. {
                let mut recorder = scene.recorder();
                recorder.disk.fail_sync(sync);
                if stale {
                    recorder.disk.keep_what_a_failed_sync_drops();
                }
                let played = (scene.play)(&mut recorder);
                let Some(from) = recorder.disk.failed_sync() else {
                    break;
                };
                let how = if stale { "still read" } else { "reverted" };
                let what = format!("{}: sync {sync} failed, {how}", scene.name);
                if let Err(error) = played {
                    // It ends there; the next process finds what is true, and goes on in the same boot.
                    let left = recorder.disk.crash(recorder.disk.changes(), Loss::Nothing);
                    let judge = Judge {
                        scene,
                        promise: recorder.promise(usize::MAX),
                        what: format!("{what}: {error}"),
                    };
                    judge.judge(&left, &mut tally);
                    let ended = recorder.go_on(scene.exists);
                    ended.unwrap_or_else(|next| panic!("{what}: {error}, then {next}"));
                }
                let record = Record {
                    scene,
                    recorder: &recorder,
                    what: &what,
                    from,
                };
                sweep(&record, SPARSE, &mut tally);
                runs += 1;
            }
        }
    }
    println!("{runs} runs, {tally:?}, 0 wrong");
    assert!(runs > 100 && tally.generated > 18_000);
    assert!(tally.resumed > 7_000 && tally.twice > 500);
}
