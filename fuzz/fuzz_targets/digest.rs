//! Digest: an answer is one field with balanced quotes and no trace of the password, each request has a count of its own, and
//! a server that is never content is given up.
//!
//! The input is values of `WWW-Authenticate`, a line each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_http::DigestAuth;

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let fields: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut digest = DigestAuth::new("us\"er".into(), PASSWORD.into());
    assert!(digest.authorize("GET", "/").is_none(), "nobody has asked");
    let mut tries = 0;
    while digest.challenged(digest.generation(), &fields, "0123456789abcdef") {
        tries += 1;
        assert!(tries <= TRIES_MAX, "it never gives up");
        let first = digest.authorize("GET", "/a?b=\"c\"").expect("it was asked");
        let second = digest.authorize("GET", "/a?b=\"c\"").expect("it was asked");
        assert_answer(first.expose());
        assert_answer(second.expose());
        let counted = find(first.expose(), b", nc=00000001,");
        assert_eq!(counted, find(second.expose(), b", nc=00000002,"));
        // Another lane that answered an older challenge asks again with this one.
        assert!(digest.challenged(digest.generation() - 1, &fields, "x"));
    }
});

fn assert_answer(value: &[u8]) {
    assert!(value.starts_with(b"Digest username"));
    assert!(
        value.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f),
        "a field of its own"
    );
    assert!(!find(value, PASSWORD.as_bytes()));
    let mut inside = false;
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => inside = !inside,
            b'\\' if inside => assert!(bytes.next().is_some()),
            _ => {}
        }
    }
    assert!(!inside, "a quote is not closed");
}

fn find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// No input has it by chance.
const PASSWORD: &str = "q7#Vt2!unheard-of";
/// Challenges in a row that may be answered.
const TRIES_MAX: u32 = 3;
