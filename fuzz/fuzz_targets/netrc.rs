//! netrc files: what is read is found, what was written in quotes comes back as it was, and an error says a line that is there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_http::Netrc;

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Netrc::parse(text) {
        Ok(netrc) => {
            for host in ["h.example", "[::1]", "", text] {
                let found = netrc.find(host, None);
                let found = found.as_ref().map(|info| info.user.expose());
                // Whoever is found for a host is found by name too.
                let user = found.and_then(|user| std::str::from_utf8(user).ok());
                let again = user.and_then(|user| netrc.find(host, Some(user)));
                assert_eq!(found.is_some(), again.is_some());
            }
        }
        Err(error) => assert!((1..=text.lines().count().max(1)).contains(&error.line)),
    }
    let (login, password) = text.split_at(text.floor_char_boundary(text.len() / 2));
    let written = format!(
        "machine h.example login {} password {}\n",
        quoted(login),
        quoted(password)
    );
    let netrc = Netrc::parse(&written).expect("it is well written");
    let found = netrc.find("H.example", Some(login)).expect("it is there");
    assert_eq!(found.user.expose(), login.as_bytes());
    assert_eq!(found.password.expose(), password.as_bytes());
    assert!(netrc.find("other.example", None).is_none());
});

/// A word as a netrc file can hold it, whatever it is.
fn quoted(text: &str) -> String {
    let mut word = String::from('"');
    for c in text.chars() {
        match c {
            '\n' => word += "\\n",
            '\r' => word += "\\r",
            '\t' => word += "\\t",
            '"' | '\\' => word.extend(['\\', c]),
            c => word.push(c),
        }
    }
    word + "\""
}
