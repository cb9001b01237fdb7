//! URLs as users type them: what is read can be requested, and what is secret is in no message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_fuzz::assert_requestable;
use tur_http::{URL_BYTES_MAX, target};

/// Stands in URLs as a password, and in nothing that is shown.
const SECRET: &str = "hunter2hunter2";

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let text = String::from_utf8_lossy(data);
    read(&text);
    // The same, with credentials in front of it.
    let rest = text.split_once("://").map_or(&*text, |(_, rest)| rest);
    let url = format!("https://alice:{SECRET}@{rest}");
    read(&url);
    if let Ok((at, userinfo)) = target(&url) {
        assert_eq!(at.origin.scheme, tur_core::Scheme::Https);
        let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        if !authority.contains('@') {
            let userinfo = userinfo.expect("credentials stood there");
            let told = (userinfo.user.expose(), userinfo.password.expose());
            assert_eq!(told, (&b"alice"[..], SECRET.as_bytes()));
        }
    }
});

fn read(url: &str) {
    match target(url) {
        Ok((at, userinfo)) => {
            assert!(url.len() <= URL_BYTES_MAX && at.to_string().len() <= URL_BYTES_MAX);
            assert_requestable(&at);
            // It may have been the name of a host, or a path.
            if url.matches(SECRET).count() == 1 && userinfo.is_some() {
                assert!(!at.to_string().contains(SECRET), "{at}");
            }
            assert!(!format!("{userinfo:?}").contains(SECRET));
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(char::is_control) && !text.contains(SECRET));
        }
    }
}
