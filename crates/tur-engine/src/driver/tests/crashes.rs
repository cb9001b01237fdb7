//! Whole downloads whose record is cut off everywhere, and gone on with by the driver itself.
//!
//! Of each [`Scene`] the record of a real download is taken: lanes, checkpoints, a change under way, the commit. Every
//! state that a loss of power may leave is looked at; of those, as many as time allows are downloaded to the end, from
//! an origin that still serves the same or by then another version.

use std::sync::OnceLock;
use std::time::Duration;

use tur_core::{ByteRange, Wall};
use tur_storage::{
    Crash, Disk as _, Fate, Loss, MemDisk, Open, Opened, Part, Place, Sampling, Saved,
};
use tur_testkit::{Behaviour, Deed, Ranges, TODAY, When, content};

use super::stand::{DIR, KIB, NAME, Stand, job};
use crate::OnExists;
use crate::job::Job;

/// The longest file of a scene.
const SIZE: u64 = 256 * KIB;
/// What the user had under the name before.
const OLD: &[u8] = b"what the user had before";
/// The version that nobody has seen before the crash.
const LATER: u8 = 5;

/// How much is done.
struct Effort {
    states: Sampling,
    /// Of so many states, one is downloaded to the end.
    ended: usize,
    /// Of so many that are, one is crashed again on the way.
    again: usize,
}

/// Set it for a run of many minutes.
const THOROUGH: bool = false;

/// Little enough to be waited for.
const BRIEF: Effort = Effort {
    states: Sampling {
        whole: 3,
        samples: 12,
        seed: 3,
    },
    ended: 16,
    again: 80,
};
/// Every subset of up to ten changes.
const FULL: Effort = Effort {
    states: Sampling {
        whole: 10,
        samples: 64,
        seed: 5,
    },
    ended: 40,
    again: 40,
};

const SPARSE: Sampling = Sampling {
    whole: 1,
    samples: 3,
    seed: 4,
};

/// A download that is recorded.
struct Scene {
    name: &'static str,
    size: u64,
    behaviour: Behaviour,
    /// The versions it may be of: before a change and after.
    versions: [u8; 2],
    on_exists: OnExists,
    /// What is there before, and the names that the file may get.
    old: bool,
    targets: &'static [&'static str],
    /// True if a first run was cancelled half-way: the record has both.
    resumes: bool,
    /// The sync that fails, and whether what it drops can still be read.
    fails: Option<(u64, bool)>,
}

/// What was counted.
#[derive(Debug, Default)]
struct Tally {
    generated: usize,
    /// Looked at: names, target, and every claimed byte.
    recovered: usize,
    claiming: usize,
    complete: usize,
    /// Downloaded to the end by the driver, and those of them that went on with something.
    ended: usize,
    resumed: usize,
    twice: usize,
}

/// In pieces, seconds apart: few changes, and checkpoints between them.
fn slow(size: u64) -> Behaviour {
    Behaviour::new(size)
        .ranges(Ranges::ShortAtMost(20 * KIB))
        .first_byte(Duration::from_millis(1_500))
}

fn day(version: u8) -> Option<Wall> {
    let days = 10 - i64::from(version);
    Some(Wall::from_unix_secs(TODAY.unix_secs() - 86_400 * days))
}

fn scenes() -> [Scene; 10] {
    let fresh = Scene {
        name: "fresh",
        size: SIZE,
        behaviour: slow(SIZE),
        versions: [0, 0],
        on_exists: OnExists::Overwrite,
        old: false,
        targets: &[NAME],
        resumes: false,
        fails: None,
    };
    let failing = |name, sync, still_read| Scene {
        name,
        fails: Some((sync, still_read)),
        behaviour: slow(SIZE),
        ..fresh
    };
    [
        Scene {
            name: "changed under way, over an old file",
            behaviour: slow(SIZE).changes_after(5, 1),
            versions: [0, 1],
            old: true,
            ..fresh
        },
        Scene {
            name: "with a date",
            behaviour: slow(SIZE).last_modified(day(0)),
            ..fresh
        },
        Scene {
            name: "beside an old file",
            behaviour: slow(SIZE),
            on_exists: OnExists::Rename,
            old: true,
            targets: &["file.bin.1", "file.bin.2"],
            ..fresh
        },
        Scene {
            name: "cancelled and resumed",
            behaviour: slow(SIZE),
            resumes: true,
            ..fresh
        },
        Scene {
            name: "begun again because ranges are refused",
            behaviour: slow(SIZE).rule(When::After(6), Deed::Ranges(Ranges::Ignored)),
            ..fresh
        },
        failing("a sync of the part fails, and is read as it was", 2, false),
        failing("a sync of the part fails", 4, true),
        failing(
            "a sync of the journal fails, and is read as it was",
            5,
            false,
        ),
        failing("a sync of the journal fails", 3, true),
        fresh,
    ]
}

impl Scene {
    /// All bytes of a version, made once.
    fn whole(&self, version: u8) -> &'static [u8] {
        static BODIES: [OnceLock<Vec<u8>>; 8] = [const { OnceLock::new() }; 8];
        let make = || content(version, ByteRange::new(0, SIZE));
        let longest = BODIES[usize::from(version)].get_or_init(make);
        &longest[..usize::try_from(self.size).expect("a small file")]
    }

    fn job(&self) -> Job {
        Job {
            on_exists: self.on_exists,
            lanes_start: Some(4),
            piece_min: Some(8 * KIB),
            ..job()
        }
    }

    async fn record(&self) -> MemDisk {
        let mut stand = Stand::new(self.behaviour.clone());
        if self.old {
            stand.put(NAME, OLD);
            // It is on the disk for certain, as what was there last week is.
            stand.disk = stand.disk.cut(&Crash {
                changes: stand.disk.changes(),
                fates: vec![Fate::Kept; 8],
                seed: 0,
            });
        }
        if let Some((sync, still_read)) = self.fails {
            stand.disk.fail_sync(sync);
            if still_read {
                stand.disk.keep_what_a_failed_sync_drops();
            }
        }
        if self.resumes {
            let handle = stand.start(self.job());
            stand.transport.bytes_reach(self.size / 2).await;
            handle.cancel();
            stand
                .end(handle)
                .await
                .result
                .expect_err("it was cancelled");
        }
        let ran = stand.run(self.job()).await;
        assert!(ran.result.is_ok(), "{}: {:?}", self.name, ran.result);
        assert!(ran.done().lanes_max > 1 || self.resumes, "{}", self.name);
        assert_eq!(stand.disk.failed_sync().is_some(), self.fails.is_some());
        stand.disk
    }

    /// Looks at what a crash has left, without touching it. Says what is saved, unless the file is complete.
    fn look(&self, disk: &MemDisk, what: &str, tally: &mut Tally) -> Option<Saved> {
        tally.recovered += 1;
        let mut complete = false;
        for name in disk.names(DIR.as_ref()) {
            let bytes = read(disk, &name);
            let is_new = || self.versions.iter().any(|v| bytes == self.whole(*v));
            if self.targets.contains(&name.as_str()) && is_new() {
                complete = true;
            } else if name == NAME {
                assert!(
                    self.old && bytes == OLD,
                    "{what}: the name shows half a file"
                );
            } else {
                let sides = [format!("{NAME}.part"), format!("{NAME}.tur")];
                assert!(sides.contains(&name), "{what}: {name}");
            }
        }
        if complete {
            tally.complete += 1;
            return None;
        }
        let place = Place {
            dir: DIR.into(),
            name: tur_storage::FileName::new(NAME).expect("a name"),
            create_dirs: true,
        };
        let probe = disk.crash(0, Loss::Nothing);
        let url = "http://origin.test/file.bin";
        let Opened { saved, .. } = Part::open(probe, &place, url).expect("it opens");
        let saved = saved?;
        let bytes = read(disk, "file.bin.part");
        let truth = self.whole(version(&saved));
        for range in saved.claimed.iter() {
            let at = range.start as usize..range.end as usize;
            assert!(
                bytes.get(at.clone()) == Some(&truth[at.clone()]),
                "{what}: {range:?}"
            );
        }
        tally.claiming += usize::from(!saved.claimed.is_empty());
        Some(saved)
    }

    /// Downloads to the end what a crash has left, from an origin that serves this version.
    async fn end(&self, disk: MemDisk, served: u8, claimed: u64, what: &str) -> (MemDisk, bool) {
        let mut behaviour = Behaviour::new(self.size).version(served);
        if self.behaviour.last_modified.is_some() {
            behaviour = behaviour.last_modified(day(served));
        }
        let mut next = Stand::new(behaviour);
        next.disk = disk;
        let ran = next.run(self.job()).await;
        let done = ran.result.unwrap_or_else(|error| panic!("{what}: {error}"));
        let name = done.path.file_name().and_then(|name| name.to_str());
        let name = name.expect("a name");
        assert!(
            read(&next.disk, name) == self.whole(served),
            "{what}: wrong bytes"
        );
        assert!(!next.exists("file.bin.part"), "{what}: a part is left");
        if name != NAME && self.old {
            assert!(read(&next.disk, NAME) == OLD, "{what}: the old file");
        }
        assert!(
            done.resumed_bytes <= claimed,
            "{what}: more than was proven"
        );
        (next.disk, done.resumed_bytes > 0)
    }

    async fn sweep(&self, effort: &Effort, tally: &mut Tally) {
        let recorded = self.record().await;
        let mut crashes = recorded.crashes(effort.states);
        for (crash, disk) in crashes.by_ref() {
            let what = format!("{}: {crash:?}", self.name);
            let saved = self.look(&disk, &what, tally);
            if !tally.recovered.is_multiple_of(effort.ended) {
                continue;
            }
            let served = [self.versions[1], self.versions[0], self.versions[1], LATER];
            let served = served[tally.ended % served.len()];
            let claimed = saved.map_or(0, |saved| saved.claimed.len());
            let (disk, resumed) = self.end(disk, served, claimed, &what).await;
            tally.ended += 1;
            tally.resumed += usize::from(resumed);
            if tally.ended.is_multiple_of(effort.again) {
                self.again(&disk, served, &what, tally).await;
            }
        }
        tally.generated += crashes.generated();
    }

    /// Power is lost once more while the driver recovers from the first loss.
    async fn again(&self, recovered: &MemDisk, served: u8, what: &str, tally: &mut Tally) {
        for (second, disk) in recovered.crashes(SPARSE) {
            let what = format!("{what}, then {second:?}");
            self.end(disk, served, self.size, &what).await;
            tally.twice += 1;
        }
    }
}

/// The version that an identity's entity tag names.
fn version(saved: &Saved) -> u8 {
    let tag = saved.identity.etag.as_ref().expect("it has one");
    let text = String::from_utf8(tag.opaque.clone()).expect("plain text");
    let digits = text.trim_matches(|c: char| !c.is_ascii_digit());
    digits.parse().expect("a number")
}

fn read(disk: &MemDisk, name: &str) -> Vec<u8> {
    let dir = disk.open_dir(DIR.as_ref(), false).expect("it is there");
    let Ok(file) = disk.open(&dir, name, Open::Existing) else {
        return Vec::new();
    };
    let len = disk.stat(&file).expect("an open file").len;
    let mut bytes = vec![0; usize::try_from(len).expect("a small file")];
    let came = disk.read_at(&file, 0, &mut bytes).expect("it reads");
    assert_eq!(came, bytes.len());
    bytes
}

#[tokio::test(start_paused = true)]
async fn every_loss_of_power_of_a_real_download_ends_in_the_right_bytes() {
    let effort = if THOROUGH { &FULL } else { &BRIEF };
    let mut tally = Tally::default();
    for scene in scenes() {
        let before = (tally.generated, tally.ended);
        scene.sweep(effort, &mut tally).await;
        println!(
            "{}: {} states, {} downloaded to the end",
            scene.name,
            tally.generated - before.0,
            tally.ended - before.1
        );
    }
    println!("{tally:?}, 0 wrong");
    // A sweep that has shrunk proves less than it says.
    assert!(tally.generated > 6_000 && tally.recovered > 4_000);
    assert!(tally.claiming > 2_000 && tally.complete > 100);
    assert!(tally.ended > 250 && tally.resumed > 80 && tally.twice > 150);
}

/// Two lanes, few changes between two checkpoints, a change of the file, an old file: nothing is left out.
#[tokio::test(start_paused = true)]
async fn every_subset_of_ten_changes_of_a_real_download_ends_in_the_right_bytes() {
    let [first, ..] = scenes();
    let scene = Scene {
        name: "shorter",
        size: SIZE / 4 * 3,
        behaviour: slow(SIZE / 4 * 3).changes_after(3, 1),
        ..first
    };
    let mut tally = Tally::default();
    scene.sweep(&FULL, &mut tally).await;
    println!("{tally:?}, 0 wrong");
    assert!(tally.generated > 12_000 && tally.recovered > 2_500);
    assert!(tally.claiming > 1_200 && tally.ended > 60 && tally.resumed > 10);
}
