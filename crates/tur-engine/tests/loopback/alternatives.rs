//! HTTP/3 that an origin offers: it is tried, trusted only with the origin's certificate, and let be where it fails.

use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tur_engine::{Completed, Downloader, DownloaderBuilder, Http3Record};
use tur_testkit::{Behaviour, Deed, Gate, Loopback, Setup, Speaks, Strike, Tls, When};

use crate::stand::{KIB, LIMIT, MIB, PATH, assert_content, outcome};

const SIZE: u64 = MIB + 77;
const HALF: u64 = SIZE / 2;
/// Of a body that is given up after it.
const SILENCE: Duration = Duration::from_secs(2);

/// An origin over TCP that offers HTTP/3 on a port, and what programs remember of it.
struct Place {
    dir: TempDir,
    pem: Vec<u8>,
}

fn serve(speaks: Speaks, port: u16, offer: Option<u16>) -> Loopback {
    let setup = Setup {
        tls: Some(Tls::default()),
        speaks,
        port,
        ..Setup::default()
    };
    let mut file = Behaviour::new(SIZE);
    if let Some(port) = offer {
        let said = format!("h2=\":1\", h3=\":{port}\"; ma=600");
        file = file.field("Alt-Svc", said.as_bytes());
    }
    Loopback::start_with(setup, [(PATH, file)])
}

impl Place {
    fn new(trusted: &[&Loopback]) -> Self {
        let pems = trusted.iter().filter_map(|origin| origin.ca_pem());
        Self {
            dir: TempDir::new().expect("a directory"),
            pem: pems.collect::<String>().into_bytes(),
        }
    }

    /// A program of its own: nothing is left of earlier ones but what is remembered.
    fn downloader(&self, with: impl Fn(DownloaderBuilder) -> DownloaderBuilder) -> Downloader {
        let builder = Downloader::builder()
            .roots_pem(self.pem.clone())
            .origin_memory(Some(self.path("origins")));
        with(builder).build().expect("a downloader")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Downloads the file, looks at all of it, and lets the program end.
    async fn visit(&self, name: &str, url: &str) -> Completed {
        let downloader = self.downloader(|builder| builder);
        let done = self.fetch(&downloader, (name, url)).await;
        downloader.flush_origins(LIMIT).expect("it is written");
        done
    }

    async fn fetch(&self, downloader: &Downloader, (name, url): (&str, &str)) -> Completed {
        let download = downloader.download(url).dir(self.dir.path()).file(name);
        let mut handle = download.lanes(1).start();
        let done = outcome(&mut handle).await.expect("it succeeds");
        assert_content(&self.path(name), 0, SIZE);
        done
    }

    fn known(&self) -> Option<Http3Record> {
        let downloader = self.downloader(|builder| builder);
        let records = downloader.origins().expect("they can be read");
        records.into_iter().find_map(|record| record.http3)
    }
}

/// Waits until it is remembered that HTTP/3 fails.
async fn is_paused(downloader: &Downloader) {
    let paused = || {
        let records = downloader.origins().expect("they can be read");
        let known = records.first().and_then(|record| record.http3.clone());
        known.is_some_and(|known| known.paused)
    };
    until(paused).await;
}

/// Waits until it is so.
#[expect(
    clippy::disallowed_methods,
    reason = "what goes on elsewhere tells nobody when it happens"
)]
async fn until(so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting)
        .await
        .expect("it happens");
}

/// The first visit goes over TCP, whatever is offered; a later one where it was said.
#[tokio::test]
async fn what_is_offered_is_taken_up_by_a_later_visit() {
    let quic = serve(Speaks::H3, 0, None);
    let tcp = serve(Speaks::Both, 0, Some(quic.port()));
    let (place, url) = (Place::new(&[&tcp, &quic]), tcp.url(PATH));
    assert_eq!(place.visit("first", &url).await.protocol, "h2");
    assert_eq!(quic.requests(), 0);
    let known = place.known().expect("it was said");
    assert_eq!(known.alternative, format!(":{}", quic.port()));
    assert!(
        tcp.seen()
            .iter()
            .all(|seen| seen.field("alt-used").is_none())
    );
    // Nothing is there over TCP any more, so that there is no doubt who wins.
    drop(tcp);
    let done = place.visit("second", &url).await;
    assert_eq!(done.protocol, "h3");
    assert_eq!(done.metrics.protocols["h3"].fresh, 1);
    // RFC 7838, section 5.
    let named = format!("localhost:{}", quic.port());
    let seen = quic.seen();
    assert!(!seen.is_empty());
    assert!(
        seen.iter()
            .all(|seen| seen.field("alt-used") == Some(named.as_bytes()))
    );
    assert!(place.known().is_some_and(|known| !known.paused));
}

/// X02: no packet arrives. Whether it worked before or not: TCP serves, and it is not tried again for a while.
#[tokio::test]
async fn x02_where_udp_is_blocked_tcp_serves_and_it_is_remembered() {
    for worked in [false, true] {
        let quic = serve(Speaks::H3, 0, None);
        let port = quic.port();
        let tcp = serve(Speaks::Both, 0, Some(port));
        let (place, url) = (Place::new(&[&tcp, &quic]), tcp.url(PATH));
        place.visit("first", &url).await;
        if worked {
            let own = tcp.port();
            drop(tcp);
            assert_eq!(place.visit("by-udp", &url).await.protocol, "h3");
            drop(quic);
            let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("it is free");
            let tcp = serve(Speaks::Both, own, Some(port));
            let place = Place {
                pem: tcp.ca_pem().expect("TLS").as_bytes().to_vec(),
                ..place
            };
            falls_back(&place, &url).await;
            drop(silent);
        } else {
            drop(quic);
            let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("it is free");
            falls_back(&place, &url).await;
            drop(silent);
        }
    }
}

async fn falls_back(place: &Place, url: &str) {
    let downloader = place.downloader(|builder| builder);
    let done = place.fetch(&downloader, ("blocked", url)).await;
    assert_eq!(done.protocol, "h2");
    is_paused(&downloader).await;
}

/// X07: somebody else's certificate, though over TCP it is right: nothing is taken from there.
#[tokio::test]
async fn x07_an_alternative_needs_the_origins_certificate() {
    let quic = serve(Speaks::H3, 0, None);
    let tcp = serve(Speaks::Both, 0, Some(quic.port()));
    let (place, url) = (Place::new(&[&tcp]), tcp.url(PATH));
    place.visit("first", &url).await;
    let downloader = place.downloader(|builder| builder);
    let done = place.fetch(&downloader, ("second", &url)).await;
    assert_eq!(done.protocol, "h2");
    is_paused(&downloader).await;
    assert_eq!(quic.requests(), 0);
}

/// Offers of who is not checked are nobody's, and without TLS they are anybody's.
#[tokio::test]
async fn what_nobody_vouches_for_is_not_believed() {
    let offering = |tls: Option<Tls>| {
        let setup = Setup {
            tls,
            ..Setup::default()
        };
        let file = Behaviour::new(SIZE).field("Alt-Svc", b"h3=\":1\"");
        Loopback::start_with(setup, [(PATH, file)])
    };
    let (clear, secure) = (offering(None), offering(Some(Tls::default())));
    let place = Place::new(&[&secure]);
    let unchecked = place.downloader(|builder| builder.insecure(true));
    place.fetch(&unchecked, ("a", &secure.url(PATH))).await;
    place.fetch(&unchecked, ("b", &clear.url(PATH))).await;
    unchecked.flush_origins(LIMIT).expect("it is written");
    let records = unchecked.origins().expect("they can be read");
    assert!(!records.is_empty() && records.iter().all(|record| record.http3.is_none()));
    place.visit("c", &secure.url(PATH)).await;
    assert!(place.known().is_some(), "that one was checked");
}

/// A connection over QUIC that breaks in the middle: TCP goes on from there.
#[tokio::test]
async fn what_breaks_over_quic_goes_on_over_tcp() {
    let scene = Scene::new(Deed::Hold(Gate::at(HALF))).await;
    let before = scene.tcp.bytes_sent();
    let downloader = scene.place.downloader(|builder| builder);
    let going_on = async {
        scene.quic.bytes_reach(HALF).await;
        scene.door.set(true);
        scene.quic.strike(Strike::Forget, 1);
    };
    let fetch = scene.place.fetch(&downloader, ("second", &scene.url));
    let (done, ()) = tokio::join!(fetch, going_on);
    let protocols = &done.metrics.protocols;
    assert_eq!(protocols["h3"].fresh + protocols["h2"].fresh, 2);
    let twice = scene.tcp.bytes_sent() - before + HALF - SIZE;
    assert!(twice <= ON_ITS_WAY, "{twice} bytes came twice");
}

/// A body over QUIC of which no more comes, on a connection that answers otherwise: TCP goes on from there.
#[tokio::test]
async fn what_stalls_over_quic_goes_on_over_tcp() {
    let scene = Scene::new(Deed::Hold(Gate::at(HALF))).await;
    let downloader = scene.place.downloader(|builder| builder);
    let download = downloader.download(&scene.url).dir(scene.place.dir.path());
    let download = download.file("second").read_timeout(SILENCE);
    let mut handle = download.lanes(1).start();
    let opening = async {
        scene.quic.bytes_reach(HALF).await;
        scene.door.set(true);
    };
    let (done, ()) = tokio::join!(outcome(&mut handle), opening);
    let done = done.expect("it succeeds");
    assert_content(&scene.place.path("second"), 0, SIZE);
    assert_eq!(done.protocol, "h2");
    assert_eq!(done.metrics.protocols["h3"].fresh, 1, "once is enough");
    is_paused(&downloader).await;
}

/// A server that closes the connection and says that nothing is wrong, while it owes an answer.
#[tokio::test]
async fn what_is_cut_off_over_quic_without_an_error_goes_on_over_tcp() {
    let scene = Scene::new(Deed::GoAway(0)).await;
    let downloader = scene.place.downloader(|builder| builder);
    let opening = async {
        until(|| scene.quic.requests() > 0).await;
        scene.door.set(true);
    };
    let fetch = scene.place.fetch(&downloader, ("second", &scene.url));
    let (done, ()) = tokio::join!(fetch, opening);
    assert_eq!(done.protocol, "h2");
    assert_eq!(scene.quic.requests(), 1, "once is enough");
    is_paused(&downloader).await;
}

/// An origin that is known to offer HTTP/3, where something is done to each answer. TCP is shut for now, so that there is no
/// doubt who wins.
struct Scene {
    quic: Loopback,
    tcp: Loopback,
    door: Door,
    place: Place,
    url: String,
}

impl Scene {
    async fn new(over_quic: Deed) -> Self {
        let quic = serve(Speaks::H3, 0, None);
        quic.swap(PATH, Behaviour::new(SIZE).rule(When::Always, over_quic));
        let tcp = serve(Speaks::Both, 0, Some(quic.port()));
        let door = Door::to(tcp.port());
        let place = Place::new(&[&tcp, &quic]);
        let url = format!("https://localhost:{}{PATH}", door.port);
        door.set(true);
        assert_eq!(place.visit("first", &url).await.protocol, "h2");
        door.set(false);
        Self {
            quic,
            tcp,
            door,
            place,
            url,
        }
    }
}

/// A way over TCP that can be shut: whoever comes then is let in later.
struct Door {
    port: u16,
    open: Arc<(Mutex<bool>, Condvar)>,
}

impl Door {
    fn to(origin: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let open: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let held = Arc::clone(&open);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let held = Arc::clone(&held);
                std::thread::spawn(move || {
                    let (open, changed) = &*held;
                    let open = open.lock().expect("nobody panics with it");
                    drop(changed.wait_while(open, |open| !*open));
                    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, origin))?;
                    let (mut to, mut from) = (server.try_clone()?, client.try_clone()?);
                    std::thread::spawn(move || {
                        // It ends when either side does.
                        std::io::copy(&mut from, &mut to).ok();
                        to.shutdown(Shutdown::Write).ok();
                    });
                    std::io::copy(&mut &server, &mut &client)?;
                    client.shutdown(Shutdown::Both)
                });
            }
        });
        Self { port, open }
    }

    fn set(&self, open: bool) {
        *self.open.0.lock().expect("nobody panics with it") = open;
        self.open.1.notify_all();
    }
}

/// Bytes that were sent and had not come, or not been written, when the connection broke.
const ON_ITS_WAY: u64 = 256 * KIB;

/// What is taken back is forgotten.
#[tokio::test]
async fn an_offer_can_be_taken_back() {
    let tcp = serve(Speaks::Both, 0, Some(9));
    let (place, url) = (Place::new(&[&tcp]), tcp.url(PATH));
    place.visit("a", &url).await;
    assert!(place.known().is_some());
    tcp.swap(PATH, Behaviour::new(SIZE).field("Alt-Svc", b"clear"));
    place.visit("b", &url).await;
    assert_eq!(place.known(), None);
}
