//! The servers of a run, each with a configuration of its own in the run's folder.
//!
//! Read [`Servers`]. All listen on 127.0.0.1 alone, on ports that the system gave.

mod caddy;
mod gtlsserver;
mod hinting;
mod nginx;
mod proxies;

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use anyhow::Result;

pub(super) use self::caddy::Caddy;
pub(super) use self::gtlsserver::Gtlsserver;
pub(super) use self::hinting::Hinting;
pub(super) use self::nginx::Nginx;
pub(super) use self::proxies::{Microsocks, PASSWORD, Tinyproxy, USER};
use super::certificates::Certificates;
use super::programs::Programs;

/// What every server needs to know.
pub(super) struct Grounds<'a> {
    pub(super) programs: &'a Programs,
    pub(super) certificates: &'a Certificates,
    /// What origins serve.
    pub(super) documents: &'a Path,
    /// Where configurations, logs and temporary files go.
    pub(super) directory: &'a Path,
    /// How much a server may have under way on a connection.
    pub(super) ahead: Ahead,
}

/// How much of an answer may be in a server's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// Little, so that what is ended in the middle is in the middle.
    Little,
    /// What the system gives.
    Usual,
}

/// All servers, running.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) nginx: Nginx,
    pub(super) caddy: Caddy,
    pub(super) gtlsserver: Gtlsserver,
    pub(super) tinyproxy: Tinyproxy,
    /// Takes anybody, and may know a name that nobody else does.
    pub(super) open_socks: Microsocks,
    /// Wants name and password.
    pub(super) locked_socks: Microsocks,
}

impl Servers {
    /// Starts them all. If one does not start, those that have are ended.
    ///
    /// # Errors
    /// A server does not start, however often it is tried; the error has what it said.
    pub(super) fn start(grounds: &Grounds<'_>) -> Result<Self> {
        Ok(Self {
            nginx: started(|| Nginx::start(grounds))?,
            caddy: started(|| Caddy::start(grounds))?,
            gtlsserver: started(|| Gtlsserver::start(grounds))?,
            tinyproxy: started(|| Tinyproxy::start(grounds))?,
            open_socks: started(|| Microsocks::open(grounds))?,
            locked_socks: started(|| Microsocks::locked(grounds))?,
        })
    }

    /// What each server has said so far, its last lines.
    pub(super) fn words(&self) -> String {
        let daemons = [
            (self.nginx.daemon(), self.nginx.log()),
            (self.caddy.daemon(), String::new()),
            (self.gtlsserver.daemon(), String::new()),
            (self.tinyproxy.daemon(), String::new()),
            (self.open_socks.daemon(), String::new()),
            (self.locked_socks.daemon(), String::new()),
        ];
        let all = daemons.iter().map(|(daemon, log)| {
            let said = daemon.said() + log;
            format!("-- {}\n{}", daemon.name(), last_lines(&said, LINES_SHOWN))
        });
        all.collect()
    }
}

/// Lines of a log that are shown after a failure.
const LINES_SHOWN: usize = 40;

/// How often a server is started: its ports were free when they were picked, and may not be by then.
const TRIES: usize = 3;

/// Starts a server, with other ports each time.
pub(super) fn started<T>(mut start: impl FnMut() -> Result<T>) -> Result<T> {
    let mut result = start();
    for _ in 1..TRIES {
        if result.is_ok() {
            break;
        }
        result = start();
    }
    result
}

/// True if somebody takes connections there.
fn takes_connections(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The last lines of a text, each ended.
fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines[from..]
        .iter()
        .map(|line| format!("{line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn a_server_whose_ports_are_lost_is_started_again_but_not_for_ever() {
        let count = |failures: usize| {
            let mut tries = 0;
            let result = started(|| {
                tries += 1;
                if tries <= failures {
                    bail!("try {tries}");
                }
                Ok(tries)
            });
            (result.ok(), tries)
        };
        assert_eq!(count(0), (Some(1), 1));
        assert_eq!(count(2), (Some(3), 3));
        assert_eq!(count(9), (None, TRIES));
    }

    #[test]
    fn the_last_lines_are_shown() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc\n");
        assert_eq!(last_lines("a", 2), "a\n");
        assert_eq!(last_lines("", 2), "");
    }
}
