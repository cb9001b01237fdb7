//! What a write and a checkpoint cost, on the file system that holds temporary files.
//!
//! A write is a `pwritev` of a buffer and a claim in the journal. A checkpoint syncs, so its time is mostly the disk's.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use tempfile::TempDir;
use tur_core::{ByteRange, Chunks, Identity};
use tur_storage::{FileName, Part, Place, PosixDisk, StorageError};

/// Bytes of one write.
const WRITE: usize = 256 * 1024;

/// What the engine's lanes write at most before a batch ends.
const WRITES: u64 = 16;

/// Adds the benches of [`Part`].
///
/// # Panics
/// If the file system does not take the files.
pub fn add(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("storage");
    let bytes = WRITES * WRITE as u64;
    group.throughput(Throughput::Bytes(bytes));
    group.sample_size(20);
    group.bench_function("write_and_claim", |bencher| {
        bencher.iter_batched_ref(
            || Scratch::new(bytes).expect("a part can be made"),
            |scratch| scratch.write().expect("the disk takes it"),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("checkpoint", |bencher| {
        bencher.iter_batched_ref(
            || {
                let scratch = Scratch::new(bytes).expect("a part can be made");
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

/// A part in a directory that goes away with it.
struct Scratch {
    part: Part<PosixDisk>,
    chunk: Bytes,
    total: u64,
    _directory: TempDir,
}

impl Scratch {
    fn new(total: u64) -> Result<Self, StorageError> {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let place = Place {
            dir: directory.path().to_owned(),
            name: FileName::new("file.bin")?,
            create_dirs: false,
        };
        let url = "http://origin/file.bin";
        let part = Part::open(PosixDisk, &place, url)?.part;
        let identity = Identity {
            total: Some(total),
            ..Identity::default()
        };
        part.begin(url, &identity, false)?;
        Ok(Self {
            part,
            chunk: Bytes::from(vec![1; WRITE]),
            total,
            _directory: directory,
        })
    }

    /// Writes the whole file as one lease.
    fn write(&self) -> Result<(), StorageError> {
        let mut writer = self.part.writer(0, 0, ByteRange::new(0, self.total));
        let mut chunks = Chunks::new();
        while writer.cursor() < self.total {
            chunks.push(self.chunk.clone());
            writer.write(&mut chunks, WRITE)?;
        }
        writer.finish()
    }
}
