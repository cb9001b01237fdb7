//! URLs that were redirected to, and serve no more after a while.

use tur_core::Fault;

use super::super::*;
use super::world::*;

#[test]
fn an_expired_url_is_resolved_again_from_the_users() {
    let mut world = World::new(config(1), 1024 * KIB);
    world.grant_all();
    let lease = world.first();
    world.running.remove(&lease);
    world.tell(Event::Moved {
        lease,
        target: target("/signed"),
        session: true,
    });
    let lease = world.first();
    assert_eq!(world.running[&lease].order.target.path, "/signed");
    world.open(lease);
    world.flow(lease, 64 * KIB);
    world.break_off(lease, Fault::Truncated("cut".into()));
    while world.running.is_empty() {
        world.grant_all();
        if world.running.is_empty() {
            assert!(world.jump());
        }
    }
    let lease = world.first();
    world.refuse(lease, status(403, None));
    while world.running.is_empty() {
        world.grant_all();
        if world.running.is_empty() {
            assert!(world.jump());
        }
    }
    assert_eq!(world.running[&world.first()].order.target.path, "/file");
    assert!(world.end.is_none());
}

/// What the URL leads to serves no more, and goes on doing so: nobody is asked for minutes.
#[test]
fn an_expired_url_that_stays_so_is_resolved_no_more_often_than_retries_allow() {
    for (retries, most) in [(0, 1), (2, 2), (5, 5), (100, 20)] {
        let mut config = config(1);
        config.retry.retries = retries;
        let mut world = World::new(config, 1024 * KIB);
        world.grant_all();
        let (mut resolved, mut first) = (0, true);
        while world.end.is_none() {
            if world.running.is_empty() {
                world.grant_all();
            }
            let Some(lease) = world.running.keys().next().copied() else {
                assert!(world.jump());
                continue;
            };
            if world.running[&lease].order.target.path == "/file" {
                resolved += u32::from(!first);
                world.running.remove(&lease);
                world.tell(Event::Moved {
                    lease,
                    target: target("/signed"),
                    session: true,
                });
            } else if std::mem::take(&mut first) {
                world.open(lease);
                // Less than was asked for, in good order: the rest is asked for at once.
                world.running.get_mut(&lease).expect("runs").body_end = Some(64 * KIB);
                world.flow(lease, 64 * KIB);
            } else {
                world.refuse(lease, status(403, None));
            }
        }
        assert_eq!(resolved, most, "{retries} retries");
        let failure = world.end.expect("ended").expect_err("refused");
        assert_eq!(failure.kind, tur_core::Kind::Server);
        assert!(failure.keep);
    }
}
