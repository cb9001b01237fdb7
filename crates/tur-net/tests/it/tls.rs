//! TLS: whom we trust, what is said when we do not, and an end that nobody marked.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tur_core::port::{Session, Transport};
use tur_core::{Fault, Scheme, Target, TlsCause, Wait};
use tur_net::{HttpTransport, NetConfig, NetError};
use tur_testkit::{Behaviour, Loopback, Setup, Tls};

use crate::script::{Script, Step, drain, get, spawner, target};

fn loopback(names: &[&str]) -> Loopback {
    let setup = Setup {
        tls: Some(Tls {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }),
        ..Setup::default()
    };
    Loopback::start_with(setup, [("/file?x=1", Behaviour::new(1_000))])
}

fn trusting(loopback: &Loopback) -> HttpTransport {
    let pem = loopback.ca_pem().unwrap().as_bytes().to_vec();
    HttpTransport::new(NetConfig::default().roots_pem(pem), spawner()).unwrap()
}

async fn refused(transport: &HttpTransport, target: &Target) -> Fault {
    match transport.open(&target.origin).await {
        Ok(session) => panic!("it opened: {session:?}"),
        Err(fault) => fault,
    }
}

#[tokio::test]
async fn given_roots_are_trusted_for_names_and_addresses() {
    let loopback = loopback(&["localhost", "127.0.0.1"]);
    let transport = trusting(&loopback);
    for host in ["localhost", "127.0.0.1"] {
        let target = target(Scheme::Https, host, loopback.port());
        let session = transport.open(&target.origin).await.unwrap();
        let mut reply = session.fetch(get(&target)).await.unwrap();
        assert_eq!(drain(&mut reply.body).await.0.len(), 1_000);
        assert!(session.is_open());
    }
    assert_eq!(transport.notes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let loopback = loopback(&["a.example", "b.example", "c.example", "d.example"]);
    let target = target(Scheme::Https, "localhost", loopback.port());
    let fault = refused(&trusting(&loopback), &target).await;
    let Fault::Tls(TlsCause::WrongName(text)) = &fault else {
        panic!("{fault:?}");
    };
    assert!(
        text.contains("a.example") && text.contains("localhost"),
        "{text}"
    );
    assert!(!text.contains("d.example"), "the list is cut: {text}");
}

#[tokio::test]
async fn an_authority_that_is_not_ours_is_refused() {
    let served = loopback(&["localhost"]);
    let other = loopback(&["localhost"]);
    let target = target(Scheme::Https, "localhost", served.port());
    // Given roots replace the system's, and the system does not know this one either.
    let fault = refused(&trusting(&other), &target).await;
    assert!(
        matches!(fault, Fault::Tls(TlsCause::Untrusted(_))),
        "{fault:?}"
    );
    let system = HttpTransport::new(NetConfig::default(), spawner()).unwrap();
    assert_eq!(
        refused(&system, &target).await,
        Fault::Tls(TlsCause::Untrusted("unknown issuer".to_owned()))
    );
}

#[tokio::test]
async fn a_peer_without_tls_is_said_so() {
    let script = Script::start(vec![
        Step::Send(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Step::Hold,
    ]);
    let target = target(Scheme::Https, "127.0.0.1", script.port);
    let transport = HttpTransport::new(NetConfig::default(), spawner()).unwrap();
    assert_eq!(
        refused(&transport, &target).await,
        Fault::Tls(TlsCause::Handshake(
            "the peer does not speak TLS here".to_owned()
        ))
    );
}

#[tokio::test]
async fn a_handshake_that_is_cut_is_no_matter_of_trust() {
    let script = Script::start(vec![]);
    let target = target(Scheme::Https, "127.0.0.1", script.port);
    let transport = HttpTransport::new(NetConfig::default(), spawner()).unwrap();
    let fault = refused(&transport, &target).await;
    assert!(matches!(fault, Fault::Connect { .. }), "{fault:?}");
}

#[tokio::test]
async fn a_silent_peer_is_waited_for_only_so_long() {
    let script = Script::start(vec![Step::Hold]);
    let target = target(Scheme::Https, "127.0.0.1", script.port);
    let limit = Duration::from_millis(100);
    let transport =
        HttpTransport::new(NetConfig::default().connect_timeout(limit), spawner()).unwrap();
    assert_eq!(
        refused(&transport, &target).await,
        Fault::TimedOut(Wait::Connect, limit)
    );
    // The script ends only when its peer has closed.
    script.seen();
}

#[test]
fn roots_that_cannot_be_used_are_refused_at_once() {
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["", "nothing", bad] {
        let made = HttpTransport::new(NetConfig::default().roots_pem(pem.into()), spawner());
        assert!(matches!(made, Err(NetError::Roots(_))), "{pem:?}: {made:?}");
    }
    let made = HttpTransport::new(NetConfig::default().user_agent("a\nb"), spawner());
    assert!(matches!(made, Err(NetError::UserAgent)));
}

fn showing(certificate: CertificateDer<'static>, key: &KeyPair) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap()
}

/// What `openssl req -x509` makes unless told otherwise: trusted as an authority, it is shown as that of the host.
#[tokio::test]
async fn an_authority_that_shows_its_own_certificate_is_told_in_words() {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let config = showing(certificate.der().clone(), &key);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = target(
        Scheme::Https,
        "localhost",
        listener.local_addr().unwrap().port(),
    );
    std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let session = ServerConnection::new(Arc::new(config)).unwrap();
        // It ends with an alert.
        assert!(StreamOwned::new(session, tcp).read(&mut [0; 10]).is_err());
    });
    let config = NetConfig::default().roots_pem(certificate.pem().into_bytes());
    let transport = HttpTransport::new(config, spawner()).unwrap();
    assert_eq!(
        refused(&transport, &target).await,
        Fault::Tls(TlsCause::Untrusted(
            "it is that of an authority, not of a host".to_owned()
        ))
    );
}

/// Serves `answer` once over TLS and closes, with or without `close_notify`.
fn serve_once(answer: &'static [u8], close_notify: bool) -> (HttpTransport, Target) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let config = showing(leaf.der().clone(), &key);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let session = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(session, tcp);
        let mut head = [0; 4_096];
        assert!(stream.read(&mut head).unwrap() > 0);
        stream.write_all(answer).unwrap();
        if close_notify {
            stream.conn.send_close_notify();
        }
        stream.flush().unwrap();
    });
    let pem = issuer.pem().into_bytes();
    let transport = HttpTransport::new(NetConfig::default().roots_pem(pem), spawner()).unwrap();
    (transport, target(Scheme::Https, "localhost", port))
}

#[tokio::test]
async fn a_body_until_close_needs_a_marked_close() {
    for (answer, close_notify, whole) in [
        (&b"HTTP/1.1 200 OK\r\n\r\nhello"[..], true, true),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", false, false),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            false,
            true,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
            true,
            false,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
            false,
            false,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            false,
            false,
        ),
    ] {
        let (transport, target) = serve_once(answer, close_notify);
        let session = transport.open(&target.origin).await.unwrap();
        let mut reply = session.fetch(get(&target)).await.unwrap();
        let (bytes, end) = drain(&mut reply.body).await;
        let name = String::from_utf8_lossy(answer);
        assert_eq!(bytes, b"hello", "{name}");
        match end {
            Ok(()) => assert!(whole, "{name}, close_notify {close_notify}"),
            Err(Fault::Truncated(_)) => assert!(!whole, "{name}, close_notify {close_notify}"),
            Err(other) => panic!("{name}: {other:?}"),
        }
    }
}
