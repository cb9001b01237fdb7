//! The parts of a page that marks are looked for in.
//!
//! Read [`Parts::of`]. This is no parser of HTML: it tells tags, scripts, comments, title and text apart as browsers do where
//! pages are sound, and gives each byte to at most one of them whatever comes.

use alloc::string::String;
use alloc::vec::Vec;

/// A page taken apart, in lower case (ASCII) and with single spaces.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) title: String,
    /// Tags from `<` to `>`, one after the other.
    pub(super) tags: String,
    pub(super) scripts: String,
    pub(super) text: String,
    pub(super) comments: String,
}

/// True if a body begins as markup does.
pub(super) fn is_markup(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let rest = body.trim_ascii_start();
    let begins = |with: &str| {
        rest.get(..with.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
    };
    BEGINNINGS.iter().any(|with| begins(with))
}

/// True if a body that begins so may turn out to be markup.
pub(super) fn may_be_markup(beginning: &[u8]) -> bool {
    let mark = b"\xef\xbb\xbf";
    if mark.starts_with(beginning) {
        return true;
    }
    let rest = beginning.strip_prefix(mark).unwrap_or(beginning);
    let rest = rest.trim_ascii_start();
    BEGINNINGS.iter().any(|with| {
        let known = rest.len().min(with.len());
        rest[..known].eq_ignore_ascii_case(&with.as_bytes()[..known])
    })
}

impl Parts {
    /// Takes the beginning of a page apart. What is not closed goes to the end.
    pub(super) fn of(body: &[u8]) -> Self {
        let lower = body.to_ascii_lowercase();
        let mut parts = Raw::default();
        let mut rest = &lower[..];
        while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
            parts.text.extend(&rest[..at]);
            rest = parts.take_markup(&rest[at..]);
        }
        parts.text.extend(rest);
        Self {
            title: spaced(&parts.title),
            tags: spaced(&parts.tags),
            scripts: spaced(&parts.scripts),
            text: spaced(&parts.text),
            comments: spaced(&parts.comments),
        }
    }
}

#[derive(Default)]
struct Raw {
    title: Vec<u8>,
    tags: Vec<u8>,
    scripts: Vec<u8>,
    text: Vec<u8>,
    comments: Vec<u8>,
}

impl Raw {
    /// Takes what begins with the `<` that `rest` begins with; returns what follows.
    fn take_markup<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        if rest.starts_with(b"<!--") {
            let (comment, behind) = until(rest, b"-->");
            self.comments.extend(comment);
            return behind;
        }
        let is_tag = rest
            .get(1)
            .is_some_and(|byte| byte.is_ascii_alphabetic() || b"/!?".contains(byte));
        if !is_tag {
            self.text.push(b'<');
            return &rest[1..];
        }
        let (tag, behind) = tag(rest);
        self.tags.extend(tag);
        self.tags.push(b' ');
        // A tag ends a word.
        self.text.push(b' ');
        let name_len = tag[1..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .count();
        let into = match &tag[1..=name_len] {
            b"title" if self.title.is_empty() => Some(&mut self.title),
            b"script" => Some(&mut self.scripts),
            // Nobody sees what is in these, and nothing runs it.
            b"style" | b"textarea" | b"xmp" | b"title" => None,
            _ => return behind,
        };
        let end = [b"</", &tag[1..=name_len]].concat();
        let at = find(behind, &end).unwrap_or(behind.len());
        if let Some(into) = into {
            into.extend(&behind[..at]);
            into.push(b' ');
        }
        &behind[at..]
    }
}

/// A tag, and what follows. A `>` in quotes does not end it.
fn tag(rest: &[u8]) -> (&[u8], &[u8]) {
    let mut quote = None;
    for (at, byte) in rest.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return rest.split_at(at + 1),
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    (rest, &[])
}

fn until<'a>(rest: &'a [u8], end: &[u8]) -> (&'a [u8], &'a [u8]) {
    match find(rest, end) {
        Some(at) => rest.split_at(at + end.len()),
        None => (rest, &[]),
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// As text, with each run of white space as one space, and none at the ends.
fn spaced(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    for word in text.split_ascii_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// What HTML begins with (the patterns of the MIME Sniffing Standard, section 7.1, without those that mean little).
const BEGINNINGS: [&str; 11] = [
    "<!doctype html",
    "<html",
    "<head",
    "<body",
    "<script",
    "<title",
    "<meta",
    "<style",
    "<iframe",
    "<!--",
    "<?xml",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_word_stands_in_its_part() {
        let page = "<!DOCTYPE html><title> A\n  b </title><p title=\"x > y\">Se&lt;en <b>bold</b> 1 < 2\
                    <script src=s.js>if (a<b) {}</script><style>gone</style><!-- said --><textarea><i></textarea>";
        let parts = Parts::of(page.as_bytes());
        assert_eq!(parts.title, "a b");
        assert_eq!(parts.text, "se&lt;en bold 1 < 2");
        assert_eq!(parts.scripts, "if (a<b) {}");
        assert_eq!(parts.comments, "<!-- said -->");
        assert!(
            parts.tags.contains("<p title=\"x > y\">") && parts.tags.contains("<script src=s.js>")
        );
        assert!(!parts.tags.contains("<i>"));
    }

    #[test]
    fn markup_is_known_by_its_beginning() {
        for (body, is) in [
            (&b"\xef\xbb\xbf \n<!DocType HTML>"[..], true),
            (b"<html lang=x>", true),
            (b"<htm", false),
            (b"{\"html\": 1}", false),
            (b"PK\x03\x04<html>", false),
            (b"", false),
        ] {
            assert_eq!(is_markup(body), is, "{body:?}");
            // What is true of the whole was not denied of any beginning; and what is no beginning of it stays none.
            for len in 0..=body.len() {
                assert!(!is || may_be_markup(&body[..len]), "{body:?}, {len}");
            }
        }
        for (beginning, may) in [
            (&b"\xef\xbb"[..], true),
            (b"\xef\xbbx", false),
            (b"\r\n \t", true),
            (b"  <!d", true),
            (b"<htm", true),
            (b"<hx", false),
            (b"{", false),
            (b"PK\x03\x04<html>", false),
            (b"\x00", false),
        ] {
            assert_eq!(may_be_markup(beginning), may, "{beginning:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_none_is_counted_twice(body in "(<!--|-->|<script|</script>|<title>|</title>|[<>\"' a\u{e9}/]){0,40}") {
            let parts = Parts::of(body.as_bytes());
            let all = parts.title.len() + parts.tags.len() + parts.scripts.len() + parts.text.len() + parts.comments.len();
            // A space may be put in for each tag, and another one behind what it holds.
            prop_assert!(all <= body.len() * 3);
        }
    }
}
