//! The file name in `Content-Disposition` (RFC 6266).

use alloc::string::String;
use alloc::vec::Vec;

use crate::fields::{split_once, trim};
use crate::percent;

/// The names that the field proposes, best first: `filename*`, then `filename`. They are raw: anything may be in them.
///
/// Lenient where servers are sloppy: a missing type, an unquoted name with spaces, an unclosed quote and a quoted
/// `filename*` are understood. Of a parameter that comes twice, the first counts.
pub(crate) fn names(value: &[u8]) -> impl Iterator<Item = String> {
    let mut extended = None;
    let mut plain = None;
    for (name, value) in parameters(value) {
        // RFC 6266, section 4.1: parameter names are case-insensitive.
        if name.eq_ignore_ascii_case(b"filename*") {
            extended = extended.or_else(|| extended_value(&value));
        } else if name.eq_ignore_ascii_case(b"filename") && plain.is_none() {
            plain = Some(percent::utf8_or_latin1(&value));
        }
    }
    // RFC 6266, section 4.3: filename* is preferred where both are there.
    [extended, plain].into_iter().flatten()
}

/// The parameters, their values unquoted.
fn parameters(value: &[u8]) -> Vec<(&[u8], Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = value;
    while !rest.is_empty() && found.len() < PARAMETERS_MAX {
        let end = rest
            .iter()
            .position(|byte| matches!(*byte, b';' | b'='))
            .unwrap_or(rest.len());
        let name = trim(&rest[..end]);
        if rest.get(end) != Some(&b'=') {
            // The disposition type, or a parameter without a value.
            rest = rest.get(end + 1..).unwrap_or_default();
            continue;
        }
        let (value, after) = parameter_value(&rest[end + 1..]);
        found.push((name, value));
        rest = after;
    }
    found
}

/// The value at the start, and what follows its `;`.
fn parameter_value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let start = text
        .iter()
        .take_while(|byte| matches!(**byte, b' ' | b'\t'));
    let text = &text[start.count()..];
    let (value, rest) = match text.strip_prefix(b"\"") {
        Some(quoted) => unquote(quoted),
        None => (Vec::new(), text),
    };
    // Up to the next `;`: the whole value if it was not quoted, else what nobody should have written there.
    let (tail, after) = split_once(rest, b';').unwrap_or((rest, &[]));
    if text.starts_with(b"\"") {
        (value, after)
    } else {
        (trim(tail).to_vec(), after)
    }
}

/// What stands before the closing quote, and what follows it.
///
/// A backslash takes away the meaning of a quote or a backslash (RFC 9110, section 5.6.4). Before anything else it is
/// kept, since senders who write one there mean a path, of which only the last component counts.
fn unquote(quoted: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    let mut rest = quoted;
    loop {
        rest = match rest {
            [] => return (value, rest),
            [b'"', tail @ ..] => return (value, tail),
            [b'\\', escaped @ (b'"' | b'\\'), tail @ ..] => {
                value.push(*escaped);
                tail
            }
            [byte, tail @ ..] => {
                value.push(*byte);
                tail
            }
        }
    }
}

/// `charset'language'percent-encoded` (RFC 8187, section 3.2), in UTF-8 or ISO-8859-1. `None` for another charset, and
/// for bytes that are not of the charset named.
fn extended_value(value: &[u8]) -> Option<String> {
    let (charset, rest) = split_once(value, b'\'')?;
    let (_language, text) = split_once(rest, b'\'')?;
    let bytes = percent::decode(text);
    if charset.eq_ignore_ascii_case(b"utf-8") {
        String::from_utf8(bytes).ok()
    } else if charset.eq_ignore_ascii_case(b"iso-8859-1") {
        Some(percent::latin1(&bytes))
    } else {
        None
    }
}

/// Parameters beyond this many are not looked at.
const PARAMETERS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(value: &[u8], told: &[&str]) {
        let names: Vec<String> = names(value).collect();
        assert_eq!(names, told, "{}", value.escape_ascii());
    }

    #[test]
    fn plain_names() {
        check(b"attachment; filename=a.bin", &["a.bin"]);
        check(b"attachment;filename=\"a b.bin\"", &["a b.bin"]);
        check(b"ATTACHMENT; FileName = \"a\"", &["a"]);
        check(b"inline; filename=a; size=3", &["a"]);
        check(b"attachment; filename=\"a;b=c\"; x=y", &["a;b=c"]);
        check(b"attachment; filename=\"a\\\"b\\\\c\"", &["a\"b\\c"]);
        check(b"attachment; filename=\"C:\\dir\\a\"", &["C:\\dir\\a"]);
        check("attachment; filename=\"né\"".as_bytes(), &["né"]);
        check(b"attachment; filename=\"n\xe9\"", &["né"]);
        check(b"attachment; filename=a; filename=b", &["a"]);
        check(b"attachment; filename=\"a%20b\"", &["a%20b"]);
    }

    #[test]
    fn extended_names_come_first() {
        check(b"attachment; filename*=UTF-8''%e2%82%ac", &["€"]);
        check(b"attachment; filename*=utf-8'en'a%20b", &["a b"]);
        check(b"attachment; filename*=iso-8859-1''n%E9", &["né"]);
        check(b"attachment; filename=a; filename*=UTF-8''b", &["b", "a"]);
        check(b"attachment; filename*=UTF-8''b; filename=a", &["b", "a"]);
        check(b"attachment; filename*=UTF-8''%ff; filename=a", &["a"]);
        check(b"attachment; filename*=KOI8-R''b; filename=a", &["a"]);
        check(b"attachment; filename*=b; filename=a", &["a"]);
        check(b"attachment; filename*=\"UTF-8''b\"", &["b"]);
    }

    #[test]
    fn sloppy_values() {
        check(b"attachment; filename=my file.pdf ; x=y", &["my file.pdf"]);
        check(b"attachment; filename=\"open", &["open"]);
        check(
            b"attachment; filename=\"a\" junk; filename*=UTF-8''b",
            &["b", "a"],
        );
        check(b"filename=a", &["a"]);
        check(b"attachment; filename", &[]);
        check(b"attachment; filename=", &[""]);
        check(b"attachment", &[]);
        check(b";;==;;", &[]);
        check(b"", &[]);
        check(b"attachment; x-filename=a", &[]);
    }

    #[test]
    fn parameters_are_bounded() {
        let many = b"a=b;".repeat(PARAMETERS_MAX);
        check(&[&many[4..], b"filename=x"].concat(), &["x"]);
        check(&[&many[..], b"filename=x"].concat(), &[]);
    }

    proptest! {
        #[test]
        fn a_quoted_name_comes_back(name in "[^\u{0}]{0,40}") {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            let value = std::format!("attachment; filename=\"{quoted}\"; x=y");
            let found: Vec<String> = names(value.as_bytes()).collect();
            prop_assert_eq!(found, [name]);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in "[a-z*=;\"'\\\\% -]{0,60}") {
            names(&bytes).count();
            names(text.as_bytes()).count();
            names(&[b"a; filename*=UTF-8''", &bytes[..]].concat()).count();
        }
    }
}
