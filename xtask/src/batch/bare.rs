//! What the machine gives a client that does next to nothing: threads that each read files over one connection.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};

/// The bare loop, as a program of its own so that its processor time can be told from the origin's.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A file with a URL on each line.
    pub(super) list: PathBuf,
    /// Where the files go.
    pub(super) dir: PathBuf,
    /// Threads, each with one connection.
    pub(super) threads: usize,
    /// Syncs each file before it gets its name, and the directory at the end.
    #[arg(long)]
    pub(super) synced: bool,
}

/// Fetches every URL of the list.
///
/// # Errors
/// A connection fails, or a file cannot be written.
pub(crate) fn run(options: &Options) -> Result<()> {
    let list = std::fs::read_to_string(&options.list)?;
    let urls: Arc<Vec<String>> = Arc::new(list.lines().map(str::to_owned).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..options.threads)
        .map(|_| {
            let (urls, next) = (Arc::clone(&urls), Arc::clone(&next));
            let (dir, synced) = (options.dir.clone(), options.synced);
            std::thread::spawn(move || lane(&urls, &next, &dir, synced))
        })
        .collect();
    for thread in threads {
        thread.join().expect("a lane does not panic")?;
    }
    if options.synced {
        File::open(&options.dir)?.sync_all()?;
    }
    Ok(())
}

fn lane(urls: &[String], next: &AtomicUsize, dir: &Path, synced: bool) -> Result<()> {
    let first = urls.first().context("an empty list")?;
    let rest = first.strip_prefix("http://").context("not in clear text")?;
    let (authority, _) = rest.split_once('/').context("no path")?;
    let mut stream = TcpStream::connect(authority)?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 256 * 1024];
    while let Some(url) = urls.get(next.fetch_add(1, Ordering::Relaxed)) {
        let name = url.rsplit('/').next().context("no name")?;
        write!(stream, "GET /{name} HTTP/1.1\r\nHost: {authority}\r\n\r\n")?;
        let whole = dir.join(name);
        let path = if synced {
            dir.join(format!("{name}.part"))
        } else {
            whole.clone()
        };
        let mut file = File::create(&path)?;
        receive(&mut stream, &mut buffer, &mut file)?;
        if synced {
            file.sync_data()?;
            std::fs::rename(&path, &whole)?;
        }
    }
    Ok(())
}

/// One answer, whose length is told.
fn receive(stream: &mut TcpStream, buffer: &mut [u8], file: &mut File) -> Result<()> {
    let mut filled = 0;
    let (body, len) = loop {
        let n = stream.read(&mut buffer[filled..])?;
        ensure!(n > 0, "the origin closed before its answer");
        filled += n;
        if let Some(at) = buffer[..filled]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        {
            let head = std::str::from_utf8(&buffer[..at])?;
            ensure!(
                head.starts_with("HTTP/1.1 200 "),
                "the origin refused a bare socket"
            );
            let told = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "));
            break (at + 4, told.context("no length")?.parse::<usize>()?);
        }
    };
    file.write_all(&buffer[body..filled])?;
    let mut got = filled - body;
    while got < len {
        let n = stream.read(buffer)?;
        ensure!(n > 0, "the origin closed early");
        file.write_all(&buffer[..n])?;
        got += n;
    }
    ensure!(got == len, "the origin sent too much");
    Ok(())
}
