//! What a download leaves to the memory of origins.

use std::time::Duration;

use tur_core::{Kind, Origin, Scheme};
use tur_sched::Profile;
use tur_testkit::{Behaviour, Deed, Ranges, When};

use super::stand::{MIB, PATH, RTT, Stand, Want, check, job, origin};

const SIZE: u64 = 2 * MIB;

fn hint(stand: &Stand, host: &str) -> Option<Profile> {
    stand.origins.hint(&Origin {
        scheme: Scheme::Http,
        host: host.into(),
        port: 80,
    })
}

#[tokio::test(start_paused = true)]
async fn a_download_leaves_what_it_measured() {
    let (stand, _) = check(origin(SIZE), job(), Want::File(0, SIZE)).await;
    let known = hint(&stand, "origin.test").expect("noted");
    assert_eq!(known.ranges, Some(true));
    let rtt = known.rtt.expect("measured");
    assert!(rtt >= RTT && rtt < 10 * RTT, "{rtt:?}");
    let handshake = known.handshake.expect("measured");
    assert!(
        handshake > Duration::ZERO && handshake < 10 * RTT,
        "{handshake:?}"
    );
    // Nothing searches for a width yet, so none is noted.
    assert_eq!((known.lanes, known.lanes_limit), (1, None));
    assert_eq!(hint(&stand, "other.test"), None);
}

#[tokio::test(start_paused = true)]
async fn an_origin_without_ranges_is_remembered_as_one() {
    let behaviour = origin(SIZE).ranges(Ranges::Ignored);
    let (stand, _) = check(behaviour, job(), Want::File(0, SIZE)).await;
    let known = hint(&stand, "origin.test").expect("noted");
    assert_eq!(known.ranges, Some(false));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_nothing_of_ranges() {
    let deed = Deed::Status {
        status: 404,
        retry_after: None,
    };
    let behaviour = origin(SIZE).rule(When::Always, deed);
    let (stand, _) = check(behaviour, job(), Want::Nothing(Kind::Server)).await;
    let known = hint(&stand, "origin.test").expect("there was a connection");
    assert_eq!(known.ranges, None);
    assert!(known.handshake.is_some());
}

#[tokio::test(start_paused = true)]
async fn who_serves_the_file_is_remembered_and_not_who_sent_us_there() {
    let there = Behaviour::new(SIZE).rule(
        When::Always,
        Deed::Redirect {
            status: 302,
            location: format!("http://mirror.test{PATH}"),
        },
    );
    let mut stand = Stand::with([
        (format!("origin.test{PATH}"), there),
        (format!("mirror.test{PATH}"), origin(SIZE)),
    ]);
    stand.check(job(), Want::File(0, SIZE)).await;
    let known = hint(&stand, "mirror.test").expect("noted");
    assert_eq!(known.ranges, Some(true));
    assert_eq!(hint(&stand, "origin.test"), None);
}
