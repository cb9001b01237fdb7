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
        let mut name = fitted(&self.0, BYTES_MAX - suffix.len());
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
    let name = fitted(name.trim_end_matches(is_bad_end), BYTES_MAX);
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
        .filter(|dot| *dot > 0 && name.len() - dot <= EXTENSION_BYTES_MAX);
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

/// The longest name: 255 bytes is what most file systems take, less room for `.part`, a number and the like.
const BYTES_MAX: usize = 200;

/// The longest extension with its dot that is kept when a name is cut.
const EXTENSION_BYTES_MAX: usize = 32;

/// Characters of a text that are looked at; the extension of a longer one is lost.
const CHARS_READ_MAX: usize = 8 * 1024;
