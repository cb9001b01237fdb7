//! Bytes, rates and times as people read them. No promise: scripts read `--json`.

use std::time::Duration;

use tur_engine::Rate;

/// Units above one byte, each 1024 times the one before.
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A number of bytes, e.g. `999 B` or `1.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut unit = None;
    // Tenths of a unit: exact in 128 bits, and rounded down, so that nothing looks complete before it is.
    let mut tenths = u128::from(count) * 10;
    for name in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1_024;
        unit = Some(name);
    }
    match unit {
        None => format!("{count} B"),
        Some(unit) => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

/// A rate, e.g. `1.5 MiB/s`.
pub(crate) fn rate(rate: Rate) -> String {
    format!("{}/s", bytes(rate.bytes_per_second()))
}

/// A time that has passed or is to come, e.g. `0.42 s`, `12 s`, `3 min 05 s` or `2 h 10 min`.
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{}.{:02} s", seconds, time.subsec_millis() / 10),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// How much of `total` is there, in percent, rounded down.
pub(crate) fn percent(landed: u64, total: u64) -> u64 {
    match total {
        0 => 100,
        total => u64::try_from(u128::from(landed) * 100 / u128::from(total))
            .unwrap_or(100)
            .min(100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_decimal_and_are_rounded_down() {
        for (count, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(rate(Rate::per_second(3 << 20)), "3.0 MiB/s");
    }

    #[test]
    fn times_have_two_units_at_most() {
        for (ms, text) in [
            (0, "0.00 s"),
            (426, "0.42 s"),
            (9_999, "9.99 s"),
            (59_900, "59 s"),
            (185_000, "3 min 05 s"),
            (7_800_000, "2 h 10 min"),
        ] {
            assert_eq!(time(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn nothing_is_complete_before_it_is() {
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
        assert_eq!(percent(5, 5), 100);
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(9, 5), 100);
    }
}
