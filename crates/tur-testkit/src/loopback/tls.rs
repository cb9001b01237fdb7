//! A certificate authority made for one origin, and what a server needs to use it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::Speaks;

/// An acceptor with a certificate for `names`, and the authority that issued it in PEM.
pub(crate) fn acceptor(names: &[String], speaks: Speaks) -> (TlsAcceptor, String) {
    let (config, pem) = config(names, speaks);
    (TlsAcceptor::from(config), pem)
}

/// A configuration with a certificate for `names`, and the authority that issued it in PEM.
pub(super) fn config(names: &[String], speaks: Speaks) -> (Arc<ServerConfig>, String) {
    let ca_key = KeyPair::generate().expect("a key can be made");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name
        .push(DnType::CommonName, "tur test authority");
    let ca_pem = ca
        .self_signed(&ca_key)
        .expect("valid parameters are signed")
        .pem();
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate().expect("a key can be made");
    let leaf = CertificateParams::new(names.to_vec())
        .expect("the names can stand in a certificate")
        .signed_by(&key, &issuer)
        .expect("valid parameters are signed");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .expect("the key is that of the certificate");
    let offered: &[&[u8]] = match speaks {
        Speaks::H1 => &[b"http/1.1"],
        Speaks::H2 => &[b"h2"],
        Speaks::Both => &[b"h2", b"http/1.1"],
        Speaks::H3 => &[b"h3"],
    };
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    (Arc::new(config), ca_pem)
}
