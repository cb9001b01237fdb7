//! Tests.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::time::Instant;
use tur_core::{Origin, Scheme};

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
    let mut behind = Vec::new();
    let outcome = race(addresses, &mut behind, move |address| {
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
        let fault = lost.unwrap_err().into_fault(Peer::Origin(&origin));
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
            let fault = lost.unwrap_err().into_fault(Peer::Origin(&origin));
            assert_eq!(
                matches!(fault, Fault::Offline { .. }),
                offline,
                "{failures:?}: {fault:?}"
            );
        }
    }
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

#[tokio::test(start_paused = true)]
async fn who_failed_or_was_overtaken_is_told() {
    let fates = [
        (v6(1), Fate::Silent),
        (v4(1), Fate::Fails(1, io::ErrorKind::ConnectionRefused)),
        (v6(2), Fate::Connects(30)),
        (v4(2), Fate::Connects(0)),
    ];
    let (addresses, mut behind) = (fates.iter().map(|fate| fate.0).collect(), Vec::new());
    let won = race(addresses, &mut behind, |address| async move {
        match fates.iter().find(|(known, _)| *known == address).unwrap().1 {
            Fate::Silent => std::future::pending().await,
            Fate::Fails(_, kind) => Err(kind.into()),
            Fate::Connects(_) => Ok(()),
        }
    })
    .await;
    assert_eq!(won.unwrap().1, v6(2));
    assert_eq!(behind, [v4(1), v6(1)], "and not one that never began");
}
