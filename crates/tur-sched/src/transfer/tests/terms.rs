//! What the user demands: what breaks it ends the transfer and keeps what is there; what is decoded is only ever whole.

use std::string::ToString as _;

use tur_core::{Ask, ByteRange, Challenge, Fault, Identity, Kind, Refusal};

use super::world::*;
use crate::transfer::{Event, Resumed, TransferConfig};
use crate::{Decision, Ended};

const TOTAL: u64 = 1024 * KIB;

fn strict() -> TransferConfig {
    TransferConfig {
        require_resume: true,
        ..config(4)
    }
}

/// A part of which the first 300 KiB are there.
fn resumed() -> Resumed {
    Resumed {
        identity: identity(TOTAL),
        landed: [ByteRange::new(0, 300 * KIB)].into_iter().collect(),
        proof: crate::Proof::Validator,
    }
}

fn range_refusals() -> [Refusal; 4] {
    let asked = ByteRange::from(300 * KIB);
    [
        Refusal::Unsatisfiable,
        Refusal::NoContentRange,
        Refusal::RangeIgnored { if_range: false },
        Refusal::Misplaced {
            asked,
            got: ByteRange::new(0, TOTAL),
        },
    ]
}

#[test]
fn ranges_that_fail_end_what_must_be_resumable_and_what_was_kept_stays() {
    for refusal in range_refusals() {
        let mut world = World::resumed(strict(), TOTAL, Some(resumed()));
        world.grant_all();
        world.refuse(world.first(), Fault::NotAdmitted(refusal.clone()));
        let failure = world.end.expect("it ends").expect_err("it fails");
        assert_eq!((failure.kind, failure.keep), (Kind::NotResumable, true));
        assert!(failure.message.contains(&refusal.to_string()), "{failure}");
        assert!(failure.message.contains("are kept"), "{failure}");
        assert_eq!(world.requests, 1);

        let mut world = World::resumed(config(4), TOTAL, Some(resumed()));
        world.grant_all();
        world.refuse(world.first(), Fault::NotAdmitted(refusal));
        assert!(world.end.is_none(), "without the demand it goes on");
    }
}

#[test]
fn if_range_that_is_not_understood_is_no_lack_of_ranges() {
    let mut world = World::resumed(strict(), TOTAL, Some(resumed()));
    world.grant_all();
    let refusal = Refusal::RangeIgnored { if_range: true };
    world.refuse(world.first(), Fault::NotAdmitted(refusal));
    world.finish();
    world.assert_whole();
}

#[test]
fn broken_terms_are_final_at_the_first_answer() {
    for (refusal, kind) in [
        (Refusal::LengthUnknown, Kind::Network),
        (Refusal::CodingUnknown("br".into()), Kind::Protocol),
        (
            Refusal::NotResumable("no ranges".into()),
            Kind::NotResumable,
        ),
        (
            Refusal::TypeRefused {
                got: "text/html".into(),
                wanted: "image/*".into(),
            },
            Kind::Server,
        ),
    ] {
        let mut world = World::new(config(4), TOTAL);
        world.grant_all();
        world.refuse(world.first(), Fault::NotAdmitted(refusal.clone()));
        let failure = world.end.expect("it ends").expect_err("it fails");
        assert_eq!((failure.kind, failure.keep), (kind, false));
        assert_eq!(failure.message, refusal.to_string());
        assert_eq!(world.requests, 1);
    }
}

/// The identity of what comes out of a decoder.
fn decoded() -> Identity {
    let mut identity = identity(TOTAL);
    identity.total = None;
    if let Some(tag) = &mut identity.etag {
        tag.weak = true;
    }
    identity
}

fn open_decoded(world: &mut World) {
    let lease = world.first();
    let run = world.running.get_mut(&lease).expect("it runs");
    assert_eq!(run.at, 0, "only from zero");
    run.body_end = Some(TOTAL);
    world.tell(Event::Decoded);
    world.tell(Event::Opened {
        lease,
        place: ByteRange::from(0),
        identity: decoded(),
        partial: false,
    });
}

#[test]
fn what_is_decoded_is_asked_for_as_a_whole_after_a_break() {
    let mut world = World::new(config(4), TOTAL);
    world.grant_all();
    open_decoded(&mut world);
    assert!(world.wanting.is_empty(), "one stream");
    let lease = world.first();
    world.flow(lease, 300 * KIB);
    world.break_off(lease, Fault::Truncated("the coding has no end".into()));
    // Until it is asked for again, at most: then it is written again.
    while world.running.is_empty() {
        world.grant_all();
        if world.running.is_empty() {
            assert!(world.jump());
        }
    }
    assert_eq!(world.running[&world.first()].order.ask, Ask::Whole);
    assert!(world.written.is_empty(), "its bytes are void");
    open_decoded(&mut world);
    let lease = world.first();
    world.flow(lease, TOTAL - 1);
    let run = world.running.remove(&lease).expect("it runs");
    assert_eq!(run.gate.take(run.at, 1), 1);
    world.tell(Event::Ended {
        lease,
        at: TOTAL,
        how: Ended::Clean,
        session: true,
    });
    assert_eq!(world.end, Some(Ok(TOTAL)));
    let single = |note: &&Decision| matches!(note, Decision::SingleStream { .. });
    assert_eq!(
        world.notes.iter().filter(single).count(),
        1,
        "{:?}",
        world.notes
    );
}

#[test]
fn nothing_that_was_decoded_is_kept() {
    let mut world = World::new(config(4), TOTAL);
    world.grant_all();
    open_decoded(&mut world);
    let lease = world.first();
    world.flow(lease, 300 * KIB);
    world.break_off(
        lease,
        Fault::Undecodable("the gzip coding is damaged".into()),
    );
    let failure = world.end.expect("it ends").expect_err("it fails");
    assert_eq!((failure.kind, failure.keep), (Kind::Protocol, false));
}

/// What a request lacked is known now: it is asked again at once, with no attempt used up.
#[test]
fn a_request_that_is_made_again_is_no_failure() {
    for session in [true, false] {
        let mut config = config(1);
        config.retry.retries = 0;
        let mut world = World::new(config, KIB);
        world.grant_all();
        let lease = world.first();
        world.running.remove(&lease);
        if !session {
            world.sessions.clear();
        }
        world.tell(Event::Again { lease, session });
        world.grant_all();
        let again = world.first();
        assert_ne!(again, lease);
        assert!(world.end.is_none() && world.transfer.ledger().landed().is_empty());
        world.open(again);
        world.flow(again, KIB);
    }
}

/// A page that asks for a person is final where nothing else comes, and not asked for again and again.
#[test]
fn a_challenge_is_final_on_the_first_request() {
    let mut world = World::new(config(4), 1024 * KIB);
    world.grant_all();
    let lease = world.first();
    world.refuse(lease, Fault::Challenged(Challenge::Captcha));
    while world.end.is_none() {
        world.grant_all();
        let Some(lease) = world.running.keys().next().copied() else {
            break;
        };
        world.refuse(lease, Fault::Challenged(Challenge::Captcha));
    }
    let failure = world.end.expect("it ends").expect_err("nothing came");
    assert_eq!(failure.challenge, Some(Challenge::Captcha));
    assert!(world.requests <= 4);
}
