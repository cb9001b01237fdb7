//! The origin, in a process of its own: this binary once more.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use tur_testkit::Loopback;

use crate::faults;

/// Set in the process that serves.
const ASKED: &str = "SOAK_SOURCE";
/// What it says before its address.
const WORD: &str = "origin at ";
/// Paths of each kind.
const PATHS: u32 = 1_000;

/// A running origin. Dropping it ends its process.
pub(crate) struct Source {
    child: Child,
    base: String,
    /// Kept open: it has a last line to say.
    _said: BufReader<ChildStdout>,
}

impl Source {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["--exact", "source", "--nocapture"])
            .env(ASKED, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process can be started");
        let said = child.stdout.take().expect("it was piped");
        let mut said = BufReader::new(said);
        let base = said
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once(WORD)?.1.trim().to_owned()));
        Self {
            child,
            base: base.expect("it says where it is"),
            _said: said,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.child.stdin.take());
        let ended = self.child.wait();
        assert!(ended.is_ok() || std::thread::panicking(), "{ended:?}");
    }
}

/// Serves until the input ends, in the process that was started for it.
pub(crate) fn serve_if_asked() {
    if std::env::var_os(ASKED).is_none() {
        return;
    }
    let both = (0..PATHS).flat_map(|number| [(number, true), (number, false)]);
    let paths =
        both.map(|(number, calm)| (faults::path(number, calm), faults::behaviour(number, calm)));
    let origin = Loopback::start(paths);
    println!("{WORD}{}", origin.url(""));
    let mut rest = Vec::new();
    let ended = std::io::stdin().read_to_end(&mut rest);
    assert!(ended.is_ok());
}
