//! Who takes part in a case, and how each program is told.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cases::{Case, SINGLE};

/// The programs that are here.
pub(super) struct Programs {
    pub(super) tur: PathBuf,
    /// Another build of tur.
    pub(super) beside: Option<PathBuf>,
    pub(super) absent: Vec<&'static str>,
}

/// One row of a table.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) how: How,
}

/// What is run.
#[derive(Clone)]
pub(super) enum How {
    Tur {
        program: PathBuf,
        options: Vec<&'static str>,
        visit: Visit,
    },
    Aria2c(Vec<&'static str>),
    Curl(Vec<&'static str>),
    /// Not a program: sockets that are read and forgotten, an equal part of the file on each.
    Bare(u64),
}

/// What tur knows of the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    /// Nothing: its state directory is empty.
    Cold,
    /// What one complete download from it has left in the state directory.
    Second,
}

impl Programs {
    /// The rows of a case, tur first.
    pub(super) fn entries(&self, case: &Case) -> Vec<Entry> {
        let told = &case.told;
        let entry = |name: &str, how| Entry {
            name: name.to_owned(),
            how,
        };
        let tur = |program: &Path, options: &[&'static str], visit| How::Tur {
            program: program.to_owned(),
            options: options.to_vec(),
            visit,
        };
        let mut entries = Vec::new();
        let builds = [
            ("tur", Some(&self.tur)),
            ("other tur", self.beside.as_ref()),
        ];
        for (name, program) in builds {
            let Some(program) = program else { continue };
            entries.push(entry(
                &format!("{name}, cold"),
                tur(program, &told.tur, Visit::Cold),
            ));
            if told.again {
                entries.push(entry(
                    &format!("{name}, second visit"),
                    tur(program, &told.tur, Visit::Second),
                ));
            }
        }
        if told.single {
            entries.push(entry(SINGLE, tur(&self.tur, &["-x", "1"], Visit::Cold)));
        }
        entries.push(entry("aria2c", How::Aria2c(told.aria2c.clone())));
        entries.push(entry("curl", How::Curl(told.curl.clone())));
        entries.extend(told.bare.map(|n| entry("bare sockets", How::Bare(n))));
        entries.retain(|entry| !self.absent.contains(&entry.name.as_str()));
        entries
    }
}

impl Entry {
    /// How often tur was here before; `None` for other programs.
    pub(super) fn visit(&self) -> Option<Visit> {
        match self.how {
            How::Tur { visit, .. } => Some(visit),
            _ => None,
        }
    }
}

impl How {
    /// The command for a download of `url` to `file`.
    ///
    /// # Panics
    /// For bare sockets, which are no program.
    pub(super) fn command(&self, url: &str, file: &Path) -> Command {
        let (program, options) = match self {
            How::Tur {
                program, options, ..
            } => (program.as_path(), options),
            How::Aria2c(options) => (Path::new("aria2c"), options),
            How::Curl(options) => (Path::new("curl"), options),
            How::Bare(_) => unreachable!("bare sockets are no program"),
        };
        let mut command = Command::new(program);
        command.args(self.common()).args(options);
        if let How::Aria2c(_) = self {
            command.arg("-d").args(file.parent());
            command.arg("-o").args(file.file_name());
        } else {
            command.arg("-o").arg(file);
        }
        command.arg(url);
        command
    }

    /// The options in words.
    pub(super) fn words(&self) -> String {
        match self {
            How::Bare(n) => format!("{n} connections, read and forgotten"),
            How::Tur { options, .. } | How::Aria2c(options) | How::Curl(options) => {
                [self.common(), options].concat().join(" ")
            }
        }
    }

    fn common(&self) -> &'static [&'static str] {
        match self {
            How::Tur { .. } => &["-q"],
            How::Aria2c(_) => &[
                "--quiet",
                "--no-conf",
                "--no-proxy=*",
                "--file-allocation=none",
            ],
            How::Curl(_) => &["-q", "--silent", "--show-error", "--fail", "--noproxy", "*"],
            How::Bare(_) => &[],
        }
    }
}
