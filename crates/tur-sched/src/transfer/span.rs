//! A span of a representation instead of the whole: where it ends, and what is done where no range can be had.
//!
//! Read [`LEAD_MAX`]. Everything else about a span is the ledger's: nobody owns a byte outside of its extent, so none is
//! asked for, and the transfer is complete when the extent is.

use tur_core::{ByteRange, Fault, Identity, Kind};

use super::{Ranges, Transfer};
use crate::{Action, Decision, Failure};

/// Why one stream that broke off is not gone on with.
const DOUBT: &str = "it broke off, and nothing tells whether the file is still the same";

/// Where an origin serves no ranges, one stream from 0 has to do, and what lies before the span comes in vain: at most
/// this many bytes. It takes as long as a round trip or two to have them, over a link that makes downloading in spans
/// worth while; a span that lies further behind fails instead.
pub const LEAD_MAX: u64 = 1024 * 1024;

impl Transfer {
    /// Fails if there is a total, and it lies before the span. The first bytes of an empty file are there: none.
    pub(super) fn ends_before_span(&mut self) -> bool {
        let span = self.ledger.span();
        let Some(total) = self.ledger.total().filter(|total| *total <= span.start) else {
            return false;
        };
        if span.is_empty() || span.start == 0 {
            return false;
        }
        // Whoever noticed it: it is what the origin says to such a range, or would say (RFC 9110, section 15.5.17).
        let fault = Fault::Status {
            status: 416,
            reason: "Range Not Satisfiable".into(),
            retry_after: None,
            challenge: false,
        };
        let start = span.start;
        let message = alloc::format!("{fault}: byte {start} was asked for, the file has {total}");
        self.fail_for_good(fault.kind(), message);
        true
    }

    /// True if a refusal of the span's first byte, with that total, says that there is none.
    pub(super) fn may_end_before_span(&self, start: u64, total: u64) -> bool {
        let span = self.ledger.span();
        span.start > 0 && start == span.start && total <= start && self.may_end_at(total)
    }

    /// Where a stream may begin, whatever is known of ranges: at the span, or at 0 where there are none.
    pub(super) fn front(&self) -> u64 {
        match self.ranges {
            Ranges::Absent => 0,
            _ => self.ledger.span().start,
        }
    }

    /// One stream from 0 has to do. What lies before the span is had too, if that is little; and what was given away
    /// comes again, if something tells that it is the same; else what was there is void. False if the transfer has failed.
    pub(super) fn begin_at_zero(&mut self) -> bool {
        let before = self.ledger.span().start;
        if before > LEAD_MAX {
            let message = alloc::format!(
                "the server serves no ranges, and {before} bytes lie before the one asked for: {LEAD_MAX} at most are read in vain"
            );
            self.fail_for_good(Kind::Protocol, message);
            return false;
        }
        let is_known = self.is_validated();
        if self.given && !is_known {
            self.fail_for_good(Kind::NotResumable, DOUBT.into());
            return false;
        }
        if is_known || self.is_proving() || self.ledger.landed().is_empty() {
            self.void(ByteRange::from(0));
        } else {
            self.anew();
        }
        self.ledger.lead_in();
        true
    }

    /// What comes from now on may be another file, and nothing will tell: whoever has read of the one that broke off must not
    /// go on reading in it.
    fn anew(&mut self) {
        self.ledger.restart();
        self.identity = None;
        let why = alloc::string::String::from(DOUBT);
        self.actions.push_back(Action::Restart { why: why.clone() });
        self.note(Decision::Restarted { why });
    }

    /// True if the origin has said something by which a file that changed can be told from one that did not.
    pub(super) fn is_validated(&self) -> bool {
        let says =
            |identity: &Identity| identity.etag.is_some() || identity.last_modified.is_some();
        self.identity.as_ref().is_some_and(says)
    }

    /// Bytes in `fresh` have landed: whoever takes them has them now.
    pub(super) fn give(&mut self, fresh: ByteRange) {
        self.given |= self.config.given_away && fresh.overlaps(self.ledger.span());
    }

    fn fail_for_good(&mut self, kind: Kind, message: alloc::string::String) {
        self.fail(Failure {
            kind,
            message,
            keep: false,
            retry_after: None,
            challenge: None,
        });
    }
}
