//! The script cut off at every change, and failing at every call.

use std::io::ErrorKind;

use tur_storage::{Loss, MemDisk};

use crate::common::{self, content, place};
use crate::script::{Script, TOTAL, last_mark, recover, scripted, whole};

#[test]
fn the_script_itself_ends_well() {
    for short in [0, 77] {
        let (disk, marks) = scripted(short);
        let target = content(&disk, &place("/d"), "file").unwrap();
        assert!(target == whole(2));
        assert_eq!(marks.last().unwrap().covered, common::set(&[(0, TOTAL)]));
        assert!(
            marks
                .iter()
                .any(|mark| !mark.durable.is_empty() && !mark.mended)
        );
    }
}

#[test]
fn a_kill_at_every_change_keeps_everything_written() {
    let mut states = 0;
    for short in [0, 1, 2] {
        let (disk, marks) = scripted(short);
        for changes in 0..=disk.changes() {
            let mark = last_mark(&marks, changes);
            let what = format!("kill at {changes}, short {short}");
            let saved = recover(&disk.crash(changes, Loss::Nothing), mark.mended, &what);
            // A slot that is written in two calls vouches for nothing in between: whole writes keep everything.
            if let Some(saved) = saved.filter(|_| short == 0) {
                let missing: Vec<_> = mark
                    .covered
                    .iter()
                    .filter(|r| !saved.claimed.covers(*r))
                    .collect();
                assert!(missing.is_empty(), "{what}: not claimed: {missing:?}");
            }
            states += 1;
        }
    }
    println!("killed in {states} states");
    assert!(states > 300, "{states}");
}

#[test]
fn a_loss_of_power_at_every_change_keeps_what_was_durable() {
    let mut states = 0;
    let (disk, marks) = scripted(0);
    for changes in 0..=disk.changes() {
        let losses = (0..12).map(|seed| Loss::Torn(seed * 7919 + changes as u64));
        for loss in [Loss::Unsynced].into_iter().chain(losses) {
            let mark = last_mark(&marks, changes);
            let what = format!("power lost at {changes}, {loss:?}");
            let saved = recover(&disk.crash(changes, loss), mark.mended, &what);
            if let Some(saved) = saved {
                let missing: Vec<_> = mark
                    .durable
                    .iter()
                    .filter(|r| !saved.claimed.covers(*r))
                    .collect();
                assert!(missing.is_empty(), "{what}: not claimed: {missing:?}");
            }
            states += 1;
        }
    }
    println!("lost power in {states} states");
    assert!(states > 1_000, "{states}");
}

#[test]
fn a_second_crash_during_recovery_changes_nothing() {
    let mut states = 0;
    let (disk, marks) = scripted(0);
    for changes in (0..=disk.changes()).step_by(7) {
        let mended = last_mark(&marks, changes).mended;
        let first = disk.crash(changes, Loss::Torn(changes as u64));
        recover(&first, mended, "first");
        for again in (0..=first.changes()).step_by(2) {
            for loss in [Loss::Nothing, Loss::Unsynced, Loss::Torn(again as u64)] {
                let what = format!("{changes}, then {again} {loss:?}");
                recover(&first.crash(again, loss), mended, &what);
                states += 1;
            }
        }
    }
    println!("crashed twice in {states} states");
    assert!(states > 300, "{states}");
}

#[test]
fn every_call_may_fail() {
    let calls = {
        let (disk, _) = scripted(0);
        disk.calls()
    };
    let (mut runs, mut ended) = (0, 0);
    for call in 1..=calls {
        for how in [
            ErrorKind::StorageFull,
            ErrorKind::Other,
            ErrorKind::Interrupted,
        ] {
            let disk = MemDisk::new();
            disk.fail_call(call, how);
            let mut script = Script {
                disk: &disk,
                marks: Vec::new(),
            };
            let result = script.run();
            let mended = script.now().mended;
            let what = format!("call {call} failed: {how:?}, then {result:?}");
            if result.is_ok() {
                let target = content(&disk, &place("/d"), "file");
                assert!(target.unwrap() == whole(2), "{what}");
                ended += 1;
            }
            // In the same boot, and after a loss of power.
            recover(&disk.crash(disk.changes(), Loss::Nothing), mended, &what);
            recover(&disk.crash(disk.changes(), Loss::Unsynced), mended, &what);
            recover(&disk.crash(disk.changes(), Loss::Torn(call)), mended, &what);
            runs += 1;
        }
    }
    println!("{runs} runs with a failing call, {ended} of them ended well");
    assert!(ended > 0 && ended < runs);
}
