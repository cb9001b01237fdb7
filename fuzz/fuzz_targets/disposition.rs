//! File names: whatever the URL and `Content-Disposition` say, the name is one safe component.
//!
//! The input is the path of a URL, a line feed, and the value of the field.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_core::{Origin, Scheme, Target};
use tur_fuzz::assert_safe;
use tur_http::{SafeName, target};

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
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
});
