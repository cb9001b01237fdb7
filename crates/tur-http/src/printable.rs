//! Text from the network, made fit for a terminal and for one line.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt::Write as _;

/// The most characters that [`printable`] returns.
pub const PRINTABLE_CHARS_MAX: usize = 500;

/// Escapes as `\u{…}` every character that could act on a terminal or hide what is there: C0 and C1 controls, DEL, line
/// and paragraph separators, bidirectional controls and characters of zero width. A text of more than
/// [`PRINTABLE_CHARS_MAX`] characters is cut, and ends in `…` then.
///
/// What is printable already comes back unchanged, so it may be applied twice.
#[must_use]
pub fn printable(text: &str) -> String {
    shorten(&without_hidden(text), PRINTABLE_CHARS_MAX).into_owned()
}

/// The first characters of `text`, at most `chars_max` (at least 1) with the `…` that says something is missing.
pub(crate) fn shorten(text: &str, chars_max: usize) -> Cow<'_, str> {
    if text.chars().nth(chars_max).is_none() {
        return Cow::Borrowed(text);
    }
    let mut cut: String = text.chars().take(chars_max - 1).collect();
    cut.push('…');
    Cow::Owned(cut)
}

/// `text` with hidden characters escaped; no more of it than [`printable`] can show.
pub(crate) fn without_hidden(text: &str) -> String {
    let mut out = String::new();
    // One character more than fits, so that the cut is seen.
    for c in text.chars().take(PRINTABLE_CHARS_MAX + 1) {
        if is_hidden(c) {
            write!(out, "\\u{{{:x}}}", u32::from(c)).expect("writing to a String cannot fail");
        } else {
            out.push(c);
        }
    }
    out
}

/// True for a character that is not seen as itself: it acts on the terminal, reorders its neighbours or has no width.
///
/// Beside controls and separators these are all that Unicode calls default-ignorable (`Default_Ignorable_Code_Point`, in
/// DerivedCoreProperties.txt), unassigned ones too.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    match c {
        // C0, DEL and C1.
        '\0'..='\x1f' | '\x7f'..='\u{9f}' => true,
        // Soft hyphen, grapheme joiner, Arabic letter mark, fillers of Hangul, inherent vowels of Khmer, selectors of
        // Mongolian.
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' => {
            true
        }
        '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{ffa0}' => true,
        // Spaces and joiners of zero width; marks, embeddings, overrides and isolates of the bidirectional algorithm
        // (UAX #9); line and paragraph separators; invisible operators.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        // Variation selectors, byte order mark, interlinear annotations.
        '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' => true,
        // Controls of shorthand and of music; tags and further selectors.
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text that is likely to hold what must not get through.
    fn text() -> impl Strategy<Value = String> {
        let hostile = proptest::sample::select(
            "\x1b\x07\r\n\t\0\x7f\u{85}\u{9b}\u{202e}\u{2066}\u{200b}\u{feff}\u{61c}\\{}a…é"
                .chars()
                .collect::<std::vec::Vec<_>>(),
        );
        proptest::collection::vec(prop_oneof![hostile, any::<char>()], 0..700)
            .prop_map(String::from_iter)
    }

    #[test]
    fn escapes_what_acts_and_keeps_what_shows() {
        for (text, shown) in [
            ("Not Found", "Not Found"),
            ("naïve 名前 🦀", "naïve 名前 🦀"),
            ("\x1b[31mred", "\\u{1b}[31mred"),
            ("a\r\nb\tc", "a\\u{d}\\u{a}b\\u{9}c"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("gnp\u{202e}exe", "gnp\\u{202e}exe"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
            ("a\u{61c}\u{200f}\u{2069}", "a\\u{61c}\\u{200f}\\u{2069}"),
            ("a\u{ad}\u{2060}\u{e0041}", "a\\u{ad}\\u{2060}\\u{e0041}"),
            ("a\u{3164}\u{fe0f}\u{34f}", "a\\u{3164}\\u{fe0f}\\u{34f}"),
            ("C:\\dir", "C:\\dir"),
            ("", ""),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn cuts_at_the_bound() {
        let exact = "é".repeat(PRINTABLE_CHARS_MAX);
        assert_eq!(printable(&exact), exact);
        let cut = printable(&(exact + "x"));
        assert_eq!(cut.chars().count(), PRINTABLE_CHARS_MAX);
        assert!(cut.ends_with("é…"), "{cut}");
        let huge = printable(&"\x1b".repeat(1 << 20));
        assert_eq!(huge.chars().count(), PRINTABLE_CHARS_MAX);
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in text()) {
            let shown = printable(&text);
            prop_assert!(!shown.chars().any(|c| c.is_control() || is_hidden(c)), "{shown:?}");
            prop_assert!(shown.chars().count() <= PRINTABLE_CHARS_MAX);
            prop_assert_eq!(&printable(&shown), &shown);
            if text.chars().count() <= PRINTABLE_CHARS_MAX && !text.chars().any(is_hidden) {
                prop_assert_eq!(shown, text);
            }
        }
    }
}
