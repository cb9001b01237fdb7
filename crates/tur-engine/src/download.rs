//! Saying what to download and how: [`Download`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::Digest as _;
use tur_core::port::Field;
use tur_core::{Kind, RangeSet, Rate, Secret};
use tur_http::{CookieFile, Netrc, RedirectPolicy, SafeName, Terms, TypeGlob};
use tur_sched::{OnChange, Priority, RetryPolicy, Schedule, SpeedFloor};
use tur_storage::{FileName, Stay};

use crate::checksum::hex;
use crate::credentials::{Credentials, Given};
use crate::job::{Destination, Job};
use crate::reading::Core;
use crate::{Checksum, Downloader, Error, Handle, Reading, bounds};

/// What to do if the target exists and is not the same file, complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExists {
    /// Refuse for a name that was given, take `NAME.1` for a derived one.
    #[default]
    ByName,
    /// Fail.
    Refuse,
    /// Take the first free one of `NAME.1`, `NAME.2`, …
    Rename,
    /// Replace it, in one step, when the new file is complete.
    Overwrite,
    /// Leave it and call that success.
    Skip,
}

/// A download to be started. Every setting has a default; mistakes are told as the outcome.
#[must_use = "a download begins with `start`"]
pub struct Download {
    downloader: Downloader,
    url: String,
    dir: Option<PathBuf>,
    file: Option<PathBuf>,
    create_dirs: bool,
    given: Given,
    fields: Vec<Field>,
    job: Settings,
}

/// The settings that go into the job as they are.
#[derive(Debug)]
struct Settings {
    lanes_max: u16,
    lanes_start: Option<u16>,
    priority: Priority,
    schedule: Schedule,
    piece_min: Option<u64>,
    retry: RetryPolicy,
    limit: Option<Rate>,
    read_timeout: Duration,
    max_time: Option<Duration>,
    speed_floor: Option<SpeedFloor>,
    on_exists: OnExists,
    on_change: OnChange,
    checksum: Option<Checksum>,
    keep_remote_time: bool,
    terms: Terms,
    keep_bad: bool,
    allow_downgrade: bool,
    stay: Stay,
}

/// Longest name that a user may give, in bytes: file systems take 255, and the part adds to it.
const NAME_MAX: usize = 250;

impl Download {
    pub(crate) fn new(downloader: Downloader, url: &str) -> Self {
        Self {
            downloader,
            url: url.to_owned(),
            dir: None,
            file: None,
            create_dirs: false,
            given: Given::default(),
            fields: Vec::new(),
            job: Settings {
                lanes_max: bounds::LANES_DEFAULT,
                lanes_start: None,
                priority: Priority::Low,
                schedule: Schedule::default(),
                piece_min: None,
                retry: RetryPolicy::default(),
                limit: None,
                read_timeout: bounds::READ_TIMEOUT,
                max_time: None,
                speed_floor: None,
                on_exists: OnExists::default(),
                on_change: OnChange::default(),
                checksum: None,
                keep_remote_time: true,
                terms: Terms::default(),
                keep_bad: false,
                allow_downgrade: false,
                stay: Stay::Kept,
            },
        }
    }

    /// The directory; made if it is missing. Default: the current one.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The file; a relative one stands under the directory. Default: the name that the answer or the URL gives.
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Makes missing parents of a given file too.
    pub fn create_dirs(mut self, yes: bool) -> Self {
        self.create_dirs = yes;
        self
    }

    /// Most lanes: 1 is one connection. Default: 32. How many work is found by measurement.
    pub fn lanes(mut self, n: u16) -> Self {
        self.job.lanes_max = n.clamp(1, bounds::LANES);
        self
    }

    /// Starts with so many lanes at once instead of as many as measurements justify.
    pub fn start_lanes(mut self, n: u16) -> Self {
        self.job.lanes_start = Some(n.clamp(1, bounds::LANES));
        self
    }

    /// How the work is divided at first. Default: equal shares; what is free takes from what is not in any case.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.job.schedule = schedule;
        self
    }

    /// Never splits below so many bytes.
    pub fn piece_min(mut self, bytes: u64) -> Self {
        self.job.piece_min = Some(bytes);
        self
    }

    /// How much its lanes matter beside the fetches of peers and other downloads: `High` for what is being read now. Default:
    /// `Low`; what is urgent may then take the place of its lanes for a while.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.job.priority = priority;
        self
    }

    /// Retries and backoff.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.job.retry = policy;
        self
    }

    /// Most bytes per second, over all lanes; zero counts as one. Default: as many as the downloader's limit allows. It may be changed
    /// while the download runs ([`Handle::set_limit`]); under a low limit that is set before the start, connections also
    /// get small receive buffers.
    pub fn limit(mut self, rate: Rate) -> Self {
        self.job.limit = Some(rate);
        self
    }

    /// Limit for the whole head of an answer and for the silence of a body. Default: 30 s.
    pub fn read_timeout(mut self, limit: Duration) -> Self {
        self.job.read_timeout = limit;
        self
    }

    /// Limit for the whole download. Default: none.
    pub fn max_time(mut self, limit: Duration) -> Self {
        self.job.max_time = Some(limit);
        self
    }

    /// Fails if the whole is slower for so long. Default: none.
    pub fn speed_floor(mut self, floor: SpeedFloor) -> Self {
        self.job.speed_floor = Some(floor);
        self
    }

    /// What to do if the target exists.
    pub fn on_exists(mut self, what: OnExists) -> Self {
        self.job.on_exists = what;
        self
    }

    /// What to do if the representation changes. Default: restart once.
    pub fn on_change(mut self, what: OnChange) -> Self {
        self.job.on_change = what;
        self
    }

    /// Takes only answers whose media type (`Content-Type` without its parameters) matches `glob`, or another one that was
    /// given; others fail with kind `Server`, before anything is written. An answer without a type, or with one that
    /// cannot be read, counts as `application/octet-stream`. A file that is there already and is what the origin has
    /// stays what it is. Default: any type.
    pub fn accept_type(mut self, glob: TypeGlob) -> Self {
        self.job.terms.types.push(glob);
        self
    }

    /// Fails, with kind `Network` and before anything is written, where only the end of the connection would tell the
    /// end of the file: then nobody can say whether all of it came. A chunked body is fine: its end is marked.
    /// Default: such a file is taken, and [`Completed::unverifiable`](crate::Completed::unverifiable) says so.
    pub fn require_length(mut self, yes: bool) -> Self {
        self.job.terms.length = yes;
        self
    }

    /// Fails, with kind `NotResumable`, as soon as the origin shows that the download could not go on after a stop: its
    /// first answer is not to a range or does not tell the length; or ranges fail later. (Where there is no strong validator, an
    /// overlap has to prove what is kept.) An empty
    /// file has nothing to resume and is taken. What an earlier run has kept stays as it is, where it would otherwise be
    /// given up for want of ranges. It is about what the origin can do: a file that changed there is the business of
    /// [`on_change`](Self::on_change). Default: one stream will do.
    pub fn require_resume(mut self, yes: bool) -> Self {
        self.job.terms.resume = yes;
        self
    }

    /// Decodes a file that comes coded (gzip or deflate) although identity was asked for. It then comes as one stream, its
    /// length is not known before its end, and nothing of it is kept after a stop. A digest is that of the decoded
    /// bytes, the name stays. A coding that ends early is an early end; a damaged one, or one that cannot be decoded (br,
    /// zstd, several), fails with kind `Protocol`; more than 1 MiB and 200 times what was sent, with kind `Limit`. What
    /// follows the end of the coding, up to 64 KiB, is padding and ignored. A rate limit counts decoded bytes.
    /// Default: such a file is kept as it comes, and a note says so.
    pub fn decode(mut self, yes: bool) -> Self {
        self.job.terms.decode = yes;
        self
    }

    /// Keeps a file whose digest is not the one that was asked for, as the first free one of `NAME.bad`, `NAME.bad.1`, …,
    /// readable by its owner alone. The download fails all the same, and says where it is. Default: nothing is left.
    pub fn keep_bad(mut self, yes: bool) -> Self {
        self.job.keep_bad = yes;
        self
    }

    /// Follows redirects from https to http, too: the file then comes over a connection that anyone on the way can read
    /// and change. Secrets stay at the first origin in any case. Default: they fail with kind `Policy`.
    pub fn allow_downgrade(mut self, yes: bool) -> Self {
        self.job.allow_downgrade = yes;
        self
    }

    /// How long its files stay. One that does not is no use unless it is read while it arrives
    /// ([`start_reading`](Self::start_reading)) or only verified: it has no name, [`Completed::path`](crate::Completed::path)
    /// leads nowhere, nothing under the name is looked at or replaced, and the directory only says on which file system
    /// it is. Default: kept.
    pub fn stay(mut self, stay: Stay) -> Self {
        self.job.stay = stay;
        self
    }

    /// A digest that the file must have.
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.job.checksum = Some(checksum);
        self
    }

    /// Whether the file gets the time of `Last-Modified`. Default: yes.
    pub fn keep_remote_time(mut self, yes: bool) -> Self {
        self.job.keep_remote_time = yes;
        self
    }

    /// A request field for the origin of the URL, and no other. Replaces one of tur's own. A `Referer` loses userinfo and
    /// fragment.
    pub fn field(mut self, name: &str, value: impl Into<Secret>) -> Self {
        self.fields.push(Field {
            name: name.to_owned(),
            value: value.into(),
        });
        self
    }

    /// Sends the fields, and credentials that need no challenge, to every origin that a redirect leads to. Each of them can then
    /// use what it is shown; what came for https is still not sent in clear text. Default: the origin of the URL alone.
    pub fn fields_for_all_origins(mut self, yes: bool) -> Self {
        self.given.everywhere = yes;
        self
    }

    /// Credentials (RFC 7617) for the origin of the URL, and no other. They win over those in the URL. They go along from the
    /// first request on; if it is refused with a challenge of Digest, that is answered with them.
    pub fn basic_auth(mut self, user: impl Into<Secret>, password: impl Into<Secret>) -> Self {
        self.given.credentials = Some(Credentials::Basic(user.into(), password.into()));
        self
    }

    /// Credentials (RFC 7616) for the origin of the URL, and no other, that are shown only as the answer to a challenge of
    /// Digest: the password itself is never sent. The strongest algorithm that is offered is used, of SHA-512-256, SHA-256
    /// and MD5. They win over those in the URL.
    pub fn digest(mut self, user: impl Into<Secret>, password: impl Into<Secret>) -> Self {
        self.given.credentials = Some(Credentials::Digest(user.into(), password.into()));
        self
    }

    /// A token (RFC 6750) for the origin of the URL, and no other. It wins over credentials in the URL.
    pub fn bearer(mut self, token: impl Into<Secret>) -> Self {
        self.given.credentials = Some(Credentials::Bearer(token.into()));
        self
    }

    /// Where credentials for the host of the URL are looked for if none are given, there or here.
    pub fn netrc(mut self, netrc: Arc<Netrc>) -> Self {
        self.given.netrc = Some(netrc);
        self
    }

    /// Cookies for the origin of the URL, and no other: `NAME=VALUE; NAME=VALUE …`. Cookies that answers set go along with later
    /// requests of this download in any case, to whom they are for (RFC 6265), unless a `Cookie` field is set.
    pub fn cookies(mut self, text: impl Into<Secret>) -> Self {
        self.given.cookies.0.push(text.into());
        self
    }

    /// A cookie file: its cookies go to whom they are for, along redirects too.
    pub fn cookie_file(mut self, file: Arc<CookieFile>) -> Self {
        self.given.cookies.1.push(file);
        self
    }

    /// What its file is called, as far as that can be said without asking anybody: the name that was given, else the last part
    /// of the URL's path. The answer may have another one.
    #[must_use]
    pub fn likely_name(&self) -> String {
        let given = self.file.as_deref().and_then(Path::file_name);
        let name = match (given, tur_http::target(&self.url)) {
            (Some(name), _) => SafeName::clean(&name.to_string_lossy()),
            (None, Ok((target, _))) => SafeName::of(None, &target),
            (None, Err(_)) => SafeName::clean(""),
        };
        name.as_str().to_owned()
    }

    /// The SHA-256 of its URL without userinfo and fragment, in hex: a name for what belongs to the URL, that shows nothing of it.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn url_digest(&self) -> Result<String, Error> {
        let (target, _) = tur_http::target(&self.url)
            .map_err(|error| Error::new(Kind::Usage, error.to_string()))?;
        Ok(hex(&sha2::Sha256::digest(target.to_string())))
    }

    /// Says what [`start`](Self::start) would refuse without asking anybody: who has a list of downloads can look at all of
    /// them first.
    ///
    /// # Errors
    /// The URL, the name of the file or a request field cannot be used.
    pub fn check(self) -> Result<(), Error> {
        self.job().map(drop)
    }

    /// Begins. The download runs on the engine's own thread, whatever the caller does.
    pub fn start(self) -> Handle {
        let downloader = self.downloader.clone();
        downloader.launch(self.job(), None)
    }

    /// Begins, to be read while it arrives. A download that may have two lanes or more keeps one of them free, connected
    /// where it can be, for who seeks.
    ///
    /// `window` and `ahead` are those of [`Reading::set_window`]. What is said there may come after the first request, which
    /// asks for everything where there is no window.
    pub fn start_reading(self, window: Option<RangeSet>, ahead: RangeSet) -> (Handle, Reading) {
        let downloader = self.downloader.clone();
        let core = Core::new();
        let reading = Reading::new(Arc::clone(&core));
        reading.set_window(window, ahead);
        let job = self.job().map(|job| Job {
            reading: Some(Arc::clone(&core)),
            ..job
        });
        (downloader.launch(job, Some(core)), reading)
    }

    fn job(self) -> Result<Job, Error> {
        let (target, userinfo) = tur_http::target(&self.url)
            .map_err(|error| Error::new(Kind::Usage, error.to_string()))?;
        let destination = self.destination()?;
        let (fields, sign_in) = self.given.sign_in(&target, userinfo, &self.fields)?;
        let s = self.job;
        Ok(Job {
            target,
            destination,
            lanes_max: s.lanes_max,
            lanes_start: s.lanes_start,
            priority: s.priority,
            schedule: s.schedule,
            piece_min: s.piece_min,
            retry: s.retry,
            limit: s.limit,
            read_timeout: s.read_timeout,
            max_time: s.max_time,
            speed_floor: s.speed_floor,
            on_exists: s.on_exists,
            on_change: s.on_change,
            checksum: s.checksum,
            keep_remote_time: s.keep_remote_time,
            terms: s.terms,
            keep_bad: s.keep_bad,
            fields,
            sign_in,
            redirects: RedirectPolicy {
                allow_downgrade: s.allow_downgrade,
            },
            seed: seed(),
            stay: s.stay,
            reading: None,
        })
    }

    fn destination(&self) -> Result<Destination, Error> {
        let dir = self.dir.clone().unwrap_or_else(|| PathBuf::from("."));
        let Some(file) = &self.file else {
            return Ok(Destination::Directory(dir));
        };
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .filter(|_| !ends_like_dir(file));
        let Some(name) = name else {
            let message = format!(
                "{}: not a file name (UTF-8, without a slash at the end)",
                file.display()
            );
            return Err(Error::new(Kind::Usage, message));
        };
        if name.len() > NAME_MAX {
            let message = format!(
                "the file name has {} bytes: use at most {NAME_MAX}",
                name.len()
            );
            return Err(Error::new(Kind::Usage, message));
        }
        let parent = file
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        Ok(Destination::File {
            name: FileName::new(name)?,
            create: self.create_dirs || (parent.is_none() && self.dir.is_some()),
            dir: parent.map_or(dir.clone(), |parent| dir.join(parent)),
        })
    }
}

impl fmt::Debug for Download {
    /// Without URL, fields and credentials: they may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("settings", &self.job)
            .finish_non_exhaustive()
    }
}

/// A number that differs from process to process, so that clients of one origin do not retry in step.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}

fn ends_like_dir(path: &Path) -> bool {
    path.as_os_str()
        .as_encoded_bytes()
        .last()
        .is_some_and(|c| std::path::is_separator(char::from(*c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_start_would_refuse_can_be_known_before() {
        let downloader = Downloader::builder().build().expect("defaults will do");
        let good = || downloader.download("http://127.0.0.1:9/f");
        assert!(good().field("X-Key", "v").file("f").check().is_ok());
        for wrong in [
            downloader.download("ftp://127.0.0.1/f"),
            good().field("Range", "bytes=0-"),
            good().file("dir/"),
        ] {
            let error = wrong.check().expect_err("refused");
            assert_eq!(error.kind(), Kind::Usage, "{error}");
        }
    }
}
