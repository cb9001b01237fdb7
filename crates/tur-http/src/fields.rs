//! Parsers for single field values. None of them panics, allocates by a number it read, or wraps around.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use tur_core::{ByteRange, ContentRange, ETag};

/// What a `Content-Range` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeField {
    /// `bytes first-last/total`.
    Satisfied(ContentRange),
    /// `bytes */total`.
    Unsatisfied(u64),
    /// A unit other than bytes.
    ForeignUnit,
}

/// Reads `Content-Range` (RFC 9110, section 14.4). `None` if it is not one, or its numbers contradict one another
/// or reach the largest `u64`, which stands for an open end.
pub(crate) fn content_range(value: &[u8]) -> Option<RangeField> {
    let value = trim(value);
    let at = value.iter().position(|byte| *byte == b' ')?;
    // RFC 9110, section 14.1: unit names are case-insensitive.
    if !value[..at].eq_ignore_ascii_case(b"bytes") {
        return is_token(&value[..at]).then_some(RangeField::ForeignUnit);
    }
    let (range, total) = split_once(trim(&value[at..]), b'/')?;
    if range == b"*" {
        return length(total).map(RangeField::Unsatisfied);
    }
    let total = match total {
        b"*" => None,
        digits => Some(length(digits)?),
    };
    let (first, last) = split_once(range, b'-')?;
    let (first, end) = (number(first)?, number(last)?.checked_add(1)?);
    // RFC 9110, section 14.4: invalid if last < first or total <= last.
    if first >= end || end == ByteRange::OPEN || total.is_some_and(|total| end > total) {
        return None;
    }
    Some(RangeField::Satisfied(ContentRange {
        range: ByteRange::new(first, end),
        total,
    }))
}

/// Reads `ETag` (RFC 9110, section 8.8.3). `None` if it is not exactly an entity tag, or longer than a journal keeps.
pub(crate) fn etag(value: &[u8]) -> Option<ETag> {
    let value = trim(value);
    // The `W/` is case-sensitive.
    let (weak, opaque) = match value.strip_prefix(b"W/") {
        Some(opaque) => (true, opaque),
        None => (false, value),
    };
    let inner = opaque.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let is_etagc = |byte: &u8| matches!(*byte, 0x21 | 0x23..=0x7e | 0x80..);
    (opaque.len() <= ETAG_BYTES_MAX && inner.iter().all(is_etagc)).then(|| ETag {
        weak,
        opaque: opaque.to_vec(),
    })
}

/// Reads `Content-Type` (RFC 9110, section 8.3.1) without its parameters, in lower case.
pub(crate) fn media_type(value: &[u8]) -> Option<String> {
    let essence = value.split(|byte| *byte == b';').next()?;
    let (kind, subtype) = split_once(trim(essence), b'/')?;
    let fits = kind.len() + subtype.len() <= MEDIA_TYPE_BYTES_MAX;
    if !fits || !is_token(kind) || !is_token(subtype) {
        return None;
    }
    let text = core::str::from_utf8(trim(essence)).ok()?;
    Some(text.to_ascii_lowercase())
}

/// Joins all `Content-Encoding` values (RFC 9110, section 8.4) into one in lower case, without `identity`;
/// `None` if nothing is left.
pub(crate) fn encoding<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let codings: Vec<String> = values
        .flat_map(members)
        .map(|coding| String::from_utf8_lossy(coding).to_ascii_lowercase())
        .map(|coding| match coding.as_str() {
            // RFC 9110, sections 8.4.1.1 and 8.4.1.3.
            "x-gzip" => "gzip".to_string(),
            "x-compress" => "compress".to_string(),
            _ => coding,
        })
        .filter(|coding| coding != "identity")
        .collect();
    (!codings.is_empty()).then(|| codings.join(", "))
}

/// The members of a comma-separated list, without empty ones (RFC 9110, section 5.6.1.2).
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(trim)
        .filter(|member| !member.is_empty())
}

/// A length in bytes. The largest `u64` stands for an open end and is no length.
pub(crate) fn length(digits: &[u8]) -> Option<u64> {
    number(digits).filter(|length| *length != ByteRange::OPEN)
}

/// A number of one or more decimal digits and nothing else. `None` if it does not fit.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// `value` without the optional space around it (RFC 9110, section 5.6.3).
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(*byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte));
    let end = value.iter().rposition(|byte| !is_space(byte));
    match (start, end) {
        (Some(start), Some(end)) => &value[start..=end],
        _ => &[],
    }
}

/// True for a token (RFC 9110, section 5.6.2).
pub(crate) fn is_token(text: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_tchar)
}

/// What stands before and after the first `at`.
pub(crate) fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let i = text.iter().position(|byte| *byte == at)?;
    Some((&text[..i], &text[i + 1..]))
}

/// Longer entity tags are treated as absent: a tag goes into every request and into the journal.
const ETAG_BYTES_MAX: usize = 1024;

/// Longer media types are treated as absent. RFC 6838, section 4.2: each half has at most 127 characters.
const MEDIA_TYPE_BYTES_MAX: usize = 2 * 127;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn content_ranges() {
        let satisfied = |start, end, total| {
            Some(RangeField::Satisfied(ContentRange {
                range: ByteRange::new(start, end),
                total,
            }))
        };
        for (value, told) in [
            ("bytes 0-9/10", satisfied(0, 10, Some(10))),
            ("bytes 5-5/10", satisfied(5, 6, Some(10))),
            (" Bytes  0-9/* ", satisfied(0, 10, None)),
            ("bytes */10", Some(RangeField::Unsatisfied(10))),
            ("bytes */0", Some(RangeField::Unsatisfied(0))),
            ("seconds 0-9/10", Some(RangeField::ForeignUnit)),
            (
                "bytes 0-18446744073709551613/18446744073709551614",
                satisfied(0, u64::MAX - 1, Some(u64::MAX - 1)),
            ),
            ("bytes 0-9/18446744073709551615", None),
            ("bytes 0-9/18446744073709551616", None),
            ("bytes 0-18446744073709551614/*", None),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes 18446744073709551616-18446744073709551617/*", None),
            ("bytes 0-10/10", None),
            ("bytes 5-4/10", None),
            ("bytes 0-9", None),
            ("bytes 0-/10", None),
            ("bytes -9/10", None),
            ("bytes 0-9/", None),
            ("bytes */*", None),
            ("bytes +0-9/10", None),
            ("bytes 0 - 9/10", None),
            ("bytes 0-9/10, bytes 0-9/10", None),
            ("bytes=0-9/10", None),
            ("0-9/10", None),
            ("", None),
        ] {
            assert_eq!(content_range(value.as_bytes()), told, "{value:?}");
        }
    }

    #[test]
    fn entity_tags() {
        for (value, told) in [
            (&b"\"a\""[..], Some((false, &b"\"a\""[..]))),
            (b" W/\"a\" ", Some((true, b"\"a\""))),
            (b"\"\"", Some((false, b"\"\""))),
            (b"\"\xff\"", Some((false, b"\"\xff\""))),
            (b"\"a b\"", None),
            (b"\"a\"b\"", None),
            (b"w/\"a\"", None),
            (b"W/a", None),
            (b"a", None),
            (b"\"a", None),
            (b"\"", None),
            (b"", None),
            (b"\"\x1b\"", None),
            (b"\"\x7f\"", None),
        ] {
            let tag = etag(value);
            let tag = tag.as_ref().map(|tag| (tag.weak, &tag.opaque[..]));
            assert_eq!(tag, told, "{value:?}");
        }
        let long = std::format!("\"{}\"", "a".repeat(ETAG_BYTES_MAX));
        assert_eq!(etag(long.as_bytes()), None);
        assert!(etag(&[&long.as_bytes()[..ETAG_BYTES_MAX - 1], b"\""].concat()).is_some());
    }

    #[test]
    fn media_types() {
        for (value, told) in [
            ("text/html", Some("text/html")),
            ("Text/HTML; charset=utf-8", Some("text/html")),
            (" application/zip ;x", Some("application/zip")),
            ("text", None),
            ("text/", None),
            ("text/html/x", None),
            ("te xt/html", None),
            ("", None),
        ] {
            assert_eq!(media_type(value.as_bytes()).as_deref(), told, "{value:?}");
        }
    }

    #[test]
    fn encodings() {
        for (values, told) in [
            (&["gzip"][..], Some("gzip")),
            (&["X-GZip"], Some("gzip")),
            (&["identity"], None),
            (&["", " , "], None),
            (&["identity, br"], Some("br")),
            (&["gzip", "br"], Some("gzip, br")),
            (&[], None),
        ] {
            let told_by = encoding(values.iter().map(|value| value.as_bytes()));
            assert_eq!(told_by.as_deref(), told, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn a_content_range_that_is_read_is_in_order(
            first in any::<u64>(), last in any::<u64>(), total in proptest::option::of(any::<u64>()),
        ) {
            let tail = total.map_or("*".to_string(), |total| total.to_string());
            let value = std::format!("bytes {first}-{last}/{tail}");
            let good = first <= last && last < u64::MAX - 1
                && total.is_none_or(|total| last < total && total < u64::MAX);
            let told = content_range(value.as_bytes());
            prop_assert_eq!(told.is_some(), good);
            if let Some(RangeField::Satisfied(told)) = told {
                prop_assert_eq!(told, ContentRange { range: ByteRange::new(first, last + 1), total });
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), unit in "bytes [0-9*/-]{0,40}") {
            content_range(&bytes);
            content_range(unit.as_bytes());
            etag(&bytes);
            media_type(&bytes);
            encoding([&bytes[..]].into_iter());
            number(&bytes);
        }
    }
}
