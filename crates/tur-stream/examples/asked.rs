//! Reads what it is asked for: each line on standard input is `AT LEN`, and each answer how many microseconds the first byte
//! took, a sum of the bytes, and whether the first one was there already. At the end of its input it waits for the file.
//!
//! `cargo run --example asked -- URL DIRECTORY [pwrite|mmap]`; it is what `cargo xtask bench stream` drives and kills.

use std::error::Error;
use std::io::{self, BufRead as _, Read, Seek, SeekFrom, Write as _};
use std::time::Instant;

use tur_engine::{Downloader, StorageKind};
use tur_stream::{Media, Options};

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(dir)) = (args.next(), args.next()) else {
        return Err("usage: asked URL DIRECTORY [pwrite|mmap]".into());
    };
    let storage = match args.next().as_deref() {
        Some("mmap") => StorageKind::Mmap,
        _ => StorageKind::Pwrite,
    };
    let downloader = Downloader::builder().storage(storage).build()?;
    let media = Media::open(&downloader, &url, Options::new().dir(dir));
    let mut reader = media.reader();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (at, len) = line.split_once(' ').ok_or("a line is `AT LEN`")?;
        let (at, len): (u64, u64) = (at.parse()?, len.parse()?);
        let was_there = media.buffered().range_at(at).is_some();
        #[expect(clippy::disallowed_methods, reason = "an example measures")]
        let start = Instant::now();
        reader.seek(SeekFrom::Start(at))?;
        let mut piece = vec![0; PIECE];
        let first = reader.read(&mut piece[..1])?;
        let micros = start.elapsed().as_micros();
        let mut sum = add(0, &piece[..first]);
        let mut left = len.saturating_sub(first as u64);
        while left > 0 {
            let most = PIECE.min(usize::try_from(left)?);
            let came = reader.read(&mut piece[..most])?;
            if came == 0 {
                return Err("the file is shorter".into());
            }
            sum = add(sum, &piece[..came]);
            left -= came as u64;
        }
        writeln!(io::stdout(), "{micros} {sum} {was_there}")?;
        io::stdout().flush()?;
    }
    media.wait_committed()?;
    Ok(())
}

/// A sum that knows the order of its bytes.
fn add(sum: u64, bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| sum.wrapping_mul(31).wrapping_add(u64::from(*byte) + 1);
    bytes.iter().fold(sum, step)
}
