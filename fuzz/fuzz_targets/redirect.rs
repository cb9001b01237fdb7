//! Redirects: where a chain of `Location` fields leads is always a URL that can be requested safely, and what is secret
//! stays with the origin that it was meant for.
//!
//! The input is a URL and the locations to follow from it, one per line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_core::{Kind, Scheme, Target};
use tur_fuzz::assert_requestable;
use tur_http::{Hop, RedirectPolicy, follow, target};

/// Redirects that are followed.
const HOPS_MAX: usize = 20;

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let url = lines.next().unwrap_or_default();
    let mut current = match target(url) {
        Ok((target, userinfo)) => {
            // What is a secret is in no message.
            assert!(!format!("{userinfo:?}").contains("secret"));
            target
        }
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control));
            return;
        }
    };
    assert_requestable(&current);
    let first = current.origin.clone();
    let mut with_secrets = true;
    for location in lines.take(HOPS_MAX) {
        let Some(next) = hop(&current, location) else {
            break;
        };
        assert!(
            current.origin.scheme == Scheme::Http || next.target.origin.scheme == Scheme::Https,
            "what was private stays private"
        );
        with_secrets &= next.same_origin;
        current = next.target;
        assert!(
            !with_secrets || current.origin == first,
            "secrets leave their origin: {current}"
        );
    }
});

/// Follows one location under both policies and says where the strict one leads.
fn hop(current: &Target, location: &str) -> Option<Hop> {
    let with = |allow_downgrade| follow(current, location, &RedirectPolicy { allow_downgrade });
    let (strict, lax) = (with(false), with(true));
    for fault in [&strict, &lax]
        .into_iter()
        .filter_map(|hop| hop.as_ref().err())
    {
        assert!(
            matches!(fault.kind(), Kind::Policy | Kind::Protocol),
            "{fault:?}"
        );
        assert!(!fault.to_string().contains(char::is_control));
    }
    if let Ok(hop) = &lax {
        assert_requestable(&hop.target);
        assert_eq!(hop.same_origin, hop.target.origin == current.origin);
        let down =
            current.origin.scheme == Scheme::Https && hop.target.origin.scheme == Scheme::Http;
        assert_eq!(
            strict.is_err(),
            down,
            "only a downgrade is a matter of policy"
        );
    } else {
        assert!(strict.is_err());
    }
    strict.ok()
}
