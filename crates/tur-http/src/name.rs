//! File names made of what the network said.

use alloc::string::{String, ToString};
use core::fmt;

use tur_core::Target;
use unicode_normalization::UnicodeNormalization;

use crate::printable::is_hidden;
use crate::{disposition, percent};

/// A name that is safe to create in a directory: the only kind of name made from bytes of the network.
///
/// It is one path component in Unicode NFC, of 1 to 200 bytes. It holds no control, bidirectional or zero-width
/// character and none of `< > : " / \ | ? *`; it begins with no dot, dash or space, ends in no dot or space, and is no
/// device name of Windows. Making a safe name of a safe name changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SafeName(String);

impl SafeName {
    /// The name for what `target` leads to: from `Content-Disposition` (RFC 6266), else the last component of the
    /// URL's path, else `download`. Directories in either are dropped.
    #[must_use]
    pub fn of(disposition: Option<&[u8]>, target: &Target) -> Self {
        disposition
            .into_iter()
            .flat_map(disposition::names)
            .find_map(|name| cleaned(last_component(&name)))
            .or_else(|| cleaned(last_component(&url_name(target))))
            .map_or_else(|| Self(FALLBACK.to_string()), Self)
    }

    /// The safe name nearest to `text`; `download` if nothing of it is left. A separator is replaced like any
    /// other character that may not be in a name.
    #[must_use]
    pub fn clean(text: &str) -> Self {
        Self(cleaned(text).unwrap_or_else(|| FALLBACK.to_string()))
    }

    /// The name with `.n` after it, shortened before that if it must be.
    #[must_use]
    pub fn numbered(&self, n: u32) -> Self {
        let suffix = alloc::format!(".{n}");
        let mut name = fitted(&self.0, NAME_BYTES_MAX - suffix.len());
        name.push_str(&suffix);
        Self(name)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SafeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for SafeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The last component of the path, percent-decoded (RFC 3986, section 3.3).
fn url_name(target: &Target) -> String {
    let path = target.path.split('?').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    percent::utf8_or_latin1(&percent::decode(last.as_bytes()))
}

/// What follows the last separator of any system.
fn last_component(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// `text` as a safe name, or `None` if nothing is left of it.
///
/// The order matters. Hidden characters go before NFC, because characters that come together may compose; replacing
/// comes after, because no composition begins or ends with `_`; and a piece of an NFC string is NFC.
fn cleaned(text: &str) -> Option<String> {
    let name: String = text
        .chars()
        .filter(|c| !is_hidden(*c))
        .take(CHARS_READ_MAX)
        .nfc()
        .map(|c| if is_forbidden(c) { '_' } else { c })
        .collect();
    let name = name.trim_start_matches(|c: char| matches!(c, '.' | '-') || c.is_whitespace());
    let name = fitted(name.trim_end_matches(is_bad_end), NAME_BYTES_MAX);
    Some(name).filter(|name| !name.is_empty())
}

/// At most `bytes_max` of `name`, and no device: a cut can make one of a name that was none.
fn fitted(name: &str, bytes_max: usize) -> String {
    let name = cut(name, bytes_max);
    if is_device(&name) {
        cut(&alloc::format!("_{name}"), bytes_max)
    } else {
        name
    }
}

/// At most `bytes_max` of `name`, at a character boundary, its extension kept.
fn cut(name: &str, bytes_max: usize) -> String {
    if name.len() <= bytes_max {
        return name.to_string();
    }
    let dot = name
        .rfind('.')
        .filter(|dot| name.len() - dot <= EXTENSION_BYTES_MAX);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let mut end = bytes_max - extension.len();
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    let kept = [&stem[..end], extension].concat();
    kept.trim_end_matches(is_bad_end).to_string()
}

fn is_bad_end(c: char) -> bool {
    c == '.' || c.is_whitespace()
}

/// Characters that Windows refuses in names; `/` is the separator everywhere.
fn is_forbidden(c: char) -> bool {
    matches!(c, '<' | '>' | ':' | '"' | '/' | '\\' | '|' | '?' | '*')
}

/// True if Windows takes `name`, with or without an extension, for a device.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    let stem = stem.trim_end().to_ascii_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" => true,
        _ => {
            let number = stem
                .strip_prefix("COM")
                .or_else(|| stem.strip_prefix("LPT"));
            let mut digits = number.unwrap_or_default().chars();
            let is_digit = matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³'));
            is_digit && digits.next().is_none()
        }
    }
}

/// The name where nothing better is known.
const FALLBACK: &str = "download";

/// The longest name, in bytes: most file systems take 255, less room for `.part`, a number and the like.
pub const NAME_BYTES_MAX: usize = 200;

/// The longest extension with its dot that is kept when a name is cut.
const EXTENSION_BYTES_MAX: usize = 32;

/// Characters of a text that are looked at; the extension of a longer one is lost.
const CHARS_READ_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target;
    use proptest::prelude::*;
    use std::vec::Vec;
    use unicode_normalization::is_nfc;

    fn of(disposition: impl AsRef<[u8]>, url: &str) -> String {
        let (target, _) = target(url).expect("a URL");
        SafeName::of(Some(disposition.as_ref()), &target).0
    }

    #[track_caller]
    fn check_clean(text: &str, name: &str) {
        assert_eq!(SafeName::clean(text).as_str(), name, "{text:?}");
    }

    #[test]
    fn where_a_name_comes_from() {
        let url = "http://a/dir/last.bin?query/with.slash";
        assert_eq!(of("attachment; filename=x; filename*=UTF-8''y", url), "y");
        assert_eq!(of("attachment; filename=x", url), "x");
        assert_eq!(of("attachment; filename=..", url), "last.bin");
        assert_eq!(of("attachment; filename*=UTF-8''%2E; filename=x", url), "x");
        assert_eq!(of("attachment", url), "last.bin");
        assert_eq!(of("", "http://a/dir/"), "download");
        assert_eq!(of("", "http://a"), "download");
        assert_eq!(of("", "http://a/%2e%2e%2f%2E%2e%2Fescape"), "escape");
        assert_eq!(of("", "http://a/na%C3%AFve%20x"), "naïve x");
        assert_eq!(of("", "http://a/na%EFve"), "naïve");
        assert_eq!(of("", "http://a/x%1b%5b31m.bin"), "x[31m.bin");
        let (target, _) = target(url).expect("a URL");
        assert_eq!(SafeName::of(None, &target).as_str(), "last.bin");
    }

    #[test]
    fn directories_are_dropped() {
        for value in [
            "attachment; filename=\"../../escape\"",
            "attachment; filename=\"/etc/escape\"",
            "attachment; filename=\"C:\\dir\\escape\"",
            "attachment; filename=\"..\\\\..\\\\escape\"",
            "attachment; filename*=UTF-8''..%2F..%5Cescape",
            "attachment; filename=\".escape\"",
        ] {
            assert_eq!(of(value, "http://a/x"), "escape", "{value}");
        }
    }

    #[test]
    fn what_may_not_be_in_a_name() {
        check_clean("a/b\\c", "a_b_c");
        check_clean("a<b>c:d\"e|f?g*h", "a_b_c_d_e_f_g_h");
        check_clean("a\x1b[1m\x07\n\t\u{9b}\x7fb", "a[1mb");
        check_clean("gnp\u{202e}exe\u{200b}\u{feff}", "gnpexe");
        check_clean("..bashrc", "bashrc");
        check_clean("-rf", "rf");
        check_clean(" .-. a", "a");
        check_clean("a. . ", "a");
        check_clean("a\u{a0}", "a");
        check_clean("e\u{200d}\u{301}", "é");
        check_clean("$(id);id", "$(id);id");
        for nothing in ["", ".", "..", "...", " ", "-", "\u{200b}", "/", "\0"] {
            let name = SafeName::clean(nothing);
            let told = if nothing == "/" { "_" } else { "download" };
            assert_eq!(name.as_str(), told, "{nothing:?}");
        }
    }

    #[test]
    fn names_of_devices() {
        check_clean("CON", "_CON");
        check_clean("con.txt", "_con.txt");
        check_clean("Nul.tar.gz", "_Nul.tar.gz");
        check_clean("LPT1 .x", "_LPT1 .x");
        check_clean("com¹", "_com¹");
        check_clean("COM0", "_COM0");
        check_clean("CONIN$", "_CONIN$");
        check_clean("CONSOLE", "CONSOLE");
        check_clean("COM10", "COM10");
        check_clean("COM", "COM");
        check_clean("xCON", "xCON");
        // Cut back to a device name.
        check_clean(&["CON", &" ".repeat(300), "x"].concat(), "_CON");
        let name = SafeName::clean(&["AUX", &" ".repeat(196), "x"].concat());
        assert_eq!(name.as_str().len(), NAME_BYTES_MAX);
        assert_eq!(name.numbered(1).as_str(), "_AUX.1");
    }

    #[test]
    fn long_names_keep_their_extension() {
        let long = "x".repeat(300);
        check_clean(&[&long, ".tar"].concat(), &[&long[..196], ".tar"].concat());
        check_clean(&long, &long[..200]);
        let extension = [".", &long[..32]].concat();
        check_clean(&[&long, &extension[..]].concat(), &long[..200]);
        check_clean(
            &["a", &"é".repeat(200), ".b"].concat(),
            &["a", &"é".repeat(98), ".b"].concat(),
        );
    }

    #[test]
    fn numbers_come_last() {
        let name = SafeName::clean("a.bin");
        assert_eq!(name.numbered(1).as_str(), "a.bin.1");
        assert_eq!(name.numbered(u32::MAX).as_str(), "a.bin.4294967295");
        let long = SafeName::clean(&["x".repeat(300), ".bin".into()].concat());
        let told = ["x".repeat(194), ".bin.7".into()].concat();
        assert_eq!(long.numbered(7).as_str(), told);
    }

    /// Text that is likely to hold what may not be in a name.
    fn hostile_text() -> impl Strategy<Value = String> {
        let pieces = proptest::sample::select(
            &[
                ".", "..", "/", "\\", "-", " ", "\u{a0}", "CON", "com¹", "NUL", ".txt", "\u{301}",
                "e", "\u{338}", "<", "\u{202e}", "\u{200d}", "\x1b", "\u{212a}", "\u{1100}",
                "\u{1161}", "\u{37e}",
            ][..],
        );
        let piece = prop_oneof![
            6 => pieces.prop_map(String::from),
            2 => any::<String>(),
            1 => "[xé ]{0,120}",
            1 => " {180,210}",
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    fn check_safe(name: &SafeName) -> Result<(), TestCaseError> {
        let text = name.as_str();
        prop_assert!((1..=NAME_BYTES_MAX).contains(&text.len()), "{text:?}");
        prop_assert!(!text.contains(|c: char| c.is_control() || is_hidden(c) || is_forbidden(c)));
        prop_assert!(!text.starts_with(['.', '-', ' ']), "{text:?}");
        prop_assert!(!text.ends_with(['.', ' ']), "{text:?}");
        prop_assert!(!is_device(text), "{text:?}");
        prop_assert!(is_nfc(text), "{text:?}");
        let mut components = std::path::Path::new(text).components();
        let one =
            matches!(components.next(), Some(std::path::Component::Normal(only)) if only == text);
        prop_assert!(one && components.next().is_none(), "{text:?}");
        prop_assert_eq!(&SafeName::clean(text), name);
        Ok(())
    }

    /// Every string of one and of two bytes, and many of three, through a field and through a URL.
    #[test]
    fn short_names_are_safe_whatever_their_bytes() {
        let byte = || 0..=u8::MAX;
        let pairs = byte().flat_map(|a| byte().map(move |b| std::vec![a, b]));
        // A step that is coprime to 256 cubed, so that all of it is sampled.
        let triples = (0..8_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 8).to_be_bytes()[1..].to_vec());
        let (mut target, _) = target("http://a/").expect("a URL");
        for bytes in byte().map(|a| std::vec![a]).chain(pairs).chain(triples) {
            let quoted = [b"attachment; filename=\"", &bytes[..], b"\""].concat();
            let coded: String = bytes.iter().map(|b| alloc::format!("%{b:02x}")).collect();
            target.path = ["/", &coded].concat();
            let extended = alloc::format!("attachment; filename*=UTF-8''{coded}");
            for value in [
                Some(&quoted[..]),
                Some(extended.as_bytes()),
                Some(&bytes),
                None,
            ] {
                let name = SafeName::of(value, &target);
                check_safe(&name).unwrap_or_else(|why| panic!("{bytes:?}: {why}"));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn every_name_is_safe(text in hostile_text(), n in any::<u32>()) {
            let name = SafeName::clean(&text);
            check_safe(&name)?;
            check_safe(&name.numbered(n))?;
            check_safe(&name.numbered(1).numbered(n))?;
        }

        #[test]
        fn every_answer_leads_to_a_safe_name(
            bytes in proptest::collection::vec(any::<u8>(), 0..60), text in hostile_text(), path in any::<String>(),
        ) {
            let (mut target, _) = target("http://a/").expect("a URL");
            target.path = path;
            let values: [Vec<u8>; 4] = [
                [b"attachment; filename=", &bytes[..]].concat(),
                [b"attachment; filename*=UTF-8''", text.as_bytes()].concat(),
                [b"attachment; filename=\"", text.as_bytes()].concat(),
                bytes,
            ];
            for value in &values {
                check_safe(&SafeName::of(Some(value), &target))?;
            }
            check_safe(&SafeName::of(None, &target))?;
        }
    }
}
