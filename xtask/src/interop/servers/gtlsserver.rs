//! The example server of ngtcp2: HTTP/3 by another stack than Caddy's, from the same distribution.
//!
//! Read [`Gtlsserver`]. It sends whole files and knows no ranges, so it shows the protocol and not the division of work.

use anyhow::Result;

use super::Grounds;
use crate::interop::ports::{free, is_taken_for_udp};
use crate::interop::process::{Daemon, bound_to_us};

/// A server of ngtcp2 and nghttp3 that serves the documents.
#[derive(Debug)]
pub(in crate::interop) struct Gtlsserver {
    daemon: Daemon,
    port: u16,
}

impl Gtlsserver {
    pub(super) fn start(grounds: &Grounds<'_>) -> Result<Self> {
        let [port] = free()?;
        let (programs, pair) = (grounds.programs, &grounds.certificates.server);
        let mut command = bound_to_us(&programs.setpriv, "TERM", &programs.gtlsserver);
        command
            .arg("--quiet")
            .arg("--htdocs")
            .arg(grounds.documents);
        command.args(["127.0.0.1", &port.to_string()]);
        command.arg(&pair.key).arg(&pair.certificate);
        let is_ready = || is_taken_for_udp(port);
        Ok(Self {
            daemon: Daemon::start("gtlsserver", &mut command, grounds.directory, is_ready)?,
            port,
        })
    }

    pub(super) const fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Its URL of a path.
    pub(in crate::interop) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }
}
