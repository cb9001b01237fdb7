//! Proxies: tinyproxy for HTTP, microsocks for SOCKS5.
//!
//! Read [`Tinyproxy`] and [`Microsocks`]. Both say whom they connected to, by the name they were told.
#![expect(
    clippy::disallowed_methods,
    reason = "it writes files for other programs; nothing here is part of tur"
)]

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::{Grounds, takes_connections};
use crate::interop::certificates::HIDDEN;
use crate::interop::ports::free;
use crate::interop::process::{Daemon, bound_to_us};

/// Who may use what is locked.
pub(in crate::interop) const USER: &str = "visitor";

/// Their password.
pub(in crate::interop) const PASSWORD: &str = "letmein42";

/// An HTTP proxy that wants name and password.
#[derive(Debug)]
pub(in crate::interop) struct Tinyproxy {
    daemon: Daemon,
    port: u16,
}

impl Tinyproxy {
    pub(super) fn start(grounds: &Grounds<'_>) -> Result<Self> {
        let [port] = free()?;
        let file = grounds.directory.join("tinyproxy.conf");
        std::fs::write(&file, tinyproxy_configuration(port))?;
        let programs = grounds.programs;
        let mut command = bound_to_us(&programs.setpriv, "TERM", &programs.tinyproxy);
        command.arg("-d").arg("-c").arg(&file);
        let is_ready = || takes_connections(port);
        Ok(Self {
            daemon: Daemon::start("tinyproxy", &mut command, grounds.directory, is_ready)?,
            port,
        })
    }

    pub(super) const fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Its URL, with this password of [`USER`].
    pub(in crate::interop) fn url(&self, password: &str) -> String {
        format!("http://{USER}:{password}@127.0.0.1:{}", self.port)
    }

    /// The requests it has had so far, a line each.
    pub(in crate::interop) fn requests(&self) -> Vec<String> {
        requests(&self.daemon.said())
    }
}

fn tinyproxy_configuration(port: u16) -> String {
    format!(
        "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 64\nLogLevel Info\nBasicAuth {USER} {PASSWORD}\n"
    )
}

/// Its lines about requests: `CONNECT   … Request (file descriptor 4): GET http://… HTTP/1.1`.
fn requests(log: &str) -> Vec<String> {
    let after = log.lines().filter_map(|line| line.split_once("): "));
    after
        .filter(|(before, _)| before.contains("Request (file descriptor "))
        .map(|(_, request)| request.to_owned())
        .collect()
}

/// A SOCKS5 proxy.
#[derive(Debug)]
pub(in crate::interop) struct Microsocks {
    daemon: Daemon,
    port: u16,
    /// True if it knows [`HIDDEN`], which nobody else does.
    knows_hidden: bool,
}

impl Microsocks {
    /// One that takes anybody. Where the system lets us, it has names of its own (`/etc/hosts` in a mount namespace).
    pub(super) fn open(grounds: &Grounds<'_>) -> Result<Self> {
        let [port] = free()?;
        let hosts = grounds.directory.join("hosts");
        std::fs::write(&hosts, format!("127.0.0.1 localhost {HIDDEN}\n"))?;
        let unshare = &grounds.programs.unshare;
        let ways = [&["--mount"][..], &["--user", "--map-root-user", "--mount"]];
        let way = ways.into_iter().find(|way| can_hide(unshare, way, &hosts));
        let bound = bound_to_us(
            &grounds.programs.setpriv,
            "TERM",
            &grounds.programs.microsocks,
        );
        let mut command = match way {
            None => bound,
            Some(way) => {
                let mut command = Command::new(unshare);
                command
                    .args(way)
                    .args(["sh", "-c", COVER_HOSTS])
                    .arg(&hosts);
                command.arg(bound.get_program()).args(bound.get_args());
                command
            }
        };
        Self::start(grounds, "microsocks", port, &mut command, way.is_some())
    }

    /// One that wants name and password.
    pub(super) fn locked(grounds: &Grounds<'_>) -> Result<Self> {
        let [port] = free()?;
        let mut command = bound_to_us(
            &grounds.programs.setpriv,
            "TERM",
            &grounds.programs.microsocks,
        );
        command.args(["-u", USER, "-P", PASSWORD]);
        Self::start(
            grounds,
            "microsocks with password",
            port,
            &mut command,
            false,
        )
    }

    fn start(
        grounds: &Grounds<'_>,
        name: &'static str,
        port: u16,
        command: &mut Command,
        knows_hidden: bool,
    ) -> Result<Self> {
        command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
        let is_ready = || takes_connections(port);
        Ok(Self {
            daemon: Daemon::start(name, command, grounds.directory, is_ready)?,
            port,
            knows_hidden,
        })
    }

    pub(super) const fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Its URL, with what stands before the host.
    pub(in crate::interop) fn url(&self, scheme: &str, userinfo: &str) -> String {
        format!("{scheme}://{userinfo}127.0.0.1:{}", self.port)
    }

    /// True if it knows a name that nobody else knows.
    pub(in crate::interop) const fn knows_hidden(&self) -> bool {
        self.knows_hidden
    }

    /// Whom it connected to so far, as it was told: a name, or an address.
    pub(in crate::interop) fn destinations(&self) -> Vec<String> {
        destinations(&self.daemon.said())
    }
}

/// Puts a file over `/etc/hosts`, for what is run then and for nobody else.
const COVER_HOSTS: &str = r#"mount --bind "$0" /etc/hosts && exec "$@""#;

fn can_hide(unshare: &Path, way: &[&str], hosts: &Path) -> bool {
    let mut command = Command::new(unshare);
    command.args(way).args(["sh", "-c", COVER_HOSTS]).arg(hosts);
    command.args(["grep", "-q", HIDDEN, "/etc/hosts"]);
    let status = command.stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Its lines: `client[4] 127.0.0.1: connected to localhost:8080`.
fn destinations(log: &str) -> Vec<String> {
    let after = log
        .lines()
        .filter_map(|line| line.split_once(": connected to "));
    after.map(|(_, whom)| whom.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_to_tinyproxy_are_told_from_its_other_lines() {
        let log = "NOTICE    Nov 21 15:00:00 [7]: Initializing tinyproxy ...\n\
            CONNECT   Nov 21 15:00:01 [7]: Connect (file descriptor 3): 127.0.0.1\n\
            CONNECT   Nov 21 15:00:01 [7]: Request (file descriptor 3): GET http://127.0.0.1:1/a HTTP/1.1\n\
            CONNECT   Nov 21 15:00:01 [7]: Established connection to host \"127.0.0.1\" using file descriptor 4.\n\
            CONNECT   Nov 21 15:00:01 [7]: Request (file descriptor 3): CONNECT 127.0.0.1:2 HTTP/1.1\n";
        let expected = [
            "GET http://127.0.0.1:1/a HTTP/1.1",
            "CONNECT 127.0.0.1:2 HTTP/1.1",
        ];
        assert_eq!(requests(log), expected);
    }

    #[test]
    fn destinations_of_microsocks_are_as_it_was_told() {
        let log = "client[4] 127.0.0.1: connected to localhost:8080\nanything else\n\
            client[5] 127.0.0.1: connected to 127.0.0.1:8080\n";
        assert_eq!(destinations(log), ["localhost:8080", "127.0.0.1:8080"]);
        assert!(destinations("").is_empty());
    }
}
