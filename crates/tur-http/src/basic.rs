//! Basic credentials, for origins and for proxies.

use alloc::format;
use alloc::string::String;

use tur_core::Secret;

/// The value of `Authorization` or `Proxy-Authorization` for a user and a password (RFC 7617, section 2).
#[must_use]
pub fn basic(user: &Secret, password: &Secret) -> Secret {
    let pair = Secret::from([user.expose(), b":", password.expose()].concat());
    Secret::from(format!("Basic {}", base64(pair.expose())))
}

/// Base64 (RFC 4648, section 4), with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = (bits >> (18 - 6 * i)) & 63;
            text.push(if i <= group.len() {
                char::from(DIGITS[digit as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_the_values_of_rfc_4648() {
        let rows = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (plain, coded) in rows {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_pair_is_what_the_rfc_says() {
        let value = basic(&"Aladdin".into(), &"open sesame".into());
        assert_eq!(value.expose(), b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
