//! A list of what is left of a run (`--save-session`), from which `-i` goes on.
//!
//! A [`Session`] is written as a whole beside its name and renamed, so that there is the old list or the new one; it is
//! readable by its owner alone, because fields of a list may be secret. Nothing is in it that was typed as a secret: no
//! field, no credential and no userinfo of the command line.
//!
//! While anything is left it also says of finished items which file they have become (`done`), where an item that is left may
//! come to the same name: it must not take that file for its own, because length and date agree.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use tur_engine::{Checksum, Kind};

use super::{Items, Tally, list::Key};
use crate::bounds::{LIST_BYTES, LIST_LINE_BYTES};

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
    pub(crate) fn save(&self, items: &Items, tally: &Tally) -> Result<(), (Kind, String)> {
        self.replace(items, tally).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::InvalidData => Kind::Usage,
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
    fn replace(&self, items: &Items, tally: &Tally) -> io::Result<()> {
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
            .and_then(|file| self.fill(file, items, tally))
            .and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            // It says why; what is left of the attempt would not.
            fs::remove_file(&new).ok();
        }
        written
    }

    fn fill(&self, file: File, items: &Items, tally: &Tally) -> io::Result<()> {
        let mut out = BufWriter::new(file);
        let mut len = 0;
        let mut write = |text: &str| {
            len += text.len() as u64;
            within(text, len)?;
            out.write_all(text.as_bytes())
        };
        let left = tally.left();
        let mut left = (0..items.len()).filter(|n| left[*n]).peekable();
        if left.peek().is_some() {
            write(HEAD)?;
            write(&self.dir_line(items))?;
            left.try_for_each(|n| write(&self.entry(items, n)))?;
            for (_, url, file) in items.made() {
                write(&made(url, file))?;
            }
            for (n, file) in tally.made() {
                let file = self.here.join(file);
                // What no line can hold has no name that an answer can give.
                if let Ok(file) = written(&file) {
                    write(&made(&url(items, *n), file))?;
                }
            }
        }
        out.into_inner()?.sync_all()
    }

    /// The directory of entries that have none.
    fn dir_of(&self, items: &Items) -> PathBuf {
        items
            .dir()
            .map_or_else(|| self.dir.clone(), |dir| self.here.join(dir))
    }

    fn dir_line(&self, items: &Items) -> String {
        option(Key::Dir, &self.dir_of(items).to_string_lossy()) + "\n"
    }

    /// The lines of an item.
    fn entry(&self, items: &Items, n: usize) -> String {
        let mut lines = vec![url(items, n)];
        match items.options(n) {
            Some(options) => lines.extend(options.map(|(_, key, value)| match key {
                Key::Dir => option(key, &self.here.join(value).to_string_lossy()),
                key => option(key, value),
            })),
            None => {
                let given = [(Key::Out, &self.out), (Key::Checksum, &self.checksum)];
                let given = given
                    .into_iter()
                    .filter_map(|(key, value)| Some(option(key, value.as_ref()?)));
                lines.extend(given);
                if self.dir != self.dir_of(items) {
                    lines.push(option(Key::Dir, &self.dir.to_string_lossy()));
                }
            }
        }
        lines.join("\n") + "\n"
    }

    fn beside(&self) -> io::Result<PathBuf> {
        let name = self.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut name = name.to_owned();
        name.push(".new");
        Ok(self.path.with_file_name(name))
    }
}

/// The line of an item's URL. One that was typed has no userinfo there.
fn url(items: &Items, n: usize) -> String {
    match items.options(n) {
        Some(_) => items.url(n).to_owned(),
        None => without_userinfo(items.url(n)),
    }
}

/// The lines of an item that has become this file.
fn made(url: &str, file: &str) -> String {
    format!("{url}\n{}\n", option(Key::Done, file))
}

/// Refuses what no list may have: it could be written, and not be read again.
fn within(text: &str, len: u64) -> io::Result<()> {
    let longest = text.split('\n').map(str::len).max().unwrap_or_default();
    if len <= LIST_BYTES && longest as u64 <= LIST_LINE_BYTES {
        return Ok(());
    }
    let why = "with whole directories it is more than a list may be: divide the list into several";
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
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
    fn an_entry_has_its_options_and_no_directory_depends_on_where_it_is_read() {
        let list =
            "http://u:p@h/a\n dir=x\n header=A: b\n# c\n out=o\nhttp://h/b\n\tdir=/abs\nhttp://h/c";
        let typed = "http://me:hunter2@h/t?q=a@b";
        let with_dir = format!(" dir=l\n{list}");
        for (list, dir, lines) in [
            (list, None, ["/here", "http://h/t?q=a@b\n"]),
            (list, Some("d"), ["/here/d", "http://h/t?q=a@b\n"]),
            (list, Some("/d"), ["/d", "http://h/t?q=a@b\n"]),
            (
                &with_dir,
                Some("d"),
                ["/here/l", "http://h/t?q=a@b\n  dir=/here/d\n"],
            ),
        ] {
            let items = items(&[typed], list);
            let session = session(dir);
            let [dir, typed] = lines;
            assert_eq!(session.dir_line(&items), format!("  dir={dir}\n"));
            assert_eq!(session.entry(&items, 0), typed);
            for (n, lines) in [
                (1, "http://u:p@h/a\n  dir=/here/x\n  header=A: b\n  out=o\n"),
                (2, "http://h/b\n  dir=/abs\n"),
                (3, "http://h/c\n"),
            ] {
                assert_eq!(session.entry(&items, n), lines);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_as_what_it_was() {
        let items = items(
            &["http://h/t"],
            "http://h/a\n header=A: b\n out=o p\n dir=d\n",
        );
        let text = |session: &Session, items: &Items| {
            let entries = (0..2).map(|n| session.entry(items, n));
            HEAD.to_owned() + &session.dir_line(items) + &entries.collect::<String>()
        };
        let saved = text(&session(Some("d")), &items);
        let list = List::parse("s", saved.clone()).expect("it is a list");
        let again = Items::new(Vec::new(), Some(list));
        assert_eq!(text(&session(Some("elsewhere")), &again), saved);
    }

    /// As many options as an entry may have, none of which is a directory.
    #[test]
    fn an_entry_gets_no_option_more_than_it_has() {
        let full =
            "http://h/a\n".to_owned() + &" header=A: b\n".repeat(crate::bounds::ITEM_OPTIONS);
        let items = items(&[], &full);
        let session = session(Some("d"));
        let saved = session.dir_line(&items) + &session.entry(&items, 0);
        assert!(List::parse("s", saved).is_ok());
    }

    #[test]
    fn what_no_list_may_have_is_not_written() {
        let line = "x".repeat(LIST_LINE_BYTES as usize);
        assert!(within(&line, LIST_BYTES).is_ok());
        for (text, len) in [(format!("{line}x"), 1), (line, LIST_BYTES + 1)] {
            let error = within(&text, len).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
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
