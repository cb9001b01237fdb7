//! `--save-session`: what is left after any end, and going on from it.
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files from outside; nothing here is part of tur"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use rustix::process::Signal;
use tur_testkit::{Deed, Gate, Loopback, When};

use super::{KIB, MIB, SIZE, alike, file};
use crate::harness::Place;

const LARGE: u64 = 2 * MIB;

/// `/a` is served at once, `/b` and `/c` are held after a MiB, `/d` waits for its turn.
struct Stand {
    origin: Loopback,
    gate: Gate,
    place: Place,
}

impl Stand {
    fn new() -> Self {
        let gate = Gate::at(MIB);
        let held = |version| {
            let large = tur_testkit::Behaviour {
                version,
                ..tur_testkit::Behaviour::new(LARGE)
            };
            large.rule(When::Always, Deed::Hold(gate.clone()))
        };
        let paths = [
            ("/a", file(1)),
            ("/b", held(2)),
            ("/c", held(3)),
            ("/d", file(4)),
        ];
        Self {
            origin: Loopback::start(paths),
            gate,
            place: Place::new(),
        }
    }

    fn list(&self) -> String {
        let urls = ["/a", "/b", "/c", "/d"].map(|path| self.origin.url(path));
        let [a, b, c, d] = urls;
        format!("{a}\n{b}\n  out=bb\n  header=X-Key: hunter2\n{c}\n  dir=sub\n{d}\n")
    }

    /// Begins; returns when `/b` and `/c` wait for the gate, and `/a` is done.
    fn begin(&self, list: &str) -> crate::harness::Running {
        self.place.put("list", list.as_bytes());
        let mut running = self
            .place
            .start(&["-j2", "-x1", "-i", "list", "--save-session", "s"]);
        let mut there = BTreeSet::new();
        running.wait_for(|event| {
            let landed = event["landed"].as_u64() >= Some(MIB - 64 * KIB);
            let done = event["event"] == "done" && event["id"] == 1;
            if done || (event["event"] == "progress" && landed && event["id"] != 1) {
                there.insert(event["id"].as_u64());
            }
            there.len() == 3
        });
        assert!(
            self.origin
                .wait_for_bytes(SIZE + 2 * MIB, Duration::from_secs(60))
        );
        running
    }

    /// Goes on from the session, and looks at everything.
    #[track_caller]
    fn goes_on(&self) {
        self.gate.open();
        let before = self.origin.bytes_sent();
        let ran = self
            .place
            .tur(&["--json", "-i", "s", "--save-session", "s"])
            .ends_with(0);
        for (name, version, size) in [
            ("a", 1, SIZE),
            ("bb", 2, LARGE),
            ("sub/c", 3, LARGE),
            ("d", 4, SIZE),
        ] {
            self.place.check(name, version, size);
        }
        assert_eq!(self.place.names(), ["a", "bb", "d", "list", "s", "sub"]);
        let sub: Vec<_> = fs::read_dir(self.place.file("sub"))
            .expect("it is there")
            .collect();
        assert_eq!(sub.len(), 1, "{sub:?}");
        let more = self.origin.bytes_sent() - before;
        assert!(
            more <= 2 * (LARGE - MIB) + SIZE + MIB / 2,
            "{more}: {ran:?}"
        );
        self.place.check_bytes("s", b"");
        let keys = self
            .origin
            .seen()
            .into_iter()
            .filter(|seen| seen.path == "/b");
        for seen in keys {
            assert_eq!(seen.field("x-key"), Some(&b"hunter2"[..]));
        }
        // Of what was finished no body came again: at most its last byte was asked for.
        let whole = |seen: &&tur_testkit::Seen| seen.path == "/a" && seen.sent > 1;
        assert_eq!(self.origin.seen().iter().filter(whole).count(), 1);
    }

    fn session(&self) -> String {
        self.place.text("s")
    }

    /// The URLs in the session, by their paths.
    fn left(&self) -> Vec<String> {
        let session = self.session();
        let urls = session.lines().filter(|line| line.starts_with("http"));
        urls.map(|url| url.rsplit('/').next().unwrap_or_default().to_owned())
            .collect()
    }
}

#[test]
fn a_signal_keeps_what_landed_and_the_session_goes_on_from_there() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let stand = Stand::new();
        let running = stand.begin(&stand.list());
        running.signal(signal);
        let ran = running.end().ends_with(code);
        assert!(
            ran.stderr.contains("interrupted; 3 files not finished"),
            "{ran:?}"
        );
        let last = ran.last();
        assert_eq!(
            (&last["done"], &last["unfinished"]),
            (&1.into(), &3.into()),
            "{last}"
        );
        assert_eq!(stand.left(), ["b", "c", "d"]);
        assert_eq!(
            stand.place.names(),
            ["a", "bb.part", "bb.tur", "list", "s", "sub"]
        );
        let requests = stand
            .origin
            .seen()
            .into_iter()
            .filter(|seen| seen.path == "/d");
        assert_eq!(requests.count(), 0, "nothing new begins");
        let mode = fs::metadata(stand.place.file("s"))
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        stand.goes_on();
        // The session knew that it was done: nobody was asked.
        let seen = stand.origin.seen().into_iter();
        assert_eq!(seen.filter(|seen| seen.path == "/a").count(), 1);
    }
}

#[test]
fn a_kill_leaves_a_session_with_everything_that_is_left() {
    let stand = Stand::new();
    let running = stand.begin(&stand.list());
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, None);
    let left = stand.left();
    // That `/a` is done may have been written already, or not yet.
    assert!(
        left.ends_with(&["b", "c", "d"].map(str::to_owned)),
        "{left:?}"
    );
    assert_eq!(stand.session().matches("header=X-Key: hunter2").count(), 1);
    stand.goes_on();
}

#[test]
fn what_is_done_leaves_the_session_while_the_others_run() {
    let stand = Stand::new();
    let running = stand.begin(&stand.list());
    let soon = std::iter::repeat_with(|| {
        assert!(
            !stand
                .origin
                .wait_for_requests(u64::MAX, Duration::from_millis(50))
        );
        stand.left()
    });
    let left = soon.take(1_200).find(|left| left.len() == 3);
    assert_eq!(
        left.as_deref(),
        Some(&["b", "c", "d"].map(str::to_owned)[..])
    );
    running.signal(Signal::KILL);
    running.end();
    stand.goes_on();
}

#[test]
fn a_session_may_be_the_list_it_came_from() {
    let stand = Stand::new();
    let gone = stand.origin.url("/gone");
    stand.gate.open();
    stand
        .place
        .put("s", format!("{}{gone}\n", stand.list()).as_bytes());
    stand
        .place
        .tur(&["-i", "s", "--save-session", "s"])
        .ends_with(8);
    assert_eq!(stand.left(), ["gone"]);
    assert!(
        stand
            .session()
            .contains(&format!("  dir={}", stand.place.path().display()))
    );
    stand
        .place
        .tur(&["-i", "s", "--save-session", "s"])
        .ends_with(8);
    stand.origin.swap("/gone", file(9));
    stand
        .place
        .tur(&["-i", "s", "--save-session", "s"])
        .ends_with(0);
    stand.place.check("gone", 9, SIZE);
    stand.place.check_bytes("s", b"");
}

#[test]
fn nothing_that_was_typed_as_a_secret_is_saved() {
    let stand = Stand::new();
    let missing = stand.origin.url("/missing?q=kept");
    let typed = missing.replace("http://", "http://me:hunter2@");
    let secret = [
        "-H",
        "X-Key: hunter2",
        "-u",
        "me:hunter2",
        "-e",
        "http://hunter2/",
    ];
    for (more, left) in [(&[][..], 1), (&[stand.origin.url("/b/missing")][..], 2)] {
        let mut args = vec!["--save-session", "s", "-d", "files", &typed];
        args.extend(secret);
        args.extend(more.iter().map(String::as_str));
        stand.place.tur(&args).ends_with(8);
        let session = stand.session();
        assert!(!session.contains("hunter2"), "{session}");
        assert_eq!(stand.left().len(), left);
        let dir = stand.place.file("files");
        let entry = format!("  dir={}\n{missing}\n", dir.display());
        assert!(session.contains(&entry), "{session}");
    }
    let args = ["--save-session", "s", "-o", "x", &missing];
    stand.place.tur(&args).ends_with(8);
    assert!(stand.session().contains(&format!("{missing}\n  out=x\n")));
}

#[test]
fn a_session_is_never_written_through_a_name_that_is_no_file() {
    let stand = Stand::new();
    let url = stand.origin.url("/a");
    let place = &stand.place;
    place.put("precious", b"mine");
    symlink("precious", place.file("link")).expect("links can be made");
    fs::create_dir(place.file("dir")).expect("directories can be made");
    for name in ["link", "dir", "/dev/null", "missing/s"] {
        place.tur(&["--save-session", name, &url]).ends_with(3);
    }
    // What a killed run left is replaced, and not followed.
    symlink("precious", place.file("s.new")).expect("links can be made");
    place.put("s", b"old");
    place.tur(&["--save-session", "s", &url]).ends_with(0);
    place.check_bytes("s", b"");
    place.check_bytes("precious", b"mine");
    place.check("a", 1, SIZE);
    assert_eq!(place.names(), ["a", "dir", "link", "precious", "s"]);
}

#[test]
fn a_session_that_cannot_be_written_in_the_end_is_a_failure() {
    let stand = Stand::new();
    let running = stand.begin(&stand.list());
    stand.place.put("precious", b"mine");
    fs::remove_file(stand.place.file("s")).expect("it is there");
    symlink("precious", stand.place.file("s")).expect("links can be made");
    stand.gate.open();
    let ran = running.end().ends_with(3);
    assert!(
        ran.stderr
            .contains("--save-session s: it is there and is not"),
        "{ran:?}"
    );
    assert_eq!(
        (&ran.last()["done"], &ran.last()["failed"]),
        (&4.into(), &0.into())
    );
    for (name, version, size) in [
        ("a", 1, SIZE),
        ("bb", 2, LARGE),
        ("sub/c", 3, LARGE),
        ("d", 4, SIZE),
    ] {
        stand.place.check(name, version, size);
    }
    stand.place.check_bytes("precious", b"mine");
}

#[test]
fn a_session_that_would_fill_the_disk_is_not_half_written() {
    let stand = Stand::new();
    let long = "x".repeat(60_000);
    let item = |n| format!("{}?{n}{long}\n", stand.origin.url("/a"));
    let list: String = (0..4).map(item).collect();
    stand.place.put("list", list.as_bytes());
    stand.place.put("s", b"old");
    let mut command = stand.place.run("sh");
    // Blocks of 512 bytes or of 1 KiB: less than the four lines in any case.
    command
        .args(["-c", "ulimit -f 128; exec \"$@\"", "sh"])
        .args([
            env!("CARGO_BIN_EXE_tur"),
            "-i",
            "list",
            "--save-session",
            "s",
        ]);
    let output = command.output().expect("the program starts");
    let ran = crate::harness::Ran::of(output).ends_with(9);
    assert!(ran.stderr.contains("--save-session s: "), "{ran:?}");
    stand.place.check_bytes("s", b"old");
    assert_eq!(stand.place.names(), ["list", "s"]);
    assert_eq!(stand.origin.requests(), 0);
}

/// Two files of one name, one length and one date, one of which comes in the first run and the other in the next.
#[test]
fn what_is_finished_is_not_taken_for_what_is_left() {
    for named in [false, true] {
        for missing in [0, 1] {
            let paths = match named {
                true => ["/a", "/b"],
                false => ["/a/f", "/b/f"],
            };
            let behaviour = |n: usize| {
                let at = alike(u8::try_from(n).expect("there are two"));
                match named {
                    true => at.disposition(b"attachment; filename=f"),
                    false => at,
                }
            };
            let there = 1 - missing;
            let origin = Loopback::start([(paths[there], behaviour(there))]);
            let place = Place::new();
            let urls = paths.map(|path| origin.url(path) + "\n").concat();
            place
                .tur_fed(&urls, &["-j1", "-d", "o", "--save-session", "s"])
                .ends_with(8);
            let session = place.text("s");
            let done = format!("  done={}\n", place.file("o/f").display());
            assert!(session.contains(&done), "{session}");
            // As often as it is gone on with, and from wherever.
            for code in [8, 0] {
                if code == 0 {
                    origin.swap(paths[missing], behaviour(missing));
                }
                place
                    .tur(&["-i", "s", "--save-session", "s"])
                    .ends_with(code);
            }
            place.check("o/f", u8::try_from(there).expect("two"), SIZE);
            place.check("o/f.1", u8::try_from(missing).expect("two"), SIZE);
            place.check_bytes("s", b"");
        }
    }
}

#[test]
fn a_session_that_no_list_may_be_is_refused_before_anything_begins() {
    let stand = Stand::new();
    let dir = "x".repeat((128 << 10) - 8);
    let list = format!("{}\n dir={dir}\n", stand.origin.url("/a"));
    stand.place.put("list", list.as_bytes());
    let ran = stand
        .place
        .tur(&["-i", "list", "--save-session", "s"])
        .ends_with(2);
    assert!(ran.stderr.contains("divide the list"), "{ran:?}");
    assert_eq!(stand.place.names(), ["list"]);
    assert_eq!(stand.origin.requests(), 0);
}
