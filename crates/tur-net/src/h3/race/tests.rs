//! Who wins, when the other one begins, and what the guide hears.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;
use tur_core::Scheme;

use super::*;

#[derive(Default)]
struct Heard(Mutex<Vec<Http3News>>);

impl Guide for Heard {
    fn approach(&self, _origin: &Origin) -> Approach {
        Approach::Race {
            alternative: Alternative {
                host: None,
                port: 443,
            },
            head_start: HEAD,
        }
    }

    fn told(&self, _origin: &Origin, news: Http3News) {
        self.0.lock().unwrap().push(news);
    }
}

const HEAD: Duration = Duration::from_millis(300);
const MS: Duration = Duration::from_millis(1);

/// After so long, this.
type Course = (Duration, Result<&'static str, ()>);

#[expect(clippy::disallowed_methods, reason = "the clock is paused")]
async fn run_course((after, outcome): Course) -> Result<&'static str, Fault> {
    tokio::time::sleep(after).await;
    outcome.map_err(|()| Fault::Lost("it fails".to_owned()))
}

/// The outcome, after how long, whether TCP was begun by then, and what was heard in the end.
#[expect(
    clippy::disallowed_methods,
    reason = "the clock is paused, and the test owns its runtime"
)]
async fn race(quic: Course, tcp: Course) -> (Option<&'static str>, Duration, bool, Vec<Http3News>) {
    let heard = Arc::new(Heard::default());
    let origin = Origin {
        scheme: Scheme::Https,
        host: "a.example".to_owned(),
        port: 443,
    };
    let asked = Asked(Arc::clone(&heard) as Arc<dyn Guide>);
    let (_, head_start, attempt) = asked.race_to(&origin).unwrap();
    let overtaken = attempt.rival();
    let quic = async move {
        let outcome = run_course(quic).await;
        match &outcome {
            Ok(_) => attempt.connected().ended(false),
            Err(fault) => attempt.failed(fault),
        }
        outcome
    };
    let begun = AtomicBool::new(false);
    let tcp = async {
        begun.store(true, Ordering::Relaxed);
        run_course(tcp).await
    };
    let spawner = Spawner::new(|driver| drop(tokio::spawn(driver)));
    let from = Instant::now();
    let outcome = run((head_start, overtaken), quic, tcp, &spawner).await;
    let took = from.elapsed();
    // What goes on behind it ends too.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let news = heard.0.lock().unwrap().clone();
    (outcome.ok(), took, begun.load(Ordering::Relaxed), news)
}

const ENDED: Http3News = Http3News::Ended { broken: false };

#[tokio::test(start_paused = true)]
async fn within_the_head_start_tcp_is_not_begun() {
    let ran = race((299 * MS, Ok("quic")), (MS, Ok("tcp"))).await;
    let news = vec![Http3News::Connected, ENDED];
    assert_eq!(ran, (Some("quic"), 299 * MS, false, news));
}

#[tokio::test(start_paused = true)]
async fn silence_costs_the_head_start_and_is_told_when_it_is_known() {
    let silent = (Duration::from_secs(3), Err(()));
    let ran = race(silent, (20 * MS, Ok("tcp"))).await;
    let news = vec![Http3News::Overtaken, Http3News::Failed];
    assert_eq!(ran, (Some("tcp"), 320 * MS, true, news));
    // Slow is not blocked.
    let ran = race((400 * MS, Ok("quic")), (20 * MS, Ok("tcp"))).await;
    let news = vec![Http3News::Overtaken, Http3News::Connected, ENDED];
    assert_eq!(ran, (Some("tcp"), 320 * MS, true, news));
}

#[tokio::test(start_paused = true)]
async fn a_failure_begins_tcp_at_once() {
    let ran = race((5 * MS, Err(())), (20 * MS, Ok("tcp"))).await;
    assert_eq!(ran, (Some("tcp"), 25 * MS, true, vec![Http3News::Failed]));
    // After the head start they run side by side, and it takes nothing from TCP.
    let ran = race((310 * MS, Err(())), (20 * MS, Ok("tcp"))).await;
    assert_eq!(ran, (Some("tcp"), 320 * MS, true, vec![Http3News::Failed]));
}

#[tokio::test(start_paused = true)]
async fn quic_serves_where_tcp_fails_or_is_slow() {
    let news = vec![Http3News::Connected, ENDED];
    let ran = race((500 * MS, Ok("quic")), (20 * MS, Err(()))).await;
    assert_eq!(ran, (Some("quic"), 500 * MS, true, news.clone()));
    let ran = race((500 * MS, Ok("quic")), (900 * MS, Ok("tcp"))).await;
    assert_eq!(ran, (Some("quic"), 500 * MS, true, news));
    let ran = race((500 * MS, Err(())), (20 * MS, Err(()))).await;
    assert_eq!(ran, (None, 500 * MS, true, vec![Http3News::Failed]));
}

#[test]
fn who_is_not_waited_for_has_given_up() {
    let heard = Arc::new(Heard::default());
    let asked = Asked(Arc::clone(&heard) as Arc<dyn Guide>);
    let origin = Origin {
        scheme: Scheme::Https,
        host: "a.example".to_owned(),
        port: 443,
    };
    drop(asked.race_to(&origin));
    let (_, _, attempt) = asked.race_to(&origin).unwrap();
    // What this machine lacks is not the way's fault.
    attempt.failed(&Fault::Exhausted("no descriptor".to_owned()));
    assert_eq!(*heard.0.lock().unwrap(), [Http3News::GivenUp; 2]);
}
