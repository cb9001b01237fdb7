//! What a head says beside the representation: cookies, schemes of authentication, signs of a page in the way, alternatives.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use tur_core::{Asides, Secret};

use crate::fields;
use crate::read::{Head, values};
use crate::{alt_svc, challenge, terms};

/// Reads what a head says beside the representation. Nothing here can make an answer malformed: what is too long or too much
/// is left out.
pub(crate) fn asides(head: &Head<'_>) -> Asides {
    let may_be_page = may_be_page(head);
    Asides {
        cookies: values(head, "set-cookie")
            .filter(|value| value.len() <= COOKIE_BYTES_MAX)
            .take(COOKIES_MAX)
            .map(|value| Secret::from(value.to_vec()))
            .collect(),
        schemes: schemes(head),
        challenge: challenge::by_fields(head),
        may_be_page,
        page_encoding: match may_be_page {
            true => fields::encoding(values(head, "content-encoding")),
            false => None,
        },
        advert: alt_svc::advert(head).map(Box::new),
    }
}

fn schemes(head: &Head<'_>) -> Vec<String> {
    values(head, "www-authenticate")
        .filter(|value| value.len() <= SCHEME_BYTES_MAX)
        .take(SCHEMES_MAX)
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

/// An origin that says "attachment" (RFC 6266, section 4.2) means a file.
fn may_be_page(head: &Head<'_>) -> bool {
    let attached = values(head, "content-disposition").any(|value| {
        let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
        fields::trim(kind).eq_ignore_ascii_case(b"attachment")
    });
    let typed = match values(head, "content-type").next() {
        Some(value) => terms::is_html(fields::media_type(value).as_deref()),
        None => true,
    };
    typed && !attached
}

/// RFC 6265, section 6.1: a name, a value and attributes of 4096 bytes in all are to be supported.
const COOKIE_BYTES_MAX: usize = 4096;
/// Cookies that one answer may set. RFC 6265, section 6.1, asks for 50 of a domain.
const COOKIES_MAX: usize = 64;
/// A challenge of Digest has some hundred bytes.
const SCHEME_BYTES_MAX: usize = 4096;
/// Challenges that one answer may have.
const SCHEMES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use tur_core::BodyKind;

    fn of(fields: &[(&str, &[u8])]) -> Asides {
        asides(&Head {
            status: 200,
            reason: "",
            fields,
            body: BodyKind::Marked,
        })
    }

    #[test]
    fn what_may_be_a_page() {
        for (fields, may) in [
            (&[][..], true),
            (&[("Content-Type", &b"text/html; charset=x"[..])], true),
            (&[("Content-Type", b"application/xhtml+xml")], true),
            (&[("Content-Type", b"application/zip")], false),
            (
                &[
                    ("Content-Type", b"text/html"),
                    ("Content-Encoding", b"gzip"),
                ],
                true,
            ),
            (
                &[
                    ("Content-Type", b"text/html"),
                    ("Content-Disposition", b"Attachment; filename=a.html"),
                ],
                false,
            ),
            (
                &[
                    ("Content-Type", b"text/html"),
                    ("Content-Disposition", b"inline"),
                ],
                true,
            ),
        ] {
            let told = of(fields);
            assert_eq!(told.may_be_page, may, "{fields:?}");
            let coded = fields.iter().any(|(name, _)| *name == "Content-Encoding");
            assert_eq!(told.page_encoding.is_some(), coded && may, "{fields:?}");
        }
    }

    #[test]
    fn cookies_and_schemes_are_bounded_and_cookies_hidden() {
        let long = vec![b'x'; COOKIE_BYTES_MAX + 1];
        let mut fields = vec![("Set-Cookie", &long[..]), ("WWW-Authenticate", &long[..])];
        fields.extend(
            [
                ("set-cookie", &b"a=s3cret"[..]),
                ("www-authenticate", b"Basic"),
            ]
            .repeat(99),
        );
        let told = of(&fields);
        assert_eq!(told.cookies.len(), COOKIES_MAX);
        assert_eq!(told.schemes.len(), SCHEMES_MAX);
        assert_eq!(told.cookies[0].expose(), b"a=s3cret");
        assert!(!std::format!("{told:?}").contains("s3cret"));
    }
}
