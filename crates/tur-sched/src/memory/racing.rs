//! Whether a new connection tries HTTP/3: [`Racing`].
//!
//! HTTP/3 is raced, not trusted. An origin of which nothing is known is never kept waiting: only where HTTP/3 worked lately TCP
//! follows after a head start, elsewhere both begin at once. While it is not measured, or measured worse, one connection at a
//! time tries it; the others do what is known to work. A rare probe goes the other way, because paths change.

use alloc::collections::BTreeMap;
use core::time::Duration;

use tur_core::{Approach, Http3News, Origin, Wall};

use super::http3::{Better, Http3, Http3Fact};

/// What one process does with HTTP/3 at its origins now.
#[derive(Clone, Debug, Default)]
pub struct Racing {
    origins: BTreeMap<Origin, Live>,
}

/// Connections of one origin.
#[derive(Clone, Copy, Debug, Default)]
struct Live {
    /// Asked about so far.
    asked: u64,
    /// Being tried.
    trying: usize,
    /// Connections that stand.
    standing: usize,
    /// Since it worked last, TCP has overtaken it, or it broke.
    doubted: bool,
}

impl Racing {
    /// No connection yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            origins: BTreeMap::new(),
        }
    }

    /// How the next connection to `origin` begins, by what is remembered of it.
    pub fn approach(&mut self, origin: &Origin, known: Option<&Http3>, now: Wall) -> Approach {
        let Some((known, alternative)) = known.and_then(|k| Some((k, k.usable(now)?))) else {
            return Approach::Tcp;
        };
        if !self.origins.contains_key(origin) && self.origins.len() >= ORIGINS_MAX {
            self.origins.retain(|_, live| live.is_busy());
            if self.origins.len() >= ORIGINS_MAX {
                return Approach::Tcp;
            }
        }
        let live = self.origins.entry(origin.clone()).or_default();
        live.asked += 1;
        let trusted = known.is_proven(now) && !live.doubted;
        let alone = live.trying == 0 && live.standing == 0;
        let odd = live.asked.is_multiple_of(PROBE_EVERY);
        let tried = match known.better() {
            Better::Http3 if odd => false,
            Better::Http3 => trusted || live.trying == 0,
            Better::Tcp => odd && alone,
            Better::Unknown => alone,
        };
        if !tried {
            return Approach::Tcp;
        }
        live.trying += 1;
        Approach::Race {
            alternative: alternative.clone(),
            head_start: if trusted { HEAD_START } else { Duration::ZERO },
        }
    }

    /// What became of a connection that was raced; what is to be remembered of it.
    pub fn told(&mut self, origin: &Origin, news: Http3News) -> Option<Http3Fact> {
        let live = self.origins.get_mut(origin)?;
        match news {
            Http3News::Connected => {
                live.trying = live.trying.saturating_sub(1);
                live.standing += 1;
                live.doubted = false;
                Some(Http3Fact::Worked)
            }
            Http3News::Overtaken => {
                live.doubted = true;
                // The process may end before it is known whether QUIC is slow or blocked.
                Some(Http3Fact::Overtaken)
            }
            Http3News::Failed => {
                live.trying = live.trying.saturating_sub(1);
                live.doubted = true;
                Some(Http3Fact::Failed)
            }
            Http3News::GivenUp => {
                live.trying = live.trying.saturating_sub(1);
                None
            }
            Http3News::Ended { broken } => {
                live.standing = live.standing.saturating_sub(1);
                live.doubted |= broken;
                broken.then_some(Http3Fact::Failed)
            }
        }
    }
}

impl Live {
    fn is_busy(&self) -> bool {
        self.trying > 0 || self.standing > 0
    }
}

/// How long TCP waits where HTTP/3 worked lately: a handshake on most paths, and no more than a person notices.
const HEAD_START: Duration = Duration::from_millis(300);
/// Of so many connections one goes the way that measured worse.
const PROBE_EVERY: u64 = 16;
/// Origins that are raced at once; those that nothing runs to make room.
const ORIGINS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use tur_core::{Advert, Alternative, Offer, Rate, Scheme};

    const NOW: Wall = Wall::from_unix_secs(1_800_000_000);

    fn origin(n: usize) -> Origin {
        Origin {
            scheme: Scheme::Https,
            host: format!("h{n}"),
            port: 443,
        }
    }

    fn known(facts: &[Http3Fact]) -> Http3 {
        let mut known = Http3::default();
        let offer = Offer {
            alternative: Alternative {
                host: None,
                port: 443,
            },
            max_age: Duration::from_secs(1_000_000),
            persist: false,
        };
        known.learn(NOW, &Http3Fact::Said(Advert::Http3(offer)));
        for fact in facts {
            known.learn(NOW, fact);
        }
        known
    }

    fn rates(http3: u64, tcp: u64) -> [Http3Fact; 3] {
        [
            Http3Fact::Worked,
            Http3Fact::Rate(Rate::per_second(http3)),
            Http3Fact::TcpRate(Rate::per_second(tcp)),
        ]
    }

    /// The head start in milliseconds; `None` for TCP alone.
    fn next(racing: &mut Racing, known: &Http3) -> Option<u128> {
        match racing.approach(&origin(0), Some(known), NOW) {
            Approach::Tcp => None,
            Approach::Race { head_start, .. } => Some(head_start.as_millis()),
        }
    }

    #[test]
    fn an_unknown_origin_is_not_kept_waiting() {
        let mut racing = Racing::new();
        assert_eq!(racing.approach(&origin(0), None, NOW), Approach::Tcp);
        let nothing = Http3::default();
        assert_eq!(next(&mut racing, &nothing), None);
        assert_eq!(next(&mut racing, &known(&[])), Some(0), "both at once");
    }

    #[test]
    fn what_was_not_measured_is_tried_once_at_a_time() {
        let mut racing = Racing::new();
        let known = known(&[Http3Fact::Worked]);
        assert_eq!(next(&mut racing, &known), Some(300));
        assert_eq!(next(&mut racing, &known), None, "one is under way");
        let told = racing.told(&origin(0), Http3News::Connected);
        assert_eq!(told, Some(Http3Fact::Worked));
        assert_eq!(next(&mut racing, &known), None, "one stands");
        racing.told(&origin(0), Http3News::Ended { broken: false });
        assert_eq!(next(&mut racing, &known), Some(300));
        assert_eq!(racing.told(&origin(0), Http3News::GivenUp), None);
        assert_eq!(next(&mut racing, &known), Some(300));
    }

    #[test]
    fn what_was_overtaken_or_broke_waits_for_nobody() {
        for broken in [false, true] {
            let mut racing = Racing::new();
            let known = known(&[Http3Fact::Worked]);
            assert_eq!(next(&mut racing, &known), Some(300));
            if broken {
                racing.told(&origin(0), Http3News::Connected);
                let told = racing.told(&origin(0), Http3News::Ended { broken });
                assert_eq!(told, Some(Http3Fact::Failed));
            } else {
                let told = racing.told(&origin(0), Http3News::Overtaken);
                assert_eq!(told, Some(Http3Fact::Overtaken));
                assert_eq!(next(&mut racing, &known), None, "it is still tried");
                let told = racing.told(&origin(0), Http3News::Failed);
                assert_eq!(told, Some(Http3Fact::Failed));
            }
            assert_eq!(next(&mut racing, &known), Some(0));
        }
    }

    /// The program ends with its download: what was under way then is no news, what was seen by then is kept.
    #[test]
    fn a_short_process_hands_on_what_its_race_taught() {
        let mut known = known(&[Http3Fact::Worked]);
        for (course, head_start) in [
            (&[Http3News::GivenUp][..], 300),
            (&[Http3News::Overtaken, Http3News::GivenUp], 0),
            (&[Http3News::Overtaken, Http3News::Connected], 300),
            (&[Http3News::Connected], 300),
        ] {
            let mut racing = Racing::new();
            assert!(next(&mut racing, &known).is_some(), "it is never paused");
            for news in course {
                if let Some(fact) = racing.told(&origin(0), *news) {
                    known.learn(NOW, &fact);
                }
            }
            assert_eq!(next(&mut Racing::new(), &known), Some(head_start));
        }
    }

    #[test]
    fn a_failure_stops_it_for_a_while() {
        let mut racing = Racing::new();
        assert_eq!(next(&mut racing, &known(&[Http3Fact::Failed])), None);
    }

    #[test]
    fn connections_go_where_more_comes_and_a_few_look_elsewhere() {
        for (http3, tcp, most) in [(200, 100, Some(300)), (100, 200, None)] {
            let mut racing = Racing::new();
            let known = known(&rates(http3, tcp));
            let mut odd = 0;
            for _ in 0..160 {
                let begun = next(&mut racing, &known);
                if begun.is_some() {
                    racing.told(&origin(0), Http3News::Connected);
                    racing.told(&origin(0), Http3News::Ended { broken: false });
                }
                odd += usize::from(begun != most);
            }
            assert_eq!(odd, 10);
        }
        // Several at once, where it is better.
        let mut racing = Racing::new();
        let known = known(&rates(200, 100));
        for _ in 0..8 {
            assert_eq!(next(&mut racing, &known), Some(300));
        }
    }

    proptest! {
        /// Whatever is told, in whatever order: it is bounded, and what is not proven is never given a head start.
        #[test]
        fn it_is_bounded(
            steps in proptest::collection::vec((0_usize..1_300, 0_u8..7, any::<bool>()), 0..2_500),
        ) {
            let mut racing = Racing::new();
            for (host, step, worked) in steps {
                let facts = if worked { &[Http3Fact::Worked][..] } else { &[] };
                let known = known(facts);
                let news = match step {
                    0 => Http3News::Connected,
                    1 => Http3News::Overtaken,
                    2 => Http3News::Failed,
                    3 => Http3News::GivenUp,
                    4 => Http3News::Ended { broken: true },
                    _ => {
                        let begun = racing.approach(&origin(host), Some(&known), NOW);
                        if let Approach::Race { head_start, .. } = begun {
                            prop_assert!(worked || head_start.is_zero());
                        }
                        prop_assert!(racing.origins.len() <= ORIGINS_MAX);
                        continue;
                    }
                };
                racing.told(&origin(host), news);
            }
        }
    }
}
