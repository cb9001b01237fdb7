//! From what was meant to what the engine is asked for.

use std::path::PathBuf;

use tur_engine::{Download, Downloader, Kind};

use crate::batch::Item;
use crate::field::Field;
use crate::plan::Job;

/// Where files are that only pass: a directory that is there, because nobody would remove what was made for them.
pub(crate) fn passing_dir() -> Result<PathBuf, (Kind, String)> {
    let dir = std::env::temp_dir();
    match dir.is_dir() {
        true => Ok(dir),
        false => {
            let message = format!("{}: no such directory: set TMPDIR", dir.display());
            Err((Kind::Local, message))
        }
    }
}

/// The engine as the plan wants it.
///
/// # Errors
/// What kind of failure it is, and a sentence.
pub(crate) fn downloader(job: &Job) -> Result<Downloader, (Kind, String)> {
    let mut builder = Downloader::builder()
        .limit(job.rate)
        .storage(job.storage)
        .protocols(job.protocols)
        .no_private(job.demands.public);
    if let Some(limit) = job.limits.connect {
        builder = builder.connect_timeout(limit);
    }
    if let Some(n) = job.connections {
        builder = builder.connections(n.into());
    }
    if let Some(n) = job.per_origin {
        builder = builder.connections_per_origin(n.into());
    }
    if let Some(text) = &job.user_agent {
        builder = builder.user_agent(text);
    }
    let builder = job.network.apply(builder);
    builder
        .map_err(|why| (Kind::Usage, why))?
        .origin_memory(job.origins.clone())
        .build()
        .map_err(|error| (error.kind(), error.to_string()))
}

/// The download of one item: what it says, and what the command line says where it says nothing.
pub(crate) fn download(downloader: &Downloader, job: &Job, item: Item<'_>) -> Download {
    let mut download = downloader
        .download(item.url)
        .create_dirs(job.create_dirs)
        .keep_remote_time(job.remote_time)
        .on_exists(job.on_exists)
        .on_change(job.on_change)
        .keep_bad(job.keep_bad)
        .decode(job.decode)
        .allow_downgrade(job.downgrade)
        .require_length(job.demands.length)
        .require_resume(job.demands.resume)
        .schedule(job.schedule)
        .retry(job.limits.retry);
    if let Some(dir) = item.dir.or_else(|| job.dir.clone()) {
        download = download.dir(dir);
    }
    if let Some(file) = item.out.or_else(|| job.file.clone()) {
        download = download.file(file);
    }
    for glob in &job.demands.types {
        download = download.accept_type(glob.clone());
    }
    if let Some(checksum) = item.checksum.or_else(|| job.checksum.clone()) {
        download = download.checksum(checksum);
    }
    if let Some(lanes) = job.lanes {
        download = download.lanes(lanes);
    }
    if let Some(lanes) = job.start_lanes {
        download = download.start_lanes(lanes);
    }
    if let Some(bytes) = job.piece_min {
        download = download.piece_min(bytes);
    }
    if let Some(rate) = job.rate_per_file {
        download = download.limit(rate);
    }
    if let Some(limit) = job.limits.read {
        download = download.read_timeout(limit);
    }
    if let Some(limit) = job.limits.whole {
        download = download.max_time(limit);
    }
    if let Some(floor) = job.limits.speed {
        download = download.speed_floor(floor);
    }
    let own = |field: &&Field| {
        let same = |other: &Field| other.name.eq_ignore_ascii_case(&field.name);
        !item.fields.iter().any(same)
    };
    for field in job.fields.iter().filter(own).chain(&item.fields) {
        download = download.field(&field.name, field.value.clone());
    }
    job.sign_in.show(download, job.credentials.as_ref())
}
