//! Caddy: HTTP/1.1, HTTP/2 and HTTP/3, and the hint from one to the other.
//!
//! Read [`Caddy`]; [`configuration`] is its configuration.
#![expect(
    clippy::disallowed_methods,
    reason = "it writes files for another program; nothing here is part of tur"
)]

use anyhow::Result;

use super::{Grounds, takes_connections};
use crate::interop::ports::{free, is_taken_for_udp};
use crate::interop::process::{Daemon, bound_to_us};

/// A Caddy that serves the documents.
#[derive(Debug)]
pub(in crate::interop) struct Caddy {
    daemon: Daemon,
    plain: u16,
    tls: u16,
}

impl Caddy {
    /// Starts it.
    ///
    /// # Errors
    /// It does not start.
    pub(in crate::interop) fn start(grounds: &Grounds<'_>) -> Result<Self> {
        let directory = grounds.directory.join("caddy");
        std::fs::create_dir_all(&directory)?;
        let [plain, tls] = free()?;
        let file = directory.join("Caddyfile");
        std::fs::write(&file, configuration(grounds, plain, tls))?;
        let programs = grounds.programs;
        let mut command = bound_to_us(&programs.setpriv, "TERM", &programs.caddy);
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(&file);
        // It keeps state where its user has a home; nobody's is touched.
        command
            .env("HOME", &directory)
            .env("XDG_DATA_HOME", &directory)
            .env("XDG_CONFIG_HOME", &directory);
        let is_ready =
            || takes_connections(plain) && takes_connections(tls) && is_taken_for_udp(tls);
        Ok(Self {
            daemon: Daemon::start("caddy", &mut command, grounds.directory, is_ready)?,
            plain,
            tls,
        })
    }

    /// Its process.
    pub(in crate::interop) const fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Its URL of a path, in clear text.
    pub(in crate::interop) fn plain(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.plain)
    }

    /// Its port for TLS, and for QUIC.
    pub(in crate::interop) const fn port(&self) -> u16 {
        self.tls
    }

    /// The same in TLS, and by QUIC.
    pub(in crate::interop) fn tls(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.tls)
    }
}

fn configuration(grounds: &Grounds<'_>, plain: u16, tls: u16) -> String {
    let server = &grounds.certificates.server;
    let serves = format!(
        "bind 127.0.0.1\n    root * {}\n    file_server",
        grounds.documents.display()
    );
    format!(
        "{{
    admin off
    auto_https off
}}
http://localhost:{plain} {{
    {serves}
}}
https://localhost:{tls} {{
    tls {} {}
    {serves}
}}
",
        server.certificate.display(),
        server.key.display(),
    )
}
