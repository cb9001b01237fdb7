//! Tests.

use tur_core::{Origin, Scheme};

use super::*;

/// A dialer that takes `a.example` for these addresses.
fn knowing(addresses: &str, port: u16, config: NetConfig) -> Dialer {
    let entry = format!("a.example:{port}:{addresses}").parse().unwrap();
    Dialer::new(&config.hosts(vec![entry])).unwrap()
}

fn example(port: u16) -> Origin {
    Origin {
        scheme: Scheme::Http,
        host: "a.example".to_owned(),
        port,
    }
}

fn v4(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 80))
}

fn v6(n: u16) -> SocketAddr {
    SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 80))
}

#[test]
fn families_take_turns_from_the_first_one_on() {
    assert_eq!(
        interleave(&[v6(1), v6(2), v4(1), v4(2), v4(3)]),
        [v6(1), v4(1), v6(2), v4(2), v4(3)]
    );
    assert_eq!(interleave(&[v4(1), v4(2), v6(1)]), [v4(1), v6(1), v4(2)]);
    assert_eq!(interleave(&[v4(1)]), [v4(1)]);
    assert_eq!(interleave(&[]), []);
}

#[test]
fn a_resolver_that_asks_for_another_try_is_known_by_its_words() {
    let start = "failed to lookup address information";
    for (words, away) in [
        ("Temporary failure in name resolution", true),
        ("Try again", true),
        ("Name or service not known", false),
        ("Name does not resolve", false),
        ("No address associated with hostname", false),
    ] {
        let error = io::Error::other(format!("{start}: {words}"));
        assert_eq!(is_resolver_away(&error), away, "{words}");
    }
    assert!(is_resolver_away(&io::Error::from_raw_os_error(11_002)));
}

#[tokio::test]
async fn literals_need_no_resolver() {
    for (host, ip) in [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")] {
        let origin = Origin {
            scheme: Scheme::Https,
            host: host.to_owned(),
            port: 8443,
        };
        let expected = SocketAddr::new(ip.parse().unwrap(), 8443);
        let dialer = Dialer::new(&NetConfig::default()).unwrap();
        let found = dialer.addresses(Peer::Origin(&origin)).await;
        assert_eq!(found.unwrap(), [expected]);
    }
}

#[tokio::test]
async fn a_name_without_an_address_says_so() {
    let origin = Origin {
        scheme: Scheme::Http,
        // RFC 6761, section 6.4: never resolves.
        host: "nothing.invalid".to_owned(),
        port: 80,
    };
    let dialer = Dialer::new(&NetConfig::default()).unwrap();
    match dialer.addresses(Peer::Origin(&origin)).await {
        // A machine without a resolver cannot even know that.
        Err(Fault::Resolve { host, .. } | Fault::Offline { host, .. }) => {
            assert_eq!(host, "nothing.invalid");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_receive_buffer_is_set_where_one_is_asked_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = Origin {
        scheme: Scheme::Http,
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
    };
    let dialer = Dialer::new(&NetConfig::default()).unwrap();
    let mut sizes = Vec::new();
    for asked in [None, Some(32 * 1024), Some(64 * 1024)] {
        let (tcp, _) = dialer.dial(Peer::Origin(&origin), asked).await.unwrap();
        assert!(tcp.nodelay().unwrap());
        sizes.push(SockRef::from(&tcp).recv_buffer_size().unwrap());
    }
    // Linux says twice what was set.
    assert!(sizes[1] == 32 * 1024 || sizes[1] == 64 * 1024, "{sizes:?}");
    assert_eq!(sizes[2], 2 * sizes[1]);
}

/// Neither a literal nor a name leads to this machine, and nobody there hears of it.
#[tokio::test]
async fn an_address_that_is_not_public_is_never_connected_to() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let dialer = Dialer::new(&NetConfig::default().no_private(true)).unwrap();
    for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"] {
        let origin = Origin {
            scheme: Scheme::Http,
            host: host.to_owned(),
            port,
        };
        let fault = dialer.dial(Peer::Origin(&origin), None).await.unwrap_err();
        assert!(matches!(fault, Fault::AddressRefused { .. }), "{fault:?}");
    }
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
}

/// What a user gives for a host is not looked up, is checked as anything else is, and both families can be left out.
#[tokio::test]
async fn given_addresses_are_used_and_checked() {
    let origin = example(80);
    let peer = Peer::Origin(&origin);
    let all = "10.0.0.1,2001:db8::1,10.0.0.2,10.0.0.1";
    let of = |config: NetConfig| async move {
        let found = knowing(all, 80, config).addresses(peer).await?;
        Ok::<_, Fault>(
            found
                .iter()
                .map(|found| found.ip().to_string())
                .collect::<Vec<_>>(),
        )
    };
    let config = NetConfig::default;
    assert_eq!(
        of(config()).await.unwrap(),
        ["10.0.0.1", "2001:db8::1", "10.0.0.2"]
    );
    let v4 = of(config().family(Some(IpFamily::V4))).await.unwrap();
    assert_eq!(v4, ["10.0.0.1", "10.0.0.2"]);
    let v6 = of(config().family(Some(IpFamily::V6))).await.unwrap();
    assert_eq!(v6, ["2001:db8::1"]);
    let fault = of(config().no_private(true)).await.unwrap_err();
    assert!(matches!(fault, Fault::AddressRefused { .. }), "{fault}");
    let only = knowing("10.0.0.1", 80, config().family(Some(IpFamily::V6)));
    let fault = only.addresses(peer).await.unwrap_err();
    assert!(fault.to_string().contains("no IPv6 address"), "{fault}");
}

/// All of 127.0.0.0/8 is this machine.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_are_spread_until_a_host_is_pinned() {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dialer = knowing("127.0.0.1,127.0.0.2,127.0.0.3", port, NetConfig::default());
    let origin = example(port);
    let mut last = Vec::new();
    for pinned in [false, true] {
        for _ in 0..4 {
            let (_tcp, address) = dialer.dial(Peer::Origin(&origin), None).await.unwrap();
            last.push(address.ip().to_string().pop().unwrap());
        }
        if !pinned {
            dialer.pin(&origin, SocketAddr::from(([127, 0, 0, 2], port)));
        }
    }
    assert_eq!(last.iter().collect::<String>(), "12312222");
}

/// One of two servers is down: it is found out once, and then left alone for a while.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_that_refuses_is_left_alone() {
    let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dialer = knowing("127.0.0.1,127.0.0.2", port, NetConfig::default());
    let origin = example(port);
    for _ in 0..3 {
        let (_tcp, address) = dialer.dial(Peer::Origin(&origin), None).await.unwrap();
        assert_eq!(address.ip().to_string(), "127.0.0.2");
        let order = dialer.addresses(Peer::Origin(&origin)).await.unwrap();
        assert_eq!(order[1].ip().to_string(), "127.0.0.1");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_leave_from_where_they_are_told_to() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = Origin {
        host: "127.0.0.1".to_owned(),
        ..example(listener.local_addr().unwrap().port())
    };
    for (interface, from) in [("127.0.0.9", "127.0.0.9"), ("lo", "127.0.0.1")] {
        let config = NetConfig::default().interface(Some(interface.to_owned()));
        let dialer = Dialer::new(&config).unwrap();
        let (_tcp, _) = dialer.dial(Peer::Origin(&origin), None).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip().to_string(), from);
    }
    let wrong = NetConfig::default()
        .interface(Some("127.0.0.9".to_owned()))
        .family(Some(IpFamily::V6));
    assert!(matches!(Dialer::new(&wrong), Err(NetError::Interface(_))));
}
