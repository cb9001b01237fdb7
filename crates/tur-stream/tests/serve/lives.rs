//! Clients that share, vanish, wait or never speak, and the end of the endpoint.

use std::time::Duration;

use tokio::time::timeout;
use tur_core::Rate;
use tur_engine::{SpeedFloor, Status, What};
use tur_stream::serve::EndpointOptions;
use tur_stream::{Fill, Media};
use tur_testkit::{Behaviour, Deed, Gate, When, content};

use crate::client::Place;
use crate::stand::{HALF, MIB, SIZE, Stand, aside, held, range};

#[test]
fn clients_share_a_download() {
    let paced = Behaviour::new(SIZE).pace(Rate::per_second(4 * MIB));
    let stand = Stand::new(paced.clone());
    let place = Place::of(stand.single());
    let clients = [0, 1, 2].map(|at| {
        let mut client = place.client();
        client.send("GET", &place.path, &[&format!("Range: bytes={at}-")]);
        aside(move || client.answer("GET"))
    });
    for (at, client) in (0..).zip(clients) {
        client.join().assert_bytes(206, 0, range(at, SIZE));
    }
    place.media.wait_committed().expect("it is complete");
    assert_eq!(stand.origin.bytes_sent(), SIZE, "each byte once");
    stand.assert_file(0, SIZE);
    // Far from each other, over several lanes: what was under way when a lane was cut comes in vain, and nothing else.
    let stand = Stand::new(paced);
    let place = Place::of(stand.media());
    let mut far = place.client();
    far.send("GET", &place.path, &["Range: bytes=700000-"]);
    place.ask("GET", &[]).assert_bytes(200, 0, range(0, SIZE));
    far.answer("GET").assert_bytes(206, 0, range(700_000, SIZE));
    place.media.wait_committed().expect("it is complete");
    stand.assert_file(0, SIZE);
    assert!(stand.origin.bytes_sent() < SIZE + HALF, "never twice");
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let (gate, stand) = held(100);
    let place = Place::of(stand.media());
    let mut one = place.client();
    one.send("GET", &place.path, &[]);
    assert_eq!(one.head().status, 200);
    assert!(one.bytes(100) == content(0, range(0, 100)));
    // Another one waits for its head, and is gone before there is one.
    let dark = Gate::at(0);
    let headless = Behaviour::new(SIZE).rule(When::Always, Deed::HoldHead(dark.clone()));
    let hidden = Stand::new(headless);
    let early = Place::of(hidden.media());
    let mut client = early.client();
    client.send("GET", &early.path, &["Range: bytes=500000-"]);
    early.until_there_are(1);
    assert_eq!(place.endpoint.clients(), 1);
    drop((one, client));
    place.until_there_are(0);
    early.until_there_are(0);
    gate.open();
    dark.open();
    place.ask("GET", &[]).assert_bytes(200, 0, range(0, SIZE));
}

/// Who does not read stops the connections, and that is no stall.
#[test]
fn a_client_that_does_not_read_is_waited_for() {
    const BIG: u64 = 64 * MIB;
    let stand = Stand::new(Behaviour::new(BIG));
    let floor = SpeedFloor {
        rate: Rate::per_second(1024),
        over: Duration::from_secs(1),
    };
    let download = stand.download().lanes(4).speed_floor(floor);
    let options = stand.options().fill(Fill::Window).look_ahead(MIB);
    let place = Place::of(Media::of(download, options));
    let mut events = place
        .media
        .events()
        .only(|what| matches!(what, What::Stalled { .. } | What::Retrying { .. }));
    let mut client = place.client();
    client.send("GET", &place.path, &[]);
    assert_eq!(client.head().status, 200);
    let mut have = client.bytes(1000);
    // Beside the window there is room in the sockets' buffers, of this system's choice.
    let beyond = Duration::from_secs(3);
    assert!(!stand.origin.wait_for_bytes(BIG / 2, beyond));
    assert!(matches!(place.media.status(), Status::Active { .. }));
    have.extend(client.bytes(BIG as usize - 1000));
    assert!(have == content(0, range(0, BIG)), "wrong bytes");
    place.media.wait_committed().expect("it is complete");
    let told = aside(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let next = async { events.next().await.is_none() };
        runtime.expect("a runtime").block_on(next)
    });
    assert!(told.join(), "nothing stalled");
    assert!(stand.origin.bytes_sent() < BIG + MIB, "each byte once");
}

#[test]
fn who_says_nothing_is_let_go() {
    let stand = Stand::new(Behaviour::new(SIZE));
    let options = EndpointOptions::new().head_wait(Duration::from_secs(2));
    let place = Place::with(stand.media(), options);
    let mut silent = place.client();
    let mut slow = place.client();
    slow.raw("GET / HTTP/1.1\r\nHost: ");
    // One that was served, too.
    let mut idle = place.client();
    let first = idle.ask("GET", &place.path, &["Range: bytes=0-9"]);
    first.assert_bytes(206, 0, range(0, 10));
    assert!(silent.is_closed() && idle.is_closed());
    slow.is_closed();
    // Nor is a head without an end read for ever.
    let mut long = place.client();
    long.raw(&format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(20_000)));
    assert_eq!(long.head().status, 431);
    // No wait is too long to be asked for.
    let options = EndpointOptions::new().head_wait(Duration::MAX);
    let place = Place::with(place.media, options);
    let first = place.ask("GET", &["Range: bytes=0-9"]);
    first.assert_bytes(206, 0, range(0, 10));
}

#[test]
fn so_many_are_served_at_a_time_and_others_wait() {
    let (gate, stand) = held(10);
    let options = EndpointOptions::new().connections(2);
    let place = Place::with(stand.media(), options);
    let mut inside = [place.client(), place.client()];
    for client in &mut inside {
        client.send("GET", &place.path, &[]);
        assert_eq!(client.head().status, 200);
    }
    let mut third = place.client();
    third.send("GET", &place.path, &["Range: bytes=0-9"]);
    let third = aside(move || third.answer("GET"));
    assert_eq!(place.endpoint.clients(), 2);
    assert!(!third.is_over());
    drop(inside);
    third.join().assert_bytes(206, 0, range(0, 10));
    gate.open();
}

/// An hour of virtual time: only what happens on sockets takes any.
#[tokio::test(start_paused = true)]
async fn nobody_is_there_when_the_last_client_has_gone() {
    let hour = Duration::from_secs(3600);
    let (gate, stand) = held(HALF);
    let place = Place::of(stand.media());
    place.endpoint.idle(hour).await;
    let mut client = place.client();
    client.send("GET", &place.path, &[]);
    assert_eq!(client.head().status, 200);
    let waited = timeout(24 * hour, place.endpoint.idle(hour)).await;
    assert!(waited.is_err(), "somebody is there");
    drop(client);
    place.endpoint.idle(hour).await;
    assert_eq!(place.endpoint.clients(), 0);
    gate.open();
}

#[test]
fn its_end_is_that_of_every_connection() {
    let (gate, stand) = held(1000);
    let place = Place::of(stand.media());
    let (mut busy, mut idle) = (place.client(), place.client());
    busy.send("GET", &place.path, &[]);
    let part = idle.ask("GET", &place.path, &["Range: bytes=0-9"]);
    part.assert_bytes(206, 0, range(0, 10));
    assert_eq!(busy.head().status, 200);
    assert!(busy.bytes(1000) == content(0, range(0, 1000)));
    let Place {
        endpoint, media, ..
    } = place;
    let address = endpoint.address();
    drop(endpoint);
    assert!(busy.is_closed() && idle.is_closed());
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "it is closed"
    );
    // The download is nobody's but its owner's.
    gate.open();
    media.wait_committed().expect("it goes on");
    stand.assert_file(0, SIZE);
}
