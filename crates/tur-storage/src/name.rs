//! The name of a file: one component, whoever made it.
//!
//! [`FileName`] is what [`Place`](crate::Place) takes, and nothing else becomes a path below its directory.

use std::fmt;

use crate::StorageError;

/// A name in a directory. It cannot lead anywhere else: it is not empty, not `.` or `..`, and has no separator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileName(String);

impl FileName {
    /// Checks a name.
    ///
    /// # Errors
    /// `BadName` if it is more or less than one component.
    pub fn new(name: &str) -> Result<Self, StorageError> {
        let forbidden =
            |c: char| c == '/' || c == '\0' || (cfg!(windows) && matches!(c, '\\' | ':'));
        if name.is_empty() || name == "." || name == ".." || name.contains(forbidden) {
            return Err(StorageError::BadName {
                name: name.to_owned(),
            });
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Component, Path};

    #[test]
    fn a_name_is_one_component() {
        for name in ["", ".", "..", "a/b", "/", "/etc/x", "a/", "nul\0"] {
            let error = FileName::new(name).expect_err(name);
            assert!(matches!(error, StorageError::BadName { .. }), "{error}");
        }
        for name in ["a", "...", ".a", "a b", "-rf", "\u{202e}"] {
            assert_eq!(FileName::new(name).expect(name).as_str(), name);
        }
    }

    /// All text of one and of two bytes that is ASCII, and some of three.
    #[test]
    fn what_is_taken_stays_in_its_directory() {
        let ascii = || (0..128_u8).map(char::from);
        let pairs = ascii().flat_map(|a| ascii().map(move |b| String::from_iter([a, b])));
        let around = ascii().flat_map(|a| [format!(".{a}."), format!("{a}..")]);
        for name in ascii().map(String::from).chain(pairs).chain(around) {
            let Ok(taken) = FileName::new(&name) else {
                continue;
            };
            let mut components = Path::new(taken.as_str()).components();
            let one =
                matches!(components.next(), Some(Component::Normal(only)) if only == name.as_str());
            assert!(one && components.next().is_none(), "{name:?}");
        }
    }
}
