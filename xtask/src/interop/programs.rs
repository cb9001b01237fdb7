//! The programs that this machine needs for the checks, and the packages of Debian that have them.
//!
//! Read [`NEEDED`]. What is missing is named, and never left out in silence ([`Programs::find`]).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// A program, what it is for, and the package that has it.
#[derive(Debug)]
struct Needed {
    program: &'static str,
    package: &'static str,
    what_for: &'static str,
}

/// Everything that a run starts, in the order of the fields of [`Programs`].
const NEEDED: [Needed; 9] = [
    needed("nginx", "nginx", "an origin: HTTP/1.1 and HTTP/2"),
    needed("caddy", "caddy", "an origin: HTTP/1.1, HTTP/2 and HTTP/3"),
    needed("gtlsserver", "ngtcp2-server", "another origin of HTTP/3"),
    needed("tinyproxy", "tinyproxy", "an HTTP proxy"),
    needed("microsocks", "microsocks", "a SOCKS5 proxy"),
    needed("curl", "curl", "a second opinion"),
    needed("ffmpeg", "ffmpeg", "a film, and who plays it"),
    needed("setpriv", "util-linux", "so that servers end with us"),
    needed("unshare", "util-linux", "names that a proxy alone knows"),
];

const fn needed(program: &'static str, package: &'static str, what_for: &'static str) -> Needed {
    Needed {
        program,
        package,
        what_for,
    }
}

/// Where each program is.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) nginx: PathBuf,
    pub(super) caddy: PathBuf,
    pub(super) gtlsserver: PathBuf,
    pub(super) tinyproxy: PathBuf,
    pub(super) microsocks: PathBuf,
    pub(super) curl: PathBuf,
    pub(super) ffmpeg: PathBuf,
    pub(super) setpriv: PathBuf,
    pub(super) unshare: PathBuf,
}

impl Programs {
    /// Looks where the user's shell would, and where Debian has servers.
    ///
    /// # Errors
    /// Some are missing; all of them are named, with what would bring them.
    pub(super) fn find() -> Result<Self> {
        let places = places(std::env::var_os("PATH").as_deref());
        let found = NEEDED.map(|needed| find(needed.program, &places));
        let [
            Some(nginx),
            Some(caddy),
            Some(gtlsserver),
            Some(tinyproxy),
            Some(microsocks),
            Some(curl),
            Some(ffmpeg),
            Some(setpriv),
            Some(unshare),
        ] = found
        else {
            bail!(complaint(&missing(&places)));
        };
        Ok(Self {
            nginx,
            caddy,
            gtlsserver,
            tinyproxy,
            microsocks,
            curl,
            ffmpeg,
            setpriv,
            unshare,
        })
    }
}

/// The packages that would bring what is missing, each once; one a line.
pub(super) fn missing_packages() -> String {
    let places = places(std::env::var_os("PATH").as_deref());
    let mut packages: Vec<&str> = missing(&places).iter().map(|one| one.package).collect();
    packages.dedup();
    packages.iter().map(|name| format!("{name}\n")).collect()
}

fn missing(places: &[PathBuf]) -> Vec<&'static Needed> {
    NEEDED
        .iter()
        .filter(|needed| find(needed.program, places).is_none())
        .collect()
}

fn complaint(missing: &[&Needed]) -> String {
    let mut text = String::from("programs are missing, and nothing was checked:");
    for one in missing {
        text += &format!(
            "\n  {} ({}; package {})",
            one.program, one.what_for, one.package
        );
    }
    text + "\n.ci/run installs them where apt-get is and may"
}

/// Folders of `PATH`, then those where servers are; users have them in no `PATH`.
fn places(path: Option<&OsStr>) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = path
        .map(std::env::split_paths)
        .into_iter()
        .flatten()
        .collect();
    places.extend(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    places
}

fn find(program: &str, places: &[PathBuf]) -> Option<PathBuf> {
    let all = places.iter().map(|place| place.join(program));
    all.into_iter().find(|file| Path::is_file(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_in_order_and_only_files_count() {
        let directory = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
        std::fs::create_dir_all(first.join("nginx")).unwrap();
        std::fs::create_dir_all(&second).unwrap();
        let places = [first, second.clone()];
        assert_eq!(find("nginx", &places), None, "a folder is no program");
        std::fs::write(second.join("nginx"), "").unwrap();
        assert_eq!(find("nginx", &places), Some(second.join("nginx")));
    }

    #[test]
    fn servers_are_found_without_the_path_of_an_administrator() {
        let places = places(Some(OsStr::new("/a:/b")));
        assert_eq!(places[..2], [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert!(places.contains(&PathBuf::from("/usr/sbin")));
    }

    #[test]
    fn all_that_is_missing_is_named_with_its_package() {
        let missing = missing(&[]);
        assert_eq!(missing.len(), NEEDED.len());
        let text = complaint(&missing);
        for needed in &NEEDED {
            assert!(text.contains(needed.program), "{text}");
            assert!(text.contains(needed.package), "{text}");
        }
    }
}
