//! A corpus of pages written for these tests: those that come instead of a file, and those that look like it.

use super::*;
use proptest::prelude::*;
use std::string::String;
use tur_core::BodyKind;

fn page(head: &str, body: &str) -> String {
    std::format!(
        "<!DOCTYPE html>\n<html><head><meta charset=utf-8>{head}</head><body>{body}</body></html>"
    )
}

fn seen(status: u16, file_expected: bool, body: &str) -> Option<Challenge> {
    challenge(&Sight {
        status,
        file_expected,
        body: body.as_bytes(),
    })
}

/// Head, body and kind of pages that are never what was asked for.
const ALWAYS: [(&str, &str, Challenge); 14] = [
    (
        "<title>Just a moment...</title>",
        "<noscript>Enable scripts</noscript><script>(function(){window._cf_chl_opt={cvId:'3'}})()</script>",
        Challenge::BrowserCheck,
    ),
    (
        "<title>Nur einen Moment…</title>",
        "<script>window._cf_chl_opt = {}; s.src = '/cdn-cgi/challenge-platform/h/g/orchestrate/x';</script>",
        Challenge::BrowserCheck,
    ),
    (
        "<title>Attention Required! | Cloudflare</title><link href=\"/cdn-cgi/styles/x.css\">",
        "<h1>Sorry</h1>",
        Challenge::BotCheck,
    ),
    (
        "<title>shop.example</title>",
        "<script>var dd={'rt':'c','cid':'x'}</script><script src=\"https://ct.captcha-delivery.com/c.js\"></script>",
        Challenge::Captcha,
    ),
    (
        "<title>Access to this page has been denied</title>",
        "<script>window._pxAppId='PX1';</script><div id=\"px-captcha\"></div>",
        Challenge::Captcha,
    ),
    (
        "<meta name=robots content=noindex>",
        "<iframe id=\"main-iframe\" src=\"/_Incapsula_Resource?CWU=1\">Request unsuccessful. Incapsula  incident\nID: 1-2</iframe>",
        Challenge::BotCheck,
    ),
    (
        "<script src=\"https://t.awswaf.com/challenge.js\"></script>",
        "<div id=\"challenge-container\"></div><script>AwsWafIntegration.getToken()</script>",
        Challenge::BrowserCheck,
    ),
    (
        "<title>You are being redirected...</title>",
        "<script>var s={};sucuri_cloudproxy_js='';</script>",
        Challenge::BrowserCheck,
    ),
    (
        "<title>DDoS-Guard</title>",
        "<script src=\"/.well-known/ddos-guard/check?context=free\"></script>",
        Challenge::BrowserCheck,
    ),
    (
        "<title>Making sure of it</title><link href=\"/.within.website/x/cmd/anubis/static/x.css\">",
        "<script id=\"anubis_challenge\" type=\"application/json\">{}</script>",
        Challenge::BrowserCheck,
    ),
    (
        "<title>Sorry...</title>",
        "<form id=\"captcha-form\"></form>Our systems saw unusual traffic from your computer network.",
        Challenge::Captcha,
    ),
    (
        "<title>Google Drive - Virus scan warning</title>",
        "<form id=\"download-form\" action=\"x\"></form>",
        Challenge::Consent,
    ),
    (
        "<title>Google Drive - Quota exceeded</title>",
        "Too many users have viewed or downloaded this file recently.",
        Challenge::Quota,
    ),
    (
        "<title>Welcome</title>",
        "<!-- <?xml version=\"1.0\"?><WISPAccessGatewayParam xmlns:x=\"y\"/> -->",
        Challenge::CaptivePortal,
    ),
];

/// Those that somebody may well want to have, unless they asked for something else.
const IN_THE_WAY: [(&str, &str, Challenge); 7] = [
    (
        "<title>Sign in - Example</title>",
        "<form method=post><input name=u><input type='password' name=p></form>",
        Challenge::Login,
    ),
    (
        "<title>Working...</title>",
        "<form action=\"https://idp.example/sso\"><input type=hidden name=\"SAMLRequest\"></form>",
        Challenge::Login,
    ),
    (
        "<title>Access Denied</title>",
        "You don't have permission. Reference #18.1 https://errors.edgesuite.net/18.1",
        Challenge::BotCheck,
    ),
    (
        "<title>Are you a robot?</title>",
        "<form><div class=\"h-captcha\" data-sitekey=x></div></form>",
        Challenge::Captcha,
    ),
    (
        "<title>Hotspot Login</title>",
        "<form action=/login><input name=room></form>",
        Challenge::CaptivePortal,
    ),
    (
        "<title>License Agreement</title>",
        "<form><input type=submit value=Accept></form>",
        Challenge::Consent,
    ),
    (
        "<title>Just a moment...</title>",
        "<img src=\"/cdn-cgi/images/x.png\">",
        Challenge::BrowserCheck,
    ),
];

/// What speaks of such pages, or uses what they use, and is none.
const ORDINARY: [(&str, &str); 12] = [
    ("<title>Downloads</title>", "<a href=/f.iso>f.iso</a>"),
    (
        "<title>What \"Just a moment...\" means</title>",
        "<p>The page has <code>&lt;title&gt;Just a moment...&lt;/title&gt;</code> and sets window._cf_chl_opt, and loads \
         /cdn-cgi/challenge-platform/h/b.</p>",
    ),
    (
        "<title>Just a moment... in time: a poem</title>",
        "<p>_cf_chl_opt</p><script>var poem = 1;</script>",
    ),
    (
        "<title>A shop behind Cloudflare</title>",
        "<script>window.__CF$cv$params={r:'1'};a.src='/cdn-cgi/challenge-platform/scripts/jsd/main.js';</script>",
    ),
    (
        "<title>How bots are found</title>",
        "<p>Look for var dd={ and captcha-delivery.com/ or _Incapsula_Resource? and Incapsula incident ID.</p>",
    ),
    (
        "<title>A bank behind Imperva</title><script src=\"/_Incapsula_Resource?SWJ=1\"></script>",
        "<h1>Welcome</h1>",
    ),
    (
        "<title>A store with the SDK</title>",
        "<script>AwsWafIntegration.fetch('/api')</script>",
    ),
    (
        "<title>Contact us</title>",
        "<form><div class=\"g-recaptcha\"></div><textarea>captcha</textarea></form>",
    ),
    (
        "<title>CAPTCHA - an encyclopedia</title>",
        "<p>A g-recaptcha or h-captcha is a puzzle. &lt;input type=\"password\"&gt;</p>",
    ),
    (
        "<title>Forms for beginners</title>",
        "<textarea><form><input type=\"password\"></form></textarea>",
    ),
    (
        "<title>Access denied: a film</title>",
        "<p>Reference #7 in the list.</p>",
    ),
    (
        "<title>Virus scan warning: Google Drive</title>",
        "<p>Many have viewed or downloaded this file.</p>",
    ),
];

#[test]
fn pages_that_are_never_the_file_are_known_whatever_the_status() {
    for (head, body, kind) in ALWAYS {
        for status in [200, 206, 403, 429, 503] {
            for file in [false, true] {
                assert_eq!(seen(status, file, &page(head, body)), Some(kind), "{head}");
            }
        }
    }
}

#[test]
fn pages_that_may_be_wanted_are_in_the_way_of_files_alone() {
    for (head, body, kind) in IN_THE_WAY {
        let page = page(head, body);
        assert_eq!(seen(200, true, &page), Some(kind), "{head}");
        assert_eq!(seen(403, false, &page), Some(kind), "{head}");
        assert_eq!(seen(200, false, &page), None, "{head}");
    }
}

#[test]
fn pages_that_speak_of_it_pass() {
    for (head, body) in ORDINARY {
        for (status, file) in [(200, false), (200, true), (503, true)] {
            assert_eq!(seen(status, file, &page(head, body)), None, "{head}");
        }
    }
}

/// A page that has this mark, by its first text.
fn with_mark(mark: &Mark) -> String {
    match mark {
        Mark::Title(texts) => std::format!("<title>{}</title>", texts[0]),
        Mark::Tag(texts) if texts[0].starts_with('<') => std::format!("{}>", texts[0]),
        Mark::Tag(texts) => std::format!("<i {}>", texts[0]),
        Mark::Script(texts) => std::format!("<script>{}</script>", texts[0]),
        Mark::Text(texts) => std::format!(" {} ", texts[0]),
        Mark::Comment(texts) => std::format!("<!-- {} -->", texts[0]),
    }
}

#[test]
fn each_mark_of_a_rule_is_needed() {
    for rule in &RULES {
        let pages: std::vec::Vec<String> = rule.marks.iter().map(with_mark).collect();
        assert_eq!(seen(403, true, &page("", &pages.concat())), Some(rule.kind));
        for missing in 0..pages.len() {
            let mut rest = pages.clone();
            rest.remove(missing);
            let rest = page("", &rest.concat());
            assert_eq!(seen(403, true, &rest), None, "{rest}");
        }
    }
}

#[test]
fn what_is_no_markup_is_no_page() {
    let (head, body, _) = ALWAYS[0];
    let good = page(head, body);
    for before in ["PK\x03\x04", "{", "x", "<rss>"] {
        assert_eq!(
            seen(403, true, &std::format!("{before}{good}")),
            None,
            "{before}"
        );
    }
    assert_eq!(seen(403, true, ""), None);
}

#[test]
fn nothing_is_looked_at_behind_the_bound() {
    let (head, body, _) = ALWAYS[0];
    let filler = " ".repeat(LOOK_BYTES_MAX);
    assert_eq!(
        seen(200, true, &page(&filler, &std::format!("{head}{body}"))),
        None
    );
}

#[test]
fn fields_that_prove_it_alone() {
    let told = |status, name: &'static str, value: &'static str| {
        by_fields(&Head {
            status,
            reason: "",
            fields: &[(name, value.as_bytes())],
            body: BodyKind::Marked,
        })
    };
    for (status, name, value, kind) in [
        (
            403,
            "CF-Mitigated",
            " Challenge ",
            Some(Challenge::BrowserCheck),
        ),
        (
            200,
            "cf-mitigated",
            "challenge",
            Some(Challenge::BrowserCheck),
        ),
        (403, "cf-mitigated", "block", None),
        (
            202,
            "x-amzn-waf-action",
            "challenge",
            Some(Challenge::BrowserCheck),
        ),
        (
            405,
            "x-amzn-waf-action",
            "captcha",
            Some(Challenge::Captcha),
        ),
        (
            429,
            "x-vercel-mitigated",
            "challenge",
            Some(Challenge::BrowserCheck),
        ),
        (403, "x-dd-b", "1", Some(Challenge::BotCheck)),
        (200, "x-dd-b", "1", None),
        (200, "x-datadome", "protected", None),
        (403, "x-datadome", "protected", None),
        (429, "x-kpsdk-ct", "x", Some(Challenge::BrowserCheck)),
        (200, "x-kpsdk-ct", "x", None),
        (403, "server", "cloudflare", None),
        (
            200,
            "content-security-policy",
            "script-src https://www.google.com/recaptcha/",
            None,
        ),
        (511, "server", "x", Some(Challenge::CaptivePortal)),
        (401, "www-authenticate", "Basic", None),
    ] {
        assert_eq!(told(status, name, value), kind, "{status} {name}: {value}");
    }
}

#[test]
fn names_that_are_of_files() {
    for (name, is) in [
        ("big.iso", true),
        ("page.html", false),
        ("download", false),
        ("get.php", false),
        ("", false),
    ] {
        assert_eq!(names_a_file(name), is, "{name}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..300), status in 200_u16..600) {
        let sight = Sight { status, file_expected: true, body: &body };
        prop_assert_eq!(challenge(&sight), challenge(&sight));
    }
}
