//! A map that keeps the entries that were put in last: [`Lru`].

use alloc::collections::BTreeMap;

/// At most so many entries; the one that was not put in for the longest time makes room for a new one.
#[derive(Clone, Debug)]
pub(super) struct Lru<K, V> {
    max: usize,
    entries: BTreeMap<K, (u64, V)>,
    /// The keys by the turn in which they were put in: the first is the next to go.
    order: BTreeMap<u64, K>,
    turn: u64,
}

impl<K: Clone + Ord, V> Lru<K, V> {
    /// An empty one for at most `max` entries.
    pub(super) const fn new(max: usize) -> Self {
        Self {
            max,
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Puts an entry in as the latest, in place of an older one of that key.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        // No process lives long enough to count to 2^64.
        self.turn += 1;
        self.order.insert(self.turn, key.clone());
        self.entries.insert(key, (self.turn, value));
        while self.entries.len() > self.max {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            self.entries.remove(&oldest);
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (turn, value) = self.entries.remove(key)?;
        self.order.remove(&turn);
        Some(value)
    }

    /// Looks at an entry; that changes no order.
    pub(super) fn peek(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// All entries, the next to go first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order
            .values()
            .filter_map(|key| Some((key, self.peek(key)?)))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        /// Against a list that is searched from end to end.
        #[test]
        fn it_keeps_what_was_put_in_last(
            max in 1_usize..6,
            steps in proptest::collection::vec((any::<bool>(), 0_u8..9, any::<u16>()), 0..80),
        ) {
            let mut lru = Lru::new(max);
            let mut list: Vec<(u8, u16)> = Vec::new();
            for (put, key, value) in steps {
                let before = list.iter().position(|(there, _)| *there == key);
                let old = before.map(|at| list.remove(at).1);
                if put {
                    list.push((key, value));
                    lru.insert(key, value);
                } else {
                    prop_assert_eq!(lru.remove(&key), old);
                }
                if list.len() > max {
                    list.remove(0);
                }
                let have: Vec<_> = lru.iter().map(|(key, value)| (*key, *value)).collect();
                prop_assert_eq!(&have, &list);
                prop_assert_eq!(lru.len(), list.len());
                prop_assert_eq!(lru.order.len(), list.len(), "nothing is left behind");
                for key in 0..9 {
                    let there = list.iter().find(|(there, _)| *there == key);
                    prop_assert_eq!(lru.peek(&key), there.map(|(_, value)| value));
                }
            }
        }
    }
}
