//! What should be playing, as a pure function of everything that is known.
//!
//! Read [`Situation::verdict`]: the rules in their order, the first that applies. It knows nothing of tickets; whether a
//! verdict changes anything is the controller's affair.
//!
//! An estimate, divided by the safety, is what may be spent. *Best* is the highest variant that it affords, or the
//! lowest there is. Up goes to the highest variant that it affords with the margin, which may be a lower one than the
//! best: waiting for the margin of the best would leave the rungs in between unused.

use alloc::collections::BTreeMap;
use core::cmp::Ordering;
use core::time::Duration;

use tur_core::{Rate, Timestamp};

use super::variants::{Variant, VariantId, Variants};
use super::word::{AbrConfig, Mode, Skip, Why};

/// Everything that a decision depends on, the time aside.
#[derive(Clone, Debug)]
pub(super) struct Situation {
    pub(super) config: AbrConfig,
    pub(super) variants: Option<Variants>,
    pub(super) mode: Mode,
    pub(super) cap: Option<Rate>,
    pub(super) locked: bool,
    /// True while the reader stands at a segment that does not come.
    pub(super) parked: bool,
    pub(super) ahead: Option<Duration>,
    pub(super) estimate: Option<Rate>,
    /// When the last switch was committed, or the session began.
    pub(super) switched: Timestamp,
    /// Variants that did not deliver, and until when they are avoided. Only those in the list, and never the one that is
    /// playing.
    pub(super) shunned: BTreeMap<VariantId, Timestamp>,
}

/// What should happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Switch now.
    Switch { to: VariantId, why: Why },
    /// Switch at this time, if it is still right then.
    Later(Timestamp),
    /// Nothing.
    Stay(Skip),
}

impl Situation {
    /// What should happen now.
    pub(super) fn verdict(&self, now: Timestamp) -> Verdict {
        let Some(variants) = &self.variants else {
            return Verdict::Stay(Skip::NoVariants);
        };
        if self.locked {
            return Verdict::Stay(Skip::Locked);
        }
        let choice = match self.mode {
            Mode::Manual(id) => manual(variants, id),
            Mode::Auto => self.auto(now, variants),
        };
        match choice {
            Ok((to, why)) => {
                let due = self.switched + self.config.interval;
                if why.waits() && now < due {
                    Verdict::Later(due)
                } else {
                    Verdict::Switch { to, why }
                }
            }
            Err(skip) => Verdict::Stay(skip),
        }
    }

    /// True if what may be spent is at least `percent` of what the variant needs. False without an estimate.
    pub(super) fn affords(&self, variant: Variant, percent: u32) -> bool {
        let AbrConfig { safety_percent, .. } = self.config;
        self.estimate
            .is_some_and(|estimate| scaled(estimate) >= need(variant, safety_percent, percent))
    }

    /// True while a variant that did not deliver is avoided.
    pub(super) fn is_shunned(&self, now: Timestamp, id: VariantId) -> bool {
        self.shunned.get(&id).is_some_and(|until| now < *until)
    }

    fn auto(&self, now: Timestamp, variants: &Variants) -> Result<(VariantId, Why), Skip> {
        let current = variants.current();
        if variants.iter().nth(1).is_none() {
            return Err(Skip::OnlyOne);
        }
        if self.parked {
            let others = |it: &Variant| it.id != current.id;
            let to = self
                .best(now, variants, others)
                .ok_or(Skip::NoAlternative)?;
            return Ok((to.id, Why::Escape));
        }
        if !variants.allows(self.cap, current.id) {
            let to = self
                .best(now, variants, |_| true)
                .ok_or(Skip::NoAlternative)?;
            return Ok((to.id, Why::Cap));
        }
        if self.estimate.is_none() {
            return Err(Skip::NoEstimate);
        }
        let best = self.best(now, variants, |_| true).unwrap_or(current);
        match best.bandwidth.cmp(&current.bandwidth) {
            Ordering::Equal => Err(Skip::Optimal),
            Ordering::Greater => self.up(now, variants),
            Ordering::Less => self.down(current, best),
        }
    }

    fn up(&self, now: Timestamp, variants: &Variants) -> Result<(VariantId, Why), Skip> {
        let current = variants.current();
        let with_margin = |it: &Variant| {
            it.bandwidth > current.bandwidth && self.affords(*it, self.config.up_percent)
        };
        let to = self.fresh(now, variants).rfind(with_margin);
        let to = to.ok_or(Skip::WithinMargin)?;
        if self.ahead.is_some_and(|ahead| ahead < self.config.ahead_up) {
            return Err(Skip::ShortAhead);
        }
        Ok((to.id, Why::Up))
    }

    fn down(&self, current: Variant, to: Variant) -> Result<(VariantId, Why), Skip> {
        let config = self.config;
        if self.ahead.is_some_and(|ahead| ahead <= config.ahead_urgent) {
            return Ok((to.id, Why::Urgent));
        }
        let threshold = need(current, config.safety_percent, config.down_percent);
        let low = self
            .estimate
            .is_some_and(|estimate| scaled(estimate) <= threshold);
        if low {
            Ok((to.id, Why::Down))
        } else {
            Err(Skip::WithinMargin)
        }
    }

    /// The highest variant that is affordable, else the lowest; without an estimate the highest for a cap, because what
    /// plays is higher still, and the lowest for an escape. Of those that did not deliver, if there is nothing else, the
    /// one that has been left alone for longest.
    fn best(
        &self,
        now: Timestamp,
        variants: &Variants,
        eligible: impl Fn(&Variant) -> bool,
    ) -> Option<Variant> {
        let mut fresh = self.fresh(now, variants).filter(|it| eligible(it));
        let affordable =
            |it: &Variant| self.affords(*it, 100) || (self.estimate.is_none() && !self.parked);
        let Some(lowest) = fresh.next() else {
            let left = variants.allowed(self.cap).filter(|it| eligible(it));
            return left.min_by_key(|it| self.shunned.get(&it.id));
        };
        Some(fresh.rfind(affordable).unwrap_or(lowest))
    }

    /// What the cap allows, without what is avoided.
    fn fresh<'a>(
        &'a self,
        now: Timestamp,
        variants: &'a Variants,
    ) -> impl DoubleEndedIterator<Item = Variant> + 'a {
        let allowed = variants.allowed(self.cap);
        allowed.filter(move |it| !self.is_shunned(now, it.id))
    }
}

fn manual(variants: &Variants, id: VariantId) -> Result<(VariantId, Why), Skip> {
    match variants.find(id) {
        None => Err(Skip::NotThere(id)),
        Some(_) if variants.current().id == id => Err(Skip::Chosen),
        Some(_) => Ok((id, Why::Manual)),
    }
}

/// Both sides of each comparison in ten-thousandths of a byte per second: whole numbers, and no rounding.
fn scaled(estimate: Rate) -> u128 {
    u128::from(estimate.bytes_per_second()) * 10_000
}

fn need(variant: Variant, safety_percent: u32, percent: u32) -> u128 {
    let factor = u128::from(safety_percent) * u128::from(percent);
    u128::from(variant.bandwidth.bytes_per_second()).saturating_mul(factor)
}
