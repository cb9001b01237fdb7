//! A run as a file: which world it was, and every line of it; and the same world run again beside it.
//!
//! Read [`recording`] and [`replay`]. The first lines say what is to be run; those that follow are a
//! [`Trace`](crate::Trace).

use crate::{Scenario, Trace, Violation, random, run, table};

const TITLE: &str = "# A run of tur-sim. `cargo xtask replay FILE` runs it again.";

/// Which world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// That of a seed.
    Random(u64),
    /// A row of the scoreboard, with a seed.
    Scene(String, u64),
}

impl Header {
    /// The world, and the seed to run it with.
    #[must_use]
    pub fn scenario(&self) -> Option<(Scenario, u64)> {
        match self {
            Header::Random(seed) => Some((random(*seed), *seed)),
            Header::Scene(name, seed) => {
                let scene = table::scoreboard()
                    .into_iter()
                    .find(|scene| scene.scenario.name == *name)?;
                Some((scene.scenario, *seed))
            }
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("world ")?.rsplitn(2, ' ');
        let seed = words.next()?.parse().ok()?;
        match words.next()? {
            "random" => Some(Header::Random(seed)),
            scene => Some(Header::Scene(
                scene.strip_prefix("scene ")?.to_owned(),
                seed,
            )),
        }
    }
}

impl core::fmt::Display for Header {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Header::Random(seed) => write!(f, "world random {seed}"),
            Header::Scene(name, seed) => write!(f, "world scene {name} {seed}"),
        }
    }
}

/// The file of a run.
#[must_use]
pub fn recording(header: &Header, trace: &Trace, violation: Option<&str>) -> String {
    let mut text = format!("{TITLE}\n{header}\n");
    for line in trace.lines() {
        // Messages may hold anything that an origin sent; a line is a line.
        text.push_str(&line.replace(['\n', '\r'], " "));
        text.push('\n');
    }
    if let Some(violation) = violation {
        text.push_str(&format!("# {}\n", violation.replace(['\n', '\r'], " ")));
    }
    text
}

/// Where a run differs from its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The line of the trace, from 1.
    pub line: usize,
    /// What stands in the file; nothing after its end.
    pub recorded: Option<String>,
    /// What happens now; nothing after the end.
    pub replayed: Option<String>,
}

/// What a file was replayed to.
pub type Replayed = (Result<(), Violation>, Option<Divergence>);

/// Runs the world of a file again and compares every line.
///
/// # Errors
/// The text is not a recording, or names a world that does not exist.
pub fn replay(text: &str, trace: &mut Trace) -> Result<Replayed, String> {
    let mut lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let header = lines.next().unwrap_or("");
    let header =
        Header::parse(header).ok_or_else(|| format!("not the head of a recording: {header}"))?;
    let (scenario, seed) = header
        .scenario()
        .ok_or_else(|| format!("no such world: {header}"))?;
    let result = run(&scenario, seed, trace).map(|_| ());
    let mut replayed = trace.lines().iter();
    for line in 1.. {
        let pair = (lines.next(), replayed.next());
        match pair {
            (None, None) => break,
            (Some(old), Some(new)) if old == new => {}
            (old, new) => {
                let divergence = Divergence {
                    line,
                    recorded: old.map(str::to_owned),
                    replayed: new.cloned(),
                };
                return Ok((result, Some(divergence)));
            }
        }
    }
    Ok((result, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_replays_and_a_changed_line_is_found() {
        let header = Header::Random(3);
        let (scenario, seed) = header.scenario().expect("every seed is a world");
        let mut trace = Trace::on();
        run(&scenario, seed, &mut trace).expect("a good run");
        let text = recording(&header, &trace, None);
        let (_, divergence) = replay(&text, &mut Trace::on()).expect("a recording");
        assert_eq!(divergence, None);
        let changed = text.replacen("start -> ", "start => ", 1);
        let (_, divergence) = replay(&changed, &mut Trace::on()).expect("a recording");
        assert_eq!(divergence.map(|found| found.line), Some(1));
        assert!(replay("world scene nowhere 1\n", &mut Trace::on()).is_err());
        assert!(replay("", &mut Trace::on()).is_err());
    }

    #[test]
    fn headers_read_back() {
        for header in [
            Header::Random(7),
            Header::Scene("one of 4 lanes 20x slower".into(), 2),
        ] {
            assert_eq!(Header::parse(&header.to_string()), Some(header));
        }
    }
}
