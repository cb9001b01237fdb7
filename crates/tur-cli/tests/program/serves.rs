//! `tur serve`: what it says, whom it serves, and how it ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tur_core::{ByteRange, Rate};
use tur_testkit::{Behaviour, Deed, Gate, Loopback, When, content};

use crate::harness::{Place, Ran};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 5 * MIB + 3;

/// No test comes near it on any machine that works.
const LIMIT: Duration = Duration::from_secs(120);

/// The program, and the URLs that it has said.
struct Serving {
    child: Child,
    stdout: BufReader<ChildStdout>,
    urls: Vec<String>,
}

impl Serving {
    /// Starts it, and reads a URL for each that it is given.
    fn start(place: &Place, args: &[&str]) -> Self {
        let mut command = place.command(&["serve"]);
        let mut child = command
            .args(args)
            .env("TMPDIR", place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let asked = args.iter().filter(|arg| arg.contains("://")).count();
        let mut line = || {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("it is text");
            line.trim_end().to_owned()
        };
        let urls = (0..asked).map(|_| line()).collect();
        Self {
            child,
            stdout,
            urls,
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), signal).expect("it runs");
    }

    /// Waits for its end; nothing but URLs was said.
    #[track_caller]
    fn ends_with(mut self, code: i32) -> Ran {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("it is text");
        assert_eq!(rest, "", "URLs and nothing else");
        let ran = Ran::of(self.child.wait_with_output().expect("it ends"));
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        ran
    }
}

/// The head and the body of an answer; the body may be cut.
fn ask(url: &str, lines: &str) -> (String, Vec<u8>) {
    let mut stream = begin(url, lines);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("it ends");
    let at = all.windows(4).position(|four| four == b"\r\n\r\n");
    let body = all.split_off(at.expect("a head") + 4);
    (String::from_utf8(all).expect("a head is text"), body)
}

fn begin(url: &str, lines: &str) -> TcpStream {
    let rest = url.strip_prefix("http://").expect("a URL");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).expect("somebody listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let head = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n");
    stream.write_all(head.as_bytes()).expect("it is taken");
    stream
}

#[track_caller]
fn assert_part(url: &str, range: (u64, u64)) {
    let lines = format!("Range: bytes={}-{}\r\n", range.0, range.1 - 1);
    let (head, body) = ask(url, &lines);
    assert!(head.starts_with("HTTP/1.1 206 "), "{head}");
    assert!(
        body == content(0, ByteRange::new(range.0, range.1)),
        "{head}"
    );
}

fn origin(behaviour: Behaviour) -> (Loopback, String) {
    let origin = Loopback::start([("/a%20film.mp4", behaviour)]);
    let url = origin.url("/a%20film.mp4");
    (origin, url)
}

#[test]
fn the_first_line_is_the_url_and_a_signal_ends_it() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SIZE).rule(When::Always, Deed::HoldHead(gate.clone()));
    let (_origin, url) = origin(behaviour);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new();
        // It is there before the origin has said anything.
        let serving = Serving::start(&place, &[&url]);
        let local = serving.urls[0].clone();
        assert!(local.starts_with("http://127.0.0.1:"), "{local}");
        assert!(local.ends_with("/a%20film.mp4"), "{local}");
        gate.open();
        assert_part(&local, (0, SIZE));
        assert_part(&local, (3 * MIB, 3 * MIB + 10));
        serving.signal(signal);
        let ran = serving.ends_with(code);
        assert!(!ran.stderr.contains("http://127.0.0.1:"), "{}", ran.stderr);
        assert_eq!(place.names(), [""; 0], "nothing is left");
    }
}

#[test]
fn it_ends_when_nobody_is_there_and_not_before() {
    let gate = Gate::at(MIB);
    let behaviour = Behaviour::new(SIZE).rule(When::Always, Deed::Hold(gate.clone()));
    let (_origin, url) = origin(behaviour);
    let place = Place::new();
    let mut serving = Serving::start(&place, &["--idle", "1", &url]);
    let mut stream = begin(&serving.urls[0], "");
    let mut begun = vec![0; MIB as usize];
    stream.read_exact(&mut begun).expect("it comes");
    // Somebody is there, and is served nothing: the origin holds it back.
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing but time shows that it does not end"
    )]
    std::thread::sleep(Duration::from_secs(3));
    assert!(serving.child.try_wait().expect("it can be asked").is_none());
    gate.open();
    stream.read_to_end(&mut begun).expect("the rest comes");
    assert!(begun.ends_with(&content(0, ByteRange::new(0, SIZE))));
    drop(stream);
    serving.ends_with(0);
    assert_eq!(place.names(), [""; 0], "nothing is left");
}

/// Without a place to stay there is a window ahead of each player; with one the whole file comes and stays.
#[test]
fn what_has_a_place_stays() {
    const BIG: u64 = 80 * MIB;
    let (paced, url) = origin(Behaviour::new(BIG));
    let place = Place::new();
    let serving = Serving::start(&place, &[&url]);
    assert_part(&serving.urls[0], (70 * MIB, 70 * MIB + 99));
    assert!(!paced.wait_for_bytes(79 * MIB, Duration::from_secs(2)));
    serving.signal(Signal::INT);
    serving.ends_with(130);
    let (_origin, url) = origin(Behaviour::new(SIZE).pace(Rate::per_second(16 * MIB)));
    for args in [
        &["-o", "kept", &url][..],
        &["-d", "dir", "--idle", "2", &url],
    ] {
        let serving = Serving::start(&place, args);
        let name = serving.urls[0].rsplit('/').next();
        let (meant, path, idle) = match args.len() {
            3 => ("kept", "kept", false),
            _ => ("a%20film.mp4", "dir/a film.mp4", true),
        };
        assert_eq!(name, Some(meant));
        let (head, body) = ask(&serving.urls[0], "");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(body == content(0, ByteRange::new(0, SIZE)));
        if idle {
            serving.ends_with(0);
            place.check(path, 0, SIZE);
            continue;
        }
        serving.signal(Signal::INT);
        serving.ends_with(130);
        // The last bytes were read before they were committed: what is there goes on to be the file.
        let again = place.tur(&["-o", "kept", &url]);
        let names = place.names();
        assert!(again.code == Some(0) || names.contains(&"kept".to_owned()));
        place.check(path, 0, SIZE);
    }
}

#[test]
fn several_are_served_in_their_order_and_one_may_fail() {
    let gone = Deed::Status {
        status: 404,
        retry_after: None,
    };
    let origin = Loopback::start([
        ("/one", Behaviour::new(SIZE)),
        ("/gone", Behaviour::new(SIZE).rule(When::Always, gone)),
        ("/two", Behaviour::new(SIZE)),
    ]);
    let urls = ["/one", "/gone", "/two"].map(|path| origin.url(path));
    let place = Place::new();
    let args = ["--idle", "1", &urls[0], &urls[1], &urls[2]];
    let serving = Serving::start(&place, &args);
    for (local, name) in serving.urls.iter().zip(["one", "gone", "two"]) {
        assert!(local.ends_with(&format!("/{name}")), "{local}");
    }
    assert_part(&serving.urls[0], (1000, SIZE));
    assert_part(&serving.urls[2], (0, 5));
    let (head, body) = ask(&serving.urls[1], "");
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!(body.iter().filter(|byte| **byte == b'\n').count(), 1);
    // The exit code tells it, as that of a list does.
    serving.ends_with(8);
    // Where nothing is left to serve it does not wait for anybody.
    let ran = Serving::start(&place, &[&urls[1]]).ends_with(8);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert_eq!(place.names(), [""; 0], "nothing is left");
}

#[test]
fn events_go_to_standard_error() {
    let (_origin, url) = origin(Behaviour::new(SIZE));
    let place = Place::new();
    let serving = Serving::start(&place, &["--json", "--idle", "1", &url]);
    assert_part(&serving.urls[0], (0, SIZE));
    let ran = serving.ends_with(0);
    let last = ran.stderr.lines().rfind(|line| line.starts_with('{'));
    let last: serde_json::Value = serde_json::from_str(last.expect("a line")).expect("an object");
    let said = (&last["event"], &last["path"], &last["bytes"]);
    assert_eq!(said, (&"done".into(), &"-".into(), &SIZE.into()));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (origin, url) = origin(Behaviour::new(SIZE));
    let place = Place::new();
    for args in [
        &["serve"][..],
        &["serve", "not a url"],
        &["serve", "ftp://127.0.0.1/f"],
        &["serve", &url, "https://"],
        &["serve", "-o", "-", &url],
        &["serve", "-o", "/dev/null", &url],
        &["serve", "-o", "f", &url, &url],
        &["serve", "--from", "5", &url],
        &["serve", "-i", "list", &url],
        &["serve", "-j", "2", &url],
        &["serve", "--save-session", "s", &url],
        &[
            "serve",
            "--keep-bad",
            "--checksum",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &url,
        ],
        &["serve", "--idle", "0", &url],
        &["serve", "--idle", "soon", &url],
        &["--idle", "5", &url],
        &["stream", "--idle", "5", &url],
    ] {
        let ran = place.tur_plain(args).ends_with(2);
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr.lines().count()),
            ("", 1),
            "{args:?} {ran:?}"
        );
    }
    assert_eq!((origin.requests(), place.names()), (0, vec![]));
}
