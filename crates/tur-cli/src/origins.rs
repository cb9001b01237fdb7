//! `tur origins`: what is remembered of servers, shown or forgotten.
//!
//! [`Origins`] is what was typed; [`run`] does it. Where the memory is kept is decided by [`file()`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use tur_engine::{Challenge, Downloader, Error, OriginRecord, printable};

use crate::console;
use crate::human;

/// Arguments of `tur origins`.
#[derive(Args)]
pub(crate) struct Origins {
    #[command(subcommand)]
    what: Option<What>,
}

/// What is to be done; without a word they are listed.
#[derive(Subcommand)]
enum What {
    /// Lists what a download that begins now would be told, the latest origin first
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Forgets one origin, a host, or all
    Forget {
        /// A URL, of which only scheme, host and port count, or a host, or HOST:PORT
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        origin: Option<String>,
        /// Forget all of them
        #[arg(long)]
        all: bool,
    },
}

/// Does what was typed. What comes back is the exit code.
pub(crate) fn run(origins: Origins, file: Option<PathBuf>) -> u8 {
    let what = origins.what.unwrap_or(What::List { json: false });
    match act(what, file) {
        Ok(()) => 0,
        Err(error) => {
            console::say(&error.to_string());
            error.kind().exit_code()
        }
    }
}

/// The file of the memory, by the rules of the XDG Base Directory Specification. `None` where no directory is known:
/// nothing is kept then.
pub(crate) fn file(state_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute =
        |text: Option<OsString>| text.map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute(state_home).or_else(|| Some(absolute(home)?.join(".local/state")))?;
    Some(state.join("tur").join("origins"))
}

fn act(what: What, file: Option<PathBuf>) -> Result<(), Error> {
    let memory = Downloader::builder().origin_memory(file).build()?;
    match what {
        What::List { json } => {
            let records = memory.origins()?;
            let lines = if json {
                records.iter().map(object).collect()
            } else {
                table(&records)
            };
            for line in &lines {
                console::put(line);
            }
            if lines.is_empty() {
                console::say("no origin is remembered");
            }
        }
        What::Forget { origin, .. } => {
            let count = memory.forget_origins(origin.as_deref())?;
            console::say(&match count {
                1 => "1 origin is forgotten".to_owned(),
                n => format!("{n} origins are forgotten"),
            });
        }
    }
    Ok(())
}

/// A line for programs: keys are a promise, numbers are integers.
fn object(record: &OriginRecord) -> String {
    json!({
        "origin": record.origin,
        "lanes": record.lanes,
        "lanes_limit": record.lanes_limit,
        "lane_rate": record.lane_rate.map(|rate| rate.bytes_per_second()),
        "rtt_us": record.rtt.map(micros),
        "handshake_us": record.handshake.map(micros),
        "ratio_milli": (record.ratio * 1_000.0).round() as u64,
        "window_bytes": record.window,
        "ranges": record.ranges,
        "age_s": record.age.as_secs(),
        "challenge": record.challenge.map(Challenge::as_str),
        "needs_authorization": record.needs_authorization,
        "needs_cookies": record.needs_cookies,
        "http3": record.http3.as_ref().map(|http3| &http3.alternative),
        "http3_paused": record.http3.as_ref().is_some_and(|http3| http3.paused),
    })
    .to_string()
}

const COLUMNS: usize = 10;
const HEADINGS: [&str; COLUMNS] = [
    "ORIGIN", "LANES", "LIMIT", "PER LANE", "RTT", "SET-UP", "RANGES", "RATIO", "NEEDS", "AGE",
];

/// Lines for people; none without records.
fn table(records: &[OriginRecord]) -> Vec<String> {
    if records.is_empty() {
        return Vec::new();
    }
    let heading = HEADINGS.map(str::to_owned);
    let rows: Vec<_> = [heading]
        .into_iter()
        .chain(records.iter().map(row))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| width(column).unwrap_or(0));
    rows.iter()
        .map(|row| {
            let mut line = format!("{:<1$}", row[0], widths[0]);
            for (cell, width) in row.iter().zip(widths).skip(1) {
                line.push_str(&format!("  {cell:>width$}"));
            }
            line
        })
        .collect()
}

fn row(record: &OriginRecord) -> [String; COLUMNS] {
    let unknown = || "-".to_owned();
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1_000.0);
    [
        printable(&record.origin),
        record.lanes.to_string(),
        record.lanes_limit.map_or_else(unknown, |n| n.to_string()),
        record.lane_rate.map_or_else(unknown, human::rate),
        record.rtt.map_or_else(unknown, ms),
        record.handshake.map_or_else(unknown, ms),
        record
            .ranges
            .map_or_else(unknown, |yes| if yes { "yes" } else { "no" }.to_owned()),
        format!("{:.2}", record.ratio),
        needs(record),
        human::time(record.age),
    ]
}

/// What stood in the way, and what helped.
fn needs(record: &OriginRecord) -> String {
    let words = [
        record.challenge.map(Challenge::as_str),
        record.needs_authorization.then_some("authorization"),
        record.needs_cookies.then_some("cookies"),
    ];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    if words.is_empty() {
        return "-".to_owned();
    }
    words.join(",")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_where_the_specification_says() {
        for (state, home, file) in [
            (Some("/s"), Some("/h"), Some("/s/tur/origins")),
            (None, Some("/h"), Some("/h/.local/state/tur/origins")),
            // A relative path is to be ignored, and an empty one is as good as none.
            (Some("s"), Some("/h"), Some("/h/.local/state/tur/origins")),
            (Some(""), Some("/h"), Some("/h/.local/state/tur/origins")),
            (None, Some(""), None),
            (Some("s"), Some("h"), None),
            (None, None, None),
        ] {
            let found = super::file(state.map(Into::into), home.map(Into::into));
            assert_eq!(found, file.map(PathBuf::from), "{state:?} {home:?}");
        }
    }
}
