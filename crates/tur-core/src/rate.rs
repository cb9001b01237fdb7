//! Bytes per second as a type.

use core::fmt;
use core::time::Duration;

/// A rate in bytes per second. Never negative, never NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

impl Rate {
    /// `bytes` per second.
    #[must_use]
    pub const fn per_second(bytes: u64) -> Self {
        Self(bytes)
    }

    /// `bytes` moved in `time`; `None` if no time has passed.
    #[must_use]
    pub fn of(bytes: u64, time: Duration) -> Option<Self> {
        let us = time.as_micros();
        if us == 0 {
            return None;
        }
        Some(Self(
            u64::try_from(u128::from(bytes) * 1_000_000 / us).unwrap_or(u64::MAX),
        ))
    }

    /// Bytes per second.
    #[must_use]
    pub const fn bytes_per_second(self) -> u64 {
        self.0
    }

    /// Bytes that move in `time` at this rate, saturating.
    #[must_use]
    pub fn bytes_in(self, time: Duration) -> u64 {
        u64::try_from(u128::from(self.0) * time.as_micros() / 1_000_000).unwrap_or(u64::MAX)
    }

    /// How long `bytes` take at this rate; [`Duration::MAX`] at rate zero.
    #[must_use]
    pub fn time_for(self, bytes: u64) -> Duration {
        if self.0 == 0 {
            return Duration::MAX;
        }
        let us = u128::from(bytes) * 1_000_000 / u128::from(self.0);
        Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B/s", self.0)
    }
}
