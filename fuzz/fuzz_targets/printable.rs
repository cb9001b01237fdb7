//! Text for a terminal: whatever came, what is shown acts on nothing, is short, and says what was there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_http::{PRINTABLE_CHARS_MAX, is_hidden, printable};

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let text = String::from_utf8_lossy(data);
    let shown = printable(&text);
    assert!(!shown.contains(acts), "{shown:?}");
    assert!(shown.chars().count() <= PRINTABLE_CHARS_MAX);
    assert_eq!(printable(&shown), shown, "twice is once");
    let is_cut = shown.chars().count() == PRINTABLE_CHARS_MAX && shown.ends_with('…');
    if !is_cut && !text.contains('\\') {
        assert_eq!(unescaped(&shown), text, "nothing is lost");
    }
    if !text.contains(is_hidden) && text.chars().count() <= PRINTABLE_CHARS_MAX {
        assert_eq!(shown, text, "what shows is left alone");
    }
});

/// A part of what must not get through, listed apart from the code under test: control characters, line and paragraph
/// separators, bidirectional controls, and characters of zero width. More than these is escaped, so only the rule itself
/// ([`is_hidden`]) says what is left alone.
fn acts(c: char) -> bool {
    c.is_control()
        || ('\u{2028}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{206f}').contains(&c)
        || ('\u{200b}'..='\u{200f}').contains(&c)
        || ('\u{2060}'..='\u{2064}').contains(&c)
        || ('\u{fff9}'..='\u{fffb}').contains(&c)
        || ('\u{e0000}'..='\u{e007f}').contains(&c)
        || ['\u{61c}', '\u{ad}', '\u{feff}'].contains(&c)
}

/// Reads escapes back.
fn unescaped(shown: &str) -> String {
    let mut parts = shown.split("\\u{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_once('}').expect("an escape is closed");
        let code = u32::from_str_radix(digits, 16).expect("an escape is a number");
        text.push(char::from_u32(code).expect("an escape is a character"));
        text.push_str(rest);
    }
    text
}
