//! File names: whatever the URL and `Content-Disposition` say, the name is one safe component.
//!
//! The input is the path of a URL, a line feed, and the value of the field.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_core::{Origin, Scheme, Target};
use tur_http::{SafeName, target};

/// The longest name.
const BYTES_MAX: usize = 200;

fuzz_target!(|data: &[u8]| {
    let at = data.iter().position(|byte| *byte == b'\n');
    let (path, value) = data.split_at(at.unwrap_or(data.len()));
    let path = String::from_utf8_lossy(path);
    let value = value.get(1..);
    // As a caller might build it, and as a URL is read.
    let raw = Target {
        origin: Origin {
            scheme: Scheme::Http,
            host: "a.example".into(),
            port: 80,
        },
        path: path.clone().into_owned(),
    };
    assert_safe(&SafeName::of(value, &raw));
    if let Ok((target, _)) = target(&format!("http://a.example/{path}")) {
        assert_safe(&SafeName::of(value, &target));
    }
    assert_safe(&SafeName::clean(&path));
});

/// Asserts every promise of [`SafeName`], for the name and for a numbered one.
fn assert_safe(name: &SafeName) {
    assert_safe_text(name);
    assert_safe_text(&name.numbered(1));
    assert_safe_text(&name.numbered(u32::MAX));
}

fn assert_safe_text(name: &SafeName) {
    let text = name.as_str();
    assert!((1..=BYTES_MAX).contains(&text.len()), "{text:?}");
    assert!(!text.contains(|c: char| c.is_control() || "<>:\"/\\|?*".contains(c)));
    assert!(!text.contains([
        '\u{202a}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{200d}', '\u{feff}'
    ]));
    assert!(!text.starts_with(['.', '-', ' ']), "{text:?}");
    assert!(!text.ends_with(['.', ' ']), "{text:?}");
    let stem = text.split('.').next().unwrap_or_default().trim_end();
    for device in ["con", "prn", "aux", "nul", "com1", "lpt9", "com²"] {
        assert!(!stem.eq_ignore_ascii_case(device), "{text:?}");
    }
    assert_eq!(&SafeName::clean(text), name, "it is as clean as it gets");
}
