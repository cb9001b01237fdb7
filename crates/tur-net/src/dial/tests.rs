//! Tests.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::time::Instant;
use tur_core::Scheme;

use super::*;

fn v4(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 80))
}

fn v6(n: u16) -> SocketAddr {
    SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 80))
}

/// How one address answers.
#[derive(Clone, Copy)]
enum Fate {
    /// After so many milliseconds.
    Connects(u64),
    /// After so many milliseconds, with this error.
    Fails(u64, io::ErrorKind),
    Silent,
}

#[expect(clippy::disallowed_methods, reason = "virtual time")]
/// Runs a race under virtual time: the outcome, when it came, and when each attempt was begun (ms).
async fn run(
    fates: &[(SocketAddr, Fate)],
) -> (Result<SocketAddr, Failure>, u64, Vec<(SocketAddr, u64)>) {
    let began = Instant::now();
    let since = move || u64::try_from(began.elapsed().as_millis()).unwrap();
    let begun = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&begun);
    let addresses = fates.iter().map(|(address, _)| *address).collect();
    let outcome = race(addresses, move |address| {
        log.borrow_mut().push((address, since()));
        let fate = fates.iter().find(|(known, _)| *known == address).unwrap().1;
        async move {
            match fate {
                Fate::Connects(ms) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    Ok(())
                }
                Fate::Fails(ms, kind) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    Err(kind.into())
                }
                Fate::Silent => std::future::pending().await,
            }
        }
    })
    .await
    .map(|((), address)| address);
    (outcome, since(), begun.take())
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

#[tokio::test(start_paused = true)]
async fn a_good_first_address_is_the_only_one_tried() {
    let (won, at, begun) = run(&[(v6(1), Fate::Connects(240)), (v4(1), Fate::Connects(0))]).await;
    assert_eq!((won.unwrap(), at), (v6(1), 240));
    assert_eq!(begun, [(v6(1), 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_address_costs_one_stagger() {
    let (won, at, begun) = run(&[(v6(1), Fate::Silent), (v4(1), Fate::Connects(20))]).await;
    assert_eq!((won.unwrap(), at), (v4(1), 270));
    assert_eq!(begun, [(v6(1), 0), (v4(1), 250)]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_starts_the_next_at_once() {
    let refused = Fate::Fails(10, io::ErrorKind::ConnectionRefused);
    let fates = [
        (v6(1), refused),
        (v4(1), refused),
        (v6(2), Fate::Silent),
        (v4(2), Fate::Connects(5)),
    ];
    let (won, at, begun) = run(&fates).await;
    assert_eq!((won.unwrap(), at), (v4(2), 275));
    assert_eq!(begun, [(v6(1), 0), (v4(1), 10), (v6(2), 20), (v4(2), 270)]);
}

#[tokio::test(start_paused = true)]
async fn the_first_to_connect_wins_even_if_it_began_earlier() {
    let (won, at, _) = run(&[(v6(1), Fate::Connects(300)), (v4(1), Fate::Connects(100))]).await;
    assert_eq!((won.unwrap(), at), (v6(1), 300));
}

#[tokio::test(start_paused = true)]
async fn all_are_tried_before_the_last_failure_is_reported() {
    let (lost, at, begun) = run(&[
        (v6(1), Fate::Fails(1, io::ErrorKind::NetworkUnreachable)),
        (v4(1), Fate::Fails(400, io::ErrorKind::ConnectionRefused)),
        (v6(2), Fate::Fails(10, io::ErrorKind::HostUnreachable)),
    ])
    .await;
    assert_eq!(begun.len(), 3);
    assert_eq!(
        (lost.unwrap_err().error.kind(), at),
        (io::ErrorKind::ConnectionRefused, 401)
    );
}

#[tokio::test(start_paused = true)]
async fn exhaustion_is_not_covered_by_a_later_failure() {
    for (address, exhausted) in [(v4(1), true), (v6(1), false)] {
        let (lost, ..) = run(&[
            (address, Fate::Fails(1, io::ErrorKind::AddrNotAvailable)),
            (v4(2), Fate::Fails(1, io::ErrorKind::ConnectionRefused)),
        ])
        .await;
        let origin = Origin {
            scheme: Scheme::Http,
            host: "host".to_owned(),
            port: 80,
        };
        let fault = lost.unwrap_err().into_fault(&origin);
        assert_eq!(matches!(fault, Fault::Exhausted(_)), exhausted, "{fault:?}");
    }
}

/// That one family has no route is normal. Only if no packet could leave at all, the network is away.
#[tokio::test(start_paused = true)]
async fn the_network_is_away_only_if_no_address_had_a_way() {
    let away = [
        io::ErrorKind::NetworkUnreachable,
        io::ErrorKind::HostUnreachable,
        io::ErrorKind::NetworkDown,
    ];
    let origin = Origin {
        scheme: Scheme::Http,
        host: "host".to_owned(),
        port: 80,
    };
    for kind in away {
        let rows = [
            (vec![(v4(1), kind)], true),
            (
                vec![(v6(1), io::ErrorKind::AddrNotAvailable), (v4(1), kind)],
                true,
            ),
            (
                vec![(v4(1), io::ErrorKind::ConnectionRefused), (v6(1), kind)],
                false,
            ),
            (
                vec![(v6(1), kind), (v4(1), io::ErrorKind::ConnectionReset)],
                false,
            ),
        ];
        for (failures, offline) in rows {
            let fates: Vec<_> = failures
                .iter()
                .map(|(address, kind)| (*address, Fate::Fails(1, *kind)))
                .collect();
            let (lost, ..) = run(&fates).await;
            let fault = lost.unwrap_err().into_fault(&origin);
            assert_eq!(
                matches!(fault, Fault::Offline { .. }),
                offline,
                "{failures:?}: {fault:?}"
            );
        }
    }
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

#[cfg(unix)]
#[test]
fn descriptors_that_ran_out_are_exhaustion() {
    for (code, exhausted) in [
        (24, true),
        (23, true),
        (12, true),
        (111, false),
        (104, false),
    ] {
        assert_eq!(
            is_exhaustion(&io::Error::from_raw_os_error(code)),
            exhausted,
            "{code}"
        );
    }
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
        assert_eq!(resolve(&origin).await.unwrap(), [expected]);
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
    match resolve(&origin).await {
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
    let mut sizes = Vec::new();
    for asked in [None, Some(32 * 1024), Some(64 * 1024)] {
        let (tcp, _) = dial(&origin, asked, false).await.unwrap();
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
    for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"] {
        let origin = Origin {
            scheme: Scheme::Http,
            host: host.to_owned(),
            port,
        };
        let fault = dial(&origin, None, true).await.unwrap_err();
        assert!(matches!(fault, Fault::AddressRefused { .. }), "{fault:?}");
    }
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
}
