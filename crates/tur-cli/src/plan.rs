//! What the arguments mean: values that were checked against each other, ready for the engine.
//!
//! [`Plan::new`] is the only way from [`Args`] to a [`Plan`]. It opens no file and reads no environment: what it needs
//! to know about the surroundings is handed to it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use tur_engine::{
    Checksum, OnChange, OnExists, Protocols, Rate, RetryPolicy, Schedule, SpeedFloor, StorageKind,
    TypeGlob, bounds,
};

use crate::args::{Args, Change, Exists, Plan as FirstPlan, Progress, Storage, Word};
use crate::batch::{Items, List, Session};
use crate::field::{self, Credentials, Field};
use crate::network::{Environment, Network};
#[cfg(feature = "serve")]
use crate::serve::Serving;
use crate::sign_in::SignIn;
use crate::stream::Passage;

/// Everything this run is to do.
pub(crate) struct Plan {
    /// What to download.
    pub(crate) items: Items,
    /// How: what holds for all of them.
    pub(crate) job: Job,
    /// A run of several, or of a list however short: it ends with a summary.
    pub(crate) several: bool,
    /// So many run at once.
    pub(crate) at_once: usize,
    /// Where what is left is kept.
    pub(crate) session: Option<Session>,
    /// How it is shown.
    pub(crate) show: Show,
    /// It goes to standard output, or nowhere.
    pub(crate) passage: Option<Passage>,
    /// It goes to players.
    #[cfg(feature = "serve")]
    pub(crate) serving: Option<Serving>,
}

/// How to download: the command line's word, which an item may overrule.
pub(crate) struct Job {
    /// `-o`, relative to the directory; for a single URL.
    pub(crate) file: Option<PathBuf>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) create_dirs: bool,
    pub(crate) remote_time: bool,
    pub(crate) on_exists: OnExists,
    pub(crate) on_change: OnChange,
    pub(crate) storage: StorageKind,
    /// For a single URL, too.
    pub(crate) checksum: Option<Checksum>,
    pub(crate) keep_bad: bool,
    pub(crate) decode: bool,
    /// Redirects may lead from https to http.
    pub(crate) downgrade: bool,
    pub(crate) demands: Demands,
    pub(crate) lanes: Option<u16>,
    pub(crate) start_lanes: Option<u16>,
    pub(crate) schedule: Schedule,
    /// Connections of the process, and to one origin.
    pub(crate) connections: Option<u16>,
    pub(crate) per_origin: Option<u16>,
    pub(crate) piece_min: Option<u64>,
    /// Most bytes per second, for the process and for the file.
    pub(crate) rate: Option<Rate>,
    pub(crate) rate_per_file: Option<Rate>,
    pub(crate) limits: Limits,
    /// Request fields, in the order of the command line.
    pub(crate) fields: Vec<Field>,
    pub(crate) credentials: Option<Credentials>,
    /// Read by who may read files.
    pub(crate) sign_in: SignIn,
    pub(crate) user_agent: Option<String>,
    pub(crate) protocols: Protocols,
    pub(crate) network: Network,
    /// Where the memory of origins is kept.
    pub(crate) origins: Option<PathBuf>,
}

/// What the origin and its answers have to be.
pub(crate) struct Demands {
    /// One of these, if there are any.
    pub(crate) types: Vec<TypeGlob>,
    pub(crate) length: bool,
    pub(crate) resume: bool,
    pub(crate) public: bool,
}

/// When to give up. `None` leaves the engine's default.
pub(crate) struct Limits {
    pub(crate) retry: RetryPolicy,
    pub(crate) connect: Option<Duration>,
    pub(crate) read: Option<Duration>,
    pub(crate) whole: Option<Duration>,
    pub(crate) speed: Option<SpeedFloor>,
}

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Show {
    pub(crate) face: Face,
    pub(crate) detail: Detail,
}

/// The picture of the progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    /// None; notes and the summary still come.
    Plain,
    /// A line now and then on standard error.
    Lines,
    /// A bar on standard error.
    Bar,
    /// Events on standard output.
    Json,
}

/// How much is said beside the picture. Each level says what those before it say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Detail {
    /// Errors.
    Quiet,
    /// Notes, retries, the summary.
    Normal,
    /// What was opened, and where each lane is.
    Lanes,
    /// Decisions.
    Decisions,
}

/// What the environment tells.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// Standard error is a terminal on which a line can be redrawn.
    pub(crate) can_draw: bool,
    /// Where the memory of origins belongs.
    pub(crate) origins: Option<PathBuf>,
    /// The current directory, if it has a name.
    pub(crate) here: Option<PathBuf>,
    /// What it says about proxies and the like.
    pub(crate) network: Environment,
}

impl Plan {
    /// Checks what was typed. `list` is what `-i` names.
    ///
    /// # Errors
    /// A sentence about the first thing that is wrong. It repeats no secret.
    pub(crate) fn new(
        mut args: Args,
        list: Option<List>,
        around: Surroundings,
    ) -> Result<Self, String> {
        let show = Show::new(&args, around.can_draw)?;
        let several = list.is_some() || args.urls.len() > 1;
        #[cfg(feature = "serve")]
        let serving = serving(&args)?;
        let passage = passage(&mut args, several)?;
        let origins = around.origins.filter(|_| !args.no_origin_memory);
        let urls = std::mem::take(&mut args.urls);
        if urls.is_empty() && list.is_none() {
            return Err("what to download? Give a URL, or -i LIST (see tur --help)".to_owned());
        }
        if args.keep_bad && args.checksum.is_none() && list.is_none() {
            return Err("--keep-bad needs a --checksum, or a list that may have some".to_owned());
        }
        for (flag, given, key) in [
            ("-o", args.output.is_some(), "out"),
            ("--checksum", args.checksum.is_some(), "checksum"),
        ] {
            if several && given {
                return Err(format!(
                    "{flag} is for one URL: in a list (-i) each has {key}=VALUE in a line below it"
                ));
            }
        }
        let session = args.save_session.take();
        let at_once = args.jobs.map_or(JOBS_DEFAULT, usize::from);
        let job = Job {
            origins,
            ..Job::new(args, &around.network)?
        };
        Ok(Self {
            session: session
                .map(|path| session_of(path, around.here, &job))
                .transpose()?,
            items: Items::new(urls, list),
            job,
            several,
            at_once,
            show,
            passage,
            #[cfg(feature = "serve")]
            serving,
        })
    }
}

/// Whether files go to players, and how.
#[cfg(feature = "serve")]
fn serving(args: &Args) -> Result<Option<Serving>, String> {
    if args.word != Word::Serve {
        return match args.idle {
            None => Ok(None),
            Some(_) => Err("--idle is for what goes to players: tur serve URL".to_owned()),
        };
    }
    let kept = args.output.is_some() || args.dir.is_some();
    let is_file = |name: &OsStr| name != "-" && name != NOWHERE;
    for (given, what) in [
        (
            !args.output.as_deref().is_none_or(is_file),
            "-o without a file",
        ),
        (args.from.is_some(), "--from"),
        (!args.input_file.is_empty(), "-i"),
        (args.jobs.is_some(), "-j"),
        (args.save_session.is_some(), "--save-session"),
        (args.keep_bad && !kept, "--keep-bad without -o or -d"),
    ] {
        if given {
            return Err(format!(
                "tur serve hands the files of its URLs to players: {what} has no place there"
            ));
        }
    }
    let idle = args.idle;
    Ok(Some(Serving { idle, kept }))
}

/// Whether the file only passes, to standard output or nowhere, and what of it.
fn passage(args: &mut Args, several: bool) -> Result<Option<Passage>, String> {
    let to_output = args.output.take_if(|name| name == "-").is_some();
    let nowhere = args.output.take_if(|name| name == NOWHERE).is_some();
    if args.word != Word::Stream && !to_output && !nowhere {
        return match args.from {
            None => Ok(None),
            Some(_) => Err("--from is for what goes to standard output: tur stream URL".to_owned()),
        };
    }
    for (given, what) in [
        (several, "more than one URL"),
        (args.output.is_some(), "-o FILE"),
        (args.save_session.is_some(), "--save-session"),
        (args.keep_bad, "--keep-bad"),
    ] {
        if given {
            return Err(format!(
                "tur stream, -o - and -o {NOWHERE} hand on one file and keep none: {what} has no place there"
            ));
        }
    }
    let from = args.from.unwrap_or(0);
    if from > 0 && args.checksum.is_some() {
        return Err(
            "--checksum is that of the whole file: with --from nothing would be verified"
                .to_owned(),
        );
    }
    Ok(Some(Passage { from, nowhere }))
}

fn session_of(path: PathBuf, here: Option<PathBuf>, job: &Job) -> Result<Session, String> {
    let here = here.ok_or("--save-session: the current directory has no name")?;
    Session::new(path, here, job.dir.as_deref())?.of_one(job.file.as_deref(), job.checksum.as_ref())
}

impl Job {
    fn new(args: Args, environment: &Environment) -> Result<Self, String> {
        let ceilings = [
            ("-x", args.lanes),
            ("--max-per-origin", args.max_per_origin),
            ("--max-connections", args.max_connections),
        ];
        for (flag, most) in ceilings {
            if let (Some(start), Some(most)) = (args.start_lanes, most)
                && start > most
            {
                return Err(format!("-s {start} is more than {flag} {most} allows"));
            }
        }
        Ok(Self {
            file: args.output.as_deref().map(target).transpose()?,
            dir: args.dir.as_deref().map(directory).transpose()?,
            create_dirs: args.create_dirs,
            remote_time: !args.no_remote_time,
            on_exists: args.exists.map_or(OnExists::ByName, on_exists),
            on_change: args.on_change.map_or(OnChange::Restart, on_change),
            storage: args.storage.map_or(StorageKind::Auto, storage),
            checksum: args.checksum.as_deref().map(checksum).transpose()?,
            keep_bad: args.keep_bad,
            decode: args.decode,
            downgrade: args.allow_downgrade,
            demands: Demands::new(&args)?,
            // Who starts with more lanes than there would be by default wants them.
            lanes: args
                .lanes
                .or(args.start_lanes.filter(|start| *start > LANES_DEFAULT)),
            start_lanes: args.start_lanes,
            schedule: args.schedule.map_or_else(Schedule::default, schedule),
            connections: args.max_connections,
            per_origin: args.max_per_origin,
            piece_min: args.piece_min,
            rate: args.limit_rate,
            rate_per_file: args.limit_rate_per_file,
            fields: fields(&args)?,
            credentials: args
                .credentials
                .as_deref()
                .map(|text| Credentials::parse(text).map_err(|why| format!("-u: {why}")))
                .transpose()?,
            protocols: protocols(&args),
            sign_in: SignIn::default(),
            user_agent: args.user_agent.as_deref().map(user_agent).transpose()?,
            limits: Limits::new(&args),
            network: Network::new(args.network, environment)?,
            origins: None,
        })
    }
}

impl Demands {
    fn new(args: &Args) -> Result<Self, String> {
        let glob = |text: &String| {
            let read = text.parse::<TypeGlob>();
            read.map_err(|why| format!("--accept-type {text:?}: {why}"))
        };
        Ok(Self {
            types: args
                .accept_type
                .iter()
                .map(glob)
                .collect::<Result<_, _>>()?,
            length: args.require_length,
            resume: args.require_resume,
            public: args.no_private,
        })
    }
}

impl Limits {
    fn new(args: &Args) -> Self {
        let default = RetryPolicy::default();
        Self {
            retry: RetryPolicy {
                retries: args.retry.unwrap_or(default.retries),
                wait_max: args.max_wait.unwrap_or(default.wait_max),
                ..default
            },
            connect: args.connect_timeout,
            read: args.read_timeout,
            whole: args.max_time,
            speed: args.speed_limit.map(|rate| SpeedFloor {
                rate,
                over: args.speed_time.unwrap_or(SPEED_TIME_DEFAULT),
            }),
        }
    }
}

impl Show {
    fn new(args: &Args, can_draw: bool) -> Result<Self, String> {
        let asked = match (args.json, args.progress) {
            (true, None | Some(Progress::Json)) => Progress::Json,
            (true, Some(_)) => {
                return Err("--json and --progress ask for different things".to_owned());
            }
            (false, asked) => asked.unwrap_or(Progress::Auto),
        };
        let face = match asked {
            Progress::Json => Face::Json,
            Progress::None => Face::Plain,
            Progress::Line | Progress::Bar if args.quiet => {
                return Err("-q and --progress ask for different things".to_owned());
            }
            Progress::Auto if args.quiet => Face::Plain,
            Progress::Line => Face::Lines,
            // Without a terminal there is nothing to draw on.
            Progress::Auto | Progress::Bar if !can_draw => Face::Lines,
            Progress::Auto | Progress::Bar => Face::Bar,
        };
        let detail = match args.verbose {
            _ if args.quiet => Detail::Quiet,
            0 => Detail::Normal,
            1 => Detail::Lanes,
            _ => Detail::Decisions,
        };
        Ok(Self { face, detail })
    }
}

fn target(text: &OsStr) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("-o: the name is empty".to_owned());
    }
    Ok(PathBuf::from(text))
}

fn directory(text: &OsStr) -> Result<PathBuf, String> {
    match text.is_empty() {
        true => Err("-d: the name is empty".to_owned()),
        false => Ok(PathBuf::from(text)),
    }
}

fn checksum(text: &str) -> Result<Checksum, String> {
    text.parse().map_err(|why| format!("--checksum: {why}"))
}

fn protocols(args: &Args) -> Protocols {
    #[cfg(feature = "http3")]
    if args.http3 {
        return Protocols::Http3;
    }
    match (args.http1, args.http2) {
        (true, _) => Protocols::Http1,
        (false, true) => Protocols::Http2,
        (false, false) => Protocols::Auto,
    }
}

fn user_agent(text: &str) -> Result<String, String> {
    match field::line(text) {
        None => Err("-U: the value has a control character".to_owned()),
        Some("") => Err("-U: the value is empty".to_owned()),
        Some(text) => Ok(text.to_owned()),
    }
}

/// `-H` as often as it was given, and `-e`.
fn fields(args: &Args) -> Result<Vec<Field>, String> {
    let typed = args
        .headers
        .iter()
        .map(|text| Field::parse(text).map_err(|why| format!("-H: {why}")));
    let referer = args
        .referer
        .iter()
        .map(|url| Field::of("Referer", url).map_err(|why| format!("-e: {why}")));
    typed.chain(referer).collect()
}

const fn on_exists(typed: Exists) -> OnExists {
    match typed {
        Exists::Rename => OnExists::Rename,
        Exists::Refuse => OnExists::Refuse,
        Exists::Overwrite => OnExists::Overwrite,
        Exists::Skip => OnExists::Skip,
    }
}

const fn storage(typed: Storage) -> StorageKind {
    match typed {
        Storage::Auto => StorageKind::Auto,
        Storage::Pwrite => StorageKind::Pwrite,
        Storage::Mmap => StorageKind::Mmap,
    }
}

const fn schedule(typed: FirstPlan) -> Schedule {
    match typed {
        FirstPlan::Equal => Schedule::Equal,
        FirstPlan::Fibonacci => Schedule::Fibonacci,
        FirstPlan::Adaptive => Schedule::Adaptive,
    }
}

const fn on_change(typed: Change) -> OnChange {
    match typed {
        Change::Restart => OnChange::Restart,
        Change::Fail => OnChange::Fail,
    }
}

/// The target that is none, on any system: what comes is verified and discarded.
pub(crate) const NOWHERE: &str = "/dev/null";

/// Files at once without `-j`.
const JOBS_DEFAULT: usize = 4;

/// The engine's ceiling of lanes without `-x`.
const LANES_DEFAULT: u16 = bounds::LANES_DEFAULT;

/// `--speed-time` if only `--speed-limit` is given.
const SPEED_TIME_DEFAULT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
