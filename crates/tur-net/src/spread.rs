//! Which of a host's addresses the next connection goes to.
//!
//! Read [`Spread`]. Connections take turns over the addresses that work, so that several servers behind one name share
//! the load; until servers disagree about a file: then the host is pinned to one of them.
//!
//! ```text
//!            pin(address)
//!   Free ───────────────────▶ Pinned(address)
//!                              │ lost(address),       ▲ won(other)
//!                              ▼ or the name has      │
//!                             Seeking ────────────────┘
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

/// What is remembered of hosts: at most [`HOSTS_MAX`], of each at most [`ADDRESSES_MAX`] addresses; the host that was
/// asked for longest ago is forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    hosts: BTreeMap<(String, u16), Host>,
    asked: u64,
}

#[derive(Debug, Default)]
struct Host {
    known: Vec<Known>,
    hold: Hold,
    /// The number of the last question.
    asked: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    address: SocketAddr,
    /// Connections that were sent here first.
    taken: u64,
    lost: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hold {
    /// Connections take turns.
    #[default]
    Free,
    /// They go there alone.
    Pinned(SocketAddr),
    /// They go to the one that the next of them gets.
    Seeking,
}

impl Spread {
    /// The addresses in the order in which they are to be tried: the one that was taken least, those that failed lately
    /// last; the one that is pinned alone. `resolved` is in the order that is best if nothing is known.
    pub(crate) fn order(
        &mut self,
        host: (&str, u16),
        resolved: &[SocketAddr],
        now: Instant,
    ) -> Vec<SocketAddr> {
        let host = self.host(host);
        host.renew(resolved);
        if let Hold::Pinned(address) = host.hold {
            if host.known.iter().any(|known| known.address == address) {
                return vec![address];
            }
            host.hold = Hold::Seeking;
        }
        let mut order = host.known.clone();
        let ill = |known: &Known| known.lost.is_some_and(|at| now < at + LOST_FOR);
        // The sort is stable: the resolver's order decides among equals.
        order.sort_by_key(|known| (ill(known), known.taken));
        if let Some(first) = order.first() {
            host.take(first.address);
        }
        order.into_iter().map(|known| known.address).collect()
    }

    /// A connection to `address` stands, which was not the first to be tried if `overtook`.
    pub(crate) fn won(&mut self, host: (&str, u16), address: SocketAddr, overtook: bool) {
        let host = self.host(host);
        if overtook {
            host.take(address);
        }
        if let Some(known) = host.find(address) {
            known.lost = None;
        }
        if host.hold == Hold::Seeking {
            host.hold = Hold::Pinned(address);
        }
    }

    /// `address` did not connect, or another one was faster although it began later.
    pub(crate) fn lost(&mut self, host: (&str, u16), address: SocketAddr, now: Instant) {
        let host = self.host(host);
        if let Some(known) = host.find(address) {
            known.lost = Some(now);
        }
        if host.hold == Hold::Pinned(address) {
            host.hold = Hold::Seeking;
        }
    }

    /// From now on connections go to `address` alone, for as long as it connects.
    pub(crate) fn pin(&mut self, host: (&str, u16), address: SocketAddr) {
        self.host(host).hold = Hold::Pinned(address);
    }

    fn host(&mut self, (name, port): (&str, u16)) -> &mut Host {
        self.asked += 1;
        let key = (name.to_owned(), port);
        if self.hosts.len() >= HOSTS_MAX && !self.hosts.contains_key(&key) {
            let oldest = self.hosts.iter().min_by_key(|(_, host)| host.asked);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.hosts.remove(&oldest);
            }
        }
        let host = self.hosts.entry(key).or_default();
        host.asked = self.asked;
        host
    }
}

impl Host {
    /// Knows these addresses and no others. A new one is behind nobody: it is not flooded until it has caught up.
    fn renew(&mut self, resolved: &[SocketAddr]) {
        let least = self.known.iter().map(|known| known.taken).min();
        let known = |address: &SocketAddr| {
            let old = self.known.iter().find(|known| known.address == *address);
            old.copied().unwrap_or(Known {
                address: *address,
                taken: least.unwrap_or(0),
                lost: None,
            })
        };
        self.known = resolved.iter().take(ADDRESSES_MAX).map(known).collect();
    }

    fn take(&mut self, address: SocketAddr) {
        if let Some(known) = self.find(address) {
            known.taken += 1;
        }
    }

    fn find(&mut self, address: SocketAddr) -> Option<&mut Known> {
        self.known.iter_mut().find(|known| known.address == address)
    }
}

/// More hosts than one run has under way at once.
const HOSTS_MAX: usize = 256;
/// More addresses of one host are not used.
const ADDRESSES_MAX: usize = 16;
/// An address that failed is tried after the others for so long.
const LOST_FOR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: (&str, u16) = ("a.example", 80);

    fn at(n: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n], 80))
    }

    #[expect(clippy::disallowed_methods, reason = "any date will do")]
    fn now() -> Instant {
        Instant::now()
    }

    /// The address that a connection is sent to, which it gets.
    fn next(spread: &mut Spread, resolved: &[SocketAddr], now: Instant) -> SocketAddr {
        let first = spread.order(HOST, resolved, now)[0];
        spread.won(HOST, first, false);
        first
    }

    #[test]
    fn connections_take_turns() {
        let (mut spread, all) = (Spread::default(), [at(1), at(2), at(3)]);
        let now = now();
        let taken: Vec<_> = (0..7).map(|_| next(&mut spread, &all, now)).collect();
        assert_eq!(taken, [at(1), at(2), at(3), at(1), at(2), at(3), at(1)]);
        // Another order of the resolver changes nothing, and a new address does not get everything.
        let more = [at(4), at(3), at(2), at(1)];
        let taken: Vec<_> = (0..5).map(|_| next(&mut spread, &more, now)).collect();
        assert_eq!(taken, [at(4), at(3), at(2), at(4), at(3)]);
    }

    #[test]
    fn connections_that_begin_together_are_spread_too() {
        let (mut spread, all) = (Spread::default(), [at(1), at(2)]);
        let now = now();
        let first = |spread: &mut Spread| spread.order(HOST, &all, now)[0];
        assert_eq!([first(&mut spread), first(&mut spread)], [at(1), at(2)]);
    }

    #[test]
    fn what_failed_comes_last_for_a_while() {
        let (mut spread, all) = (Spread::default(), [at(1), at(2), at(3)]);
        let start = now();
        assert_eq!(spread.order(HOST, &all, start), all);
        spread.lost(HOST, at(1), start);
        spread.won(HOST, at(2), true);
        for _ in 0..4 {
            let order = spread.order(HOST, &all, start + LOST_FOR / 2);
            assert_eq!(order[2], at(1));
        }
        let later = start + LOST_FOR;
        assert_eq!(spread.order(HOST, &all, later)[0], at(1), "it is behind");
        // All have failed: all are tried.
        for n in 1..=3 {
            spread.lost(HOST, at(n), later);
        }
        assert_eq!(spread.order(HOST, &all, later).len(), 3);
    }

    #[test]
    fn a_pin_holds_until_its_address_fails_and_then_finds_another_one() {
        let (mut spread, all) = (Spread::default(), [at(1), at(2), at(3)]);
        let now = now();
        spread.pin(HOST, at(2));
        for _ in 0..3 {
            assert_eq!(spread.order(HOST, &all, now), [at(2)]);
            spread.won(HOST, at(2), false);
        }
        spread.lost(HOST, at(2), now);
        assert_eq!(spread.order(HOST, &all, now), [at(1), at(3), at(2)]);
        spread.won(HOST, at(3), true);
        assert_eq!(spread.order(HOST, &all, now), [at(3)]);
        // The name leads elsewhere now.
        assert_eq!(spread.order(HOST, &[at(1), at(2)], now)[0], at(1));
        spread.won(HOST, at(1), false);
        assert_eq!(spread.order(HOST, &all, now), [at(1)]);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut spread, now) = (Spread::default(), now());
        let many: Vec<_> = (0..=255).map(at).collect();
        assert_eq!(spread.order(HOST, &many, now).len(), ADDRESSES_MAX);
        spread.pin(HOST, at(7));
        for n in 0..HOSTS_MAX {
            let name = format!("h{n}");
            spread.order((&name, 80), &[at(1)], now);
            assert_eq!(spread.order(HOST, &many, now), [at(7)], "in use");
        }
        assert_eq!(spread.hosts.len(), HOSTS_MAX);
        assert!(!spread.hosts.contains_key(&("h0".to_owned(), 80)));
    }
}
