//! Representations that change under way: from zero or not at all, never a mixture.

use tur_core::{Kind, Wall};
use tur_sched::OnChange;
use tur_testkit::{Behaviour, Deed, Ranges, TODAY, When, strong};

use super::stand::{MIB, NAME, PATH, Stand, Want, check, job, origin};
use crate::What;
use crate::job::Job;

const SIZE: u64 = 2 * MIB;

fn failing() -> Job {
    Job {
        on_change: OnChange::Fail,
        ..job()
    }
}

fn day(days_ago: i64) -> Option<Wall> {
    Some(Wall::from_unix_secs(TODAY.unix_secs() - 86_400 * days_ago))
}

/// The ways in which a change shows, each with the size of the new version.
fn changing() -> Vec<(&'static str, Behaviour, u64)> {
    let serve = |etag: Option<&str>, size| Deed::Serve {
        version: 1,
        etag: etag.map(strong),
        size,
    };
    let cut = || origin(SIZE).rule(When::Only(1), Deed::CutAfter(SIZE / 2));
    let dated = || cut().etag(None).last_modified(day(9));
    vec![
        ("entity tag", cut().changes_after(1, 1), SIZE),
        ("tag, other lanes", origin(SIZE).changes_after(2, 1), SIZE),
        (
            "tag and size",
            cut().rule(When::After(1), serve(Some("v1"), SIZE + 7)),
            SIZE + 7,
        ),
        (
            "size alone",
            cut().rule(When::After(1), serve(Some("v0"), SIZE + 7)),
            SIZE + 7,
        ),
        (
            "size, no validators",
            cut()
                .no_validators()
                .rule(When::After(1), serve(None, SIZE + 7)),
            SIZE + 7,
        ),
        (
            "date",
            dated()
                .rule(When::After(1), serve(None, SIZE))
                .rule(When::After(1), Deed::Modified(day(2))),
            SIZE,
        ),
        (
            "gone smaller",
            cut().rule(When::After(1), serve(Some("v1"), SIZE / 4)),
            SIZE / 4,
        ),
        (
            "without ranges",
            cut()
                .changes_after(1, 1)
                .rule(When::After(1), Deed::Ranges(Ranges::Ignored)),
            SIZE,
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_change_starts_again_from_zero() {
    for lanes_max in [1, 4] {
        for (name, behaviour, size) in changing() {
            println!("{name}, {lanes_max} lanes");
            let job = Job { lanes_max, ..job() };
            // One lane whose body does not break off never asks again, and gets the first version.
            let unseen = lanes_max == 1 && name == "tag, other lanes";
            let (version, restarted) = if unseen { (0, 0) } else { (1, 1) };
            let (_, ran) = check(behaviour, job, Want::File(version, size)).await;
            let restarts = ran.count(|what| matches!(what, What::Restarted { .. }));
            assert_eq!(restarts, restarted);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_fails_where_that_is_wanted() {
    for (name, behaviour, _) in changing() {
        println!("{name}");
        let mut stand = Stand::new(behaviour);
        let ran = stand.run(failing()).await;
        let error = ran.result.expect_err("it changed");
        assert_eq!(error.kind(), Kind::Changed, "{error}");
        assert!(!stand.exists(NAME));
    }
}

/// One answer with another total, and the origin is itself again.
#[tokio::test(start_paused = true)]
async fn another_total_in_one_answer_is_never_appended() {
    let behaviour = || {
        origin(SIZE)
            .rule(When::Only(1), Deed::CutAfter(SIZE / 2))
            .rule(When::Only(2), Deed::Ranges(Ranges::WrongTotal(SIZE + 1)))
    };
    check(behaviour(), job(), Want::File(0, SIZE)).await;
    check(behaviour(), failing(), Want::Part(Kind::Changed)).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_change_is_one_too_many() {
    let behaviour = origin(SIZE)
        .rule(When::Always, Deed::CutAfter(SIZE / 2))
        .changes_after(1, 1)
        .changes_after(2, 2)
        .changes_after(3, 3);
    let job = Job {
        lanes_max: 1,
        ..job()
    };
    let mut stand = Stand::new(behaviour);
    let ran = stand.run(job).await;
    assert_eq!(ran.result.expect_err("it changes").kind(), Kind::Changed);
    assert!(!stand.exists(NAME));
    assert_eq!(
        ran.events
            .iter()
            .filter(|e| matches!(e.what, What::Restarted { .. }))
            .count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_change_caches_are_passed_by() {
    let behaviour = origin(SIZE)
        .rule(When::Only(1), Deed::CutAfter(SIZE / 2))
        .changes_after(1, 1);
    let job = Job {
        lanes_max: 1,
        ..job()
    };
    let (stand, _) = check(behaviour, job, Want::File(1, SIZE)).await;
    let no_cache: Vec<_> = stand
        .transport
        .seen()
        .iter()
        .map(|seen| seen.field("cache-control").is_some())
        .collect();
    assert_eq!(no_cache, [false, false, true]);
}

/// What an earlier run left belongs to another version now.
#[tokio::test(start_paused = true)]
async fn a_change_between_two_runs_is_seen() {
    for (policy, want) in [
        (OnChange::Restart, Want::File(1, SIZE)),
        (OnChange::Fail, Want::Part(Kind::Changed)),
    ] {
        let broken = origin(SIZE)
            .rule(When::Only(1), Deed::CutAfter(SIZE / 2))
            .rule(When::After(1), Deed::Hangup);
        let mut stand = Stand::new(broken);
        stand.check(job(), Want::Part(Kind::Network)).await;
        stand.transport.swap(PATH, origin(SIZE).version(1));
        let job = Job {
            on_change: policy,
            ..job()
        };
        stand.check(job, want).await;
    }
}

/// The redirect alternates between nodes of different content.
#[tokio::test(start_paused = true)]
async fn nodes_that_differ_are_never_mixed() {
    let to = |node: &str| Deed::Redirect {
        status: 302,
        location: format!("http://{node}.test/file.bin"),
    };
    let front = Behaviour::new(0)
        .rule(When::Always, to("a"))
        .rule(When::Every(2), to("b"));
    let mut stand = Stand::with([
        ("origin.test/file.bin", front),
        ("a.test/file.bin", origin(SIZE)),
        ("b.test/file.bin", origin(SIZE).version(1)),
    ]);
    stand.check(job(), Want::File(0, SIZE)).await;
}
