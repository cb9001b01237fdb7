//! What is asked of each server, one function a check.
//!
//! Read [`all`]. Each list stands in a file of its own: whole files, what is offered elsewhere, what an origin may answer,
//! identity, proxies, players.

mod alternatives;
mod downloads;
mod identity;
mod players;
mod proxies;
mod resumes;

use anyhow::Result;

use super::field::Field;
use super::table::Found;

/// Something that must hold.
pub(super) struct Check {
    /// Who is asked.
    pub(super) server: &'static str,
    /// What must hold.
    pub(super) what: &'static str,
    /// The check cannot be made with a program whose help lacks this word.
    pub(super) needs: Option<&'static str>,
    /// Asks, and compares.
    pub(super) run: fn(&Field) -> Result<Found>,
}

/// A check that any program can be put to.
const fn check(
    server: &'static str,
    what: &'static str,
    run: fn(&Field) -> Result<Found>,
) -> Check {
    Check {
        server,
        what,
        needs: None,
        run,
    }
}

/// The flag for HTTP/3.
const HTTP3: &str = "--http3";

/// One that only a program can be put to whose help has `word`.
const fn needing(word: &'static str, check: Check) -> Check {
    Check {
        needs: Some(word),
        ..check
    }
}

/// All checks, in the order of the table.
pub(super) fn all() -> impl Iterator<Item = &'static Check> {
    let lists = [
        downloads::CHECKS,
        alternatives::CHECKS,
        resumes::CHECKS,
        identity::CHECKS,
        proxies::CHECKS,
        players::CHECKS,
    ];
    lists.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_checks_have_one_name() {
        let names: BTreeSet<_> = all().map(|check| (check.server, check.what)).collect();
        assert_eq!(names.len(), all().count());
    }
}
