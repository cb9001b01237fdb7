//! Digest access authentication (RFC 7616), as a state machine without input or output.
//!
//! Read [`DigestAuth`]: it is told of the challenges that answers bring, and makes the field of each request. Lanes that run
//! side by side share one, so that each request has a count of its own.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use md5::{Digest as _, Md5};
use sha2::{Sha256, Sha512_256};
use tur_core::Secret;

use crate::percent;
use crate::schemes::{Offer, offers};

/// A user's credentials and the challenge that they answer.
pub struct DigestAuth {
    user: Secret,
    password: Secret,
    terms: Option<Terms>,
    /// Which challenge that is.
    generation: u64,
    /// True once a request that answered this challenge was let through.
    accepted: bool,
    /// Challenges in a row of which none was.
    renewals: u32,
}

/// What a challenge asks for.
struct Terms {
    algorithm: Algorithm,
    session: bool,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// False for servers of RFC 2069, which know no quality of protection.
    qop: bool,
    userhash: bool,
    /// One for each nonce: what is derived of it under a `-sess` algorithm holds for all its requests.
    cnonce: String,
    count: u32,
}

/// From the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Md5,
    Sha256,
    Sha512t256,
}

/// Nonces in a row that are tried without one being accepted.
const RENEWALS_MAX: u32 = 3;

impl DigestAuth {
    /// Credentials for whoever asks for them.
    #[must_use]
    pub fn new(user: Secret, password: Secret) -> Self {
        Self {
            user,
            password,
            terms: None,
            generation: 0,
            accepted: false,
            renewals: 0,
        }
    }

    /// Which challenge the next request answers; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A request that answered the challenge `generation` was refused with 401 and these `WWW-Authenticate` fields. True if it
    /// is worth asking again: the challenge is new, or another lane has had a newer one meanwhile. `cnonce` is random text.
    pub fn challenged(&mut self, generation: u64, fields: &[String], cnonce: &str) -> bool {
        if generation != self.generation {
            return true;
        }
        let offered = fields.iter().flat_map(|value| offers(value));
        let best = offered
            .filter_map(|offer| Terms::of(&offer, cnonce))
            .max_by_key(|(terms, _)| terms.algorithm);
        let Some((terms, stale)) = best else {
            return false;
        };
        // A nonce that was good may have run out even where the server does not say so; one that never was good and is
        // not called stale says that the credentials are wrong.
        let again = self.terms.is_none() || stale || self.accepted;
        if !again || self.renewals >= RENEWALS_MAX {
            return false;
        }
        self.terms = Some(terms);
        self.generation += 1;
        self.accepted = false;
        self.renewals += 1;
        true
    }

    /// A request that answered the challenge `generation` was let through.
    pub fn accepted(&mut self, generation: u64) {
        if generation == self.generation && self.terms.is_some() {
            self.accepted = true;
            self.renewals = 0;
        }
    }

    /// The value of `Authorization` for a request; `None` before a challenge. `uri` is the target as the request line has it.
    pub fn authorize(&mut self, method: &str, uri: &str) -> Option<Secret> {
        let terms = self.terms.as_mut()?;
        terms.count = terms.count.checked_add(1)?;
        Some(terms.answer((&self.user, &self.password), method, uri))
    }
}

impl core::fmt::Debug for DigestAuth {
    /// Without what it knows.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DigestAuth")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl Terms {
    /// Reads an offer; also whether it says that the last nonce was merely too old. `None` for what cannot be answered.
    fn of(offer: &Offer, cnonce: &str) -> Option<(Self, bool)> {
        if offer.scheme != "digest" {
            return None;
        }
        let text = |name| {
            let value: &str = offer.param(name)?;
            // What is sent back must not end a field.
            (!value.bytes().any(|byte| byte < 0x20 || byte == 0x7f)).then(|| value.to_owned())
        };
        let name = offer
            .param("algorithm")
            .unwrap_or("MD5")
            .to_ascii_lowercase();
        let (plain, session) = match name.strip_suffix("-sess") {
            Some(plain) => (plain, true),
            None => (&*name, false),
        };
        let algorithm = match plain {
            "md5" => Algorithm::Md5,
            "sha-256" => Algorithm::Sha256,
            "sha-512-256" => Algorithm::Sha512t256,
            _ => return None,
        };
        let qop = offer.param("qop");
        let has_auth = |list: &str| {
            let mut members = list.split(',');
            members.any(|one| one.trim().eq_ignore_ascii_case("auth"))
        };
        if qop.is_some_and(|list| !has_auth(list)) {
            return None;
        }
        let is_true = |name| {
            let value: Option<&str> = offer.param(name);
            value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
        };
        let terms = Self {
            algorithm,
            session,
            realm: text("realm")?,
            nonce: text("nonce")?,
            opaque: text("opaque"),
            qop: qop.is_some(),
            userhash: is_true("userhash"),
            cnonce: cnonce.to_owned(),
            count: 0,
        };
        Some((terms, is_true("stale")))
    }

    /// RFC 7616, sections 3.4.1 to 3.4.4.
    fn answer(&self, (user, password): (&Secret, &Secret), method: &str, uri: &str) -> Secret {
        let hash = |parts: &[&[u8]]| self.algorithm.hash(parts);
        let (realm, nonce) = (self.realm.as_bytes(), self.nonce.as_bytes());
        let mut key = hash(&[user.expose(), realm, password.expose()]);
        if self.session {
            key = hash(&[key.as_bytes(), nonce, self.cnonce.as_bytes()]);
        }
        let request = hash(&[method.as_bytes(), uri.as_bytes()]);
        let count = format!("{:08x}", self.count);
        let (key, request) = (key.as_bytes(), request.as_bytes());
        let cnonce = self.cnonce.as_bytes();
        let response = if self.qop {
            hash(&[key, nonce, count.as_bytes(), cnonce, b"auth", request])
        } else {
            hash(&[key, nonce, request])
        };
        let mut field = String::from("Digest ");
        field.push_str(&self.username(user));
        for (name, value) in [
            ("realm", &*self.realm),
            ("nonce", &self.nonce),
            ("uri", uri),
        ] {
            push(&mut field, format_args!(", {name}=\"{}\"", quoted(value)));
        }
        push(&mut field, format_args!(", response=\"{response}\""));
        let suffix = if self.session { "-sess" } else { "" };
        push(
            &mut field,
            format_args!(", algorithm={}{suffix}", self.algorithm.as_str()),
        );
        if let Some(opaque) = &self.opaque {
            push(&mut field, format_args!(", opaque=\"{}\"", quoted(opaque)));
        }
        if self.qop {
            let cnonce = quoted(&self.cnonce);
            push(
                &mut field,
                format_args!(", qop=auth, nc={count}, cnonce=\"{cnonce}\""),
            );
        } else if self.session {
            push(
                &mut field,
                format_args!(", cnonce=\"{}\"", quoted(&self.cnonce)),
            );
        }
        if self.userhash {
            field.push_str(", userhash=true");
        }
        Secret::from(field)
    }

    /// The name, hashed if that is wanted, or in the form for those that are not ASCII (RFC 7616, section 3.4).
    fn username(&self, user: &Secret) -> String {
        let plain = || user.expose().iter().all(|byte| (0x20..0x7f).contains(byte));
        if self.userhash {
            let hash = self.algorithm.hash(&[user.expose(), self.realm.as_bytes()]);
            format!("username=\"{hash}\"")
        } else if plain() {
            let name = String::from_utf8_lossy(user.expose());
            format!("username=\"{}\"", quoted(&name))
        } else {
            format!("username*=UTF-8''{}", percent::encoded(user.expose()))
        }
    }
}

impl Algorithm {
    const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512t256 => "SHA-512-256",
        }
    }

    /// The parts with a colon between each two, hashed, in lower-case hexadecimal.
    fn hash(self, parts: &[&[u8]]) -> String {
        let text = Secret::from(parts.join(&b':'));
        let digest: Vec<u8> = match self {
            Algorithm::Md5 => Md5::digest(text.expose()).to_vec(),
            Algorithm::Sha256 => Sha256::digest(text.expose()).to_vec(),
            Algorithm::Sha512t256 => Sha512_256::digest(text.expose()).to_vec(),
        };
        let mut hex = String::with_capacity(2 * digest.len());
        for byte in digest {
            push(&mut hex, format_args!("{byte:02x}"));
        }
        hex
    }
}

fn push(text: &mut String, more: core::fmt::Arguments<'_>) {
    text.write_fmt(more)
        .expect("writing to a String cannot fail");
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    const NONCE: &str = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";

    fn mufasa() -> DigestAuth {
        DigestAuth::new("Mufasa".into(), "Circle of Life".into())
    }

    fn offer(algorithm: &str) -> String {
        format!(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
             nonce=\"{NONCE}\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        )
    }

    fn answered(auth: &mut DigestAuth) -> String {
        let value = auth
            .authorize("GET", "/dir/index.html")
            .expect("challenged");
        String::from_utf8(value.expose().to_vec()).expect("text")
    }

    fn response(field: &str) -> &str {
        let (_, behind) = field.split_once("response=\"").expect("there is one");
        behind.split('"').next().expect("it ends")
    }

    #[test]
    fn the_examples_of_rfc_7616() {
        for (algorithm, meant) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let mut auth = mufasa();
            assert!(auth.authorize("GET", "/").is_none());
            assert!(auth.challenged(0, &[offer(algorithm)], CNONCE));
            let field = answered(&mut auth);
            assert_eq!(response(&field), meant, "{algorithm}");
            assert!(
                field.contains(", qop=auth, nc=00000001, cnonce=\"f2/"),
                "{field}"
            );
            assert!(
                field.contains("opaque=\"FQhe/")
                    && field.contains(&format!("algorithm={algorithm}"))
            );
        }
    }

    #[test]
    fn a_hidden_name_under_sha_512_256() {
        let mut auth = DigestAuth::new("J\u{e4}s\u{f8}n Doe".into(), "Secret, or not?".into());
        let offer = "Digest realm=\"api@example.org\", qop=\"auth\", algorithm=SHA-512-256, \
            nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", \
            opaque=\"HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS\", charset=UTF-8, userhash=true";
        assert!(auth.challenged(0, &[offer.into()], "NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm"));
        let field = auth.authorize("GET", "/doe.json").expect("challenged");
        let field = String::from_utf8_lossy(field.expose()).into_owned();
        // SHA-512/256 as FIPS 180-4 has it, which the example in the RFC has not; computed by another program.
        assert!(
            field.contains(
                "username=\"793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b\""
            ),
            "{field}"
        );
        assert_eq!(
            response(&field),
            "7a4e1192babbba02e91182d2895bfdbf7adafc6e48d4e517ca301974843d840c"
        );
        assert!(field.ends_with("userhash=true"));
    }

    #[test]
    fn the_example_of_rfc_2617_without_quality() {
        let mut auth = DigestAuth::new("Mufasa".into(), "Circle Of Life".into());
        let offer =
            "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        assert!(auth.challenged(0, &[offer.into()], CNONCE));
        let field = answered(&mut auth);
        assert_eq!(response(&field), "670fd8c2df070c60b045671b8b24ff02");
        assert!(!field.contains("nc=") && !field.contains("cnonce"));
    }

    #[test]
    fn a_session_keeps_its_key_while_requests_are_counted() {
        let mut auth = mufasa();
        assert!(auth.challenged(0, &[offer("MD5-sess")], CNONCE));
        let (first, second) = (answered(&mut auth), answered(&mut auth));
        assert!(first.contains("algorithm=MD5-sess") && first.contains("nc=00000001"));
        assert!(second.contains("nc=00000002"));
        assert_ne!(response(&first), response(&second));
        // By hand, as section 3.4.2 says.
        let hash = |text: String| Algorithm::Md5.hash(&[text.as_bytes()]);
        let key = hash("Mufasa:http-auth@example.org:Circle of Life".into());
        let key = hash(format!("{key}:{NONCE}:{CNONCE}"));
        let request = hash("GET:/dir/index.html".into());
        assert_eq!(
            response(&second),
            hash(format!("{key}:{NONCE}:00000002:{CNONCE}:auth:{request}"))
        );
    }

    #[test]
    fn the_strongest_that_can_be_answered_is() {
        let fields = [
            "Basic realm=x".into(),
            format!("{}, {}", offer("MD5"), offer("SHA-256-sess")),
            offer("SHA-1024"),
            offer("SHA-512-256").replace("auth, auth-int", "auth-int"),
        ];
        let mut auth = mufasa();
        assert!(auth.challenged(0, &fields, CNONCE));
        assert!(answered(&mut auth).contains("algorithm=SHA-256-sess"));
        for unanswerable in [
            offer("x"),
            "Digest realm=\"a\"".into(),
            "Basic realm=a".into(),
            "Digest realm=\"a\rb\", nonce=\"n\"".into(),
        ] {
            assert!(!mufasa().challenged(0, &[unanswerable], CNONCE));
        }
    }

    #[test]
    fn wrong_credentials_are_tried_once_and_old_nonces_renewed() {
        let stale = || vec![format!("{}, stale=TRUE", offer("MD5"))];
        let plain = || vec![offer("MD5")];
        let mut auth = mufasa();
        assert!(auth.challenged(0, &plain(), CNONCE));
        assert!(!auth.challenged(1, &plain(), CNONCE), "they are wrong");
        assert!(
            auth.challenged(0, &plain(), CNONCE),
            "another lane asked before there was a challenge"
        );
        // Never accepted: even what is called stale ends.
        let mut tries = 0;
        while auth.challenged(auth.generation(), &stale(), CNONCE) {
            tries += 1;
        }
        assert_eq!(tries, 2);
        // Accepted now and then: for ever.
        let mut auth = mufasa();
        for _ in 0..100 {
            assert!(auth.challenged(auth.generation(), &plain(), CNONCE));
            auth.accepted(auth.generation());
        }
    }

    #[test]
    fn names_are_quoted_or_encoded() {
        for (user, shown) in [
            ("a\"b\\", "username=\"a\\\"b\\\\\""),
            ("\u{e4}", "username*=UTF-8''%C3%A4"),
        ] {
            let mut auth = DigestAuth::new(user.into(), "p".into());
            assert!(auth.challenged(0, &[offer("MD5")], CNONCE));
            assert!(answered(&mut auth).starts_with(&format!("Digest {shown}")));
        }
    }
}
