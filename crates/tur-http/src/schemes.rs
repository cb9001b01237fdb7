//! Challenges of authentication as they come: schemes and their parameters (RFC 9110, section 11.6.1).
//!
//! Read [`offers`]. Several schemes may stand in one field, divided by the same commas as their parameters.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// One scheme that is offered, with its parameters; names in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) scheme: String,
    params: Vec<(String, String)>,
}

impl Offer {
    /// The value of a parameter, without its quotes; of one that comes twice, the first.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        let mut found = self.params.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }
}

/// Reads the schemes in one value. What cannot be read is left out, up to the next comma.
pub(crate) fn offers(value: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    let mut rest = value;
    while offers.len() < OFFERS_MAX {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, behind) = token(rest);
        if word.is_empty() {
            let Some(at) = rest.find(',') else { break };
            rest = &rest[at..];
            continue;
        }
        let after = behind.trim_start_matches([' ', '\t']);
        let Some(given) = after.strip_prefix('=') else {
            offers.push(Offer {
                scheme: word.to_ascii_lowercase(),
                params: Vec::new(),
            });
            rest = after;
            continue;
        };
        let (text, behind) = parameter(given.trim_start_matches([' ', '\t']));
        rest = behind;
        // One without a scheme belongs to nobody; one without a value is a token68, which no scheme here has.
        if let (Some(offer), Some(text)) = (offers.last_mut(), text)
            && offer.params.len() < PARAMS_MAX
        {
            offer.params.push((word.to_ascii_lowercase(), text));
        }
    }
    offers
}

/// The value of a parameter, if there is one, and what follows it.
fn parameter(rest: &str) -> (Option<String>, &str) {
    let Some(quoted) = rest.strip_prefix('"') else {
        let (word, behind) = token(rest);
        let sound = !word.is_empty();
        return (sound.then(|| word.to_string()), to_comma(behind));
    };
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (Some(text), &quoted[at + 1..]),
            // RFC 9110, section 5.6.4: a backslash quotes what follows.
            '\\' => text.extend(chars.next().map(|(_, quoted)| quoted)),
            _ => text.push(c),
        }
    }
    (None, "")
}

fn to_comma(rest: &str) -> &str {
    rest.find(',').map_or("", |at| &rest[at..])
}

/// A token (RFC 9110, section 5.6.2) and what follows it.
fn token(rest: &str) -> (&str, &str) {
    let is_tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = rest.find(|c| !is_tchar(c)).unwrap_or(rest.len());
    rest.split_at(end)
}

/// Schemes in one value, and parameters of one scheme: more than any server has.
const OFFERS_MAX: usize = 16;
const PARAMS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn schemes_and_parameters_are_told_apart() {
        let read = offers(
            "Negotiate YWJj==, Newauth realm=\"apps\", type=1 , title=\"Login to \\\"apps\\\", now\", \
             Basic realm=\"simple\",, DIGEST Nonce = abc",
        );
        let names: Vec<_> = read.iter().map(|offer| offer.scheme.as_str()).collect();
        assert_eq!(names, ["negotiate", "newauth", "basic", "digest"]);
        assert_eq!(read[1].param("title"), Some("Login to \"apps\", now"));
        assert_eq!(read[1].param("type"), Some("1"));
        assert_eq!(read[2].param("realm"), Some("simple"));
        assert_eq!(read[3].param("nonce"), Some("abc"));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        for value in ["", ",", "=", "\"", "a=b", "é", "Digest realm=\"x"] {
            let read = offers(value);
            assert!(
                read.iter().all(|offer| offer.params.is_empty()),
                "{value}: {read:?}"
            );
        }
        let read = offers("@@@, Digest realm=\"a\"");
        assert_eq!(read[0].param("realm"), Some("a"));
    }

    proptest! {
        #[test]
        fn no_text_panics_or_goes_on_for_ever(value in "[a-zA-Z=\", \\\\é@]{0,80}") {
            prop_assert!(offers(&value).len() <= OFFERS_MAX);
        }
    }
}
