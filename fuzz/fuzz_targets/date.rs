//! Dates and delays: what is read is what a second, naive reading writes, in each of the three forms.
//!
//! The input is the text of a field; its first bytes are also taken as a number, of which a date is made.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tur_core::{RetryAfter, Wall};
use tur_fuzz::{MONTHS, civil};
use tur_http::{http_date, retry_after};

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let date = core::str::from_utf8(data).ok().and_then(http_date);
    if let Some(date) = date {
        assert!((FIRST..=LAST + 1).contains(&date.unix_secs()), "{date:?}");
        assert_written(date);
    }
    let mut number = [0; 8];
    let len = data.len().min(number.len());
    number[..len].copy_from_slice(&data[..len]);
    let span = LAST - FIRST + 1;
    assert_written(Wall::from_unix_secs(
        FIRST + i64::from_le_bytes(number).rem_euclid(span),
    ));

    let space = [b' ', b'\t'];
    let start = data.iter().position(|byte| !space.contains(byte));
    let end = data.iter().rposition(|byte| !space.contains(byte));
    let trimmed = start
        .zip(end)
        .map_or(&[][..], |(start, end)| &data[start..=end]);
    match retry_after(data) {
        Some(RetryAfter::At(at)) => assert_eq!(Some(at), date),
        Some(RetryAfter::Delay(delay)) => {
            let told = trimmed.iter().fold(0_u64, |sum, digit| {
                assert!(digit.is_ascii_digit(), "{data:?}");
                sum.saturating_mul(10)
                    .saturating_add(u64::from(digit - b'0'))
            });
            assert_eq!(delay, Duration::from_secs(told.min(TEN_YEARS)));
        }
        None => {
            assert_eq!(date, None);
            let digits = trimmed.iter().all(u8::is_ascii_digit);
            assert!(trimmed.is_empty() || !digits, "{data:?}");
        }
    }
});

/// Writes a date in all three forms of RFC 9110, section 5.6.7, and asserts that each reads as that date.
fn assert_written(date: Wall) {
    let (year, month, day, secs) = civil(date);
    if !(1..=9999).contains(&year) {
        // The leap second at the end of the last year.
        return assert_eq!(date.unix_secs(), LAST + 1);
    }
    let month = MONTHS[month];
    let clock = format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60);
    let read = |text: &str| assert_eq!(http_date(text), Some(date), "{text}");
    read(&format!("Mon, {day:02} {month} {year:04} {clock} GMT"));
    read(&format!("Mon {month} {day:2} {clock} {year:04}"));
    if (1970..2070).contains(&year) {
        let short = year % 100;
        read(&format!("Monday, {day:02}-{month}-{short:02} {clock} GMT"));
    }
}

/// From the beginning of the year 1 to the end of 9999, in seconds since 1970.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;

const TEN_YEARS: u64 = 10 * 365 * 86_400;
