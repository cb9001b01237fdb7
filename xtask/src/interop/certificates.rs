//! A certificate authority of this run, what it has signed, and where all that lies.
//!
//! Read [`Certificates`]. Nobody else trusts it, and its key is forgotten with this process.
#![expect(
    clippy::disallowed_methods,
    reason = "it writes files for other programs; nothing here is part of tur"
)]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// Files in PEM.
#[derive(Debug)]
pub(super) struct Certificates {
    /// Who is to be trusted.
    pub(super) authority: PathBuf,
    /// Of every server, for `localhost`, 127.0.0.1 and [`HIDDEN`].
    pub(super) server: Pair,
    /// Of a client.
    pub(super) client: Pair,
}

/// A certificate and its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// A name that no resolver knows, but perhaps that of a proxy (RFC 6761 §6.2 keeps it out of the public's).
pub(super) const HIDDEN: &str = "origin.interop.test";

impl Certificates {
    /// Makes them, in `directory`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn make(directory: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "tur interop authority");
        let authority = write(directory, "authority.pem", &params.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(params, key);
        let names = ["localhost", "127.0.0.1", HIDDEN];
        Ok(Self {
            authority,
            server: Pair::make(directory, "server", &names, &issuer)?,
            client: Pair::make(directory, "client", &["client.interop.test"], &issuer)?,
        })
    }
}

impl Pair {
    fn make(
        directory: &Path,
        name: &str,
        names: &[&str],
        issuer: &Issuer<'_, KeyPair>,
    ) -> Result<Self> {
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.distinguished_name.push(DnType::CommonName, name);
        let signed = params.signed_by(&key, issuer)?;
        Ok(Self {
            certificate: write(directory, &format!("{name}.pem"), &signed.pem())?,
            key: write(directory, &format!("{name}.key"), &key.serialize_pem())?,
        })
    }
}

fn write(directory: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let file = directory.join(name);
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_and_client_has_a_certificate_and_a_key_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let made = Certificates::make(directory.path()).unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let certificates = [
            &made.authority,
            &made.server.certificate,
            &made.client.certificate,
        ];
        for path in certificates {
            assert!(read(path).starts_with("-----BEGIN CERTIFICATE-----"));
        }
        assert!(read(&made.server.key).starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_ne!(read(&made.server.key), read(&made.client.key));
    }
}
