//! What a request gets, with a download in good order.

use tur_stream::Media;
use tur_stream::serve::{Endpoint, EndpointOptions};
use tur_testkit::Behaviour;

use crate::client::{Client, Place};
use crate::stand::{NAME, SIZE, Stand, range};

fn place() -> (Stand, Place) {
    let stand = Stand::new(Behaviour::new(SIZE).media_type("video/mp4"));
    let place = Place::of(stand.media());
    (stand, place)
}

#[test]
fn a_whole_file_and_its_ranges() {
    let (_stand, place) = place();
    let whole = place.ask("GET", &[]);
    whole.assert_bytes(200, 0, range(0, SIZE));
    assert_eq!(whole.field("accept-ranges"), Some("bytes"));
    assert_eq!(whole.field("content-type"), Some("video/mp4"));
    assert_eq!(whole.field("content-range"), None);
    assert_eq!(whole.field("access-control-allow-origin"), None);
    for (text, (start, end)) in [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, SIZE)),
        ("bytes=70000-199999", (70_000, 200_000)),
        ("bytes=1000000-", (1_000_000, SIZE)),
        ("bytes=1000000-9999999999", (1_000_000, SIZE)),
        ("bytes=-1", (SIZE - 1, SIZE)),
        ("bytes=-9999999999", (0, SIZE)),
    ] {
        let part = place.ask("GET", &[&format!("Range: {text}")]);
        part.assert_bytes(206, 0, range(start, end));
        let meant = format!("bytes {start}-{}/{SIZE}", end - 1);
        assert_eq!(part.field("content-range"), Some(&*meant), "{text}");
        assert_eq!(part.field("etag"), whole.field("etag"));
        assert_eq!(part.field("content-type"), Some("video/mp4"));
    }
    // Several ranges, and what is none, get all of it.
    for text in ["bytes=0-1,5-6", "bytes=5-4", "lines=1-2"] {
        let whole = place.ask("GET", &[&format!("Range: {text}")]);
        whole.assert_bytes(200, 0, range(0, SIZE));
    }
    for text in ["bytes=1024000-", "bytes=2000000-3000000", "bytes=-0"] {
        let none = place.ask("GET", &[&format!("Range: {text}")]);
        assert_eq!((none.status, none.body.len()), (416, 0), "{text}");
        let meant = format!("bytes */{SIZE}");
        assert_eq!(none.field("content-range"), Some(&*meant));
    }
}

#[test]
fn head_says_what_get_would_and_knows_no_ranges() {
    let (_stand, place) = place();
    let get = place.ask("GET", &[]);
    for lines in [&[][..], &["Range: bytes=5-6"], &["Range: bytes=9999999-"]] {
        let head = place.ask("HEAD", lines);
        assert_eq!((head.status, head.body.len()), (200, 0));
        let length = SIZE.to_string();
        assert_eq!(head.field("content-length"), Some(&*length));
        for name in ["etag", "content-type", "accept-ranges"] {
            assert_eq!(head.field(name), get.field(name), "{name}");
        }
    }
}

#[test]
fn conditions_are_about_a_strong_tag() {
    let (_stand, place) = place();
    let mut client = place.client();
    let tag = client.ask("HEAD", &place.path, &[]);
    let tag = tag.field("etag").expect("a tag");
    assert!(tag.starts_with('"') && !place.path.contains(&tag[1..9]));
    let (same, other) = (format!("If-Range: {tag}"), "If-Range: \"other\"");
    // All of it over one connection.
    let mut ask = |lines: &[&str]| client.ask("GET", &place.path, lines);
    ask(&["Range: bytes=7-8", &same]).assert_bytes(206, 0, range(7, 9));
    ask(&["Range: bytes=7-8", other]).assert_bytes(200, 0, range(0, SIZE));
    let weak = format!("If-Range: W/{tag}");
    ask(&["Range: bytes=7-8", &weak]).assert_bytes(200, 0, range(0, SIZE));
    ask(&[&format!("If-Match: {tag}"), "Range: bytes=-2"]).assert_bytes(
        206,
        0,
        range(SIZE - 2, SIZE),
    );
    for (line, status) in [
        ("If-Match: \"other\"".to_owned(), 412),
        (format!("If-None-Match: \"x\", {tag}"), 304),
    ] {
        let bare = ask(&[&line]);
        assert_eq!((bare.status, bare.body.len()), (status, 0), "{line}");
        assert_eq!(bare.field("etag"), Some(tag));
    }
    ask(&["If-None-Match: \"other\""]).assert_bytes(200, 0, range(0, SIZE));
}

#[test]
fn what_is_not_here_and_what_is_not_done() {
    let (_stand, place) = place();
    let (token, name) = place.path[1..].split_once('/').expect("two parts");
    assert_eq!((token.len(), name), (32, NAME));
    let digit = if token.starts_with('0') { "1" } else { "0" };
    let wrong = format!("{digit}{}", &token[1..]);
    for path in [
        "/",
        "/favicon.ico",
        &format!("/{token}"),
        &format!("/{token}/"),
        &format!("/{token}/other.bin"),
        &format!("/{token}/{name}/x"),
        &format!("//{token}/{name}"),
        &format!("/{wrong}/{name}"),
        &format!("/{}/{name}", &token[..31]),
        &format!("/{}/{name}", token.to_uppercase()),
    ] {
        place.client().ask("GET", path, &[]).assert_refusal(404);
    }
    // A query says nothing, and an escape is what it stands for.
    for path in [
        format!("{}?t=5", place.path),
        format!("/{token}/%66ile.bin"),
    ] {
        let found = place.client().ask("GET", &path, &["Range: bytes=3-4"]);
        found.assert_bytes(206, 0, range(3, 5));
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let refusal = place.ask(method, &[]);
        refusal.assert_refusal(405);
        assert_eq!(refusal.field("allow"), Some("GET, HEAD"));
    }
}

/// A page whose name was made to lead here is not answered, whatever it knows.
#[test]
fn only_who_asks_for_this_place_is_answered() {
    let (_stand, place) = place();
    let (path, port) = (&place.path, place.endpoint.address().port());
    let raw = |text: String| {
        let mut client = place.client();
        client.raw(&text);
        client.answer("GET")
    };
    for host in ["evil.example", "127.0.0.1", "[::1]", "127.0.0.1:1", ""] {
        raw(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).assert_refusal(421);
        let both = format!("GET http://{host}{path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
        if !host.is_empty() {
            raw(both).assert_refusal(421);
        }
    }
    let host = format!("evil.example:{port}");
    raw(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).assert_refusal(421);
    raw(format!("GET {path} HTTP/1.1\r\n\r\n")).assert_refusal(400);
    let here = format!("Host: localhost:{port}\r\n");
    raw(format!("GET {path} HTTP/1.1\r\n{here}{here}\r\n")).assert_refusal(400);
    let all = [
        format!("GET {path} HTTP/1.1\r\n{here}\r\n"),
        format!("GET http://localhost:{port}{path} HTTP/1.1\r\n{here}\r\n"),
        // No browser speaks like this.
        format!("GET {path} HTTP/1.0\r\n\r\n"),
    ];
    for text in all {
        raw(text).assert_bytes(200, 0, range(0, SIZE));
    }
}

#[test]
fn several_media_have_nothing_in_common() {
    let stand = Stand::new(Behaviour::new(SIZE).media_type("text/html"));
    let options = |file| stand.options().file(file);
    let endpoint = Endpoint::open(EndpointOptions::new()).expect("a port");
    let [one, other] =
        ["a b?.html", "other"].map(|file| Media::of(stand.download().lanes(2), options(file)));
    let [one, other] = [one, other].map(|media| endpoint.add(&media).expect("a URL"));
    // What no file can be called is not in a URL either.
    assert!(
        one.ends_with("/a%20b_.html") && other.ends_with("/other"),
        "{one}"
    );
    let paths = [&one, &other].map(|url| {
        let path = url.splitn(4, '/').nth(3).expect("a path");
        path.split_once('/').expect("a token and a name")
    });
    let [(token, name), (other_token, _)] = paths;
    assert_ne!(token, other_token);
    let ask = |path: &str| Client::of(&endpoint).ask("GET", path, &[]);
    ask(&format!("/{other_token}/{name}")).assert_refusal(404);
    let page = ask(&format!("/{token}/{name}"));
    page.assert_bytes(200, 0, range(0, SIZE));
    // A page of an origin is not to run here.
    assert_eq!(page.field("content-security-policy"), Some("sandbox"));
}
