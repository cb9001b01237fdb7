//! What a read of covered bytes costs, by system calls and through mapped windows, at random places of a file in the page
//! cache: what decides how readers get their bytes.

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use tempfile::TempDir;
use tur_core::{ByteRange, Chunks, Identity};
use tur_storage::{FileDisk, FileName, Part, Place, Reader, StorageError, StorageKind};

/// Bytes of the file: several windows.
const SIZE: u64 = 64 << 20;
/// Bytes of one write.
const WRITE: usize = 256 << 10;

/// Adds the benches of [`Reader`].
///
/// # Panics
/// If the file system does not take the file.
pub fn add(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reads");
    for (name, kind) in [
        ("pread", StorageKind::Pwrite),
        ("mapped", StorageKind::Mmap),
    ] {
        let scratch = Scratch::new(kind).expect("a file can be made");
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
                    let came = scratch.reader.read_covered(at, &mut into);
                    assert_eq!(came.expect("it reads"), len);
                });
            });
        }
    }
    group.finish();
}

/// A whole part, in a directory that goes away with it.
struct Scratch {
    reader: Reader<FileDisk>,
    _directory: TempDir,
}

impl Scratch {
    fn new(kind: StorageKind) -> Result<Self, StorageError> {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let place = Place {
            dir: directory.path().to_owned(),
            name: FileName::new("file.bin")?,
            create_dirs: false,
        };
        let url = "http://origin/file.bin";
        let part = Part::open(FileDisk::new(kind), &place, url)?.part;
        let identity = Identity {
            total: Some(SIZE),
            ..Identity::default()
        };
        part.begin(url, &identity, false)?;
        let mut writer = part.writer(0, 0, ByteRange::new(0, SIZE));
        let (mut chunks, chunk) = (Chunks::new(), Bytes::from(vec![1; WRITE]));
        while writer.cursor() < SIZE {
            chunks.push(chunk.clone());
            writer.write(&mut chunks, WRITE)?;
        }
        writer.finish()?;
        Ok(Self {
            reader: part.reader(),
            _directory: directory,
        })
    }
}
