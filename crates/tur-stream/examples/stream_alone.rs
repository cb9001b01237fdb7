//! Plays a file while it arrives: reads the index at its end first, then everything in order, and says what is buffered.
//!
//! `cargo run --example stream_alone -- URL DIRECTORY > copy`

use std::error::Error;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use tur_engine::Downloader;
use tur_stream::{Media, Options};

/// Where many formats keep what a player has to know before it begins.
const INDEX: i64 = 64 << 10;

/// Returns the index, and puts all of the file into `screen`.
pub(crate) fn play(
    url: &str,
    dir: &Path,
    screen: &mut impl Write,
) -> Result<Vec<u8>, Box<dyn Error>> {
    let downloader = Downloader::builder().build()?;
    let options = Options::new().dir(dir).look_ahead(4 << 20);
    let media = Media::open(&downloader, url, options);
    let mut reader = media.reader();

    // The end comes before what lies between, over a connection that was kept ready for that.
    reader.seek(SeekFrom::End(-INDEX))?;
    let mut index = Vec::new();
    reader.read_to_end(&mut index)?;

    reader.rewind()?;
    let mut frame = vec![0; 256 << 10];
    loop {
        let came = reader.read(&mut frame)?;
        if came == 0 {
            break;
        }
        screen.write_all(&frame[..came])?;
        let there = media.buffered().len();
        let percent = media.len().map_or(0, |len| 100 * there / len.max(1));
        eprint!("\r{percent:3} % buffered, {:?}", media.content_type());
    }
    eprintln!();
    // Every byte was read; now it is verified, and under its name.
    media.wait_committed()?;
    Ok(index)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(dir)) = (args.next(), args.next()) else {
        return Err("usage: stream_alone URL DIRECTORY".into());
    };
    play(&url, Path::new(&dir), &mut io::stdout().lock()).map(drop)
}
