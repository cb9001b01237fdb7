//! The file side of a download: which name, which part, what was there before.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tur_core::{ByteRange, Identity, Kind, RangeSet, Representation, Wall};
use tur_http::SafeName;
use tur_sched::Proof;
use tur_storage::{
    Disk, Exists, FileId, FileName, Found, Open, Opened, Part, Place, Room, Saved, StorageError,
    survey,
};

use super::existing::{Around, Existing, Likeness};

use crate::checksum::{Algorithm, Hasher};
use crate::filed::Filed;
use crate::job::Job;
use crate::reading::{Core, WholeFile};
use crate::tenants::Tenure;
use crate::{Checksum, Error, OnExists};

/// What the first answer makes of the name.
pub(super) enum Named {
    /// Go on with the part that is open.
    Go,
    /// The file is there, complete.
    Already,
    /// Under the name that the answer gives, an earlier run has left these bytes.
    Resume(Box<Resumable>),
}

/// What an earlier run left, and what has to show that it can be gone on with.
pub(super) struct Resumable {
    pub(super) saved: Saved,
    pub(super) proof: Proof,
}

/// Name, part and journal of one download.
pub(super) struct Filing<D: Disk> {
    disk: D,
    filed: Filed,
    url: String,
    place: Place,
    derived: bool,
    on_exists: OnExists,
    exists: Exists,
    part: Option<Part<D>>,
    /// True once the part belongs to the identity of this run.
    pub(super) begun: bool,
    /// True if what was saved is gone on with.
    pub(super) keep: bool,
    /// True while the part is as an earlier run left it, with claims that are not ours to give up.
    untouched: bool,
    /// True if the file under the name was compared, and nothing told it from this one, or proved it to be this one.
    untold: bool,
    keep_time: bool,
    modified: Option<Wall>,
    reading: Option<Arc<Core>>,
    tenure: Arc<Tenure>,
}

impl<D: Disk + Clone> Filing<D> {
    pub(super) fn new((disk, filed): (D, Filed), job: &Job, tenure: Arc<Tenure>) -> Self {
        Self {
            disk,
            filed,
            url: job.target.to_string(),
            place: first_place(job),
            derived: job.name_is_derived(),
            on_exists: job.on_exists,
            exists: on_commit(job),
            part: None,
            begun: false,
            keep: false,
            untouched: false,
            untold: false,
            keep_time: job.keep_remote_time,
            modified: None,
            reading: job.reading.clone(),
            tenure,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.place.name.as_str()
    }

    pub(super) fn path(&self) -> PathBuf {
        path_of(&self.place)
    }

    /// Waits until downloads of this file that nobody wants any more have let go of its part.
    pub(super) fn freed(&self) -> impl Future<Output = ()> + use<D> {
        self.tenure.leaving(&self.path())
    }

    pub(super) fn path_of(&self, name: &FileName) -> PathBuf {
        plain(&self.place.dir.join(name.as_str()))
    }

    /// The file is complete, under this name.
    pub(super) fn remember(&self, path: &Path) {
        self.filed.put(path, &self.url);
    }

    /// What remembers which file this is, before it can be found under any name.
    pub(super) fn noting(&self) -> impl FnMut(FileId) + Send + use<D> {
        let (filed, url) = (self.filed.clone(), self.url.clone());
        move |id| filed.note(id, &url)
    }

    /// That file is this URL's, if it is not known to be another's.
    pub(super) fn claim(&self, file: &Existing) -> bool {
        self.filed
            .claim(&self.path_of(&file.name), file.id, &self.url)
    }

    /// The one of these files that an answer describes, if it is not known to be another URL's: it is this one's from here on.
    pub(super) fn same_of(
        &mut self,
        files: &[Existing],
        total: Option<u64>,
        representation: &Representation,
    ) -> Option<Existing> {
        self.untold = false;
        for file in files {
            match file.likeness(total, representation) {
                Likeness::Same if self.claim(file) => return Some(file.clone()),
                Likeness::Untold if file.name == self.place.name => self.untold = true,
                _ => {}
            }
        }
        None
    }

    /// That file is the one: it is what this download is about from here on.
    pub(super) fn settle_on(&mut self, file: Existing) {
        self.place.name = file.name;
    }

    /// Work that looks at what stands around a name that `file` has.
    pub(super) fn looking_around(&self) -> impl FnOnce() -> Result<Around, StorageError> + use<D> {
        let (disk, place, url) = (self.disk.clone(), self.place.clone(), self.url.clone());
        let passed_by = self.exists == Exists::Rename;
        move || Around::look(&disk, &place, &url, passed_by)
    }

    /// Files that may be this URL's, the most likely one first: the one that has the name, and those with a number behind it
    /// that a commit would pass by.
    pub(super) fn candidates(&self, file: Existing, around: Around) -> Vec<Existing> {
        if around.begun {
            // None of them is what this URL has begun and not ended.
            return Vec::new();
        }
        let others = |file: &Existing| {
            let path = self.path_of(&file.name);
            self.filed.is_of_another(&path, file.id, &self.url)
        };
        let mut candidates = vec![file];
        candidates.extend(around.numbered);
        candidates.retain(|file| !others(file));
        candidates
    }

    pub(super) fn part(&self) -> Option<&Part<D>> {
        self.part.as_ref()
    }

    /// Looks at the name.
    pub(super) fn look(&self) -> Result<Option<Existing>, Error> {
        self.judge(self.surveying()()?)
    }

    /// Work that tells what has the name.
    pub(super) fn surveying(&self) -> impl FnOnce() -> Result<Found, StorageError> + use<D> {
        let (disk, place) = (self.disk.clone(), self.place.clone());
        move || survey(&disk, &place)
    }

    /// What has the name: a plain file is compared before anything is decided; all else is refused.
    pub(super) fn judge(&self, found: Found) -> Result<Option<Existing>, Error> {
        let refuse = |what: &str| {
            let message = format!("{} is {what}: choose another name", self.path().display());
            Err(Error::new(Kind::Local, message))
        };
        match found {
            Found::Nothing => Ok(None),
            Found::File { id, len, modified } => Ok(Some(Existing {
                name: self.place.name.clone(),
                id,
                len,
                modified,
            })),
            Found::Directory => refuse("a directory"),
            Found::Symlink => refuse("a symbolic link"),
            Found::Special => refuse("not a plain file"),
        }
    }

    /// The name is taken by another file: what the user wants then. `Ok(false)` leaves everything as it is.
    pub(super) fn taken(&self) -> Result<bool, Error> {
        match (self.on_exists, self.exists) {
            (OnExists::Skip, _) => Ok(false),
            (_, Exists::Refuse) => {
                let path = self.path();
                let what = match self.untold {
                    true => ", and nothing tells whether it is this file",
                    false => " and is not this file",
                };
                let message = format!(
                    "{} exists{what}: choose another name, or allow it to be overwritten",
                    path.display()
                );
                Err(Error::new(Kind::Local, message))
            }
            (_, Exists::Rename | Exists::Overwrite) => Ok(true),
        }
    }

    /// Work that tells whether a file in the directory has the digest; it ends early once `stop` is set. A file that
    /// cannot be read does not have it.
    pub(super) fn digest_work(
        &self,
        name: &FileName,
        checksum: &Checksum,
        stop: Arc<AtomicBool>,
    ) -> impl FnOnce() -> bool + use<D> {
        let (disk, checksum) = (self.disk.clone(), checksum.clone());
        let place = Place {
            name: name.clone(),
            ..self.place.clone()
        };
        move || {
            digest(&disk, &place, checksum.algorithm, &stop)
                .is_ok_and(|digest| checksum.matches(&digest))
        }
    }

    /// True if a download that failed has left the part to its readers.
    pub(super) fn is_read(&self) -> bool {
        self.filed.is_read(&self.path())
    }

    /// Takes the part over from readers of a download that failed. Those that are about to read are returned: they have it
    /// for a moment still.
    pub(super) fn take_over(&self) -> Vec<Arc<Core>> {
        self.filed.take_over(&self.path())
    }

    /// Opens the part and tells what can be gone on with.
    fn open(&mut self) -> Result<Option<Resumable>, StorageError> {
        self.take_over();
        let opened = self.opening()()?;
        Ok(self.take(opened))
    }

    /// Work that opens the part. It reads what must be verified again: after a loss of power that is all of it.
    pub(super) fn opening(&self) -> impl FnOnce() -> Result<Opened<D>, StorageError> + use<D> {
        let (disk, place, url) = (self.disk.clone(), self.place.clone(), self.url.clone());
        move || Part::open_lazily(disk, &place, &url)
    }

    /// Work that opens the part if nothing has the name yet, and tells otherwise what has.
    pub(super) fn beginning(
        &self,
    ) -> impl FnOnce() -> Result<Result<Opened<D>, Found>, StorageError> + use<D> {
        let (disk, place, url) = (self.disk.clone(), self.place.clone(), self.url.clone());
        move || Part::open_if_free(disk, &place, &url)
    }

    /// Takes the opened part, and tells what can be gone on with.
    pub(super) fn take(&mut self, opened: Opened<D>) -> Option<Resumable> {
        self.part = Some(opened.part);
        let saved = opened
            .saved
            .filter(|saved| saved.identity.total.is_some() && !saved.claimed.is_empty());
        self.untouched = saved.is_some();
        saved.map(|saved| Resumable {
            proof: if saved.url != self.url {
                // A validator speaks of one resource (RFC 9110, section 8.8): under another URL an equal one proves nothing.
                Proof::OtherUrl
            } else if saved.identity.is_strong() {
                Proof::Validator
            } else {
                Proof::Overlap
            },
            saved,
        })
    }

    /// The first answer may name the file. Moves to that name, if it is another one.
    pub(super) fn name_by(
        &mut self,
        total: Option<u64>,
        representation: &Representation,
        job: &Job,
    ) -> Result<Named, Error> {
        let Some(disposition) = representation
            .disposition
            .as_deref()
            .filter(|_| self.derived && !self.keep)
        else {
            return Ok(Named::Go);
        };
        let name = SafeName::of(Some(disposition), &job.target);
        let name = crate::job::derived(&name);
        if name == self.place.name {
            return Ok(Named::Go);
        }
        if std::mem::take(&mut self.untouched) {
            // It is of another download: this one turns out to have another name.
            self.part = None;
        } else {
            self.discard()?;
        }
        self.place.name = name;
        self.tenure.moves_to(self.path());
        if let Some(existing) = self.look()? {
            let around = self.looking_around()()?;
            let candidates = self.candidates(existing, around);
            if let Some(file) = self.same_of(&candidates, total, representation) {
                self.settle_on(file);
                return Ok(Named::Already);
            }
            if !self.taken()? {
                return Ok(Named::Already);
            }
        }
        Ok(self
            .open()?
            .map_or(Named::Go, |saved| Named::Resume(Box::new(saved))))
    }

    /// From here on the part belongs to `identity`. Says how much room there is for it, if that can be known.
    pub(super) fn begin(&mut self, identity: &Identity) -> Result<Option<Room>, StorageError> {
        if self.modified.is_none() && self.keep_time {
            self.modified = identity.last_modified.as_ref().map(|modified| modified.at);
        }
        self.untouched = false;
        let mut room = None;
        if let Some(part) = &self.part {
            room = part.begin(&self.url, identity, self.keep)?;
            if let Some(reading) = &self.reading {
                reading.opened(Arc::new(part.reader()), identity);
            }
        }
        self.begun = true;
        Ok(room)
    }

    /// Everything on disk is void as soon as the next identity is known.
    pub(super) fn restart(&mut self) {
        if let Some(reading) = &self.reading {
            reading.restarted();
        }
        self.begun = false;
        self.keep = false;
        self.modified = None;
    }

    /// Ends without the file: keeps what can be used again, or leaves nothing behind.
    pub(super) fn leave(&mut self, keep: bool) {
        let Some(part) = self.part.take() else { return };
        if self.untouched {
            // Whatever this run has found out, it has written nothing: the next one may fare better with what is there.
            return;
        }
        if let Some(reading) = self.reading.as_ref().filter(|_| keep) {
            self.filed.leave(self.path(), reading);
        }
        let result = if keep { part.stop() } else { part.discard() };
        if let Err(error) = result {
            tracing::warn!(%error, "the part could not be left in order");
        }
    }

    /// The file was there, complete: whoever reads this download reads that.
    pub(super) fn show_whole(&self) {
        let Some(reading) = &self.reading else { return };
        match WholeFile::open(self.disk.clone(), &self.place.dir, &self.place.name) {
            Ok(file) => {
                let identity = Identity {
                    total: Some(file.len()),
                    ..Identity::default()
                };
                reading.opened(Arc::new(file), &identity);
            }
            Err(error) => tracing::warn!(%error, "a complete file cannot be read"),
        }
    }

    /// Removes the journal of a complete file, if an earlier run could not.
    pub(super) fn sweep(&self) {
        if let Err(error) = Part::sweep(self.disk.clone(), &self.place) {
            tracing::debug!(%error, "a journal without its part stays");
        }
    }

    /// Ends without the file, whose digest is wrong: keeps it beside its name, if it can. Says what became of it.
    pub(super) fn set_aside(&mut self) -> String {
        let kept = self.part.as_ref().map(Part::set_aside);
        match kept {
            Some(Ok(path)) => {
                self.part = None;
                format!("; it is kept as {}", plain(&path).display())
            }
            Some(Err(error)) => {
                self.leave(false);
                format!("; it could not be kept: {error}")
            }
            None => String::new(),
        }
    }

    /// True if bytes are there that a later run can use. `joinable` says whether those of this run can be.
    pub(super) fn is_worth_keeping(&self, joinable: bool) -> bool {
        let covers = |part: &Part<D>| !part.covered().is_empty();
        (joinable || self.untouched) && self.part.as_ref().is_some_and(covers)
    }

    /// Bytes of `0..total` that are not there.
    pub(super) fn gaps(&self, total: u64) -> RangeSet {
        let whole = ByteRange::new(0, total);
        self.part
            .as_ref()
            .map_or_else(RangeSet::new, |part| part.covered().gaps(whole))
    }

    /// What storage finds missing.
    pub(super) fn check(&self) -> Result<RangeSet, StorageError> {
        self.part.as_ref().map_or(Ok(RangeSet::new()), Part::check)
    }

    /// Work that reads the part, where it takes less room than it has bytes.
    pub(super) fn proving(
        &self,
    ) -> Result<Option<impl FnOnce() -> Result<RangeSet, StorageError> + use<D>>, StorageError>
    {
        match &self.part {
            Some(part) if part.is_thin()? => Ok(Some(part.proving())),
            _ => Ok(None),
        }
    }

    /// Gives the part away to be committed, with how.
    pub(super) fn hand_over(&mut self) -> Option<(Part<D>, Exists, Option<Wall>)> {
        Some((self.part.take()?, self.exists, self.modified))
    }

    fn discard(&mut self) -> Result<(), StorageError> {
        self.part.take().map_or(Ok(()), Part::discard)
    }
}

/// Where a download goes, as far as that is known before an answer.
fn first_place(job: &Job) -> Place {
    let (dir, name, create_dirs) = job.first_place();
    Place {
        dir,
        name,
        create_dirs,
    }
}

fn path_of(place: &Place) -> PathBuf {
    plain(&place.dir.join(place.name.as_str()))
}

/// The path of the file that a download works on at first.
pub(super) fn first_path(job: &Job) -> PathBuf {
    path_of(&first_place(job))
}

/// What a commit may do if something has the name by then.
fn on_commit(job: &Job) -> Exists {
    match job.on_exists {
        OnExists::Rename => Exists::Rename,
        OnExists::ByName if job.name_is_derived() => Exists::Rename,
        OnExists::Overwrite => Exists::Overwrite,
        OnExists::ByName | OnExists::Refuse | OnExists::Skip => Exists::Refuse,
    }
}

/// The path without a `./` in front, which nobody has typed.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.strip_prefix(".").unwrap_or(path).to_owned()
}

fn digest<D: Disk>(
    disk: &D,
    place: &Place,
    algorithm: Algorithm,
    stop: &AtomicBool,
) -> std::io::Result<Vec<u8>> {
    let dir = disk.open_dir(&place.dir, false)?;
    let file = disk.open(&dir, place.name.as_str(), Open::Existing)?;
    let mut hasher = Hasher::new(algorithm);
    let (mut at, mut buffer) = (0, vec![0; 256 * 1024]);
    loop {
        let came = disk.read_at(&file, at, &mut buffer)?;
        if came == 0 {
            return Ok(hasher.finish());
        }
        if stop.load(Ordering::Relaxed) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        hasher.update(&buffer[..came]);
        at += came as u64;
    }
}
