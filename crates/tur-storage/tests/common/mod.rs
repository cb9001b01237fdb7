//! What the tests share: bytes that are known by their place, and short ways to write and read them.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::path::PathBuf;

use bytes::Bytes;
use tur_core::{ByteRange, Chunks, ETag, Identity, RangeSet};
use tur_storage::{Disk, FileName, Open, Opened, Part, Place, StorageError, StorageKind, Writer};

pub(crate) const URL: &str = "http://origin.example/file?v=1";

/// The byte at `at` of representation `tag`.
pub(crate) fn byte(tag: u8, at: u64) -> u8 {
    (at % 251) as u8 ^ tag
}

/// Bytes of representation `tag`.
pub(crate) fn body(tag: u8, range: ByteRange) -> Vec<u8> {
    (range.start..range.end).map(|at| byte(tag, at)).collect()
}

/// Representation `tag`, known by its entity tag.
pub(crate) fn identity(tag: u8, total: u64) -> Identity {
    Identity {
        total: Some(total),
        etag: Some(ETag {
            weak: false,
            opaque: format!("\"{tag}\"").into_bytes(),
        }),
        ..Identity::default()
    }
}

/// Which representation an identity of [`identity`] is.
pub(crate) fn tag_of(identity: &Identity) -> u8 {
    let opaque = identity.etag.as_ref().unwrap().opaque.clone();
    String::from_utf8(opaque)
        .unwrap()
        .trim_matches('"')
        .parse()
        .unwrap()
}

pub(crate) fn place(dir: impl Into<PathBuf>) -> Place {
    Place {
        dir: dir.into(),
        name: FileName::new("file").unwrap(),
        create_dirs: true,
    }
}

pub(crate) fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end)
}

pub(crate) fn set(ranges: &[(u64, u64)]) -> RangeSet {
    ranges
        .iter()
        .map(|(start, end)| range(*start, *end))
        .collect()
}

pub(crate) fn open<D: Disk>(disk: D, place: &Place) -> Opened<D> {
    Part::open(disk, place, URL).unwrap()
}

/// Writes `len` more bytes of representation `tag`, in buffers of odd sizes.
pub(crate) fn write<D: Disk>(
    writer: &mut Writer<D>,
    tag: u8,
    len: usize,
) -> Result<(), StorageError> {
    let start = writer.cursor();
    let bytes = body(tag, range(start, start + len as u64));
    let mut chunks = Chunks::new();
    for piece in bytes.chunks(700) {
        chunks.push(Bytes::copy_from_slice(piece));
    }
    writer.write(&mut chunks, len)
}

/// Writes one whole range by one writer.
pub(crate) fn fill<D: Disk>(
    part: &Part<D>,
    slot: u16,
    tag: u8,
    at: ByteRange,
) -> Result<(), StorageError> {
    let mut writer = part.writer(slot, u32::from(slot), at);
    write(&mut writer, tag, at.len() as usize)?;
    writer.finish()
}

/// The whole of a file, by name.
pub(crate) fn content<D: Disk>(disk: &D, place: &Place, name: &str) -> Option<Vec<u8>> {
    let dir = disk.open_dir(&place.dir, true).unwrap();
    let file = disk.open(&dir, name, Open::Existing).ok()?;
    let len = disk.stat(&file).unwrap().len as usize;
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done < len {
        match disk
            .read_at(&file, done as u64, &mut bytes[done..])
            .unwrap()
        {
            0 => break,
            n => done += n,
        }
    }
    assert_eq!(done, len);
    Some(bytes)
}

pub(crate) const KINDS: [StorageKind; 3] =
    [StorageKind::Auto, StorageKind::Pwrite, StorageKind::Mmap];

/// Every way to store, where temporary files are and, if there is one, on a file system in memory.
pub(crate) fn kinds_and_roots() -> Vec<(StorageKind, PathBuf)> {
    let shm = PathBuf::from("/dev/shm");
    let roots: Vec<PathBuf> = std::iter::once(std::env::temp_dir())
        .chain(tempfile::tempdir_in(&shm).is_ok().then_some(shm))
        .collect();
    KINDS
        .into_iter()
        .flat_map(|kind| roots.iter().map(move |root| (kind, root.clone())))
        .collect()
}
