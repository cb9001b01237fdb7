//! Reading the head of an answer into facts.

use alloc::string::{String, ToString};
use core::fmt::Write as _;
use core::time::Duration;

use tur_core::{
    Answer, BodyKind, ByteRange, Content, ContentRange, ETag, Fault, LastModified, Representation,
};

use crate::asides::asides;
use crate::date::{http_date, retry_after};
use crate::fields::{self, RangeField, members, trim};

/// The head of a final (not 1xx) answer, as a transport received it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Status code.
    pub status: u16,
    /// Reason phrase; empty where the protocol has none.
    pub reason: &'a str,
    /// All fields in order, names in any case, values raw.
    pub fields: &'a [(&'a str, &'a [u8])],
    /// How the end of the body is known.
    pub body: BodyKind,
}

/// Reads a head. What it says is not compared with anything yet: that is [`admit`](crate::admit).
///
/// # Errors
/// `Malformed` if `Content-Range` is present and invalid, if two `Content-Range`, `ETag` or `Location` fields contradict
/// one another, or if `Content-Length` counts and is not one length (RFC 9112, section 6.3, rule 5).
pub fn read(head: &Head<'_>) -> Result<Answer, Fault> {
    check_length(head)?;
    Ok(match head.status {
        // RFC 9110, section 15.3.7.
        206 => {
            let content = content(head)?;
            Answer::Partial {
                range: partial_range(head, &content)?,
                content,
            }
        }
        // RFC 9110, sections 15.3.1 and 15.3.4.
        200 | 203 => {
            whole_only(head)?;
            Answer::Whole(content(head)?)
        }
        // RFC 9110, section 15.5.17: the field is optional here, so one that says nothing is no fault.
        416 => Answer::Unsatisfiable {
            total: match single(head, "content-range")?.and_then(fields::content_range) {
                Some(RangeField::Unsatisfied(total)) => Some(total),
                _ => None,
            },
        },
        // RFC 9110, section 15.4.
        301 | 302 | 303 | 307 | 308 => match location(head)? {
            Some(location) => Answer::Moved {
                location,
                asides: asides(head),
            },
            None => refused(head),
        },
        _ => refused(head),
    })
}

/// `Content-Range` means nothing in a 200 (RFC 9110, section 14.4). One that tells of a part contradicts the status:
/// which of the two is right cannot be known.
fn whole_only(head: &Head<'_>) -> Result<(), Fault> {
    let field = single(head, "content-range")?.and_then(fields::content_range);
    match field {
        Some(RangeField::Satisfied(range))
            if range.range.start > 0 || range.total != Some(range.range.end) =>
        {
            Err(malformed("200 with the Content-Range of a part"))
        }
        _ => Ok(()),
    }
}

/// RFC 9112, section 6.3, rule 5: a length that is invalid, or two that differ, cannot be recovered from. A marked end
/// overrides the field (rule 3).
fn check_length(head: &Head<'_>) -> Result<(), Fault> {
    if head.body == BodyKind::Length(ByteRange::OPEN) {
        return Err(malformed("bad Content-Length"));
    }
    if head.body == BodyKind::Marked {
        return Ok(());
    }
    let mut told = None;
    for value in values(head, "content-length") {
        // RFC 9110, section 8.6: the same length several times in a list may be taken as one.
        let mut empty = true;
        for member in members(value) {
            empty = false;
            let length = fields::length(member).ok_or_else(|| malformed("bad Content-Length"))?;
            if told.replace(length).is_some_and(|before| before != length) {
                return Err(malformed("two different Content-Length"));
            }
        }
        if empty {
            return Err(malformed("bad Content-Length"));
        }
    }
    Ok(())
}

fn partial_range(head: &Head<'_>, content: &Content) -> Result<Option<ContentRange>, Fault> {
    // RFC 9110, section 14.6: the parts have their own Content-Range, the head has none that counts.
    let multipart = content.representation.media_type.as_deref() == Some("multipart/byteranges");
    let Some(value) = single(head, "content-range")?.filter(|_| !multipart) else {
        return Ok(None);
    };
    match fields::content_range(value) {
        Some(RangeField::Satisfied(range)) => Ok(Some(range)),
        // RFC 9110, section 14.4: a unit that is not understood must not be recombined.
        Some(RangeField::ForeignUnit) => Ok(None),
        Some(RangeField::Unsatisfied(_)) | None => Err(malformed("Content-Range out of range")),
    }
}

fn content(head: &Head<'_>) -> Result<Content, Fault> {
    let is_bytes = |value| members(value).any(|unit| unit.eq_ignore_ascii_case(b"bytes"));
    Ok(Content {
        representation: Representation {
            etag: etag(head)?,
            last_modified: last_modified(head),
            media_type: values(head, "content-type")
                .next()
                .and_then(fields::media_type),
            encoding: fields::encoding(values(head, "content-encoding")),
            disposition: values(head, "content-disposition")
                .next()
                .map(<[u8]>::to_vec),
            accept_ranges: values(head, "accept-ranges").any(is_bytes),
        },
        body: head.body,
        asides: asides(head),
    })
}

fn etag(head: &Head<'_>) -> Result<Option<ETag>, Fault> {
    Ok(single(head, "etag")?.and_then(fields::etag))
}

/// `Last-Modified` (RFC 9110, section 8.8.2). Several that differ prove nothing and count as none.
fn last_modified(head: &Head<'_>) -> Option<LastModified> {
    let text = core::str::from_utf8(single(head, "last-modified").ok()??).ok()?;
    let at = http_date(text)?;
    let date = single(head, "date").ok()?;
    let date = date.and_then(|date| http_date(core::str::from_utf8(date).ok()?));
    Some(LastModified {
        text: text.to_string(),
        at,
        // RFC 9110, section 8.8.2.2: at least one second before Date.
        strong: date.is_some_and(|date| at.until(date) >= Duration::from_secs(1)),
    })
}

/// `Location` (RFC 9110, section 10.2.2). Bytes that are not UTF-8 are percent-encoded, as a URL needs them to be.
fn location(head: &Head<'_>) -> Result<Option<String>, Fault> {
    let Some(value) = single(head, "location")?.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    if let Ok(text) = core::str::from_utf8(value) {
        return Ok(Some(text.to_string()));
    }
    let mut text = String::new();
    for byte in value {
        if byte.is_ascii() {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    Ok(Some(text))
}

fn refused(head: &Head<'_>) -> Answer {
    let reason = if head.reason.is_empty() {
        usual_reason(head.status).to_string()
    } else {
        head.reason.chars().take(REASON_CHARS_MAX).collect()
    };
    Answer::Refused {
        status: head.status,
        reason,
        retry_after: values(head, "retry-after").find_map(retry_after),
        // RFC 9110, sections 11.6.1 and 11.7.1.
        challenge: values(head, "www-authenticate").next().is_some()
            || values(head, "proxy-authenticate").next().is_some(),
        asides: asides(head),
    }
}

/// The value of a field that may come once. Repeating it with the same value is harmless.
fn single<'a>(head: &Head<'a>, name: &str) -> Result<Option<&'a [u8]>, Fault> {
    let mut all = values(head, name).map(trim);
    let first = all.next();
    if first.is_some_and(|first| all.any(|other| other != first)) {
        return Err(malformed(&alloc::format!("two different {name} fields")));
    }
    Ok(first)
}

/// The values of all fields of that name (RFC 9110, section 5.1: names are case-insensitive).
pub(crate) fn values<'a>(head: &Head<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    head.fields
        .iter()
        .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| *value)
}

fn malformed(text: &str) -> Fault {
    Fault::Malformed(text.to_string())
}

/// The phrase of RFC 9110, section 15, for protocols that carry none (RFC 9113, section 8.3.2).
fn usual_reason(status: u16) -> &'static str {
    match status {
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        421 => "Misdirected Request",
        425 => "Too Early",
        429 => "Too Many Requests",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// A reason phrase is cut here: it is for people only.
const REASON_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tur_core::{Asides, RetryAfter};

    type Fields<'a> = &'a [(&'a str, &'a [u8])];

    const GOOD_RANGE: (&str, &[u8]) = ("content-range", b"bytes 0-9/10");

    fn answer(status: u16, fields: Fields<'_>) -> Result<Answer, Fault> {
        let body = BodyKind::Length(10);
        let reason = "";
        read(&Head {
            status,
            reason,
            fields,
            body,
        })
    }

    fn facts(fields: Fields<'_>) -> Representation {
        match answer(200, fields) {
            Ok(Answer::Whole(content)) => content.representation,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn check_malformed(status: u16, fields: Fields<'_>, text: &str) {
        assert_eq!(answer(status, fields), Err(Fault::Malformed(text.into())));
    }

    #[test]
    fn each_status_has_its_answer() {
        let kind = |status, fields| match answer(status, fields).expect("well-formed") {
            Answer::Partial { .. } => "partial",
            Answer::Whole(_) => "whole",
            Answer::Unsatisfiable { .. } => "unsatisfiable",
            Answer::Moved { .. } => "moved",
            Answer::Refused { .. } => "refused",
        };
        for (status, with_location, without) in [
            (200, "whole", "whole"),
            (203, "whole", "whole"),
            (204, "refused", "refused"),
            (206, "partial", "partial"),
            (300, "refused", "refused"),
            (301, "moved", "refused"),
            (302, "moved", "refused"),
            (303, "moved", "refused"),
            (304, "refused", "refused"),
            (307, "moved", "refused"),
            (308, "moved", "refused"),
            (404, "refused", "refused"),
            (416, "unsatisfiable", "unsatisfiable"),
            (503, "refused", "refused"),
        ] {
            assert_eq!(kind(status, &[("Location", b"/b")]), with_location);
            assert_eq!(kind(status, &[]), without, "{status}");
            assert_eq!(kind(status, &[("location", b" ")]), without, "{status}");
        }
    }

    #[test]
    fn content_range_of_a_206() {
        let range = |fields| match answer(206, fields) {
            Ok(Answer::Partial { range, .. }) => range,
            other => panic!("{other:?}"),
        };
        let ten = Some(ContentRange {
            range: ByteRange::new(0, 10),
            total: Some(10),
        });
        assert_eq!(range(&[GOOD_RANGE]), ten);
        assert_eq!(
            range(&[GOOD_RANGE, ("Content-Range", b" bytes 0-9/10 ")]),
            ten
        );
        assert_eq!(range(&[]), None);
        assert_eq!(range(&[("content-range", b"seconds 0-9/10")]), None);
        let multipart: &[u8] = b"Multipart/ByteRanges; boundary=x";
        assert_eq!(range(&[GOOD_RANGE, ("content-type", multipart)]), None);
        for value in [
            "bytes */10",
            "bytes 0-9/18446744073709551616",
            "bytes 9-0/10",
            "x",
            "",
        ] {
            let fields = [("content-range", value.as_bytes())];
            check_malformed(206, &fields, "Content-Range out of range");
        }
        let other = ("content-range", &b"bytes 0-9/11"[..]);
        check_malformed(
            206,
            &[GOOD_RANGE, other],
            "two different content-range fields",
        );
    }

    #[test]
    fn the_total_of_a_416() {
        for (value, total) in [
            (&b"bytes */10"[..], Some(10)),
            (b"bytes */0", Some(0)),
            (b"bytes 0-9/10", None),
            (b"bytes */99999999999999999999", None),
            (b"x", None),
        ] {
            let told = answer(416, &[("content-range", value)]);
            assert_eq!(told, Ok(Answer::Unsatisfiable { total }), "{value:?}");
        }
        assert_eq!(answer(416, &[]), Ok(Answer::Unsatisfiable { total: None }));
    }

    #[test]
    fn lengths_that_cannot_be_recovered_from() {
        for value in [
            "-1",
            "99999999999999999999999",
            "18446744073709551615",
            "1 0",
            "",
            "0x10",
        ] {
            let fields = [("Content-Length", value.as_bytes())];
            check_malformed(200, &fields, "bad Content-Length");
        }
        let (ten, eleven): (&[u8], &[u8]) = (b"10", b"11");
        let name = "content-length";
        check_malformed(
            200,
            &[(name, ten), (name, eleven)],
            "two different Content-Length",
        );
        check_malformed(200, &[(name, b"10, 11")], "two different Content-Length");
        assert!(answer(200, &[(name, ten), (name, b"10, 10")]).is_ok());
        let head = Head {
            status: 200,
            reason: "",
            fields: &[(name, b"-1")],
            body: BodyKind::Marked,
        };
        assert!(read(&head).is_ok(), "a marked end overrides the field");
        let body = BodyKind::Length(u64::MAX);
        assert!(
            read(&Head {
                fields: &[],
                body,
                ..head
            })
            .is_err()
        );
    }

    #[test]
    fn facts_of_the_representation() {
        let told = facts(&[
            ("ETag", b"W/\"x\""),
            ("CONTENT-TYPE", b"Application/Zip; x=y"),
            ("content-encoding", b"GZIP"),
            ("content-disposition", b"attachment; filename=\xff"),
            ("accept-ranges", b"Bytes"),
        ]);
        assert_eq!(
            told,
            Representation {
                etag: Some(ETag {
                    weak: true,
                    opaque: b"\"x\"".to_vec()
                }),
                last_modified: None,
                media_type: Some("application/zip".into()),
                encoding: Some("gzip".into()),
                disposition: Some(b"attachment; filename=\xff".to_vec()),
                accept_ranges: true,
            }
        );
        assert_eq!(facts(&[]), Representation::default());
        let none = [
            ("accept-ranges", &b"none"[..]),
            ("content-encoding", b"identity"),
        ];
        assert_eq!(facts(&none), Representation::default());
    }

    #[test]
    fn entity_tags_may_not_contradict_one_another() {
        let (a, b): (&[u8], &[u8]) = (b"\"a\"", b"\"b\"");
        check_malformed(
            200,
            &[("etag", a), ("ETag", b)],
            "two different etag fields",
        );
        assert!(facts(&[("etag", a), ("ETag", a)]).etag.is_some());
        assert_eq!(facts(&[("etag", b"a")]).etag, None);
    }

    #[test]
    fn a_date_is_strong_if_the_answer_is_a_second_younger() {
        let modified = |date: Option<&str>| {
            let mut fields: std::vec::Vec<(&str, &[u8])> =
                std::vec![("last-modified", b" Sun, 06 Nov 1994 08:49:37 GMT ")];
            fields.extend(date.map(|date| ("date", date.as_bytes())));
            facts(&fields).last_modified.expect("a date")
        };
        for (date, strong) in [
            (None, false),
            (Some("never"), false),
            (Some("Sun, 06 Nov 1994 08:49:36 GMT"), false),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), false),
            (Some("Sun, 06 Nov 1994 08:49:38 GMT"), true),
            (Some("Sun Nov  6 08:50:00 1994"), true),
        ] {
            assert_eq!(modified(date).strong, strong, "{date:?}");
            assert_eq!(modified(date).text, "Sun, 06 Nov 1994 08:49:37 GMT");
        }
        assert_eq!(facts(&[("last-modified", b"0")]).last_modified, None);
    }

    #[test]
    fn refused_answers_say_what_the_fields_say() {
        let head = Head {
            status: 503,
            reason: "Busy \u{1b}",
            fields: &[("Retry-After", b"7"), ("WWW-Authenticate", b"Basic")],
            body: BodyKind::Marked,
        };
        let told = Answer::Refused {
            status: 503,
            reason: "Busy \u{1b}".into(),
            retry_after: Some(RetryAfter::Delay(Duration::from_secs(7))),
            challenge: true,
            asides: Asides {
                schemes: std::vec!["Basic".into()],
                may_be_page: true,
                ..Asides::default()
            },
        };
        assert_eq!(read(&head), Ok(told));
        let fault = answer(404, &[]).map(|answer| answer.fault());
        let text = fault.ok().flatten().map(|fault| fault.to_string());
        assert_eq!(text.as_deref(), Some("404 Not Found"));
    }

    #[test]
    fn a_location_that_is_not_utf8_is_percent_encoded() {
        let location = |value| match answer(302, &[("location", value)]) {
            Ok(Answer::Moved { location, .. }) => location,
            other => panic!("{other:?}"),
        };
        assert_eq!(location(b"/a b\xff"), "/a b%FF");
        assert_eq!(location("/é".as_bytes()), "/é");
        let (a, b) = (("location", &b"/a"[..]), ("location", &b"/b"[..]));
        check_malformed(302, &[a, b], "two different location fields");
    }

    proptest! {
        #[test]
        fn no_head_panics(
            status in prop_oneof![Just(200), Just(206), Just(302), Just(416), any::<u16>()],
            fields in proptest::collection::vec(
                (
                    proptest::sample::select(&[
                        "content-range", "etag", "last-modified", "date", "content-type", "content-length",
                        "content-encoding", "content-disposition", "location", "retry-after", "accept-ranges",
                    ][..]),
                    prop_oneof![
                        proptest::collection::vec(any::<u8>(), 0..40),
                        "(bytes )?[0-9*/,\"W-]{0,30}".prop_map(String::into_bytes),
                    ],
                ),
                0..8,
            ),
            body in prop_oneof![any::<u64>().prop_map(BodyKind::Length), Just(BodyKind::Marked)],
        ) {
            let fields: std::vec::Vec<_> = fields.iter().map(|(name, value)| (*name, &value[..])).collect();
            let head = Head { status, reason: "", fields: &fields, body };
            if let Ok(Answer::Partial { range: Some(range), .. }) = read(&head) {
                prop_assert!(range.range.start < range.range.end);
                prop_assert!(range.total.is_none_or(|total| range.range.end <= total));
            }
        }
    }
}
