//! How a media is opened: [`Options`].

use std::path::PathBuf;

use tur_engine::{Download, Priority, Stay};

/// What is fetched of a file that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// All of it: what readers want first, then the rest.
    #[default]
    All,
    /// Only what lies within the look-ahead of a reader: then the lanes rest until one reads on. Such a download is
    /// complete only when readers have been everywhere. An origin without ranges has one stream,
    /// which waits at the end of the look-ahead where what comes passes ([`Place::Passing`]), and brings all of it elsewhere.
    Window,
}

/// Where the data of a media lives. What is to be kept within a quota is opened by a [`Cache`](crate::Cache); what has no end, and is
/// to be kept in memory alone, is a [`Live`](crate::Live).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In a file that stays: with part and journal while it comes, so that another run goes on with it.
    #[default]
    File,
    /// In a file without a name, on the file system of the directory: it can be sought in for as long as the media is open, and is
    /// gone with it, or with the process, a `kill -9` included.
    Temporary,
    /// As `Temporary`, for one reading in order: what [`Media::passed`](crate::Media::passed) names is given back to the file
    /// system, so that with [`Fill::Window`] a file may be larger than the disk. To be read again is an error then.
    Passing,
}

/// How much a media matters beside others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// Somebody waits for it: its requests go before those of others, and it is never preempted.
    #[default]
    Active,
    /// It can wait.
    Background,
}

impl Activity {
    pub(crate) fn priority(self) -> Priority {
        match self {
            Activity::Active => Priority::High,
            Activity::Background => Priority::Low,
        }
    }
}

/// How a media is opened. Every setting has a default.
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    dir: Option<PathBuf>,
    file: Option<PathBuf>,
    place: Place,
    pub(crate) look_ahead: u64,
    pub(crate) fill: Fill,
    pub(crate) activity: Activity,
}

/// Default of [`Options::look_ahead`]: some seconds of a film, and enough for several lanes to be of use.
const LOOK_AHEAD: u64 = 8 << 20;
/// The least that is looked ahead: one lease.
pub(crate) const LOOK_AHEAD_MIN: u64 = 64 << 10;

impl Default for Options {
    fn default() -> Self {
        Self {
            dir: None,
            file: None,
            place: Place::default(),
            look_ahead: LOOK_AHEAD,
            fill: Fill::default(),
            activity: Activity::default(),
        }
    }
}

impl Options {
    /// The defaults: 8 MiB ahead, then all of the file, active.
    pub fn new() -> Self {
        Self::default()
    }

    /// The directory of the file; made if it is missing. Default: the current one.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The file; a relative one stands under the directory. Default: the name that the answer or the URL gives.
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Where its data lives. Default: in a file that stays.
    pub fn place(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// So many bytes ahead of each reader come before the rest, at least 64 KiB. Default: 8 MiB.
    pub fn look_ahead(mut self, bytes: u64) -> Self {
        self.look_ahead = bytes.max(LOOK_AHEAD_MIN);
        self
    }

    /// What is fetched beyond that. Default: all.
    pub fn fill(mut self, fill: Fill) -> Self {
        self.fill = fill;
        self
    }

    /// How much it matters at first. Default: active.
    pub fn activity(mut self, activity: Activity) -> Self {
        self.activity = activity;
        self
    }

    /// What of this a download has to know.
    pub(crate) fn apply(&self, download: Download) -> Download {
        let stay = match self.place {
            Place::File => Stay::Kept,
            Place::Temporary => Stay::Temporary,
            Place::Passing => Stay::Passing,
        };
        let mut download = download.priority(self.activity.priority()).stay(stay);
        if let Some(dir) = &self.dir {
            download = download.dir(dir);
        }
        if let Some(file) = &self.file {
            download = download.file(file);
        }
        download
    }
}
