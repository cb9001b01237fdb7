//! What the user demands, beside the table.

use super::*;
use crate::TypeGlob;

fn under<'a>(terms: &'a Terms, start: u64, identity: Option<&'a Identity>) -> Asked<'a> {
    Asked {
        terms,
        ..asked(start, identity)
    }
}

fn refusal(answer: &Answer, asked: &Asked<'_>) -> Refusal {
    match admit(answer, asked) {
        Err(Fault::NotAdmitted(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn types(globs: &[&str]) -> Terms {
    let glob = |text: &&str| text.parse::<TypeGlob>().expect("a pattern");
    Terms {
        types: globs.iter().map(glob).collect(),
        ..Terms::default()
    }
}

fn typed(media_type: Option<&str>) -> Representation {
    facts_with(|facts| facts.media_type = media_type.map(ToString::to_string))
}

fn coded(encoding: &str) -> Representation {
    facts_with(|facts| facts.encoding = Some(encoding.to_string()))
}

const DECODE: &Terms = &Terms {
    types: alloc::vec::Vec::new(),
    length: false,
    resume: false,
    decode: true,
};

#[test]
fn every_answer_with_content_has_a_type_that_was_asked_for() {
    let images = types(&["image/*", "application/zip"]);
    for (media_type, ok) in [
        (Some("image/png"), true),
        (Some("application/zip"), true),
        (Some("text/html"), false),
        (None, false),
    ] {
        for answer in [
            whole_of(BodyKind::Length(TOTAL), typed(media_type)),
            partial_of(0, TOTAL, TOTAL, typed(media_type)),
        ] {
            let told = admit(&answer, &under(&images, 0, None));
            assert_eq!(told.is_ok(), ok, "{media_type:?}: {told:?}");
        }
    }
    let octets = types(&["application/octet-stream"]);
    let untyped = whole_of(BodyKind::Length(TOTAL), typed(None));
    assert!(admit(&untyped, &under(&octets, 0, None)).is_ok());
    let page = whole_of(BodyKind::Length(TOTAL), typed(Some("text/html")));
    let said = refusal(&page, &under(&images, 0, None));
    assert_eq!(said.kind(), Kind::Server);
    assert_eq!(
        said.to_string(),
        "the server sends text/html, --accept-type asks for image/* or application/zip"
    );
    // A later answer too; but a page in place of the file is a login page first of all.
    let known = file();
    let later = partial_of(40, TOTAL, TOTAL, typed(Some("text/plain")));
    let said = refusal(&later, &under(&images, 40, Some(&known)));
    assert!(matches!(said, Refusal::TypeRefused { .. }), "{said}");
    let portal = whole_of(
        BodyKind::Length(7),
        facts_with(|facts| {
            facts.etag = None;
            facts.media_type = Some("text/html".into());
        }),
    );
    assert_eq!(
        refusal(&portal, &under(&images, 40, Some(&known))),
        Refusal::Page
    );
}

#[test]
fn a_required_length_is_any_end_but_that_of_the_connection() {
    let terms = Terms {
        length: true,
        ..Terms::default()
    };
    for (body, ok) in [
        (BodyKind::Length(TOTAL), true),
        (BodyKind::Marked, true),
        (BodyKind::UntilClose, false),
    ] {
        let whole = whole_of(body, facts());
        assert_eq!(
            admit(&whole, &under(&terms, 0, None)).is_ok(),
            ok,
            "{body:?}"
        );
    }
    let open = whole_of(BodyKind::UntilClose, facts());
    let said = refusal(&open, &under(&terms, 0, None));
    assert_eq!((said.kind(), said), (Kind::Network, Refusal::LengthUnknown));
    // The length is known from before, or told by Content-Range.
    assert!(admit(&open, &under(&terms, 0, Some(&file()))).is_ok());
    let mut ranged = partial_of(0, TOTAL, TOTAL, facts());
    if let Answer::Partial { content, .. } = &mut ranged {
        content.body = BodyKind::UntilClose;
    }
    assert!(admit(&ranged, &under(&terms, 0, None)).is_ok());
    // It is that of the coded bytes, and whether all of them came is not known.
    if let Answer::Partial { content, .. } = &mut ranged {
        content.representation.encoding = Some("gzip".into());
    }
    let both = Terms {
        decode: true,
        ..terms
    };
    assert_eq!(
        refusal(&ranged, &under(&both, 0, None)),
        Refusal::LengthUnknown
    );
}

#[test]
fn what_is_required_to_be_resumable_has_ranges_and_a_length() {
    let terms = Terms {
        resume: true,
        ..Terms::default()
    };
    let weak = || facts_with(|facts| facts.etag = tag("W/a"));
    for (answer, why) in [
        (partial_of(0, TOTAL, TOTAL, facts()), None),
        (partial_of(0, 40, TOTAL, facts()), None),
        (whole_of(BodyKind::Length(0), facts()), None),
        (whole_of(BodyKind::Length(TOTAL), facts()), Some("ranges")),
        (whole_of(BodyKind::Marked, facts()), Some("ranges")),
        (partial_of(0, TOTAL, None, facts()), Some("length")),
        (partial_of(0, TOTAL, TOTAL, weak()), None),
        (partial_of(0, TOTAL, TOTAL, Representation::default()), None),
    ] {
        let told = admit(&answer, &under(&terms, 0, None));
        match why {
            None => assert!(told.is_ok(), "{told:?}"),
            Some(why) => {
                let fault = told.expect_err(why);
                assert_eq!(fault.kind(), Kind::NotResumable);
                assert!(fault.to_string().contains(why), "{fault}");
            }
        }
    }
    // What the machine decides about stays for it to decide about.
    let whole = whole_of(BodyKind::Length(TOTAL), facts());
    let said = refusal(&whole, &under(&terms, 40, Some(&file())));
    assert_eq!(said, Refusal::RangeIgnored { if_range: true });
}

#[test]
fn a_coded_body_that_is_decoded_has_no_length_and_proves_nothing() {
    for answer in [
        whole_of(BodyKind::Length(TOTAL), coded("gzip")),
        whole_of(BodyKind::Marked, coded("gzip")),
        partial_of(0, TOTAL, TOTAL, coded("gzip")),
    ] {
        let admitted = admit(&answer, &under(DECODE, 0, None)).expect("it can be decoded");
        assert_eq!(admitted.coding(), Some(crate::Coding::Gzip));
        assert_eq!(admitted.place(), ByteRange::from(0));
        assert!(!admitted.is_partial());
        let identity = admitted.identity();
        assert!(
            !identity.is_strong() && identity.total.is_none(),
            "{identity:?}"
        );
        // It agrees with itself, and with nothing that is not coded, or another version.
        let again = admit(&answer, &under(DECODE, 0, Some(identity))).expect("the same");
        assert_eq!(&again, &admitted);
        for other in [
            facts(),
            facts_with(|facts| facts.etag = tag("W/a")),
            facts_with(|facts| (facts.etag, facts.encoding) = (tag("b"), Some("gzip".into()))),
        ] {
            let other = whole_of(BodyKind::Length(TOTAL), other);
            let said = refusal(&other, &under(DECODE, 0, Some(identity)));
            assert_eq!(said.kind(), Kind::Changed, "{said}");
        }
    }
    let plain = whole_of(BodyKind::Length(TOTAL), facts());
    let admitted = admit(&plain, &under(DECODE, 0, None)).expect("nothing to decode");
    assert_eq!(
        (admitted.coding(), admitted.place()),
        (None, ByteRange::new(0, TOTAL))
    );
    let kept = whole_of(BodyKind::Length(TOTAL), coded("br"));
    let admitted = admit(&kept, &asked(0, None)).expect("kept as it comes");
    assert_eq!(
        (admitted.coding(), admitted.place()),
        (None, ByteRange::new(0, TOTAL))
    );
}

#[test]
fn parts_of_coded_bytes_never_meet_decoded_ones() {
    for (start, end, total) in [
        (0, 40, Some(TOTAL)),
        (40, TOTAL, Some(TOTAL)),
        (0, TOTAL, None),
    ] {
        let part = partial_of(start, end, total, coded("gzip"));
        assert_eq!(
            refusal(&part, &under(DECODE, start, None)),
            Refusal::CodedPart
        );
    }
    // Kept bytes of a run that did not decode are of another representation, whatever the validator.
    for etag in [tag("a"), tag("W/a"), None] {
        let kept = file_with(|file| {
            (file.etag, file.encoding) = (etag.clone(), Some("gzip".into()));
        });
        for (start, end) in [(40, TOTAL), (0, TOTAL)] {
            let mut facts = coded("gzip");
            facts.etag = etag.clone();
            let part = partial_of(start, end, TOTAL, facts);
            let said = refusal(&part, &under(DECODE, start, Some(&kept)));
            assert_eq!(said.kind(), Kind::Changed, "{said}");
        }
    }
}

#[test]
fn a_coding_without_a_decoder_is_named() {
    for name in ["br", "zstd", "gzip, gzip", "compress"] {
        let answer = whole_of(BodyKind::Length(TOTAL), coded(name));
        let said = refusal(&answer, &under(DECODE, 0, None));
        assert_eq!(said, Refusal::CodingUnknown(name.into()));
        assert_eq!(said.kind(), Kind::Protocol);
        assert!(said.to_string().contains("--decode"), "{said}");
    }
    let long = coded(&"x".repeat(5_000));
    let said = refusal(
        &whole_of(BodyKind::Length(TOTAL), long),
        &under(DECODE, 0, None),
    );
    assert!(said.to_string().len() < 300, "{said}");
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let types = prop_oneof![
        Just(&[][..]),
        Just(&["text/*"][..]),
        Just(&["*/zip", "a/b"][..])
    ];
    (types, any::<[bool; 3]>()).prop_map(|(globs, [length, resume, decode])| Terms {
        length,
        resume,
        decode,
        ..self::types(globs)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_000))]

    #[test]
    fn terms_refuse_and_let_nothing_else_in(
        answer in any_answer(), start in 0_u64..2, identity in proptest::option::of(any_identity()),
        terms in any_terms(),
    ) {
        let told = admit(&answer, &under(&terms, start, identity.as_ref()));
        let Ok(admitted) = told else { return Ok(()) };
        let (Answer::Partial { content, .. } | Answer::Whole(content)) = &answer else {
            return Err(TestCaseError::fail("no content"));
        };
        prop_assert_eq!(admitted.coding().is_some(), terms.decode && content.representation.encoding.is_some());
        let bare = admit(&answer, &asked(start, identity.as_ref()));
        if admitted.coding().is_none() {
            prop_assert_eq!(bare, Ok(admitted));
        } else {
            // Decoded bytes begin at zero, end where they end, and are never joined with those of another run.
            prop_assert_eq!(admitted.place(), ByteRange::from(0));
            prop_assert!(!admitted.is_partial() && !admitted.identity().is_strong());
            prop_assert_eq!(admitted.identity().total, None);
            if let Answer::Partial { range: Some(range), .. } = &answer {
                prop_assert_eq!((range.range.start, Some(range.range.end)), (0, range.total));
            }
        }
    }
}
