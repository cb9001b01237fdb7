//! The transport against the suite of its port, in clear text and over TLS.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::script::{drain, get, spawner};
use tur_core::port::{Request, Session, Transport};
use tur_core::{Ask, ByteRange, Origin, Scheme, Target};
use tur_net::{HttpTransport, NetConfig, Protocols};
use tur_testkit::conformance::{self, Rig};
use tur_testkit::{Behaviour, Loopback, Refusing, Setup, Speaks, Tls, byte_at};

/// The loopback origin, each behaviour under a number.
struct LoopbackRig {
    loopback: Loopback,
    refusing: Refusing,
    next: AtomicU64,
}

impl LoopbackRig {
    fn new(tls: Option<Tls>, speaks: Speaks) -> Self {
        let setup = Setup {
            tls,
            speaks,
            ..Setup::default()
        };
        Self {
            loopback: Loopback::start_with::<String>(setup, []),
            refusing: Refusing::start(),
            next: AtomicU64::new(0),
        }
    }

    fn origin(&self) -> Origin {
        let (scheme, host) = match self.loopback.ca_pem() {
            None => (Scheme::Http, "127.0.0.1"),
            Some(_) => (Scheme::Https, "localhost"),
        };
        Origin {
            scheme,
            host: host.to_owned(),
            port: self.loopback.port(),
        }
    }
}

impl Rig for LoopbackRig {
    fn serve(&self, behaviour: Behaviour) -> Target {
        let path = format!("/{}", self.next.fetch_add(1, Ordering::Relaxed));
        self.loopback.swap(&path, behaviour);
        Target {
            origin: self.origin(),
            path,
        }
    }

    fn connections(&self) -> u64 {
        self.loopback.connections()
    }

    fn dead_origin(&self) -> Origin {
        Origin {
            scheme: self.origin().scheme,
            host: "127.0.0.1".to_owned(),
            port: self.refusing.port(),
        }
    }
}

#[tokio::test]
async fn clear_text_keeps_the_rules_of_the_port() {
    let rig = LoopbackRig::new(None, Speaks::H1);
    let transport = HttpTransport::new(NetConfig::default(), spawner()).unwrap();
    conformance::run(&transport, &rig).await;
}

#[tokio::test]
async fn small_buffers_keep_the_rules_of_the_port() {
    let rig = LoopbackRig::new(None, Speaks::H1);
    let config = NetConfig::default().read_buffer(8 * 1024);
    let transport = HttpTransport::new(config, spawner()).unwrap();
    conformance::run(&transport, &rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_keeps_the_rules_of_the_port() {
    let rig = LoopbackRig::new(Some(Tls::default()), Speaks::H1);
    let pem = rig.loopback.ca_pem().unwrap().as_bytes().to_vec();
    let transport = HttpTransport::new(NetConfig::default().roots_pem(pem), spawner()).unwrap();
    conformance::run(&transport, &rig).await;
}

#[tokio::test]
async fn streams_in_clear_text_keep_the_rules_of_the_port() {
    let rig = LoopbackRig::new(None, Speaks::H2);
    let config = NetConfig::default().protocols(Protocols::Http2);
    let transport = HttpTransport::new(config, spawner()).unwrap();
    conformance::run(&transport, &rig).await;
}

#[tokio::test]
async fn streams_in_small_windows_keep_the_rules_of_the_port() {
    let rig = LoopbackRig::new(None, Speaks::H2);
    let config = NetConfig::default().protocols(Protocols::Http2);
    let config = config.h2_stream_window(16 * 1024).receive_buffer(64 * 1024);
    let transport = HttpTransport::new(config, spawner()).unwrap();
    conformance::run(&transport, &rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_over_tls_keep_the_rules_of_the_port() {
    let rig = LoopbackRig::new(Some(Tls::default()), Speaks::Both);
    let pem = rig.loopback.ca_pem().unwrap().as_bytes().to_vec();
    let transport = HttpTransport::new(NetConfig::default().roots_pem(pem), spawner()).unwrap();
    conformance::run(&transport, &rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_share_one_connection() {
    for (speaks, protocols) in [
        (Speaks::H1, Protocols::Http1),
        (Speaks::H2, Protocols::Http2),
        #[cfg(feature = "http3")]
        (Speaks::H3, Protocols::Http3),
    ] {
        let tls = (speaks == Speaks::H3).then(Tls::default);
        let rig = LoopbackRig::new(tls, speaks);
        let mut config = NetConfig::default().protocols(protocols);
        if let Some(pem) = rig.loopback.ca_pem() {
            config = config.roots_pem(pem.as_bytes().to_vec());
        }
        let transport = HttpTransport::new(config, spawner()).unwrap();
        let target = rig.serve(Behaviour::new(10_000));
        let session = transport.open(&target.origin).await.unwrap();
        for nth in 0..10_000 {
            let request = Request {
                ask: Ask::Range(ByteRange::new(nth, nth + 1)),
                ..get(&target)
            };
            let mut reply = session.fetch(request).await.unwrap();
            let (bytes, end) = drain(&mut reply.body).await;
            assert_eq!((bytes, end), (vec![byte_at(0, nth)], Ok(())));
        }
        assert!(session.is_open(), "{speaks:?}");
        assert_eq!(rig.connections(), 1, "{speaks:?}");
    }
}

#[cfg(feature = "http3")]
#[tokio::test]
async fn streams_over_quic_keep_the_rules_of_the_port() {
    let rig = LoopbackRig::new(Some(Tls::default()), Speaks::H3);
    conformance::run(&over_quic(&rig, NetConfig::default()), &rig).await;
}

#[cfg(feature = "http3")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_over_quic_in_small_windows_keep_the_rules_of_the_port() {
    let rig = LoopbackRig::new(Some(Tls::default()), Speaks::H3);
    let config = NetConfig::default()
        .h2_stream_window(16 * 1024)
        .receive_buffer(64 * 1024);
    conformance::run(&over_quic(&rig, config), &rig).await;
}

/// Nothing says that nobody listens on a port of UDP: each run waits for the whole limit once.
#[cfg(feature = "http3")]
fn over_quic(rig: &LoopbackRig, config: NetConfig) -> HttpTransport {
    let pem = rig.loopback.ca_pem().unwrap().as_bytes().to_vec();
    let config = config
        .roots_pem(pem)
        .protocols(Protocols::Http3)
        .connect_timeout(std::time::Duration::from_secs(5));
    HttpTransport::new(config, spawner()).unwrap()
}
