//! TLS as the user wants it: versions, certificates of the client, no checks, and keys in a file.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion, version,
};
use tur_core::port::{Session, Transport};
use tur_core::{Fault, Scheme, Target, TlsCause};
use tur_http::Proxies;
use tur_net::{ClientIdentity, HttpTransport, KeyLog, NetConfig, NetError, Protocols, TlsVersion};

use crate::script::{drain, get, spawner, target};

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// What a server found out about its client.
#[derive(Debug, PartialEq, Eq)]
struct Met {
    version: Option<ProtocolVersion>,
    certificates: usize,
}

struct Server {
    target: Target,
    met: std::thread::JoinHandle<Option<Met>>,
}

impl Server {
    fn met(self) -> Option<Met> {
        self.met.join().unwrap()
    }
}

/// All of them have one name.
fn authority() -> Issuer {
    called("authority")
}

fn called(name: &str) -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, in PEM.
fn leaf(issuer: &Issuer, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let leaf = params.signed_by(&key, issuer).unwrap();
    (leaf.pem(), key.serialize_pem())
}

/// Serves one connection for `localhost`, in these versions; a client certificate is required from `clients`.
fn serve(
    issuer: &Issuer,
    versions: &[&'static SupportedProtocolVersion],
    clients: Option<&Issuer>,
) -> Server {
    serve_with(server_config(issuer, versions, clients.map(verifier)))
}

/// Wants a certificate of this authority.
fn verifier(clients: &Issuer) -> Arc<dyn ClientCertVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(clients.der().clone()).unwrap();
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap()
}

fn server_config(
    issuer: &Issuer,
    versions: &[&'static SupportedProtocolVersion],
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    builder
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}

fn serve_with(config: ServerConfig) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let met = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), tcp);
        let mut head = [0; 4_096];
        if !matches!(stream.read(&mut head), Ok(1..)) {
            // One of the two goes away. What the client still sends is read, so that no reset overtakes an alert.
            while matches!(stream.conn.write_tls(&mut stream.sock), Ok(1..)) {}
            drop(stream.sock.shutdown(Shutdown::Write));
            while matches!(stream.sock.read(&mut head), Ok(1..)) {}
            return None;
        }
        let met = Met {
            version: stream.conn.protocol_version(),
            certificates: stream.conn.peer_certificates().map_or(0, <[_]>::len),
        };
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        Some(met)
    });
    Server {
        target: target(Scheme::Https, "localhost", port),
        met,
    }
}

const BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

async fn fetch(config: NetConfig, target: &Target) -> Result<(), Fault> {
    let transport = HttpTransport::new(config, spawner()).unwrap();
    transport.begin_at(&target.origin);
    fetch_with(&transport, target).await
}

async fn fetch_with(transport: &HttpTransport, target: &Target) -> Result<(), Fault> {
    let session = transport.open(&target.origin).await?;
    let mut reply = session.fetch(get(target)).await?;
    assert_eq!(drain(&mut reply.body).await, (b"hello".to_vec(), Ok(())));
    Ok(())
}

fn trusting(issuer: &Issuer) -> NetConfig {
    NetConfig::default().roots_pem(issuer.pem().into_bytes())
}

#[tokio::test]
async fn versions_are_those_that_both_speak() {
    let issuer = authority();
    let old: &[&SupportedProtocolVersion] = &[&version::TLS12];
    for (min, served, spoken) in [
        (TlsVersion::V12, &BOTH[..], Some(ProtocolVersion::TLSv1_3)),
        (TlsVersion::V12, old, Some(ProtocolVersion::TLSv1_2)),
        (TlsVersion::V13, &BOTH[..], Some(ProtocolVersion::TLSv1_3)),
        (TlsVersion::V13, old, None),
    ] {
        let server = serve(&issuer, served, None);
        let fetched = fetch(trusting(&issuer).tls_min(min), &server.target).await;
        match (fetched, spoken) {
            (Ok(()), Some(_)) => {}
            (Err(Fault::Tls(TlsCause::Handshake(text))), None) => {
                assert!(text.contains("no version or cipher in common"), "{text}");
            }
            (fetched, _) => panic!("{min:?} {served:?}: {fetched:?}"),
        }
        assert_eq!(server.met().and_then(|met| met.version), spoken);
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_who_asks() {
    let (issuer, clients) = (authority(), authority());
    let (certificates, key) = leaf(&clients, "me");
    let identity = ClientIdentity {
        certificates_pem: certificates.into_bytes(),
        key_pem: key.into(),
    };
    for version in BOTH {
        for (asks, shown) in [(Some(&clients), 1), (None, 0)] {
            let server = serve(&issuer, &[version], asks);
            let config = trusting(&issuer).client(Some(identity.clone()));
            fetch(config, &server.target).await.unwrap();
            assert_eq!(server.met().unwrap().certificates, shown);
        }
        let server = serve(&issuer, &[version], Some(&clients));
        let fault = fetch(trusting(&issuer), &server.target).await.unwrap_err();
        let text = fault.to_string();
        // TLS 1.2 refuses in the handshake; TLS 1.3 does when the first request has gone out.
        assert!(text.contains("client certificate"), "{text}");
        assert_eq!(fault.kind(), tur_core::Kind::Tls, "{fault:?}");
        assert_eq!(server.met(), None);
    }
}

/// With TLS 1.3 an alert about our part of the handshake comes in place of the first answer. Where a stranger has the name of
/// the authority, its signature is found wrong.
#[tokio::test]
async fn what_a_server_finds_wrong_with_our_handshake_is_of_tls_over_each_protocol() {
    let issuer = authority();
    let identity = |clients: &Issuer| {
        let (certificates, key) = leaf(clients, "me");
        Some(ClientIdentity {
            certificates_pem: certificates.into_bytes(),
            key_pem: key.into(),
        })
    };
    let rows = [
        (identity(&authority()), "cannot verify what we signed"),
        (identity(&called("other")), "does not take our client"),
        (None, "wants a client certificate"),
    ];
    for (protocols, alpn) in [
        (Protocols::Http1, &b"http/1.1"[..]),
        (Protocols::Http2, b"h2"),
        #[cfg(feature = "http3")]
        (Protocols::Http3, b"h3"),
    ] {
        for (client, said) in &rows {
            let wanted = Some(verifier(&issuer));
            let mut tls = server_config(&issuer, &[&version::TLS13], wanted);
            tls.alpn_protocols = vec![alpn.to_vec()];
            let server = match protocols {
                #[cfg(feature = "http3")]
                Protocols::Http3 => refuse_over_quic(tls),
                _ => serve_with(tls).target,
            };
            let config = trusting(&issuer).client(client.clone());
            let fault = fetch(config.protocols(protocols), &server).await;
            let fault = fault.unwrap_err();
            assert_eq!(fault.kind(), tur_core::Kind::Tls, "{alpn:?}: {fault:?}");
            assert!(fault.to_string().contains(*said), "{alpn:?}: {fault}");
        }
    }
}

/// Shakes hands with whoever comes.
#[cfg(feature = "http3")]
fn refuse_over_quic(tls: ServerConfig) -> Target {
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    let address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let endpoint = quinn::Endpoint::server(config, address).unwrap();
    let port = endpoint.local_addr().unwrap().port();
    crate::h3::run(async move {
        while let Some(incoming) = endpoint.accept().await {
            drop(incoming.await);
        }
    });
    target(Scheme::Https, "localhost", port)
}

#[tokio::test]
async fn what_a_proxy_finds_wrong_with_our_handshake_is_of_tls_too() {
    let (issuer, clients) = (authority(), authority());
    let proxy = serve(&issuer, &[&version::TLS13], Some(&clients));
    let url = format!("https://localhost:{}", proxy.target.origin.port);
    let proxies = Proxies::all(url.parse().unwrap());
    let config = trusting(&issuer).proxies(proxies);
    let fault = fetch(config, &target(Scheme::Https, "localhost", 9))
        .await
        .unwrap_err();
    let text = fault.to_string();
    assert_eq!(fault.kind(), tur_core::Kind::Tls, "{fault:?}");
    assert!(
        text.contains("client certificate") && text.contains("this is the proxy"),
        "{text}"
    );
    assert_eq!(proxy.met(), None);
}

/// Whoever is only led to learns nothing of the client, before and after another origin of the same host has.
#[tokio::test]
async fn a_client_certificate_is_shown_where_downloads_begin_and_nowhere_else() {
    let (issuer, clients) = (authority(), authority());
    let (certificates, key) = leaf(&clients, "me");
    let identity = ClientIdentity {
        certificates_pem: certificates.into_bytes(),
        key_pem: key.into(),
    };
    for version in BOTH {
        let config = trusting(&issuer).client(Some(identity.clone()));
        let transport = HttpTransport::new(config, spawner()).unwrap();
        let home = serve(&issuer, &[version], Some(&clients));
        transport.begin_at(&home.target.origin);
        let refuses = async |server: Server| {
            let fault = fetch_with(&transport, &server.target).await.unwrap_err();
            assert_eq!(fault.kind(), tur_core::Kind::Tls, "{fault:?}");
            assert_eq!(server.met(), None);
        };
        refuses(serve(&issuer, &[version], Some(&clients))).await;
        fetch_with(&transport, &home.target).await.unwrap();
        assert_eq!(home.met().unwrap().certificates, 1);
        refuses(serve(&issuer, &[version], Some(&clients))).await;
    }
}

#[test]
fn identities_that_cannot_be_used_are_told_apart() {
    let issuer = authority();
    let (mine, key) = leaf(&issuer, "me");
    let (other, other_key) = leaf(&issuer, "you");
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let older = |kind: &str, end: &str| {
        let fields = ["Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-256-CBC,00", ""];
        let begin = format!("-----BEGIN {kind} PRIVATE KEY-----{end}");
        let body = fields.map(|line| line.to_owned() + end).concat();
        format!("{begin}{body}AAAA{end}-----END {kind} PRIVATE KEY-----{end}")
    };
    let (ec, rsa) = (older("EC", "\n"), older("RSA", "\r\n"));
    let ec_beside = mine.clone() + &ec;
    let damaged = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned();
    let cut = "-----BEGIN PRIVATE KEY-----\nAAAA".to_owned();
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let both = mine.clone() + &key;
    for (certificates, key, part) in [
        (&mine, &key, None),
        (&both, &both, None),
        (&other, &other_key, None),
        (&mine, &other_key, Some("not that of the certificate")),
        (&key, &key, Some("no certificate")),
        (&bad, &key, Some("certificate cannot be read")),
        (&mine, &mine, Some("no private key")),
        (&mine, &encrypted, Some("encrypted")),
        (&mine, &ec, Some("encrypted")),
        (&mine, &rsa, Some("encrypted")),
        (&ec_beside, &ec_beside, Some("encrypted")),
        (&mine, &damaged, Some("key cannot be read")),
        (&mine, &cut, Some("damaged")),
    ] {
        let identity = ClientIdentity {
            certificates_pem: certificates.clone().into_bytes(),
            key_pem: key.clone().into(),
        };
        let made = HttpTransport::new(NetConfig::default().client(Some(identity)), spawner());
        match (made, part) {
            (Ok(_), None) => {}
            (Err(NetError::ClientCertificate(text)), Some(part)) => {
                assert!(text.contains(part), "{text}");
            }
            (made, _) => panic!("{part:?}: {made:?}"),
        }
    }
}

#[tokio::test]
async fn without_checks_anybody_is_believed_and_it_is_said() {
    let (issuer, stranger) = (authority(), authority());
    for version in BOTH {
        let server = serve(&issuer, &[version], None);
        let config = trusting(&stranger).insecure(true);
        let notes = HttpTransport::new(config.clone(), spawner())
            .unwrap()
            .warnings();
        assert!(
            notes[0].contains("certificates are not checked"),
            "{notes:?}"
        );
        // The name is another one, too.
        let mut elsewhere = server.target.clone();
        elsewhere.origin.host = "127.0.0.1".to_owned();
        fetch(config, &elsewhere).await.unwrap();
        assert!(server.met().is_some());
    }
}

#[tokio::test]
async fn keys_are_told_to_who_asks_for_them() {
    let issuer = authority();
    let lines = Arc::new(Mutex::new(String::new()));
    for (version, label) in [
        (&version::TLS12, "CLIENT_RANDOM "),
        (&version::TLS13, "CLIENT_TRAFFIC_SECRET_0 "),
    ] {
        let told = Arc::clone(&lines);
        let log = KeyLog::new(move |line| told.lock().unwrap().push_str(line));
        let server = serve(&issuer, &[version], None);
        let config = trusting(&issuer).key_log(Some(log));
        fetch(config, &server.target).await.unwrap();
        let text = std::mem::take(&mut *lines.lock().unwrap());
        let line = text.lines().find(|line| line.starts_with(label));
        let words: Vec<&str> = line.unwrap().split(' ').collect();
        assert_eq!(words[1].len(), 64, "the client's random number: {text}");
        assert!(words[2].len() >= 64, "{text}");
        let hexadecimal = words[1..]
            .concat()
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit());
        assert!(hexadecimal && text.ends_with('\n'), "{text}");
    }
}
