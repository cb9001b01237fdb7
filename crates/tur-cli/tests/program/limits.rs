//! `--limit-rate` and `--limit-rate-per-file`: never faster than asked, and the file is right.

use tur_testkit::{Behaviour, Loopback};

use crate::harness::Place;

const KIB: u64 = 1 << 10;

#[test]
fn a_limit_makes_it_take_as_long_as_it_should() {
    for (size, flags) in [
        (768 * KIB, &["--limit-rate", "512K"][..]),
        (768 * KIB, &["--limit-rate-per-file", "512K"]),
        (
            768 * KIB,
            &["--limit-rate=1G", "--limit-rate-per-file=512K"],
        ),
        // Silence that a limit makes is not the origin's: a lane may read 8 KiB each half second.
        (
            256 * KIB,
            &[
                "--limit-rate=64K",
                "--read-timeout=0.25",
                "--speed-limit=100K",
                "--speed-time=1",
            ],
        ),
    ] {
        let origin = Loopback::start([("/file.bin", Behaviour::new(size))]);
        let place = Place::new();
        let mut args = vec!["--json", "-s4", "-x4", "-k16K"];
        args.extend(flags);
        let url = origin.url("/file.bin");
        args.push(&url);
        let ran = place.tur(&args).ends_with(0);
        place.check("file.bin", 0, size);
        let done = ran.last();
        let took = done["elapsed_ms"].as_u64().expect("a time");
        // 1.5 s or 4 s, less what the last draws are ahead of their date; the rest is the machine's.
        let least = if size > 256 * KIB { 1_300 } else { 3_500 };
        assert!((least..=40_000).contains(&took), "{flags:?}: {took} ms");
        assert_eq!(done["lanes_max"], 4, "{flags:?}");
    }
}

#[test]
fn a_limit_of_nothing_is_a_mistake() {
    for flag in ["--limit-rate", "--limit-rate-per-file"] {
        let place = Place::new();
        let ran = place
            .tur(&[flag, "0", "http://127.0.0.1:9/file"])
            .ends_with(2);
        assert!(ran.stderr.contains(flag), "{ran:?}");
        assert!(ran.stderr.contains("more than 0"), "{ran:?}");
        assert!(place.names().is_empty());
    }
}
