//! What happens on the disks that are swept: short downloads of several kinds, each a [`Scene`].

use std::io::IoSlice;

use tur_core::RangeSet;
use tur_storage::{Disk, Exists, Loss, MemDisk, Open, StorageError};

use crate::common::{fill, range};
use crate::recorder::{BAD, OLD, Promise, Recorder, SIZE, WRONG};

/// What happens.
type Play = fn(&mut Recorder) -> Result<(), StorageError>;

/// A kind of download.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// What the target's name shows before.
    pub(crate) old: Option<&'static [u8]>,
    /// Where the new file goes.
    pub(crate) target: &'static str,
    pub(crate) exists: Exists,
    /// What an earlier process had done, where there was one, and how it ended.
    pub(crate) earlier: Option<(Play, Loss)>,
    pub(crate) play: Play,
}

impl Scene {
    /// The scene, played to its end.
    pub(crate) fn played(&self) -> Recorder {
        let mut recorder = self.recorder();
        (self.play)(&mut recorder).unwrap();
        recorder
    }

    /// The disk before the scene, and what was promised by then.
    pub(crate) fn recorder(&self) -> Recorder {
        let disk = MemDisk::new();
        let dir = disk.open_dir("/d".as_ref(), true).unwrap();
        if let Some(old) = self.old {
            let file = disk.open(&dir, "file", Open::New(0o644)).unwrap();
            disk.write_at(&file, 0, &[IoSlice::new(old)]).unwrap();
            disk.sync(&file).unwrap();
            disk.sync_dir(&dir).unwrap();
        }
        let mut first = Recorder::new(disk);
        let loss = self.earlier.map_or(Loss::Nothing, |(play, loss)| {
            play(&mut first).unwrap();
            loss
        });
        let mut recorder = Recorder::new(first.disk.crash(first.disk.changes(), loss));
        recorder.promises = vec![Promise {
            changes: 0,
            ..first.promise(usize::MAX)
        }];
        recorder
    }
}

pub(crate) const SCENES: [Scene; 8] = [
    Scene {
        name: "a fresh download",
        old: None,
        target: "file",
        exists: Exists::Refuse,
        earlier: None,
        play: |recorder| {
            let part = recorder.open()?;
            recorder.begin(&part, 1, false)?;
            recorder.fetch(&part, 1)?;
            recorder.commit(part, Exists::Refuse)
        },
    },
    Scene {
        name: "a change and an old file that is overwritten",
        old: Some(OLD),
        target: "file",
        exists: Exists::Overwrite,
        earlier: None,
        play: |recorder| {
            let part = recorder.open()?;
            recorder.begin(&part, 1, false)?;
            fill(&part, 0, 1, range(0, 3_000))?;
            recorder.checkpoint(&part)?;
            fill(&part, 1, 1, range(5_000, 6_100))?;
            recorder.begin(&part, 2, false)?;
            recorder.fetch(&part, 2)?;
            recorder.commit(part, Exists::Overwrite)
        },
    },
    Scene {
        name: "gone on with after a kill",
        old: None,
        target: "file",
        exists: Exists::Refuse,
        earlier: Some((half, Loss::Nothing)),
        play: gone_on_with,
    },
    Scene {
        name: "gone on with after a loss of power",
        old: None,
        target: "file",
        exists: Exists::Refuse,
        earlier: Some((half, Loss::Torn(5))),
        play: gone_on_with,
    },
    Scene {
        name: "wrong bytes that are fetched again",
        old: None,
        target: "file",
        exists: Exists::Refuse,
        earlier: None,
        play: mended,
    },
    Scene {
        name: "another name, because the first is taken",
        old: Some(OLD),
        target: "file.1",
        exists: Exists::Rename,
        earlier: None,
        play: |recorder| {
            let part = recorder.open()?;
            recorder.begin(&part, 1, false)?;
            fill(&part, 0, 1, range(0, SIZE))?;
            recorder.checkpoint(&part)?;
            recorder.commit(part, Exists::Rename)
        },
    },
    Scene {
        name: "given up and begun again",
        old: None,
        target: "file",
        exists: Exists::Refuse,
        earlier: None,
        play: |recorder| {
            let part = recorder.open()?;
            recorder.begin(&part, 1, false)?;
            fill(&part, 0, 1, range(0, 2_000))?;
            recorder.checkpoint(&part)?;
            recorder.now(|promise| promise.durable = RangeSet::new());
            part.discard()?;
            let part = recorder.open()?;
            recorder.begin(&part, 2, false)?;
            recorder.fetch(&part, 2)?;
            recorder.commit(part, Exists::Refuse)
        },
    },
    Scene {
        name: "a damaged journal that is begun again",
        old: None,
        target: "file",
        exists: Exists::Refuse,
        earlier: Some((damaged, Loss::Nothing)),
        play: |recorder| {
            let part = recorder.open()?;
            recorder.begin(&part, 2, false)?;
            recorder.fetch(&part, 2)?;
            recorder.commit(part, Exists::Refuse)
        },
    },
];

/// Short files that wait in memory.
pub(crate) const HELD: [Scene; 5] = [
    Scene {
        name: "a short file",
        old: None,
        target: "file",
        exists: Exists::Refuse,
        earlier: None,
        play: held,
    },
    Scene {
        name: "a short file beside an old one",
        old: Some(OLD),
        target: "file.1",
        exists: Exists::Rename,
        earlier: None,
        play: |recorder| {
            let part = recorder.open_lazily()?;
            recorder.begin(&part, 1, false)?;
            fill(&part, 0, 1, range(0, SIZE))?;
            recorder.commit(part, Exists::Rename)
        },
    },
    Scene {
        name: "a short file over an old one",
        old: Some(OLD),
        target: "file",
        exists: Exists::Overwrite,
        earlier: None,
        play: |recorder| {
            let part = recorder.open_lazily()?;
            recorder.begin(&part, 1, false)?;
            fill(&part, 0, 1, range(0, SIZE))?;
            recorder.commit(part, Exists::Overwrite)
        },
    },
    Scene {
        name: "a short file that takes long, and changes",
        old: None,
        target: "file",
        exists: Exists::Refuse,
        earlier: None,
        play: |recorder| {
            let part = recorder.open_lazily()?;
            recorder.begin(&part, 1, false)?;
            fill(&part, 0, 1, range(0, 2_500))?;
            recorder.begin(&part, 2, false)?;
            fill(&part, 0, 2, range(6_000, 8_000))?;
            recorder.fetch(&part, 2)?;
            recorder.commit(part, Exists::Refuse)
        },
    },
    Scene {
        name: "a short file that is stopped, where every file has a name",
        old: None,
        target: "file",
        exists: Exists::Refuse,
        earlier: Some((stopped, Loss::Nothing)),
        play: |recorder| {
            recorder.disk.name_everything();
            gone_on_with(recorder)
        },
    },
];

pub(crate) fn all() -> impl Iterator<Item = &'static Scene> {
    SCENES.iter().chain(&HELD)
}

fn held(recorder: &mut Recorder) -> Result<(), StorageError> {
    let part = recorder.open_lazily()?;
    recorder.begin(&part, 1, false)?;
    fill(&part, 1, 1, range(5_000, SIZE))?;
    fill(&part, 0, 1, range(0, 5_000))?;
    recorder.commit(part, Exists::Refuse)
}

fn stopped(recorder: &mut Recorder) -> Result<(), StorageError> {
    let part = recorder.open_lazily()?;
    recorder.begin(&part, 1, false)?;
    fill(&part, 0, 1, range(0, 2_500))?;
    part.stop()
}

fn half(recorder: &mut Recorder) -> Result<(), StorageError> {
    let part = recorder.open()?;
    recorder.begin(&part, 1, false)?;
    fill(&part, 0, 1, range(0, 2_500))?;
    recorder.checkpoint(&part)?;
    fill(&part, 0, 1, range(6_000, 8_000))
}

/// The journal of a half loses its header, and keeps its records.
fn damaged(recorder: &mut Recorder) -> Result<(), StorageError> {
    half(recorder)?;
    recorder.now(|promise| promise.durable = RangeSet::new());
    let dir = recorder.disk.open_dir("/d".as_ref(), false).unwrap();
    let journal = recorder.disk.open(&dir, "file.tur", Open::Existing);
    let journal = journal.unwrap();
    let zeros = IoSlice::new(&[0; 64]);
    recorder.disk.write_at(&journal, 0, &[zeros]).unwrap();
    Ok(())
}

fn gone_on_with(recorder: &mut Recorder) -> Result<(), StorageError> {
    let part = recorder.open()?;
    recorder.begin(&part, 1, true)?;
    recorder.fetch(&part, 1)?;
    recorder.commit(part, Exists::Refuse)
}

/// Wrong bytes are durable, forgotten while a checkpoint runs, and written again.
fn mended(recorder: &mut Recorder) -> Result<(), StorageError> {
    let part = recorder.open()?;
    recorder.begin(&part, 1, false)?;
    fill(&part, 0, 1, range(0, 2_000))?;
    recorder.now(|promise| promise.wrong = [BAD].into_iter().collect());
    fill(&part, 0, WRONG, BAD)?;
    recorder.checkpoint(&part)?;
    fill(&part, 0, 1, range(2_000, 3_000))?;
    // A run that loses a byte is durable no more, as a whole; which runs those are is not the recorder's business.
    recorder.now(|promise| promise.durable = RangeSet::new());
    let job = part.checkpoint()?;
    let forgotten = part.forget(BAD);
    // Even if it could not be written down: nobody must believe them then.
    recorder.now(|promise| promise.wrong = RangeSet::new());
    forgotten?;
    job.run().map(drop).or_else(|error| match error {
        StorageError::Lost { .. } | StorageError::Io { .. } => Ok(()),
        other => Err(other),
    })?;
    recorder.fetch(&part, 1)?;
    recorder.commit(part, Exists::Refuse)
}
