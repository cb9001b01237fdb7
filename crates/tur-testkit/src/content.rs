//! The bytes that every world serves: any byte can be named from its offset, so that a misplaced one shows.

use std::sync::LazyLock;

use bytes::Bytes;
use tur_core::ByteRange;

/// The largest slice that [`chunk`] hands out.
pub(crate) const CHUNK_MAX: u64 = 64 * 1024;

/// The period of the content: a prime, so that no power-of-two misplacement goes unseen.
const PERIOD: u64 = 251;

/// How far one version is shifted against the one before.
const VERSION_STEP: u64 = 97;

/// One stretch of the pattern from which every chunk is cut without a copy.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    (0..CHUNK_MAX + PERIOD)
        .map(|i| residue(i).to_le_bytes()[0])
        .collect()
});

/// Byte `i` of a version: `(i + 97 * version) mod 251`.
///
/// Version 0 is `i mod 251`. Versions 0 to 250 differ from one another at every offset, so that one spliced byte is
/// seen; versions 251 and up repeat the first ones.
#[must_use]
pub fn byte_at(version: u8, i: u64) -> u8 {
    residue(phase(version, i)).to_le_bytes()[0]
}

/// The bytes of `range` of a version; empty for an open range, which has no last byte.
#[must_use]
pub fn content(version: u8, range: ByteRange) -> Vec<u8> {
    if range.is_open() {
        return Vec::new();
    }
    let mut bytes = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let chunk = chunk(version, at, range.end - at);
        bytes.extend_from_slice(&chunk);
        at += chunk.len() as u64;
    }
    bytes
}

/// At most `len` (and at most [`CHUNK_MAX`]) bytes of a version from `start` on, shared and not copied.
pub(crate) fn chunk(version: u8, start: u64, len: u64) -> Bytes {
    let from = usize::try_from(phase(version, start)).expect("a residue of 251 fits");
    let len = usize::try_from(len.min(CHUNK_MAX)).expect("64 KiB fits");
    PATTERN.slice(from..from + len)
}

fn phase(version: u8, i: u64) -> u64 {
    (i % PERIOD + VERSION_STEP * u64::from(version)) % PERIOD
}

const fn residue(i: u64) -> u64 {
    i % PERIOD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_agree_with_single_bytes() {
        for version in [0, 1, 2, 250] {
            for (start, len) in [
                (0, 1),
                (1, 300),
                (250, 70_000),
                (u64::MAX - 300, 299),
                (9, 0),
            ] {
                let bytes = content(version, ByteRange::new(start, start + len));
                assert_eq!(bytes.len() as u64, len);
                assert!(
                    (start..)
                        .zip(&bytes)
                        .all(|(i, b)| byte_at(version, i) == *b)
                );
            }
        }
        assert_eq!(content(0, ByteRange::from(5)), []);
    }

    #[test]
    fn versions_differ_at_every_offset() {
        for version in 1..=250 {
            assert!((0..251).all(|i| byte_at(0, i) != byte_at(version, i)));
        }
        assert_eq!(byte_at(0, 252), 1);
    }
}
