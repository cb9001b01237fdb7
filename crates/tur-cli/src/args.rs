//! Arguments as they are typed: names, syntax and `--help`.
//!
//! [`Args`] is what clap fills in; what it means is decided in [`crate::plan`]. Values that may be secret are plain
//! text here: clap would repeat them in its error messages.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use tur_engine::Rate;

use crate::help;
use crate::network::NetworkArgs;
use crate::origins::Origins;
use crate::quantity;
use crate::sign_in::Typed;

/// Arguments as typed. No `Debug`: some are secret.
#[derive(Parser)]
#[command(
    name = "tur",
    version,
    about = "Downloads files over several connections, and goes on where it stopped.",
    override_usage = help::usage(),
    after_help = help::after(),
    args_override_self = true,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// What to download: http or https URLs
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,

    /// Download what LIST has, after the URLs that are given here; - is standard input. The format is below
    #[arg(short, long, value_name = "LIST", action = ArgAction::Append, help_heading = FILES)]
    pub(crate) input_file: Vec<PathBuf>,

    /// Download N files at once, 1 to 256 [default: 4]
    #[arg(short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = FILES)]
    pub(crate) jobs: Option<u16>,

    /// Keep in FILE what is not finished, as a list for -i; empty when nothing is left. It has no flags,
    /// and so no -H, -u and -e, nor a password of a URL that is typed here: give them again
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    pub(crate) save_session: Option<PathBuf>,

    /// Save as FILE; a relative one stands under -d; - is 'tur stream', /dev/null discards [default: the name that the server or the URL gives]
    #[arg(short, value_name = "FILE", help_heading = FILES)]
    pub(crate) output: Option<OsString>,

    /// With 'tur stream': begin at byte N of the file; without --checksum, which is of all of it [default: 0]
    #[arg(long, value_name = "N", value_parser = quantity::position, help_heading = FILES)]
    pub(crate) from: Option<u64>,

    /// With 'tur serve': end when nobody was served for SECS [default: never]
    #[cfg(feature = "serve")]
    #[arg(long, value_name = "SECS", value_parser = quantity::some_seconds, help_heading = FILES)]
    pub(crate) idle: Option<Duration>,

    /// What stood in front.
    #[arg(skip)]
    pub(crate) word: Word,

    /// Save in DIR, which is made if it is missing [default: the current directory]
    #[arg(short, value_name = "DIR", help_heading = FILES)]
    pub(crate) dir: Option<OsString>,

    /// If another file has that name: rename, refuse, overwrite or skip [default: refuse with -o, else rename, to NAME.1 and so on]
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true, help_heading = FILES)]
    pub(crate) exists: Option<Exists>,

    /// Make the missing directories of -o FILE
    #[arg(long, help_heading = FILES)]
    pub(crate) create_dirs: bool,

    /// Leave the time of the file alone [default: set it to Last-Modified]
    #[arg(long, help_heading = FILES)]
    pub(crate) no_remote_time: bool,

    /// Store with system calls (pwrite) or through mapped windows (mmap) where the file system bears it; auto is pwrite
    /// everywhere [default: auto]
    #[arg(long, value_name = "HOW", value_enum, hide_possible_values = true, help_heading = FILES)]
    pub(crate) storage: Option<Storage>,

    /// Require this digest; ALG is sha256, sha512, sha1, md5 or blake3
    #[arg(long, value_name = "ALG:HEX", help_heading = FILES)]
    pub(crate) checksum: Option<String>,

    /// If the file changes on the server: restart (once) or fail [default: restart]
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true, help_heading = FILES)]
    pub(crate) on_change: Option<Change>,

    /// If the digest does not match, keep the file as NAME.bad [default: leave nothing]
    #[arg(long, help_heading = FILES)]
    pub(crate) keep_bad: bool,

    /// If the server sends the file coded (gzip, deflate) though asked not to, decode it; it then comes over one
    /// connection, cannot be resumed, and --checksum is that of the decoded file [default: keep it as it comes]
    #[arg(long, help_heading = FILES)]
    pub(crate) decode: bool,

    /// Fail unless the server's type of the file matches GLOB, such as image/* (repeatable: one of them has to); a file
    /// without a type is application/octet-stream
    #[arg(long, value_name = "GLOB", action = ArgAction::Append, help_heading = DEMANDS)]
    pub(crate) accept_type: Vec<String>,

    /// Fail if only the end of the connection would tell the end of the file [default: say so]
    #[arg(long, help_heading = DEMANDS)]
    pub(crate) require_length: bool,

    /// Fail if the download could not be resumed after a stop: no ranges or no length; what an earlier run has kept
    /// stays
    #[arg(long, help_heading = DEMANDS)]
    pub(crate) require_resume: bool,

    /// Connect to public addresses alone: not to this machine, private networks, link-local or other special addresses;
    /// checked for each connection and redirect, after the name is resolved
    #[arg(long, help_heading = DEMANDS)]
    pub(crate) no_private: bool,

    /// Use N connections at most, 1 to 256; how many of them work is measured [default: 32]
    #[arg(short = 'x', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = SPEED)]
    pub(crate) lanes: Option<u16>,

    /// Start with N connections at once, 1 to 256, and use at least so many if -x is not given [default: by measurement]
    #[arg(short = 's', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = SPEED)]
    pub(crate) start_lanes: Option<u16>,

    /// Divide the file at first into equal pieces, pieces that grow from the front (fibonacci), or pieces as unequal as the
    /// server's connections were (adaptive) [default: equal]
    #[arg(long, value_name = "PLAN", value_enum, hide_possible_values = true, help_heading = SPEED)]
    pub(crate) schedule: Option<Plan>,

    /// Have N connections open at most, over all servers; fewer while memory or open files are short [default: 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = SPEED)]
    pub(crate) max_connections: Option<u16>,

    /// Have N connections to one server open at most, whatever -x says [default: 32, or what -x says if that is more]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = SPEED)]
    pub(crate) max_per_origin: Option<u16>,

    /// Neither read nor write what was learned of servers
    #[arg(long, help_heading = SPEED)]
    pub(crate) no_origin_memory: bool,

    /// Never split into pieces below SIZE [default: by time]
    #[arg(short = 'k', value_name = "SIZE", value_parser = quantity::size, help_heading = SPEED)]
    pub(crate) piece_min: Option<u64>,

    /// Take RATE bytes per second at most, all connections and downloads together [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = quantity::rate, help_heading = SPEED)]
    pub(crate) limit_rate: Option<Rate>,

    /// Take RATE bytes per second at most for each file [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = quantity::rate, help_heading = SPEED)]
    pub(crate) limit_rate_per_file: Option<Rate>,

    /// Fail if the whole download is slower than RATE bytes per second for --speed-time
    #[arg(long, value_name = "RATE", value_parser = quantity::rate, help_heading = PATIENCE)]
    pub(crate) speed_limit: Option<Rate>,

    /// How long it may be slower than --speed-limit [default: 30]
    #[arg(
        long, value_name = "SECS", value_parser = quantity::some_seconds, requires = "speed_limit",
        help_heading = PATIENCE
    )]
    pub(crate) speed_time: Option<Duration>,

    /// Retry N times after a first try, counted anew after each progress; 0 for none [default: 5]
    #[arg(long, value_name = "N", help_heading = PATIENCE)]
    pub(crate) retry: Option<u32>,

    /// Give up connecting (TLS included) after SECS [default: 10]
    #[arg(long, value_name = "SECS", value_parser = quantity::some_seconds, help_heading = PATIENCE)]
    pub(crate) connect_timeout: Option<Duration>,

    /// Give up an attempt that brings nothing for SECS [default: 30]
    #[arg(long, value_name = "SECS", value_parser = quantity::some_seconds, help_heading = PATIENCE)]
    pub(crate) read_timeout: Option<Duration>,

    /// Fail after SECS, for each file; what has landed is kept [default: none]
    #[arg(long, value_name = "SECS", value_parser = quantity::some_seconds, help_heading = PATIENCE)]
    pub(crate) max_time: Option<Duration>,

    /// Fail if the server asks to wait longer than SECS before a retry [default: 60]
    #[arg(long, value_name = "SECS", value_parser = quantity::seconds, help_heading = PATIENCE)]
    pub(crate) max_wait: Option<Duration>,

    /// Follow redirects from https to http: anyone on the way can then read and change the file
    #[arg(long, help_heading = REQUEST)]
    pub(crate) allow_downgrade: bool,

    /// Send this field to the first origin (of each URL), in place of our own; 'Name;' sends it empty, '@FILE' sends the lines of a file,
    /// which nobody else sees (repeatable)
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE|@FILE", action = ArgAction::Append, help_heading = REQUEST)]
    pub(crate) headers: Vec<String>,

    /// Send this User-Agent [default: tur/VERSION]
    #[arg(short = 'U', long, value_name = "TEXT", help_heading = REQUEST)]
    pub(crate) user_agent: Option<String>,

    /// Send this Referer, to the first origin
    #[arg(short = 'e', long, value_name = "URL", help_heading = REQUEST)]
    pub(crate) referer: Option<String>,

    /// User name and password for the first origin; other users of the machine may see them while tur runs, as they may see
    /// a URL and -H: '-H @FILE' hides them
    #[arg(short = 'u', value_name = "USER:PASS", help_heading = REQUEST)]
    pub(crate) credentials: Option<String>,

    /// Speak HTTP/1.1 alone [default: HTTP/2 where TLS agrees to it, else HTTP/1.1; HTTP/3 where it is offered and brings more]
    #[arg(long = "http1.1", help_heading = REQUEST)]
    pub(crate) http1: bool,

    /// Speak HTTP/2 alone, to http: URLs without asking whether they understand it; fail where it is not spoken
    #[arg(long, conflicts_with = "http1", help_heading = REQUEST)]
    pub(crate) http2: bool,

    /// Speak HTTP/3 alone, over QUIC, to https: URLs; fail where it is not spoken, UDP is blocked or a proxy is in use
    #[cfg(feature = "http3")]
    #[arg(long, conflicts_with_all = ["http1", "http2"], help_heading = REQUEST)]
    pub(crate) http3: bool,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    #[command(flatten)]
    pub(crate) sign_in: Typed,

    /// Say nothing but errors
    #[arg(short, help_heading = OUTPUT)]
    pub(crate) quiet: bool,

    /// Say more: -v shows lanes (connections) and where they are, -vv decisions too
    #[arg(short, action = ArgAction::Count, conflicts_with = "quiet", help_heading = OUTPUT)]
    pub(crate) verbose: u8,

    /// Write events to standard output, one JSON object a line; the same as --progress json
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,

    /// How progress is shown: auto, none, line, bar or json; auto is a bar on a terminal and a line each 2 s
    /// elsewhere [default: auto]
    #[arg(long, value_name = "HOW", value_enum, hide_possible_values = true, help_heading = OUTPUT)]
    pub(crate) progress: Option<Progress>,

    /// Accepted, as curl and wget have it: tur always goes on where it stopped, if it can
    #[arg(short = 'c', help_heading = OUTPUT)]
    pub(crate) go_on: bool,

    /// Accepted, as curl has it: tur always follows redirects
    #[arg(short = 'L', help_heading = OUTPUT)]
    pub(crate) location: bool,
}

/// A word in place of a URL. No URL is one: those begin with their scheme.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Shows or forgets what was learned of servers
    Origins(Origins),
}

/// What a word in front of the flags of a download asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Word {
    /// There is none.
    #[default]
    Download,
    /// Standard output.
    Stream,
    /// Players.
    #[cfg(feature = "serve")]
    Serve,
}

/// What happens if the target exists.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Exists {
    /// Save beside it, as NAME.1 and so on.
    Rename,
    /// Fail.
    Refuse,
    /// Replace it once the download is complete.
    Overwrite,
    /// Do nothing.
    Skip,
}

/// How bytes come into a file.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Storage {
    /// What is best here.
    Auto,
    /// By system calls.
    Pwrite,
    /// Through mapped windows.
    Mmap,
}

/// How the work is divided at first.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Plan {
    /// Equal shares.
    Equal,
    /// 1, 2, 3, 5, 8 MiB and so on.
    Fibonacci,
    /// A ramp.
    Adaptive,
}

/// What happens if the file changes on the server.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Change {
    /// Start again from zero, once.
    Restart,
    /// Fail.
    Fail,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// A bar on a terminal, lines elsewhere.
    Auto,
    /// Not at all.
    None,
    /// A line each two seconds.
    Line,
    /// A bar.
    Bar,
    /// Events on standard output.
    Json,
}

const FILES: &str = "Files";
const DEMANDS: &str = "Demands";
const SPEED: &str = "Speed";
const PATIENCE: &str = "Patience";
const REQUEST: &str = "Request";
const OUTPUT: &str = "Output";

/// Takes one of `commands` out of a command line, if it is one of them that stands in place of the first URL or flag: no URL
/// is such a word.
pub(crate) fn take_word(words: &mut Vec<OsString>, commands: &[&'static str]) -> &'static str {
    let first = words.get(1);
    let command = commands
        .iter()
        .find(|command| first.is_some_and(|word| word == **command));
    match command {
        Some(command) => {
            words.remove(1);
            command
        }
        None => "",
    }
}

/// What clap says about wrong arguments, as one line for people. Its tips would repeat a value after `=`, which may be a
/// secret, and so would it repeat a URL that stands where something else was to stand.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty() && !line.starts_with("tip:"))
        .collect();
    let said = without_userinfo(&said.join(" "));
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    format!("{said} (see tur --help)")
}

/// `text` with what stands before an `@` in the authority of each URL in it left out.
fn without_userinfo(text: &str) -> String {
    let mut parts = text.split("://");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['/', '\\', '?', '#', ' ', '\'']);
        let (authority, rest) = part.split_at(end.unwrap_or(part.len()));
        let host = authority.rsplit('@').next().unwrap_or_default();
        kept.extend(["://", host, rest]);
    }
    kept
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(args: &[&str]) -> Result<Args, String> {
        let words = ["tur"].iter().chain(args);
        Args::try_parse_from(words).map_err(|error| one_line(&error))
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn values_may_touch_their_flags() {
        let args = parse(&[
            "-x4",
            "-s2",
            "-k256K",
            "-oa.bin",
            "--speed-limit",
            "1K",
            "-cL",
            "-vv",
            "u",
        ])
        .unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((args.lanes, args.start_lanes), (Some(4), Some(2)));
        assert_eq!(args.piece_min, Some(256 << 10));
        assert_eq!(args.speed_limit, Some(Rate::per_second(1_024)));
        assert_eq!(args.output.as_deref(), Some("a.bin".as_ref()));
        assert_eq!(args.verbose, 2);
        assert_eq!(args.urls, ["u"]);
    }

    #[test]
    fn the_last_of_a_flag_wins_and_headers_add_up() {
        let args = parse(&["-x4", "-x", "8", "-H", "A: b", "-H", "C: d", "u", "v"])
            .unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(args.lanes, Some(8));
        assert_eq!(args.headers, ["A: b", "C: d"]);
        assert_eq!(args.urls, ["u", "v"]);
    }

    #[test]
    fn origins_is_a_command_only_in_place_of_a_url() {
        let is_command = |args: &[&str]| {
            let args = parse(args).unwrap_or_else(|why| panic!("{why}"));
            (args.command.is_some(), args.urls)
        };
        let none = Vec::<String>::new;
        for args in [
            &["origins"][..],
            &["origins", "list"],
            &["origins", "list", "--json"],
            &["origins", "forget", "a.example"],
            &["origins", "forget", "--all"],
        ] {
            assert_eq!(is_command(args), (true, none()), "{args:?}");
        }
        for (args, urls) in [
            (&["--", "origins"][..], &["origins"][..]),
            (&["-x4", "origins"], &["origins"]),
            (&["-o", "origins", "u"], &["u"]),
            (&["-d", "origins", "u"], &["u"]),
            (&["u", "origins"], &["u", "origins"]),
            (&["help"], &["help"]),
        ] {
            let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
            assert_eq!(is_command(args), (false, urls), "{args:?}");
        }
        for (args, part) in [
            (&["origins", "forget"][..], "ORIGIN"),
            (&["origins", "forget", "a", "--all"], "--all"),
            (&["origins", "lisst"], "lisst"),
            (&["origins", "--no-origin-memory"], "--no-origin-memory"),
        ] {
            let said = parse(args).map(drop).expect_err("malformed");
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (args, part) in [
            (&["--nope", "u"][..], "'--nope'"),
            (&["-x", "0", "u"], "1..=256"),
            (&["-x", "257", "u"], "1..=256"),
            (&["-x", "many", "u"], "'many'"),
            (&["-k", "1.5M", "u"], "256K"),
            (&["--retry", "-1", "u"], "'-1'"),
            (&["--read-timeout", "0", "u"], "more than 0"),
            (&["--exists", "guess", "u"], "overwrite"),
            (&["--storage", "tape", "u"], "pwrite"),
            (&["--speed-time", "3", "u"], "--speed-limit"),
            (&["--limit-rate", "0", "u"], "more than 0"),
            (&["--limit-rate-per-file", "0K", "u"], "more than 0"),
            (&["--limit-rate", "fast", "u"], "256K"),
            (&["-q", "-v", "u"], "cannot be used with"),
            (&["-4", "-6", "u"], "cannot be used with"),
            (&["--key", "k", "u"], "--cert"),
            (&["--hsts", "x", "u"], "'--hsts'"),
            (&["--digest", "u"], "-u"),
            (&["--bearer", "x", "-u", "a:b", "u"], "cannot be used with"),
        ] {
            let said = parse(args).map(drop).expect_err("malformed");
            assert!(said.contains(part), "{said}");
            assert!(said.ends_with(" (see tur --help)"), "{said}");
            assert!(!said.contains('\n') && !said.starts_with("error"), "{said}");
        }
    }

    #[test]
    fn no_secret_is_repeated() {
        for args in [
            &["--token=hunter2", "u"][..],
            &["--bearer=hunter2", "--digest", "u"],
            &["--bearer", "hunter2", "-q", "-v"],
            &["-b", "a=hunter2", "-x0", "u"],
            &["--user=me:hunter2", "u"],
            &["--user", "me:hunter2", "-x0", "u"],
            &["--password=hunter2", "u"],
            &["-x", "http://me:hunter2@h/f"],
            &["-x", "https://hunter2@h/f?http://hunter2@g"],
            &["--exists", "http://me:hunter2@h"],
            &["--prxy", "http://me:hunter2@h", "u"],
            &["--tls-min", "http://me:hunter2@h"],
            &["origins", "http://me:hunter2@h/f"],
            &["origins", "list", "http://hunter2@h"],
        ] {
            let said = parse(args).map(drop).expect_err("malformed");
            assert!(!said.contains("hunter2"), "{said}");
        }
        assert_eq!(without_userinfo("a://u:p@b@c/d@e x"), "a://c/d@e x");
        assert_eq!(without_userinfo("no URL: a@b"), "no URL: a@b");
    }
}
