//! What several fuzz targets share: heads of answers as text, dates written a second way, and the promises of a name.
//!
//! Inputs are text wherever they can be, so that seeds and dictionaries speak HTTP and a finding can be read.

use std::path::PathBuf;
use std::sync::LazyLock;

use tur_core::{BodyKind, Target, Wall};
use tur_http::{SafeName, target};

/// Writes the input down before it is run, if `TUR_FUZZ_LAST` names a file. A stack that overflows ends the process at once:
/// nothing else says then which input it was.
#[expect(
    clippy::disallowed_methods,
    reason = "it is a note for who reads a finding, and no download"
)]
pub fn remember(data: &[u8]) {
    static LAST: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("TUR_FUZZ_LAST").map(PathBuf::from));
    if let Some(path) = &*LAST {
        std::fs::write(path, data).expect("the runner has made the directory");
    }
}

/// Fields of a head: names and raw values.
pub type Fields<'a> = Vec<(&'a str, &'a [u8])>;

/// A head as it stands in the input: a status line, fields, and an empty line.
#[derive(Debug)]
pub struct RawHead<'a> {
    /// Status code; 0 if there is none.
    pub status: u16,
    /// What follows it.
    pub reason: &'a str,
    /// The fields in order.
    pub fields: Fields<'a>,
}

impl<'a> RawHead<'a> {
    /// Reads one head as a transport would hand it over, and what follows it.
    pub fn parse(data: &'a [u8]) -> (Self, &'a [u8]) {
        let (status_line, mut rest) = line(data);
        let status_line = text(status_line);
        let (status, reason) = status_line.split_once(' ').unwrap_or((status_line, ""));
        let mut fields = Vec::new();
        loop {
            let (field, after) = line(rest);
            rest = after;
            if field.is_empty() {
                break;
            }
            let colon = field.iter().position(|byte| *byte == b':');
            let (name, value) = field.split_at(colon.unwrap_or(field.len()));
            fields.push((text(name), value.get(1..).unwrap_or_default()));
        }
        let head = Self {
            status: status.parse().unwrap_or(0),
            reason,
            fields,
        };
        (head, rest)
    }

    /// The head as it is read, with other fields in place of its own.
    pub fn with<'b>(&'b self, fields: &'b [(&'b str, &'b [u8])]) -> tur_http::Head<'b> {
        tur_http::Head {
            status: self.status,
            reason: self.reason,
            fields,
            body: body(&self.fields),
        }
    }
}

/// How the end of the body is known, by RFC 9112, section 6.3.
fn body(fields: &[(&str, &[u8])]) -> BodyKind {
    let value = |wanted: &str| {
        let mut values = fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        values.next().map(|(_, value)| text(value).trim())
    };
    let length = value("content-length").and_then(|value| value.parse().ok());
    match (value("transfer-encoding"), length) {
        (Some(_), _) => BodyKind::Marked,
        (None, Some(length)) => BodyKind::Length(length),
        (None, None) => BodyKind::UntilClose,
    }
}

/// The first line, and what follows it.
pub fn line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}

/// Bytes as text; empty if they are not UTF-8.
pub fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or_default()
}

/// Asserts that a target can stand in a request line and a `Host` field, and is what it reads as.
pub fn assert_requestable(at: &Target) {
    let text = at.to_string();
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
    assert!(
        at.path.starts_with('/') && !at.path.contains('#'),
        "{text:?}"
    );
    assert!(!at.origin.host.is_empty(), "{text:?}");
    assert!(
        !at.origin.host.contains(['/', '@', '?', '#', '\\']),
        "{text:?}"
    );
    assert_eq!(target(&text), Ok((at.clone(), None)));
}

/// Asserts every promise of [`SafeName`], for the name and for numbered ones.
pub fn assert_safe(name: &SafeName) {
    assert_safe_text(name);
    let (one, last) = (name.numbered(1), name.numbered(u32::MAX));
    assert_safe_text(&one);
    assert_safe_text(&last);
    assert!(one.as_str().ends_with(".1") && last.as_str().ends_with(".4294967295"));
    assert!(one != last && one != *name, "a number tells them apart");
}

fn assert_safe_text(name: &SafeName) {
    let text = name.as_str();
    assert!((1..=NAME_BYTES_MAX).contains(&text.len()), "{text:?}");
    assert!(!text.contains(|c: char| c.is_control() || "<>:\"/\\|?*".contains(c)));
    assert!(!text.contains([
        '\u{202a}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{200d}', '\u{feff}'
    ]));
    assert!(!text.starts_with(['.', '-', ' ']), "{text:?}");
    assert!(!text.ends_with(['.', ' ']), "{text:?}");
    let stem = text.split('.').next().unwrap_or_default().trim_end();
    for device in [
        "con", "prn", "aux", "nul", "conin$", "conout$", "com1", "lpt9", "com²",
    ] {
        assert!(!stem.eq_ignore_ascii_case(device), "{text:?}");
    }
    assert_eq!(&SafeName::clean(text), name, "it is as clean as it gets");
}

/// Year, month (from 0), day and seconds of the day, found by counting days, one month after the other.
pub fn civil(date: Wall) -> (i64, usize, i64, i64) {
    let mut days = date.unix_secs().div_euclid(86_400);
    let secs = date.unix_secs().rem_euclid(86_400);
    let (mut year, mut month) = (1970_i64, 0);
    // Whole cycles of 400 years have 146 097 days.
    year += days.div_euclid(146_097) * 400;
    days = days.rem_euclid(146_097);
    loop {
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let length = match month {
            1 => 28 + i64::from(leap),
            3 | 5 | 8 | 10 => 30,
            _ => 31,
        };
        if days < length {
            return (year, month, days + 1, secs);
        }
        days -= length;
        month += 1;
        if month == 12 {
            (year, month) = (year + 1, 0);
        }
    }
}

/// Names of months, as HTTP writes them.
pub const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The longest name.
const NAME_BYTES_MAX: usize = 200;

/// CRC-32 (IEEE) over several pieces, bit by bit.
pub fn crc32(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
