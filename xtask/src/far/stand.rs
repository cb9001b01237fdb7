//! The origin that is a long way off, and one run of a program against it.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tur_core::ByteRange;
use tur_testkit::{Behaviour, Distance, Loopback, Setup, Speaks, Tls, Way, content};

use super::Measured;
use super::peers::{Peer, Task};
use crate::program::Cpu;

/// What is served.
#[derive(Clone, Copy)]
pub(super) struct Files {
    pub(super) count: u64,
    /// Bytes of each.
    pub(super) size: u64,
}

/// An origin, and the way to it.
pub(super) struct Stand {
    pub(super) files: Files,
    origin: Loopback,
    distance: Distance,
    own: TempDir,
}

impl Stand {
    pub(super) fn start(files: Files, way: Way) -> Result<Self> {
        let setup = Setup {
            tls: Some(Tls::default()),
            speaks: Speaks::Both,
            ..Setup::default()
        };
        let file = |n| (format!("/{}", name(n)), behaviour(n, files.size));
        let origin = Loopback::start_with(setup, (0..files.count).map(file));
        let own = tempfile::tempdir()?;
        let pem = origin.ca_pem().context("an origin over TLS")?;
        std::fs::write(own.path().join(CA), pem)?;
        let server = ([127, 0, 0, 1], origin.port()).into();
        Ok(Self {
            files,
            distance: Distance::to(server, way)?,
            origin,
            own,
        })
    }

    /// The URL of a file, at the near end of the way.
    pub(super) fn url(&self, n: u64) -> String {
        format!("https://localhost:{}/{}", self.distance.port(), name(n))
    }

    /// The file with the authority that vouches for the origin.
    pub(super) fn authority(&self) -> std::path::PathBuf {
        self.own.path().join(CA)
    }

    /// Runs a program once, and compares what it leaves.
    pub(super) fn run(&self, peer: &Peer, task: &Task) -> Result<Measured> {
        let mut command = peer.command(task);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let counts = || (self.origin.connections(), self.origin.requests());
        let (before, cpu) = (counts(), Cpu::now());
        let start = Instant::now();
        let status = command.status().context("it cannot be started")?;
        let seconds = start.elapsed().as_secs_f64();
        ensure!(status.success(), "it ended with {status}");
        let cpu = Cpu::since(cpu).map_or(0.0, |cpu| cpu.program.as_secs_f64());
        let after = counts();
        self.compare(&task.dir)?;
        Ok(Measured {
            seconds,
            cpu,
            connections: after.0 - before.0,
            requests: after.1 - before.1,
        })
    }

    /// Every file is there, has every byte, and nothing else is there.
    fn compare(&self, dir: &Path) -> Result<()> {
        for n in 0..self.files.count {
            let file = dir.join(name(n));
            let found =
                std::fs::read(&file).with_context(|| format!("{} is missing", file.display()))?;
            let meant = content(version(n), ByteRange::new(0, self.files.size));
            ensure!(found == meant, "{} has wrong bytes", file.display());
        }
        let left = std::fs::read_dir(dir)?.count() as u64;
        ensure!(left == self.files.count, "{left} files are there");
        Ok(())
    }
}

/// The name of a file.
pub(super) fn name(n: u64) -> String {
    format!("f{n:05}.bin")
}

/// Neighbours differ, so that a file under another's name is found.
fn version(n: u64) -> u8 {
    u8::try_from(n % 97).expect("below 97")
}

fn behaviour(n: u64, size: u64) -> Behaviour {
    Behaviour::new(size).version(version(n))
}

/// The authority's file.
const CA: &str = "ca.pem";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_missing_or_wrong_is_found() {
        let way = Way {
            rtt: Duration::ZERO,
            rate: None,
        };
        let files = Files {
            count: 3,
            size: 1_000,
        };
        let stand = Stand::start(files, way).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for n in 0..3 {
            assert!(stand.compare(dir.path()).is_err(), "{n} of 3 are there");
            let bytes = content(version(n), ByteRange::new(0, 1_000));
            std::fs::write(dir.path().join(name(n)), bytes).unwrap();
        }
        stand.compare(dir.path()).unwrap();
        std::fs::copy(dir.path().join(name(0)), dir.path().join(name(1))).unwrap();
        assert!(stand.compare(dir.path()).is_err(), "another's bytes");
    }
}
