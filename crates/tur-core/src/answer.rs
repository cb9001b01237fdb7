//! What was asked, and what the origin said to it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::{Advert, ByteRange, Challenge, ETag, Fault, LastModified, RetryAfter, Secret};

/// Which bytes a request asks for. At most one range per request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// No `Range` field: the whole representation, from 0.
    Whole,
    /// `Range: bytes=start-` (open) or `bytes=start-last`; never an empty range.
    Range(ByteRange),
}

impl Ask {
    /// The bytes asked for.
    #[must_use]
    pub const fn range(&self) -> ByteRange {
        match self {
            Ask::Whole => ByteRange::from(0),
            Ask::Range(range) => *range,
        }
    }
}

/// `Content-Range` of a 206 (RFC 9110, section 14.4), checked: `first <= last < total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes in the body, half-open.
    pub range: ByteRange,
    /// Total length of the representation; `None` for `*`.
    pub total: Option<u64>,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// `Content-Length` or a frame of known size: so many bytes.
    Length(u64),
    /// Chunked or framed: the end is marked.
    Marked,
    /// Ends when the connection closes: completeness cannot be told (RFC 9112, section 6.3, rule 8).
    UntilClose,
}

/// The facts about the representation that an answer's fields tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Representation {
    /// `ETag`.
    pub etag: Option<ETag>,
    /// `Last-Modified`.
    pub last_modified: Option<LastModified>,
    /// `Content-Type`, without parameters, in lower case.
    pub media_type: Option<String>,
    /// `Content-Encoding` in lower case; `None` for identity.
    pub encoding: Option<String>,
    /// `Content-Disposition`, raw: a name is made of it only by `tur_http::SafeName`.
    pub disposition: Option<Vec<u8>>,
    /// True if `Accept-Ranges: bytes` was announced: a hint, never a proof.
    pub accept_ranges: bool,
}

/// What a head says beside the representation: of who may have it, and of pages that come instead of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asides {
    /// The values of `Set-Cookie` (RFC 6265, section 4.1), as they came; their number and length are bounded.
    pub cookies: Vec<Secret>,
    /// The values of `WWW-Authenticate` (RFC 9110, section 11.6.1), as they came; bounded like them.
    pub schemes: Vec<String>,
    /// What the fields alone prove to have come instead of the file.
    pub challenge: Option<Challenge>,
    /// True if the body may be a page: HTML by its type, or without a type, and not said to be a download.
    pub may_be_page: bool,
    /// `Content-Encoding` of a body that may be a page, as [`Representation::encoding`] has it.
    pub page_encoding: Option<String>,
    /// What `Alt-Svc` says of HTTP/3 at the origin that was asked; `None` if it says nothing that can be read.
    pub advert: Option<Box<Advert>>,
}

/// A body with its representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Facts from the fields.
    pub representation: Representation,
    /// How the body's end is known.
    pub body: BodyKind,
    /// What else the head says.
    pub asides: Asides,
}

/// The head of a final answer, read but not yet admitted. Nothing of the body may be written before
/// `tur_http::admit` has compared it with the identity.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// 206. `range` is `None` where `Content-Range` is missing, or the body is multipart.
    Partial {
        /// Where the body belongs.
        range: Option<ContentRange>,
        /// The body.
        content: Content,
    },
    /// 200 (or 203): the whole representation from 0.
    Whole(Content),
    /// 416, with the total that `Content-Range: bytes */N` tells.
    Unsatisfiable {
        /// N.
        total: Option<u64>,
    },
    /// 301, 302, 303, 307 or 308 with a `Location`.
    Moved {
        /// The field as it came.
        location: String,
        /// What else the head says.
        asides: Asides,
    },
    /// Any other status.
    Refused {
        /// Status code.
        status: u16,
        /// Reason phrase as it came: to be escaped before it is shown.
        reason: String,
        /// `Retry-After`.
        retry_after: Option<RetryAfter>,
        /// True if a `WWW-Authenticate` or `Proxy-Authenticate` challenge came with it.
        challenge: bool,
        /// What else the head says.
        asides: Asides,
    },
}

impl fmt::Debug for Answer {
    /// Without the location: its query is often a signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Partial { range, content } => {
                let mut shown = f.debug_struct("Partial");
                shown.field("range", range).field("content", content);
                shown.finish()
            }
            Answer::Whole(content) => f.debug_tuple("Whole").field(content).finish(),
            Answer::Unsatisfiable { total } => {
                let mut shown = f.debug_struct("Unsatisfiable");
                shown.field("total", total).finish()
            }
            Answer::Moved { .. } => f.debug_struct("Moved").finish_non_exhaustive(),
            Answer::Refused {
                status,
                reason,
                retry_after,
                challenge,
                ..
            } => {
                let mut shown = f.debug_struct("Refused");
                shown.field("status", status).field("reason", reason);
                shown.field("retry_after", retry_after);
                shown.field("challenge", challenge).finish()
            }
        }
    }
}

impl Answer {
    /// What the head says beside the representation; `None` for a 416, of which nothing else counts.
    #[must_use]
    pub fn asides(&self) -> Option<&Asides> {
        match self {
            Answer::Partial { content, .. } | Answer::Whole(content) => Some(&content.asides),
            Answer::Moved { asides, .. } | Answer::Refused { asides, .. } => Some(asides),
            Answer::Unsatisfiable { .. } => None,
        }
    }

    /// The fault that a refused answer amounts to.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Answer::Refused {
                status,
                reason,
                retry_after,
                challenge,
                ..
            } => Some(Fault::Status {
                status: *status,
                reason: reason.clone(),
                retry_after: *retry_after,
                challenge: *challenge,
            }),
            _ => None,
        }
    }
}
