//! Whom we trust, and the TLS handshake.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tur_core::{Fault, Origin, TlsCause};

use crate::NetError;
use crate::dial::bare_host;
use crate::stream::io_text;

/// The trusted roots, read once: given ones at once, the system's at the first handshake.
pub(crate) struct Trust {
    /// The roots the user gave, instead of the system's.
    given: Option<Arc<RootCertStore>>,
    config: OnceLock<Result<Arc<ClientConfig>, rustls::Error>>,
    notes: Mutex<Vec<String>>,
}

impl Trust {
    /// Trusts the certificates in `pem`, or the system's.
    ///
    /// # Errors
    /// `Roots` if `pem` holds no certificate, or one that cannot be read.
    pub(crate) fn new(pem: Option<&[u8]>) -> Result<Self, NetError> {
        Ok(Self {
            given: pem.map(read_roots).transpose()?,
            config: OnceLock::new(),
            notes: Mutex::new(Vec::new()),
        })
    }

    /// Makes a TLS connection of `tcp`, verified for the host of `origin`, and offers these protocols (ALPN).
    ///
    /// # Errors
    /// `Tls` for what TLS found wrong; `Connect` where the connection broke meanwhile; `ProtocolUnavailable` where the
    /// peer wants none of the protocols.
    pub(crate) async fn shake_hands(
        &self,
        origin: &Origin,
        tcp: TcpStream,
        offered: &[&[u8]],
    ) -> Result<TlsStream<TcpStream>, Fault> {
        let config = self
            .config()
            .map_err(|error| Fault::Tls(TlsCause::Handshake(error.to_string())))?;
        // A copy shares the memory of sessions, the roots and the provider.
        let mut config = ClientConfig::clone(&config);
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let name =
            ServerName::try_from(bare_host(&origin.host).to_owned()).map_err(|_invalid| {
                Fault::Tls(TlsCause::WrongName(format!(
                    "{} is not a host name",
                    origin.host
                )))
            })?;
        TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .map_err(|error| handshake_fault(origin, &error))
    }

    /// What the user should be told.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        self.config
            .get_or_init(|| {
                // Two providers in one program make rustls panic where none is named.
                let provider = Arc::new(aws_lc_rs::default_provider());
                let verifier = self.verifier(&provider)?;
                let config = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()?
                    .dangerous()
                    .with_custom_certificate_verifier(verifier)
                    .with_no_client_auth();
                Ok(Arc::new(config))
            })
            .clone()
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
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

fn handshake_fault(origin: &Origin, error: &io::Error) -> Fault {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            Fault::ProtocolUnavailable(
                "the server speaks none of the protocols that were offered".to_owned(),
            )
        }
        Some(found) => Fault::Tls(cause(found)),
        None => Fault::Connect {
            host: format!("{}:{}", origin.host, origin.port),
            detail: format!("{} during the TLS handshake", io_text(error)),
        },
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

/// The library tells names as it prints them for its own developers: `DnsName("other.example")`.
fn bare(name: &str) -> &str {
    let quoted = name.strip_prefix("DnsName(\"");
    let dns = quoted.and_then(|rest| rest.strip_suffix("\")"));
    dns.unwrap_or(name)
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
        other => other.to_string(),
    }
}

const NAMES_SHOWN: usize = 3;
const NAME_SHOWN: usize = 64;
