//! The testkit's origin as a process of its own.
//!
//! [`Origin`] is how it is started, [`run`] what that process does.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tur_testkit::{Behaviour, Loopback, Setup, Speaks, Tls};

use crate::interop::field::FILE;
use crate::interop::process::{Daemon, bound_to_us, read};
use crate::interop::servers::Grounds;

/// What the process is told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Bytes of the file.
    size: u64,
    /// Where it writes the port, and behind it the authority in PEM.
    card: PathBuf,
    /// HTTP/3 alone, instead of HTTP/1.1 and HTTP/2.
    #[arg(long)]
    quic: bool,
}

/// Serves until it is ended.
///
/// # Errors
/// The card cannot be written.
pub(crate) fn run(options: &Options) -> Result<()> {
    let setup = Setup {
        tls: Some(Tls::default()),
        speaks: if options.quic {
            Speaks::H3
        } else {
            Speaks::Both
        },
        ..Setup::default()
    };
    let origin = Loopback::start_with(setup, [(FILE, Behaviour::new(options.size))]);
    let pem = origin.ca_pem().context("an origin over TLS")?;
    let unfinished = options.card.with_extension("new");
    std::fs::write(&unfinished, format!("{}\n{pem}", origin.port()))?;
    std::fs::rename(&unfinished, &options.card)?;
    loop {
        std::thread::park();
    }
}

/// A running origin.
pub(super) struct Origin {
    daemon: Daemon,
    port: u16,
    authority: PathBuf,
}

impl Origin {
    /// Starts this program again as one.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn start(grounds: &Grounds<'_>, size: u64, quic: bool) -> Result<Self> {
        let name = if quic { "testkit-quic" } else { "testkit" };
        let card = grounds.directory.join(format!("{name}.card"));
        let mut command = bound_to_us(&grounds.programs.setpriv, "TERM", &std::env::current_exe()?);
        command
            .args(["bench", "origin", &size.to_string()])
            .arg(&card);
        command.args(quic.then_some("--quic"));
        let is_ready = || card.exists();
        let daemon = Daemon::start(name, &mut command, grounds.directory, is_ready)?;
        let text = read(&card);
        let Some((port, pem)) = text.split_once('\n') else {
            bail!("{name} said {text:?}");
        };
        let authority = grounds.directory.join(format!("{name}.pem"));
        std::fs::write(&authority, pem)?;
        let port = port.parse()?;
        ensure!(port > 0, "no port");
        Ok(Self {
            daemon,
            port,
            authority,
        })
    }

    pub(super) const fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Who vouches for it.
    pub(super) fn authority(&self) -> &Path {
        &self.authority
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }
}
