//! What can go wrong with files, by cause.

use std::io;
use std::path::PathBuf;

use tur_core::{Kind, RangeSet};

/// Why a file could not be opened, written, vouched for or put in place. One line, with the path and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Another process holds the lock.
    #[error("{} is already being downloaded{}: wait for it, or choose another name", path.display(), pid_text(*pid))]
    Busy {
        /// The part.
        path: PathBuf,
        /// Who holds it, where the journal tells.
        pid: Option<u32>,
    },
    /// Another process changes a state file, and went on for longer than the caller waits.
    #[error("{} is held by another process: try again later", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A file under our name that no journal vouches for.
    #[error("{} exists and is not ours: move it away or choose another name", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A name that is not a plain file.
    #[error("{} is {what}, not a plain file: choose another name", path.display())]
    NotRegular {
        /// The name.
        path: PathBuf,
        /// What it is, with its article.
        what: &'static str,
    },
    /// The target exists and may not be replaced.
    #[error("{} exists: choose another name, or allow it to be overwritten", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// There is nothing to go on with.
    #[error("nothing of {} stands unfinished: give its URL to begin it", path.display())]
    NotBegun {
        /// The target.
        path: PathBuf,
    },
    /// Not one component of a path.
    #[error("{name:?} cannot be a file name")]
    BadName {
        /// The name.
        name: String,
    },
    /// A journal of a format this version does not know.
    #[error("{} has format {version}, which this version cannot read: use the version that wrote it, or remove the file to begin again", path.display())]
    Version {
        /// The journal.
        path: PathBuf,
        /// Its format.
        version: u16,
    },
    /// A state file that is not what was written: cut, or changed by somebody.
    #[error("{} is damaged: nothing in it is used", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The file system cannot hold the file.
    #[error("no space: need {} bytes more on {}, where {need} are wanted and {available} are free", need.saturating_sub(*available), path.display())]
    NoSpace {
        /// The directory.
        path: PathBuf,
        /// Bytes needed.
        need: u64,
        /// Bytes free.
        available: u64,
    },
    /// The process may not write a file so large.
    #[error("file size limit: {} needs {need} bytes and files may have {limit}", path.display())]
    FileLimit {
        /// The part.
        path: PathBuf,
        /// Bytes needed.
        need: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The name does not lead to our file any more.
    #[error("{} was removed or replaced by somebody else", path.display())]
    Replaced {
        /// The part.
        path: PathBuf,
    },
    /// A commit without all bytes, or of a file that was cut: nothing was renamed.
    #[error("{} is not complete: {} bytes are missing", path.display(), missing.len())]
    Incomplete {
        /// The part.
        path: PathBuf,
        /// What must be fetched again.
        missing: RangeSet,
    },
    /// A sync failed: these bytes may be gone and are not covered any more.
    #[error("cannot sync {}: {source}; {} bytes must be fetched again", path.display(), lost.len())]
    Lost {
        /// The part.
        path: PathBuf,
        /// What must be fetched again.
        lost: RangeSet,
        /// What the system said.
        source: io::Error,
    },
    /// The journal could not be brought up to date before: nothing more is written.
    #[error("{} cannot be kept up to date: start the download again", path.display())]
    JournalBroken {
        /// The journal.
        path: PathBuf,
    },
    /// The journal is as long as it may be. Nothing is lost: what it does not tell yet is told once it is written anew.
    #[error("{} is full: what was written last is not on record yet", path.display())]
    JournalFull {
        /// The journal.
        path: PathBuf,
    },
    /// Bytes of a passing file that were given back after they were read.
    #[error("{}: what stands before {before} was given back, and cannot be read again", path.display())]
    GivenBack {
        /// The part.
        path: PathBuf,
        /// What stands from here on can be read.
        before: u64,
    },
    /// The caller broke a rule; nothing was done.
    #[error("{}: {rule}", path.display())]
    Rule {
        /// The part.
        path: PathBuf,
        /// The rule.
        rule: &'static str,
    },
    /// A call failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StorageError {
    /// How the failure is reported.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            StorageError::Busy { .. } | StorageError::Locked { .. } => Kind::Busy,
            StorageError::NoSpace { .. } | StorageError::FileLimit { .. } => Kind::DiskFull,
            StorageError::Foreign { .. }
            | StorageError::NotRegular { .. }
            | StorageError::Exists { .. }
            | StorageError::NotBegun { .. }
            | StorageError::BadName { .. }
            | StorageError::Version { .. }
            | StorageError::Damaged { .. }
            | StorageError::JournalBroken { .. }
            | StorageError::JournalFull { .. }
            | StorageError::Replaced { .. } => Kind::Local,
            StorageError::Incomplete { .. }
            | StorageError::GivenBack { .. }
            | StorageError::Rule { .. } => Kind::Other,
            StorageError::Lost { source, .. } | StorageError::Io { source, .. } => io_kind(source),
        }
    }
}

/// A full disk is told from every other trouble with a file.
fn io_kind(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Kind::DiskFull
        }
        _ => Kind::Local,
    }
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}
