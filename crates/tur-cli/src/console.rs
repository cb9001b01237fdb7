//! Standard output and standard error, for lines that nobody has to read.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use tur_engine::{is_hidden, printable};

/// Writes one line for people to standard error: `tur: …`, with everything escaped that acts on a terminal.
pub(crate) fn say(text: &str) {
    unread(writeln!(io::stderr().lock(), "{}", spoken(text)));
}

/// What [`say`] writes.
pub(crate) fn spoken(text: &str) -> String {
    format!("tur: {}", printable(text))
}

/// Writes one line for programs to standard output, with everything escaped that acts on a terminal. To standard error,
/// where the other one is for a file.
pub(crate) fn put(line: &str) {
    if OUTPUT_IS_TAKEN.load(Ordering::Relaxed) {
        return unread(writeln!(io::stderr().lock(), "{}", inert(line)));
    }
    let mut stdout = io::stdout().lock();
    unread(writeln!(stdout, "{}", inert(line)).and_then(|()| stdout.flush()));
}

/// Standard output is for a file from now on.
pub(crate) fn keep_output_free() {
    OUTPUT_IS_TAKEN.store(true, Ordering::Relaxed);
}

static OUTPUT_IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Standard output for bytes as they are, without the buffer that looks for lines in them.
#[cfg(unix)]
pub(crate) fn output() -> io::Result<impl io::Write + Send> {
    use std::os::fd::AsFd as _;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    Ok(std::fs::File::from(output))
}

/// Standard output for bytes as they are.
#[cfg(not(unix))]
pub(crate) fn output() -> io::Result<impl io::Write + Send> {
    Ok(io::stdout())
}

/// What [`put`] writes: each hidden character as JSON has it in a string (RFC 8259, section 7), which is the only place
/// where one can stand in what serde has written. It escapes C0 controls alone.
pub(crate) fn inert(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A reader who went away, or a full disk behind a log, does not make a download fail: the file and the exit code
/// are its result.
fn unread(result: io::Result<()>) {
    result.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every string of one and of two bytes, and many of three, as text: as UTF-8 where they are, and byte by byte.
    fn short() -> impl Iterator<Item = String> {
        let byte = || 0..=u8::MAX;
        let pairs = byte().flat_map(move |a| byte().map(move |b| vec![a, b]));
        let triples = (0..40_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 8).to_be_bytes()[1..].to_vec());
        let bytes = byte().map(|a| vec![a]).chain(pairs).chain(triples);
        bytes.flat_map(|bytes| {
            let lossy = String::from_utf8_lossy(&bytes).into_owned();
            [lossy, bytes.iter().map(|byte| char::from(*byte)).collect()]
        })
    }

    #[test]
    fn no_short_text_acts() {
        for text in short() {
            for line in [spoken(&text), inert(&text)] {
                assert!(!line.contains(is_hidden), "{text:?}: {line:?}");
                assert!(!line.contains(char::is_control), "{text:?}: {line:?}");
            }
        }
    }

    #[test]
    fn json_stays_what_it_was() {
        for text in short().chain(["\u{e0041}\u{202e}\u{1f980}".to_owned()]) {
            let line = inert(&serde_json::json!({ "a": text }).to_string());
            let read: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
            assert_eq!(read["a"], text.as_str());
        }
    }
}
