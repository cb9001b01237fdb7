//! An nginx that says where else it is spoken to by HTTP/3, and can be ended while that place stays.
//!
//! Read [`Hinting`].
#![expect(
    clippy::disallowed_methods,
    reason = "it writes files for another program; nothing here is part of tur"
)]

use std::path::PathBuf;

use anyhow::Result;

use super::{Grounds, nginx, takes_connections};
use crate::interop::ports::free;
use crate::interop::process::Daemon;

/// HTTP/2 over TCP on a port of its own, slow enough for QUIC to be worth it once both were measured.
#[derive(Debug)]
pub(in crate::interop) struct Hinting {
    /// `None` while it is ended.
    daemon: Option<Daemon>,
    port: u16,
    directory: PathBuf,
}

impl Hinting {
    /// Starts one that names a port of UDP.
    ///
    /// # Errors
    /// It does not start.
    pub(in crate::interop) fn start(grounds: &Grounds<'_>, named: u16) -> Result<Self> {
        let directory = grounds.directory.join(format!("hinting-{named}"));
        std::fs::create_dir_all(&directory)?;
        let [port] = free()?;
        let server = &grounds.certificates.server;
        let (beginning, documents) = (nginx::beginning(&directory), grounds.documents.display());
        let configuration = format!(
            "{beginning}    access_log off;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {}; ssl_certificate_key {};
        root {documents};
        limit_rate 8m;
        add_header Alt-Svc 'h3=\":{named}\"; ma=86400';
    }}
}}
",
            server.certificate.display(),
            server.key.display(),
        );
        std::fs::write(directory.join("nginx.conf"), configuration)?;
        let mut hinting = Self {
            daemon: None,
            port,
            directory,
        };
        hinting.again(grounds)?;
        Ok(hinting)
    }

    /// Nobody answers over TCP any more.
    pub(in crate::interop) fn end(&mut self) {
        self.daemon = None;
    }

    /// Starts it again, on the same port.
    ///
    /// # Errors
    /// It does not start.
    pub(in crate::interop) fn again(&mut self, grounds: &Grounds<'_>) -> Result<()> {
        let mut command = nginx::command(grounds, &self.directory);
        let is_ready = || takes_connections(self.port);
        let daemon = Daemon::start("hinting", &mut command, &self.directory, is_ready)?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Its URL of a path.
    pub(in crate::interop) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }
}
