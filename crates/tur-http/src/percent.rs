//! Percent-decoding (RFC 3986, section 2.1).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;

/// Decodes every `%XX`; a `%` that begins no such triple stays as it is.
pub(crate) fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(byte) = (first == b'%').then(|| triple(tail)).flatten() {
            out.push(byte);
            rest = &tail[2..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}

/// Every byte but those that RFC 5987, section 3.2.1, lets stand, as `%XX`.
pub(crate) fn encoded(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(byte) {
            out.push(char::from(*byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    out
}

/// UTF-8, else every byte as the ISO-8859-1 character of that number.
pub(crate) fn utf8_or_latin1(bytes: &[u8]) -> String {
    match core::str::from_utf8(bytes) {
        Ok(text) => text.to_string(),
        Err(_) => latin1(bytes),
    }
}

/// Every byte as the ISO-8859-1 character of that number.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The byte that the two hexadecimal digits at the start of `tail` stand for.
fn triple(tail: &[u8]) -> Option<u8> {
    let digit = |at: usize| {
        tail.get(at)
            .and_then(|byte| char::from(*byte).to_digit(16))
            .and_then(|digit| u8::try_from(digit).ok())
    };
    Some(digit(0)? << 4 | digit(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_triples_and_nothing_else() {
        for (text, bytes) in [
            (&b"a%20b"[..], &b"a b"[..]),
            (b"%e2%82%AC", "€".as_bytes()),
            (b"100%", b"100%"),
            (b"%4", b"%4"),
            (b"%zz%41", b"%zzA"),
            (b"%%41", b"%A"),
            (b"%00", b"\0"),
        ] {
            assert_eq!(decode(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_latin1() {
        assert_eq!(utf8_or_latin1("é".as_bytes()), "é");
        assert_eq!(utf8_or_latin1(b"\xe9"), "é");
    }
}
