//! What an endpoint serves and who is there: [`Shelf`], shared by all its connections.
//!
//! A [`Visit`] is one request with a right token, from its head to its last byte.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::Media;

/// See the module.
pub(super) struct Shelf {
    pub(super) address: SocketAddr,
    entries: Mutex<Vec<Arc<Entry>>>,
    /// How many visits there are.
    visits: watch::Sender<usize>,
}

/// A media and its place.
pub(super) struct Entry {
    token: String,
    name: String,
    pub(super) media: Media,
    /// What the entity tags of all its versions begin with. The token must not stand in an answer.
    pub(super) tag: String,
}

impl Shelf {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            entries: Mutex::default(),
            visits: watch::channel(0).0,
        }
    }

    /// Takes a media, and says the path that leads to it.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(super) fn add(&self, media: Media) -> io::Result<String> {
        let entry = Entry {
            token: random::<16>()?,
            name: media.inner.likely_name.clone(),
            media,
            tag: random::<8>()?,
        };
        let path = format!("/{}/{}", entry.token, encoded(&entry.name));
        self.entries().push(Arc::new(entry));
        Ok(path)
    }

    /// What stands at a path, if anything does.
    pub(super) fn find(&self, path: &str) -> Option<Arc<Entry>> {
        let (token, name) = path.strip_prefix('/')?.split_once('/')?;
        let name = decoded(name);
        let entries = self.entries();
        let is_it = |entry: &&Arc<Entry>| {
            same(&entry.token, token) && entry.name.as_bytes() == name.as_slice()
        };
        entries.iter().find(is_it).cloned()
    }

    /// True if that is a name of this place, as `Host` has it. No other can be: names that lead here are anybody's to make.
    pub(super) fn is_host(&self, host: &str) -> bool {
        let Some((name, port)) = host.rsplit_once(':') else {
            return false;
        };
        let is_name =
            name == self.address.ip().to_string() || name.eq_ignore_ascii_case("localhost");
        is_name && port == self.address.port().to_string()
    }

    /// How many requests are being answered.
    pub(super) fn visits(&self) -> watch::Receiver<usize> {
        self.visits.subscribe()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        // A push is done or not.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
pub(super) struct Visit(Arc<Shelf>);

impl Visit {
    pub(super) fn to(shelf: &Arc<Shelf>) -> Self {
        shelf.visits.send_modify(|count| *count += 1);
        Self(Arc::clone(shelf))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.visits.send_modify(|count| *count -= 1);
    }
}

/// So many random bytes, in hexadecimal.
fn random<const N: usize>() -> io::Result<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    }))
}

/// Equal texts. How long it takes says nothing of where they differ.
fn same(a: &str, b: &str) -> bool {
    let pairs = a.bytes().zip(b.bytes());
    a.len() == b.len() && pairs.fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// A name as a component of a path (RFC 3986, section 2.1).
fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => write!(text, "%{byte:02X}").expect("a string takes everything"),
        }
        text
    })
}

/// The bytes of a component of a path. What is no escape stands for itself.
fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let digit = |at: usize| {
            after
                .get(at)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        let (byte, left) = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => ((high * 16 + low) as u8, &after[2..]),
            _ => (first, after),
        };
        bytes.push(byte);
        rest = left;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_their_way_through_a_path() {
        for name in ["film.mp4", "a b%20c.mp4", "π/..?#&", "%", "%4", "~_-."] {
            let path = encoded(name);
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~%".contains(c);
            assert!(path.chars().all(is_plain), "{path}");
            assert_eq!(decoded(&path), name.as_bytes());
        }
        assert_eq!(decoded("%zz%4%a+b"), b"%zz%4%a+b");
    }

    #[test]
    fn only_this_place_is_a_host() {
        let shelf = Shelf::new(([127, 0, 0, 1], 4711).into());
        for host in ["127.0.0.1:4711", "localhost:4711", "LocalHost:4711"] {
            assert!(shelf.is_host(host), "{host}");
        }
        for host in [
            "127.0.0.1",
            "localhost",
            "127.0.0.1:4712",
            "127.0.0.1:04711",
            "evil.example:4711",
            "localhost.:4711",
            "localhost.evil.example:4711",
            "127.0.0.1.evil.example:4711",
            "user@127.0.0.1:4711",
            "[::1]:4711",
            "",
            ":4711",
        ] {
            assert!(!shelf.is_host(host), "{host}");
        }
    }

    #[test]
    fn random_texts_are_long_and_differ() {
        let [a, b] = [(); 2].map(|()| random::<16>().expect("bytes"));
        assert_eq!((a.len(), b.len()), (32, 32));
        assert!(!same(&a, &b) && same(&a, &a) && !same(&a, &a[1..]));
    }
}
