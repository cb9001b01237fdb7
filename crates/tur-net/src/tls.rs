//! Whom we trust, and the TLS handshake.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ConfigBuilder, KeyLog, NoKeyLog, OtherError,
    RootCertStore, SupportedProtocolVersion,
};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tur_core::{Fault, Origin, TlsCause};
use tur_http::Proxy;

use crate::carrier::Carrier;
use crate::dial::{Peer, bare_host};
use crate::stream::io_text;
use crate::{NetConfig, NetError, TlsVersion};
use anybody::Anybody;
use keys::Teller;

mod alerts;
mod anybody;
mod identity;
mod keys;
#[cfg(feature = "http3")]
mod witness;

#[cfg(feature = "http3")]
pub(crate) use witness::Verdict;
#[cfg(feature = "http3")]
use witness::Witness;

/// Whom we trust and who we are. What the user gave is read at once, the system's roots at the first handshake.
pub(crate) struct Trust {
    provider: Arc<CryptoProvider>,
    /// The roots the user gave, instead of the system's.
    given: Option<Arc<RootCertStore>>,
    /// Origins may have any certificate.
    insecure: bool,
    client: Option<Arc<SingleCertAndKey>>,
    tls_min: TlsVersion,
    key_log: Arc<dyn KeyLog>,
    verifier: OnceLock<Result<Arc<dyn ServerCertVerifier>, rustls::Error>>,
    /// Where downloads begin; nothing where there is no certificate to show.
    homes: Mutex<BTreeSet<Origin>>,
    /// For those, and for all others: sessions of one are never resumed by the other.
    at_home: OnceLock<Result<Arc<ClientConfig>, rustls::Error>>,
    origins: OnceLock<Result<Arc<ClientConfig>, rustls::Error>>,
    proxies: OnceLock<Result<Arc<ClientConfig>, rustls::Error>>,
    notes: Mutex<Vec<String>>,
    warnings: Vec<String>,
}

impl Trust {
    /// # Errors
    /// `Roots` if those that are given hold no certificate, or one that cannot be read; `ClientCertificate`.
    pub(crate) fn new(config: &NetConfig) -> Result<Self, NetError> {
        // Two providers in one program make rustls panic where none is named.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let client = config.client.as_ref();
        let client = client.map(|identity| identity::read(identity, &provider));
        let mut warnings = Vec::new();
        if config.insecure {
            warnings.push(INSECURE.to_owned());
        }
        let key_log: Arc<dyn KeyLog> = match &config.key_log {
            None => Arc::new(NoKeyLog),
            Some(log) => Arc::new(Teller(log.clone())),
        };
        Ok(Self {
            given: config.roots_pem.as_deref().map(read_roots).transpose()?,
            insecure: config.insecure,
            client: client.transpose()?.map(Arc::new),
            tls_min: config.tls_min,
            provider,
            key_log,
            verifier: OnceLock::new(),
            homes: Mutex::default(),
            at_home: OnceLock::new(),
            origins: OnceLock::new(),
            proxies: OnceLock::new(),
            notes: Mutex::default(),
            warnings,
        })
    }

    /// Makes a TLS connection of `carrier`, verified for the host of `origin`, and offers these protocols (ALPN).
    ///
    /// # Errors
    /// `Tls` for what TLS found wrong; `Connect` where the connection broke meanwhile; `ProtocolUnavailable` where the
    /// peer wants none of the protocols.
    pub(crate) async fn shake_hands(
        &self,
        origin: &Origin,
        carrier: Carrier,
        offered: &[&[u8]],
    ) -> Result<TlsStream<Carrier>, Fault> {
        let config = self.config_for(origin).map(|config| {
            // A copy shares the memory of sessions, the roots and the provider.
            let mut config = ClientConfig::clone(&config);
            config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        });
        shake_hands(&config, Peer::Origin(origin), carrier).await
    }

    /// Makes a TLS connection to a proxy of `tcp`, verified for its host whatever origins are allowed. It learns nothing of
    /// a client certificate.
    ///
    /// # Errors
    /// As [`shake_hands`](Self::shake_hands).
    pub(crate) async fn shake_hands_with_proxy(
        &self,
        proxy: &Proxy,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Fault> {
        let config = self.proxies.get_or_init(|| {
            let mut config = self.builder(self.verifier()?)?.with_no_client_auth();
            config.key_log = Arc::clone(&self.key_log);
            Ok(Arc::new(config))
        });
        shake_hands(config, Peer::Proxy(proxy), tcp).await
    }

    /// What a handshake with `origin` over QUIC is made with, which offers `alpn`; and where the reason is written if the certificate is
    /// not taken: QUIC itself tells only its class.
    ///
    /// # Errors
    /// `Tls` if no handshake can be made at all.
    #[cfg(feature = "http3")]
    pub(crate) fn for_quic(
        &self,
        origin: &Origin,
        alpn: &[u8],
    ) -> Result<(ClientConfig, Verdict), Fault> {
        let prepared = self.config_for(origin).and_then(|config| {
            let verdict = Verdict::default();
            let mut config = ClientConfig::clone(&config);
            // What is remembered of TCP is not to be offered over QUIC.
            config.resumption = rustls::client::Resumption::disabled();
            config.alpn_protocols = vec![alpn.to_vec()];
            let witness = Witness::new(self.verifier_of_origins()?, verdict.clone());
            config
                .dangerous()
                .set_certificate_verifier(Arc::new(witness));
            Ok((config, verdict))
        });
        prepared.map_err(|error| Fault::Tls(TlsCause::Handshake(error.to_string())))
    }

    /// What the user should be told.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Which protection was switched off.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// A download begins at this origin: it may see the client's certificate.
    pub(crate) fn begin_at(&self, origin: &Origin) {
        if self.client.is_some() {
            self.homes().insert(origin.clone());
        }
    }

    fn homes(&self) -> MutexGuard<'_, BTreeSet<Origin>> {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a handshake with `origin` is made with.
    fn config_for(&self, origin: &Origin) -> Result<Arc<ClientConfig>, rustls::Error> {
        let client = self.client.as_ref();
        let client = client.filter(|_| self.homes().contains(origin));
        let memory = match client {
            Some(_) => &self.at_home,
            None => &self.origins,
        };
        memory.get_or_init(|| self.new_config(client)).clone()
    }

    fn new_config(
        &self,
        client: Option<&Arc<SingleCertAndKey>>,
    ) -> Result<Arc<ClientConfig>, rustls::Error> {
        let builder = self.builder(self.verifier_of_origins()?)?;
        let mut config = match client {
            Some(client) => builder.with_client_cert_resolver(Arc::clone(client) as _),
            None => builder.with_no_client_auth(),
        };
        config.key_log = Arc::clone(&self.key_log);
        Ok(Arc::new(config))
    }

    fn builder(
        &self,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
        let versions: &[&SupportedProtocolVersion] = match self.tls_min {
            TlsVersion::V12 => &[&TLS13, &TLS12],
            TlsVersion::V13 => &[&TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)?;
        Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(verifier))
    }

    fn verifier_of_origins(&self) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
        match self.insecure {
            true => Ok(Arc::new(Anybody(Arc::clone(&self.provider)))),
            false => self.verifier(),
        }
    }

    /// The verifier, of which there is one: it reads all the system's roots.
    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
        self.verifier.get_or_init(|| self.new_verifier()).clone()
    }

    fn new_verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
        let provider = &self.provider;
        if let Some(given) = &self.given {
            return from_roots(Arc::clone(given), provider);
        }
        match Verifier::new(Arc::clone(provider)) {
            Ok(verifier) => Ok(Arc::new(verifier)),
            Err(error) => {
                let note =
                    format!("no system root certificates ({error}): the bundled ones are used");
                tracing::warn!("{note}");
                self.notes
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(note);
                let bundled = RootCertStore {
                    roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
                };
                from_roots(Arc::new(bundled), provider)
            }
        }
    }
}

fn from_roots(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok(verifier)
}

fn read_roots(pem: &[u8]) -> Result<Arc<RootCertStore>, NetError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| NetError::Roots(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| NetError::Roots(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(NetError::Roots("no certificate in the file".to_owned()));
    }
    Ok(Arc::new(roots))
}

/// Shakes hands over a stream that leads to `peer`.
async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    config: &Result<Arc<ClientConfig>, rustls::Error>,
    peer: Peer<'_>,
    stream: S,
) -> Result<TlsStream<S>, Fault> {
    let tls = |cause| Fault::Tls(of_whom(cause, peer));
    let config = match config {
        Ok(config) => Arc::clone(config),
        Err(error) => return Err(tls(TlsCause::Handshake(error.to_string()))),
    };
    let host = peer.host().0;
    let Ok(name) = ServerName::try_from(bare_host(host).to_owned()) else {
        let text = format!("{host} is not a host name");
        return Err(tls(TlsCause::WrongName(text)));
    };
    let shaken = TlsConnector::from(config).connect(name, stream).await;
    shaken.map_err(|error| match tls_error(&error) {
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            Fault::ProtocolUnavailable(format!(
                "{peer} speaks none of the protocols that were offered"
            ))
        }
        Some(found) => tls(cause(found)),
        None => Fault::Connect {
            host: peer.to_string(),
            detail: format!("{} during the TLS handshake", io_text(&error)),
        },
    })
}

/// Says so if it was the proxy's certificate or handshake.
fn of_whom(cause: TlsCause, peer: Peer<'_>) -> TlsCause {
    let Peer::Proxy(proxy) = peer else {
        return cause;
    };
    let whose = |text| format!("{text}; this is the proxy {proxy}");
    match cause {
        TlsCause::Untrusted(text) => TlsCause::Untrusted(whose(text)),
        TlsCause::WrongName(text) => TlsCause::WrongName(whose(text)),
        TlsCause::Handshake(text) => TlsCause::Handshake(whose(text)),
        other => other,
    }
}

/// The TLS error inside an I/O error.
pub(crate) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn cause(error: &rustls::Error) -> TlsCause {
    let rustls::Error::InvalidCertificate(certificate) = error else {
        let text = match error {
            rustls::Error::InvalidMessage(_) => "the peer does not speak TLS here".to_owned(),
            rustls::Error::AlertReceived(alert) => alerts::text(*alert),
            rustls::Error::PeerIncompatible(_) => {
                format!("no version or cipher in common: {error}")
            }
            other => other.to_string(),
        };
        return TlsCause::Handshake(text);
    };
    match certificate {
        CertificateError::NotValidForName => TlsCause::WrongName("not this host".to_owned()),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => TlsCause::WrongName(wrong_name(&expected.to_str(), presented)),
        other => TlsCause::Untrusted(distrust(other)),
    }
}

/// What the peer thinks of our part of the handshake, if that broke the connection. With TLS 1.3 it is heard after the
/// handshake, in place of an answer.
pub(crate) fn refused(error: &io::Error) -> Option<TlsCause> {
    match tls_error(error)? {
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        _ => None,
    }
}

/// The same, of a proxy.
pub(crate) fn refused_by(proxy: &Proxy, error: &io::Error) -> Option<TlsCause> {
    refused(error).map(|cause| of_whom(cause, Peer::Proxy(proxy)))
}

/// What an alert means that came after the handshake; `None` if it does not speak of that.
pub(crate) fn of_alert(alert: AlertDescription) -> Option<TlsCause> {
    alerts::is_about_handshake(alert).then(|| TlsCause::Handshake(alerts::text(alert)))
}

/// At most three of the names that were presented: the list is the peer's.
fn wrong_name(expected: &str, presented: &[String]) -> String {
    if presented.is_empty() {
        return format!("it names no host, {expected} was asked for");
    }
    let shown = presented
        .iter()
        .take(NAMES_SHOWN)
        .map(|name| bare(name).chars().take(NAME_SHOWN).collect::<String>())
        .collect::<Vec<_>>()
        .join(", ");
    let more = if presented.len() > NAMES_SHOWN {
        ", …"
    } else {
        ""
    };
    format!("it is for {shown}{more}, not for {expected}")
}

/// The library tells names as it prints them for its own developers: `DnsName("other.example")`, `IpAddress(10.0.0.1)`.
fn bare(name: &str) -> &str {
    let inside = |start, end| name.strip_prefix(start)?.strip_suffix(end);
    inside("DnsName(\"", "\")")
        .or_else(|| inside("IpAddress(", ")"))
        .unwrap_or(name)
}

fn distrust(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "unknown issuer".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "not valid yet".to_owned()
        }
        CertificateError::Revoked => "revoked".to_owned(),
        CertificateError::BadSignature => "bad signature".to_owned(),
        CertificateError::BadEncoding => "cannot be read".to_owned(),
        CertificateError::Other(OtherError(why)) => match why.to_string().as_str() {
            // What many make for themselves; the library says so by the name of its variant alone.
            "CaUsedAsEndEntity" => "it is that of an authority, not of a host".to_owned(),
            other => other.to_owned(),
        },
        other => other.to_string(),
    }
}

/// What is said on each run without checks.
const INSECURE: &str =
    "certificates are not checked, as was asked: anyone on the way can read and change what comes";

const NAMES_SHOWN: usize = 3;
const NAME_SHOWN: usize = 64;
