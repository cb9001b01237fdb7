//! `cargo xtask replay FILE`: runs a recorded world again and says where it differs.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use tur_sim::Trace;

/// Replays a recording, as `cargo xtask sim --seed K` prints it.
pub(crate) fn run(file: &Path) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the file is named by the caller")]
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut trace = Trace::on();
    let replayed = tur_sim::replay(&text, &mut trace);
    let (verdict, divergence) = replayed.map_err(|error| anyhow!(error))?;
    match &verdict {
        Ok(()) => println!("{} lines; every promise is kept", trace.lines().len()),
        Err(violation) => println!("{} lines, then: {violation}", trace.lines().len()),
    }
    let Some(found) = divergence else {
        println!("the same as recorded");
        return Ok(());
    };
    let shown = |line: Option<String>| line.unwrap_or_else(|| "(nothing more)".into());
    bail!(
        "differs at line {}\n  recorded: {}\n  now:      {}",
        found.line,
        shown(found.recorded),
        shown(found.replayed)
    );
}
