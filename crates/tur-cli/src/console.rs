//! Standard output and standard error, for lines that nobody has to read.

use std::io::{self, Write as _};

use tur_engine::printable;

/// Writes one line for people to standard error: `tur: …`, with everything escaped that acts on a terminal.
pub(crate) fn say(text: &str) {
    unread(writeln!(io::stderr().lock(), "{}", spoken(text)));
}

/// What [`say`] writes.
pub(crate) fn spoken(text: &str) -> String {
    format!("tur: {}", printable(text))
}

/// Writes one line for programs to standard output.
pub(crate) fn put(line: &str) {
    let mut stdout = io::stdout().lock();
    unread(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
}

/// A reader who went away, or a full disk behind a log, does not make a download fail: the file and the exit code
/// are its result.
fn unread(result: io::Result<()>) {
    result.ok();
}
