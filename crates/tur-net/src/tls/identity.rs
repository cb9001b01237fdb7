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
        .map_err(|error| match is_encrypted(&identity.certificates_pem) {
            // It may stand beside its certificate.
            true => wrong(ENCRYPTED),
            false => NetError::ClientCertificate(error.to_string()),
        })?;
    if chain.is_empty() {
        return Err(wrong("no certificate in the file"));
    }
    let pem = identity.key_pem.expose();
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        // The older form has fields in front of its content, which are no base64.
        _ if is_encrypted(pem) => wrong(ENCRYPTED),
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

/// True if there is an encrypted key: as PKCS #8 has them (RFC 7468, section 11), or in the older form that begins with fields
/// (RFC 1421, section 4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    let field = |line: &[u8]| {
        let value = line.strip_prefix(b"Proc-Type:");
        value.is_some_and(|value| value.trim_ascii() == b"4,ENCRYPTED")
    };
    pem.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .any(|line| line == b"-----BEGIN ENCRYPTED PRIVATE KEY-----" || field(line))
}

const ENCRYPTED: &str = "the key is encrypted; decrypt it first, as with openssl pkey";
