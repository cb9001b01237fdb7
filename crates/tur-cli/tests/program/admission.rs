//! What the user demands of answers and addresses, and what becomes of a file that comes coded or is not the right one.
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files from outside; nothing here is part of tur"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tur_testkit::{Behaviour, Deed, Framing, Gate, Loopback, Ranges, When};

use crate::harness::Place;

const SIZE: u64 = 1 << 20;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

fn text() -> Vec<u8> {
    (0_u32..40_000)
        .flat_map(|n| format!("{n} {:x}\n", n.wrapping_mul(2_654_435_761)).into_bytes())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_length_that_only_the_connection_tells_is_refused_if_asked() {
    let bare = Behaviour::new(SIZE).ranges(Ranges::Ignored);
    let origin = Loopback::start([
        ("/open", bare.clone().framing(Framing::UntilClose)),
        ("/chunked", bare.framing(Framing::Chunked)),
    ]);
    let place = Place::new();
    let ran = place
        .tur(&["--require-length", &origin.url("/open")])
        .ends_with(4);
    assert!(ran.stderr.contains("the length is not told"), "{ran:?}");
    assert_eq!((place.names().len(), origin.requests()), (0, 1));
    place
        .tur(&["--require-length", &origin.url("/chunked")])
        .ends_with(0);
    place.check("chunked", 0, SIZE);
    let ran = place.tur(&[&origin.url("/open")]).ends_with(0);
    place.check("open", 0, SIZE);
    assert!(ran.stderr.contains("length unknown"), "{ran:?}");
}

#[test]
fn what_could_not_be_resumed_is_refused_if_asked() {
    let gate = Gate::at(SIZE / 2);
    let held = Behaviour::new(SIZE).rule(When::Always, Deed::Hold(gate.clone()));
    let origin = Loopback::start([
        ("/f", held),
        ("/none", Behaviour::new(SIZE).ranges(Ranges::Ignored)),
    ]);
    let place = Place::new();
    let ran = place
        .tur(&["--require-resume", &origin.url("/none")])
        .ends_with(12);
    assert!(ran.stderr.contains("does not serve ranges"), "{ran:?}");
    assert_eq!(place.names(), [""; 0]);
    // What an earlier run has kept stays, though the server has lost its ranges.
    let mut running = place.start(&["-x1", "--require-resume", &origin.url("/f")]);
    running.wait_for_landed(SIZE / 2 - (64 << 10));
    running.signal(rustix::process::Signal::INT);
    running.end().ends_with(130);
    let kept = fs::read(place.file("f.part")).expect("it is kept");
    gate.open();
    origin.swap("/f", Behaviour::new(SIZE).ranges(Ranges::Ignored));
    place
        .tur(&["--require-resume", &origin.url("/f")])
        .ends_with(12);
    assert_eq!(place.names(), ["f.part", "f.tur"]);
    place.check_bytes("f.part", &kept);
    origin.swap("/f", Behaviour::new(SIZE));
    let args = ["--require-resume", "--json", &origin.url("/f")];
    let done = place.tur(&args).ends_with(0).last();
    place.check("f", 0, SIZE);
    assert!(done["resumed_bytes"].as_u64() > Some(SIZE / 4), "{done}");
}

#[test]
fn types_that_were_not_asked_for_are_refused_and_pages_are_no_crime() {
    let page = Behaviour::new(SIZE).media_type("text/html; charset=utf-8");
    let origin = Loopback::start([("/page.html", page.clone()), ("/disk.iso", page)]);
    let place = Place::new();
    let url = origin.url("/page.html");
    let args = [
        "--accept-type",
        "image/*",
        "--accept-type=application/*",
        &url,
    ];
    let ran = place.tur(&args).ends_with(8);
    let said = "the server sends text/html, --accept-type asks for image/* or application/*";
    assert!(ran.stderr.contains(said), "{ran:?}");
    assert_eq!((place.names().len(), origin.requests()), (0, 1));
    let ran = place.tur(&[&url]).ends_with(0);
    place.check("page.html", 0, SIZE);
    assert_eq!(
        ran.stderr.lines().count(),
        1,
        "no word but the summary: {ran:?}"
    );
    let ran = place
        .tur(&["--accept-type", "TEXT/*", &origin.url("/disk.iso")])
        .ends_with(0);
    place.check("disk.iso", 0, SIZE);
    assert!(ran.stderr.contains("disk.iso"), "{ran:?}");
    assert!(ran.stderr.contains("HTML page"), "{ran:?}");
    place.tur(&["--accept-type", "png", &url]).ends_with(2);
}

#[test]
fn what_comes_coded_is_decoded_if_asked() {
    let plain = text();
    let coded = Behaviour::of(gzip(&plain)).encoding("x-gzip");
    let bomb = Behaviour::of(gzip(&vec![0; 8 << 20])).encoding("gzip");
    let origin = Loopback::start([
        ("/f.txt", coded.clone()),
        (
            "/early",
            coded.clone().rule(When::First(1), Deed::CutAfter(99_000)),
        ),
        (
            "/chunked",
            coded.framing(Framing::Chunked).ranges(Ranges::Ignored),
        ),
        ("/bomb", bomb),
        (
            "/damaged",
            Behaviour::of(&b"not gzip at all"[..]).encoding("gzip"),
        ),
        ("/br", Behaviour::of(&b"whatever"[..]).encoding("br")),
    ]);
    let place = Place::new();
    let sum = format!("sha256:{}", hex(&plain));
    for name in ["f.txt", "early", "chunked"] {
        let url = origin.url(&format!("/{name}"));
        let ran = place
            .tur(&["--decode", "--checksum", &sum, &url])
            .ends_with(0);
        place.check_bytes(name, &plain);
        assert!(ran.stderr.contains("(gzip); it is decoded"), "{ran:?}");
    }
    let asked = origin.seen();
    let accepts = |seen: &tur_testkit::Seen| seen.field("accept-encoding").map(<[u8]>::to_vec);
    assert!(
        asked
            .iter()
            .all(|seen| accepts(seen).as_deref() == Some(b"identity")),
        "{asked:?}"
    );
    let kept = place
        .tur(&["-o", "kept", &origin.url("/f.txt")])
        .ends_with(0);
    place.check_bytes("kept", &gzip(&plain));
    assert!(kept.stderr.contains("kept as it comes"), "{kept:?}");
    let names = place.names();
    for (path, code, part) in [
        ("/bomb", 14, "200 times"),
        ("/damaged", 7, "damaged"),
        ("/br", 7, "without --decode"),
    ] {
        let ran = place.tur(&["--decode", &origin.url(path)]).ends_with(code);
        assert!(ran.stderr.contains(part), "{ran:?}");
        assert_eq!(place.names(), names, "{path} leaves nothing");
    }
}

#[test]
fn a_file_that_is_not_the_right_one_is_kept_only_if_asked() {
    let origin = Loopback::start([("/f", Behaviour::new(SIZE))]);
    let place = Place::new();
    let sum = format!("sha256:{}", hex(b"something else"));
    let url = origin.url("/f");
    place.tur(&["--checksum", &sum, &url]).ends_with(10);
    assert_eq!(place.names(), [""; 0]);
    for name in ["f.bad", "f.bad.1"] {
        let ran = place
            .tur(&["--keep-bad", "--checksum", &sum, &url])
            .ends_with(10);
        assert!(ran.stderr.contains(&format!("kept as {name}")), "{ran:?}");
        place.check(name, 0, SIZE);
        let mode = fs::metadata(place.file(name))
            .expect("it is there")
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
    assert_eq!(place.names(), ["f.bad", "f.bad.1"]);
    place.tur(&["--keep-bad", &url]).ends_with(2);
}

#[test]
fn a_private_address_is_not_even_connected_to() {
    let origin = Loopback::start([("/f", Behaviour::new(SIZE))]);
    let place = Place::new();
    let port = origin.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
    ] {
        let url = format!("http://{host}:{port}/f");
        let ran = place.tur(&["--no-private", &url]).ends_with(13);
        assert!(ran.stderr.contains("not a public address"), "{ran:?}");
    }
    assert_eq!((origin.connections(), origin.requests()), (0, 0));
    assert_eq!(place.names(), [""; 0]);
    place.tur(&[&origin.url("/f")]).ends_with(0);
    place.check("f", 0, SIZE);
}
