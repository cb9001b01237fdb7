//! What is remembered of HTTP/3 at one origin: where it is offered, whether it works from here, and what it brings.
//!
//! Read [`Http3`]. An offer is the origin's word and has its date; whether UDP gets through is our own experience, which a
//! failure outweighs for a while, longer each time.

use core::time::Duration;

use tur_core::{Advert, Alternative, Rate, Wall};

/// What one origin said of HTTP/3, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http3 {
    /// Where it is to be had.
    pub offer: Option<Offered>,
    /// When a connection was made last, if since then none has failed, and TCP was not faster than one.
    pub worked: Option<Wall>,
    /// Failures since one was made last.
    pub failures: u8,
    /// After a failure it is not tried before this.
    pub not_before: Option<Wall>,
    /// Rate of a lane over HTTP/3.
    pub rate: Option<Rate>,
    /// Rate of a lane over TCP, whatever is spoken on it.
    pub tcp_rate: Option<Rate>,
}

/// An alternative with its date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Where.
    pub alternative: Alternative,
    /// From then on it is not offered any more.
    pub until: Wall,
    /// True if it is meant to outlive a change of the network.
    pub persist: bool,
}

/// Something that was learned of HTTP/3 at an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Http3Fact {
    /// The origin said so, in an answer that nobody else can have written.
    Said(Advert),
    /// A connection was made.
    Worked,
    /// None could be made, or one broke.
    Failed,
    /// TCP was faster; what becomes of the connection is not known yet, and may never be.
    Overtaken,
    /// A lane had this rate over HTTP/3.
    Rate(Rate),
    /// A lane had this rate over TCP.
    TcpRate(Rate),
}

/// Which way brings more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    Http3,
    Tcp,
    /// One of them was never measured.
    Unknown,
}

impl Http3 {
    /// Learns something.
    pub fn learn(&mut self, now: Wall, fact: &Http3Fact) {
        match fact {
            Http3Fact::Said(Advert::Withdrawn) => self.offer = None,
            Http3Fact::Said(Advert::Http3(offer)) => {
                let moved = self
                    .offer
                    .as_ref()
                    .is_some_and(|old| old.alternative != offer.alternative);
                if moved {
                    // What failed was another one.
                    (self.worked, self.failures, self.not_before) = (None, 0, None);
                }
                self.offer = Some(Offered {
                    alternative: offer.alternative.clone(),
                    until: after(now, offer.max_age),
                    persist: offer.persist,
                });
            }
            Http3Fact::Worked => {
                (self.worked, self.failures, self.not_before) = (Some(now), 0, None);
            }
            Http3Fact::Failed => {
                let pause = PAUSE.saturating_mul(1 << self.failures.min(PAUSE_DOUBLINGS));
                self.worked = None;
                self.failures = self.failures.saturating_add(1);
                self.not_before = Some(after(now, pause.min(PAUSE_MAX)));
            }
            // It is no failure, but nobody waits for it again before it has worked.
            Http3Fact::Overtaken => self.worked = None,
            Http3Fact::Rate(rate) => self.rate = Some(mixed(self.rate, *rate)),
            Http3Fact::TcpRate(rate) => self.tcp_rate = Some(mixed(self.tcp_rate, *rate)),
        }
    }

    /// Where it may be tried now.
    #[must_use]
    pub fn usable(&self, now: Wall) -> Option<&Alternative> {
        let offer = self.offer.as_ref()?;
        // A date that is too far away was written by another clock: it is worth nothing.
        let offered = now < offer.until && now.until(offer.until) <= AGE_MAX;
        (offered && !self.is_paused(now)).then_some(&offer.alternative)
    }

    /// True if it is not tried because it failed.
    #[must_use]
    pub fn is_paused(&self, now: Wall) -> bool {
        self.not_before
            .is_some_and(|at| now < at && now.until(at) <= PAUSE_MAX)
    }

    /// True if it worked lately, so that it may have a head start. What the origin says is the same on any network holds
    /// for longer.
    pub(super) fn is_proven(&self, now: Wall) -> bool {
        let persists = self.offer.as_ref().is_some_and(|offer| offer.persist);
        let holds = if persists { PROVEN_PERSISTENT } else { PROVEN };
        self.worked
            .is_some_and(|at| at.until(now) < holds && now.until(at) < holds)
    }

    /// Which way brings more: HTTP/3 costs more to receive, so it has to be clearly better.
    pub(super) fn better(&self) -> Better {
        match (self.rate, self.tcp_rate) {
            (Some(http3), Some(tcp)) => {
                let (http3, tcp) = (http3.bytes_per_second(), tcp.bytes_per_second());
                match u128::from(http3) * 10 >= u128::from(tcp) * 11 {
                    true => Better::Http3,
                    false => Better::Tcp,
                }
            }
            _ => Better::Unknown,
        }
    }

    /// True if nothing in it will ever tell anything again.
    pub(super) fn is_spent(&self, now: Wall) -> bool {
        let offered = self.offer.as_ref().is_some_and(|offer| now < offer.until);
        !offered && !self.is_paused(now)
    }
}

/// The new one weighs three quarters, as in a profile.
fn mixed(old: Option<Rate>, new: Rate) -> Rate {
    let Some(old) = old else { return new };
    let sum = u128::from(old.bytes_per_second()) + 3 * u128::from(new.bytes_per_second());
    Rate::per_second(u64::try_from(sum / 4).expect("an average of 64-bit numbers has 64 bits"))
}

fn after(now: Wall, time: Duration) -> Wall {
    let secs = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Wall::from_unix_secs(now.unix_secs().saturating_add(secs))
}

/// The first pause after a failure; each further one doubles it. Whoever blocks UDP mostly goes on doing so, and trying again
/// costs little, as TCP waits for nothing then.
const PAUSE: Duration = Duration::from_secs(5 * 60);
/// The longest one.
const PAUSE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// After so many doublings it is longer than that.
const PAUSE_DOUBLINGS: u8 = 9;
/// What worked so lately works, unless the network was changed.
const PROVEN: Duration = Duration::from_secs(60 * 60);
/// The same where the origin says that the network is not what it depends on.
const PROVEN_PERSISTENT: Duration = Duration::from_secs(24 * 60 * 60);
/// No origin offers for longer: what is read from a head is bounded to as much.
const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use tur_core::Offer;

    const NOW: Wall = Wall::from_unix_secs(1_800_000_000);

    fn said(port: u16, secs: u64, persist: bool) -> Http3Fact {
        Http3Fact::Said(Advert::Http3(Offer {
            alternative: Alternative { host: None, port },
            max_age: Duration::from_secs(secs),
            persist,
        }))
    }

    fn at(secs: u64) -> Wall {
        after(NOW, Duration::from_secs(secs))
    }

    #[test]
    fn an_offer_has_its_date_and_can_be_taken_back() {
        let mut known = Http3::default();
        assert_eq!(known.usable(NOW), None);
        known.learn(NOW, &said(443, 60, false));
        assert_eq!(known.usable(at(59)).map(|there| there.port), Some(443));
        assert_eq!(known.usable(at(60)), None);
        assert!(known.is_spent(at(60)) && !known.is_spent(at(59)));
        known.learn(at(1), &Http3Fact::Said(Advert::Withdrawn));
        assert_eq!(known.usable(at(2)), None);
        // A clock that was wrong by years.
        known.learn(at(10_000_000), &said(443, 60, false));
        assert_eq!(known.usable(NOW), None);
    }

    #[test]
    fn failures_pause_it_for_longer_each_time_and_a_success_ends_that() {
        let mut known = Http3::default();
        known.learn(NOW, &said(443, 2_000_000, false));
        let mut now = 0;
        for pause in [300, 600, 1_200] {
            known.learn(at(now), &Http3Fact::Failed);
            assert_eq!(known.usable(at(now + pause - 1)), None, "{pause}");
            assert!(known.usable(at(now + pause)).is_some(), "{pause}");
            now += pause;
        }
        for _ in 0..300 {
            known.learn(at(now), &Http3Fact::Failed);
        }
        assert!(known.usable(at(now + 86_399)).is_none());
        assert!(known.usable(at(now + 86_400)).is_some());
        known.learn(at(now), &Http3Fact::Worked);
        assert!(known.usable(at(now)).is_some());
        known.learn(at(now), &Http3Fact::Failed);
        assert!(known.usable(at(now + 300)).is_some(), "counted anew");
        // Another place is another matter; the same one is not.
        known.learn(at(now), &said(443, 2_000_000, false));
        assert_eq!(known.usable(at(now)), None);
        known.learn(at(now), &said(8443, 2_000_000, false));
        assert!(known.usable(at(now)).is_some());
    }

    #[test]
    fn what_worked_is_proven_for_a_while() {
        for (persist, secs) in [(false, 3_600), (true, 86_400)] {
            let mut known = Http3::default();
            known.learn(NOW, &said(443, 2_000_000, persist));
            assert!(!known.is_proven(NOW));
            known.learn(NOW, &Http3Fact::Worked);
            assert!(known.is_proven(at(secs - 1)) && !known.is_proven(at(secs)));
            for (fact, pauses) in [(Http3Fact::Overtaken, false), (Http3Fact::Failed, true)] {
                known.learn(NOW, &Http3Fact::Worked);
                assert!(known.is_proven(NOW));
                known.learn(NOW, &fact);
                assert!(!known.is_proven(NOW));
                assert_eq!(known.is_paused(NOW), pauses, "{fact:?}");
            }
        }
    }

    #[test]
    fn the_better_one_is_the_one_that_measured_better() {
        let mut known = Http3::default();
        let rate = |rate| Http3Fact::Rate(Rate::per_second(rate));
        known.learn(NOW, &rate(100));
        assert_eq!(known.better(), Better::Unknown);
        known.learn(NOW, &Http3Fact::TcpRate(Rate::per_second(100)));
        assert_eq!(known.better(), Better::Tcp, "a draw");
        known.learn(NOW, &rate(u64::MAX));
        assert_eq!(known.better(), Better::Http3);
        assert_eq!(
            mixed(Some(Rate::per_second(100)), Rate::per_second(200)),
            Rate::per_second(175)
        );
    }
}
