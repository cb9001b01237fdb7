//! Files that change between two answers: from zero or not at all, never a splice.

use tur_core::Wall;
use tur_engine::{Event, Kind, OnChange, What};
use tur_testkit::{Behaviour, Deed, Ranges, TODAY, When, strong};

use crate::stand::{PATH, Stand, events_of, outcome};
use crate::{single, starts};

const SIZE: u64 = 1_024_000;
const HALF: u64 = 512_000;

/// Half of version 0, and then this.
fn half_then(deed: Deed) -> Behaviour {
    Behaviour::new(SIZE)
        .rule(When::Only(1), Deed::CutAfter(HALF))
        .rule(When::After(1), deed)
}

fn restarts(events: &[Event]) -> usize {
    let is = |event: &&Event| matches!(event.what, What::Restarted { .. });
    events.iter().filter(is).count()
}

/// Restarts: the whole of the new version in the end, fetched from zero.
async fn assert_restarts(behaviour: Behaviour, version: u8, size: u64) {
    let stand = Stand::new(behaviour);
    let (events, result) = events_of(&mut single(&stand).start()).await;
    let done = result.expect("it succeeds");
    stand.assert_file(version, size);
    assert_eq!((done.bytes, done.resumed_bytes), (size, 0));
    assert_eq!(restarts(&events), 1);
    let starts = starts(&stand);
    assert_eq!(starts[..2], [0, HALF]);
    assert_eq!(starts[2..], [0], "once more, from zero");
}

/// Fails: no file, and nothing that a later run would splice with what there is now, which is version 1.
async fn assert_fails(behaviour: Behaviour, now: Behaviour) {
    let stand = Stand::new(behaviour);
    let stop = single(&stand).on_change(OnChange::Fail);
    let (events, result) = events_of(&mut stop.start()).await;
    let error = result.expect_err("it changed");
    assert_eq!(error.kind(), Kind::Changed, "{error}");
    assert_eq!((restarts(&events), starts(&stand)), (0, vec![0, HALF]));
    assert!(!stand.names().contains(&"file.bin".to_owned()));
    let size = now.size;
    stand.origin.swap(PATH, now);
    outcome(&mut single(&stand).start())
        .await
        .expect("it succeeds");
    stand.assert_file(1, size);
}

/// The same entity tag, and another total.
fn grown() -> Behaviour {
    half_then(Deed::Serve {
        version: 1,
        etag: Some(strong("v0")),
        size: SIZE + 7,
    })
}

#[tokio::test]
async fn a8_another_total_starts_again_from_zero() {
    assert_restarts(grown(), 1, SIZE + 7).await;
}

#[tokio::test]
async fn a8_another_total_fails_where_that_is_wanted() {
    let now = Behaviour::new(SIZE + 7).version(1).etag(Some(strong("v0")));
    assert_fails(grown(), now).await;
}

/// A8, by mistake: one label is wrong, and the file is what it was. A total that the range does not fit into is no
/// total at all: that answer is asked for again.
#[tokio::test]
async fn a8_a_wrong_total_in_one_answer_is_not_appended() {
    let wrong = |total| {
        Behaviour::new(SIZE)
            .rule(When::Only(1), Deed::CutAfter(HALF))
            .rule(When::Only(2), Deed::Ranges(Ranges::WrongTotal(total)))
    };
    assert_restarts(wrong(SIZE + 1), 0, SIZE).await;
    let stand = Stand::new(wrong(SIZE - 1));
    outcome(&mut single(&stand).start())
        .await
        .expect("it succeeds");
    stand.assert_file(0, SIZE);
    assert_eq!(starts(&stand), [0, HALF, HALF]);
}

fn retagged() -> Behaviour {
    Behaviour::new(SIZE)
        .rule(When::Only(1), Deed::CutAfter(HALF))
        .changes_after(1, 1)
}

fn day(days_ago: i64) -> Option<Wall> {
    let secs = TODAY.unix_secs() - 86_400 * days_ago;
    Some(Wall::from_unix_secs(secs))
}

/// No entity tag: only the date tells.
fn redated() -> Behaviour {
    half_then(Deed::Serve {
        version: 1,
        etag: None,
        size: SIZE,
    })
    .etag(None)
    .last_modified(day(9))
    .rule(When::After(1), Deed::Modified(day(2)))
}

#[tokio::test]
async fn a9_another_entity_tag_starts_again_from_zero() {
    assert_restarts(retagged(), 1, SIZE).await;
}

#[tokio::test]
async fn a9_another_entity_tag_fails_where_that_is_wanted() {
    assert_fails(retagged(), Behaviour::new(SIZE).version(1)).await;
}

/// A9, where the date is all that there is.
#[tokio::test]
async fn a9_another_date_alone_is_a_change_too() {
    assert_restarts(redated(), 1, SIZE).await;
    let now = Behaviour::new(SIZE).version(1).etag(None);
    assert_fails(redated(), now.last_modified(day(2))).await;
}
