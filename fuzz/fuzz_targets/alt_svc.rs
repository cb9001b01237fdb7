//! Alternative services: an offer that is read is in its one form, is read again as it is written, and is taken back by
//! `clear` and by nothing that cannot be read.
//!
//! The input is the values of fields, a line each.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tur_core::{Advert, Answer, BodyKind, Offer};
use tur_http::{Head, read};

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').take(LINES_MAX).collect();
    let said = advert(&lines);
    if let Some(Advert::Http3(offer)) = &said {
        assert_formed(offer);
        assert!(!lines.contains(&&b"clear"[..]), "it was taken back");
        let persist = if offer.persist { "; persist=1" } else { "" };
        let secs = offer.max_age.as_secs();
        let written = format!("h3=\"{}\"; ma={secs}{persist}", offer.alternative);
        assert_eq!(advert(&[written.as_bytes()]), said, "{written}");
        assert_eq!(advert(&[written.as_bytes(), b"="]), said, "{written}");
    }
    let cleared = [&lines[..lines.len().min(LINES_MAX - 1)], &[b"clear"]].concat();
    assert_eq!(advert(&cleared), Some(Advert::Withdrawn));
});

fn advert(lines: &[&[u8]]) -> Option<Advert> {
    let fields: Vec<(&str, &[u8])> = lines.iter().map(|line| ("alt-svc", *line)).collect();
    let head = Head {
        status: 200,
        reason: "",
        fields: &fields,
        body: BodyKind::Marked,
    };
    match read(&head) {
        Ok(Answer::Whole(content)) => content.asides.advert.map(|advert| *advert),
        other => panic!("no field here makes an answer malformed: {other:?}"),
    }
}

fn assert_formed(offer: &Offer) {
    assert!(offer.alternative.port != 0 && offer.max_age <= AGE_MAX);
    if let Some(host) = &offer.alternative.host {
        let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        assert!(!host.is_empty() && host.bytes().all(usual), "{host:?}");
        assert_eq!(*host, host.to_ascii_lowercase());
    }
}

/// Lines behind this one are not read.
const LINES_MAX: usize = 8;
/// No offer is believed for longer.
const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
