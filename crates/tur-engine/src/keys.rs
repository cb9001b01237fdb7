//! The keys of TLS connections in a file (`SSLKEYLOGFILE`), for whoever debugs their own traffic.
//!
//! Read [`open`].

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tur_net::KeyLog;

/// Opens or makes the file; one that is made can be read by its owner alone. Comes with what the user must be told: also if it
/// cannot be opened, for which no download fails.
pub(crate) fn open(path: &Path) -> (Option<KeyLog>, String) {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let shown = path.display();
    let file = match options.open(path) {
        Ok(file) => Mutex::new(file),
        Err(error) => {
            let text = format!("the keys of TLS connections cannot be written to {shown}: {error}");
            return (None, text);
        }
    };
    let log = KeyLog::new(move |line| {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // One write a line, so that lines of several processes do not mix.
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "a TLS key was not written");
        }
    });
    let text = format!(
        "the keys of TLS connections are written to {shown}: who reads it can read all that is sent"
    );
    (Some(log), text)
}
