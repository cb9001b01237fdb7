//! Credentials from a netrc file, as `ftp` has them and other programs read them.
//!
//! Read [`Netrc::parse`]. Words are divided by white space; one in double quotes may hold spaces, and `\"`, `\\`, `\n`, `\r`,
//! `\t` in it. A `#` at the beginning of a word comments the rest of its line out, except where a value is due. A `macdef` ends
//! with an empty line.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use tur_core::Secret;

use crate::Userinfo;
use crate::host::ascii_name;

/// The entries of a netrc file, in their order.
#[derive(Debug, Default)]
pub struct Netrc {
    entries: Vec<Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    /// In lower case and in its ASCII form; `None` for `default`.
    machine: Option<String>,
    login: Secret,
    password: Secret,
}

/// What is wrong with a netrc file, and in which line. It shows nothing of what the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetrcError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for NetrcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl core::error::Error for NetrcError {}

/// Longer files are refused: who has more machines than that has something else.
pub const NETRC_BYTES_MAX: usize = 1024 * 1024;

impl Netrc {
    /// Reads a file.
    ///
    /// # Errors
    /// It is too long, a word is none that a netrc file has, or its value is missing.
    pub fn parse(text: &str) -> Result<Self, NetrcError> {
        if text.len() > NETRC_BYTES_MAX {
            return Err(NetrcError {
                line: 1,
                what: "the file is longer than 1 MiB",
            });
        }
        let mut words = Words {
            rest: text,
            line: 1,
        };
        let mut netrc = Self::default();
        while let Some(word) = words.next(true)? {
            let last = netrc.entries.last_mut();
            match (&*word, last) {
                ("machine", _) => {
                    let name = ascii_name(&words.value()?);
                    netrc.begin(Some(name));
                }
                ("default", _) => netrc.begin(None),
                ("login", Some(entry)) => entry.login = words.value()?.into(),
                ("password", Some(entry)) => entry.password = words.value()?.into(),
                // Of no use to HTTP.
                ("account", Some(_)) => drop(words.value()?),
                ("macdef", _) => words.skip_macro(),
                ("login" | "password" | "account", None) => {
                    return Err(words.error("no machine stands before this"));
                }
                _ => return Err(words.error("a word that a netrc file does not have")),
            }
        }
        Ok(netrc)
    }

    /// The credentials for a host (IPv6 in brackets or without, an international name in either form); with `user`, only those
    /// of that user. The first entry that fits counts, and `default` fits all behind it.
    #[must_use]
    pub fn find(&self, host: &str, user: Option<&str>) -> Option<Userinfo> {
        let host = ascii_name(host);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let fits = |entry: &&Entry| {
            let machine = entry.machine.as_deref();
            let here = machine.is_none_or(|name| name == host || name == bare);
            here && user.is_none_or(|user| entry.login.expose() == user.as_bytes())
        };
        let entry = self.entries.iter().find(fits)?;
        Some(Userinfo {
            user: entry.login.clone(),
            password: entry.password.clone(),
        })
    }

    fn begin(&mut self, machine: Option<String>) {
        self.entries.push(Entry {
            machine,
            ..Entry::default()
        });
    }
}

/// The words of a file.
struct Words<'a> {
    rest: &'a str,
    line: usize,
}

impl Words<'_> {
    fn error(&self, what: &'static str) -> NetrcError {
        NetrcError {
            line: self.line,
            what,
        }
    }

    fn value(&mut self) -> Result<String, NetrcError> {
        let missing = self.error("a value is missing at the end");
        self.next(false)?.ok_or(missing)
    }

    fn next(&mut self, comments: bool) -> Result<Option<String>, NetrcError> {
        loop {
            let trimmed = self.rest.trim_start();
            let space = &self.rest[..self.rest.len() - trimmed.len()];
            self.line += space.matches('\n').count();
            self.rest = trimmed;
            if !(comments && self.rest.starts_with('#')) {
                break;
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.rest = &self.rest[end..];
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        if let Some(quoted) = self.rest.strip_prefix('"') {
            return self.quoted(quoted.len()).map(Some);
        }
        let end = self.rest.find(char::is_whitespace);
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        Ok(Some(word.into()))
    }

    /// A word in quotes; `left` bytes follow the first quote.
    fn quoted(&mut self, left: usize) -> Result<String, NetrcError> {
        let text = &self.rest[self.rest.len() - left..];
        let mut word = String::new();
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &text[at + 1..];
                    return Ok(word);
                }
                '\n' => break,
                '\\' => word.extend(chars.next().map(|(_, c)| match c {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    c => c,
                })),
                c => word.push(c),
            }
        }
        Err(self.error("a quote is not closed in its line"))
    }

    /// A macro ends with an empty line.
    fn skip_macro(&mut self) {
        let mut lines = self.rest.split_inclusive('\n');
        let mut len = 0;
        // The first line has its name.
        for (n, line) in lines.by_ref().enumerate() {
            len += line.len();
            self.line += line.matches('\n').count();
            if n > 0 && line.trim().is_empty() {
                break;
            }
        }
        self.rest = &self.rest[len..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str, host: &str, user: Option<&str>) -> Option<(String, String)> {
        let netrc = Netrc::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let show = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
        let info = netrc.find(host, user)?;
        Some((show(&info.user), show(&info.password)))
    }

    #[test]
    fn the_first_entry_that_fits_counts() {
        let file = "# mine\nmachine a.example login me password \"p w\\\"\\\\\"  # no more\n\
            machine A.example\n\tlogin you\n\tpassword #2\n\
            macdef init\ncd /x\nmachine nobody\n\nmachine ::1 login v6 account x password six\n\
            default login anonymous password guest\nmachine late.example login never password seen\n";
        for (host, user, told) in [
            ("a.example", None, Some(("me", "p w\"\\"))),
            ("A.EXAMPLE", Some("you"), Some(("you", "#2"))),
            ("a.example", Some("other"), None),
            ("[::1]", None, Some(("v6", "six"))),
            ("b.example", None, Some(("anonymous", "guest"))),
            ("nobody", None, Some(("anonymous", "guest"))),
            ("late.example", None, Some(("anonymous", "guest"))),
        ] {
            let told = told.map(|(user, password)| (user.into(), password.into()));
            assert_eq!(found(file, host, user), told, "{host} {user:?}");
        }
        let file = "machine BÜCHER.test login x password y\nmachine ü/b login x password y\n";
        let told = Some(("x".into(), "y".into()));
        assert_eq!(found(file, "xn--bcher-kva.test", None), told);
        assert_eq!(found(file, "bücher.test", None), told);
        assert_eq!(found(file, "xn--tda/b", None), None);
        assert_eq!(found("machine a login x password y", "aa", None), None);
        assert_eq!(found("", "a", None), None);
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_without_what_stands_there() {
        for (text, line) in [
            ("login s3cret", 1),
            ("\nmachine a\n s3cret", 3),
            ("machine a password", 1),
            ("machine a\nlogin\n\n", 2),
            ("machine a\npassword \"s3cret\n\"", 2),
            ("macdef x\nbody\n\nfoo", 4),
        ] {
            let error = Netrc::parse(text).expect_err(text);
            assert_eq!(error.line, line, "{text:?}");
            assert!(!std::format!("{error} {error:?}").contains("s3cret"));
        }
        assert!(Netrc::parse(&" ".repeat(NETRC_BYTES_MAX + 1)).is_err());
        let netrc = Netrc::parse("machine a login me password s3cret").expect("sound");
        assert!(!std::format!("{netrc:?}").contains("s3cret"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(machine |default |login |password |macdef |[a\"\\\\#\n é]){0,30}") {
            let lines = text.lines().count().max(1);
            if let Err(error) = Netrc::parse(&text) {
                prop_assert!((1..=lines).contains(&error.line));
            }
        }
    }
}
