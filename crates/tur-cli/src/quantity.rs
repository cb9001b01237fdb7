//! Sizes, rates and durations as they are typed.
//!
//! Each function is a value parser: text in, value or a sentence out. Nothing here is lenient: what is not understood
//! is refused, so that no digit is lost unseen.

use std::time::Duration;

use tur_engine::Rate;

/// The longest duration that is taken, in seconds: about 31 years, far from every overflow of a clock.
const SECONDS_MAX: u64 = 1_000_000_000;

/// Reads a size in bytes: digits, and `K`, `M` or `G` (1024-based, in either case) if wished. Zero is refused.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    match position(text)? {
        0 => Err("this must be more than 0".to_owned()),
        bytes => Ok(bytes),
    }
}

/// Reads a position in bytes, written as a size. Zero is allowed.
///
/// # Errors
/// As [`size`].
pub(crate) fn position(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1_u64),
    };
    if !is_digits(digits) {
        return Err("a number of bytes, such as 4096, 256K, 8M or 1G, is expected".to_owned());
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| "this is more than any file can have".to_owned())
}

/// Reads a rate in bytes per second, written as a size.
///
/// # Errors
/// As [`size`].
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    size(text).map(Rate::per_second)
}

/// Reads a duration in seconds, with a fraction if wished. Zero is allowed.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !is_digits(whole) || !is_digits(fraction) {
        return Err("a number of seconds, such as 30 or 0.5, is expected".to_owned());
    }
    let whole = whole
        .parse::<u64>()
        .ok()
        .filter(|seconds| *seconds <= SECONDS_MAX)
        .ok_or_else(|| format!("this is more than {SECONDS_MAX} seconds"))?;
    let nanos = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(9)
        .fold(0_u32, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    Ok(Duration::new(whole, nanos))
}

/// Reads a duration in seconds that is longer than zero.
///
/// # Errors
/// As [`seconds`].
pub(crate) fn some_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("this must be more than 0".to_owned()),
        time => Ok(time),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_1024_based() {
        for (text, bytes) in [
            ("1", 1),
            ("1024", 1_024),
            ("256K", 256 << 10),
            ("256k", 256 << 10),
            ("8M", 8 << 20),
            ("3g", 3 << 30),
            ("0001K", 1_024),
            ("18446744073709551615", u64::MAX),
            ("17179869183G", 17_179_869_183 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
            assert_eq!(position(text), Ok(bytes), "{text}");
            assert_eq!(rate(text), Ok(Rate::per_second(bytes)), "{text}");
        }
        assert_eq!([position("0"), position("0K")], [Ok(0), Ok(0)]);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "K",
            "0",
            "0K",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1.5M",
            "1e3",
            "1KB",
            "1T",
            "0x10",
            "１",
            "1é",
            "18446744073709551616",
            "17179869184G",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        for (text, time) in [
            ("0", Duration::ZERO),
            ("30", Duration::from_secs(30)),
            ("0.5", Duration::from_millis(500)),
            ("1.25", Duration::from_millis(1_250)),
            ("0.0000000019", Duration::from_nanos(1)),
            ("1000000000", Duration::from_secs(SECONDS_MAX)),
        ] {
            assert_eq!(seconds(text), Ok(time), "{text}");
        }
        assert_eq!(some_seconds("0.1"), Ok(Duration::from_millis(100)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "1e3",
            "inf",
            "NaN",
            "1s",
            "1,5",
            "1.2.3",
            "1000000001",
            "99999999999999999999",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(some_seconds("0").is_err());
        assert!(some_seconds("0.0").is_err());
    }
}
