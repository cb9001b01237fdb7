//! Why a download failed, as its caller sees it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tur_core::{Challenge, Kind};
use tur_sched::Failure;
use tur_storage::StorageError;

/// A download that failed. Displays as one line; it may quote bytes from the network, so pass it through
/// [`printable`](crate::printable) before it reaches a terminal.
#[derive(Clone, Debug)]
pub struct Error {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    url: String,
    retry_after: Option<Duration>,
    challenge: Option<Challenge>,
    source: Option<StorageError>,
}

impl Error {
    /// A failure of the caller's own with what a download brought, to be told as one of the download is.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            inner: Arc::new(Inner {
                kind,
                message,
                url: String::new(),
                retry_after: None,
                challenge: None,
                source: None,
            }),
        }
    }

    pub(crate) fn cancelled() -> Self {
        Self::new(Kind::Signal, "interrupted")
    }

    pub(crate) fn with_url(self, url: &str) -> Self {
        match Arc::try_unwrap(self.inner) {
            Ok(inner) => Self {
                inner: Arc::new(Inner {
                    url: url.to_owned(),
                    ..inner
                }),
            },
            Err(inner) => Self { inner },
        }
    }

    /// What kind of failure it is: stable, and the program's exit code.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// What the origin asked to wait, if that is why.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// What came instead of the file, if that is why.
    #[must_use]
    pub fn challenge(&self) -> Option<Challenge> {
        self.inner.challenge
    }

    /// The URL, without userinfo.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.inner.url
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner
            .source
            .as_ref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl From<StorageError> for Error {
    fn from(source: StorageError) -> Self {
        let (kind, message) = (source.kind(), source.to_string());
        let inner = Inner {
            kind,
            message,
            url: String::new(),
            retry_after: None,
            challenge: None,
            source: Some(source),
        };
        Self {
            inner: Arc::new(inner),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Failure {
            kind,
            message,
            retry_after,
            challenge,
            ..
        } = failure;
        Self {
            inner: Arc::new(Inner {
                kind,
                message,
                url: String::new(),
                retry_after,
                challenge,
                source: None,
            }),
        }
    }
}
