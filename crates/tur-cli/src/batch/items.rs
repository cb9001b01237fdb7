//! What a run downloads, in order: the URLs of the command line, then the entries of the list.
//!
//! [`Items`] keeps them as they were written; an [`Item`] is one of them, read when its turn comes.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};

use tur_engine::Checksum;

use super::list::{Key, List};
use crate::field::Field;

/// Everything that a run is to download.
#[derive(Debug, Default)]
pub(crate) struct Items {
    typed: Vec<String>,
    list: List,
}

/// One of them, and what it has of its own. No `Debug`: fields may be secret.
#[derive(Default)]
pub(crate) struct Item<'a> {
    pub(crate) url: &'a str,
    /// Relative to the directory.
    pub(crate) out: Option<PathBuf>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) fields: Vec<Field>,
}

impl Items {
    /// All of `typed`, then all of `list`.
    pub(crate) fn new(typed: Vec<String>, list: Option<List>) -> Self {
        let list = list.unwrap_or_default();
        Self { typed, list }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.typed.len() + self.list.len()
    }

    /// The URL as it was written.
    pub(crate) fn url(&self, n: usize) -> &str {
        match self.listed(n) {
            Some(n) => self.list.url(n),
            None => &self.typed[n],
        }
    }

    /// Where it, or that line of it, was written, for messages: `LIST:LINE`, or the number of the URL. True with it if it is in
    /// the list.
    pub(crate) fn place(&self, n: usize, line: Option<u32>) -> (String, bool) {
        match self.listed(n) {
            Some(n) => (self.list.place(n, line), true),
            None => (format!("URL {}", n + 1), false),
        }
    }

    /// The options as they were written in the list, with their lines. `None` if it was typed.
    pub(crate) fn options(&self, n: usize) -> Option<impl Iterator<Item = (u32, Key, &str)>> {
        self.listed(n).map(|n| self.list.options(n))
    }

    /// The directory that the list gives to those that have none.
    pub(crate) fn dir(&self) -> Option<&str> {
        self.list.dir()
    }

    /// URLs whose files are there, says the list, with these files, and where that stands.
    pub(crate) fn made(&self) -> impl Iterator<Item = (String, &str, &str)> {
        self.list.made()
    }

    /// Reads an item.
    ///
    /// # Errors
    /// The line, and a sentence about a value in it that cannot be used. It does not repeat it.
    pub(crate) fn item(&self, n: usize) -> Result<Item<'_>, (u32, String)> {
        self.item_without(n, None)
    }

    /// As [`item`](Self::item), as if that line were not there.
    ///
    /// # Errors
    /// As those of [`item`](Self::item).
    pub(crate) fn item_without(
        &self,
        n: usize,
        without: Option<u32>,
    ) -> Result<Item<'_>, (u32, String)> {
        let mut item = Item {
            url: self.url(n),
            dir: self.dir_of(n).map(PathBuf::from),
            ..Item::default()
        };
        let options = self.options(n).into_iter().flatten();
        for (line, key, value) in options.filter(|(line, ..)| Some(*line) != without) {
            let wrong = |why: String| (line, format!("{}: {why}", key.as_str()));
            match key {
                Key::Done => {}
                Key::Out => item.out = Some(file(value).map_err(wrong)?),
                Key::Dir => item.dir = Some(value.into()),
                Key::Checksum => {
                    let checksum = value.parse::<Checksum>();
                    item.checksum = Some(checksum.map_err(|why| wrong(why.to_string()))?);
                }
                Key::Header => item.fields.push(Field::parse(value).map_err(wrong)?),
            }
        }
        Ok(item)
    }

    /// What the file of an item is probably called, with its directory: two items for which it is the same must not run at
    /// the same time. Those that only turn out later to have one name meet at the lock of the part.
    pub(crate) fn likely_target(&self, n: usize) -> String {
        let url = self.url(n);
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let mut name = path.rsplit('/').next().unwrap_or_default();
        let mut dir = self.dir_of(n).unwrap_or_default();
        for (_, key, value) in self.options(n).into_iter().flatten() {
            match key {
                Key::Out => name = value,
                Key::Dir => dir = value,
                Key::Checksum | Key::Header | Key::Done => {}
            }
        }
        format!("{dir}/{name}")
    }

    /// Of each item, whether another one's file is probably called like its own, in whatever directory.
    pub(crate) fn namesakes(&self) -> Vec<bool> {
        let state = RandomState::new();
        let name = |n| {
            let target = self.likely_target(n);
            state.hash_one(target.rsplit('/').next())
        };
        let mut names: Vec<_> = (0..self.len()).map(|n| (name(n), n)).collect();
        names.sort_unstable();
        let mut namesakes = vec![false; self.len()];
        for pair in names.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            namesakes[pair[0].1] = true;
            namesakes[pair[1].1] = true;
        }
        namesakes
    }

    /// The directory that the list gives to an item, unless it has one of its own.
    fn dir_of(&self, n: usize) -> Option<&str> {
        self.listed(n).and_then(|_| self.list.dir())
    }

    /// The place of an item in the list.
    fn listed(&self, n: usize) -> Option<usize> {
        n.checked_sub(self.typed.len())
    }
}

fn file(name: &str) -> Result<PathBuf, String> {
    match name {
        "-" | "/dev/null" => Err("only regular files can be written".to_owned()),
        name => Ok(Path::new(name).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(typed: &[&str], list: &str) -> Items {
        let typed = typed.iter().map(|url| (*url).to_owned()).collect();
        let list = List::parse("l", list.to_owned()).expect("it is well formed");
        Items::new(typed, Some(list))
    }

    #[test]
    fn what_is_typed_comes_first_and_has_no_options() {
        let items = items(
            &["http://h/t"],
            "\nhttp://h/a\n out=o\n dir=d\n header=A: b\n header=C;\n checksum=md5:d41d8cd98f00b204e9800998ecf8427e\n",
        );
        assert_eq!(items.len(), 2);
        let typed = items.item(0).unwrap_or_else(|(_, why)| panic!("{why}"));
        assert_eq!((typed.url, typed.out), ("http://h/t", None));
        let item = items.item(1).unwrap_or_else(|(_, why)| panic!("{why}"));
        assert_eq!(
            (item.url, item.out, item.dir),
            ("http://h/a", Some("o".into()), Some("d".into()))
        );
        let names: Vec<_> = item
            .fields
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        assert_eq!(names, ["A", "C"]);
        assert!(item.checksum.is_some());
        assert_eq!(
            (items.place(0, None), items.place(1, None)),
            (("URL 1".to_owned(), false), ("l:2".to_owned(), true))
        );
    }

    #[test]
    fn values_that_cannot_be_used_are_refused_and_not_repeated() {
        for (option, part) in [
            ("out=-", "out: only regular files"),
            ("out=/dev/null", "out: only regular files"),
            ("header=hunter2", "header: 'Name: value'"),
            ("header=A b: hunter2", "header: the name"),
            (
                "header=A: hunter2\u{7}",
                "header: A: the value has a control character",
            ),
            (
                "checksum=sha256:hunter2",
                "checksum: a sha256 digest has 64",
            ),
        ] {
            let items = items(&[], &format!("u\n# c\n {option}"));
            let (line, why) = items.item(0).map(drop).expect_err("refused");
            assert_eq!(line, 3);
            assert!(items.item_without(0, Some(3)).is_ok());
            assert!(why.starts_with(part) && !why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn targets_are_compared_by_directory_and_name() {
        let items = items(
            &["http://h/a/f?x=1#y", "http://g/f"],
            "http://h/f\nhttp://h/f\n dir=d\nhttp://h/x\n out=f\nhttp://h/\nhttp://h",
        );
        let targets: Vec<_> = (0..items.len()).map(|n| items.likely_target(n)).collect();
        assert_eq!(targets, ["/f", "/f", "/f", "d/f", "/f", "/", "/h"]);
        let alone = [false, false];
        assert_eq!(items.namesakes(), [&[true; 5][..], &alone].concat());
    }
}
