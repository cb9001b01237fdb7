//! The keys of TLS connections in a file, for whoever debugs their own traffic (`SSLKEYLOGFILE`).

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustls::KeyLog;

/// A file that keys are appended to.
pub(super) struct KeyFile(Mutex<File>);

impl KeyFile {
    /// Opens or makes the file; one that is made can be read by its owner alone. Comes with what the user should be told.
    ///
    /// # Errors
    /// What the user should be told: that nothing is written. No download fails for it.
    pub(super) fn open(path: &Path) -> Result<(Self, String), String> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let shown = path.display();
        match options.open(path) {
            Ok(file) => {
                let note = format!(
                    "the keys of TLS connections are written to {shown}: who reads it can read all that is sent"
                );
                Ok((Self(Mutex::new(file)), note))
            }
            Err(error) => Err(format!(
                "the keys of TLS connections cannot be written to {shown} ({error})"
            )),
        }
    }
}

impl KeyLog for KeyFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = format!("{label} {} {}\n", Hex(client_random), Hex(secret));
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One write a line, so that lines of several processes do not mix.
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "a TLS key was not written");
        }
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFile")
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
