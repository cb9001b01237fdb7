//! A set of disjoint runs, each with its CRC: [`RunSet`].

use std::collections::BTreeMap;

use tur_core::ByteRange;

use crate::journal::Run;

/// Neighbours are joined up to this length: fewer runs to carry, and not too much lost by one bad byte.
const JOINED_MAX: u64 = 64 << 20;

/// Disjoint runs, by start.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunSet {
    runs: BTreeMap<u64, Run>,
}

impl RunSet {
    /// Adds a run. Runs that it overlaps go: the bytes were written again. It is joined to the run that ends where it
    /// begins.
    pub(crate) fn insert(&mut self, mut run: Run) {
        if run.range.is_empty() {
            return;
        }
        self.remove(run.range);
        let before = self.runs.range(..run.range.start).next_back();
        if let Some((&start, before)) = before
            && before.range.end == run.range.start
            && run.range.end - start <= JOINED_MAX
        {
            run = join(before, &run);
        }
        self.runs.insert(run.range.start, run);
    }

    /// Adds a run that may have been told before, by itself or as a piece of what it was joined to: then what is there
    /// stays.
    pub(crate) fn insert_new(&mut self, run: Run) {
        let known = self.runs.range(..=run.range.start).next_back();
        if known.is_none_or(|(_, known)| known.range.end < run.range.end) {
            self.insert(run);
        }
    }

    /// Takes out every run that has a byte in `range`.
    pub(crate) fn remove(&mut self, range: ByteRange) -> Vec<Run> {
        // Disjoint runs are sorted by end too: walk back from the last one that begins inside.
        let hit: Vec<u64> = self
            .runs
            .range(..range.end)
            .rev()
            .take_while(|(_, run)| run.range.end > range.start)
            .map(|(start, _)| *start)
            .collect();
        hit.iter()
            .filter_map(|start| self.runs.remove(start))
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Run> + '_ {
        self.runs.values().copied()
    }
}

/// The run over two neighbours.
fn join(left: &Run, right: &Run) -> Run {
    let mut crc = crc32fast::Hasher::new_with_initial_len(left.crc, left.range.len());
    crc.combine(&crc32fast::Hasher::new_with_initial_len(
        right.crc,
        right.range.len(),
    ));
    Run {
        range: ByteRange::new(left.range.start, right.range.end),
        crc: crc.finalize(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(start: u64, end: u64) -> Run {
        let bytes: Vec<u8> = (start..end).map(|at| (at % 251) as u8).collect();
        Run {
            range: ByteRange::new(start, end),
            crc: crc32fast::hash(&bytes),
        }
    }

    #[test]
    fn neighbours_are_joined_and_keep_a_true_crc() {
        let mut set = RunSet::default();
        for piece in [run(0, 10), run(500, 600), run(10, 300), run(600, 1000)] {
            set.insert(piece);
        }
        let runs: Vec<Run> = set.iter().collect();
        assert_eq!(runs, [run(0, 300), run(500, 1000)]);
        assert_eq!(set.remove(ByteRange::new(299, 500)), [run(0, 300)]);
        assert_eq!(set.remove(ByteRange::new(0, 500)), []);
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn what_was_told_before_takes_nothing_away() {
        let mut set = RunSet::default();
        set.insert_new(run(0, 100));
        set.insert_new(run(100, 300));
        for known in [run(100, 300), run(0, 100), run(100, 250), run(0, 300)] {
            set.insert_new(known);
            assert_eq!(set.iter().collect::<Vec<_>>(), [run(0, 300)]);
        }
        set.insert_new(run(300, 310));
        assert_eq!(set.iter().collect::<Vec<_>>(), [run(0, 310)]);
    }
}
