//! What stands between a program and a file: the kinds of pages that come instead of it.
//!
//! [`Challenge`] is the word for one; how it is recognised is the business of `tur_http`.

use core::fmt;

/// What a page that came instead of the file asks for. The words are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Challenge {
    /// A guard took the program for one that is not wanted, and asks for nothing that would change its mind.
    BotCheck,
    /// A puzzle for a person.
    Captcha,
    /// A script that only a browser runs.
    BrowserCheck,
    /// Somebody has to log in.
    Login,
    /// The network between here and the origin wants something first (RFC 8952).
    CaptivePortal,
    /// A button has to be pressed: terms, cookies, a warning that nobody has looked for viruses.
    Consent,
    /// Others have had too much of this file.
    Quota,
}

impl Challenge {
    /// All of them, in the order of their numbers in files: a new one goes to the end.
    pub const ALL: [Self; 7] = [
        Challenge::BotCheck,
        Challenge::Captcha,
        Challenge::BrowserCheck,
        Challenge::Login,
        Challenge::CaptivePortal,
        Challenge::Consent,
        Challenge::Quota,
    ];

    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Challenge::BotCheck => "bot_check",
            Challenge::Captcha => "captcha",
            Challenge::BrowserCheck => "browser_check",
            Challenge::Login => "login",
            Challenge::CaptivePortal => "captive_portal",
            Challenge::Consent => "consent",
            Challenge::Quota => "quota",
        }
    }

    /// True if a person with a browser would get further.
    #[must_use]
    pub const fn needs_browser(self) -> bool {
        !matches!(self, Challenge::Quota)
    }

    /// What came, and what would help, for people.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Challenge::BotCheck => {
                "a bot check came instead of the file: open the URL in a browser, then pass its cookies on (-b)"
            }
            Challenge::Captcha => {
                "a captcha came instead of the file: solve it in a browser, then pass its cookies on (-b)"
            }
            Challenge::BrowserCheck => {
                "a browser check came instead of the file: open the URL in a browser, then pass its cookies on (-b)"
            }
            Challenge::Login => {
                "a login page came instead of the file: give credentials (-u, --bearer, --netrc) or the cookies of a browser that is logged in (-b)"
            }
            Challenge::CaptivePortal => {
                "the network answered with a page of its own: log in to it with a browser (a captive portal)"
            }
            Challenge::Consent => {
                "a page that asks for consent came instead of the file: confirm it in a browser, then use the URL that follows"
            }
            Challenge::Quota => "the server says that too many have had this file: try again later",
        }
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn each_has_its_word_and_its_place() {
        let words: BTreeSet<_> = Challenge::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words.len(), Challenge::ALL.len());
        for (at, kind) in Challenge::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "{kind}");
        }
    }
}
