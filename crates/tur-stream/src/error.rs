//! Why a read failed: [`ReadError`], inside of the [`io::Error`] that `Read` demands.

use std::fmt;
use std::io;

use tur_engine::{Error, Kind};

/// What is inside of the [`io::Error`] of a reader: `error.get_ref()` and a downcast lead to it.
#[derive(Clone, Debug)]
pub enum ReadError {
    /// The download ended without the file, or the file is another one by now ([`Kind::Changed`]).
    Download(Error),
    /// Somebody has interrupted this reader ([`Interrupt`](crate::Interrupt)); others go on.
    Interrupted,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Download(error) => error.fmt(f),
            ReadError::Interrupted => f.write_str("the reader was interrupted"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Download(error) => Some(error),
            ReadError::Interrupted => None,
        }
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        ReadError::Download(error)
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        // Never `Interrupted`, which callers such as `read_exact` take for "call again".
        let kind = match &error {
            ReadError::Interrupted => io::ErrorKind::Other,
            ReadError::Download(error) => match error.kind() {
                Kind::Signal => io::ErrorKind::ConnectionAborted,
                Kind::Changed | Kind::Checksum => io::ErrorKind::InvalidData,
                _ => io::ErrorKind::Other,
            },
        };
        io::Error::new(kind, error)
    }
}
