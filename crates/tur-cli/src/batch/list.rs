//! The format of a list of downloads (`-i`): one URL a line, and below it indented `key=value` lines that belong to it. A `dir`
//! above all URLs is that of those which have none.
//!
//! [`List::parse`] checks a whole list before anything begins. What is kept is the text and where its entries stand in it:
//! a million of them cost little more than the file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::bounds::{ITEM_OPTIONS, LIST_BYTES, LIST_LINE_BYTES};

/// A list whose lines are all understood.
#[derive(Debug, Default)]
pub(crate) struct List {
    name: String,
    text: String,
    dir: Option<String>,
    entries: Vec<Entry>,
    /// Those with a file that is complete, says who wrote the list.
    made: Vec<Entry>,
}

/// Where an entry stands in the text. A list has less than 4 GiB.
#[derive(Debug)]
struct Entry {
    line: u32,
    at: u32,
    end: u32,
    made: bool,
}

/// What may be said of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The file, as with `-o`.
    Out,
    /// The directory, as with `-d` and in its place.
    Dir,
    /// The digest, as with `--checksum`.
    Checksum,
    /// A request field, as with `-H`; may be repeated.
    Header,
    /// The file that it has become: it is not downloaded, and no other URL's file is taken to be that one.
    Done,
}

/// Reads and checks the list at `path`; `-` is standard input.
///
/// # Errors
/// A sentence that says what is wrong, and in which line.
pub(crate) fn read(path: &Path) -> Result<List, String> {
    if path == Path::new("-") {
        return List::read("standard input", io::stdin().lock());
    }
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| format!("-i {name}: {error}"))?;
    List::read(&name, file)
}

impl List {
    fn read(name: &str, from: impl Read) -> Result<Self, String> {
        let failed = |why: &str| format!("-i {name}: {why}");
        let mut bytes = Vec::new();
        from.take(LIST_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(&error.to_string()))?;
        if bytes.len() as u64 > LIST_BYTES {
            let most = LIST_BYTES >> 20;
            return Err(failed(&format!(
                "it has more than {most} MiB: divide it into several lists"
            )));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            format!("{name}:{line}: this is not UTF-8")
        })?;
        Self::parse(name, text)
    }

    /// Checks the text of a list. `name` is for messages.
    ///
    /// # Errors
    /// A sentence that begins with `NAME:LINE`. It repeats no value: that may be a secret.
    pub(crate) fn parse(name: &str, mut text: String) -> Result<Self, String> {
        if text.starts_with(MARK) {
            text.remove(0);
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut dir = None;
        let mut seen = Vec::new();
        for (number, line, at) in lines(&text) {
            let wrong = |why: &str| format!("{name}:{number}: {why}");
            if line.len() as u64 > LIST_LINE_BYTES {
                let most = LIST_LINE_BYTES >> 10;
                return Err(wrong(&format!("the line has more than {most} KiB")));
            }
            if is_void(line) {
                continue;
            }
            let end = place(at + line.len());
            if is_option(line) {
                let (key, value) = option(line).map_err(|why| wrong(&why))?;
                let Some(entry) = entries.last_mut() else {
                    match key {
                        Key::Dir if dir.is_none() => dir = Some(value.to_owned()),
                        Key::Dir => return Err(wrong("dir is given twice")),
                        _ => return Err(wrong("an option without a URL above it")),
                    }
                    continue;
                };
                if key != Key::Header && seen.contains(&key) {
                    return Err(wrong(&format!("{} is given twice", key.as_str())));
                }
                if seen.len() == ITEM_OPTIONS {
                    return Err(wrong(&format!("more than {ITEM_OPTIONS} options")));
                }
                seen.push(key);
                entry.made |= key == Key::Done;
                entry.end = end;
            } else if line.trim().contains('\t') {
                return Err(wrong("one URL a line: several for one file are not known"));
            } else {
                seen.clear();
                entries.push(Entry {
                    line: number,
                    at: place(at),
                    end,
                    made: false,
                });
            }
        }
        let (made, entries) = entries.into_iter().partition(|entry| entry.made);
        let name = name.to_owned();
        Ok(Self {
            name,
            text,
            dir,
            entries,
            made,
        })
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The directory of entries that have none.
    pub(crate) fn dir(&self) -> Option<&str> {
        self.dir.as_deref()
    }

    /// Where the entry stands, or one of its lines, for messages: `NAME:LINE`.
    pub(crate) fn place(&self, n: usize, line: Option<u32>) -> String {
        format!("{}:{}", self.name, line.unwrap_or(self.entries[n].line))
    }

    /// The URL of an entry.
    pub(crate) fn url(&self, n: usize) -> &str {
        self.url_of(&self.entries[n])
    }

    /// The options of an entry, in their order, with their lines.
    pub(crate) fn options(&self, n: usize) -> impl Iterator<Item = (u32, Key, &str)> {
        self.options_of(&self.entries[n])
    }

    /// URLs whose file is there, with it, and where that stands.
    pub(crate) fn made(&self) -> impl Iterator<Item = (String, &str, &str)> {
        self.made.iter().map(|entry| {
            let done = |(_, key, value)| (key == Key::Done).then_some(value);
            let file = self.options_of(entry).find_map(done);
            let place = format!("{}:{}", self.name, entry.line);
            let file = file.expect("it is made, says one of its options");
            (place, self.url_of(entry), file)
        })
    }

    fn url_of(&self, entry: &Entry) -> &str {
        let (_, url, _) = lines(self.text_of(entry))
            .next()
            .expect("an entry begins with a URL");
        url.trim()
    }

    fn options_of(&self, entry: &Entry) -> impl Iterator<Item = (u32, Key, &str)> {
        let first = entry.line;
        lines(self.text_of(entry))
            .skip(1)
            .filter(|(_, line, _)| !is_void(line))
            .map(move |(number, line, _)| {
                let (key, value) = option(line).expect("the list was checked");
                (first + number - 1, key, value)
            })
    }

    fn text_of(&self, entry: &Entry) -> &str {
        &self.text[entry.at as usize..entry.end as usize]
    }
}

impl Key {
    const ALL: [Key; 5] = [Key::Out, Key::Dir, Key::Checksum, Key::Header, Key::Done];

    /// As it is written.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Key::Out => "out",
            Key::Dir => "dir",
            Key::Checksum => "checksum",
            Key::Header => "header",
            Key::Done => "done",
        }
    }
}

/// Lines without their ends, with their number and where they begin.
fn lines(text: &str) -> impl Iterator<Item = (u32, &str, usize)> {
    let mut next = 0;
    text.split('\n').zip(1..).map(move |(line, number)| {
        let at = next;
        next += line.len() + 1;
        (number, line.strip_suffix('\r').unwrap_or(line), at)
    })
}

/// True for a line that says nothing: blank, or a comment.
fn is_void(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

fn is_option(line: &str) -> bool {
    line.starts_with([' ', '\t'])
}

fn option(line: &str) -> Result<(Key, &str), String> {
    const EXPECTED: &str = "key=value is expected (out, dir, checksum or header)";
    let (name, value) = line.split_once('=').ok_or(EXPECTED)?;
    let (name, value) = (name.trim(), value.trim());
    let known = Key::ALL.into_iter().find(|key| key.as_str() == name);
    let Some(key) = known else {
        // Whatever else stands there may be a secret.
        let shown = name.len() <= KEY_SHOWN_MAX
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        return Err(match shown && !name.is_empty() {
            true => format!("{name} is no option of a list (out, dir, checksum and header are)"),
            false => EXPECTED.to_owned(),
        });
    };
    match value {
        "" => Err(format!("{name}: the value is empty")),
        value => Ok((key, value)),
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).expect("a list has less than 4 GiB")
}

/// The byte order mark, which some editors put first.
const MARK: char = '\u{feff}';

/// The longest option of aria2 has fewer letters.
const KEY_SHOWN_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    /// Each entry as `URL key=value …`.
    fn parsed(text: &str) -> Vec<String> {
        let list =
            List::parse("l", text.to_owned()).unwrap_or_else(|why| panic!("{text:?}: {why}"));
        let entry = |n| {
            let options = list
                .options(n)
                .map(|(_, key, value)| format!(" {}={value}", key.as_str()));
            format!("{}{}", list.url(n), options.collect::<String>())
        };
        (0..list.len()).map(entry).collect()
    }

    #[test]
    fn a_list_has_urls_and_options() {
        for (text, entries) in [
            ("", &[][..]),
            ("\n \n\t\n# http://h/a\n  # out=x", &[]),
            ("\u{feff}", &[]),
            ("http://h/a", &["http://h/a"]),
            (
                "\u{feff}http://h/a\r\n\r\nhttp://h/b \r\n",
                &["http://h/a", "http://h/b"],
            ),
            ("http://h/a#f", &["http://h/a#f"]),
            (
                "u\n out=a b.bin\n\n\tdir = d \n# c\n  header=A: b=c\n  header=A: d\nv\n  checksum=sha256=00\n",
                &[
                    "u out=a b.bin dir=d header=A: b=c header=A: d",
                    "v checksum=sha256=00",
                ],
            ),
            ("u\r\n  out=a\r\n# last\r\n", &["u out=a"]),
            (
                "# s\n  dir=d\nu\nv\n  done=/d/v\nw\n  out=a",
                &["u", "w out=a"],
            ),
        ] {
            assert_eq!(parsed(text), entries, "{text:?}");
        }
    }

    #[test]
    fn what_is_made_and_the_directory_of_all_stand_apart() {
        let text = "\tdir=/d\nu\n\n# c\n  out=a\nv\n  done=/d/v v\n";
        let list = List::parse("l", text.to_owned()).expect("it is well formed");
        assert_eq!((list.len(), list.dir()), (1, Some("/d")));
        let made: Vec<_> = list.made().collect();
        assert_eq!(made, [("l:6".to_owned(), "v", "/d/v v")]);
        let lines: Vec<_> = list.options(0).map(|(line, ..)| line).collect();
        assert_eq!(lines, [5]);
        assert_eq!(
            [list.place(0, None), list.place(0, Some(5))],
            ["l:2", "l:5"]
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        let long = format!("u\n{}", "x".repeat(LIST_LINE_BYTES as usize + 1));
        let many = format!("u\n{}", " header=A: b\n".repeat(ITEM_OPTIONS + 1));
        for (text, said) in [
            (" out=a", "l:1: an option without a URL"),
            ("\n\n  out=a\nu", "l:3: an option without a URL"),
            (" dir=a\n dir=b\nu", "l:2: dir is given twice"),
            ("u\n  ot=a", "l:2: ot is no option"),
            (
                "u\n  max-connection-per-server=4",
                "l:2: max-connection-per-server is no",
            ),
            (
                "u\n  Authorization: Bearer hunter2=",
                "l:2: key=value is expected",
            ),
            ("u\n  hunter2\n", "l:2: key=value is expected"),
            ("u\n  =hunter2\n", "l:2: key=value is expected"),
            ("u\n  out=\n", "l:2: out: the value is empty"),
            ("u\n  out=a\n  dir=d\n  out=b", "l:4: out is given twice"),
            ("u\n\nv\tw\n", "l:3: one URL a line"),
            (&long, "l:2: the line has more than 128 KiB"),
            (&many, "l:258: more than 256 options"),
        ] {
            let why = List::parse("l", text.to_owned())
                .map(drop)
                .expect_err("refused");
            assert!(why.starts_with(said), "{why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn what_is_no_text_and_what_is_too_long_is_refused() {
        let why = |bytes: &[u8]| List::read("l", bytes).map(drop).expect_err("refused");
        assert_eq!(why(b"u\n\nv\xff\n"), "l:3: this is not UTF-8");
        let endless = List::read("l", io::repeat(b'\n')).map(drop);
        assert!(endless.is_err_and(|why| why.contains("more than 64 MiB")));
    }

    #[test]
    fn no_text_is_too_odd() {
        let pieces = [
            "u",
            " ",
            "\t",
            "\n",
            "\r",
            "#",
            "=",
            "out",
            "\u{feff}",
            "\0",
            "é",
            "header=a: b",
        ];
        for seed in 0..20_000_u64 {
            let mut state = seed;
            let mut text = String::new();
            for _ in 0..12 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(seed | 1);
                text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
            }
            let Ok(list) = List::parse("l", text) else {
                continue;
            };
            for n in 0..list.len() {
                assert!(!list.url(n).is_empty());
                assert!(list.options(n).all(|(.., value)| !value.is_empty()));
            }
        }
    }
}
