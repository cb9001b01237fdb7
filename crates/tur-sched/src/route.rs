//! Where a transfer asks: the user's URL, what it was redirected to, and when to ask again from the start.

use core::time::Duration;

use tur_core::{Fault, Target, Timestamp};

/// Redirects followed in one resolution (RFC 9110, section 15.4 asks for a bound; curl and browsers use 20 to 50).
pub const REDIRECTS_MAX: usize = 20;
/// Pause between two resolutions of an expired URL.
const RESOLVE_PAUSE: Duration = Duration::from_secs(5);
/// Resolutions of one transfer.
const RESOLVES_MAX: u32 = 20;

/// The user's URL and the target it leads to.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    user: Target,
    current: Target,
    hops: usize,
    resolves: u32,
    /// Those since bytes came last.
    fruitless: u32,
    last_resolve: Option<Timestamp>,
    resolving: bool,
    proven: bool,
}

impl Route {
    pub(crate) fn new(user: Target) -> Self {
        let current = user.clone();
        Self {
            user,
            current,
            hops: 0,
            resolves: 0,
            fruitless: 0,
            last_resolve: None,
            resolving: false,
            proven: false,
        }
    }

    /// Where to ask now.
    pub(crate) fn target(&self) -> &Target {
        &self.current
    }

    /// True if a good answer has come from anywhere.
    pub(crate) fn is_proven(&self) -> bool {
        self.proven
    }

    /// True while the user's URL is asked again: one lane does it for all.
    pub(crate) fn is_resolving(&self) -> bool {
        self.resolving
    }

    /// True if the target has expired before: then requests are what is scarce, and each asks for all it may.
    pub(crate) fn was_resolved(&self) -> bool {
        self.resolves > 0
    }

    /// A redirect was followed.
    pub(crate) fn moved(&mut self, target: Target) -> Result<(), Fault> {
        self.hops += 1;
        if self.hops > REDIRECTS_MAX {
            return Err(Fault::TooManyRedirects {
                limit: REDIRECTS_MAX,
            });
        }
        self.current = target;
        Ok(())
    }

    /// Bytes came: redirects are counted anew, and resolutions in a row.
    pub(crate) fn served(&mut self) {
        self.hops = 0;
        self.fruitless = 0;
    }

    /// A good answer came from the current target.
    pub(crate) fn opened(&mut self) {
        self.proven = true;
        self.resolving = false;
    }

    /// The current target no longer serves the file. Returns when the user's URL may be asked, or `None` if there is
    /// nothing to be gained: nothing was derived, nothing ever worked, or the budget is used up, of all or of those in a
    /// row that brought no byte: `in_a_row`, but one at least, for a URL that has expired is no failure.
    pub(crate) fn expired(&mut self, now: Timestamp, in_a_row: u32) -> Option<Timestamp> {
        let used_up = self.resolves >= RESOLVES_MAX || self.fruitless >= in_a_row.max(1);
        if !self.proven || self.current == self.user || used_up {
            return None;
        }
        self.resolves += 1;
        self.fruitless += 1;
        let at = self
            .last_resolve
            .map_or(now, |last| now.max(last + RESOLVE_PAUSE));
        self.last_resolve = Some(at);
        self.current = self.user.clone();
        self.hops = 0;
        self.resolving = true;
        Some(at)
    }
}
