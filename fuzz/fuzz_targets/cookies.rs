//! Cookies: what one host sets goes to nobody else, never in clear text if it is secure, never past its time, and what is sent
//! cannot begin a field of its own.
//!
//! The input is values of `Set-Cookie`, a line each; the same text is read as a file too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_core::{Secret, Target, Wall};
use tur_http::{COOKIE_BYTES_MAX, COOKIES_PER_DOMAIN_MAX, CookieFile, Jar};

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let from = at("https://a.b.example.co.uk/x/y");
    let mut jar = Jar::new();
    for line in data.split(|byte| *byte == b'\n') {
        jar.set(&from, line, NOW);
        assert!(
            pairs(&jar, "https://a.b.example.co.uk/x/y", NOW).len() <= 3 * COOKIES_PER_DOMAIN_MAX
        );
    }
    for stranger in STRANGERS {
        assert!(jar.value(&at(stranger), NOW).is_none(), "{stranger}");
    }
    let home = pairs(&jar, "https://a.b.example.co.uk/x/y", NOW);
    let clear = pairs(&jar, "http://a.b.example.co.uk/x/y", NOW);
    let later = pairs(&jar, "https://a.b.example.co.uk/x/y", LATER);
    assert!(clear.iter().chain(&later).all(|pair| home.contains(pair)));
    // One that is not kept for secure origins goes where it came from, in clear text or not.
    let mut plain = Jar::new();
    if plain.set(&from, b"k=v; Path=/", NOW) {
        assert_eq!(pairs(&plain, "http://a.b.example.co.uk/z", LATER), [b"k=v"]);
    }
    file(data);
});

/// A file may name any domain; its cookies go there and below, and nowhere else.
fn file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut jar = Jar::new();
    match CookieFile::parse(text) {
        Ok(file) => jar.take(&file, NOW),
        Err(error) => assert!((1..=text.lines().count()).contains(&error.line)),
    }
    if !text.to_ascii_lowercase().contains("invalid") {
        assert!(jar.value(&at("https://unnamed.invalid/"), NOW).is_none());
    }
}

fn at(url: &str) -> Target {
    tur_http::target(url).expect("it is a URL").0
}

/// What would be sent there, pair by pair.
fn pairs(jar: &Jar, url: &str, now: Wall) -> Vec<Vec<u8>> {
    let value = jar.value(&at(url), now);
    let text = value.as_ref().map_or(&b""[..], Secret::expose);
    assert!(text.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f));
    let pairs = text.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let pairs: Vec<_> = pairs
        .filter(|pair| !pair.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    assert!(
        pairs
            .iter()
            .all(|pair| pair.contains(&b'=') && pair.len() <= COOKIE_BYTES_MAX + 1)
    );
    pairs
}

/// Above, beside and elsewhere: one of them is a name that many people share.
const STRANGERS: [&str; 6] = [
    "https://co.uk/",
    "https://other.co.uk/",
    "https://uk/",
    "https://example.com/",
    "https://xa.b.example.co.uk.test/",
    "https://127.0.0.1/",
];
const NOW: Wall = Wall::from_unix_secs(1_800_000_000);
const LATER: Wall = Wall::from_unix_secs(1_800_000_000 + 86_400);
