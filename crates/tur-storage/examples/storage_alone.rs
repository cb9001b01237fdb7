//! A sparse file that survives crashes, without any network: pieces are written in any order, a process dies in between,
//! and the next one knows which bytes it may trust.
//!
//! `cargo run --example storage_alone -- FILE` (twice: the first run stops half way)

use std::error::Error;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tur_core::{ByteRange, Chunks, Identity, RangeSet};
use tur_storage::{Exists, FileName, Part, Place, PosixDisk};

/// Pieces of the file, and their length in bytes.
pub(crate) const PIECES: u64 = 8;
/// See [`PIECES`].
pub(crate) const PIECE: u64 = 64 << 10;

/// Where the bytes come from: it says which file this is. What an earlier run wrote of another one is not mixed with it.
const SOURCE: &str = "example:counted-bytes";

/// Writes the pieces that are missing, `most` of them at most, the last one first. Returns what was there before, and the
/// file once it is complete.
pub(crate) fn run(
    dir: &Path,
    name: &str,
    most: usize,
) -> Result<(RangeSet, Option<PathBuf>), Box<dyn Error>> {
    let place = Place {
        dir: dir.to_owned(),
        name: FileName::new(name)?,
        create_dirs: true,
    };
    // `NAME.part` and its journal `NAME.tur`, locked. Nothing is truncated: what is there is told.
    let opened = Part::open(PosixDisk, &place, SOURCE)?;
    let saved = opened.saved.filter(|saved| saved.url == SOURCE);
    let there = saved.map_or_else(RangeSet::new, |saved| saved.claimed);
    let part = opened.part;
    let identity = Identity {
        total: Some(PIECES * PIECE),
        ..Identity::default()
    };
    part.begin(SOURCE, &identity, !there.is_empty())?;

    let missing = (0..PIECES)
        .rev()
        .map(piece)
        .filter(|piece| !there.covers(*piece));
    for (lease, range) in (1..).zip(missing.take(most)) {
        let mut writer = part.writer(0, lease, range);
        let mut chunks = Chunks::new();
        chunks.push(Bytes::from(content(range)));
        let len = chunks.len();
        // When this returns, a kill of the process cannot take the bytes back.
        writer.write(&mut chunks, len)?;
        writer.finish()?;
        // And when this returns, a loss of power cannot either.
        part.checkpoint()?.run()?;
    }
    if !part.covered().covers(ByteRange::new(0, PIECES * PIECE)) {
        // Dropped as a crash would leave it: no goodbye is needed.
        return Ok((there, None));
    }
    // One rename shows the whole file under its name, and never a part of it.
    let path = part.commit(PIECES * PIECE, Exists::Refuse, None)?;
    Ok((there, Some(path)))
}

pub(crate) fn piece(n: u64) -> ByteRange {
    ByteRange::new(n * PIECE, (n + 1) * PIECE)
}

/// What belongs at a place.
pub(crate) fn content(range: ByteRange) -> Vec<u8> {
    let byte = |at: u64| at.to_le_bytes()[0] ^ at.to_le_bytes()[1];
    (range.start..range.end).map(byte).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(file) = std::env::args().nth(1).map(PathBuf::from) else {
        return Err("usage: storage_alone FILE".into());
    };
    let name = file.file_name().and_then(|name| name.to_str());
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    let half = usize::try_from(PIECES / 2)?;
    let (there, path) = run(dir.unwrap_or(Path::new(".")), name.unwrap_or("file"), half)?;
    println!("{} bytes were there", there.len());
    match path {
        Some(path) => println!("complete: {}", path.display()),
        None => println!("stopped half way: run it again"),
    }
    Ok(())
}
