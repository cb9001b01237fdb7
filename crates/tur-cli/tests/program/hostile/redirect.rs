//! Rows 068 to 075: where redirects lead, and what goes along.

use tur_core::Rate;
use tur_testkit::{Deed, Loopback, When};

use super::{KIB, MIB, Row, SIZE, paced, redirect};

#[test]
fn r068_redirect_loop() {
    let (row, _) = Row::new(redirect("/file.bin".to_owned())).refused(14, "20 redirects");
    assert_eq!(row.origin.requests(), 21);
}

#[test]
fn r069_redirect_big_body() {
    let endless = redirect("/there".to_owned())
        .pace(Rate::per_second(64 * MIB))
        .rule(When::Always, Deed::PageLength(1 << 40));
    let paths = [("/file.bin", endless), ("/there", paced(SIZE))];
    let (row, _) = Row::of(Loopback::start(paths)).succeeds();
    let seen = row.origin.seen();
    // What the buffers of the two sockets take beyond what was read is counted too.
    let read = seen.iter().filter(|seen| seen.status == 302);
    assert!(read.clone().count() >= 1);
    assert!(read.clone().all(|seen| seen.sent < 16 * MIB), "{seen:?}");
}

#[test]
fn r070_redirect_file() {
    for location in ["file:///etc/hostname", "FILE:/etc/hostname", "ftp://h/x"] {
        let (row, ran) = Row::new(redirect(location.to_owned())).refused(13, "redirect");
        assert_eq!(row.origin.requests(), 1, "{ran:?}");
    }
}

/// A secret field reaches the first origin and no other, be it another port or another name.
#[track_caller]
fn stays_home(field: &str, value: &str) {
    let second = Loopback::start([("/there", paced(512 * KIB))]);
    for location in [
        second.url("/there"),
        second.url("/there").replace("127.0.0.1", "localhost"),
    ] {
        let row = Row::new(redirect(location));
        row.tur(&["-H", &format!("{field}: {value}")], 0);
        row.file(0, 512 * KIB);
        let seen = row.origin.seen();
        assert_eq!(seen[0].field(field), Some(value.as_bytes()));
    }
    let seen = second.seen();
    assert!(!seen.is_empty());
    for seen in seen {
        assert_eq!(seen.field(field), None);
        let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(value);
        assert!(!seen.fields.iter().any(|(_, value)| told(value)));
    }
}

#[test]
fn r073_auth_cross_origin() {
    stays_home("authorization", "Bearer hunter2");
}

#[test]
fn r075_cookie_cross_origin() {
    stays_home("cookie", "s=hunter2");
}
