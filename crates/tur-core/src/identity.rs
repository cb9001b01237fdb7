//! Which representation the bytes belong to.

use alloc::string::String;
use alloc::vec::Vec;

use crate::{ByteRange, Wall};

/// An entity tag (RFC 9110, section 8.8.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ETag {
    /// True for a tag with the `W/` prefix: equal tags then do not promise equal bytes.
    pub weak: bool,
    /// The opaque part with its quotes, as it came.
    pub opaque: Vec<u8>,
}

/// A `Last-Modified` field (RFC 9110, section 8.8.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LastModified {
    /// The field as it came: `If-Range` must send it back unchanged.
    pub text: String,
    /// The same, read as a date.
    pub at: Wall,
    /// True if the answer's `Date` was at least one second later (RFC 9110, section 8.8.2.2).
    pub strong: bool,
}

/// What identifies one representation: every later answer is compared with it before a byte may be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Total length in bytes, if the origin said one.
    pub total: Option<u64>,
    /// Entity tag.
    pub etag: Option<ETag>,
    /// Modification time.
    pub last_modified: Option<LastModified>,
    /// `Content-Encoding` in lower case; `None` for identity. Ranges of coded and plain bytes never meet.
    pub encoding: Option<String>,
    /// `Content-Type` without parameters, in lower case. Informs about interstitial pages; not a validator.
    pub media_type: Option<String>,
}

impl Identity {
    /// The value for `If-Range`: a strong entity tag, else a strong date (RFC 9110, section 13.1.5).
    #[must_use]
    pub fn if_range(&self) -> Option<Vec<u8>> {
        match (&self.etag, &self.last_modified) {
            (Some(tag), _) if !tag.weak => Some(tag.opaque.clone()),
            // A weak tag says that bytes may differ within the same second: its date proves nothing either.
            (None, Some(date)) if date.strong => Some(date.text.clone().into_bytes()),
            _ => None,
        }
    }

    /// True if bytes of an earlier run may be joined with bytes of this one.
    #[must_use]
    pub fn is_strong(&self) -> bool {
        self.if_range().is_some()
    }

    /// The whole representation, open if the total is not known.
    #[must_use]
    pub fn extent(&self) -> ByteRange {
        ByteRange::new(0, self.total.unwrap_or(ByteRange::OPEN))
    }
}
