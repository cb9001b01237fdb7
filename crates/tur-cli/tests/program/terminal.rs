//! What a server says cannot act on a terminal: bytes in every place that a server fills, seen through the program.

use crate::harness::{Place, Ran};
use crate::wild::{Step, Wild};

/// Bytes that act, reorder, hide or are no text: all but those that end a line of a head.
fn hostile() -> Vec<Vec<u8>> {
    let controls: Vec<u8> = (1..0x20)
        .chain([0x7f])
        .filter(|b| !b"\r\n".contains(b))
        .collect();
    let high: Vec<u8> = (0x80..=0xff).collect();
    let c1: String = ('\u{80}'..='\u{9f}').collect();
    let hidden = "\u{202e}\u{2066}\u{200b}\u{feff}\u{61c}\u{2028}\u{ad}\u{3164}\u{fe0f}\u{e0041}";
    vec![
        controls,
        high,
        c1.into_bytes(),
        hidden.as_bytes().to_vec(),
        b"\x1b]0;title\x07\x1b[2J\x1b[31m\x9b2J".to_vec(),
    ]
}

/// Nothing but text and line ends: escapes are what is left of everything else.
#[track_caller]
fn check_inert(what: &str, text: &str) {
    let acts = |c: char| {
        let control = c.is_control() && c != '\n';
        let reorders = matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let hides = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{2028}'..='\u{2029}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}');
        control || reorders || hides
    };
    assert!(!text.contains(acts), "{what}: {text:?}");
}

/// Plays the answer on every connection, shows it in each picture, and looks at what is said and at the names of files.
#[track_caller]
fn check(what: &str, answer: Vec<u8>) {
    let steps = vec![Step::Send(answer)];
    let origin = Wild::start(move |_| steps.clone());
    for picture in [
        &["--json"][..],
        &["--progress", "line"],
        &["--progress", "bar"],
    ] {
        let place = Place::new();
        let mut command = place.command(&[
            "-vv",
            "--retry",
            "0",
            "--read-timeout",
            "5",
            "--max-time",
            "20",
        ]);
        let output = command.args(picture).arg(origin.url("/f")).output();
        // This says that what it wrote is UTF-8, too.
        let ran = Ran::of(output.expect("the program starts"));
        assert!(ran.code.is_some(), "{what}: {ran:?}");
        check_inert(what, &ran.stdout);
        check_inert(what, &ran.stderr);
        if picture == ["--json"] {
            ran.events();
        }
        for name in place.names() {
            check_inert(what, &name);
            assert!(
                !name.starts_with(['.', '-']) && !name.contains('\u{fffd}'),
                "{what}: {name:?}"
            );
        }
    }
}

/// An answer with `value` in the place that is marked by `*` in `head`.
fn filled(head: &str, value: &[u8]) -> Vec<u8> {
    let (before, after) = head.split_once('*').expect("it has a place");
    [before.as_bytes(), value, after.as_bytes()].concat()
}

#[test]
fn fields_cannot_act() {
    let end = "Content-Length: 5\r\nConnection: close\r\n\r\nhello";
    for field in [
        "ETag: \"*\"",
        "Content-Type: text/*; x",
        "Content-Encoding: x*",
        "Content-Disposition: attachment; filename=\"a*b.bin\"",
        "Content-Disposition: attachment; filename=a*b",
        "Last-Modified: *",
        "Retry-After: *",
        "Content-Range: bytes *",
    ] {
        for value in hostile() {
            for status in ["200 OK", "206 Partial Content"] {
                let head = format!("HTTP/1.1 {status}\r\n{field}\r\n{end}");
                check(field, filled(&head, &value));
            }
        }
    }
}

#[test]
fn refusals_cannot_act() {
    for head in [
        "HTTP/1.1 404 Not* Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 503 *\r\nRetry-After: 9999\r\n\r\n",
        "HTTP/1.1 401 *\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n",
        "HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=\"*\"\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: *\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/*\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://h*.invalid/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: x*://h/\r\nContent-Length: 0\r\n\r\n",
        "*",
        "HTTP/1.1 2*0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\n*: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: *\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n*\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html><title>*</title>",
    ] {
        for value in hostile() {
            check(head, filled(head, &value));
        }
    }
}

#[test]
fn what_is_typed_cannot_act_either() {
    let place = Place::new();
    let odd = "a\u{1b}[2J\u{9b}\u{202e}b";
    for args in [
        &["--nope\u{1b}[2J\u{9b}", "u"][..],
        &["-x", odd, "u"],
        &["-H", odd, "u"],
        &["--exists", odd, "u"],
        &["--checksum", odd, "u"],
        &["--ca-file", odd, "http://127.0.0.1:9/"],
        &["-d", odd, odd],
        &["origins", "forget", odd],
        &["origins", odd],
        &[odd],
    ] {
        let ran = place.tur(args);
        assert_ne!(ran.code, Some(0), "{ran:?}");
        check_inert("stderr", &ran.stderr);
        check_inert("stdout", &ran.stdout);
    }
}
