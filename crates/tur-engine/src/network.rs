//! The settings of a downloader about the network: whom it trusts, who it is, and which ways its connections take.
//!
//! All of them are methods of [`DownloaderBuilder`].

use std::path::PathBuf;
use std::time::Duration;

use tur_http::{HostEntry, Proxies};
use tur_net::{ClientIdentity, IpFamily, Protocols, TlsVersion};

use crate::DownloaderBuilder;

impl DownloaderBuilder {
    /// Limit for name resolution, connect and TLS together. Default: 10 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.net = self.net.connect_timeout(limit);
        self
    }

    /// Trusts the certificates in `pem` instead of the system's.
    pub fn roots_pem(mut self, pem: Vec<u8>) -> Self {
        self.net = self.net.roots_pem(pem);
        self
    }

    /// Value of `User-Agent`. Default: `tur/VERSION`.
    pub fn user_agent(mut self, value: impl Into<String>) -> Self {
        self.net = self.net.user_agent(value);
        self
    }

    /// Which protocols are spoken. Default: HTTP/2 where TLS agrees to it, else HTTP/1.1, and HTTP/3 (with the feature `http3`) where
    /// an origin offers it and it brings more. One that is asked for alone and is
    /// not to be had fails with kind `Protocol`.
    pub fn protocols(mut self, protocols: Protocols) -> Self {
        self.net = self.net.protocols(protocols);
        self
    }

    /// Connects to public addresses alone, on every hop: a host that has none (in this machine or network, link-local,
    /// shared behind a carrier's NAT, or otherwise special) fails with kind `Policy` before a connection is made. The
    /// addresses that are checked are those that are connected to. Default: any address.
    pub fn no_private(mut self, yes: bool) -> Self {
        self.net = self.net.no_private(yes);
        self
    }

    /// Asks origins through these proxies. Default: none; no environment is read. An origin is always asked through the same
    /// one, whose credentials it never sees.
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.net = self.net.proxies(proxies);
        self
    }

    /// Takes these addresses for hosts, in place of those that a resolver would tell. Names that a proxy looks up are its
    /// own matter.
    pub fn hosts(mut self, entries: Vec<HostEntry>) -> Self {
        self.net = self.net.hosts(entries);
        self
    }

    /// Connects to addresses of this family alone. Default: either.
    pub fn ip_family(mut self, family: Option<IpFamily>) -> Self {
        self.net = self.net.family(family);
        self
    }

    /// Connects from this address of the machine, or (on Linux) through the interface of this name. Names are looked up as
    /// ever. Default: what the routes say.
    pub fn interface(mut self, name_or_address: Option<String>) -> Self {
        self.net = self.net.interface(name_or_address);
        self
    }

    /// Takes any certificate of an origin, from anybody: whoever is on the way can then read and change what comes. Each
    /// download says so in an event ([`Downloader::warnings`](crate::Downloader::warnings)). Proxies over TLS are checked
    /// all the same. Default: false.
    pub fn insecure(mut self, yes: bool) -> Self {
        self.net = self.net.insecure(yes);
        self
    }

    /// Shows this certificate to the first origin of each download that asks for one, and to none that only a redirect leads
    /// to. Default: none.
    pub fn client_identity(mut self, identity: Option<ClientIdentity>) -> Self {
        self.net = self.net.client(identity);
        self
    }

    /// Speaks no older TLS. Default: 1.2.
    pub fn tls_min(mut self, version: TlsVersion) -> Self {
        self.net = self.net.tls_min(version);
        self
    }

    /// Appends the keys of all TLS connections to this file, which is made with mode 0600, for whoever debugs their own
    /// traffic. Said as [`insecure`](Self::insecure) is. Default: none.
    pub fn key_log(mut self, path: Option<PathBuf>) -> Self {
        self.keys = path;
        self
    }
}
