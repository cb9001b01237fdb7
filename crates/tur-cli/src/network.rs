//! How the network is reached: the flags about it, the variables of the environment that go with them, and what they mean.
//!
//! [`NetworkArgs`] is what was typed, [`Environment`] what the environment says, [`Network`] both, checked against each
//! other. The environment is read by `main` and is data here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, ValueEnum};
use tur_engine::{
    ClientIdentity, DownloaderBuilder, HostEntry, IpFamily, Proxies, ProxiesError, TlsVersion,
};

use crate::bounds::CA_FILE_BYTES;

/// Flags as typed. No `Debug`: a proxy may have a password.
#[derive(Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Ask through this proxy: http://, https://, socks5:// (names are looked up here) or socks5h:// (there), with
    /// USER:PASS@ if it wants them; '' for none, whatever the environment says. Without a port: 443 for https, else 1080
    /// [default: http_proxy, https_proxy, all_proxy]
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,

    /// Ask these hosts without a proxy: names with all below them, addresses, networks (10.0.0.0/8), each with or without
    /// :PORT; '*' for all [default: no_proxy]
    #[arg(long, value_name = "LIST")]
    pub(crate) noproxy: Option<String>,

    /// Take these addresses for a host (* for any), as curl does; names that a proxy looks up are its own matter (repeatable)
    #[arg(long, value_name = "HOST:PORT:ADDR[,ADDR]", action = ArgAction::Append)]
    pub(crate) resolve: Vec<String>,

    /// Connect to IPv4 addresses alone
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,

    /// Connect to IPv6 addresses alone
    #[arg(short = '6', long)]
    pub(crate) ipv6: bool,

    /// Connect from this address of the machine, or (on Linux) through this interface; names are looked up as ever
    #[arg(long, value_name = "NAME|ADDR")]
    pub(crate) interface: Option<String>,

    /// Trust the certificate authorities in FILE (PEM) [default: those of the system]
    #[arg(long, visible_alias = "cacert", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Show the certificate in FILE (PEM, with those that lead to its authority) to the first origin (of each URL),
    /// if it asks for one, and to no server that only a redirect leads to
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,

    /// The private key of --cert (PEM, not encrypted) [default: it stands in the same file]
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// Do not check certificates of servers: anyone on the way can then read and change the file. A proxy's is checked all
    /// the same
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Speak no TLS older than VERSION: 1.2 or 1.3 [default: 1.2]
    #[arg(long, value_name = "VERSION", value_enum, hide_possible_values = true)]
    pub(crate) tls_min: Option<TlsMin>,
}

/// A version of TLS as typed.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum TlsMin {
    /// TLS 1.2.
    #[value(name = "1.2")]
    V12,
    /// TLS 1.3.
    #[value(name = "1.3")]
    V13,
}

/// What the environment says about the network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    proxies: BTreeMap<&'static str, Hidden>,
    key_log: Option<PathBuf>,
}

/// A value that may have a password.
#[derive(Clone)]
struct Hidden(String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Environment {
    /// Reads what counts. `HTTP_PROXY` does not: a CGI program's is a field of a request.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &&'static str| {
            let value = variable(name)?;
            Some((*name, Hidden(value.to_string_lossy().into_owned())))
        };
        Self {
            proxies: VARIABLES.iter().filter_map(text).collect(),
            key_log: variable("SSLKEYLOGFILE")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
        }
    }
}

/// How the network is reached.
pub(crate) struct Network {
    proxies: Proxies,
    hosts: Vec<HostEntry>,
    family: Option<IpFamily>,
    interface: Option<String>,
    insecure: bool,
    ca_file: Option<PathBuf>,
    /// The files of the certificate and of its key.
    identity: Option<(PathBuf, PathBuf)>,
    tls_min: TlsVersion,
    key_log: Option<PathBuf>,
}

impl Network {
    /// Checks what was typed and set. Opens no file.
    ///
    /// # Errors
    /// A sentence about what is wrong. It repeats no proxy.
    pub(crate) fn new(args: NetworkArgs, environment: &Environment) -> Result<Self, String> {
        let variable = |name: &str| environment.proxies.get(name).map(|value| value.0.clone());
        let proxies = Proxies::read(args.proxy.as_deref(), args.noproxy.as_deref(), variable);
        let entry = |text: &String| {
            let read = text.parse::<HostEntry>();
            read.map_err(|why| format!("--resolve {text:?}: {why}"))
        };
        let (v4, v6) = (args.ipv4, args.ipv6);
        let key = args.key;
        Ok(Self {
            proxies: proxies.map_err(|error| of_proxies(&error))?,
            hosts: args.resolve.iter().map(entry).collect::<Result<_, _>>()?,
            family: v4.then_some(IpFamily::V4).or(v6.then_some(IpFamily::V6)),
            interface: args.interface,
            insecure: args.insecure,
            ca_file: args.ca_file,
            identity: args.cert.map(|cert| (cert.clone(), key.unwrap_or(cert))),
            tls_min: match args.tls_min {
                None | Some(TlsMin::V12) => TlsVersion::V12,
                Some(TlsMin::V13) => TlsVersion::V13,
            },
            key_log: environment.key_log.clone(),
        })
    }

    /// Has a downloader use it. Reads the files.
    ///
    /// # Errors
    /// A sentence about a file that cannot be read.
    pub(crate) fn apply(&self, builder: DownloaderBuilder) -> Result<DownloaderBuilder, String> {
        let mut builder = builder
            .proxies(self.proxies.clone())
            .hosts(self.hosts.clone())
            .ip_family(self.family)
            .interface(self.interface.clone())
            .insecure(self.insecure)
            .tls_min(self.tls_min)
            .key_log(self.key_log.clone());
        if let Some(path) = &self.ca_file {
            builder = builder.roots_pem(pem("--ca-file", path)?);
        }
        if let Some((certificates, key)) = &self.identity {
            builder = builder.client_identity(Some(ClientIdentity {
                certificates_pem: pem("--cert", certificates)?,
                key_pem: pem("--key", key)?.into(),
            }));
        }
        Ok(builder)
    }
}

fn of_proxies(error: &ProxiesError) -> String {
    match error.variable {
        None => format!("--proxy: {}", error.error),
        Some(name) => format!("{name} in the environment: {}", error.error),
    }
}

fn pem(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(CA_FILE_BYTES).read_to_end(&mut pem))
        .map_err(|error| format!("{flag} {}: {error}", path.display()))?;
    Ok(pem)
}

/// Variables about proxies.
const VARIABLES: [&str; 7] = [
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        network: NetworkArgs,
    }

    fn network(args: &[&str], set: &[(&str, &str)]) -> Result<Network, String> {
        let words = ["tur"].iter().chain(args);
        let typed = Typed::try_parse_from(words).map_err(|error| error.to_string())?;
        let variable = |name: &str| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Network::new(typed.network, &Environment::read(variable))
    }

    #[test]
    fn nothing_is_said_and_nothing_is_set() {
        let plain = network(&[], &[]).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(plain.proxies, Proxies::default());
        assert!(plain.hosts.is_empty() && plain.identity.is_none() && !plain.insecure);
        assert_eq!((plain.family, plain.tls_min), (None, TlsVersion::V12));
        assert!(plain.key_log.is_none() && plain.interface.is_none());
    }

    #[test]
    fn flags_win_over_the_environment() {
        let set = [
            ("https_proxy", "s:1"),
            ("HTTP_PROXY", "never:1"),
            ("no_proxy", "a"),
            ("SSLKEYLOGFILE", "keys"),
        ];
        let shown = |args: &[&str]| {
            let network = network(args, &set).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(network.key_log.as_deref(), Some(Path::new("keys")));
            let Proxies {
                http,
                https,
                except,
            } = network.proxies;
            let name = |proxy: Option<tur_engine::Proxy>| proxy.map(|proxy| proxy.to_string());
            (name(http), name(https), except.has("a", 80))
        };
        let p = |name: &str| Some(format!("http://{name}:1"));
        assert_eq!(shown(&[]), (None, p("s"), true));
        assert_eq!(shown(&["--proxy", "p:1"]), (p("p"), p("p"), true));
        assert_eq!(
            shown(&["--proxy", "p:1", "--noproxy", ""]),
            (p("p"), p("p"), false)
        );
        assert_eq!(shown(&["--proxy", ""]), (None, None, true));
    }

    #[test]
    fn a_key_stands_with_its_certificate_unless_it_has_a_file() {
        let identity = |args: &[&str]| network(args, &[]).ok().and_then(|network| network.identity);
        let pair = |cert: &str, key: &str| Some((cert.into(), key.into()));
        assert_eq!(identity(&["--cert", "a"]), pair("a", "a"));
        assert_eq!(identity(&["--cert", "a", "--key", "b"]), pair("a", "b"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_no_secret_repeated() {
        let none: &[(&str, &str)] = &[];
        for (args, set, part) in [
            (
                &["--proxy", "ftp://me:hunter2@p"][..],
                none,
                "--proxy: a proxy begins with",
            ),
            (
                &["--proxy", "me:hunter2@p:x"],
                none,
                "--proxy: the proxy is not valid",
            ),
            (
                &[],
                &[("https_proxy", "http://me:hunter2@")],
                "https_proxy in the environment",
            ),
            (
                &["--resolve", "a:80"],
                none,
                "--resolve \"a:80\": no valid address",
            ),
            (&["--key", "k"], none, "--cert"),
            (&["-4", "-6"], none, "cannot be used with"),
            (&["--tls-min", "1.1"], none, "1.1"),
        ] {
            let said = network(args, set).map(drop).expect_err(part);
            assert!(said.contains(part), "{args:?}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        let proxy = |name: &str| {
            name.ends_with("proxy")
                .then(|| "http://me:hunter2@p".into())
        };
        let set = Environment::read(proxy);
        assert!(!format!("{set:?}").contains("hunter2"));
    }
}
