//! What is printed: a row for each check.
//!
//! Read [`Row`].

use std::fmt;
use std::time::Duration;

use super::field::Done;

/// One check and how it ended.
pub(super) struct Row {
    pub(super) server: &'static str,
    pub(super) what: &'static str,
    pub(super) took: Duration,
    pub(super) verdict: Verdict,
}

/// How a check ended.
pub(super) enum Verdict {
    Held(Found),
    /// It cannot be made with this program, which is said.
    NotRun(String),
    Failed(String),
}

/// What a check found that held.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What the program said of the download; nothing of one that was to be refused.
    pub(super) done: Option<Done>,
    /// What else was seen.
    pub(super) note: String,
}

impl Found {
    /// A right file.
    pub(super) fn right(done: Done) -> Self {
        Self::noted(done, "")
    }

    /// A right file, and something to say about it.
    pub(super) fn noted(done: Done, note: impl Into<String>) -> Self {
        Self {
            done: Some(done),
            note: note.into(),
        }
    }

    /// No file, as it has to be.
    pub(super) fn none(note: impl Into<String>) -> Self {
        Self {
            done: None,
            note: note.into(),
        }
    }
}

/// What stands above the rows.
pub(super) const HEADER: &str = "\
| server | check | protocol | connections | requests | wasted | sha256 | s | seen |
|---|---|---|---|---|---|---|---|---|";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} | {} | ", self.server, self.what)?;
        let seconds = self.took.as_secs_f64();
        match &self.verdict {
            Verdict::Held(Found {
                done: Some(done),
                note,
            }) => write!(
                f,
                "{} | {} | {} | {} | right | {seconds:.1} | {note} |",
                done.protocol, done.connections, done.requests, done.wasted
            ),
            Verdict::Held(Found { done: None, note }) => {
                write!(f, "– | – | – | – | no file | {seconds:.1} | {note} |")
            }
            Verdict::NotRun(why) => write!(f, "– | – | – | – | – | – | NOT RUN: {why} |"),
            Verdict::Failed(why) => {
                let line = why.lines().next().unwrap_or_default();
                write!(f, "– | – | – | – | – | {seconds:.1} | FAILED: {line} |")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_every_column() {
        let done = Done {
            protocol: "h2".to_owned(),
            connections: 2,
            requests: 9,
            wasted: 7,
            resumed: 0,
        };
        let verdicts = [
            Verdict::Held(Found::right(done)),
            Verdict::Held(Found::none("exit 6")),
            Verdict::NotRun("no --http3".to_owned()),
            Verdict::Failed("WRONG BYTES: 1\nand more".to_owned()),
        ];
        let shown = verdicts.map(|verdict| {
            let row = Row {
                server: "nginx",
                what: "a file",
                took: Duration::from_millis(1_250),
                verdict,
            };
            row.to_string()
        });
        assert_eq!(
            shown[0],
            "| nginx | a file | h2 | 2 | 9 | 7 | right | 1.2 |  |"
        );
        assert!(shown[2].contains("NOT RUN: no --http3"));
        assert!(shown[3].contains("FAILED: WRONG BYTES: 1 |"));
        let columns = |text: &str| text.matches('|').count();
        let header = HEADER.lines().next().unwrap_or_default();
        assert!(shown.iter().all(|row| columns(row) == columns(header)));
    }
}
