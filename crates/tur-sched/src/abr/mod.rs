//! Which variant of a presentation plays: adaptation of the bit rate to what the network brings.
//!
//! ```text
//!              verdict: switch                     commit(ticket), at a boundary
//!  (nothing) ──────────────────▶ ticket pending ─────────────────────────────────▶ (nothing, another one plays)
//!     ▲  ▲                          │        │
//!     │  └── Retract: a seek, mode, ┘        └── a verdict that goes further, or elsewhere: Retract, another ticket
//!     │      or no longer right
//!     └── too soon: held, until exactly next_wakeup
//! ```
//!
//! Read [`Abr`], one for each presentation that plays; `decide.rs` has the rules, and [`Bandwidth`] measures the network,
//! once for the process. What is decided is an intent: the media layer prepares the other variant and
//! [commits](Abr::commit) at a boundary, a segment or two later. By then the decision may be void, so a commit shows a
//! ticket, and a ticket that is not the pending one changes nothing: not one that was retracted, not one that leads to
//! the same variant as a later one, not one from before a seek.

mod bandwidth;
mod decide;
#[cfg(test)]
mod tests;
mod variants;
mod word;

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use tur_core::{Rate, Timestamp};

pub use bandwidth::Bandwidth;
pub use variants::{BadVariants, Variant, VariantId, Variants};
pub use word::{AbrAction, AbrConfig, AbrEvent, Commit, Mode, Skip, Ticket, Why};

use decide::{Situation, Verdict};

/// A switch that was asked for and not committed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    ticket: Ticket,
    to: VariantId,
    why: Why,
}

/// Decides which variant of one presentation plays.
#[derive(Clone, Debug)]
pub struct Abr {
    situation: Situation,
    session: u64,
    /// Tickets that were given out.
    tickets: u64,
    pending: Option<Pending>,
    /// When a switch that came too soon may be made.
    held: Option<Timestamp>,
    /// Why nothing was switched, as last told.
    skipped: Option<Skip>,
    actions: VecDeque<AbrAction>,
}

impl Abr {
    /// A controller for a session that begins at `now`. `session` numbers it: a ticket of an earlier one of the same
    /// presentation must not fit this one.
    #[must_use]
    pub fn new(config: AbrConfig, session: u64, now: Timestamp) -> Self {
        Self {
            situation: Situation {
                config,
                variants: None,
                mode: Mode::Auto,
                cap: None,
                locked: false,
                parked: false,
                ahead: None,
                estimate: None,
                switched: now,
                shunned: BTreeMap::new(),
            },
            session,
            tickets: 0,
            pending: None,
            held: None,
            skipped: None,
            actions: VecDeque::new(),
        }
    }

    /// Takes what happened. Actions must have been drained before.
    pub fn handle(&mut self, now: Timestamp, event: AbrEvent) {
        match event {
            AbrEvent::Variants(variants) => self.set_variants(variants),
            AbrEvent::Progress { ahead } => self.progress(ahead),
            AbrEvent::Estimate(estimate) => self.situation.estimate = estimate,
            AbrEvent::Undelivered { variant } => self.undelivered(now, variant),
            AbrEvent::Mode(mode) => self.set_mode(mode),
            AbrEvent::Cap(cap) => self.situation.cap = cap,
            AbrEvent::Locked(locked) => self.lock(locked),
            AbrEvent::Tick => {}
        }
        self.weigh(now);
    }

    /// The variant that the ticket was given out for takes over, if the ticket still holds. Afterwards it does not.
    pub fn commit(&mut self, now: Timestamp, ticket: Ticket) -> Commit {
        let valid = self.pending.map(|pending| pending.ticket);
        let (Some(pending), Some(from)) = (self.pending, self.current()) else {
            return Commit::Stale { valid };
        };
        if pending.ticket != ticket {
            return Commit::Stale { valid };
        }
        self.pending = None;
        let Pending { to, why, .. } = pending;
        if self.situation.parked {
            self.shun(now, from);
        }
        self.playing(to);
        self.situation.switched = now;
        self.weigh(now);
        Commit::Committed { from, to, why }
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<AbrAction> {
        self.actions.pop_front()
    }

    /// When a switch that came too soon may be made, exactly: a [`Tick`](AbrEvent::Tick) is wanted then.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        self.held
    }

    /// What is playing; `None` until variants are known.
    #[must_use]
    pub fn current(&self) -> Option<VariantId> {
        let variants = self.situation.variants.as_ref()?;
        Some(variants.current().id)
    }

    /// The ticket that a commit would have to show now.
    #[must_use]
    pub fn pending(&self) -> Option<Ticket> {
        self.pending.map(|pending| pending.ticket)
    }

    /// Why nothing is switched; `None` while a switch is pending.
    #[must_use]
    pub fn skipped(&self) -> Option<Skip> {
        self.skipped
    }

    /// Who chooses.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.situation.mode
    }

    /// The user's cap.
    #[must_use]
    pub fn cap(&self) -> Option<Rate> {
        self.situation.cap
    }

    fn set_variants(&mut self, variants: Variants) {
        let playing = variants.current().id;
        if self.current() != Some(playing) {
            self.situation.parked = false;
        }
        self.situation
            .shunned
            .retain(|id, _| *id != playing && variants.find(*id).is_some());
        self.situation.variants = Some(variants);
    }

    fn progress(&mut self, ahead: Option<Duration>) {
        self.situation.ahead = ahead;
        if ahead.is_some_and(|ahead| ahead > self.situation.config.ahead_urgent) {
            // What was waited for came after all.
            self.situation.parked = false;
        }
    }

    /// Of what is playing: nothing is ahead of the reader. That is said here, because the last word about it may be old,
    /// and a reader who has nothing must not wait until there is enough for a switch.
    fn undelivered(&mut self, now: Timestamp, variant: VariantId) {
        if self.current() == Some(variant) {
            self.situation.parked = !self.situation.locked;
            self.situation.ahead = Some(Duration::ZERO);
        } else {
            self.shun(now, variant);
        }
    }

    fn set_mode(&mut self, mode: Mode) {
        if mode != self.situation.mode {
            self.situation.mode = mode;
            self.retract();
        }
    }

    /// Where a seek leads to, other segments are asked for, and what was prepared belongs to the old place.
    fn lock(&mut self, locked: bool) {
        self.situation.locked = locked;
        if locked {
            self.situation.parked = false;
        }
    }

    /// Another variant is playing from now on.
    fn playing(&mut self, id: VariantId) {
        self.situation.parked = false;
        self.situation.shunned.remove(&id);
        if let Some(variants) = &mut self.situation.variants {
            variants.play(id);
        }
    }

    fn shun(&mut self, now: Timestamp, id: VariantId) {
        let known = |variants: &Variants| variants.find(id).is_some();
        if self.situation.variants.as_ref().is_some_and(known) {
            let until = now + self.situation.config.interval;
            self.situation.shunned.insert(id, until);
        }
    }

    /// Compares what should happen with what was asked for.
    fn weigh(&mut self, now: Timestamp) {
        let verdict = self.situation.verdict(now);
        self.held = None;
        match verdict {
            Verdict::Switch { to, why } => {
                if !self.pending.is_some_and(|it| self.serves(now, it, to, why)) {
                    self.retract();
                    self.ask(to, why);
                }
                self.skipped = None;
            }
            Verdict::Later(until) => {
                self.held = Some(until);
                self.stay(now, Skip::TooSoon(until));
            }
            Verdict::Stay(skip) => self.stay(now, skip),
        }
        #[cfg(any(test, feature = "check"))]
        self.check(now);
    }

    /// Nothing is to be switched. What is pending goes on while it is still right: its margin was asked for once, and
    /// what has been prepared is not thrown away because an estimate trembles.
    fn stay(&mut self, now: Timestamp, skip: Skip) {
        if self.pending.is_some_and(|it| self.is_right(now, it)) {
            self.skipped = None;
            return;
        }
        self.retract();
        if self.skipped != Some(skip) {
            self.skipped = Some(skip);
            self.actions.push_back(AbrAction::Note(skip));
        }
    }

    /// True if what is pending does what the verdict wants: it leads there, or it is still right and goes farther in the
    /// same direction. So between two turns of the network each variant is prepared once.
    fn serves(&self, now: Timestamp, pending: Pending, to: VariantId, why: Why) -> bool {
        if pending.to == to {
            return true;
        }
        let Some(variants) = &self.situation.variants else {
            return false;
        };
        let need = |id| variants.find(id).map(|variant| variant.bandwidth);
        let farther = match (pending.why, why) {
            (Why::Up, Why::Up) => need(pending.to) > need(to),
            (Why::Down | Why::Urgent, Why::Down | Why::Urgent) | (Why::Cap, Why::Cap) => {
                need(pending.to) < need(to)
            }
            (Why::Escape, Why::Escape) => true,
            _ => false,
        };
        farther && self.is_right(now, pending)
    }

    /// True if there is still a reason for what is pending.
    fn is_right(&self, now: Timestamp, pending: Pending) -> bool {
        let situation = &self.situation;
        let Some(variants) = &situation.variants else {
            return false;
        };
        let (Some(to), current) = (variants.find(pending.to), variants.current()) else {
            return false;
        };
        let open = !situation.locked && to.id != current.id;
        let allowed = variants.allows(situation.cap, to.id) && !situation.is_shunned(now, to.id);
        open && match pending.why {
            Why::Up => allowed && situation.affords(to, 100),
            Why::Down | Why::Urgent => allowed && !situation.affords(current, 100),
            Why::Escape => allowed && situation.parked,
            Why::Cap => allowed && !variants.allows(situation.cap, current.id),
            // As long as it is chosen and there, that is the verdict.
            Why::Manual => false,
        }
    }

    fn ask(&mut self, to: VariantId, why: Why) {
        let Some(from) = self.current() else { return };
        let ticket = Ticket {
            session: self.session,
            number: self.tickets,
        };
        self.tickets += 1;
        self.pending = Some(Pending { ticket, to, why });
        self.actions.push_back(AbrAction::Switch {
            ticket,
            from,
            to,
            why,
        });
    }

    fn retract(&mut self) {
        if let Some(Pending { ticket, .. }) = self.pending.take() {
            self.actions.push_back(AbrAction::Retract { ticket });
        }
    }

    /// Panics if an invariant does not hold.
    #[cfg(any(test, feature = "check"))]
    fn check(&self, now: Timestamp) {
        assert!(
            self.pending.is_some() != self.skipped.is_some(),
            "a switch is pending, or there is a reason why not: {self:?}"
        );
        assert!(
            self.held.is_none_or(|at| at > now),
            "a wake-up that has passed: {self:?}"
        );
        let playing = self.current();
        let shunned = playing.is_some_and(|id| self.situation.shunned.contains_key(&id));
        assert!(!shunned, "what plays is avoided: {self:?}");
        let Some(pending) = self.pending else { return };
        assert!(!self.situation.locked, "pending in a seek: {self:?}");
        assert_ne!(Some(pending.to), playing, "{self:?}");
        let variants = self.situation.variants.as_ref();
        let variants = variants.expect("without variants no verdict asks for a switch");
        assert!(variants.find(pending.to).is_some(), "{self:?}");
        match self.situation.mode {
            Mode::Manual(id) => assert_eq!(pending.to, id, "{self:?}"),
            Mode::Auto => assert!(variants.allows(self.situation.cap, pending.to), "{self:?}"),
        }
    }
}
