//! Pages that come instead of the file, told from pages that are the file.
//!
//! Read [`challenge`] and the table `RULES`. A page that merely mentions a captcha must pass, so no rule looks at a whole
//! body: each names where its marks stand (title, tags, scripts, visible text, comments), and in an article that quotes
//! such a page they stand in the text. A rule needs all of its marks.
//!
//! What is looked at: answers whose body may be a page ([`Asides::may_be_page`](tur_core::Asides::may_be_page)); the first
//! [`LOOK_BYTES_MAX`] bytes of it, and nothing of any other body. Fields that prove it alone are in `FIELDS`.
//!
//! Sources: `cf-mitigated` is documented by Cloudflare ("Detect a Challenge Page response"), `x-amzn-waf-action` by AWS
//! ("CAPTCHA and Challenge action behavior"), `x-dd-b` by DataDome ("Validate request"), 511 by RFC 6585, section 6, the
//! comment of captive portals by WISPr 1.0, appendix D. Marks of pages are names that their scripts and forms need to work.

mod parts;
#[cfg(test)]
mod tests;

use tur_core::Challenge;

use self::parts::Parts;
use crate::fields::trim;
use crate::read::{Head, values};

/// What is known of an answer whose first bytes have come.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// Status code.
    pub status: u16,
    /// True if something other than a page is expected: its name says so.
    pub file_expected: bool,
    /// The first bytes of the body, decoded if it came coded.
    pub body: &'a [u8],
}

/// What the page in sight asks for; `None` if it is no such page, or no page at all.
///
/// Where a page may be what was asked for, only pages count that cannot be anything else. Where the status refuses, or the
/// name is that of a file, a form with a password is a login page.
#[must_use]
pub fn challenge(sight: &Sight<'_>) -> Option<Challenge> {
    let body = &sight.body[..sight.body.len().min(LOOK_BYTES_MAX)];
    if !parts::is_markup(body) {
        return None;
    }
    let parts = Parts::of(body);
    let in_the_way = sight.status >= 400 || sight.file_expected;
    RULES
        .iter()
        .filter(|rule| in_the_way || rule.when == When::Always)
        .find(|rule| rule.marks.iter().all(|mark| mark.is_in(&parts)))
        .map(|rule| rule.kind)
}

/// True if a body that begins so may be a page, with what follows: what is none is known by its first byte that is no space.
#[must_use]
pub fn may_be_page(beginning: &[u8]) -> bool {
    parts::may_be_markup(beginning)
}

/// True if an answer with this status may be a page that is worth a look: those with which guards refuse.
#[must_use]
pub fn may_challenge(status: u16) -> bool {
    matches!(status, 200 | 202 | 203 | 206 | 401 | 403 | 405 | 429 | 503)
}

/// True if a file of that name is no page: it has an extension, and not one of a page or of a program that makes pages.
#[must_use]
pub fn names_a_file(name: &str) -> bool {
    crate::terms::is_surprising_page(name, Some("text/html"))
}

/// What the fields alone prove.
pub(crate) fn by_fields(head: &Head<'_>) -> Option<Challenge> {
    // RFC 6585, section 6: never said by an origin.
    if head.status == 511 {
        return Some(Challenge::CaptivePortal);
    }
    let row = FIELDS.iter().find(|row| {
        let counts = row.statuses.is_empty() || row.statuses.contains(&head.status);
        let says = |value: &[u8]| row.value.is_none_or(|text| equal(trim(value), text));
        counts && values(head, row.name).any(says)
    })?;
    Some(row.kind)
}

fn equal(value: &[u8], text: &str) -> bool {
    value.eq_ignore_ascii_case(text.as_bytes())
}

/// A field that proves it alone.
struct Proof {
    name: &'static str,
    /// Any, if none is given.
    value: Option<&'static str>,
    /// Any, if there is none.
    statuses: &'static [u16],
    kind: Challenge,
}

/// A page with these marks is of that kind.
struct Rule {
    kind: Challenge,
    when: When,
    marks: &'static [Mark],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// It cannot be anything else.
    Always,
    /// It might be what somebody wants to have, if it was asked for.
    InTheWay,
}

/// One of these texts, in lower case, in that part of a page.
enum Mark {
    /// The title begins with it.
    Title(&'static [&'static str]),
    /// Inside of a tag.
    Tag(&'static [&'static str]),
    /// Inside of a script.
    Script(&'static [&'static str]),
    /// In what a reader sees.
    Text(&'static [&'static str]),
    /// In a comment.
    Comment(&'static [&'static str]),
}

impl Mark {
    fn is_in(&self, parts: &Parts) -> bool {
        match self {
            Mark::Title(texts) => texts.iter().any(|text| parts.title.starts_with(text)),
            Mark::Tag(texts) => texts.iter().any(|text| parts.tags.contains(text)),
            Mark::Script(texts) => texts.iter().any(|text| parts.scripts.contains(text)),
            Mark::Text(texts) => texts.iter().any(|text| parts.text.contains(text)),
            Mark::Comment(texts) => texts.iter().any(|text| parts.comments.contains(text)),
        }
    }
}

/// Bytes of a body that are looked at, at most: the pages in question are small, or say what they are in their head.
pub const LOOK_BYTES_MAX: usize = 16 * 1024;

const fn proof(
    name: &'static str,
    value: Option<&'static str>,
    statuses: &'static [u16],
    kind: Challenge,
) -> Proof {
    Proof {
        name,
        value,
        statuses,
        kind,
    }
}

const FIELDS: [Proof; 7] = [
    proof(
        "cf-mitigated",
        Some("challenge"),
        &[],
        Challenge::BrowserCheck,
    ),
    proof(
        "x-amzn-waf-action",
        Some("captcha"),
        &[],
        Challenge::Captcha,
    ),
    proof(
        "x-amzn-waf-action",
        Some("challenge"),
        &[],
        Challenge::BrowserCheck,
    ),
    proof(
        "x-vercel-mitigated",
        Some("challenge"),
        &[],
        Challenge::BrowserCheck,
    ),
    proof(
        "x-vercel-mitigated",
        Some("deny"),
        &[403],
        Challenge::BotCheck,
    ),
    proof("x-dd-b", None, &[401, 403, 405, 429], Challenge::BotCheck),
    proof("x-kpsdk-ct", None, &[429], Challenge::BrowserCheck),
];

const fn always(kind: Challenge, marks: &'static [Mark]) -> Rule {
    Rule {
        kind,
        when: When::Always,
        marks,
    }
}

const fn in_the_way(kind: Challenge, marks: &'static [Mark]) -> Rule {
    Rule {
        kind,
        when: When::InTheWay,
        marks,
    }
}

const RULES: [Rule; 29] = {
    use Challenge::{BotCheck, BrowserCheck, Captcha, CaptivePortal, Consent, Login, Quota};
    use Mark::{Comment, Script, Tag, Text, Title};
    [
        // Cloudflare. Its detections (`jsd`) run in ordinary pages too, with another name for what they are given.
        always(
            BrowserCheck,
            &[Title(&["just a moment..."]), Script(&["_cf_chl_opt"])],
        ),
        always(
            BrowserCheck,
            &[
                Script(&["_cf_chl_opt"]),
                Script(&["/cdn-cgi/challenge-platform/h/"]),
            ],
        ),
        always(
            BotCheck,
            &[
                Title(&["attention required! | cloudflare"]),
                Tag(&["/cdn-cgi/"]),
            ],
        ),
        in_the_way(
            BrowserCheck,
            &[Title(&["just a moment..."]), Tag(&["/cdn-cgi/"])],
        ),
        // DataDome.
        always(
            Captcha,
            &[Script(&["var dd={"]), Tag(&["captcha-delivery.com/"])],
        ),
        // HUMAN.
        always(
            Captcha,
            &[Script(&["window._pxappid"]), Tag(&["px-captcha"])],
        ),
        always(
            Captcha,
            &[
                Title(&["access to this page has been denied"]),
                Script(&["_pxappid"]),
            ],
        ),
        // Imperva, whose script is in ordinary pages too.
        always(
            BotCheck,
            &[
                Tag(&["/_incapsula_resource?"]),
                Text(&["incapsula incident id"]),
            ],
        ),
        always(
            BotCheck,
            &[
                Tag(&["/_incapsula_resource?"]),
                Tag(&["id=\"main-iframe\""]),
            ],
        ),
        // Akamai.
        in_the_way(
            BotCheck,
            &[Title(&["access denied"]), Text(&["errors.edgesuite.net"])],
        ),
        // AWS WAF, whose SDK is in ordinary pages too.
        always(
            BrowserCheck,
            &[
                Script(&["awswafintegration"]),
                Tag(&["id=\"challenge-container\""]),
            ],
        ),
        always(
            Captcha,
            &[
                Script(&["awswafcaptcha", "captchascript"]),
                Tag(&["id=\"captcha-container\""]),
            ],
        ),
        // Sucuri, DDoS-Guard, Vercel.
        always(
            BrowserCheck,
            &[
                Title(&["you are being redirected..."]),
                Script(&["sucuri_cloudproxy_js"]),
            ],
        ),
        always(
            BotCheck,
            &[Title(&["sucuri website firewall - access denied"])],
        ),
        always(
            BrowserCheck,
            &[Title(&["ddos-guard"]), Tag(&["/.well-known/ddos-guard/"])],
        ),
        always(
            BrowserCheck,
            &[
                Title(&["vercel security checkpoint"]),
                Text(&["verifying your browser"]),
            ],
        ),
        // Anubis, go-away.
        always(
            BrowserCheck,
            &[
                Tag(&["id=\"anubis_challenge\""]),
                Tag(&["/.within.website/x/cmd/anubis/"]),
            ],
        ),
        always(
            BrowserCheck,
            &[
                Title(&["checking you are not a bot"]),
                Tag(&["/cmd/go-away/"]),
            ],
        ),
        // Google.
        always(
            Captcha,
            &[
                Tag(&["id=\"captcha-form\""]),
                Text(&["unusual traffic from your computer network"]),
            ],
        ),
        always(
            Consent,
            &[
                Title(&["google drive - virus scan warning"]),
                Tag(&["id=\"download-form\""]),
            ],
        ),
        always(
            Quota,
            &[
                Title(&["google drive - quota exceeded"]),
                Text(&["viewed or downloaded this file"]),
            ],
        ),
        always(
            Consent,
            &[
                Title(&["before you continue"]),
                Tag(&["://consent.google.", "://consent.youtube."]),
            ],
        ),
        // A captcha of any make, on a page whose title says that this is what it is about.
        in_the_way(
            Captcha,
            &[
                Title(&[
                    "captcha",
                    "are you a robot",
                    "are you human",
                    "robot check",
                    "security check",
                    "human verification",
                    "verify you are",
                ]),
                Tag(&["g-recaptcha", "h-captcha", "cf-turnstile"]),
            ],
        ),
        // Networks. WISPr is for programs: it says what it is.
        always(CaptivePortal, &[Comment(&["<wispaccessgatewayparam"])]),
        in_the_way(
            CaptivePortal,
            &[
                Title(&[
                    "captive portal",
                    "hotspot login",
                    "wi-fi login",
                    "wifi login",
                    "network login",
                    "internet login",
                    "guest access",
                ]),
                Tag(&["<form"]),
            ],
        ),
        // Consent of any make.
        in_the_way(
            Consent,
            &[
                Title(&[
                    "cookie consent",
                    "terms of use",
                    "terms and conditions",
                    "license agreement",
                    "age verification",
                    "before you continue",
                ]),
                Tag(&["<form"]),
            ],
        ),
        // Single sign-on.
        in_the_way(
            Login,
            &[
                Tag(&["name=\"samlrequest\"", "name=\"samlresponse\""]),
                Tag(&["<form"]),
            ],
        ),
        in_the_way(
            Login,
            &[
                Tag(&["type=\"password\"", "type='password'", "type=password"]),
                Tag(&["<form"]),
            ],
        ),
        in_the_way(
            Login,
            &[
                Title(&["sign in to your account"]),
                Tag(&["login.microsoftonline.com/", "aadcdn."]),
            ],
        ),
    ]
};
