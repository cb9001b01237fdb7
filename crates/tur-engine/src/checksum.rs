//! Digests: what the user expects, and computing it while the file grows.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;
use thiserror::Error;

/// An expected digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    pub(crate) algorithm: Algorithm,
    expected: Vec<u8>,
}

/// A digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
    Sha1,
    Md5,
    Blake3,
}

/// Why a text is not a checksum.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChecksumError {
    /// Not `ALGORITHM:HEX`.
    #[error("a checksum is written ALGORITHM:HEX, for instance sha256:9f86d0…")]
    Form,
    /// Not one of ours.
    #[error("unknown digest {0:?}: use sha256, sha512, sha1, md5 or blake3")]
    Algorithm(String),
    /// The wrong number of digits, or something else than digits.
    #[error("a {algorithm} digest has {digits} hexadecimal digits")]
    Digits {
        /// The algorithm.
        algorithm: &'static str,
        /// How many it takes.
        digits: usize,
    },
}

impl Algorithm {
    const ALL: [Algorithm; 5] = [
        Algorithm::Sha256,
        Algorithm::Sha512,
        Algorithm::Sha1,
        Algorithm::Md5,
        Algorithm::Blake3,
    ];

    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }

    /// Name, and bytes of a digest.
    fn row(self) -> (&'static str, usize) {
        match self {
            Algorithm::Sha256 => ("sha256", 32),
            Algorithm::Sha512 => ("sha512", 64),
            Algorithm::Sha1 => ("sha1", 20),
            Algorithm::Md5 => ("md5", 16),
            Algorithm::Blake3 => ("blake3", 32),
        }
    }
}

impl Checksum {
    /// True if `digest` is the expected one.
    pub(crate) fn matches(&self, digest: &[u8]) -> bool {
        self.expected == digest
    }
}

impl FromStr for Checksum {
    type Err = ChecksumError;

    /// Reads `sha256:HEX` or `sha256=HEX`, in any case; `sha-256` is `sha256`.
    fn from_str(text: &str) -> Result<Self, ChecksumError> {
        let (name, hex) = text.split_once([':', '=']).ok_or(ChecksumError::Form)?;
        let plain = name.trim().to_ascii_lowercase().replace("sha-", "sha");
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == plain);
        let algorithm = algorithm.ok_or_else(|| ChecksumError::Algorithm(name.to_owned()))?;
        let (name, len) = algorithm.row();
        let wrong = || ChecksumError::Digits {
            algorithm: name,
            digits: 2 * len,
        };
        let expected = from_hex(hex.trim())
            .filter(|bytes| bytes.len() == len)
            .ok_or_else(wrong)?;
        Ok(Self {
            algorithm,
            expected,
        })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), hex(&self.expected))
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
            text
        })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| {
        char::from(c)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            if let [a, b] = pair {
                Some(digit(*a)? << 4 | digit(*b)?)
            } else {
                None
            }
        })
        .collect()
}

/// A digest under way.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Sha1(sha1::Sha1),
    Md5(md5::Md5),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
            Algorithm::Sha1 => Hasher::Sha1(sha1::Sha1::new()),
            Algorithm::Md5 => Hasher::Md5(md5::Md5::new()),
            Algorithm::Blake3 => Hasher::Blake3(Box::default()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
            Hasher::Sha1(hasher) => hasher.update(bytes),
            Hasher::Md5(hasher) => hasher.update(bytes),
            Hasher::Blake3(hasher) => drop(hasher.update(bytes)),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Hasher::Sha256(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha512(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha1(hasher) => hasher.finalize().to_vec(),
            Hasher::Md5(hasher) => hasher.finalize().to_vec(),
            Hasher::Blake3(hasher) => hasher.finalize().as_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests of "abc", from FIPS 180-4, RFC 1321 and the BLAKE3 test vectors.
    #[test]
    fn known_digests_match_in_either_form() {
        for text in [
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "SHA-1=A9993E364706816ABA3E25717850C26C9CD0D89D",
            "md5:900150983cd24fb0d6963f7d28e17f72",
            "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
        ] {
            let checksum: Checksum = text.parse().expect(text);
            let mut hasher = Hasher::new(checksum.algorithm);
            hasher.update(b"a");
            hasher.update(b"bc");
            assert!(checksum.matches(&hasher.finish()), "{text}");
        }
    }

    #[test]
    fn what_is_no_checksum_says_why() {
        assert_eq!("abc".parse::<Checksum>(), Err(ChecksumError::Form));
        assert!(matches!(
            "crc:00".parse::<Checksum>(),
            Err(ChecksumError::Algorithm(_))
        ));
        for bad in [
            "md5:00",
            "md5:zz0150983cd24fb0d6963f7d28e17f72",
            "md5:900150983cd24fb0d6963f7d28e17f7é",
        ] {
            assert!(
                matches!(bad.parse::<Checksum>(), Err(ChecksumError::Digits { .. })),
                "{bad}"
            );
        }
    }
}
