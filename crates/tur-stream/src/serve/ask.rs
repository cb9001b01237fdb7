//! What a request comes to: [`judge`], a pure function of its fields and of what is served.
//!
//! The order of the conditions is that of RFC 9110, section 13.2.2. There is no date to compare with, so conditions on dates
//! are ignored, as sections 13.1.3 and 13.1.4 demand.

use hyper::header::{GetAll, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use tur_engine::ByteRange;

/// What is served.
pub(super) struct Facts<'a> {
    /// In bytes, if it is known.
    pub(super) len: Option<u64>,
    /// With its quotation marks.
    pub(super) tag: &'a str,
}

/// What a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 200.
    Whole,
    /// 206.
    Part(ByteRange),
    /// 304.
    NotModified,
    /// 412.
    Failed,
    /// 416, of a file of so many bytes.
    Unsatisfiable(u64),
}

/// What a request with these fields gets. Ranges are for `GET` alone (section 14.2).
pub(super) fn judge(fields: &HeaderMap, is_get: bool, facts: &Facts<'_>) -> Verdict {
    if fields.contains_key(IF_MATCH) && !names(fields.get_all(IF_MATCH), facts.tag, true) {
        return Verdict::Failed;
    }
    if names(fields.get_all(IF_NONE_MATCH), facts.tag, false) {
        return Verdict::NotModified;
    }
    let (Some(range), Some(len)) = (single(fields.get_all(RANGE)), facts.len) else {
        return Verdict::Whole;
    };
    // A date is no tag, and does not match either (section 13.1.5).
    let is_same = !fields.contains_key(IF_RANGE)
        || single(fields.get_all(IF_RANGE)).is_some_and(|tag| tag.trim() == facts.tag);
    match is_get && is_same {
        true => ranged(range, len),
        false => Verdict::Whole,
    }
}

/// The one value of a field; `None` without it, if there are several lines, or if it is no text.
fn single<'a>(lines: GetAll<'a, HeaderValue>) -> Option<&'a str> {
    let mut lines = lines.into_iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok(),
        _ => None,
    }
}

/// True if one of the lists has the tag, or is `*`. Strongly, a weak tag equals none (section 8.8.3.2).
fn names(lines: GetAll<'_, HeaderValue>, tag: &str, strongly: bool) -> bool {
    let mut lines = lines.into_iter().filter_map(|line| line.to_str().ok());
    lines.any(|line| line.trim() == "*" || lists(line, tag, strongly))
}

fn lists(line: &str, tag: &str, strongly: bool) -> bool {
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let strong = rest.strip_prefix("W/").unwrap_or(rest);
        let is_weak = strong.len() != rest.len();
        let Some(end) = strong.strip_prefix('"').and_then(|text| text.find('"')) else {
            return false;
        };
        // Both quotation marks with it.
        let (one, after) = strong.split_at(end + 2);
        if one == tag && !(strongly && is_weak) {
            return true;
        }
        rest = after;
    }
}

/// What the value of `Range` comes to.
fn ranged(text: &str, len: u64) -> Verdict {
    let Some((unit, set)) = text.split_once('=') else {
        return Verdict::Whole;
    };
    // Names of units know no case (section 14.1); one that is not known is ignored.
    if !unit.eq_ignore_ascii_case("bytes") {
        return Verdict::Whole;
    }
    let trimmed = set.split(',').map(|spec| spec.trim_matches([' ', '\t']));
    // Empty elements of a list are ignored (section 5.6.1.2).
    let mut specs = trimmed.filter(|spec| !spec.is_empty());
    match (specs.next(), specs.next()) {
        (Some(spec), None) => one(spec, len).unwrap_or(Verdict::Whole),
        _ => Verdict::Whole,
    }
}

/// What one range comes to; `None` if it is none.
fn one(spec: &str, len: u64) -> Option<Verdict> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(match (suffix, len) {
            (0, _) => Verdict::Unsatisfiable(len),
            // It can be satisfied, but no Content-Range says so.
            (_, 0) => Verdict::Whole,
            _ => Verdict::Part(ByteRange::new(len - suffix.min(len), len)),
        });
    }
    let first = number(first)?;
    let last = match last {
        "" => u64::MAX,
        last => number(last)?,
    };
    if last < first {
        return None;
    }
    Some(match first < len {
        true => Verdict::Part(ByteRange::new(first, last.saturating_add(1).min(len))),
        false => Verdict::Unsatisfiable(len),
    })
}

/// A number; the greatest there is in place of a greater one.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"a,b\"";

    #[track_caller]
    fn check(len: Option<u64>, lines: &[(&'static str, &str)], verdict: Verdict) {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let facts = Facts { len, tag: TAG };
        assert_eq!(judge(&fields, true, &facts), verdict, "{lines:?}");
        let unranged = match verdict {
            Verdict::Part(_) | Verdict::Unsatisfiable(_) => Verdict::Whole,
            other => other,
        };
        assert_eq!(judge(&fields, false, &facts), unranged, "HEAD {lines:?}");
    }

    fn part(start: u64, end: u64) -> Verdict {
        Verdict::Part(ByteRange::new(start, end))
    }

    #[test]
    fn a_range_is_what_the_rfc_says() {
        let none = Verdict::Unsatisfiable(100);
        for (text, verdict) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-99", part(0, 100)),
            ("bytes=10-19", part(10, 20)),
            ("bytes=10-", part(10, 100)),
            ("bytes=99-", part(99, 100)),
            ("bytes=90-1000", part(90, 100)),
            ("bytes=5-99999999999999999999999999", part(5, 100)),
            ("bytes=-1", part(99, 100)),
            ("bytes=-100", part(0, 100)),
            ("bytes=-99999999999999999999999999", part(0, 100)),
            ("Bytes=1-2", part(1, 3)),
            ("bytes= 1-2 ", part(1, 3)),
            ("bytes=,1-2, ,", part(1, 3)),
            ("bytes=100-", none),
            ("bytes=100-200", none),
            ("bytes=99999999999999999999999999-", none),
            ("bytes=-0", none),
            // Not understood, or more than one.
            ("bytes=2-1", Verdict::Whole),
            ("bytes=0-1,5-6", Verdict::Whole),
            ("bytes=-", Verdict::Whole),
            ("bytes=", Verdict::Whole),
            ("bytes", Verdict::Whole),
            ("bytes=1", Verdict::Whole),
            ("bytes=--1", Verdict::Whole),
            ("bytes=1-2-3", Verdict::Whole),
            ("bytes=+1-2", Verdict::Whole),
            ("bytes=0x1-2", Verdict::Whole),
            ("bytes=a-b", Verdict::Whole),
            ("seconds=0-1", Verdict::Whole),
            ("", Verdict::Whole),
        ] {
            check(Some(100), &[("range", text)], verdict);
            check(None, &[("range", text)], Verdict::Whole);
        }
        check(
            Some(100),
            &[("range", "bytes=0-1"), ("range", "bytes=5-6")],
            Verdict::Whole,
        );
        check(Some(0), &[("range", "bytes=0-")], Verdict::Unsatisfiable(0));
        check(Some(0), &[("range", "bytes=-5")], Verdict::Whole);
        check(Some(100), &[], Verdict::Whole);
    }

    #[test]
    fn conditions_come_in_their_order() {
        let range = ("range", "bytes=1-2");
        for (lines, verdict) in [
            (&[("if-range", TAG), range][..], part(1, 3)),
            (&[("if-range", "W/\"a,b\""), range], Verdict::Whole),
            (&[("if-range", "\"other\""), range], Verdict::Whole),
            (
                &[("if-range", "Sat, 21 Nov 2026 19:00:00 GMT"), range],
                Verdict::Whole,
            ),
            (
                &[("if-range", "\"other\""), ("range", "bytes=100-")],
                Verdict::Whole,
            ),
            (&[("if-range", TAG)], Verdict::Whole),
            (&[("if-match", TAG), range], part(1, 3)),
            (&[("if-match", "\"x\", \"a,b\"")], Verdict::Whole),
            (&[("if-match", "*")], Verdict::Whole),
            (&[("if-match", "W/\"a,b\""), range], Verdict::Failed),
            (&[("if-match", "\"x\"")], Verdict::Failed),
            (&[("if-match", "a,b")], Verdict::Failed),
            (
                &[("if-match", "\"x\""), ("if-none-match", TAG)],
                Verdict::Failed,
            ),
            (&[("if-none-match", TAG), range], Verdict::NotModified),
            (
                &[("if-none-match", "\"x\" , W/\"a,b\"")],
                Verdict::NotModified,
            ),
            (&[("if-none-match", "*")], Verdict::NotModified),
            (&[("if-none-match", "\"x\""), range], part(1, 3)),
            (&[("if-none-match", "\"a"), range], part(1, 3)),
            (&[("if-none-match", ""), range], part(1, 3)),
            (
                &[("if-modified-since", "Sat, 21 Nov 2026 19:00:00 GMT")],
                Verdict::Whole,
            ),
        ] {
            check(Some(100), lines, verdict);
        }
    }
}
