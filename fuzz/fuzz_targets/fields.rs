//! Single field values: dates are read as a second, naive reading writes them, and `Content-Range` as a naive reading
//! in wider numbers reads it.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tur_core::{Answer, BodyKind, ByteRange, ContentRange, RetryAfter, Wall};
use tur_http::{Head, http_date, printable, read, retry_after};

fuzz_target!(|data: &[u8]| {
    let date = core::str::from_utf8(data).ok().and_then(http_date);
    if let Some(date) = date {
        assert_eq!(http_date(&imf_fixdate(date)), Some(date));
    }
    match retry_after(data) {
        Some(RetryAfter::At(at)) => assert_eq!(Some(at), date),
        Some(RetryAfter::Delay(delay)) => assert!(delay <= Duration::from_secs(10 * 365 * 86_400)),
        None => assert_eq!(date, None),
    }
    content_range(data);
    entity_tag(data);
    let shown = printable(&String::from_utf8_lossy(data));
    assert!(!shown.contains(char::is_control));
    assert_eq!(printable(&shown), shown);
});

/// Reads the value as `Content-Range` of a 206 and compares with [`naive_range`].
fn content_range(value: &[u8]) {
    let fields = [("content-range", value)];
    let head = Head {
        status: 206,
        reason: "",
        fields: &fields,
        body: BodyKind::Marked,
    };
    let told = match read(&head) {
        Ok(Answer::Partial { range, .. }) => range,
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    };
    assert_eq!(told, core::str::from_utf8(value).ok().and_then(naive_range));
}

/// `bytes first-last/total`, in 128 bits.
fn naive_range(value: &str) -> Option<ContentRange> {
    let space = [' ', '\t'];
    let (unit, rest) = value.trim_matches(space).split_once(' ')?;
    let (range, total) = rest.trim_start_matches(space).split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (digits(first)?, digits(last)?);
    let largest = u128::from(u64::MAX);
    let total = (total != "*").then(|| digits(total).unwrap_or(0));
    let fits = first <= last && last + 1 < total.unwrap_or(largest).saturating_add(1).min(largest);
    let narrow = |wide: u128| u64::try_from(wide).ok();
    let good = unit.eq_ignore_ascii_case("bytes") && fits && total.is_none_or(|t| t < largest);
    good.then_some(ContentRange {
        range: ByteRange::new(narrow(first)?, narrow(last + 1)?),
        total: total.and_then(narrow),
    })
}

/// A number that may be far larger than it should be.
fn digits(text: &str) -> Option<u128> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().unwrap_or(u128::MAX / 2))
}

/// Reads the value as `ETag`: one that is read is exactly what stood there.
fn entity_tag(value: &[u8]) {
    let fields = [("etag", value)];
    let head = Head {
        status: 200,
        reason: "",
        fields: &fields,
        body: BodyKind::Marked,
    };
    let Ok(Answer::Whole(content)) = read(&head) else {
        panic!("an entity tag alone is no fault");
    };
    if let Some(tag) = content.representation.etag {
        let prefix: &[u8] = if tag.weak { b"W/" } else { b"" };
        assert_eq!([prefix, &tag.opaque].concat(), value.trim_ascii());
        assert!(!tag.opaque.iter().any(u8::is_ascii_control));
        assert!(tag.opaque.len() >= 2);
    }
}

/// Writes a date by counting days, one month after the other.
fn imf_fixdate(date: Wall) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (mut days, secs) = (
        date.unix_secs().div_euclid(86_400),
        date.unix_secs().rem_euclid(86_400),
    );
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
            break;
        }
        days -= length;
        month += 1;
        if month == 12 {
            (year, month) = (year + 1, 0);
        }
    }
    let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
    let (day, name) = (days + 1, MONTHS[month]);
    format!("Mon, {day:02} {name} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}
