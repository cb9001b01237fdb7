//! What nobody may see: credentials, tokens, the values of request fields.
//!
//! [`Secret`] holds such bytes. Neither `Debug` nor `Display` shows them, so no log, event, message or panic does;
//! whoever sends them asks for them by name, with [`Secret::expose`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Bytes that are shown to nobody.
///
/// When it is dropped, its buffer is overwritten. That is an effort and no promise: copies that a library made of what
/// was exposed, or that the system swapped out, are out of reach.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes themselves: to send them, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// True if there is nothing to hide.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Bytes that are freed next would not have to be written otherwise.
        core::hint::black_box(&mut self.0);
    }
}

/// The same for every secret, so that not even its length is told.
const REDACTED: &str = "[redacted]";

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn it_is_shown_to_those_alone_who_ask_by_name() {
        for secret in [
            Secret::from("hunter2"),
            Secret::from(String::from("hunter2")),
            Secret::from(b"hunter2".to_vec()),
            Secret::default(),
        ] {
            let shown = format!("{secret} {secret:?} {secret:#?} {:?}", Some(&secret));
            assert_eq!(shown, "[redacted] [redacted] [redacted] Some([redacted])");
        }
        assert_eq!(Secret::from("hunter2").expose(), b"hunter2");
        assert!(Secret::default().is_empty() && !Secret::from("x").is_empty());
    }
}
