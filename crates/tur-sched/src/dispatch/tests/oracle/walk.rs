//! Whose permit the naive dispatch would take, or give on, and a walk that shows that all of it happens.

use super::*;

impl Naive {
    /// Urgent tickets that only process or origin keep from starting; of one peer no more than its cap lets.
    pub(super) fn blocked(&self, at: Option<u8>) -> usize {
        let mut of_peers: BTreeMap<u64, usize> = BTreeMap::new();
        for (id, paper) in &self.papers {
            let here = at.is_none_or(|at| at == paper.origin);
            if paper.run.is_none() && here && self.slot(*id) < 2 {
                *of_peers.entry(paper.peer).or_default() += 1;
            }
        }
        let room = |peer: u64| {
            let runs = self.runs(|_, other| other.peer == peer);
            self.people[&peer].limit.saturating_sub(runs)
        };
        of_peers.iter().map(|(peer, n)| (*n).min(room(*peer))).sum()
    }

    /// Prefetches that may be preempted, the least valuable first.
    pub(super) fn victims(&self, at: Option<u8>) -> Vec<u64> {
        let is = |paper: &Paper| {
            let open = paper.run.is_some_and(|(_, _, closing)| !closing);
            open && self.is_low(paper.peer)
        };
        let mut victims: Vec<_> = Vec::new();
        for (id, paper) in self.papers.iter().filter(|(_, paper)| is(paper)) {
            let (started, spared, _) = paper.run.expect("it runs");
            if at.is_none_or(|at| at == paper.origin) && self.now >= spared {
                let of_peer = self.runs(|_, other| is(other) && other.peer == paper.peer);
                victims.push((Reverse((self.slot(*id), of_peer, started)), *id));
            }
        }
        victims.sort_unstable();
        victims.into_iter().map(|(_, id)| id).collect()
    }

    pub(super) fn closing(&self, at: Option<u8>) -> usize {
        self.runs(|_, other| {
            other.run.is_some_and(|(_, _, closing)| closing)
                && at.is_none_or(|at| at == other.origin)
        })
    }

    /// What keeps prefetches for an origin from starting, unless a permit is on its way back there: the origin, or the
    /// process.
    fn full_for_prefetch(&self, origin: u8) -> Option<Option<u8>> {
        let kept = usize::from(self.config.reserve);
        let reserve = |cap: usize| if cap > 1 { cap - kept } else { cap };
        let low = |other: &Paper| self.is_low(other.peer);
        let cap = self.limit_at(origin);
        let here = |other: &Paper| other.origin == origin;
        if self.runs(|_, other| here(other)) >= cap
            || self.runs(|_, other| here(other) && low(other)) >= reserve(cap)
        {
            return (self.closing(Some(origin)) == 0).then_some(Some(origin));
        }
        let cap = self.config.permits;
        let full =
            self.runs(|_, _| true) >= cap || self.runs(|_, other| low(other)) >= reserve(cap);
        (full && self.closing(None) == 0).then_some(None)
    }

    /// Permits that may be given on, each to one that has waited for too long.
    pub(super) fn yielding(&self) -> BTreeSet<(u64, u64)> {
        let late = |(id, paper): &(&u64, &Paper)| {
            paper.run.is_none()
                && self.slot(**id) >= 2
                && self.now >= paper.since.0 + PATIENCE
                && self.peer_has_room(paper.peer)
        };
        let mut all = BTreeSet::new();
        for (late, paper) in self.papers.iter().filter(late) {
            let Some(full) = self.full_for_prefetch(paper.origin) else {
                continue;
            };
            let held = |peer: u64| {
                let here = |other: &Paper| full.is_none_or(|origin| origin == other.origin);
                self.runs(|_, other| other.peer == peer && here(other))
            };
            if held(paper.peer) > 0 {
                continue;
            }
            let worth = |id: &u64| {
                let victim = self.papers[id];
                let (started, ..) = victim.run.expect("it runs");
                (held(victim.peer), self.slot(*id), started)
            };
            let worst = self.victims(full).into_iter().max_by_key(worth);
            let worst = worst.filter(|id| held(self.papers[id].peer) >= 2);
            all.extend(worst.map(|from| (from, *late)));
        }
        all
    }
}

#[test]
fn the_random_walk_goes_where_it_matters() {
    let mut both = Both::new(DispatchConfig {
        permits: 3,
        per_origin: 2,
        ..DispatchConfig::default()
    });
    let mut state = 7u64;
    let mut draw = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    for _ in 0..6_000 {
        both.step((draw(), draw(), draw()));
    }
    let naive = &both.naive;
    assert!(naive.starts > 1_000, "{} starts", naive.starts);
    assert!(naive.preemptions > 100, "{}", naive.preemptions);
    assert!(naive.yields > 3, "{} given on", naive.yields);
    assert!(naive.kept_promises > 3, "{} kept", naive.kept_promises);
    let aged = naive.passed_at.values().chain([&naive.passed]);
    assert!(aged.flatten().any(|passed| *passed > 0));
}
