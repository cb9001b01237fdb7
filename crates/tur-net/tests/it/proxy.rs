//! Ways through a proxy: what it is asked, what the origin sees, and what is said when it does not go well.

use std::time::Duration;

use tur_core::port::{Session, Transport};
use tur_core::{Fault, Kind, Scheme, Target};
use tur_net::{HttpTransport, NetConfig};
use tur_testkit::{
    Behaviour, Loopback, ProxyDeed, ProxySeen, ProxyServer, ProxySetup, ProxySpeech, Setup, Tls,
};

use crate::script::{Script, drain, get, spawner, target};

use tur_http::Proxies;

const SIZE: u64 = 100_000;

fn plain() -> Loopback {
    Loopback::start([("/file?x=1", Behaviour::new(SIZE))])
}

/// An origin for a name that only a proxy knows.
fn secure() -> Loopback {
    let setup = Setup {
        tls: Some(Tls {
            names: vec!["a.example".to_owned(), "127.0.0.1".to_owned()],
        }),
        ..Setup::default()
    };
    Loopback::start_with(setup, [("/file?x=1", Behaviour::new(SIZE))])
}

fn through(proxy: &str) -> NetConfig {
    NetConfig::default().proxies(Proxies::all(proxy.parse().unwrap()))
}

fn trusting(config: NetConfig, authorities: &[Option<&str>]) -> HttpTransport {
    let pem: String = authorities.iter().flatten().copied().collect();
    let config = match pem.is_empty() {
        true => config,
        false => config.roots_pem(pem.into_bytes()),
    };
    HttpTransport::new(config, spawner()).unwrap()
}

/// Two requests on one connection bring two whole files.
async fn fetches_twice(transport: &HttpTransport, target: &Target) {
    let session = transport.open(&target.origin).await.unwrap();
    assert!(session.facts().address.ends_with(" (proxy)"));
    for _ in 0..2 {
        let mut reply = session.fetch(get(target)).await.unwrap();
        let (bytes, end) = drain(&mut reply.body).await;
        assert_eq!((bytes.len() as u64, end), (SIZE, Ok(())));
    }
    assert!(session.is_open());
}

async fn refused(transport: &HttpTransport, target: &Target) -> Fault {
    match transport.open(&target.origin).await {
        Err(fault) => fault,
        Ok(session) => match session.fetch(get(target)).await {
            Err(fault) => fault,
            Ok(reply) => panic!("it answered: {:?}", reply.answer),
        },
    }
}

fn wanting(speech: ProxySpeech, deed: ProxyDeed) -> ProxyServer {
    ProxyServer::start(ProxySetup {
        speech,
        credentials: Some(("me".to_owned(), "hunt:er2".to_owned())),
        deed,
        ..ProxySetup::default()
    })
}

/// What each origin saw has neither the name nor the value of the proxy's credentials.
fn keeps_the_secret(origin: &Loopback) {
    for seen in origin.seen() {
        let shown = format!("{seen:?}").to_ascii_lowercase();
        assert!(!shown.contains("proxy-auth"), "{shown}");
        assert!(!shown.contains("bwu6ahvudd"), "{shown}");
    }
}

#[tokio::test]
async fn https_goes_through_a_tunnel_that_alone_sees_credentials() {
    let (proxy, origin) = (wanting(ProxySpeech::Http, ProxyDeed::Serve), secure());
    let target = target(Scheme::Https, "a.example", origin.port());
    let transport = trusting(through(&proxy.url("me:hunt%3Aer2")), &[origin.ca_pem()]);
    fetches_twice(&transport, &target).await;
    let asked = format!("a.example:{}", origin.port());
    let [ProxySeen::Head(head), ProxySeen::Connect(host)] = &proxy.seen()[..] else {
        panic!("{:?}", proxy.seen());
    };
    assert_eq!(*host, asked);
    assert!(
        head.starts_with(&format!("CONNECT {asked} HTTP/1.1\r\n")),
        "{head}"
    );
    assert!(head.contains("Proxy-Authorization: Basic "), "{head}");
    assert_eq!(origin.requests(), 2);
    keeps_the_secret(&origin);
}

#[tokio::test]
async fn http_is_handed_to_the_proxy_in_absolute_form() {
    let (proxy, origin) = (wanting(ProxySpeech::Http, ProxyDeed::Serve), plain());
    let target = target(Scheme::Http, "a.example", origin.port());
    let transport = trusting(through(&proxy.url("me:hunt%3Aer2")), &[]);
    fetches_twice(&transport, &target).await;
    assert_eq!(proxy.seen().len(), 2);
    for seen in proxy.seen() {
        let ProxySeen::Head(head) = seen else {
            panic!("{seen:?}");
        };
        let line = format!(
            "GET http://a.example:{}/file?x=1 HTTP/1.1\r\n",
            origin.port()
        );
        assert!(head.starts_with(&line), "{head}");
        assert!(head.contains(&format!("\r\nHost: a.example:{}\r\n", origin.port())));
        assert!(head.contains("\r\nProxy-Authorization: Basic "), "{head}");
    }
    keeps_the_secret(&origin);
}

#[tokio::test]
async fn tls_to_the_proxy_itself_is_checked_and_carries_both_kinds() {
    let proxy = ProxyServer::start(ProxySetup {
        tls: Some(Tls::default()),
        ..ProxySetup::default()
    });
    let (clear, covered) = (plain(), secure());
    let config = || through(&proxy.url(""));
    let transport = trusting(config(), &[proxy.ca_pem(), covered.ca_pem()]);
    fetches_twice(&transport, &target(Scheme::Http, "a.example", clear.port())).await;
    let over_tls = target(Scheme::Https, "a.example", covered.port());
    fetches_twice(&transport, &over_tls).await;
    // That origins are not checked says nothing about proxies.
    let stranger = trusting(config().insecure(true), &[covered.ca_pem()]);
    let fault = refused(&stranger, &over_tls).await;
    assert_eq!(fault.kind(), Kind::Tls);
    assert!(
        fault
            .to_string()
            .contains("this is the proxy https://localhost:"),
        "{fault}"
    );
}

#[tokio::test]
async fn socks_looks_names_up_where_it_was_told_to() {
    let (clear, covered) = (plain(), secure());
    let proxy = wanting(ProxySpeech::Socks, ProxyDeed::Serve);
    let url = proxy.url("me:hunt%3Aer2");
    let there = trusting(through(&url), &[covered.ca_pem()]);
    fetches_twice(&there, &target(Scheme::Http, "a.example", clear.port())).await;
    fetches_twice(&there, &target(Scheme::Https, "a.example", covered.port())).await;
    let here = through(&url.replace("socks5h", "socks5"));
    let entry = format!("a.example:{}:127.0.0.1", clear.port());
    let here = trusting(here.hosts(vec![entry.parse().unwrap()]), &[]);
    fetches_twice(&here, &target(Scheme::Http, "a.example", clear.port())).await;
    let asked = [
        format!("a.example:{}", clear.port()),
        format!("a.example:{}", covered.port()),
        format!("127.0.0.1:{}", clear.port()),
    ];
    assert_eq!(proxy.connects(), asked);
    let signed = ProxySeen::Password("me".to_owned(), "hunt:er2".to_owned());
    assert_eq!(
        proxy.seen().iter().filter(|seen| **seen == signed).count(),
        3
    );
}

/// An address that the proxy cannot reach is not tried again at once.
#[tokio::test]
async fn socks_tries_the_addresses_that_were_found_here_in_turn() {
    let (proxy, nobody) = (
        ProxyServer::honest(ProxySpeech::Socks),
        tur_testkit::Refusing::start(),
    );
    let entry = format!("a.example:{}:10.0.0.1,10.0.0.2,10.0.0.3", nobody.port());
    let config = through(&proxy.url("").replace("socks5h", "socks5"));
    let transport = trusting(config.hosts(vec![entry.parse().unwrap()]), &[]);
    for _ in 0..3 {
        let fault = refused(
            &transport,
            &target(Scheme::Http, "a.example", nobody.port()),
        )
        .await;
        assert!(matches!(fault, Fault::ProxyFailed { .. }), "{fault}");
    }
    let asked: Vec<_> = (1..=3)
        .map(|n| format!("10.0.0.{n}:{}", nobody.port()))
        .collect();
    assert_eq!(proxy.connects(), asked);
}

#[tokio::test]
async fn credentials_that_are_missing_or_wrong_are_the_proxys_matter() {
    let (http, socks) = (
        wanting(ProxySpeech::Http, ProxyDeed::Serve),
        wanting(ProxySpeech::Socks, ProxyDeed::Serve),
    );
    let origin = plain();
    for proxy in [&http, &socks] {
        for (userinfo, part) in [("", "none"), ("me:hunter3", "does not take those")] {
            for scheme in [Scheme::Http, Scheme::Https] {
                let transport = trusting(through(&proxy.url(userinfo)), &[]);
                let target = target(scheme, "a.example", origin.port());
                let fault = refused(&transport, &target).await;
                assert_eq!(fault.kind(), Kind::Auth, "{fault}");
                let text = fault.to_string();
                let named = proxy.url("");
                assert!(
                    text.starts_with(&format!("the proxy {named} wants")),
                    "{text}"
                );
                let part = if part == "none" && proxy.url("").starts_with("socks") {
                    "nobody without"
                } else {
                    part
                };
                assert!(text.contains(part) && !text.contains("hunter3"), "{text}");
            }
        }
    }
    assert_eq!(origin.requests(), 0);
}

/// A 407 that a directly asked origin answers is its own.
#[tokio::test]
async fn a_407_of_an_origin_names_no_proxy() {
    let script = Script::answer(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n");
    let transport = trusting(NetConfig::default(), &[]);
    let session = transport.open(&script.target().origin).await.unwrap();
    let reply = session.fetch(get(&script.target())).await.unwrap();
    let shown = format!("{:?}", reply.answer);
    assert!(shown.contains("407"), "{shown}");
}

/// What a proxy does wrong, and what is made of it.
fn misdeeds() -> [(ProxySpeech, ProxyDeed, Kind, &'static str); 9] {
    [
        (
            ProxySpeech::Http,
            ProxyDeed::Close,
            Kind::Network,
            "the proxy http://",
        ),
        (
            ProxySpeech::Http,
            ProxyDeed::Answer(b"* OK IMAP\r\n".to_vec()),
            Kind::Protocol,
            "speak HTTP",
        ),
        (
            ProxySpeech::Http,
            ProxyDeed::Answer(b"HTTP/1.1 403 Filtered\r\n\r\nno".to_vec()),
            Kind::Server,
            "refuses to connect: 403 Filtered",
        ),
        (
            ProxySpeech::Http,
            ProxyDeed::Append(b"garbage".to_vec()),
            Kind::Protocol,
            "bytes of its own",
        ),
        (
            ProxySpeech::Http,
            ProxyDeed::Answer(vec![b'H'; 1]),
            Kind::Network,
            "inside its answer",
        ),
        (
            ProxySpeech::Socks,
            ProxyDeed::Close,
            Kind::Network,
            "the proxy socks5h://",
        ),
        (
            ProxySpeech::Socks,
            ProxyDeed::Answer(b"HTTP/1.1 400 No".to_vec()),
            Kind::Protocol,
            "SOCKS5",
        ),
        (
            ProxySpeech::Socks,
            ProxyDeed::Answer(vec![5, 255]),
            Kind::Auth,
            "nobody without",
        ),
        // What comes from behind a SOCKS proxy is the origin's word: TLS tells that it is none.
        (
            ProxySpeech::Socks,
            ProxyDeed::Append(b"garbage".to_vec()),
            Kind::Tls,
            "does not speak TLS",
        ),
    ]
}

#[tokio::test]
async fn a_proxy_that_misbehaves_is_named() {
    let origin = secure();
    let secured = target(Scheme::Https, "a.example", origin.port());
    for (speech, deed, kind, part) in misdeeds() {
        let told = format!("{speech:?} {deed:?}");
        let proxy = ProxyServer::start(ProxySetup {
            speech,
            deed,
            ..ProxySetup::default()
        });
        let transport = trusting(through(&proxy.url("")), &[origin.ca_pem()]);
        let fault = refused(&transport, &secured).await;
        assert_eq!(fault.kind(), kind, "{told}: {fault}");
        assert!(fault.to_string().contains(part), "{told}: {fault}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_proxy_that_stalls_is_waited_for_only_so_long() {
    let origin = secure();
    let limit = Duration::from_millis(50);
    for (speech, said) in [
        (ProxySpeech::Http, 0),
        (ProxySpeech::Http, 20),
        (ProxySpeech::Socks, 3),
    ] {
        let proxy = ProxyServer::start(ProxySetup {
            speech,
            deed: ProxyDeed::Stall(said),
            ..ProxySetup::default()
        });
        let config = through(&proxy.url("")).connect_timeout(limit);
        let target = target(Scheme::Https, "a.example", origin.port());
        let fault = refused(&trusting(config, &[origin.ca_pem()]), &target).await;
        let text = format!("the proxy {} made no connection in 0.05 s", proxy.url(""));
        assert_eq!((fault.to_string(), fault.kind()), (text, Kind::Network));
    }
}

#[tokio::test]
async fn a_proxy_that_nobody_runs_is_named() {
    let nobody = tur_testkit::Refusing::start();
    let transport = trusting(through(&format!("127.0.0.1:{}", nobody.port())), &[]);
    let fault = refused(&transport, &target(Scheme::Http, "a.example", 80)).await;
    let text = fault.to_string();
    assert!(
        text.starts_with("cannot connect to the proxy 127.0.0.1:"),
        "{text}"
    );
    assert_eq!(fault.kind(), Kind::Network);
    let nowhere = trusting(through("proxy.invalid:1"), &[]);
    let text = refused(&nowhere, &target(Scheme::Http, "a.example", 80))
        .await
        .to_string();
    assert!(text.contains("the proxy proxy.invalid"), "{text}");
}

/// A proxy that cannot reach the origin says so, in whatever it speaks.
#[tokio::test]
async fn an_origin_that_the_proxy_cannot_reach_is_the_proxys_word() {
    let nobody = tur_testkit::Refusing::start();
    for (speech, part) in [
        (ProxySpeech::Http, "could not connect: 502 Bad Gateway"),
        (ProxySpeech::Socks, "could not connect: connection refused"),
    ] {
        let proxy = ProxyServer::honest(speech);
        let transport = trusting(through(&proxy.url("")), &[]);
        let fault = refused(
            &transport,
            &target(Scheme::Https, "a.example", nobody.port()),
        )
        .await;
        assert!(matches!(fault, Fault::ProxyFailed { .. }), "{fault:?}");
        assert!(fault.to_string().contains(part), "{fault}");
    }
}

/// Exceptions are asked directly; and what goes directly needs no proxy to be there.
#[tokio::test]
async fn exceptions_go_directly() {
    let origin = plain();
    let mut proxies = Proxies::all("127.0.0.1:1".parse().unwrap());
    proxies.except = tur_http::NoProxy::read("127.0.0.1");
    let transport = trusting(NetConfig::default().proxies(proxies), &[]);
    let target = target(Scheme::Http, "127.0.0.1", origin.port());
    let session = transport.open(&target.origin).await.unwrap();
    assert_eq!(
        session.facts().address,
        format!("127.0.0.1:{}", origin.port())
    );
    session.fetch(get(&target)).await.unwrap();
}

/// Whoever looks a name up learns its address: only then it can be checked.
#[tokio::test]
async fn what_a_proxy_looks_up_cannot_be_checked_and_is_refused_if_asked() {
    let (http, socks) = (
        ProxyServer::honest(ProxySpeech::Http),
        ProxyServer::honest(ProxySpeech::Socks),
    );
    let config = |url: &str| through(url).no_private(true);
    for url in [http.url(""), socks.url("")] {
        let transport = trusting(config(&url), &[]);
        let named = refused(&transport, &target(Scheme::Http, "a.example", 80)).await;
        assert!(matches!(named, Fault::AddressUnchecked { .. }), "{named:?}");
        let literal = refused(&transport, &target(Scheme::Https, "127.0.0.1", 80)).await;
        assert!(
            matches!(literal, Fault::AddressRefused { .. }),
            "{literal:?}"
        );
        assert_eq!((named.kind(), literal.kind()), (Kind::Policy, Kind::Policy));
    }
    let local = config(&socks.url("").replace("socks5h", "socks5"));
    let entry = "a.example:80:10.0.0.1".parse().unwrap();
    let transport = trusting(local.hosts(vec![entry]), &[]);
    let fault = refused(&transport, &target(Scheme::Http, "a.example", 80)).await;
    assert!(matches!(fault, Fault::AddressRefused { .. }), "{fault:?}");
    assert_eq!((http.seen(), socks.seen()), (Vec::new(), Vec::new()));
}

#[test]
fn no_debug_text_has_a_secret() {
    let config = through("http://alice:hunter2@127.0.0.1:1");
    let shown = format!(
        "{config:?} {:?}",
        HttpTransport::new(config.clone(), spawner()).unwrap()
    );
    assert!(
        !shown.contains("hunter2") && !shown.contains("alice"),
        "{shown}"
    );
}
