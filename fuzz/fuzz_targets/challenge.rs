//! Pages in the way: whatever a body is, nothing of it behind the bound counts, and a page that is known for one where it
//! may have been asked for is known where it was not.
//!
//! The input is one byte that chooses the status, and a body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_http::{LOOK_BYTES_MAX, Sight, challenge};

const STATUSES: [u16; 6] = [200, 206, 401, 403, 429, 503];

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let Some((first, body)) = data.split_first() else {
        return;
    };
    let status = STATUSES[usize::from(*first) % STATUSES.len()];
    let seen = |status, file_expected, body| {
        challenge(&Sight {
            status,
            file_expected,
            body,
        })
    };
    let asked_for = seen(200, false, body);
    if asked_for.is_some() {
        assert!(
            seen(status, true, body).is_some(),
            "less is known of what was not asked for"
        );
    }
    let bound = body.len().min(LOOK_BYTES_MAX);
    assert_eq!(seen(status, true, body), seen(status, true, &body[..bound]));
    assert_eq!(
        seen(200, true, body),
        seen(403, false, body),
        "both are in the way"
    );
    if !body.contains(&b'<') {
        assert_eq!(seen(status, true, body), None, "no markup, no page");
    }
});
