//! Single field values: `Content-Range` is read as a naive reading in wider numbers reads it, an entity tag is what
//! stood there, and a length is one number.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_core::{Answer, BodyKind, ByteRange, ContentRange};
use tur_http::{Head, read};

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    content_range(data);
    unsatisfied(data);
    entity_tag(data);
    length(data);
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

/// Reads the value as `Content-Range` of a 416: only `bytes */N` tells a total.
fn unsatisfied(value: &[u8]) {
    let fields = [("content-range", value)];
    let head = Head {
        status: 416,
        reason: "",
        fields: &fields,
        body: BodyKind::Marked,
    };
    let Ok(Answer::Unsatisfiable { total }) = read(&head) else {
        panic!("a 416 is no fault");
    };
    let text = core::str::from_utf8(value).unwrap_or_default();
    let told = text.trim_matches([' ', '\t']).split_once(' ');
    let naive = told
        .filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"))
        .and_then(|(_, rest)| rest.trim_start_matches([' ', '\t']).strip_prefix("*/"))
        .and_then(digits)
        .and_then(|wide| u64::try_from(wide).ok())
        .filter(|total| *total != ByteRange::OPEN);
    assert_eq!(total, naive);
}

/// Reads the value as `Content-Length`: a list of one number, however often it is repeated.
fn length(value: &[u8]) {
    let fields = [("content-length", value)];
    let head = Head {
        status: 200,
        reason: "",
        fields: &fields,
        body: BodyKind::UntilClose,
    };
    let text = core::str::from_utf8(value).unwrap_or("x");
    let members = text
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']));
    let told: Vec<Option<u128>> = members
        .filter(|member| !member.is_empty())
        .map(digits)
        .collect();
    let fits = |wide: &Option<u128>| wide.is_some_and(|wide| wide < u128::from(u64::MAX));
    let one = !told.is_empty() && told.iter().all(|other| fits(other) && *other == told[0]);
    assert_eq!(read(&head).is_ok(), one, "{text:?}");
}
