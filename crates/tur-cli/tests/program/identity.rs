//! Who asks: Digest, tokens, netrc files, cookies. Who is shown them, and that nobody else is told.

use std::os::unix::fs::PermissionsExt as _;

use tur_testkit::{Behaviour, Deed, Loopback, Seen, When};

use crate::harness::{Place, Ran};

const SIZE: u64 = 1 << 20;

fn sent(seen: &Seen, name: &str) -> String {
    let value = seen.field(name).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

fn all_sent(origin: &Loopback, name: &str) -> Vec<String> {
    origin.seen().iter().map(|seen| sent(seen, name)).collect()
}

/// An origin that wants `Authorization` to contain `text`.
fn guarded(text: &str, challenge: &str) -> Behaviour {
    let without = || When::Says("authorization".into(), text.into()).negate();
    let field = Deed::Field("WWW-Authenticate".into(), challenge.as_bytes().to_vec());
    let refused = Deed::Status {
        status: 401,
        retry_after: None,
    };
    Behaviour::new(SIZE)
        .rule(without(), field)
        .rule(without(), refused)
}

/// The program with these arguments and no other.
fn alone(place: &Place, args: &[&str]) -> Ran {
    Ran::of(place.command(args).output().expect("the program starts"))
}

fn never_said(ran: &Ran, secret: &str) {
    assert!(
        !ran.stdout.contains(secret) && !ran.stderr.contains(secret),
        "{ran:?}"
    );
}

const DIGEST: &str =
    "Basic realm=\"r\", Digest realm=\"r\", nonce=\"abc\", qop=\"auth\", algorithm=SHA-256";

#[test]
fn a_challenge_of_digest_is_answered_and_the_password_stays() {
    let origin = Loopback::start([("/f", guarded("Digest ", DIGEST))]);
    let place = Place::new();
    let ran = place
        .tur(&[
            "--json",
            "-v",
            "--digest",
            "-u",
            "me:s3cret",
            "-s",
            "4",
            &origin.url("/f"),
        ])
        .ends_with(0);
    place.check("f", 0, SIZE);
    never_said(&ran, "s3cret");
    let shown = all_sent(&origin, "authorization");
    assert_eq!(shown[0], "");
    assert!(
        shown
            .iter()
            .all(|value| value.is_empty() || value.starts_with("Digest username=\"me\""))
    );
    // Each request has a count of its own.
    let count = |value: &String| value.split("nc=").nth(1).map(|rest| rest[..8].to_owned());
    let mut counts: Vec<_> = shown.iter().filter_map(count).collect();
    let all = counts.len();
    counts.sort();
    counts.dedup();
    assert_eq!(counts.len(), all);
    // The password was asked for as one to be sent, and the origin wants better.
    let place = Place::new();
    place
        .tur(&["--retry", "0", "-u", "me:s3cret", &origin.url("/f")])
        .ends_with(0);
    place.check("f", 0, SIZE);
}

#[test]
fn wrong_credentials_are_shown_once() {
    let origin = Loopback::start([("/f", guarded("never sent", DIGEST))]);
    let place = Place::new();
    place
        .tur(&["--digest", "-u", "me:wrong", &origin.url("/f")])
        .ends_with(6);
    assert_eq!(origin.seen().len(), 2);
    assert_eq!(place.names(), Vec::<String>::new());
}

#[test]
fn a_token_stays_at_home_unless_told_otherwise() {
    for (all, count) in [(false, 0), (true, 1)] {
        let second = Loopback::start([("/g", Behaviour::new(5_000))]);
        let location = second.url("/g");
        let moved = Deed::Redirect {
            status: 302,
            location,
        };
        let first = Loopback::start([("/f", Behaviour::new(0).rule(When::Always, moved))]);
        let place = Place::new();
        place.put("token", b"s3cret-token\n");
        let mut args = vec!["-v", "--bearer", "@token", "-o", "f"];
        if all {
            args.push("--headers-all-origins");
        }
        let url = first.url("/f");
        args.push(&url);
        let ran = place.tur(&args).ends_with(0);
        place.check("f", 0, 5_000);
        never_said(&ran, "s3cret");
        assert_eq!(all_sent(&first, "authorization")[0], "Bearer s3cret-token");
        let abroad = all_sent(&second, "authorization");
        let shown = abroad.iter().filter(|value| !value.is_empty()).count();
        assert_eq!(shown.min(1), count);
    }
}

#[test]
fn netrc_is_asked_last() {
    let origin = Loopback::start([("/f", Behaviour::new(5_000))]);
    let url = origin.url("/f");
    let place = Place::new();
    place.put("rc", b"machine 127.0.0.1 login me password \"p w\"\n");
    let mode = |bits| std::fs::Permissions::from_mode(bits);
    let set = |bits| std::fs::set_permissions(place.file("rc"), mode(bits)).expect("it is ours");
    set(0o600);
    let ran = place
        .tur(&["-o", "a", "--netrc-file", "rc", &url])
        .ends_with(0);
    assert!(!ran.stderr.contains("chmod"));
    set(0o644);
    let ran = place
        .tur(&["-o", "b", "--netrc-file", "rc", "-u", "x:y", &url])
        .ends_with(0);
    assert!(ran.stderr.contains("chmod 600"));
    let named = url.replace("://", "://you:z@");
    place
        .tur(&["-o", "c", "--netrc-file", "rc", &named])
        .ends_with(0);
    let named = url.replace("://", "://me@");
    place
        .tur(&["-o", "d", "--netrc-file", "rc", &named])
        .ends_with(0);
    let shown = [
        "Basic bWU6cCB3",
        "Basic eDp5",
        "Basic eW91Ono=",
        "Basic bWU6cCB3",
    ];
    assert_eq!(all_sent(&origin, "authorization"), shown);
    place.put("rc", b"machine a\npassphrase s3cret\n");
    let ran = place.tur(&["--netrc-file", "rc", &url]).ends_with(2);
    assert!(ran.stderr.contains("line 2"), "{}", ran.stderr);
    never_said(&ran, "s3cret");
    place.tur(&["--netrc-file", "none", &url]).ends_with(2);
}

/// Hosts differ by their names: cookies do not know ports (RFC 6265, section 8.5).
#[test]
fn cookies_go_to_whom_they_are_for() {
    let second = Loopback::start([("/g", Behaviour::new(5_000))]);
    let abroad = second.url("/g").replace("127.0.0.1", "localhost");
    let first = Loopback::start([
        (
            "/a",
            Behaviour::new(0)
                .field("Set-Cookie", b"got=s3cret; Path=/; HttpOnly")
                .field("Set-Cookie", b"tls=s3cret; Path=/; Secure")
                .rule(
                    When::Always,
                    Deed::Redirect {
                        status: 302,
                        location: "/b".into(),
                    },
                ),
        ),
        (
            "/b",
            Behaviour::new(0).rule(
                When::Always,
                Deed::Redirect {
                    status: 302,
                    location: abroad,
                },
            ),
        ),
    ]);
    let place = Place::new();
    place.put(
        "jar",
        b"# Netscape HTTP Cookie File\n\
        #HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t0\tfile\ts3cret\n\
        127.0.0.1\tFALSE\t/\tTRUE\t0\tsecure\ts3cret\n\
        127.0.0.1\tFALSE\t/\tFALSE\t9\told\ts3cret\n",
    );
    let ran = place
        .tur(&[
            "--json",
            "-v",
            "-o",
            "f",
            "-b",
            "typed=1",
            "-b",
            "jar",
            &first.url("/a"),
        ])
        .ends_with(0);
    place.check("f", 0, 5_000);
    never_said(&ran, "s3cret");
    let shown = all_sent(&first, "cookie");
    assert_eq!(
        shown,
        ["file=s3cret; typed=1", "file=s3cret; typed=1; got=s3cret"]
    );
    assert!(all_sent(&second, "cookie").iter().all(String::is_empty));
}

#[test]
fn the_users_own_field_wins_over_cookies() {
    let origin = Loopback::start([("/f", Behaviour::new(5_000))]);
    let place = Place::new();
    let url = origin.url("/f");
    place
        .tur(&["-H", "Cookie: own=1", "-b", "typed=1", &url])
        .ends_with(0);
    assert_eq!(all_sent(&origin, "cookie"), ["own=1"]);
    place.put("bad", b"<html>\n");
    let ran = place.tur(&["--cookie-file", "bad", &url]).ends_with(2);
    assert!(ran.stderr.contains("line 1"), "{}", ran.stderr);
}

#[test]
fn a_mistake_in_a_cookie_file_is_told_with_the_file() {
    let origin = Loopback::start([("/f", Behaviour::new(5_000))]);
    let place = Place::new();
    let url = origin.url("/f");
    let far = "127.0.0.1\tFALSE\t/\tFALSE\t99999999999999999999\tk\tv\n";
    place.put("good", far.as_bytes());
    let bad = "# x\n127.0.0.1\tFALSE\t/\tFALSE\t0\tk\ts3c;ret\n";
    place.put("bad", bad.as_bytes());
    let said = "bad: line 2: the name or the value has a control character or a semicolon";
    for flag in ["--cookie-file", "-b"] {
        let args = ["--cookie-file", "good", flag, "bad", &url];
        let ran = place.tur(&args).ends_with(2);
        assert_eq!(ran.stderr, format!("tur: {flag} {said}\n"));
    }
    assert_eq!(origin.requests(), 0);
    place.tur(&["--cookie-file", "good", &url]).ends_with(0);
    place.check("f", 0, 5_000);
    assert_eq!(all_sent(&origin, "cookie"), ["k=v"]);
}

#[test]
fn what_a_server_needed_is_remembered_without_the_secret() {
    let page =
        "<!doctype html><title>Just a moment...</title><script>window._cf_chl_opt={}</script>";
    let without = When::Says("cookie".into(), "clearance".into()).negate();
    let behaviour = Behaviour::new(SIZE).rule(without, Deed::Html(403, page.into()));
    let origin = Loopback::start([("/f.iso", behaviour)]);
    let place = Place::new();
    let url = origin.url("/f.iso");
    place.tur(&[&url]).ends_with(8);
    let listed = alone(&place, &["origins", "list"]);
    assert!(listed.stdout.contains("browser_check"), "{listed:?}");
    let ran = place.tur(&["-b", "clearance=s3cret", &url]).ends_with(0);
    assert!(
        ran.stderr.contains("the last visit to this server"),
        "{}",
        ran.stderr
    );
    let listed = alone(&place, &["origins", "list", "--json"]);
    assert!(listed.stdout.contains("\"challenge\":null"), "{listed:?}");
    assert!(listed.stdout.contains("\"needs_cookies\":true"));
    never_said(&listed, "s3cret");
}
