//! The hostile rows, each as a user meets it: a real program, an origin that misbehaves, and what is left afterwards.
//!
//! A test is named after its row in `docs/reliability.md`, whose table a test compares with this tree. Read [`Row`] first.
//! What a row must end in is an exit code and one of three states: the whole file and nothing beside it
//! ([`Row::file`]), nothing ([`Row::nothing`]), or part and journal for the next run ([`Row::part`]).

mod change;
mod disk;
mod encoding;
mod framing;
mod local;
mod name;
mod proxy;
mod range;
mod redirect;
mod resume;
mod rules;
mod status;
mod streams;
mod tls;

use tur_core::{ETag, Rate, RetryAfter};
use tur_testkit::{Behaviour, Deed, Loopback, When};

use crate::harness::{Place, Ran, Running};

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;

/// Size of most bodies: eight pieces of the size that [`FLAGS`] ask for.
pub(super) const SIZE: u64 = 2 * MIB;

/// The file that most rows are about.
pub(super) const NAME: &str = "file.bin";

/// Several lanes at once on a small file, and impatience.
const FLAGS: [&str; 13] = [
    "-x4",
    "-s4",
    "-k256K",
    "--retry",
    "4",
    "--connect-timeout",
    "3",
    "--read-timeout",
    "3",
    "--speed-limit",
    "1K",
    "--speed-time",
    "4",
];

/// An origin whose connections bring 2 MiB/s each, so that four lanes are under way before the first has all.
pub(super) fn paced(size: u64) -> Behaviour {
    Behaviour::new(size).pace(Rate::per_second(2 * MIB))
}

/// So slow that a download can be stopped in the middle.
pub(super) fn slow() -> Behaviour {
    Behaviour::new(SIZE).pace(Rate::per_second(256 * KIB))
}

/// A representation that replaces another one.
pub(super) fn other(version: u8, etag: Option<ETag>) -> Deed {
    Deed::Serve {
        version,
        etag,
        size: SIZE,
    }
}

/// A status instead of the file, with `Retry-After` in seconds.
pub(super) fn status(status: u16, seconds: Option<u64>) -> Deed {
    let retry_after = seconds.map(|s| RetryAfter::Delay(std::time::Duration::from_secs(s)));
    Deed::Status {
        status,
        retry_after,
    }
}

/// A redirect to `location`, for every request.
pub(super) fn redirect(location: String) -> Behaviour {
    let deed = Deed::Redirect {
        status: 302,
        location,
    };
    Behaviour::new(0).rule(When::Always, deed)
}

/// An origin with `/file.bin`, and a directory with the program in it.
pub(super) struct Row {
    pub(super) origin: Loopback,
    pub(super) place: Place,
}

impl Row {
    pub(super) fn new(behaviour: Behaviour) -> Self {
        Self::of(Loopback::start([("/file.bin", behaviour)]))
    }

    pub(super) fn of(origin: Loopback) -> Self {
        let place = Place::new();
        Self { origin, place }
    }

    pub(super) fn url(&self) -> String {
        self.origin.url("/file.bin")
    }

    /// Downloads the file, with [`FLAGS`] and these.
    #[track_caller]
    pub(super) fn tur(&self, args: &[&str], code: i32) -> Ran {
        let url = self.url();
        self.place
            .tur(&[&FLAGS, args, &[&url]].concat())
            .ends_with(code)
    }

    /// Begins to download the file, with [`FLAGS`], these and `--json`.
    pub(super) fn start(&self, args: &[&str]) -> Running {
        let url = self.url();
        self.place.start(&[&FLAGS, args, &[&url]].concat())
    }

    /// The whole file, of this version, and nothing beside it.
    #[track_caller]
    pub(super) fn file(&self, version: u8, size: u64) {
        self.place.check(NAME, version, size);
        assert_eq!(self.place.names(), [NAME]);
    }

    /// Nothing: neither file nor part nor journal.
    #[track_caller]
    pub(super) fn nothing(&self) {
        assert_eq!(self.place.names(), [""; 0]);
    }

    /// No file, and what landed kept with its journal.
    #[track_caller]
    pub(super) fn part(&self) {
        assert_eq!(self.place.names(), ["file.bin.part", "file.bin.tur"]);
    }

    /// The row ends well: exit code 0 and the whole file of version 0.
    #[track_caller]
    pub(super) fn succeeds(self) -> (Self, Ran) {
        let ran = self.tur(&[], 0);
        self.file(0, SIZE);
        (self, ran)
    }

    /// The row ends in this exit code and with nothing left, and says why.
    #[track_caller]
    pub(super) fn refused(self, code: i32, why: &str) -> (Self, Ran) {
        let ran = self.tur(&[], code);
        self.nothing();
        ran.says(why);
        (self, ran)
    }

    /// Ends the program by a signal once so much of a slow body has landed; says how it ended.
    pub(super) fn stopped_at(&self, landed: u64, signal: rustix::process::Signal) -> Ran {
        let mut running = self.start(&[]);
        running.wait_for_landed(landed);
        running.signal(signal);
        running.end()
    }

    /// `kill -9` in the middle of [`slow`]: part and journal are left.
    #[track_caller]
    pub(super) fn killed(self) -> Self {
        let ran = self.stopped_at(SIZE / 2, rustix::process::Signal::KILL);
        assert_eq!(ran.code, None, "{ran:?}");
        self.part();
        self
    }

    /// The part, as somebody else opens it.
    pub(super) fn open_part(&self) -> std::fs::File {
        let mut options = std::fs::File::options();
        let part = options.write(true).open(self.place.file("file.bin.part"));
        part.expect("it is kept")
    }

    /// Gives the origin another behaviour for its file.
    pub(super) fn then(self, behaviour: Behaviour) -> Self {
        self.origin.swap("/file.bin", behaviour);
        self
    }
}

impl Ran {
    /// Asserts that standard error contains a text.
    #[track_caller]
    pub(super) fn says(&self, text: &str) {
        assert!(self.stderr.contains(text), "no {text:?}: {self:?}");
    }
}
