//! One download as it was asked for, checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tur_core::port::Field;
use tur_core::{Rate, Target};
use tur_http::{RedirectPolicy, SafeName, Terms};
use tur_sched::{OnChange, Priority, RetryPolicy, Schedule, SpeedFloor};
use tur_storage::{FileName, Stay};

use crate::passport::SignIn;
use crate::reading::Core;
use crate::{Checksum, OnExists};

/// Where the file goes.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    /// A name that the user gave.
    File {
        /// Its directory.
        dir: PathBuf,
        /// Its name.
        name: FileName,
        /// Whether the directory is made.
        create: bool,
    },
    /// A name made of the answer or the URL, in this directory, which is made.
    Directory(PathBuf),
}

/// What to download and how.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) target: Target,
    pub(crate) destination: Destination,
    pub(crate) lanes_max: u16,
    pub(crate) lanes_start: Option<u16>,
    pub(crate) priority: Priority,
    pub(crate) schedule: Schedule,
    pub(crate) piece_min: Option<u64>,
    pub(crate) retry: RetryPolicy,
    pub(crate) limit: Option<Rate>,
    pub(crate) read_timeout: Duration,
    pub(crate) max_time: Option<Duration>,
    pub(crate) speed_floor: Option<SpeedFloor>,
    pub(crate) on_exists: OnExists,
    pub(crate) on_change: OnChange,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) keep_remote_time: bool,
    /// What answers must be.
    pub(crate) terms: Terms,
    /// A file whose digest differs is kept beside its name.
    pub(crate) keep_bad: bool,
    /// For the first origin only: credentials and whatever else the user adds.
    pub(crate) fields: Vec<Field>,
    pub(crate) sign_in: SignIn,
    pub(crate) redirects: RedirectPolicy,
    pub(crate) seed: u64,
    /// How long its files stay.
    pub(crate) stay: Stay,
    /// Who reads it while it arrives.
    pub(crate) reading: Option<Arc<Core>>,
}

impl Job {
    /// Directory, name and whether the directory is made, as far as they are known before an answer.
    pub(crate) fn first_place(&self) -> (PathBuf, FileName, bool) {
        match &self.destination {
            Destination::File { dir, name, create } => (dir.clone(), name.clone(), *create),
            Destination::Directory(dir) => (
                dir.clone(),
                derived(&SafeName::of(None, &self.target)),
                true,
            ),
        }
    }

    /// True if the name may still change with the answer.
    pub(crate) fn name_is_derived(&self) -> bool {
        matches!(self.destination, Destination::Directory(_))
    }
}

/// The name of a file that the network named: a [`SafeName`] is the only way from there to a path.
pub(crate) fn derived(name: &SafeName) -> FileName {
    FileName::new(name.as_str()).expect("a safe name is one component")
}
