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
    /// Of a [`Live`](crate::Live): the reader did not keep up, and so many bytes are gone. The next read goes on with the oldest
    /// that is there.
    Lagged {
        /// How many it has not read.
        missed: u64,
    },
    /// Of a [`Live`](crate::Live): what follows came over another connection. The next read goes on with it.
    Broken,
    /// Of a [`Live`](crate::Live): this position is not there, or not yet.
    Outside {
        /// The oldest byte that is there.
        start: u64,
        /// Where the next one will stand.
        end: u64,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Download(error) => error.fmt(f),
            ReadError::Interrupted => f.write_str("the reader was interrupted"),
            ReadError::Lagged { missed } => write!(f, "{missed} bytes were not read in time"),
            ReadError::Broken => f.write_str("the stream was connected anew here"),
            ReadError::Outside { start, end } => {
                write!(f, "only positions from {start} to {end} are there")
            }
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Download(error) => Some(error),
            _ => None,
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
            ReadError::Interrupted | ReadError::Lagged { .. } | ReadError::Broken => {
                io::ErrorKind::Other
            }
            ReadError::Outside { .. } => io::ErrorKind::InvalidInput,
            ReadError::Download(error) => match error.kind() {
                Kind::Signal => io::ErrorKind::ConnectionAborted,
                Kind::Changed | Kind::Checksum => io::ErrorKind::InvalidData,
                _ => io::ErrorKind::Other,
            },
        };
        io::Error::new(kind, error)
    }
}
