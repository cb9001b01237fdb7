//! What a write and a checkpoint cost, on the file system that holds temporary files.
//!
//! A write is a `pwritev` of a buffer and a claim in the journal. A checkpoint syncs, so its time is mostly the disk's.

use criterion::{BatchSize, Criterion, Throughput};
use tur_storage::PosixDisk;

use crate::scratch::Scratch;

/// What the engine's lanes write at most before a batch ends.
const BYTES: u64 = 4 << 20;

/// Adds the benches of [`Part`](tur_storage::Part).
///
/// # Panics
/// If the file system does not take the files.
pub fn add(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("storage");
    group.throughput(Throughput::Bytes(BYTES));
    group.sample_size(20);
    group.bench_function("write_and_claim", |bencher| {
        bencher.iter_batched_ref(
            || Scratch::new(PosixDisk, BYTES).expect("a part can be made"),
            |scratch| scratch.write().expect("the disk takes it"),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("checkpoint", |bencher| {
        bencher.iter_batched_ref(
            || {
                let scratch = Scratch::new(PosixDisk, BYTES).expect("a part can be made");
                scratch.write().expect("the disk takes it");
                scratch
            },
            |scratch| {
                let durable = scratch.part.checkpoint().and_then(|job| job.run());
                durable.expect("the disk syncs")
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}
