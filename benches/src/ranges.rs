//! What the set of ranges costs, at the number of fragments that a download with many lanes and seeks has.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion};
use tur_core::{ByteRange, RangeSet};

/// Bytes of one fragment and of the gap behind it.
const STRIDE: u64 = 1 << 20;

/// Adds the benches of [`RangeSet`].
pub fn add(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("range_set");
    for fragments in [8_u64, 64, 512] {
        let set = fragmented(fragments);
        let middle = fragments / 2 * STRIDE;
        let gap = range(middle + STRIDE / 2, middle + STRIDE);
        group.bench_function(BenchmarkId::new("insert_into_gap", fragments), |bencher| {
            bencher.iter_batched_ref(
                || set.clone(),
                |set| set.insert(black_box(gap)),
                BatchSize::SmallInput,
            );
        });
        let part = range(middle + 1, middle + STRIDE / 2 - 1);
        group.bench_function(
            BenchmarkId::new("remove_from_fragment", fragments),
            |bencher| {
                bencher.iter_batched_ref(
                    || set.clone(),
                    |set| set.remove(black_box(part)),
                    BatchSize::SmallInput,
                );
            },
        );
    }
    group.finish();
}

/// A set with `fragments` ranges of half a stride.
fn fragmented(fragments: u64) -> RangeSet {
    let mut set = RangeSet::new();
    for index in 0..fragments {
        set.insert(range(index * STRIDE, index * STRIDE + STRIDE / 2));
    }
    set
}

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end)
}
