//! `tur stream`: a file to standard output, in order, while it arrives over many connections; and `-o /dev/null`.
//!
//! [`run()`] does it. The bytes pass through a file without a name, of which a window is fetched ahead of what was written,
//! and what lies behind that is given back: who reads slowly stops the connections, and that is no stall.

use std::future::pending;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Interval;
use tur_engine::{Completed, Error, Event, Kind, What};
use tur_stream::{Fill, Media, Options, Place, ReadError};

use crate::console;
use crate::plan::{NOWHERE, Plan};
use crate::request;
use crate::run::{self, Stopped};
use crate::show::Show;

/// What a plan says of a file that only passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// The first byte that is wanted.
    pub(crate) from: u64,
    /// It is discarded, not written to standard output.
    pub(crate) nowhere: bool,
}

impl Passage {
    /// What stands for the path of a file that has none.
    fn path(self) -> PathBuf {
        PathBuf::from(if self.nowhere { NOWHERE } else { "-" })
    }
}

/// How far is fetched ahead of what was written, in bytes: enough for many connections on a long way.
const LOOK_AHEAD: u64 = 32 << 20;
/// Bytes that are handed on at a time.
const PIECE: usize = 256 << 10;
/// How often it is said that what was handed on will not be read again.
const PASSED_STEP: u64 = 1 << 20;
/// Once it is to end, writing has so long to end by itself, and the download to say why: without a reader that stands still it
/// takes a few milliseconds.
const LAST: Duration = Duration::from_millis(100);

/// Does what the plan says. What comes back is the exit code; everything was said.
pub(crate) fn run(mut plan: Plan, passage: Passage) -> u8 {
    if !passage.nowhere {
        console::keep_output_free();
    }
    let (mut stopped, runtime, downloader) = match run::begin(&plan) {
        Ok(begun) => begun,
        Err(code) => return code,
    };
    let mut show = Show::new(plan.show, false);
    let told = run::greet(&downloader, &mut show);
    if plan.job.dir.is_none() {
        match request::passing_dir() {
            Ok(dir) => plan.job.dir = Some(dir),
            Err((kind, message)) => {
                show.error(&message);
                return kind.exit_code();
            }
        }
    }
    plan.job.file = Some(PathBuf::from("stream"));
    let item = plan.items.item(0).expect("it was typed");
    let download = request::download(&downloader, &plan.job, item);
    let options = Options::new().place(Place::Passing);
    let options = options.fill(Fill::Window).look_ahead(LOOK_AHEAD);
    let media = Media::of(download, options);
    let code = runtime.block_on(async {
        let patience = Patience::new(plan.job.limits.whole);
        pass(&media, passage, patience, &mut show, &mut stopped).await
    });
    run::part(&downloader, &show, &told);
    code
}

/// How writing ended.
enum Written {
    /// At the end of the file: so many bytes.
    Whole(u64),
    /// Nobody reads any more.
    Unread,
    /// The output cannot be written to.
    Output(io::Error),
    /// The file does not come.
    Failed(Error),
    /// Not at all: it was to end, and who reads stands still.
    Left,
}

/// How long writing may go on.
struct Patience {
    /// Until `--max-time` is over.
    limit: Option<(Duration, Interval)>,
    /// Until it is left behind, and why that is.
    last: Option<(Interval, Error)>,
}

impl Patience {
    fn new(limit: Option<Duration>) -> Self {
        // An interval has to have a length.
        let ticks = |limit: Duration| (limit, run::ticks(limit.max(Duration::from_millis(1))));
        Self {
            limit: limit.map(ticks),
            last: None,
        }
    }

    /// It is to end now.
    fn end(&mut self, why: Error) {
        self.last.get_or_insert_with(|| (run::ticks(LAST), why));
    }

    /// Ready when it is to be left behind.
    async fn over(&mut self) {
        if let (None, Some((limit, ticks))) = (&self.last, &mut self.limit) {
            ticks.tick().await;
            let message = format!("not written after {} s", limit.as_secs_f32());
            self.end(Error::new(Kind::Network, message));
        }
        match &mut self.last {
            Some((ticks, _)) => {
                ticks.tick().await;
            }
            None => pending().await,
        }
    }
}

/// Hands the file on, and shows what happens meanwhile. What comes back is the exit code.
async fn pass(
    media: &Media,
    passage: Passage,
    mut patience: Patience,
    show: &mut Show,
    stopped: &mut Stopped,
) -> u8 {
    let wanted = show.wanted();
    let needed = |what: &What| matches!(what, What::Started { .. }) || run::outcome(what).is_some();
    let mut events = media
        .events()
        .only(move |what| wanted(what) || needed(what));
    show.begin(0);
    let mut draws = show.period().map(run::ticks);
    let (mut writing, mut written) = (writing(media, passage), None);
    let mut told = Told::new(passage);
    let waits = |written: &Option<Written>, told: &Told| match written {
        // All of a file is complete once it is verified, which is told; what was counted is exact once an end was.
        Some(Written::Whole(_)) => told.outcome.is_none(),
        other => other.is_none(),
    };
    while waits(&written, &told) {
        tokio::select! {
            // What was told before the last byte was written is heard before.
            biased;
            Some(event) = events.next() => told.hear(show, &event),
            ended = &mut writing, if written.is_none() => {
                let gone = |_gone| Written::Output(io::ErrorKind::Other.into());
                let ended = ended.unwrap_or_else(gone);
                if let (Written::Whole(_), 1..) = (&ended, passage.from) {
                    // Nobody wants the rest.
                    media.cancel();
                }
                written = Some(ended);
            }
            () = stopped.ask() => {
                media.cancel();
                patience.end(Error::new(Kind::Signal, "interrupted"));
            }
            // Its thread may sit in a write for ever: nothing that it holds outlives the process.
            () = patience.over() => written = Some(Written::Left),
            () = run::tick(&mut draws) => show.tick(&media.progress()),
        }
    }
    let outcome = match written.expect("it was waited for") {
        Written::Whole(bytes) if passage.from > 0 => Ok(told.of_part(media, bytes)),
        Written::Whole(_) => told.outcome.expect("it was waited for"),
        Written::Failed(error) => Err(error),
        Written::Left => {
            let own = patience.last.map(|(_, why)| why);
            let failed = told.outcome.and_then(Result::err).or(own);
            Err(failed.expect("it was to end"))
        }
        // Who reads has had enough, as in `tur stream URL | head`: there is nobody to tell.
        Written::Unread => return Kind::Local.exit_code(),
        Written::Output(error) => {
            show.error(&format!("standard output: {error}"));
            let full = error.kind() == io::ErrorKind::StorageFull;
            return if full { Kind::DiskFull } else { Kind::Local }.exit_code();
        }
    };
    show.end(0, &outcome);
    let failed = outcome.err().map(|error| error.kind().exit_code());
    failed.map_or(0, |failed| stopped.code.unwrap_or(failed))
}

/// What events have told of the outcome.
struct Told {
    path: PathBuf,
    url: String,
    outcome: Option<Result<Completed, Error>>,
}

impl Told {
    fn new(passage: Passage) -> Self {
        Self {
            path: passage.path(),
            url: String::new(),
            outcome: None,
        }
    }

    fn hear(&mut self, show: &mut Show, event: &Event) {
        if let What::Started { url } = &event.what {
            self.url.clone_from(url);
        }
        if let Some(mut outcome) = run::outcome(&event.what) {
            if let Ok(done) = &mut outcome {
                done.path.clone_from(&self.path);
            }
            self.outcome = Some(outcome);
        }
        show.event(0, event, String::new);
    }

    /// Of a part of a file there is no outcome: this is what was handed on.
    fn of_part(self, media: &Media, bytes: u64) -> Completed {
        let metrics = media.metrics();
        let count = |counted: u64| u32::try_from(counted).unwrap_or(u32::MAX);
        Completed {
            protocol: metrics.protocol().unwrap_or_default(),
            connections: count(metrics.connections()),
            lanes_max: metrics.lanes_max,
            requests: count(metrics.requests()),
            wasted_bytes: metrics.wasted_bytes,
            metrics,
            url: self.url,
            path: self.path,
            bytes,
            elapsed: media.progress().elapsed,
            ..Completed::default()
        }
    }
}

/// Writes on a thread of its own, because who reads may take any time.
fn writing(media: &Media, passage: Passage) -> oneshot::Receiver<Written> {
    let media = media.clone();
    let (tell, told) = oneshot::channel();
    let write = move || {
        let written = copy(&media, passage);
        // Before the word of it: whoever hears it may let the media go.
        drop(media);
        tell.send(written).ok();
    };
    // Without a thread nothing is told, which is heard.
    thread::Builder::new()
        .name("tur-output".to_owned())
        .spawn(write)
        .ok();
    told
}

fn copy(media: &Media, passage: Passage) -> Written {
    let output = match passage.nowhere {
        true => Ok(Box::new(io::sink()) as Box<dyn io::Write>),
        false => console::output().map(|output| Box::new(output) as Box<dyn io::Write>),
    };
    let mut output = match output {
        Ok(output) => output,
        Err(error) => return Written::Output(error),
    };
    let (mut piece, mut bytes, mut passed) = (vec![0; PIECE], 0, 0);
    let mut reader = media.reader();
    // An origin without ranges brings what stands before, too.
    media.passed(passage.from);
    if let Err(error) = reader.seek(SeekFrom::Start(passage.from)) {
        return Written::Output(error);
    }
    loop {
        let came = match reader.read(&mut piece) {
            Ok(0) => return Written::Whole(bytes),
            Ok(came) => came,
            Err(error) => return failed(error),
        };
        match output.write_all(&piece[..came]) {
            Ok(()) => bytes += came as u64,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Written::Unread,
            Err(error) => return Written::Output(error),
        }
        if bytes - passed >= PASSED_STEP {
            passed = bytes;
            media.passed(passage.from + bytes);
        }
    }
}

fn failed(error: io::Error) -> Written {
    let inside = error.get_ref().and_then(|e| e.downcast_ref::<ReadError>());
    match inside {
        Some(ReadError::Download(why)) => Written::Failed(why.clone()),
        _ => Written::Output(error),
    }
}
