//! Who asks: tokens, netrc files and cookies, as they are typed and read.
//!
//! [`Typed`] are the flags, [`SignIn::read`] reads the files that they name. No sentence here repeats what a file holds.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgAction, Args};
use tur_engine::{CookieFile, Download, Netrc, Secret};

use crate::bounds::SIGN_IN_FILE_BYTES;
use crate::field::{Credentials, line};

/// The flags.
#[derive(Args)]
pub(crate) struct Typed {
    /// Answer a challenge of Digest with -u, and never send the password itself
    #[arg(long, requires = "credentials", help_heading = REQUEST)]
    digest: bool,

    /// Send this token to the first origin; '@FILE' reads it from a file, which nobody else sees
    #[arg(long, value_name = "TOKEN|@FILE", conflicts_with_all = ["credentials", "digest"], help_heading = REQUEST)]
    bearer: Option<String>,

    /// Look for user name and password of the host in ~/.netrc, if neither the URL nor -u has them
    #[arg(short = 'n', long, help_heading = REQUEST)]
    netrc: bool,

    /// The same, in FILE
    #[arg(long, value_name = "FILE", help_heading = REQUEST)]
    netrc_file: Option<PathBuf>,

    /// Send cookies: NAME=VALUE; NAME=VALUE to the first origin, or those of FILE (as browsers export them) to whom they
    /// are for (repeatable)
    #[arg(short = 'b', long = "cookie", value_name = "DATA|FILE", action = ArgAction::Append, help_heading = REQUEST)]
    cookies: Vec<String>,

    /// Send the cookies of FILE, whatever its name (repeatable)
    #[arg(long = "cookie-file", value_name = "FILE", action = ArgAction::Append, help_heading = REQUEST)]
    cookie_files: Vec<PathBuf>,

    /// DANGEROUS: send -H, -e, -u and --bearer to every server that a redirect leads to; each of them can then act in
    /// your name
    #[arg(long, help_heading = REQUEST)]
    headers_all_origins: bool,
}

/// What they mean. No `Debug`: it holds secrets.
#[derive(Default)]
pub(crate) struct SignIn {
    digest: bool,
    bearer: Option<Secret>,
    netrc: Option<Arc<Netrc>>,
    cookies: Vec<Secret>,
    cookie_files: Vec<Arc<CookieFile>>,
    all_origins: bool,
}

impl SignIn {
    /// Reads the files that are named; `home` is where `.netrc` is looked for. Also what is worth a warning.
    ///
    /// # Errors
    /// A sentence that says what is wrong, with the flag.
    pub(crate) fn read(
        typed: &Typed,
        home: Option<OsString>,
    ) -> Result<(Self, Vec<String>), String> {
        let mut warnings = Vec::new();
        let mut read = Self {
            digest: typed.digest,
            bearer: typed.bearer.as_deref().map(token).transpose()?,
            netrc: netrc(typed, home, &mut warnings)?,
            all_origins: typed.headers_all_origins,
            ..Self::default()
        };
        for text in &typed.cookies {
            // As curl has it: what has an equals sign is no file.
            if text.contains('=') {
                let text = line(text).ok_or("-b: a cookie has a control character")?;
                read.cookies.push(text.into());
            } else {
                read.cookie_files.push(cookie_file("-b", Path::new(text))?);
            }
        }
        for path in &typed.cookie_files {
            read.cookie_files.push(cookie_file("--cookie-file", path)?);
        }
        Ok((read, warnings))
    }

    /// A download that shows all of this, and the credentials of the command line.
    pub(crate) fn show(&self, mut download: Download, given: Option<&Credentials>) -> Download {
        if let Some(Credentials { user, password }) = given.cloned() {
            download = match self.digest {
                true => download.digest(user, password),
                false => download.basic_auth(user, password),
            };
        }
        if let Some(token) = &self.bearer {
            download = download.bearer(token.clone());
        }
        if let Some(netrc) = &self.netrc {
            download = download.netrc(Arc::clone(netrc));
        }
        for text in &self.cookies {
            download = download.cookies(text.clone());
        }
        for file in &self.cookie_files {
            download = download.cookie_file(Arc::clone(file));
        }
        download.fields_for_all_origins(self.all_origins)
    }
}

/// A token (RFC 6750, section 2.1), or that of a file.
fn token(text: &str) -> Result<Secret, String> {
    let from_file = text
        .strip_prefix('@')
        .map(|name| file("--bearer", Path::new(name)))
        .transpose()?;
    let text = match &from_file {
        Some(read) => str::from_utf8(read.expose()).map_err(|_| "--bearer: it is not UTF-8")?,
        None => text,
    };
    let text = text.trim();
    let is_token = |c: char| c.is_ascii_graphic();
    if text.is_empty() || !text.chars().all(is_token) {
        return Err("--bearer: a token has visible ASCII characters and no spaces".to_owned());
    }
    Ok(text.into())
}

fn netrc(
    typed: &Typed,
    home: Option<OsString>,
    warnings: &mut Vec<String>,
) -> Result<Option<Arc<Netrc>>, String> {
    let (flag, path) = match (&typed.netrc_file, typed.netrc) {
        (Some(path), _) => ("--netrc-file", path.clone()),
        (None, true) => {
            let home = home.ok_or("-n: HOME is not set; use --netrc-file")?;
            let path = PathBuf::from(home).join(".netrc");
            if !path.exists() {
                warnings.push(format!("-n: there is no {}", path.display()));
                return Ok(None);
            }
            ("-n", path)
        }
        (None, false) => return Ok(None),
    };
    if others_can_read(&path) {
        warnings.push(format!(
            "{flag}: others can read {}; chmod 600 keeps it to you",
            path.display()
        ));
    }
    parsed(flag, &path, Netrc::parse).map(Some)
}

fn cookie_file(flag: &str, path: &Path) -> Result<Arc<CookieFile>, String> {
    parsed(flag, path, CookieFile::parse)
}

/// What the text of a file says.
fn parsed<T, E: fmt::Display>(
    flag: &str,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Arc<T>, String> {
    let text = file(flag, path)?;
    let wrong = |why: String| format!("{flag} {}: {why}", path.display());
    let text = str::from_utf8(text.expose()).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
    let read = parse(text).map_err(|error| wrong(error.to_string()))?;
    Ok(Arc::new(read))
}

#[cfg(unix)]
#[expect(
    clippy::disallowed_methods,
    reason = "a file of the user's own that was named, and no download"
)]
fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn others_can_read(_path: &Path) -> bool {
    false
}

/// The bytes of a file, bounded.
fn file(flag: &str, path: &Path) -> Result<Secret, String> {
    let wrong = |why: String| format!("{flag} {}: {why}", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SIGN_IN_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| wrong(error.to_string()))?;
    let bytes = Secret::from(bytes);
    if bytes.expose().len() as u64 > SIGN_IN_FILE_BYTES {
        return Err(wrong(format!(
            "it has more than {SIGN_IN_FILE_BYTES} bytes"
        )));
    }
    Ok(bytes)
}

const REQUEST: &str = "Request";
