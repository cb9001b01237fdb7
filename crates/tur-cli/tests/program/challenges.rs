//! Pages that come instead of the file: exit codes, words and the line for programs.

use tur_testkit::{Behaviour, Deed, Loopback, When};

use crate::harness::Place;

const CAPTCHA: &str = "<!doctype html><title>shop</title><script>var dd={'rt':'c'}</script>\
    <script src=\"https://ct.captcha-delivery.com/c.js\"></script>";
const LOGIN: &str = "<html><form><input type=password name=p></form></html>";

fn serving(path: &str, behaviour: Behaviour) -> Loopback {
    Loopback::start([(path, behaviour)])
}

#[test]
fn a_captcha_is_never_the_file() {
    for status in [200, 403, 503] {
        let deed = Deed::Html(status, CAPTCHA.to_owned());
        let origin = serving("/f.iso", Behaviour::new(9_000).rule(When::Always, deed));
        let place = Place::new();
        let ran = place.tur(&["--json", &origin.url("/f.iso")]).ends_with(8);
        assert_eq!(place.names(), Vec::<String>::new(), "{status}");
        let events = ran.events();
        let mut told = events.iter().filter(|event| event["event"] == "challenge");
        assert_eq!(told.next().expect("it is told")["kind"], "captcha");
        assert!(told.next().is_none(), "once");
        let error = ran.last();
        assert_eq!(error["kind"], "server");
        assert_eq!(error["needs_browser"], true);
        assert_eq!(error["challenge"], "captcha");
        assert_eq!(origin.seen().len(), 1);
    }
}

#[test]
fn a_login_page_wants_credentials() {
    let deed = Deed::Html(200, LOGIN.to_owned());
    let origin = serving("/f.iso", Behaviour::new(9_000).rule(When::Always, deed));
    let place = Place::new();
    let ran = place.tur(&[&origin.url("/f.iso")]).ends_with(6);
    assert!(ran.stderr.contains("login page came instead of the file"));
    assert_eq!(place.names(), Vec::<String>::new());
}

#[test]
fn fields_alone_are_enough() {
    let behaviour = Behaviour::new(9_000)
        .rule(
            When::Always,
            Deed::Field("cf-mitigated".into(), b"challenge".to_vec()),
        )
        .rule(
            When::Always,
            Deed::Status {
                status: 403,
                retry_after: None,
            },
        );
    let origin = serving("/f.iso", behaviour);
    let place = Place::new();
    let ran = place.tur(&[&origin.url("/f.iso")]).ends_with(8);
    assert!(ran.stderr.contains("browser check"));
}

#[test]
fn a_page_that_was_asked_for_is_a_file_like_any_other() {
    let page = LOGIN.repeat(1_000);
    let origin = serving(
        "/login.html",
        Behaviour::of(page.clone().into_bytes()).media_type("text/html"),
    );
    let place = Place::new();
    place.tur(&[&origin.url("/login.html")]).ends_with(0);
    place.check_bytes("login.html", page.as_bytes());
}
