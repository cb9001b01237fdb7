//! What is remembered of origins from one download to the next.
//!
//! [`OriginMemory`] is bounded in every direction and forgets: the origin that was noted the longest ago makes room for
//! a new one, and what it says of an origin fades with age ([`Profile::hint`]). It is a hint and never proof: whoever
//! measures something believes that instead. How it is kept from one process to the next is not its business.

mod http3;
mod lru;
mod profile;
mod racing;

use core::time::Duration;

use tur_core::{Advert, Origin, Wall};

pub use self::http3::{Http3, Http3Fact, Offered};
pub use self::profile::{Facts, LaneLimit, Needs, PhiRatio, Profile};
pub use self::racing::Racing;

use self::lru::Lru;

/// The longest host in bytes that is remembered: a name in the DNS has at most 253.
const HOST_MAX: usize = 255;

/// Profiles of at most [`ORIGINS_MAX`](OriginMemory::ORIGINS_MAX) origins.
///
/// An origin is in use when something is noted of it. A hint that is read changes nothing: the visit that asked for it
/// notes what it found.
#[derive(Clone, Debug)]
pub struct OriginMemory {
    origins: Lru<Origin, Profile>,
    /// Kept apart, because it is the origin's word and not a measure of it.
    http3: Lru<Origin, Http3>,
}

impl OriginMemory {
    /// The most origins that are remembered.
    pub const ORIGINS_MAX: usize = 1_000;

    /// What was noted longer ago is not told.
    pub const AGE_MAX: Duration = profile::AGE_MAX;

    /// Nothing is remembered yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            origins: Lru::new(Self::ORIGINS_MAX),
            http3: Lru::new(Self::ORIGINS_MAX),
        }
    }

    /// What was remembered before, in the order of [`iter`](Self::iter). What is too old by now is left out.
    #[must_use]
    pub fn restored(now: Wall, profiles: impl IntoIterator<Item = (Origin, Profile)>) -> Self {
        let mut memory = Self::new();
        for (origin, profile) in profiles {
            if may_be_remembered(&origin) && !profile.is_stale(now) {
                memory.origins.insert(origin, profile);
            }
        }
        memory
    }

    /// Notes what a visit measured. Nothing is noted of a visit that measured nothing.
    pub fn note(&mut self, origin: &Origin, now: Wall, facts: Facts) {
        if facts.is_empty() || !may_be_remembered(origin) {
            return;
        }
        let profile = match self.origins.peek(origin) {
            Some(known) => known.noted(now, facts),
            None => Profile::new(now, facts),
        };
        self.origins.insert(origin.clone(), profile);
    }

    /// What was remembered of HTTP/3 before, in the order of [`http3_all`](Self::http3_all). What is over by now is left out.
    pub fn restore_http3(&mut self, now: Wall, all: impl IntoIterator<Item = (Origin, Http3)>) {
        for (origin, known) in all {
            let too_long = known.offer.as_ref().is_some_and(|offer| {
                let host = offer.alternative.host.as_ref();
                host.is_some_and(|host| host.len() > HOST_MAX) || offer.alternative.port == 0
            });
            if may_be_remembered(&origin) && !too_long && !known.is_spent(now) {
                self.http3.insert(origin, known);
            }
        }
    }

    /// Learns something of HTTP/3 at an origin. Only an offer makes a record: of an origin that offers nothing there is
    /// nothing to know.
    pub fn learn_http3(&mut self, origin: &Origin, now: Wall, fact: &Http3Fact) {
        let known = self.http3.peek(origin);
        let offers = matches!(fact, Http3Fact::Said(Advert::Http3(_)));
        if (known.is_none() && !offers) || !may_be_remembered(origin) {
            return;
        }
        let mut known = known.cloned().unwrap_or_default();
        known.learn(now, fact);
        self.http3.insert(origin.clone(), known);
    }

    /// What is known of HTTP/3 at an origin.
    #[must_use]
    pub fn http3(&self, origin: &Origin) -> Option<&Http3> {
        self.http3.peek(origin)
    }

    /// All that is known of HTTP/3, the next to be forgotten first.
    pub fn http3_all(&self) -> impl Iterator<Item = (&Origin, &Http3)> {
        self.http3.iter()
    }

    /// Forgets an origin; false if nothing was remembered of it.
    pub fn forget(&mut self, origin: &Origin) -> bool {
        let http3 = self.http3.remove(origin).is_some();
        self.origins.remove(origin).is_some() || http3
    }

    /// What a download from `origin` that begins now may start with.
    #[must_use]
    pub fn hint(&self, origin: &Origin, now: Wall) -> Option<Profile> {
        self.origins.peek(origin)?.hint(now)
    }

    /// All profiles as they were noted, the next to be forgotten first.
    pub fn iter(&self) -> impl Iterator<Item = (&Origin, &Profile)> {
        self.origins.iter()
    }

    /// How many origins are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.origins.len()
    }

    /// True if nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for OriginMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// A redirect can name a host of any length: what is kept of it is bounded.
fn may_be_remembered(origin: &Origin) -> bool {
    origin.host.len() <= HOST_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;
    use std::string::{String, ToString};
    use std::vec::Vec;
    use tur_core::Scheme;

    const NOW: Wall = Wall::from_unix_secs(1_800_000_000);

    fn origin(host: impl Into<String>) -> Origin {
        Origin {
            scheme: Scheme::Https,
            host: host.into(),
            port: 443,
        }
    }

    fn lanes(lanes: u16) -> Facts {
        Facts {
            lanes: Some(lanes),
            ..Facts::default()
        }
    }

    fn hosts(memory: &OriginMemory) -> Vec<String> {
        memory
            .iter()
            .map(|(origin, _)| origin.host.clone())
            .collect()
    }

    #[test]
    fn a_second_visit_is_told_what_the_first_one_found() {
        let mut memory = OriginMemory::new();
        let there = origin("a.example");
        assert_eq!(memory.hint(&there, NOW), None);
        memory.note(&there, NOW, lanes(12));
        assert_eq!(memory.hint(&there, NOW).map(|hint| hint.lanes), Some(12));
        let port = Origin {
            port: 8443,
            ..there.clone()
        };
        let scheme = Origin {
            scheme: Scheme::Http,
            ..there.clone()
        };
        assert_eq!(memory.hint(&port, NOW), None);
        assert_eq!(memory.hint(&scheme, NOW), None);
        assert!(memory.forget(&there) && !memory.forget(&there));
        assert_eq!(memory.hint(&there, NOW), None);
    }

    #[test]
    fn the_origin_noted_longest_ago_makes_room() {
        let mut memory = OriginMemory::new();
        let max = OriginMemory::ORIGINS_MAX;
        for n in 0..max {
            memory.note(&origin(n.to_string()), NOW, lanes(2));
        }
        memory.note(&origin("0"), NOW, lanes(3));
        memory.note(&origin("new"), NOW, lanes(4));
        assert_eq!(memory.len(), max);
        assert_eq!(memory.hint(&origin("1"), NOW), None);
        for there in ["0", "2", "new"] {
            assert!(memory.hint(&origin(there), NOW).is_some(), "{there}");
        }
    }

    #[test]
    fn nothing_is_kept_of_nothing_or_of_endless_names() {
        let mut memory = OriginMemory::new();
        memory.note(&origin("a"), NOW, Facts::default());
        memory.note(&origin("x".repeat(HOST_MAX + 1)), NOW, lanes(2));
        assert!(memory.is_empty());
        memory.note(&origin("x".repeat(HOST_MAX)), NOW, lanes(2));
        assert_eq!(memory.len(), 1);
        let long = (
            origin("y".repeat(HOST_MAX + 1)),
            Profile::new(NOW, lanes(1)),
        );
        assert!(OriginMemory::restored(NOW, [long]).is_empty());
    }

    #[test]
    fn what_is_restored_has_its_order_and_has_not_grown_old() {
        let mut memory = OriginMemory::new();
        for host in ["a", "b", "c", "a"] {
            memory.note(&origin(host), NOW, lanes(2));
        }
        let kept = |now| {
            let profiles = memory
                .iter()
                .map(|(origin, profile)| (origin.clone(), *profile));
            OriginMemory::restored(now, profiles.collect::<Vec<_>>())
        };
        assert_eq!(hosts(&kept(NOW)), ["b", "c", "a"]);
        let secs = 91 * 24 * 60 * 60;
        assert!(kept(Wall::from_unix_secs(NOW.unix_secs() + secs)).is_empty());
        assert!(kept(Wall::from_unix_secs(NOW.unix_secs() - secs)).is_empty());
    }

    #[test]
    fn http3_is_known_where_it_was_offered_and_forgotten_with_the_origin() {
        let mut memory = OriginMemory::new();
        let there = origin("a");
        let offer = |host: Option<String>| {
            Http3Fact::Said(Advert::Http3(tur_core::Offer {
                alternative: tur_core::Alternative { host, port: 443 },
                max_age: Duration::from_secs(60),
                persist: false,
            }))
        };
        memory.learn_http3(&there, NOW, &Http3Fact::Failed);
        assert_eq!(memory.http3(&there), None);
        memory.learn_http3(&there, NOW, &offer(None));
        memory.learn_http3(&there, NOW, &Http3Fact::Worked);
        assert_eq!(
            memory.http3(&there).and_then(|known| known.worked),
            Some(NOW)
        );
        memory.learn_http3(&origin("b"), NOW, &offer(Some("x".repeat(HOST_MAX + 1))));
        let kept = |now| {
            let mut again = OriginMemory::new();
            let all = memory.http3_all();
            again.restore_http3(
                now,
                all.map(|(origin, known)| (origin.clone(), known.clone())),
            );
            again
        };
        let known = kept(NOW);
        assert_eq!(known.http3(&there), memory.http3(&there));
        assert_eq!(known.http3(&origin("b")), None, "an endless name");
        let later = Wall::from_unix_secs(NOW.unix_secs() + 60);
        assert_eq!(kept(later).http3(&there), None);
        assert!(memory.forget(&there) && !memory.forget(&there));
        assert_eq!(memory.http3(&there), None);
        for n in 0..OriginMemory::ORIGINS_MAX + 9 {
            memory.learn_http3(&origin(n.to_string()), NOW, &offer(None));
        }
        assert_eq!(memory.http3_all().count(), OriginMemory::ORIGINS_MAX);
    }

    proptest! {
        // Each case is long, because the bound is far: a few of them are enough.
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn it_is_bounded_whatever_is_noted(
            visits in proptest::collection::vec((0_u16..1_500, 0_u64..1_000, any::<u16>()), 900..2_400),
        ) {
            let mut memory = OriginMemory::new();
            let mut last = None;
            for (host, secs, width) in visits {
                let now = Wall::from_unix_secs(NOW.unix_secs() + i64::try_from(secs).unwrap());
                let there = origin(host.to_string());
                let facts = Facts {
                    rtt: Some(Duration::from_secs(secs)),
                    ..lanes(width)
                };
                memory.note(&there, now, facts);
                prop_assert!(memory.len() <= OriginMemory::ORIGINS_MAX);
                prop_assert_eq!(memory.hint(&there, now).map(|hint| hint.lanes), Some(width.max(1)));
                last = Some(there);
            }
            prop_assert_eq!(memory.iter().last().map(|(origin, _)| origin), last.as_ref());
        }
    }
}
