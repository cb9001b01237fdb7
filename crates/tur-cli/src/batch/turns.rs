//! Which item begins next.
//!
//! [`Turns`] hands out numbers of items in their order, with two exceptions: items whose files would have one name run one
//! after the other, so that what comes out is what would come out if all did; and one that found its target in use is
//! tried again at the end, alone. Each item costs the same, however many there are.

use std::collections::{HashMap, VecDeque};

/// The order of a run.
#[derive(Debug)]
pub(crate) struct Turns {
    next: usize,
    len: usize,
    /// Targets of items that run, and the items that wait for each.
    targets: HashMap<String, VecDeque<usize>>,
    /// Their target is free again, and theirs.
    ready: VecDeque<usize>,
    /// They met another download at their target.
    busy: VecDeque<usize>,
    /// Those are being tried again.
    last_round: bool,
    running: usize,
}

impl Turns {
    /// Turns for so many items.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            next: 0,
            len,
            targets: HashMap::new(),
            ready: VecDeque::new(),
            busy: VecDeque::new(),
            last_round: false,
            running: 0,
        }
    }

    /// The item that may begin now; `None` if there is none left, or none before one that runs has ended.
    pub(crate) fn next(&mut self, target: impl Fn(usize) -> String) -> Option<usize> {
        let item = self.ready.pop_front().or_else(|| self.fresh(&target));
        let item = item.or_else(|| self.once_more(&target))?;
        self.running += 1;
        Some(item)
    }

    /// An item has ended, whose target was this.
    pub(crate) fn ended(&mut self, target: &str) {
        self.running -= 1;
        let Some(waiting) = self.targets.get_mut(target) else {
            return;
        };
        match waiting.pop_front() {
            Some(item) => self.ready.push_back(item),
            None => drop(self.targets.remove(target)),
        }
    }

    /// An item has ended because its target is in use. True if it gets another turn: once, when no other item can be who
    /// uses it.
    pub(crate) fn again(&mut self, item: usize) -> bool {
        if !self.last_round {
            self.busy.push_back(item);
        }
        !self.last_round
    }

    fn fresh(&mut self, target: &impl Fn(usize) -> String) -> Option<usize> {
        while self.next < self.len {
            let item = self.next;
            self.next += 1;
            let target = target(item);
            match self.targets.get_mut(&target) {
                Some(waiting) => waiting.push_back(item),
                None => {
                    self.targets.insert(target, VecDeque::new());
                    return Some(item);
                }
            }
        }
        None
    }

    fn once_more(&mut self, target: &impl Fn(usize) -> String) -> Option<usize> {
        if self.running > 0 {
            return None;
        }
        let item = self.busy.pop_front()?;
        self.last_round = true;
        self.targets.insert(target(item), VecDeque::new());
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs items with these targets, so many at once, first in, first out; returns the order in which they began and
    /// asserts that no two of one target ran at once.
    fn order(targets: &[&str], at_once: usize) -> Vec<usize> {
        let mut turns = Turns::new(targets.len());
        let (mut running, mut began) = (VecDeque::new(), Vec::new());
        loop {
            while running.len() < at_once
                && let Some(item) = turns.next(|n| targets[n].to_owned())
            {
                let same = |other: &usize| targets[*other] == targets[item];
                assert!(
                    !running.iter().any(same),
                    "{targets:?}: {item} beside {running:?}"
                );
                running.push_back(item);
                began.push(item);
            }
            match running.pop_front() {
                Some(item) => turns.ended(targets[item]),
                None => return began,
            }
        }
    }

    #[test]
    fn equal_targets_take_turns_and_all_get_one() {
        for (targets, at_once, began) in [
            (&["a", "b", "c"][..], 1, &[0, 1, 2][..]),
            (&["a", "b", "c"], 9, &[0, 1, 2]),
            (&["a", "a", "b", "a"], 2, &[0, 2, 1, 3]),
            (&["a", "a", "a"], 3, &[0, 1, 2]),
            (&[], 3, &[]),
        ] {
            assert_eq!(order(targets, at_once), began, "{targets:?}");
        }
        let many: Vec<_> = (0..500).map(|i| ["a", "b", "c"][i * i % 3]).collect();
        for at_once in 1..5 {
            let mut began = order(&many, at_once);
            began.sort_unstable();
            assert_eq!(began, (0..500).collect::<Vec<_>>());
        }
    }

    #[test]
    fn who_finds_its_target_in_use_is_tried_again_alone_and_once() {
        let mut turns = Turns::new(3);
        let target = |n: usize| n.to_string();
        assert_eq!([turns.next(target), turns.next(target)], [Some(0), Some(1)]);
        assert!(turns.again(1));
        turns.ended("1");
        assert_eq!(turns.next(target), Some(2));
        assert!(turns.again(2));
        turns.ended("2");
        // Item 0 may be who has the target of the others.
        assert_eq!(turns.next(target), None);
        turns.ended("0");
        assert_eq!(turns.next(target), Some(1));
        assert_eq!(turns.next(target), None);
        assert!(!turns.again(1));
        turns.ended("1");
        assert_eq!(turns.next(target), Some(2));
        turns.ended("2");
        assert_eq!(turns.next(target), None);
    }
}
