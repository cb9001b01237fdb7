//! What a handle tells: events in order, snapshots, one outcome.

use tur_core::Rate;
use tur_engine::{Kind, PhaseWord, What};
use tur_testkit::{Behaviour, Deed, Gate, When};

use crate::stand::{KIB, MIB, Stand, events_of, outcome};

#[tokio::test]
async fn events_come_in_order_and_end() {
    let size = 4 * MIB;
    let stand = Stand::new(Behaviour::new(size).pace(Rate::per_second(2 * MIB)));
    let mut handle = stand.download().lanes(2).start();
    let (events, result) = events_of(&mut handle).await;
    result.expect("it succeeds");
    let place = |is: fn(&What) -> bool| events.iter().position(|event| is(&event.what));
    let started = place(|what| matches!(what, What::Started { .. }));
    let opened = place(|what| matches!(what, What::Opened { len: Some(_), .. }));
    let moving = place(|what| matches!(what, What::Progress(_)));
    let verifying = place(|what| matches!(what, What::Verifying));
    let done = place(|what| matches!(what, What::Completed(_)));
    assert_eq!(started, Some(0));
    assert!(started < opened && opened < moving && moving < verifying && verifying < done);
    assert_eq!(done, Some(events.len() - 1));
    assert!(events.iter().all(|event| event.id == handle.id()));
    assert!(events.windows(2).all(|pair| pair[0].t <= pair[1].t));
    assert!(handle.events().next().await.is_none());
    let told = handle.wait().await.expect_err("an outcome is told once");
    assert_eq!(told.kind(), Kind::Usage);
}

#[tokio::test]
async fn a_failure_is_the_last_event() {
    let gone = Deed::Status {
        status: 404,
        retry_after: None,
    };
    let stand = Stand::new(Behaviour::new(KIB).rule(When::Always, gone));
    let (events, result) = events_of(&mut stand.download().start()).await;
    assert_eq!(result.expect_err("there is none").kind(), Kind::Server);
    let failures = events
        .iter()
        .filter(|event| matches!(event.what, What::Failed(_)));
    assert_eq!(failures.count(), 1);
    assert!(
        matches!(&events[events.len() - 1].what, What::Failed(error) if error.kind() == Kind::Server)
    );
    assert!(stand.names().is_empty());
}

/// What was asked for wrongly is told as the outcome, and as an event.
#[tokio::test]
async fn a_mistake_is_an_outcome() {
    let stand = Stand::new(Behaviour::new(KIB));
    for url in ["", "nonsense", "ftp://127.0.0.1/file.bin", "http://"] {
        let mut handle = stand.downloader.download(url).dir(stand.dir.path()).start();
        let (events, result) = events_of(&mut handle).await;
        assert_eq!(result.expect_err("no URL").kind(), Kind::Usage, "{url:?}");
        assert!(matches!(&events[..], [event] if matches!(event.what, What::Failed(_))));
    }
    let mut handle = stand.download().field("Range", "bytes=0-1").start();
    let error = outcome(&mut handle).await.expect_err("ours alone");
    assert_eq!(error.kind(), Kind::Usage);
    assert_eq!(stand.origin.requests(), 0);
}

#[tokio::test]
async fn a_snapshot_tells_where_it_stands() {
    let (size, gate) = (4 * MIB, Gate::at(MIB));
    let held = Behaviour::new(size).rule(When::Always, Deed::Hold(gate.clone()));
    let stand = Stand::new(held);
    let mut handle = stand.download().lanes(1).start();
    let mut events = handle.events();
    let midway = loop {
        let event = tokio::time::timeout(crate::stand::LIMIT, events.next()).await;
        match event.expect("in time").expect("it goes on").what {
            What::Progress(progress) if progress.landed == MIB => break progress,
            _ => {}
        }
    };
    assert_eq!(
        (midway.phase, midway.total),
        (PhaseWord::Running, Some(size))
    );
    assert_eq!((midway.lanes, midway.lane_map.len()), (1, 1));
    assert_eq!(midway.name.as_deref(), Some("file.bin"));
    assert_eq!(midway.lane_map[0].at, MIB);
    assert!(midway.lane_map[0].address.starts_with("127.0.0.1"));
    assert_eq!(handle.progress().landed, MIB);
    gate.open();
    outcome(&mut handle).await.expect("it succeeds");
    let end = handle.progress();
    assert_eq!(
        (end.phase, end.landed, end.lanes),
        (PhaseWord::Done, size, 0)
    );
    stand.assert_file(0, size);
}
