//! Names of files, made of any text: one safe component, as near to the text as it may be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_fuzz::assert_safe;
use tur_http::SafeName;

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let text = String::from_utf8_lossy(data);
    let name = SafeName::clean(&text);
    assert_safe(&name);
    let plain = |c: char| c.is_ascii_alphanumeric();
    if (1..=100).contains(&text.len()) && text.chars().all(plain) && !is_device(&text) {
        assert_eq!(name.as_str(), text, "what is safe is left alone");
    }
    // Numbers go on from name to name, at the very most four thousand million of them.
    let numbered = name.numbered(7);
    assert_safe(&numbered);
    assert_ne!(numbered, name.numbered(8));
});

/// True for letters and digits that Windows takes for a device.
fn is_device(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let port = |name: &str| lower.strip_prefix(name).is_some_and(|rest| rest.len() == 1);
    ["con", "prn", "aux", "nul"].contains(&lower.as_str()) || port("com") || port("lpt")
}
