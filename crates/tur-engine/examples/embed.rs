//! A download inside another program: what it tells while it runs, and how it ends.
//!
//! ```text
//! cargo run -p tur-engine --example embed -- https://example.org/big.iso
//! ```
//!
//! Without a URL it serves itself a file on this machine.

use std::error::Error;
use std::path::Path;

use tur_engine::{Completed, Downloader, What};
use tur_testkit::{Behaviour, Loopback};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir();
    if let Some(url) = std::env::args().nth(1) {
        fetch(&url, &dir).await?;
    } else {
        let origin = Loopback::start([("/file.bin", Behaviour::new(3_000_000))]);
        fetch(&origin.url("/file.bin"), &dir).await?;
    }
    Ok(())
}

/// Downloads `url` into `dir` and says what happens.
pub(crate) async fn fetch(url: &str, dir: &Path) -> Result<Completed, tur_engine::Error> {
    // One for the whole program: it owns the connections, and what it learns of servers serves the next download.
    let downloader = Downloader::builder().build()?;
    // From here on it runs on the engine's own thread, whatever this one does.
    let mut handle = downloader.download(url).dir(dir).start();

    // All events from the beginning; the stream ends with the download. Nobody has to listen: a listener that is too slow
    // is told what it missed, and delays nothing.
    let mut events = handle.events();
    while let Some(event) = events.next().await {
        let t = event.t.as_millis();
        match event.what {
            What::Opened { len, name, .. } => println!("{t:>5} ms  {name}: {len:?} bytes"),
            What::Progress(now) => println!("{t:>5} ms  {} bytes, {} lanes", now.landed, now.lanes),
            What::Retrying { why, after, .. } => println!("{t:>5} ms  {why}: again in {after:?}"),
            What::Completed(_) => println!("{t:>5} ms  complete"),
            _ => {}
        }
    }

    // The file stands under its name only if every byte of it is there. Dropping the handle earlier would have cancelled
    // the download and kept what had come: the same call would go on from there.
    let done = handle.wait().await?;
    println!(
        "{} bytes in {} requests over {} connections: {}",
        done.bytes,
        done.requests,
        done.connections,
        done.path.display()
    );
    Ok(done)
}
