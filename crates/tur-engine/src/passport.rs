//! What a request shows of who asks: fields, credentials, cookies.
//!
//! Read [`Passport`], which one download shows to whom it is for, and [`SignIn`], which is what it was given. Everything is
//! bound to the origin of the URL, but for cookies that an answer or a file has for others.

use std::fmt;

use tur_core::port::Field;
use tur_core::{Asides, Origin, Scheme, Secret, Target};
use tur_http::{DigestAuth, Jar};

use crate::clock::Clock;
use crate::download::seed;

/// What a download was given to show beside its fields.
#[derive(Clone, Default)]
pub(crate) struct SignIn {
    /// User and password, for an origin that asks for them with Digest.
    pub(crate) login: Option<(Secret, Secret)>,
    /// True if fields go to each origin of a chain of redirects.
    pub(crate) everywhere: bool,
    pub(crate) cookies: Jar,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").finish_non_exhaustive()
    }
}

/// What one download shows, and what it was told to show.
pub(crate) struct Passport {
    home: Origin,
    fields: Vec<Field>,
    everywhere: bool,
    digest: Option<DigestAuth>,
    jar: Jar,
    /// True if cookies were sent that the user gave.
    gave_cookies: bool,
    /// True once an origin has asked for credentials.
    asked: bool,
}

/// Which challenge a request has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown(u64);

impl Passport {
    /// For a download from `home`.
    pub(crate) fn new(home: &Origin, fields: &[Field], given: &SignIn) -> Self {
        let has = |name: &str| fields.iter().any(|field| is(field, name));
        // Who sets the field knows better.
        let own = fields
            .iter()
            .any(|field| is(field, "authorization") && !is_basic(&field.value));
        let login = given.login.clone().filter(|_| !own);
        Self {
            home: home.clone(),
            fields: fields.to_vec(),
            everywhere: given.everywhere,
            digest: login.map(|(user, password)| DigestAuth::new(user, password)),
            jar: given.cookies.clone(),
            gave_cookies: has("cookie") || !given.cookies.is_empty(),
            asked: false,
        }
    }

    /// The fields of a request, and what is shown with them.
    pub(crate) fn fields(&mut self, target: &Target) -> (Vec<Field>, Shown) {
        let at_home = target.origin == self.home;
        // What came for https is not sent in clear text, wherever it may go.
        let safe = self.home.scheme == Scheme::Http || target.origin.scheme == Scheme::Https;
        let mut fields = if at_home || (self.everywhere && safe) {
            self.fields.clone()
        } else {
            Vec::new()
        };
        let mut shown = Shown::default();
        if let Some(digest) = self.digest.as_mut().filter(|_| at_home)
            && let Some(value) = digest.authorize("GET", &target.path)
        {
            shown = Shown(digest.generation());
            fields.retain(|field| !is(field, "authorization"));
            fields.push(named("Authorization", value));
        }
        if !fields.iter().any(|field| is(field, "cookie"))
            && let Some(value) = self.jar.value(target, Clock::wall())
        {
            fields.push(named("Cookie", value));
        }
        (fields, shown)
    }

    /// Takes the cookies of an answer.
    pub(crate) fn heard(&mut self, from: &Target, asides: &Asides) {
        for value in &asides.cookies {
            if !self.jar.set(from, value.expose(), Clock::wall()) {
                tracing::debug!(origin = %from.origin, "a cookie is not taken");
            }
        }
    }

    /// True if a 401 is worth a look: there may be an answer to it.
    pub(crate) fn may_answer(&self, from: &Target) -> bool {
        self.digest.is_some() && from.origin == self.home
    }

    /// An answer says 401. True if the same request is to be made again, with an answer to its challenge.
    pub(crate) fn challenged(&mut self, from: &Target, shown: Shown, asides: &Asides) -> bool {
        self.asked = true;
        if !self.may_answer(from) {
            return false;
        }
        let cnonce = format!("{:016x}{:016x}", seed(), seed());
        let digest = self.digest.as_mut();
        digest.is_some_and(|digest| digest.challenged(shown.0, &asides.schemes, &cnonce))
    }

    /// A request was let through.
    pub(crate) fn accepted(&mut self, shown: Shown) {
        if let Some(digest) = &mut self.digest {
            digest.accepted(shown.0);
        }
    }

    /// True once an origin has asked for credentials.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked
    }

    /// True if the user gave cookies.
    pub(crate) fn gave_cookies(&self) -> bool {
        self.gave_cookies
    }

    /// True if the user gave credentials.
    pub(crate) fn gave_credentials(&self) -> bool {
        let sent = self.fields.iter().any(|field| is(field, "authorization"));
        sent || self.digest.is_some()
    }
}

fn is(field: &Field, name: &str) -> bool {
    field.name.eq_ignore_ascii_case(name)
}

fn is_basic(value: &Secret) -> bool {
    let scheme = value.expose().get(..6);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
}

fn named(name: &str, value: Secret) -> Field {
    Field {
        name: name.to_owned(),
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Target {
        tur_http::target(url).expect("a URL").0
    }

    fn names(passport: &mut Passport, url: &str) -> Vec<String> {
        let (fields, _) = passport.fields(&at(url));
        fields.into_iter().map(|field| field.name).collect()
    }

    fn passport(home: &str, fields: &[(&str, &str)], given: &SignIn) -> Passport {
        let fields: Vec<Field> = fields
            .iter()
            .map(|(name, value)| named(name, Secret::from(*value)))
            .collect();
        Passport::new(&at(home).origin, &fields, given)
    }

    #[test]
    fn fields_stay_at_home_unless_they_are_to_travel_and_never_leave_https() {
        let fields = [("X-Key", "s"), ("Authorization", "Bearer s")];
        for (everywhere, url, shown) in [
            (false, "https://a.example/x", true),
            (false, "https://a.example:444/x", false),
            (false, "https://b.example/x", false),
            (false, "http://a.example/x", false),
            (true, "https://b.example/x", true),
            (true, "http://b.example/x", false),
            (true, "http://a.example/x", false),
        ] {
            let given = SignIn {
                everywhere,
                ..SignIn::default()
            };
            let mut passport = passport("https://a.example/", &fields, &given);
            let count = if shown { fields.len() } else { 0 };
            assert_eq!(names(&mut passport, url).len(), count, "{url} {everywhere}");
        }
    }

    #[test]
    fn a_challenge_is_answered_at_home_alone_and_in_place_of_basic() {
        let given = SignIn {
            login: Some(("me".into(), "s3cret".into())),
            ..SignIn::default()
        };
        let asides = Asides {
            schemes: vec!["Digest realm=\"r\", nonce=\"n\", qop=auth".into()],
            ..Asides::default()
        };
        let mut passport = passport(
            "https://a.example/",
            &[("Authorization", "Basic eDp5")],
            &given,
        );
        let home = at("https://a.example/x");
        assert!(!passport.challenged(&at("https://b.example/"), Shown::default(), &asides));
        assert!(passport.challenged(&home, Shown::default(), &asides));
        let (fields, shown) = passport.fields(&home);
        assert_eq!(fields.len(), 1);
        assert!(
            fields[0]
                .value
                .expose()
                .starts_with(b"Digest username=\"me\"")
        );
        assert!(!passport.challenged(&home, shown, &asides), "it is wrong");
        assert_eq!(
            names(&mut passport, "https://b.example/"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn cookies_of_answers_go_where_they_belong_and_the_users_own_field_wins() {
        let from = at("https://a.example/x");
        let asides = Asides {
            cookies: vec!["k=v; Domain=a.example; Secure".into()],
            ..Asides::default()
        };
        let mut passport = passport("https://a.example/", &[], &SignIn::default());
        passport.heard(&from, &asides);
        assert_eq!(names(&mut passport, "https://b.a.example/"), ["Cookie"]);
        assert_eq!(
            names(&mut passport, "http://a.example/"),
            Vec::<String>::new()
        );
        let mut own = self::passport(
            "https://a.example/",
            &[("cookie", "mine")],
            &SignIn::default(),
        );
        own.heard(&from, &asides);
        let (fields, _) = own.fields(&from);
        assert_eq!(fields.len(), 1);
        assert_eq!(fields[0].value.expose(), b"mine");
    }
}
