//! One download from plan to exit code.

use std::fs::File;
use std::future::pending;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tur_engine::{Completed, Download, Downloader, Error, Handle, Kind};

use crate::bounds::CA_FILE_BYTES;
use crate::console;
use crate::plan::{Job, Plan};
use crate::show::Show;
use crate::signals;

/// Does what the plan says. What comes back is the exit code; everything was said.
pub(crate) fn run(plan: Plan) -> u8 {
    let signals = match signals::listen() {
        Ok(signals) => signals,
        Err(error) => return stop(Kind::Other, &format!("cannot listen to signals: {error}")),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return stop(Kind::Other, &format!("cannot start: {error}")),
    };
    let downloader = match downloader(&plan.job) {
        Ok(downloader) => downloader,
        Err((kind, message)) => return stop(kind, &message),
    };
    let mut show = Show::new(plan.show);
    let told = downloader.notes();
    for note in &told {
        show.note(note);
    }
    let code = runtime.block_on(async {
        let mut handle = download(&downloader, plan.job).start();
        let mut stopped = Stopped::new(signals);
        follow(&handle, &mut show, &mut stopped).await;
        let outcome = handle.wait().await;
        show.end(&outcome);
        exit_code(&outcome, stopped.code)
    });
    // The outcome was said: what is still to be done concerns later downloads.
    if let Err(error) = downloader.flush_origins(FLUSH_MAX) {
        show.aside(&format!("what was learned of servers is not kept: {error}"));
    }
    let new = |note: &&String| !told.contains(note);
    for note in downloader.notes().iter().filter(new) {
        show.note(note);
    }
    code
}

/// Shows the download until its last event, and hands on the wish to stop.
async fn follow(handle: &Handle, show: &mut Show, stopped: &mut Stopped) {
    let mut events = handle.events();
    let mut ticks = show.period().map(ticks);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => show.event(&event),
                None => return,
            },
            () = stopped.ask() => handle.cancel(),
            () = tick(&mut ticks) => show.tick(&handle.progress()),
        }
    }
}

/// The wish to stop that a signal brings.
struct Stopped {
    signal: Option<oneshot::Receiver<u8>>,
    /// The exit code that belongs to the signal that came.
    code: Option<u8>,
}

impl Stopped {
    const fn new(signal: oneshot::Receiver<u8>) -> Self {
        Self {
            signal: Some(signal),
            code: None,
        }
    }

    /// Waits for a signal; it is told once.
    async fn ask(&mut self) {
        if let Some(signal) = &mut self.signal {
            let told = signal.await;
            self.signal = None;
            if let Ok(code) = told {
                self.code = Some(code);
                return;
            }
        }
        pending().await
    }
}

fn exit_code(outcome: &Result<Completed, Error>, signal: Option<u8>) -> u8 {
    match outcome {
        Ok(_) => 0,
        Err(error) if error.kind() == Kind::Signal => signal.unwrap_or(Kind::Signal.exit_code()),
        Err(error) => error.kind().exit_code(),
    }
}

/// Says why nothing is begun.
fn stop(kind: Kind, message: &str) -> u8 {
    console::say(message);
    kind.exit_code()
}

fn downloader(job: &Job) -> Result<Downloader, (Kind, String)> {
    let mut builder = Downloader::builder()
        .limit(job.rate)
        .storage(job.storage)
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
    if let Some(path) = &job.ca_file {
        let pem = certificates(path).map_err(|error| {
            (
                Kind::Usage,
                format!("--ca-file {}: {error}", path.display()),
            )
        })?;
        builder = builder.roots_pem(pem);
    }
    builder
        .origin_memory(job.origins.clone())
        .build()
        .map_err(|error| (error.kind(), error.to_string()))
}

fn download(downloader: &Downloader, job: Job) -> Download {
    let mut download = downloader
        .download(&job.url)
        .create_dirs(job.create_dirs)
        .keep_remote_time(job.remote_time)
        .on_exists(job.on_exists)
        .on_change(job.on_change)
        .keep_bad(job.keep_bad)
        .decode(job.decode)
        .require_length(job.demands.length)
        .require_resume(job.demands.resume)
        .schedule(job.schedule)
        .retry(job.limits.retry);
    if let Some(dir) = job.dir {
        download = download.dir(dir);
    }
    if let Some(file) = job.file {
        download = download.file(file);
    }
    for glob in job.demands.types {
        download = download.accept_type(glob);
    }
    if let Some(checksum) = job.checksum {
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
    for field in &job.fields {
        download = download.field(&field.name, field.value.clone());
    }
    if let Some(credentials) = &job.credentials {
        download = download.basic_auth(credentials.user.clone(), credentials.password.clone());
    }
    download
}

fn certificates(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    File::open(path)?
        .take(CA_FILE_BYTES)
        .read_to_end(&mut pem)?;
    Ok(pem)
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is not at once but after a period: a short download shows no progress at all.
    ticks.reset();
    ticks
}

async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => pending().await,
    }
}

/// The end of a run waits so long at most to write what was learned: longer than the engine waits for its lock.
const FLUSH_MAX: Duration = Duration::from_secs(3);
