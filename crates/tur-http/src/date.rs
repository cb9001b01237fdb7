//! Dates and delays as servers write them.

use core::time::Duration;

use tur_core::{RetryAfter, Wall};

use crate::fields::{number, trim};

/// Reads a date in one of the three forms of RFC 9110, section 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`, and the obsolete
/// `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`. Space around it is ignored.
///
/// `None` for anything else, and for a day, an hour or a second that does not exist. The name of the day must be one,
/// but is not compared with the date: it adds nothing to it. A second of 60 counts as the first of the next minute.
///
/// A two-digit year is read as 1970 to 2069: RFC 9110 wants a window around the present, and this function has no clock.
#[must_use]
pub fn http_date(text: &str) -> Option<Wall> {
    let text = trim(text.as_bytes());
    imf_fixdate(text)
        .or_else(|| rfc850_date(text))
        .or_else(|| asctime_date(text))
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3): seconds or a date. `None` if it is neither.
///
/// A delay is capped at ten years, so that no arithmetic with it overflows.
#[must_use]
pub fn retry_after(value: &[u8]) -> Option<RetryAfter> {
    let value = trim(value);
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        // Only digits: what does not fit is simply very long.
        let secs = number(value).unwrap_or(u64::MAX).min(DELAY_SECS_MAX);
        return Some(RetryAfter::Delay(Duration::from_secs(secs)));
    }
    let date = http_date(core::str::from_utf8(value).ok()?)?;
    Some(RetryAfter::At(date))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn imf_fixdate(text: &[u8]) -> Option<Wall> {
    let rest = day_name(text, |name| &name[..3])?.strip_prefix(b", ")?;
    let (day, rest) = (rest.get(..2)?, rest.get(2..)?);
    let (month, rest) = month(rest.strip_prefix(b" ")?)?;
    let rest = rest.strip_prefix(b" ")?;
    let (year, rest) = (rest.get(..4)?, rest.get(4..)?);
    let seconds = clock(rest.strip_prefix(b" ")?.strip_suffix(b" GMT")?)?;
    wall(number(year)?, month, number(day)?, seconds)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`.
fn rfc850_date(text: &[u8]) -> Option<Wall> {
    let rest = day_name(text, |name| name)?.strip_prefix(b", ")?;
    let (day, rest) = (rest.get(..2)?, rest.get(2..)?);
    let (month, rest) = month(rest.strip_prefix(b"-")?)?;
    let rest = rest.strip_prefix(b"-")?;
    let (year, rest) = (number(rest.get(..2)?)?, rest.get(2..)?);
    let seconds = clock(rest.strip_prefix(b" ")?.strip_suffix(b" GMT")?)?;
    let century = if year >= 70 { 1900 } else { 2000 };
    wall(century + year, month, number(day)?, seconds)
}

/// `Sun Nov  6 08:49:37 1994`.
fn asctime_date(text: &[u8]) -> Option<Wall> {
    let rest = day_name(text, |name| &name[..3])?.strip_prefix(b" ")?;
    let (month, rest) = month(rest)?;
    let rest = rest.strip_prefix(b" ")?;
    let (day, rest) = (rest.get(..2)?, rest.get(2..)?);
    let day = day.strip_prefix(b" ").unwrap_or(day);
    let (time, rest) = (
        rest.strip_prefix(b" ")?.get(..8)?,
        rest.get(9..).unwrap_or_default(),
    );
    let year = rest.strip_prefix(b" ")?;
    if year.len() != 4 {
        return None;
    }
    wall(number(year)?, month, number(day)?, clock(time)?)
}

/// What follows the name of a day, written as `form` writes it.
fn day_name(text: &[u8], form: impl Fn(&'static str) -> &'static str) -> Option<&[u8]> {
    DAYS.iter()
        .find_map(|name| text.strip_prefix(form(name).as_bytes()))
}

/// The index of the month named at the start, and what follows.
fn month(text: &[u8]) -> Option<(usize, &[u8])> {
    let name = text.get(..3)?;
    let index = MONTHS.iter().position(|(month, _)| *month == name)?;
    Some((index, &text[3..]))
}

/// Seconds of the day in `08:49:37`.
fn clock(text: &[u8]) -> Option<i64> {
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = text else {
        return None;
    };
    let hour = number(&[h1, h2]).filter(|hour| *hour < 24)?;
    let minute = number(&[m1, m2]).filter(|minute| *minute < 60)?;
    // RFC 9110, section 5.6.7: 60 is a leap second.
    let second = number(&[s1, s2]).filter(|second| *second <= 60)?;
    i64::try_from(hour * 3600 + minute * 60 + second).ok()
}

/// Seconds since 1970, in the Gregorian calendar.
fn wall(year: u64, month: usize, day: u64, seconds: i64) -> Option<Wall> {
    if !(1..=9999).contains(&year) {
        return None;
    }
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = MONTHS[month].1 + u64::from(leap && month == 1);
    if day == 0 || day > length {
        return None;
    }
    let before = year - 1;
    let months: u64 = MONTHS[..month].iter().map(|(_, days)| days).sum();
    let days = before * 365 + before / 4 - before / 100
        + before / 400
        + months
        + u64::from(leap && month > 1)
        + (day - 1);
    let days = i64::try_from(days).ok()? - DAYS_TO_1970;
    Some(Wall::from_unix_secs(days * 86_400 + seconds))
}

/// Ten years.
const DELAY_SECS_MAX: u64 = 10 * 365 * 86_400;

/// Days from 0001-01-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_162;

const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// Names and lengths; February as in a common year.
const MONTHS: [(&[u8], u64); 12] = [
    (b"Jan", 31),
    (b"Feb", 28),
    (b"Mar", 31),
    (b"Apr", 30),
    (b"May", 31),
    (b"Jun", 30),
    (b"Jul", 31),
    (b"Aug", 31),
    (b"Sep", 30),
    (b"Oct", 31),
    (b"Nov", 30),
    (b"Dec", 31),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::string::String;

    fn check(text: &str, secs: impl Into<Option<i64>>) {
        let secs = secs.into();
        assert_eq!(http_date(text).map(Wall::unix_secs), secs, "{text:?}");
    }

    #[test]
    fn the_three_forms() {
        check("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777);
        check("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777);
        check("Sun Nov  6 08:49:37 1994", 784_111_777);
        check(" Sun, 06 Nov 1994 08:49:37 GMT\t", 784_111_777);
        check("Wed Nov 16 08:49:37 1994", 784_975_777);
    }

    #[test]
    fn known_values() {
        check("Thu, 01 Jan 1970 00:00:00 GMT", 0);
        check("Wed, 31 Dec 1969 23:59:59 GMT", -1);
        check("Sun, 09 Sep 2001 01:46:40 GMT", 1_000_000_000);
        check("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600);
        check("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800);
        check("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800);
        check("Tue, 19 Jan 2038 03:14:08 GMT", 2_147_483_648);
        check("Mon, 01 Jan 0001 00:00:00 GMT", -62_135_596_800);
        check("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799);
        check("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800);
        check("Thursday, 01-Jan-70 00:00:00 GMT", 0);
        check("Tuesday, 31-Dec-69 00:00:00 GMT", 3_155_673_600);
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "0",
            "never",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 00:60:00 GMT",
            "Sun, 06 Nov 1994 00:00:61 GMT",
            "Sun, 31 Nov 1994 00:00:00 GMT",
            "Sun, 00 Nov 1994 00:00:00 GMT",
            "Tue, 29 Feb 1900 00:00:00 GMT",
            "Sun, 29 Feb 2023 00:00:00 GMT",
            "Sun, 06 Nov 0000 00:00:00 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Xyz, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun Nov  6 08:49:37 94",
            "Sun Nov  6 08:49:37 19945",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov   08:49:37 1994",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let delay = |secs| Some(RetryAfter::Delay(Duration::from_secs(secs)));
        let date = Wall::from_unix_secs(784_111_777);
        for (value, told) in [
            (&b"120"[..], delay(120)),
            (b" 0 ", delay(0)),
            (b"99999999999999999999999999", delay(DELAY_SECS_MAX)),
            (b"Sun, 06 Nov 1994 08:49:37 GMT", Some(RetryAfter::At(date))),
            (b"", None),
            (b"-1", None),
            (b"+1", None),
            (b"1.5", None),
            (b"soon", None),
            (b"\xff", None),
        ] {
            assert_eq!(retry_after(value), told, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn days_follow_one_another(day in 0_i64..4_000_000) {
            // Walk the calendar the slow way and compare.
            let (mut year, mut left) = (1_i64, day % 3_652_000);
            let is_leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
            while left >= 365 + i64::from(is_leap(year)) {
                left -= 365 + i64::from(is_leap(year));
                year += 1;
            }
            let mut month = 0;
            while left >= MONTHS[month].1 as i64 + i64::from(month == 1 && is_leap(year)) {
                left -= MONTHS[month].1 as i64 + i64::from(month == 1 && is_leap(year));
                month += 1;
            }
            let name = core::str::from_utf8(MONTHS[month].0).unwrap();
            let text = format!("Mon, {:02} {name} {year:04} 00:00:00 GMT", left + 1);
            let secs = (day % 3_652_000 - DAYS_TO_1970) * 86_400;
            prop_assert_eq!(http_date(&text), Some(Wall::from_unix_secs(secs)), "{}", text);
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let date = http_date(&text).map(RetryAfter::At);
            let told = retry_after(text.as_bytes());
            prop_assert!(told == date || matches!(told, Some(RetryAfter::Delay(_))));
        }

        #[test]
        fn a_date_with_a_character_too_many_or_too_few_is_none(at in 0_usize..31, with in any::<char>()) {
            for good in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
                let at = at.min(good.len() - 1);
                prop_assert_eq!(http_date(&good[..at]), None);
                let around = at == 0 && matches!(with, ' ' | '\t');
                let longer = format!("{}{with}{}", &good[..at], &good[at..]);
                prop_assert_eq!(http_date(&longer).is_some(), around, "{}", longer);
            }
        }
    }
}
