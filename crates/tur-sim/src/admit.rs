//! Admission as tur-http's `admit` decides it, for the fields that origins here send.
//!
//! The crate that decides it in production also reads URLs and names, which a simulation has no use for. A test
//! compares both over every combination of what can be asked and answered here, so that they cannot drift apart.

use tur_core::{
    Answer, Ask, BodyKind, ByteRange, Content, ContentRange, ETag, Fault, Identity, Refusal,
    Representation,
};

/// What is admitted: where the body belongs, which file it is of, and whether it is a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) place: ByteRange,
    pub(crate) identity: Identity,
    pub(crate) partial: bool,
}

/// Compares an answer with what was asked and with the identity of the file.
pub(crate) fn admit(
    answer: &Answer,
    ask: Ask,
    if_range: bool,
    known: Option<&Identity>,
) -> Result<Admitted, Fault> {
    let admitted = match answer {
        Answer::Partial { range, content } => partial(*range, content, ask, known),
        Answer::Whole(content) => whole(content, ask, if_range, known),
        Answer::Unsatisfiable { total } => Err(unsatisfiable(*total, ask, known)),
        Answer::Moved { .. } | Answer::Refused { .. } => {
            return Err(answer
                .fault()
                .unwrap_or_else(|| Fault::Malformed("a redirect is not content".into())));
        }
    };
    admitted.map_err(Fault::NotAdmitted)
}

fn partial(
    range: Option<ContentRange>,
    content: &Content,
    ask: Ask,
    known: Option<&Identity>,
) -> Result<Admitted, Refusal> {
    let ContentRange { range: got, total } = range.ok_or(Refusal::NoContentRange)?;
    if let BodyKind::Length(length) = content.body
        && length != got.len()
    {
        return Err(Refusal::Contradiction(format!(
            "Content-Range has {} bytes, Content-Length {length}",
            got.len()
        )));
    }
    let found = &content.representation;
    if let Some(known) = known {
        same(known, found, total)?;
        if let Some(size) = known.total.filter(|size| got.end > *size) {
            return Err(Refusal::Changed(format!(
                "size {size} -> at least {}",
                got.end
            )));
        }
        tag_present(known, found)?;
    }
    let asked = ask.range();
    if got.start != asked.start {
        return Err(Refusal::Misplaced { asked, got });
    }
    Ok(Admitted {
        place: got,
        identity: after(known, found, total),
        partial: true,
    })
}

fn whole(
    content: &Content,
    ask: Ask,
    if_range: bool,
    known: Option<&Identity>,
) -> Result<Admitted, Refusal> {
    let total = match content.body {
        BodyKind::Length(length) => Some(length),
        BodyKind::Marked | BodyKind::UntilClose => None,
    };
    let found = &content.representation;
    if let Some(known) = known {
        same(known, found, total)?;
    }
    if ask.range().start > 0 {
        return Err(Refusal::RangeIgnored { if_range });
    }
    if let Some(known) = known {
        tag_present(known, found)?;
    }
    let identity = after(known, found, total);
    Ok(Admitted {
        place: identity.extent(),
        identity,
        partial: false,
    })
}

fn unsatisfiable(total: Option<u64>, ask: Ask, known: Option<&Identity>) -> Refusal {
    let start = ask.range().start;
    match (total, known.and_then(|known| known.total)) {
        (Some(total), Some(known)) if total != known => {
            Refusal::Changed(format!("size {known} -> {total}"))
        }
        (Some(total), _) | (None, Some(total)) if total == start => Refusal::AtEnd { total },
        (Some(total), _) if total < start && known.is_none() => Refusal::AtEnd { total },
        _ => Refusal::Unsatisfiable,
    }
}

fn same(known: &Identity, found: &Representation, total: Option<u64>) -> Result<(), Refusal> {
    if is_html(&found.media_type) && !is_html(&known.media_type) {
        return Err(Refusal::Page);
    }
    if found.etag.is_some() && known.etag != found.etag {
        let text = |tag: &Option<ETag>| tag.as_ref().map_or_else(|| "none".into(), tag_text);
        return Err(changed("ETag", &text(&known.etag), &text(&found.etag)));
    }
    if let Some((had, has)) = known.total.zip(total)
        && had != has
    {
        return Err(changed("size", &had.to_string(), &has.to_string()));
    }
    Ok(())
}

fn tag_present(known: &Identity, found: &Representation) -> Result<(), Refusal> {
    if known.etag.is_some() && found.etag.is_none() {
        return Err(Refusal::ValidatorMissing("ETag"));
    }
    Ok(())
}

/// Pages here never carry a tag, which would prove that they are the file.
fn is_html(media_type: &Option<String>) -> bool {
    media_type.as_deref() == Some("text/html")
}

fn after(known: Option<&Identity>, found: &Representation, total: Option<u64>) -> Identity {
    match known {
        Some(known) => Identity {
            total: known.total.or(total),
            ..known.clone()
        },
        None => Identity {
            total,
            etag: found.etag.clone(),
            media_type: found.media_type.clone(),
            ..Identity::default()
        },
    }
}

fn changed(what: &str, had: &str, has: &str) -> Refusal {
    Refusal::Changed(format!("{what} {had} -> {has}"))
}

fn tag_text(tag: &ETag) -> String {
    let prefix = if tag.weak { "W/" } else { "" };
    format!("{prefix}{}", String::from_utf8_lossy(&tag.opaque))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::{Tag, tag};

    fn content(etag: Option<ETag>, media_type: &str, body: BodyKind) -> Content {
        Content {
            representation: Representation {
                etag,
                media_type: Some(media_type.into()),
                ..Representation::default()
            },
            body,
            asides: tur_core::Asides::default(),
        }
    }

    fn answers() -> Vec<Answer> {
        let mut answers = vec![Answer::Unsatisfiable { total: None }];
        answers.extend([0, 10, 20].map(|total| Answer::Unsatisfiable { total: Some(total) }));
        let tags = [
            None,
            tag(Tag::Strong, 0),
            tag(Tag::Strong, 1),
            tag(Tag::Weak, 0),
        ];
        for etag in tags {
            for body in [BodyKind::Length(10), BodyKind::Marked, BodyKind::UntilClose] {
                // A page never carries a tag.
                let html = etag.is_none().then(|| content(None, "text/html", body));
                let file = content(etag.clone(), "application/octet-stream", body);
                for content in [Some(file), html].into_iter().flatten() {
                    answers.push(Answer::Whole(content.clone()));
                    answers.push(Answer::Partial {
                        range: None,
                        content: content.clone(),
                    });
                    for (start, end) in [(0, 10), (5, 10), (0, 5), (10, 20)] {
                        for total in [None, Some(10), Some(20)] {
                            let range = Some(ContentRange {
                                range: ByteRange::new(start, end),
                                total: total.filter(|total| *total >= end),
                            });
                            let content = content.clone();
                            answers.push(Answer::Partial { range, content });
                        }
                    }
                }
            }
        }
        answers
    }

    #[test]
    fn the_mirror_says_what_the_original_says() {
        let identity = |etag: Option<ETag>, total| Identity {
            total,
            etag,
            media_type: Some("application/octet-stream".into()),
            ..Identity::default()
        };
        let identities = [
            None,
            Some(identity(None, Some(10))),
            Some(identity(tag(Tag::Strong, 0), Some(10))),
            Some(identity(tag(Tag::Strong, 0), None)),
            Some(identity(tag(Tag::Weak, 0), Some(20))),
        ];
        let asks = [
            Ask::Whole,
            Ask::Range(ByteRange::from(0)),
            Ask::Range(ByteRange::new(5, 8)),
            Ask::Range(ByteRange::from(10)),
        ];
        let mut compared = 0;
        for answer in answers() {
            for ask in asks {
                for known in &identities {
                    for if_range in [false, true] {
                        let asked = tur_http::Asked {
                            ask,
                            if_range,
                            identity: known.as_ref(),
                            terms: tur_http::Terms::NONE,
                        };
                        let theirs = tur_http::admit(&answer, &asked).map(|admitted| Admitted {
                            place: admitted.place(),
                            partial: admitted.is_partial(),
                            identity: admitted.into_identity(),
                        });
                        let ours = admit(&answer, ask, if_range, known.as_ref());
                        assert_eq!(ours, theirs, "{answer:?} to {asked:?}");
                        compared += 1;
                    }
                }
            }
        }
        assert!(compared > 5_000, "{compared}");
    }
}
