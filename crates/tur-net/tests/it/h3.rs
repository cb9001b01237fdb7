//! HTTP/3 against a server that writes its frames byte by byte.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, TokioRuntime, VarInt};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::mpsc;
use tur_core::port::{Body, Fill, Session, Transport};
use tur_core::{Chunks, Fault, Scheme, Target, TlsCause};
use tur_http::Proxies;
use tur_net::{HttpSession, HttpTransport, IpFamily, KeyLog, NetConfig, Protocols, TlsVersion};
use tur_testkit::{Behaviour, Deed, Gate, Link, Loopback, Setup, Speaks, Strike, Tls, When};

use crate::script::{drain, get, spawner, target};

/// Status 200 as the static table has it (RFC 9204, appendix A).
const OK: &[u8] = &[1, 3, 0, 0, 0xd9];
/// The control stream with empty SETTINGS.
const CONTROL: &[u8] = &[0, 4, 0];

/// No code of a stream: a request came.
const BEGUN: u64 = 0;

/// What follows the bytes of an answer.
#[derive(Clone, Copy, Debug)]
enum Then {
    Finish,
    /// The same, when the client has had the time to take what came before.
    FinishLater,
    Reset(u32),
    Close(u32),
    Hold,
}

/// A server that answers each request with the same bytes, and hears why streams are given up.
struct Server {
    target: Target,
    transport: HttpTransport,
    stopped: mpsc::UnboundedReceiver<u64>,
}

impl Server {
    fn start(control: &[u8], answer: &[u8], then: Then) -> Self {
        Self::speaking(b"h3", [CONTROL, control].concat(), (answer.to_vec(), then))
    }

    fn speaking(alpn: &[u8], control: Vec<u8>, answer: (Vec<u8>, Then)) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .unwrap();
        tls.alpn_protocols = vec![alpn.to_vec()];
        let tls = QuicServerConfig::try_from(tls).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let runtime = Arc::new(TokioRuntime);
        let endpoint =
            Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime).unwrap();
        let SocketAddr::V4(address) = endpoint.local_addr().unwrap() else {
            panic!("it was bound to IPv4");
        };
        let (tell, stopped) = mpsc::unbounded_channel();
        run(serve(endpoint, control, answer, tell));
        Self {
            target: target(Scheme::Https, "localhost", address.port()),
            transport: over_quic(made.cert.pem().as_bytes()),
            stopped,
        }
    }

    async fn open(&self) -> HttpSession {
        self.transport.open(&self.target.origin).await.unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "the test owns its runtime")]
pub(crate) fn run(server: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(server));
}

async fn serve(
    endpoint: Endpoint,
    control: Vec<u8>,
    (answer, then): (Vec<u8>, Then),
    tell: mpsc::UnboundedSender<u64>,
) {
    while let Some(incoming) = endpoint.accept().await {
        let Ok(connection) = incoming.await else {
            continue;
        };
        let mut first = connection.open_uni().await.unwrap();
        // A client that has had enough has closed the connection.
        drop(first.write_all(&control).await);
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            drop(recv.read_to_end(100_000).await);
            drop(send.write_all(&answer).await);
            match then {
                Then::Finish => drop(send.finish()),
                Then::FinishLater => {
                    let_others_run().await;
                    drop(send.finish());
                }
                Then::Reset(code) => drop(send.reset(VarInt::from_u32(code))),
                Then::Close(code) => {
                    // What was sent before is not sent any more by a connection that is closed.
                    let_others_run().await;
                    connection.close(VarInt::from_u32(code), b"");
                }
                Then::Hold => {
                    tell.send(BEGUN).ok();
                    if let Ok(Some(code)) = send.stopped().await {
                        tell.send(code.into_inner()).ok();
                    }
                }
            }
        }
    }
}

async fn let_others_run() {
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
}

fn over_quic(pem: &[u8]) -> HttpTransport {
    let config = NetConfig::default()
        .roots_pem(pem.to_vec())
        .protocols(Protocols::Http3);
    HttpTransport::new(config, spawner()).unwrap()
}

fn data(bytes: &[u8]) -> Vec<u8> {
    [&[0, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

#[tokio::test]
async fn a_frame_without_content_is_no_end() {
    let answer = [OK, &data(b"hello"), &data(b""), &data(b" world")].concat();
    let server = Server::start(&[], &answer, Then::Finish);
    let session = server.open().await;
    let mut reply = session.fetch(get(&server.target)).await.unwrap();
    let (bytes, outcome) = drain(&mut reply.body).await;
    assert_eq!((&bytes[..], outcome), (&b"hello world"[..], Ok(())));
    assert!(session.is_open());
}

#[tokio::test]
async fn an_end_inside_a_frame_is_a_cut() {
    for then in [Then::Finish, Then::FinishLater] {
        let server = Server::start(&[], &[OK, &[0, 9], b"hello"].concat(), then);
        let session = server.open().await;
        let mut reply = session.fetch(get(&server.target)).await.unwrap();
        let (_, outcome) = drain(&mut reply.body).await;
        assert!(
            matches!(outcome, Err(Fault::Truncated(_))),
            "{then:?}: {outcome:?}"
        );
        assert!(session.is_open(), "{then:?}");
    }
}

#[tokio::test]
async fn trailers_end_a_body_when_the_stream_ends() {
    let answer = [OK, &data(b"hello"), &[1, 2, 0, 0]].concat();
    let server = Server::start(&[], &answer, Then::FinishLater);
    let session = server.open().await;
    let mut reply = session.fetch(get(&server.target)).await.unwrap();
    let (bytes, outcome) = drain(&mut reply.body).await;
    assert_eq!((&bytes[..], outcome), (&b"hello"[..], Ok(())));
}

#[tokio::test]
async fn a_head_that_says_it_is_huge_is_not_waited_for() {
    let server = Server::start(&[], &[1, 0xbf, 0xff, 0xff, 0xff, 0, 0], Then::Hold);
    let session = server.open().await;
    let fault = session.fetch(get(&server.target)).await.unwrap_err();
    assert!(matches!(fault, Fault::HeadTooLarge { .. }), "{fault:?}");
    assert!(session.is_open());
}

#[tokio::test]
async fn codes_of_streams_and_connections_are_told_apart() {
    let refused = |fault: &Fault| matches!(fault, Fault::StreamRefused(_));
    let calm = |fault: &Fault| matches!(fault, Fault::Calm(_));
    let lost = |fault: &Fault| matches!(fault, Fault::Lost(_));
    let goaway = [7, 1, 0];
    for (control, then, expected, open) in [
        (
            &[][..],
            Then::Reset(0x10b),
            refused as fn(&Fault) -> bool,
            true,
        ),
        (&[], Then::Reset(0x110), refused, true),
        (&[], Then::Reset(0x107), calm, true),
        (&[], Then::Reset(0x102), lost, true),
        (&[], Then::Close(0x107), calm, false),
        (&[], Then::Close(0x100), lost, false),
    ] {
        let server = Server::start(control, &[], then);
        let session = server.open().await;
        let fault = session.fetch(get(&server.target)).await.unwrap_err();
        assert!(expected(&fault), "{then:?}: {fault:?}");
        assert_eq!(session.is_open(), open, "{then:?}");
    }
    // It says that it serves nothing from the first stream on, then closes.
    let server = Server::start(&goaway, &[], Then::Close(0x100));
    let session = server.open().await;
    let fault = session.fetch(get(&server.target)).await.unwrap_err();
    assert!(refused(&fault), "{fault:?}");
    assert!(!session.is_open());
}

#[tokio::test]
async fn what_is_given_up_is_cancelled_and_the_connection_stands() {
    let mut server = Server::start(&[], &[OK, &data(b"hello")].concat(), Then::Hold);
    let session = server.open().await;
    let mut reply = session.fetch(get(&server.target)).await.unwrap();
    let mut chunks = Chunks::new();
    assert_eq!(reply.body.fill(&mut chunks, 1).await, Ok(Fill::More));
    {
        // A fill that waits, and is dropped with its body.
        let fill = reply.body.fill(&mut chunks, 1);
        tokio::select! {
            biased;
            filled = fill => panic!("nothing came: {filled:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(reply);
    assert_eq!(server.stopped.recv().await, Some(BEGUN));
    assert_eq!(server.stopped.recv().await, Some(0x10c));
    assert!(session.is_open());

    let mut silent = Server::start(&[], &[], Then::Hold);
    let session = silent.open().await;
    tokio::select! {
        answer = session.fetch(get(&silent.target)) => panic!("nobody answered: {answer:?}"),
        begun = silent.stopped.recv() => assert_eq!(begun, Some(BEGUN)),
    }
    assert_eq!(silent.stopped.recv().await, Some(0x10c));
    assert!(session.is_open());
}

#[tokio::test]
async fn a_flood_on_the_control_stream_ends_the_connection() {
    let flood = [0x21, 0].repeat(2_000);
    let server = Server::start(&flood, &[], Then::Hold);
    let session = server.open().await;
    let fault = session.fetch(get(&server.target)).await.unwrap_err();
    assert!(matches!(fault, Fault::Malformed(_)), "{fault:?}");
    assert!(!session.is_open());
}

#[tokio::test]
async fn a_server_of_another_protocol_is_named() {
    let server = Server::speaking(b"hq", Vec::new(), (Vec::new(), Then::Hold));
    let opened = server.transport.open(&server.target.origin).await;
    let fault = opened.map(|_session| ()).unwrap_err();
    assert!(matches!(fault, Fault::ProtocolUnavailable(_)), "{fault:?}");
    let clear = target(Scheme::Http, "localhost", server.target.origin.port);
    let opened = server.transport.open(&clear.origin).await;
    let fault = opened.map(|_session| ()).unwrap_err();
    assert!(fault.to_string().contains("https://"), "{fault}");
}

#[tokio::test]
async fn a_certificate_is_checked_as_over_tcp() {
    let setup = |name: &str| Setup {
        tls: Some(Tls {
            names: vec![name.to_owned()],
        }),
        speaks: Speaks::H3,
        ..Setup::default()
    };
    let loopback = Loopback::start_with(setup("other.example"), [("/", Behaviour::new(1))]);
    let elsewhere = Loopback::start_with(setup("localhost"), [("/", Behaviour::new(1))]);
    for (origin, trusted, wrong_name) in
        [(&loopback, &loopback, true), (&elsewhere, &loopback, false)]
    {
        let transport = over_quic(trusted.ca_pem().unwrap().as_bytes());
        let target = target(Scheme::Https, "localhost", origin.port());
        let opened = transport.open(&target.origin).await;
        match opened.map(|_session| ()).unwrap_err() {
            Fault::Tls(TlsCause::WrongName(text)) if wrong_name => {
                assert!(text.contains("other.example"), "{text}");
            }
            Fault::Tls(TlsCause::Untrusted(_)) if !wrong_name => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn silence_names_udp() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let config = NetConfig::default()
        .protocols(Protocols::Http3)
        .connect_timeout(Duration::from_millis(300));
    let transport = HttpTransport::new(config, spawner()).unwrap();
    let port = silent.local_addr().unwrap().port();
    let target = target(Scheme::Https, "127.0.0.1", port);
    let opened = transport.open(&target.origin).await;
    let fault = opened.map(|_session| ()).unwrap_err();
    assert!(matches!(&fault, Fault::Connect { .. }), "{fault:?}");
    assert!(fault.to_string().contains("UDP is blocked"), "{fault}");
}

#[tokio::test]
async fn capacity_is_what_the_peer_allows() {
    for (streams, expected) in [(Some(7), 7), (None, 100)] {
        let setup = Setup {
            tls: Some(Tls::default()),
            speaks: Speaks::H3,
            link: Link {
                streams,
                ..Link::default()
            },
            ..Setup::default()
        };
        let loopback = Loopback::start_with(setup, [("/file?x=1", Behaviour::new(1_000))]);
        let transport = over_quic(loopback.ca_pem().unwrap().as_bytes());
        let target = target(Scheme::Https, "localhost", loopback.port());
        let session = transport.open(&target.origin).await.unwrap();
        assert_eq!(session.capacity(), expected);
        assert_eq!(session.facts().protocol, "h3");
        // More than were opened to begin with: the peer allows others as they end.
        for _ in 0..3 * expected {
            let mut reply = session.fetch(get(&target)).await.unwrap();
            assert_eq!(drain(&mut reply.body).await.0.len(), 1_000);
        }
    }
}

/// A server that has lost its memory says so with a stateless reset (RFC 9000, section 10.3).
#[tokio::test]
async fn x05_a_connection_that_is_forgotten_is_cut_and_keeps_what_came() {
    let held = Behaviour::new(5_000).rule(When::Always, Deed::Hold(Gate::at(1_000)));
    let setup = Setup {
        tls: Some(Tls::default()),
        speaks: Speaks::H3,
        ..Setup::default()
    };
    let loopback = Loopback::start_with(setup, [("/file?x=1", held)]);
    let transport = over_quic(loopback.ca_pem().unwrap().as_bytes());
    let target = target(Scheme::Https, "localhost", loopback.port());
    let session = transport.open(&target.origin).await.unwrap();
    let mut reply = session.fetch(get(&target)).await.unwrap();
    let mut chunks = Chunks::new();
    while chunks.len() < 1_000 {
        assert_eq!(reply.body.fill(&mut chunks, 4_096).await, Ok(Fill::More));
    }
    assert_eq!(loopback.strike(Strike::Forget, 1), 1);
    // It hears of it when it says something.
    let answer = session.fetch(get(&target)).await.map(|_reply| ());
    let forgotten = |text: &str| text.contains("forgotten");
    assert!(
        matches!(&answer, Err(Fault::Lost(text)) if forgotten(text)),
        "{answer:?}"
    );
    let body = reply.body.fill(&mut chunks, 4_096).await;
    assert!(
        matches!(&body, Err(Fault::Truncated(text)) if forgotten(text)),
        "{body:?}"
    );
    assert_eq!(chunks.len(), 1_000);
    assert!(!session.is_open());
    let again = transport.open(&target.origin).await.unwrap();
    assert!(again.is_open());
}

/// Also a body that comes at once with its end counts: on some connections all of them do.
#[tokio::test]
async fn small_bodies_are_measured_too() {
    let setup = Setup {
        tls: Some(Tls::default()),
        speaks: Speaks::H3,
        ..Setup::default()
    };
    let held = Behaviour::new(100).rule(When::Always, Deed::Hold(Gate::at(50)));
    let paths = [("/file?x=1", Behaviour::new(4_096)), ("/held", held)];
    let loopback = Loopback::start_with(setup, paths);
    let target = target(Scheme::Https, "localhost", loopback.port());
    let transport = over_quic(loopback.ca_pem().unwrap().as_bytes());
    let session = transport.open(&target.origin).await.unwrap();
    let held = Target {
        path: "/held".to_owned(),
        ..target.clone()
    };
    // While it is under way the connection does not rest.
    let _held = session.fetch(get(&held)).await.unwrap();
    // Less than 8 MiB tells nothing.
    for _ in 0..2_200 {
        let mut reply = session.fetch(get(&target)).await.unwrap();
        assert_eq!(drain(&mut reply.body).await.0.len(), 4_096);
    }
    let window = session.facts().window.unwrap();
    assert!(window.product.is_some(), "{window:?}");
}

/// Everything that says how origins are reached and who is trusted holds by UDP too.
#[tokio::test]
async fn the_ways_of_the_user_hold_by_udp() {
    let setup = Setup {
        tls: Some(Tls {
            names: vec!["files.example".to_owned()],
        }),
        speaks: Speaks::H3,
        ..Setup::default()
    };
    let loopback = Loopback::start_with(setup, [("/file?x=1", Behaviour::new(1_000))]);
    let target = target(Scheme::Https, "files.example", loopback.port());
    let entry = format!("files.example:{}:[::1],127.0.0.1", loopback.port());
    let hosts = vec![entry.parse().unwrap()];
    let lines = Arc::new(Mutex::new(String::new()));
    let told = Arc::clone(&lines);
    let usual = NetConfig::default()
        .protocols(Protocols::Http3)
        .roots_pem(loopback.ca_pem().unwrap().as_bytes().to_vec())
        .tls_min(TlsVersion::V13)
        .key_log(Some(KeyLog::new(move |line| {
            told.lock().unwrap().push_str(line);
        })))
        .hosts(hosts);
    let fetch = async |config: NetConfig| -> Result<String, Fault> {
        let transport = HttpTransport::new(config, spawner()).unwrap();
        let session = transport.open(&target.origin).await?;
        let mut reply = session.fetch(get(&target)).await?;
        assert_eq!(drain(&mut reply.body).await.0.len(), 1_000);
        Ok(session.facts().address)
    };
    let address = format!("127.0.0.1:{}", loopback.port());
    for config in [
        usual.clone(),
        usual.clone().family(Some(IpFamily::V4)),
        usual.clone().interface(Some("127.0.0.1".to_owned())),
        // Nobody vouches for it.
        usual.clone().roots_pem(stranger()).insecure(true),
    ] {
        assert_eq!(fetch(config).await, Ok(address.clone()));
    }
    assert!(lines.lock().unwrap().contains("CLIENT_TRAFFIC_SECRET_0 "));

    let no_private = fetch(usual.clone().no_private(true)).await;
    assert!(matches!(no_private, Err(Fault::AddressRefused { .. })));
    let proxy = Proxies::all("socks5://127.0.0.1:9".parse().unwrap());
    match fetch(usual.proxies(proxy)).await {
        Err(Fault::ProtocolUnavailable(text)) => assert!(text.contains("carries no UDP"), "{text}"),
        other => panic!("{other:?}"),
    }
}

fn stranger() -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    made.cert.pem().into_bytes()
}
