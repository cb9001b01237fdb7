//! The certificate of the client, read from PEM and compared with its key.

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, Error, InconsistentKeys};

use crate::{ClientIdentity, NetError};

/// Reads an identity. No message repeats anything of the key.
///
/// # Errors
/// `ClientCertificate`.
pub(super) fn read(
    identity: &ClientIdentity,
    provider: &CryptoProvider,
) -> Result<SingleCertAndKey, NetError> {
    let wrong = |text: &str| NetError::ClientCertificate(text.to_owned());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&identity.certificates_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| NetError::ClientCertificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong("no certificate in the file"));
    }
    let pem = identity.key_pem.expose();
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(pem) => {
            wrong("the key is encrypted; decrypt it first, as with openssl pkey")
        }
        pem::Error::NoItemsFound => wrong("no private key in the file"),
        _ => wrong("the private key is damaged"),
    })?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| wrong("the private key cannot be read, or is of an unknown kind"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(wrong("the key is not that of the certificate"))
        }
        Err(Error::InvalidCertificate(CertificateError::BadEncoding)) => {
            Err(wrong("the certificate cannot be read"))
        }
        // A certificate too old for this library to compare (X.509v1) may be what a server wants: it has the last word.
        _ => Ok(SingleCertAndKey::from(certified)),
    }
}

fn is_encrypted(pem: &[u8]) -> bool {
    let begins = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    pem.windows(begins.len()).any(|window| window == begins)
}
