//! Fewer connections than lanes: the machine, the process or the origin's limit allows no more.

use std::time::Duration;

use tur_core::Kind;
use tur_storage::FileName;
use tur_testkit::{Deed, When};

use super::stand::{MIB, Ran, Stand, Want, job, job_of, origin};
use crate::What;
use crate::job::Job;
use crate::sessions::{Caps, PerOrigin};

const SIZE: u64 = 2 * MIB;

fn wide() -> Job {
    Job {
        lanes_max: 8,
        lanes_start: Some(8),
        ..job()
    }
}

fn retries(ran: &Ran) -> usize {
    ran.count(|what| matches!(what, What::Retrying { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_machine_with_few_sockets_downloads_with_few_lanes() {
    for sockets in [1, 2, 3, 7] {
        let mut stand = Stand::new(origin(SIZE));
        stand.transport.set_sockets_max(sockets);
        let ran = stand.check(wide(), Want::File(0, SIZE)).await;
        assert_eq!(retries(&ran), 0, "waiting for a socket is no failure");
        assert_eq!(stand.transport.sockets_peak(), sockets);
        assert_eq!(usize::from(ran.done().lanes_max), sockets);
        let s = if sockets == 1 { "" } else { "s" };
        let told = format!("at most {sockets} connection{s} for now: no more could be opened");
        assert_eq!(
            ran.count(|what| matches!(what, What::Note(text) if *text == told)),
            1,
            "{:?}",
            ran.events
        );
        assert_eq!(stand.held().0, stand.transport.sockets());
        // Many more attempts to connect than connections would be a busy loop.
        assert!(stand.transport.requests() < 64);
    }
}

#[tokio::test(start_paused = true)]
async fn without_any_socket_it_is_tried_again_and_fails_in_the_end() {
    let mut stand = Stand::new(origin(SIZE));
    stand.transport.set_sockets_max(0);
    let ran = stand.check(wide(), Want::Nothing(Kind::Network)).await;
    assert_eq!(retries(&ran), 5);
    let mut stand = Stand::new(origin(SIZE));
    stand.transport.set_sockets_max(0);
    let handle = stand.start(wide());
    stand.pass(Duration::from_millis(100)).await;
    stand.transport.set_sockets_max(100);
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, SIZE));
}

/// Each takes as many as it can get, and none waits for ever for what another one keeps.
#[tokio::test(start_paused = true)]
async fn downloads_of_one_origin_share_its_limit() {
    for limit in [1, 3, 5] {
        let caps = Caps {
            process: 128,
            per_origin: PerOrigin::Given(limit),
        };
        let paths = ["/a", "/b", "/c"];
        let mut stand = Stand::with(paths.map(|path| (path, origin(SIZE)))).caps(caps);
        let mut handles = Vec::new();
        for path in paths {
            let mut job = job_of(&format!("http://origin.test{path}"));
            (job.lanes_max, job.lanes_start) = (8, Some(8));
            let crate::job::Destination::File { name, .. } = &mut job.destination else {
                panic!("a file");
            };
            *name = FileName::new(&path[1..]).expect("a name");
            handles.push(stand.start(job));
        }
        for (handle, path) in handles.into_iter().zip(paths) {
            let ran = stand.end(handle).await;
            assert_eq!(ran.done().bytes, SIZE);
            assert_eq!(retries(&ran), 0);
            stand.assert_file(&path[1..], 0, SIZE);
        }
        assert!(stand.transport.sockets_peak() <= limit);
        assert_eq!(stand.held().0, stand.transport.sockets());
    }
}

#[tokio::test(start_paused = true)]
async fn downloads_of_many_origins_share_the_process() {
    for process in [1, 2, 5] {
        let caps = Caps {
            process,
            ..Caps::default()
        };
        let hosts = ["a.test", "b.test", "c.test", "d.test"];
        let paths = hosts.map(|host| (format!("{host}/f"), origin(SIZE)));
        let mut stand = Stand::with(paths).caps(caps);
        let mut handles = Vec::new();
        for host in hosts {
            let mut job = job_of(&format!("http://{host}/f"));
            (job.lanes_max, job.lanes_start) = (4, Some(4));
            let crate::job::Destination::File { name, .. } = &mut job.destination else {
                panic!("a file");
            };
            *name = FileName::new(host).expect("a name");
            handles.push(stand.start(job));
        }
        for (handle, host) in handles.into_iter().zip(hosts) {
            let ran = stand.end(handle).await;
            assert_eq!(ran.done().bytes, SIZE);
            stand.assert_file(host, 0, SIZE);
        }
        assert!(stand.transport.sockets_peak() <= process);
        assert_eq!(stand.held(), (stand.transport.sockets(), process));
    }
}

/// The connection that has carried the redirect makes room for the one to where it leads.
#[tokio::test(start_paused = true)]
async fn one_connection_is_enough_to_follow_a_redirect() {
    let caps = Caps {
        process: 1,
        ..Caps::default()
    };
    let there = Deed::Redirect {
        status: 302,
        location: "http://other.test/f".to_owned(),
    };
    let paths = [
        (
            "origin.test/file.bin",
            origin(SIZE).rule(When::Always, there),
        ),
        ("other.test/f", origin(SIZE)),
    ];
    let mut stand = Stand::with(paths).caps(caps);
    stand.check(wide(), Want::File(0, SIZE)).await;
    assert_eq!(stand.transport.sockets_peak(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_download_that_is_cancelled_frees_what_it_waits_for() {
    let caps = Caps {
        process: 2,
        ..Caps::default()
    };
    let mut stand = Stand::new(origin(SIZE)).caps(caps);
    let handle = stand.start(wide());
    stand.transport.bytes_reach(MIB).await;
    assert_eq!(stand.held().0, 2);
    handle.cancel();
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::Part(Kind::Signal));
    assert_eq!(stand.held().0, stand.transport.sockets());
    stand.check(wide(), Want::File(0, SIZE)).await;
}
