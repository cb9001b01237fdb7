//! Admission: whether the body of an answer belongs to the file, and where.
//!
//! [`admit`] is the only constructor of [`Admitted`], and a write needs an [`Admitted`]. Its rules, in order:
//!
//! | answer | asked | rule |
//! |---|---|---|
//! | 206 | any | must not contradict itself, must be of the same representation, must start where it was asked to |
//! | 200 | from 0 | must be of the same representation; the body is the whole file |
//! | 200, 206 | any | must keep the [`Terms`] of the user |
//! | coded, to be decoded | from 0 | only the whole, as a 200 or as a 206 that has all of it; its length is open |
//! | 200 | from later | a page, a change, or a server that ignores ranges; never content |
//! | 416 | any | a change, the exact end of the file, or a server without ranges; never content |
//! | other | any | never content |

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};

use tur_core::{
    Answer, Ask, BodyKind, ByteRange, Content, ContentRange, ETag, Fault, Identity, Refusal,
    Representation,
};

use crate::printable::{shorten, without_hidden};
use crate::terms::{self, Coding, Terms};

/// What an answer is the answer to.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Which bytes were asked for.
    pub ask: Ask,
    /// True if the request carried `If-Range`.
    pub if_range: bool,
    /// The identity of the file; `None` until a first answer has fixed it.
    pub identity: Option<&'a Identity>,
    /// What the user demands.
    pub terms: &'a Terms,
}

/// Permission to write the bytes of one body to one place. Made only by [`admit`].
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted {
    place: ByteRange,
    identity: Identity,
    partial: bool,
    body: BodyKind,
    coding: Option<Coding>,
}

/// Compares an answer with what was asked and with the identity of the file.
///
/// The first admitted answer fixes the identity; later ones confirm it, or fill in a total that was unknown. Entity tags
/// are compared as they stand, strength included: different tags are a change, equal weak tags are no proof of equal
/// bytes, so [`Identity::is_strong`] still decides whether bytes of an earlier run may be kept.
///
/// # Errors
/// * `NotAdmitted` with the reason, for an answer that would be content if it belonged to the file.
/// * `Status` for a refused answer.
/// * `Malformed` for a redirect, which has to be followed instead.
pub fn admit(answer: &Answer, asked: &Asked<'_>) -> Result<Admitted, Fault> {
    let admitted = match answer {
        Answer::Partial { range, content } => partial(*range, content, asked),
        Answer::Whole(content) => whole(content, asked),
        Answer::Unsatisfiable { total } => Err(unsatisfiable(*total, asked)),
        Answer::Moved { .. } | Answer::Refused { .. } => {
            return Err(answer
                .fault()
                .unwrap_or_else(|| Fault::Malformed("a redirect is not content".to_string())));
        }
    };
    admitted.map_err(Fault::NotAdmitted)
}

impl Admitted {
    /// Where the bytes of the body belong; the end is open if the total is not known. It lies inside
    /// [`Identity::extent`], starts where it was asked to start, and may be shorter or longer than asked.
    #[must_use]
    pub fn place(&self) -> ByteRange {
        self.place
    }

    /// The identity that this answer fixed or confirmed.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The coding that the body must be decoded from before a byte of it is written. The place is then that of the decoded
    /// bytes, and the identity theirs: its total is not known, its validators are weak.
    #[must_use]
    pub fn coding(&self) -> Option<Coding> {
        self.coding
    }

    /// True for a 206 whose bytes are written as they come: the server has ranges.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial
    }

    /// How the end of the body is known.
    #[must_use]
    pub fn body(&self) -> BodyKind {
        self.body
    }

    /// The identity, when the permission is used up.
    #[must_use]
    pub fn into_identity(self) -> Identity {
        self.identity
    }
}

/// 206 (RFC 9110, section 15.3.7).
fn partial(
    range: Option<ContentRange>,
    content: &Content,
    asked: &Asked<'_>,
) -> Result<Admitted, Refusal> {
    let ContentRange { range: got, total } = range.ok_or(Refusal::NoContentRange)?;
    if got.is_empty() || got.is_open() || total.is_some_and(|total| got.end > total) {
        return Err(Refusal::NoContentRange);
    }
    if let BodyKind::Length(length) = content.body
        && length != got.len()
    {
        let text = format!(
            "Content-Range has {} bytes, Content-Length {length}",
            got.len()
        );
        return Err(Refusal::Contradiction(text));
    }
    let Seen { found, coding } = seen(content, asked)?;
    // What Content-Range counts is coded: nothing is known of the length behind the decoder.
    let all = (got.start == 0 && total == Some(got.end)).then(|| ByteRange::from(0));
    let total = total.filter(|_| coding.is_none());
    if let Some(identity) = asked.identity {
        same(identity, &found, total)?;
        // A total of `*` must not hide that the file grew.
        if let Some(known) = identity.total.filter(|known| got.end > *known) {
            let text = format!("size {known} -> at least {}", got.end);
            return Err(Refusal::Changed(text));
        }
        validators_present(identity, &found)?;
    }
    // RFC 9110, section 15.3.7.2: what came need not be what was asked; placed elsewhere it would be of no use to us.
    let asked_range = asked.ask.range();
    if got.start != asked_range.start {
        return Err(Refusal::Misplaced {
            asked: asked_range,
            got,
        });
    }
    let place = match coding {
        Some(_) => all.ok_or(Refusal::CodedPart)?,
        None => got,
    };
    let identity = identity_after(asked.identity, &found, total);
    asked.terms.check_resume(&identity, true)?;
    end_is_told(content.body, coding.map(|_| &identity), asked.terms)?;
    Ok(Admitted {
        place,
        identity,
        partial: coding.is_none(),
        body: content.body,
        coding,
    })
}

/// 200: the whole representation, whatever was asked (RFC 9110, section 14.2).
fn whole(content: &Content, asked: &Asked<'_>) -> Result<Admitted, Refusal> {
    let Seen { found, coding } = seen(content, asked)?;
    let total = match content.body {
        BodyKind::Length(length) if coding.is_none() => Some(length),
        _ => None,
    };
    if let Some(identity) = asked.identity {
        same(identity, &found, total)?;
    }
    // Never written at an offset: its first byte is byte 0.
    if asked.ask.range().start > 0 {
        return Err(Refusal::RangeIgnored {
            if_range: asked.if_range,
        });
    }
    if let Some(identity) = asked.identity {
        validators_present(identity, &found)?;
    }
    let identity = identity_after(asked.identity, &found, total);
    asked.terms.check_resume(&identity, false)?;
    end_is_told(content.body, Some(&identity), asked.terms)?;
    Ok(Admitted {
        place: identity.extent(),
        identity,
        partial: false,
        body: content.body,
        coding,
    })
}

/// What an answer's body is to the file.
struct Seen<'a> {
    /// The facts about what would be written.
    found: Cow<'a, Representation>,
    /// What it is to be decoded from.
    coding: Option<Coding>,
}

/// Refuses pages, types that were not asked for and codings that cannot be decoded though that is asked for.
fn seen<'a>(content: &'a Content, asked: &Asked<'_>) -> Result<Seen<'a>, Refusal> {
    let found = &content.representation;
    if asked
        .identity
        .is_some_and(|identity| is_page(identity, found))
    {
        return Err(Refusal::Page);
    }
    asked.terms.check_type(found)?;
    let Some(name) = found.encoding.as_deref().filter(|_| asked.terms.decode) else {
        return Ok(Seen {
            found: Cow::Borrowed(found),
            coding: None,
        });
    };
    let coding = Coding::of(name).ok_or_else(|| {
        Refusal::CodingUnknown(shorten(&without_hidden(name), VALUE_CHARS_MAX).into_owned())
    })?;
    Ok(Seen {
        found: Cow::Owned(terms::decoded(found)),
        coding: Some(coding),
    })
}

/// Where a length is required: refuses a body that ends nowhere but with its connection. `identity` is that of a body
/// whose place does not tell its end.
fn end_is_told(body: BodyKind, identity: Option<&Identity>, terms: &Terms) -> Result<(), Refusal> {
    let open = identity.is_some_and(|identity| identity.total.is_none());
    if terms.length && open && body == BodyKind::UntilClose {
        return Err(Refusal::LengthUnknown);
    }
    Ok(())
}

/// 416 (RFC 9110, section 15.5.17).
fn unsatisfiable(total: Option<u64>, asked: &Asked<'_>) -> Refusal {
    let start = asked.ask.range().start;
    let known = asked.identity.and_then(|identity| identity.total);
    match (total, known) {
        (Some(total), Some(known)) if total != known => {
            Refusal::Changed(format!("size {known} -> {total}"))
        }
        // RFC 9110, section 14.1.2: a range that starts at the end is unsatisfiable; an empty file has no other.
        (Some(total), _) | (None, Some(total)) if total == start => Refusal::AtEnd { total },
        // So is one that starts behind it, which nobody asks for who knows of a file.
        (Some(total), _) if total < start && asked.identity.is_none() => Refusal::AtEnd { total },
        _ => Refusal::Unsatisfiable,
    }
}

/// Refuses an answer whose fields say that it is of another representation (RFC 9110, section 15.3.7.3).
fn same(identity: &Identity, found: &Representation, total: Option<u64>) -> Result<(), Refusal> {
    let tags = identity.etag.as_ref().zip(found.etag.as_ref());
    // A strong and a weak tag are two tags, whatever they quote: one of them promises nothing about bytes. One that
    // comes up where there was none is a change too: nothing says that it stands for what came before.
    if found.etag.is_some() && identity.etag != found.etag {
        let text = |tag: &Option<ETag>| tag.as_ref().map_or_else(|| "none".to_string(), tag_text);
        return Err(changed("ETag", &text(&identity.etag), &text(&found.etag)));
    }
    if let Some((had, has)) = identity.total.zip(total)
        && had != has
    {
        return Err(changed("size", &had.to_string(), &has.to_string()));
    }
    // Equal tags outweigh dates: nodes of one origin often differ in the date of the same bytes.
    let dates = identity
        .last_modified
        .as_ref()
        .zip(found.last_modified.as_ref());
    if let Some((had, has)) = dates
        && tags.is_none()
        && had.at != has.at
    {
        return Err(changed("Last-Modified", &had.text, &has.text));
    }
    if let (None, None, Some(has)) = (tags, &identity.last_modified, &found.last_modified) {
        return Err(changed("Last-Modified", "none", &has.text));
    }
    let name = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_string());
    if identity.encoding != found.encoding {
        let (had, has) = (name(&identity.encoding), name(&found.encoding));
        return Err(changed("Content-Encoding", &had, &has));
    }
    // Without a tag that says otherwise, another type is another thing.
    if tags.is_none() && identity.media_type != found.media_type {
        let (had, has) = (name(&identity.media_type), name(&found.media_type));
        return Err(changed("Content-Type", &had, &has));
    }
    Ok(())
}

/// Refuses an answer that lacks the validator the file had: nothing then says that it is the same file.
fn validators_present(identity: &Identity, found: &Representation) -> Result<(), Refusal> {
    match (&identity.etag, &identity.last_modified) {
        (Some(_), _) if found.etag.is_none() => Err(Refusal::ValidatorMissing("ETag")),
        (None, Some(_)) if found.last_modified.is_none() => {
            Err(Refusal::ValidatorMissing("Last-Modified"))
        }
        _ => Ok(()),
    }
}

/// True for an HTML page where the file is none: a login page or captive portal. An equal strong tag proves otherwise.
fn is_page(identity: &Identity, found: &Representation) -> bool {
    let is_html = |media_type: &Option<String>| terms::is_html(media_type.as_deref());
    let tags = identity.etag.as_ref().zip(found.etag.as_ref());
    let proven = tags.is_some_and(|(had, has)| !had.weak && had == has);
    is_html(&found.media_type) && !is_html(&identity.media_type) && !proven
}

/// The identity that an answer fixes, or confirms and completes.
fn identity_after(
    known: Option<&Identity>,
    found: &Representation,
    total: Option<u64>,
) -> Identity {
    match known {
        Some(known) => Identity {
            total: known.total.or(total),
            ..known.clone()
        },
        None => Identity {
            total,
            etag: found.etag.clone(),
            last_modified: found.last_modified.clone(),
            encoding: found.encoding.clone(),
            media_type: found.media_type.clone(),
        },
    }
}

fn changed(what: &str, had: &str, has: &str) -> Refusal {
    let text = |value| shorten(&without_hidden(value), VALUE_CHARS_MAX).into_owned();
    Refusal::Changed(format!("{what} {} -> {}", text(had), text(has)))
}

fn tag_text(tag: &ETag) -> String {
    let prefix = if tag.weak { "W/" } else { "" };
    format!("{prefix}{}", String::from_utf8_lossy(&tag.opaque))
}

/// Values in messages are cut here.
const VALUE_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests;
