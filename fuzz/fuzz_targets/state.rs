//! State files: whatever stands in one, it is read as what somebody wrote or as nothing, and one that a newer version
//! wrote is left alone.
//!
//! The input is a byte that says how the file is made, two bytes that say where it is damaged, a version, and the rest.
#![no_main]

use std::io::IoSlice;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tur_storage::{Disk, MemDisk, Open, State, StateFile, StateFormat, StorageError};

const FORMAT: StateFormat = StateFormat {
    magic: *b"tur.fuzz",
    version: 3,
};
const DIR: &str = "/state";
const NAME: &str = "file";

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let Some((&[how, at0, at1, version], rest)) = data.split_first_chunk() else {
        return;
    };
    let version = u16::from(version % 6);
    let written = bytes_of(rest, version);
    match how % 3 {
        // As somebody else wrote it.
        0 => check_whole(rest, version, &written),
        // One bit differs, or it is cut.
        1 => {
            let at = usize::from(u16::from_le_bytes([at0, at1])) % written.len();
            let mut damaged = written.clone();
            damaged[at] ^= 1 << (how / 3 % 8);
            check_damaged(&damaged);
            check_damaged(&written[..at]);
        }
        // No file at all.
        _ => check_any(rest),
    }
});

/// A whole file is read as it was written, by those who know its version.
fn check_whole(rest: &[u8], version: u16, written: &[u8]) {
    let (disk, file) = put(written);
    if version > FORMAT.version {
        let newer = |error| matches!(error, Err(StorageError::Version { version: found, .. }) if found == version);
        assert!(newer(file.load().map(drop)));
        let merged = file.update(&mut || false, |_| panic!("nothing is to be merged"));
        assert!(newer(merged));
        return assert_eq!(look(&disk), written, "it is left alone");
    }
    let state = State {
        version,
        bytes: rest.to_vec(),
    };
    assert_eq!(file.load().expect("it is whole"), Some(state.clone()));
    file.update(&mut || false, |old| {
        assert_eq!(old, Some(state));
        Some(b"new".to_vec())
    })
    .expect("it can be replaced");
    let state = file.load().expect("it is whole").expect("it is there");
    assert_eq!(
        (state.version, &*state.bytes),
        (FORMAT.version, &b"new"[..])
    );
}

/// One that differs by a bit, or is cut, is nothing, and makes room for the next.
fn check_damaged(damaged: &[u8]) {
    let (_, file) = put(damaged);
    assert!(matches!(file.load(), Err(StorageError::Damaged { .. })));
    file.update(&mut || false, |old| {
        assert_eq!(old, None);
        Some(vec![1])
    })
    .expect("it is begun anew");
    let state = file.load().expect("it is whole").expect("it is there");
    assert_eq!(state.bytes, [1]);
}

/// Any bytes are read as what they would be written as, or not at all.
fn check_any(bytes: &[u8]) {
    let (_, file) = put(bytes);
    match file.load() {
        Ok(state) => {
            let state = state.expect("there is a file");
            assert_eq!(bytes_of(&state.bytes, state.version), bytes);
        }
        Err(StorageError::Version { version, .. }) => assert!(version > FORMAT.version),
        Err(error) => assert!(matches!(error, StorageError::Damaged { .. }), "{error:?}"),
    }
}

/// A disk with these bytes in the file.
fn put(bytes: &[u8]) -> (MemDisk, StateFile<MemDisk>) {
    let disk = MemDisk::default();
    let dir = disk.open_dir(Path::new(DIR), true).expect("it is made");
    let file = disk.open(&dir, NAME, Open::New(0o600)).expect("it is made");
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = (bytes.len() - rest.len()) as u64;
        let n = disk.write_at(&file, at, &[IoSlice::new(rest)]);
        rest = &rest[n.expect("there is room")..];
    }
    let path = Path::new(DIR).join(NAME);
    let file = StateFile::new(disk.clone(), &path, FORMAT).expect("it is a name");
    (disk, file)
}

/// What stands in the file.
fn look(disk: &MemDisk) -> Vec<u8> {
    let dir = disk.open_dir(Path::new(DIR), false).expect("it is there");
    let file = disk.open(&dir, NAME, Open::Existing).expect("it is there");
    let len = disk.stat(&file).expect("it is there").len;
    let mut bytes = vec![0; usize::try_from(len).expect("it is small")];
    let n = disk.read_at(&file, 0, &mut bytes).expect("it can be read");
    bytes.truncate(n);
    bytes
}

/// A file as format 1 of state files has it.
fn bytes_of(payload: &[u8], version: u16) -> Vec<u8> {
    let mut bytes = FORMAT.magic.to_vec();
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let crc = tur_fuzz::crc32(&[&bytes, payload]);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
