//! Rows 125 to 128: whom to believe.

use tur_testkit::{Loopback, Setup, Tls};

use super::{NAME, Row, SIZE, paced, redirect};

/// An origin over TLS for these names, and its authority in `ca.pem`.
fn secure(names: &[&str]) -> Row {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let setup = Setup {
        tls: Some(Tls { names }),
        ..Setup::default()
    };
    let row = Row::of(Loopback::start_with(setup, [("/file.bin", paced(SIZE))]));
    let ca = row.origin.ca_pem().expect("over TLS");
    row.place.put("ca.pem", ca.as_bytes());
    row
}

#[test]
fn r125_tls_untrusted() {
    let row = secure(&["localhost"]);
    let ran = row.tur(&["--retry", "0"], 5);
    ran.says("certificate");
    assert_eq!(row.place.names(), ["ca.pem"]);
    assert_eq!(row.origin.requests(), 0);
}

#[test]
fn r126_tls_wrong_host() {
    let row = secure(&["other.example"]);
    let ran = row.tur(&["--ca-file", "ca.pem"], 5);
    ran.says("it is for other.example, not for localhost");
    assert_eq!(row.place.names(), ["ca.pem"]);
    assert_eq!(row.origin.requests(), 0);
}

#[test]
fn r127_tls_ok() {
    let row = secure(&["localhost"]);
    row.tur(&["--ca-file", "ca.pem"], 0);
    row.place.check(NAME, 0, SIZE);
    assert_eq!(row.place.names(), ["ca.pem", NAME]);
}

#[test]
fn r128_tls_downgrade() {
    let plain = Loopback::start([("/file.bin", paced(SIZE))]);
    let origin = Loopback::start_tls([("/file.bin", redirect(plain.url("/file.bin")))]);
    let row = Row::of(origin);
    let ca = row.origin.ca_pem().expect("over TLS");
    row.place.put("ca.pem", ca.as_bytes());
    let ran = row.tur(&["--ca-file", "ca.pem"], 13);
    ran.says("http");
    assert_eq!(plain.requests(), 0);
    assert_eq!(row.place.names(), ["ca.pem"]);
    row.tur(&["--ca-file", "ca.pem", "--allow-downgrade"], 0);
    row.place.check(NAME, 0, SIZE);
}
