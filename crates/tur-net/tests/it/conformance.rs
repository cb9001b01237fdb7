//! The transport against the suite of its port, in clear text and over TLS.

use crate::script::spawner;
use tur_net::{HttpTransport, NetConfig, Protocols};
use tur_testkit::conformance::lifetime::serves_ten_thousand_requests;
use tur_testkit::conformance::{self, LoopbackRig};
use tur_testkit::{Loopback, Setup, Speaks, Tls};

fn rig(tls: Option<Tls>, speaks: Speaks) -> LoopbackRig {
    let setup = Setup {
        tls,
        speaks,
        ..Setup::default()
    };
    LoopbackRig::new(Loopback::start_with::<String>(setup, []))
}

#[tokio::test]
async fn clear_text_keeps_the_rules_of_the_port() {
    let rig = rig(None, Speaks::H1);
    let transport = HttpTransport::new(NetConfig::default(), spawner()).unwrap();
    conformance::run(&transport, &rig).await;
}

#[tokio::test]
async fn small_buffers_keep_the_rules_of_the_port() {
    let rig = rig(None, Speaks::H1);
    let config = NetConfig::default().read_buffer(8 * 1024);
    let transport = HttpTransport::new(config, spawner()).unwrap();
    conformance::run(&transport, &rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_keeps_the_rules_of_the_port() {
    let rig = rig(Some(Tls::default()), Speaks::H1);
    let pem = rig.loopback.ca_pem().unwrap().as_bytes().to_vec();
    let transport = HttpTransport::new(NetConfig::default().roots_pem(pem), spawner()).unwrap();
    conformance::run(&transport, &rig).await;
}

#[tokio::test]
async fn streams_in_clear_text_keep_the_rules_of_the_port() {
    let rig = rig(None, Speaks::H2);
    let config = NetConfig::default().protocols(Protocols::Http2);
    let transport = HttpTransport::new(config, spawner()).unwrap();
    conformance::run(&transport, &rig).await;
}

#[tokio::test]
async fn streams_in_small_windows_keep_the_rules_of_the_port() {
    let rig = rig(None, Speaks::H2);
    let config = NetConfig::default().protocols(Protocols::Http2);
    let config = config.h2_stream_window(16 * 1024).receive_buffer(64 * 1024);
    let transport = HttpTransport::new(config, spawner()).unwrap();
    conformance::run(&transport, &rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_over_tls_keep_the_rules_of_the_port() {
    let rig = rig(Some(Tls::default()), Speaks::Both);
    let pem = rig.loopback.ca_pem().unwrap().as_bytes().to_vec();
    let config = NetConfig::default().roots_pem(pem);
    // Left to itself it would turn to HTTP/1.1 after so many resets.
    let config = config.protocols(Protocols::Http2);
    let transport = HttpTransport::new(config, spawner()).unwrap();
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
        let rig = rig(tls, speaks);
        let mut config = NetConfig::default().protocols(protocols);
        if let Some(pem) = rig.loopback.ca_pem() {
            config = config.roots_pem(pem.as_bytes().to_vec());
        }
        let transport = HttpTransport::new(config, spawner()).unwrap();
        serves_ten_thousand_requests(&transport, &rig).await;
    }
}

#[cfg(feature = "http3")]
#[tokio::test]
async fn streams_over_quic_keep_the_rules_of_the_port() {
    let rig = rig(Some(Tls::default()), Speaks::H3);
    conformance::run(&over_quic(&rig, NetConfig::default()), &rig).await;
}

#[cfg(feature = "http3")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_over_quic_in_small_windows_keep_the_rules_of_the_port() {
    let rig = rig(Some(Tls::default()), Speaks::H3);
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
