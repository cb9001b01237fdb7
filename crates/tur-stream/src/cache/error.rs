//! Why a cache has no place for an asset: [`CacheError`].

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use tur_engine::Error;

/// What is wrong with a [`Cache`](crate::Cache), or with what it was asked for.
#[derive(Debug)]
pub enum CacheError {
    /// The URL cannot be used.
    Url(Error),
    /// Something stands where the asset belongs, and it is not the cache's.
    Foreign {
        /// What that is.
        path: PathBuf,
    },
    /// Another process has been removing this asset for seconds, and has not come to an end.
    Busy {
        /// Its sub-directory.
        path: PathBuf,
    },
    /// The disk refused.
    Disk {
        /// What was tried: a verb.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

impl CacheError {
    /// For `map_err`.
    pub(super) fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| CacheError::Disk {
            doing,
            path,
            source,
        }
    }
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CacheError::Url(error) => error.fmt(f),
            CacheError::Foreign { path } => {
                write!(f, "{}: not of this cache, and in its way", path.display())
            }
            CacheError::Busy { path } => {
                write!(f, "{}: being removed by another process", path.display())
            }
            CacheError::Disk {
                doing,
                path,
                source,
            } => write!(f, "cannot {doing} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for CacheError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CacheError::Url(error) => Some(error),
            CacheError::Disk { source, .. } => Some(source),
            CacheError::Foreign { .. } | CacheError::Busy { .. } => None,
        }
    }
}
