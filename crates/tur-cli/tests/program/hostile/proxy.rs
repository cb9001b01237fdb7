//! Row 159: a proxy that wants credentials of its own.

use tur_testkit::{Loopback, ProxyServer, ProxySetup, ProxySpeech, Setup, Tls};

use super::{NAME, Row, SIZE, paced};

fn guarded(speech: ProxySpeech) -> ProxyServer {
    ProxyServer::start(ProxySetup {
        speech,
        credentials: Some(("me".to_owned(), "hunter2".to_owned())),
        ..ProxySetup::default()
    })
}

/// An origin in clear text, and one over TLS.
fn rows() -> [Row; 2] {
    let secure = Setup {
        tls: Some(Tls::default()),
        ..Setup::default()
    };
    let covered = Row::of(Loopback::start_with(secure, [("/file.bin", paced(SIZE))]));
    let ca = covered.origin.ca_pem().expect("over TLS");
    covered.place.put("ca.pem", ca.as_bytes());
    let clear = Row::new(paced(SIZE));
    clear.place.put("ca.pem", ca.as_bytes());
    [clear, covered]
}

/// 407 is exit 6 and names the proxy; right credentials bring the file; no origin ever sees them, and nobody is told.
#[test]
fn r159_proxy_credentials() {
    for speech in [ProxySpeech::Http, ProxySpeech::Socks] {
        let proxy = guarded(speech);
        for row in rows() {
            for userinfo in ["", "me:hunter3"] {
                let flags = ["--proxy", &proxy.url(userinfo), "--ca-file", "ca.pem"];
                let ran = row.tur(&flags, 6);
                ran.says(&format!(
                    "the proxy {} wants other credentials",
                    proxy.url("")
                ));
                assert!(!ran.stderr.contains("hunter3"), "{}", ran.stderr);
                assert_eq!(row.place.names(), ["ca.pem"]);
                assert_eq!(row.origin.requests(), 0);
            }
            let flags = [
                "-vv",
                "--proxy",
                &proxy.url("me:hunter2"),
                "--ca-file",
                "ca.pem",
            ];
            let ran = row.tur(&flags, 0);
            row.place.check(NAME, 0, SIZE);
            assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
            for seen in row.origin.seen() {
                let shown = format!("{seen:?}").to_ascii_lowercase();
                assert!(!shown.contains("proxy-auth"), "{shown}");
            }
        }
    }
}
