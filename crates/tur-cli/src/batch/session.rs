//! A list of what is left of a run (`--save-session`), from which `-i` goes on.
//!
//! A [`Session`] is written as a whole beside its name and renamed, so that there is the old list or the new one; it is
//! readable by its owner alone, because fields of a list may be secret. Nothing is in it that was typed as a secret: no
//! field, no credential and no userinfo of the command line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use tur_engine::{Checksum, Kind};

use super::{Items, list::Key};

/// The file, and what its entries need that is not theirs.
#[derive(Debug)]
pub(crate) struct Session {
    path: PathBuf,
    /// Where a relative directory of an item stands.
    here: PathBuf,
    /// The directory of items that have none.
    dir: PathBuf,
    /// File and digest of the only item, if the command line gives them.
    out: Option<String>,
    checksum: Option<String>,
}

impl Session {
    /// A session in this file, of a run in the directory `here` whose files go to `dir`.
    ///
    /// # Errors
    /// A sentence about a path that a list cannot hold.
    pub(crate) fn new(path: PathBuf, here: PathBuf, dir: Option<&Path>) -> Result<Self, String> {
        let dir = dir.map_or_else(|| here.clone(), |dir| here.join(dir));
        for dir in [&here, &dir] {
            written(dir)?;
        }
        Ok(Self {
            path,
            here,
            dir,
            out: None,
            checksum: None,
        })
    }

    /// What the command line says of its only URL.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn of_one(
        mut self,
        out: Option<&Path>,
        checksum: Option<&Checksum>,
    ) -> Result<Self, String> {
        self.out = out.map(written).transpose()?.map(str::to_owned);
        self.checksum = checksum.map(Checksum::to_string);
        Ok(self)
    }

    /// Writes the items that are left. The file is empty if none is. A symbolic link is not followed, and nothing but a plain
    /// file is replaced.
    ///
    /// # Errors
    /// What kind of failure it is, and a sentence. The file is then as it was.
    pub(crate) fn save(&self, items: &Items, left: &[bool]) -> Result<(), (Kind, String)> {
        self.replace(items, left).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => Kind::DiskFull,
                _ => Kind::Local,
            };
            (
                kind,
                format!("--save-session {}: {error}", self.path.display()),
            )
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a list in the user's own place, no download: written beside its name and renamed"
    )]
    fn replace(&self, items: &Items, left: &[bool]) -> io::Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if !found.is_file() => {
                return Err(io::Error::other("it is there and is not a plain file"));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let new = self.beside()?;
        // An earlier run may have been killed while it wrote.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = private(&new)
            .and_then(|file| self.fill(file, items, left))
            .and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            // It says why; what is left of the attempt would not.
            fs::remove_file(&new).ok();
        }
        written
    }

    fn fill(&self, file: File, items: &Items, left: &[bool]) -> io::Result<()> {
        let mut out = BufWriter::new(file);
        let mut left = (0..items.len()).filter(|n| left[*n]).peekable();
        if left.peek().is_some() {
            out.write_all(HEAD.as_bytes())?;
        }
        for n in left {
            out.write_all(self.entry(items, n).as_bytes())?;
        }
        out.into_inner()?.sync_all()
    }

    /// The lines of an item.
    fn entry(&self, items: &Items, n: usize) -> String {
        let mut dir = self.dir.clone();
        let mut lines = Vec::new();
        match items.options(n) {
            Some(options) => {
                lines.push(items.url(n).to_owned());
                for (key, value) in options {
                    match key {
                        Key::Dir => dir = self.here.join(value),
                        key => lines.push(option(key, value)),
                    }
                }
            }
            None => {
                lines.push(without_userinfo(items.url(n)));
                let given = [(Key::Out, &self.out), (Key::Checksum, &self.checksum)];
                let given = given
                    .into_iter()
                    .filter_map(|(key, value)| Some(option(key, value.as_ref()?)));
                lines.extend(given);
            }
        }
        lines.push(option(Key::Dir, &dir.to_string_lossy()));
        lines.join("\n") + "\n"
    }

    fn beside(&self) -> io::Result<PathBuf> {
        let name = self.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut name = name.to_owned();
        name.push(".new");
        Ok(self.path.with_file_name(name))
    }
}

fn option(key: Key, value: &str) -> String {
    format!("  {}={value}", key.as_str())
}

/// The path as a line of a list can hold it.
fn written(path: &Path) -> Result<&str, String> {
    path.to_str()
        .filter(|text| text.trim() == *text && !text.contains(char::is_control))
        .ok_or_else(|| {
            format!(
                "--save-session: a list cannot hold the path {}",
                path.display()
            )
        })
}

/// A file that nobody else may read, and that was not there.
fn private(path: &Path) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut how, 0o600);
    how.open(path)
}

/// A typed URL as one line, without what stands before an `@` in its authority. As the URL standard reads it: tabs and line
/// ends do not count, and any number of slashes of either kind begins the authority.
fn without_userinfo(url: &str) -> String {
    let url: String = url
        .chars()
        .filter(|c| !matches!(c, '\t' | '\r' | '\n'))
        .collect();
    let url = url.trim();
    let Some((scheme, rest)) = url.split_once(':') else {
        return url.to_owned();
    };
    let rest = rest.trim_start_matches(['/', '\\']);
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// What stands first in a session that is not empty.
const HEAD: &str = "# What tur has not finished. To go on: tur -i and the name of this file.\n";

#[cfg(test)]
mod tests {
    use super::super::List;
    use super::*;

    fn items(typed: &[&str], list: &str) -> Items {
        let typed = typed.iter().map(|url| (*url).to_owned()).collect();
        let list = List::parse("l", list.to_owned()).expect("it is well formed");
        Items::new(typed, Some(list))
    }

    fn session(dir: Option<&str>) -> Session {
        Session::new("s".into(), "/here".into(), dir.map(Path::new)).expect("paths are plain")
    }

    #[test]
    fn an_entry_has_its_options_and_the_whole_directory() {
        let items = items(
            &["http://me:hunter2@h/t?q=a@b"],
            "http://u:p@h/a\n dir=x\n header=A: b\n# c\n out=o\nhttp://h/b\n\tdir=/abs\nhttp://h/c",
        );
        for (dir, n, lines) in [
            (None, 0, "http://h/t?q=a@b\n  dir=/here\n"),
            (Some("d"), 0, "http://h/t?q=a@b\n  dir=/here/d\n"),
            (
                Some("d"),
                1,
                "http://u:p@h/a\n  header=A: b\n  out=o\n  dir=/here/x\n",
            ),
            (Some("d"), 2, "http://h/b\n  dir=/abs\n"),
            (Some("/d"), 3, "http://h/c\n  dir=/d\n"),
        ] {
            assert_eq!(session(dir).entry(&items, n), lines);
        }
    }

    #[test]
    fn what_is_written_is_read_as_what_it_was() {
        let items = items(
            &["http://h/t"],
            "http://h/a\n header=A: b\n out=o p\n dir=d\n",
        );
        let session = session(Some("d"));
        let entries: String = (0..2).map(|n| session.entry(&items, n)).collect();
        let list = List::parse("s", HEAD.to_owned() + &entries).expect("it is a list");
        let again = Items::new(Vec::new(), Some(list));
        let texts: Vec<_> = (0..2).map(|n| session.entry(&again, n)).collect();
        assert_eq!(texts.concat(), entries);
    }

    #[test]
    fn no_spelling_of_a_url_saves_its_userinfo() {
        for (url, saved) in [
            ("http://h/a", "http://h/a"),
            ("http://me:hunter2@h/a", "http://h/a"),
            ("http:me:hunter2@h/a", "http://h/a"),
            ("http:/\\hunter2@h", "http://h"),
            ("ht\ntp://hun\tter2@x@h:1/a\n@b", "http://h:1/a@b"),
            (" http://hunter2@h?x=/@ ", "http://h?x=/@"),
        ] {
            assert_eq!(without_userinfo(url), saved);
        }
    }

    #[test]
    fn a_path_that_no_line_can_hold_is_refused() {
        for dir in ["a\nb", " a", "/a\u{7f}"] {
            let session = Session::new("s".into(), "/here".into(), Some(Path::new(dir)));
            // A relative one is in the middle of the whole.
            assert_eq!(session.is_ok(), dir == " a", "{dir:?}");
        }
        let one = session(None).of_one(Some(Path::new("a ")), None);
        assert!(one.is_err());
    }
}
