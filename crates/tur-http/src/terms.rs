//! What the user demands of an answer beside its being of the file.
//!
//! Read [`Terms`]: [`admit`](crate::admit) holds every answer against it. [`TypeGlob`] is how a media type is asked for,
//! [`Coding`] what can be decoded.

use alloc::borrow::ToOwned as _;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use tur_core::{ETag, Identity, LastModified, Refusal, Representation};

/// Demands of the user. The default demands nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The media type matches one of these, or any if there is none. An answer without a type, or with one that cannot be
    /// read, counts as `application/octet-stream`.
    pub types: Vec<TypeGlob>,
    /// The end of the file is told by more than the end of the connection.
    pub length: bool,
    /// The download could be resumed after a stop.
    pub resume: bool,
    /// A body that comes coded is decoded.
    pub decode: bool,
}

impl Terms {
    /// Demands nothing.
    pub const NONE: &'static Self = &Self {
        types: Vec::new(),
        length: false,
        resume: false,
        decode: false,
    };

    /// Whether the media type is one that is asked for.
    pub(crate) fn check_type(&self, found: &Representation) -> Result<(), Refusal> {
        let got = found.media_type.as_deref().unwrap_or(TYPE_DEFAULT);
        if self.types.is_empty() || self.types.iter().any(|glob| glob.matches(got)) {
            return Ok(());
        }
        let wanted: Vec<String> = self.types.iter().map(ToString::to_string).collect();
        Err(Refusal::TypeRefused {
            got: got.to_owned(),
            wanted: wanted.join(" or "),
        })
    }

    /// Whether bytes of such a file could be joined with those of a later run. Of an empty file there are none.
    pub(crate) fn check_resume(&self, identity: &Identity, ranges: bool) -> Result<(), Refusal> {
        let why = if !self.resume || identity.total == Some(0) {
            return Ok(());
        } else if !ranges {
            "the server does not serve ranges"
        } else if identity.total.is_none() {
            "the server does not tell the length"
        } else {
            return Ok(());
        };
        Err(Refusal::NotResumable(why.to_owned()))
    }
}

/// A media type asked for, such as `image/*`: each `*` stands for any characters, and letters match in any case. `*`
/// alone is any type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeGlob {
    /// In lower case.
    text: String,
}

/// Why a text is no pattern of media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeGlobError;

impl fmt::Display for TypeGlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a media type such as image/* or application/zip (one, without parameters)")
    }
}

impl core::error::Error for TypeGlobError {}

impl TypeGlob {
    /// True if `essence`, a media type without parameters, matches.
    #[must_use]
    pub fn matches(&self, essence: &str) -> bool {
        let (glob, text) = (self.text.as_bytes(), essence.as_bytes());
        let (mut at, mut from) = (0, 0);
        // Where to go on after a mismatch: behind the last star, one byte later than the last time. Time is bounded by
        // the product of the lengths, which are bounded themselves.
        let mut retry: Option<(usize, usize)> = None;
        while from < text.len() {
            if glob.get(at) == Some(&b'*') {
                at += 1;
                retry = Some((at, from));
            } else if glob.get(at) == Some(&text[from].to_ascii_lowercase()) {
                at += 1;
                from += 1;
            } else if let Some((behind, last)) = retry {
                (at, from) = (behind, last + 1);
                retry = Some((behind, last + 1));
            } else {
                return false;
            }
        }
        glob[at..].iter().all(|byte| *byte == b'*')
    }
}

impl FromStr for TypeGlob {
    type Err = TypeGlobError;

    fn from_str(text: &str) -> Result<Self, TypeGlobError> {
        let is_half =
            |half: &str| half.len() <= HALF_BYTES_MAX && crate::fields::is_token(half.as_bytes());
        let sound = match text.split_once('/') {
            Some((kind, subtype)) => is_half(kind) && is_half(subtype),
            None => text == "*",
        };
        sound
            .then(|| Self {
                text: text.to_ascii_lowercase(),
            })
            .ok_or(TypeGlobError)
    }
}

impl fmt::Display for TypeGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A content coding that can be decoded (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip` or `x-gzip`: one or more members of RFC 1952.
    Gzip,
    /// `deflate`: the format of RFC 1950, or, as some origins have it, that of RFC 1951 alone.
    Deflate,
}

impl Coding {
    /// The coding that [`Representation::encoding`] names. `None` for others, and for several on top of each other.
    #[must_use]
    pub fn of(encoding: &str) -> Option<Self> {
        match encoding {
            "gzip" => Some(Coding::Gzip),
            "deflate" => Some(Coding::Deflate),
            _ => None,
        }
    }

    /// Its registered name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }
}

/// The facts about what comes out of the decoder. A validator of coded bytes says of decoded ones only that they mean the
/// same (RFC 9110, section 8.8.1): it tells a change, and proves nothing about bytes. The coding is told apart from that of
/// bytes that are kept coded: the two are different files.
pub(crate) fn decoded(found: &Representation) -> Representation {
    Representation {
        etag: found.etag.clone().map(|tag| ETag { weak: true, ..tag }),
        last_modified: found.last_modified.clone().map(|date| LastModified {
            strong: false,
            ..date
        }),
        encoding: found
            .encoding
            .as_ref()
            .map(|encoding| alloc::format!("{encoding} (decoded)")),
        ..found.clone()
    }
}

/// True if an answer is an HTML page where `name` asks for something else: its extension is not that of a page or of a
/// program that makes pages. Worth a word to the user, and no reason to refuse it.
#[must_use]
pub fn is_surprising_page(name: &str, media_type: Option<&str>) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return false;
    };
    let extension = extension.to_ascii_lowercase();
    // "Release 1.2" has no extension.
    let is_extension = (1..=EXTENSION_BYTES_MAX).contains(&extension.len())
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && extension.bytes().any(|byte| byte.is_ascii_alphabetic());
    is_html(media_type) && !stem.is_empty() && is_extension && !PAGES.contains(&extension.as_str())
}

/// True for the media types of HTML pages.
pub(crate) fn is_html(media_type: Option<&str>) -> bool {
    matches!(media_type, Some("text/html" | "application/xhtml+xml"))
}

/// RFC 9110, section 8.3: what a recipient may take an answer without a type for.
const TYPE_DEFAULT: &str = "application/octet-stream";
/// RFC 6838, section 4.2.
const HALF_BYTES_MAX: usize = 127;
/// Longer ones are part of a name.
const EXTENSION_BYTES_MAX: usize = 8;
/// Extensions behind which a page is no surprise.
const PAGES: [&str; 13] = [
    "html", "htm", "xhtml", "xht", "shtml", "php", "asp", "aspx", "jsp", "jsf", "cgi", "cfm", "do",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn glob(text: &str) -> TypeGlob {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_pattern_matches_what_it_says() {
        for (pattern, essence, matches) in [
            ("image/*", "image/png", true),
            ("image/*", "image/svg+xml", true),
            ("IMAGE/*", "Image/PNG", true),
            ("image/*", "text/html", false),
            ("image/*", "imagery/png", false),
            ("image/png", "image/png", true),
            ("image/png", "image/pngx", false),
            ("*/*", "text/html", true),
            ("*", "text/html", true),
            ("*/*+json", "application/problem+json", true),
            ("*/*+json", "application/json", false),
            (
                "application/vnd.*.doc*",
                "application/vnd.a.b.document",
                true,
            ),
            ("application/zip", "", false),
        ] {
            assert_eq!(
                glob(pattern).matches(essence),
                matches,
                "{pattern} {essence}"
            );
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "",
            "image",
            "image/",
            "/png",
            "image/png; q=1",
            "image/*,text/*",
            "a/b/c",
            "im age/*",
            "image/é",
        ] {
            assert_eq!(text.parse::<TypeGlob>(), Err(TypeGlobError), "{text}");
        }
        assert!(
            std::format!("{}/b", "a".repeat(128))
                .parse::<TypeGlob>()
                .is_err()
        );
    }

    /// The same by definition, exponential and obviously right.
    fn naive(glob: &[u8], text: &[u8]) -> bool {
        match (glob.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => {
                naive(&glob[1..], text) || (!text.is_empty() && naive(glob, &text[1..]))
            }
            (Some(one), Some(other)) => one == other && naive(&glob[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_agrees_with_a_naive_one(pattern in "[ab*]{1,5}/[ab*]{1,5}", text in "[ab]{0,5}/[ab]{0,5}") {
            let expected = naive(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(glob(&pattern).matches(&text), expected);
        }
    }

    #[test]
    fn a_page_surprises_where_something_else_was_named() {
        let html = Some("text/html");
        for (name, media_type, surprises) in [
            ("big.iso", html, true),
            ("song.MP3", html, true),
            ("a.tar.gz", Some("application/xhtml+xml"), true),
            ("big.iso", None, false),
            ("big.iso", Some("text/plain"), false),
            ("page.html", html, false),
            ("PAGE.HTM", html, false),
            ("index.php", html, false),
            ("download", html, false),
            ("release-1.2", html, false),
            ("v1.2 of the manual", html, false),
            (".profile", html, false),
        ] {
            assert_eq!(is_surprising_page(name, media_type), surprises, "{name}");
        }
    }

    #[test]
    fn codings_that_can_be_decoded() {
        let names = [
            "gzip",
            "deflate",
            "br",
            "zstd",
            "gzip, gzip",
            "compress",
            "",
        ];
        let known: Vec<_> = names.into_iter().filter_map(Coding::of).collect();
        assert_eq!(known, [Coding::Gzip, Coding::Deflate]);
        assert!(
            known
                .iter()
                .all(|coding| Coding::of(coding.as_str()) == Some(*coding))
        );
    }
}
