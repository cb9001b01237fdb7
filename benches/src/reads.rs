//! What a read of covered bytes costs, by system calls and through mapped windows, at random places of a file in the page
//! cache: what decides how readers get their bytes.

use criterion::{Criterion, Throughput};
use tur_storage::{FileDisk, StorageKind};

use crate::scratch::Scratch;

/// Bytes of the file: several windows.
const SIZE: u64 = 64 << 20;

/// Adds the benches of [`Reader`](tur_storage::Reader).
///
/// # Panics
/// If the file system does not take the file.
pub fn add(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reads");
    for (name, kind) in [
        ("pread", StorageKind::Pwrite),
        ("mapped", StorageKind::Mmap),
    ] {
        let scratch = Scratch::new(FileDisk::new(kind), SIZE).expect("a part can be made");
        scratch.write().expect("the disk takes it");
        let reader = scratch.part.reader();
        for len in [4 << 10, 64 << 10, 256 << 10] {
            group.throughput(Throughput::Bytes(len as u64));
            let mut into = vec![0; len];
            let mut place = 1_u64;
            group.bench_function(format!("{name}/{}k", len >> 10), |bencher| {
                bencher.iter(|| {
                    // A step that comes everywhere, and never where the last one was.
                    place = place
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let at = (place >> 20) % (SIZE - len as u64);
                    let came = reader.read_covered(at, &mut into);
                    assert_eq!(came.expect("it reads"), len);
                });
            });
        }
    }
    group.finish();
}
