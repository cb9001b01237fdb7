//! What a list says, and what of it is refused.

use std::time::Duration;

use tur_testkit::{Behaviour, Deed, Gate, Loopback, When};

use super::{KIB, SIZE, file};
use crate::harness::{Place, sha256};

/// A list with every option, as editors of two systems write it.
fn every_option(origin: &Loopback) -> String {
    let [a, b, c] = ["/a", "/b", "/c"].map(|path| origin.url(path));
    let digest = sha256(2, SIZE);
    [
        format!("\u{feff}# what we need\r\n\r\n{a}\r\n  out=one.bin\r\n"),
        format!("{b}\n\tdir=in/side\n  checksum=sha256:{digest}\n"),
        format!("  header=X-Own: 1\n  header=X-Other: 2\n\n{c}"),
    ]
    .concat()
}

#[test]
fn a_list_is_downloaded_with_the_options_of_each() {
    let paths = [("/a", file(1)), ("/b", file(2)), ("/c", file(3))];
    let origin = Loopback::start(paths);
    for fed in [false, true] {
        let place = Place::new();
        let list = every_option(&origin);
        place.put("list", list.as_bytes());
        let ran = match fed {
            true => place.tur_fed(&list, &["-d", "d"]),
            false => place.tur(&["-i", "list", "-d", "d"]),
        };
        let ran = ran.ends_with(0);
        place.check("d/one.bin", 1, SIZE);
        place.check("in/side/b", 2, SIZE);
        place.check("d/c", 3, SIZE);
        assert_eq!(place.names(), ["d", "in", "list"]);
        assert_eq!(ran.stdout, "");
        assert!(
            ran.stderr.contains("tur: 3 files, 120.0 KiB in "),
            "{ran:?}"
        );
    }
}

#[test]
fn what_is_typed_comes_first_and_a_list_may_be_short() {
    let origin = Loopback::start([("/a", file(1)), ("/b", file(2))]);
    let place = Place::new();
    place.put("list", origin.url("/b").as_bytes());
    let ran = place
        .tur(&["--json", "-i", "list", &origin.url("/a")])
        .ends_with(0);
    let starts: Vec<_> = ran
        .events()
        .into_iter()
        .filter(|event| event["event"] == "start")
        .map(|event| (event["id"].as_u64(), event["url"].clone()))
        .collect();
    let url = |path| origin.url(path).into();
    assert_eq!(starts, [(Some(1), url("/a")), (Some(2), url("/b"))]);
    place.check("a", 1, SIZE);
    place.check("b", 2, SIZE);
    let ran = place.tur_fed("# nothing\n\n", &["--json"]).ends_with(0);
    assert_eq!(ran.events().len(), 1, "{ran:?}");
    assert_eq!(ran.last()["files"], 0);
}

#[test]
fn a_wrong_line_is_a_mistake_before_anything_is_done() {
    let origin = Loopback::start([("/a", file(1))]);
    let url = origin.url("/a");
    let place = Place::new();
    for (list, said) in [
        (
            format!("{url}\n  outt=b\n"),
            "tur: list:2: outt is no option",
        ),
        (
            format!("  out=b\n{url}"),
            "tur: list:1: an option without a URL",
        ),
        (
            format!("{url}\n  out=b\n  out=c\n"),
            "tur: list:3: out is given twice",
        ),
        (
            format!("{url}\n{url}\t{url}\n"),
            "tur: list:2: one URL a line",
        ),
        (
            format!("{url}\n  secret: hunter2\n"),
            "tur: list:2: key=value is expected",
        ),
        (
            format!("{url}\n  checksum=md5:hunter2\n"),
            "tur: list:2: checksum: a md5 digest",
        ),
        (
            format!("{url}\n  header=X Y: hunter2\n"),
            "tur: list:2: header: the name",
        ),
        (
            format!("{url}\n  header=Range: hunter2\n"),
            "tur: list:2: Range: ",
        ),
        (
            format!("{url}\n  header=Host: a/hunter2\n"),
            "tur: list:2: Host: a name or an address",
        ),
        (
            format!("{url}\n  out=x/\n"),
            "tur: list:2: x/: not a file name",
        ),
        (
            format!("{url}\n  out=-\n"),
            "tur: list:2: out: only regular files",
        ),
        (
            format!("{url}\n# c\n  dir=d\n\n  out={}\n", "x".repeat(251)),
            "tur: list:5: the file name has 251 bytes",
        ),
        (format!("{url}\n\nnot a url\n"), "tur: list:3: "),
        (format!("{url}\nnot a url\n  done=/d/f\n"), "tur: list:2: "),
        (format!("{url}\nftp://127.0.0.1/f\n"), "tur: list:2: "),
    ] {
        place.put("list", list.as_bytes());
        let ran = place
            .tur(&["-i", "list", "--save-session", "s"])
            .ends_with(2);
        assert!(ran.stderr.starts_with(said), "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
    }
    assert_eq!(origin.requests(), 0);
    assert_eq!(place.names(), ["list"]);
}

#[test]
fn what_cannot_be_meant_of_several_is_refused() {
    let origin = Loopback::start([("/a", file(1))]);
    let url = origin.url("/a");
    let place = Place::new();
    place.put("good", url.as_bytes());
    place.put("list", b"http://h/\xff\n");
    for args in [&["-i", "list"][..], &["-i", "missing"], &["-i", "."]] {
        place.tur(args).ends_with(2);
    }
    for (args, said) in [
        (&["-o", "x", &url, &url][..], "-o is for one URL"),
        (
            &["--checksum", "md5:00", "-i", "good"],
            "--checksum is for one URL",
        ),
        (&[&url, "ftp://h/f"], "URL 2: "),
        (&["-i", "good", "-i", "good"], "-i is given twice"),
    ] {
        let ran = place.tur(args).ends_with(2);
        assert!(ran.stderr.contains(said), "{ran:?}");
    }
    assert_eq!(origin.requests(), 0);
    assert_eq!(place.names(), ["good", "list"]);
}

/// A field of an item is sent for that item alone, and to its first origin alone.
#[test]
fn fields_of_an_item_are_its_own() {
    let elsewhere = Loopback::start([("/there", file(4))]);
    let away = Behaviour::new(0).rule(
        When::Always,
        Deed::Redirect {
            status: 302,
            location: elsewhere.url("/there"),
        },
    );
    let paths = [("/a", file(1)), ("/b", file(2)), ("/away", away)];
    let origin = Loopback::start(paths);
    let other = Loopback::start([("/c", file(3))]);
    let place = Place::new();
    let list = format!(
        "{}\n  header=Authorization: hunter2\n  header=x-common: own\n{}\n{}\n{}\n  header=Cookie: hunter3\n",
        origin.url("/a"),
        origin.url("/b"),
        other.url("/c"),
        origin.url("/away"),
    );
    place.put("list", list.as_bytes());
    place
        .tur(&["-i", "list", "-H", "X-Common: all", "-u", "me:pw"])
        .ends_with(0);
    for (name, version) in [("a", 1), ("b", 2), ("c", 3), ("away", 4)] {
        place.check(name, version, SIZE);
    }
    let basic = &b"Basic bWU6cHc="[..];
    for (seen, authorization, common) in [
        (&origin.seen(), basic, "all"),
        (&other.seen(), basic, "all"),
    ] {
        for seen in seen {
            let (authorization, common) = match seen.path.as_str() {
                "/a" => (&b"hunter2"[..], "own"),
                _ => (authorization, common),
            };
            assert_eq!(seen.field("authorization"), Some(authorization), "{seen:?}");
            let commons = seen.fields.iter().filter(|(name, _)| name == "x-common");
            let commons: Vec<_> = commons.map(|(_, value)| &value[..]).collect();
            assert_eq!(commons, [common.as_bytes()], "{seen:?}");
            let cookie = (seen.path == "/away").then_some(&b"hunter3"[..]);
            assert_eq!(seen.field("cookie"), cookie, "{seen:?}");
        }
    }
    for seen in elsewhere.seen() {
        for name in ["authorization", "cookie", "x-common"] {
            assert_eq!(seen.field(name), None, "{seen:?}");
        }
    }
}

/// The origin refuses the fourth of one path at a time, so that `-j 3` is the most that works.
#[test]
fn so_many_run_at_once_and_no_more() {
    let crowd = Deed::Busy {
        limit: 3,
        retry_after: None,
    };
    let behaviour = Behaviour::new(SIZE)
        .rule(When::Always, crowd)
        .rule(When::Always, Deed::FirstByte(Duration::from_millis(300)));
    for (jobs, code) in [("1", 0), ("3", 0), ("9", 8)] {
        let gate = Gate::at(0);
        let held = behaviour
            .clone()
            .rule(When::Always, Deed::HoldHead(gate.clone()));
        let origin = Loopback::start([("/f", held)]);
        let place = Place::new();
        let item = |n| format!("{}\n  out=f{n}\n", origin.url("/f"));
        let list: String = (0..9).map(item).collect();
        let args = ["-j", jobs, "-x1", "--retry", "0", "--no-origin-memory"];
        std::thread::scope(|scope| {
            // Nobody is served before the fourth is there, if there is to be one at a time.
            let first = if code == 0 { 1 } else { 4 };
            let (origin, gate) = (&origin, &gate);
            scope.spawn(move || {
                assert!(origin.wait_for_requests(first, Duration::from_secs(60)));
                gate.open();
            });
            place.tur_fed(&list, &args).ends_with(code);
        });
        if code == 0 {
            for n in 0..9 {
                place.check(&format!("f{n}"), 0, SIZE);
            }
            assert_eq!(origin.requests(), 9);
        }
    }
}

#[test]
fn many_small_files_take_few_connections() {
    const FILES: u64 = 400;
    let path = |n| format!("/f{n}");
    let paths = (0..FILES).map(|n| (path(n), Behaviour::new(KIB + n)));
    let origin = Loopback::start(paths);
    let place = Place::new();
    let list: String = (0..FILES).map(|n| origin.url(&path(n)) + "\n").collect();
    let ran = place.tur_fed(&list, &["-j16", "--json", "-q"]).ends_with(0);
    for n in 0..FILES {
        place.check(&format!("f{n}"), 0, KIB + n);
    }
    let last = ran.last();
    assert_eq!(
        (&last["event"], &last["done"]),
        (&"summary".into(), &FILES.into())
    );
    assert_eq!(origin.requests(), FILES);
    assert!(origin.connections() <= 32, "{}", origin.connections());
}
