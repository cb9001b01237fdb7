//! The keys of TLS connections as lines of text, in the format that network analysers read.

use std::fmt;

use crate::KeyLog;

/// Tells a [`KeyLog`] what rustls says.
#[derive(Debug)]
pub(super) struct Teller(pub(super) KeyLog);

impl rustls::KeyLog for Teller {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = format!("{label} {} {}\n", Hex(client_random), Hex(secret));
        self.0.tell(&line);
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
