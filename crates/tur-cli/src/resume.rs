//! `tur resume`: what stands unfinished is listed, or one of it gone on with.
//!
//! [`meant`] is all of it: a path becomes the arguments of a download that goes on with it. What is kept of one is its URL
//! and what the server said of the file, so that decides whether it is still the same; fields and credentials are not.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::json;
use tur_engine::{Downloader, Error, Kind, Unfinished};

use crate::args::{Args, Progress};
use crate::{console, human};

/// What the arguments come to.
pub(crate) enum Meant {
    /// A download, with the arguments that it would have been begun with.
    Download(Box<Args>),
    /// Everything was said; this is the exit code.
    Said(u8),
}

/// Lists what stands unfinished, or finds what belongs to a path.
pub(crate) fn meant(mut args: Args) -> Meant {
    if let Err(why) = check(&args) {
        console::say(&why);
        return Meant::Said(Kind::Usage.exit_code());
    }
    let Some(path) = args.urls.pop() else {
        return Meant::Said(list(&args).map_or_else(|error| failed(&error), |()| 0));
    };
    // It stands under the directory, as with -o.
    let path = args
        .dir
        .take()
        .map(PathBuf::from)
        .unwrap_or_default()
        .join(path);
    match Downloader::unfinished_file(&path) {
        Ok(found) => {
            args.urls = vec![found.url];
            args.output = Some(OsString::from(found.path));
            Meant::Download(Box::new(args))
        }
        Err(error) => Meant::Said(failed(&error)),
    }
}

/// Refuses what says again what the journal says, or something else.
fn check(args: &Args) -> Result<(), String> {
    for (given, what) in [
        (args.urls.len() > 1, "more than one PATH"),
        (args.output.is_some(), "-o"),
        (args.from.is_some(), "--from"),
        (!args.input_file.is_empty(), "-i"),
    ] {
        if given {
            return Err(format!(
                "tur resume goes on with one file, under its own name: {what} has no place there"
            ));
        }
    }
    match args.urls.first() {
        Some(url) if url.contains("://") => Err(
            "tur resume takes the path of a file: to go on with a URL, give it without 'resume'"
                .to_owned(),
        ),
        Some(path) if path.is_empty() => Err("tur resume: the path is empty".to_owned()),
        _ => Ok(()),
    }
}

fn failed(error: &Error) -> u8 {
    console::say(&error.to_string());
    error.kind().exit_code()
}

fn list(args: &Args) -> Result<(), Error> {
    let dir = args.dir.as_deref().map_or(Path::new("."), Path::new);
    let found = Downloader::unfinished(dir)?;
    let json = args.json || args.progress == Some(Progress::Json);
    for found in &found {
        console::put(&if json { object(found) } else { line(found) });
    }
    if found.is_empty() {
        console::say("nothing is unfinished there");
    }
    Ok(())
}

/// A line for people.
fn line(found: &Unfinished) -> String {
    let landed = human::bytes(found.landed);
    let of = match found.total {
        Some(total) => {
            let percent = human::percent(found.landed, total);
            format!("{percent:>3} %  {landed} of {}", human::bytes(total))
        }
        None => format!("  ? %  {landed}"),
    };
    let (path, url) = (path(found), shown(&found.url));
    tur_engine::printable(&format!("{of}  {}  {url}", path.display()))
}

/// A line for programs: keys are a promise, numbers are integers.
fn object(found: &Unfinished) -> String {
    json!({
        "path": path(found).to_string_lossy(),
        "url": shown(&found.url),
        "landed": found.landed,
        "total": found.total,
    })
    .to_string()
}

/// Without a directory that nobody has named.
fn path(found: &Unfinished) -> &Path {
    found.path.strip_prefix(".").unwrap_or(&found.path)
}

/// A URL without its query, which may be a signature.
fn shown(url: &str) -> String {
    match url.split_once('?') {
        Some((before, _)) => format!("{before}?…"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_path_share_bytes_and_url_but_no_query() {
        let found = |total| Unfinished {
            path: "./a b.iso".into(),
            url: "https://h/f?key=hunter2".to_owned(),
            landed: 3 << 20,
            total,
        };
        for (total, text) in [
            (
                Some(4 << 20),
                " 75 %  3.0 MiB of 4.0 MiB  a b.iso  https://h/f?…",
            ),
            (None, "  ? %  3.0 MiB  a b.iso  https://h/f?…"),
        ] {
            assert_eq!(line(&found(total)), text);
        }
        assert_eq!(
            object(&found(None)),
            r#"{"landed":3145728,"path":"a b.iso","total":null,"url":"https://h/f?…"}"#
        );
    }
}
