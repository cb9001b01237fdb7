//! What a handle tells: events in order, snapshots, one outcome.

use tur_core::Rate;
use tur_engine::{Event, Kind, LaneState, PhaseWord, What};
use tur_testkit::{Behaviour, Deed, Gate, When};

use crate::stand::{KIB, MIB, Stand, events_of, outcome};

/// D14: what each story has in common. Returns how many bytes its first one was told to be at, if it was.
#[track_caller]
fn check_story(events: &[Event], id: u64) -> Option<u64> {
    let place = |is: fn(&What) -> bool| {
        let mut found = (0..events.len()).filter(|i| is(&events[*i].what));
        (found.next(), found.count())
    };
    assert!(
        events
            .iter()
            .all(|event| event.id == id && event.peer.is_none())
    );
    assert_eq!(place(|what| matches!(what, What::Enqueued)), (Some(0), 0));
    assert_eq!(
        place(|what| matches!(what, What::Started { .. })),
        (Some(1), 0)
    );
    let over = |what: &What| {
        matches!(
            what,
            What::Completed(_) | What::Failed(_) | What::Cancelled(_)
        )
    };
    assert_eq!(place(over), (Some(events.len() - 1), 0), "{events:?}");
    for pair in events.windows(2) {
        assert!(pair[0].seq < pair[1].seq && pair[0].at <= pair[1].at && pair[0].t <= pair[1].t);
    }
    let (first, more) = place(|what| matches!(what, What::FirstByte { .. }));
    assert_eq!(more, 0, "{events:?}");
    let (opened, _) = place(|what| matches!(what, What::Opened { .. }));
    let first = first?;
    assert!(opened.is_some_and(|opened| opened < first) && first < events.len() - 1);
    match events[first].what {
        What::FirstByte { at } => Some(at),
        _ => None,
    }
}

#[tokio::test]
async fn events_come_in_order_and_end() {
    let size = 4 * MIB;
    let stand = Stand::new(Behaviour::new(size).pace(Rate::per_second(2 * MIB)));
    let mut handle = stand.download().lanes(2).start();
    let (events, result) = events_of(&mut handle).await;
    assert_eq!(result.expect("it succeeds").bytes, size);
    assert_eq!(check_story(&events, handle.id()), Some(0));
    let place = |is: fn(&What) -> bool| events.iter().position(|event| is(&event.what));
    let opened = place(|what| matches!(what, What::Opened { len: Some(_), .. }));
    let moving = place(|what| matches!(what, What::Progress(_)));
    let verifying = place(|what| matches!(what, What::Verifying));
    assert!(opened < moving && moving < verifying && opened.is_some());
    let What::Completed(done) = &events[events.len() - 1].what else {
        panic!("{events:?}");
    };
    assert_eq!(done.bytes, size);
    let learned = events.iter().filter_map(|event| match &event.what {
        What::OriginLearned(record) => Some(record),
        _ => None,
    });
    let [record] = &learned.collect::<Vec<_>>()[..] else {
        panic!("{events:?}");
    };
    assert_eq!(record.ranges, Some(true));
    assert_eq!(
        stand.downloader.origins().expect("in memory")[0].origin,
        record.origin
    );
    assert!(handle.events().next().await.is_none());
    let told = handle.wait().await.expect_err("an outcome is told once");
    assert_eq!(told.kind(), Kind::Usage);
}

/// One that is cut off while bytes come, and one that is cancelled then.
#[tokio::test]
async fn each_story_has_one_end() {
    let size = 4 * MIB;
    let gone = Deed::Status {
        status: 404,
        retry_after: None,
    };
    let cut = Behaviour::new(size).rule(When::Only(1), Deed::CutAfter(MIB));
    let stand = Stand::new(cut.rule(When::After(1), gone));
    let mut handle = stand.download().lanes(1).start();
    let (events, result) = events_of(&mut handle).await;
    assert_eq!(result.expect_err("it is gone").kind(), Kind::Server);
    assert_eq!(check_story(&events, handle.id()), Some(0));
    assert!(matches!(&events[events.len() - 1].what, What::Failed(_)));

    let gate = Gate::at(MIB);
    let stand = Stand::new(Behaviour::new(size).rule(When::Always, Deed::Hold(gate)));
    let mut all = stand.downloader.events();
    let mut handle = stand.download().lanes(1).start();
    loop {
        let event = tokio::time::timeout(crate::stand::LIMIT, all.next()).await;
        if let What::FirstByte { at } = event.expect("in time").expect("it goes on").what {
            assert_eq!(at, 0);
            break;
        }
    }
    handle.cancel();
    let (events, result) = events_of(&mut handle).await;
    assert_eq!(result.expect_err("it is cancelled").kind(), Kind::Signal);
    assert_eq!(check_story(&events, handle.id()), Some(0));
    assert!(
        matches!(&events[events.len() - 1].what, What::Cancelled(error) if error.kind() == Kind::Signal)
    );
}

/// D15: nobody waits for a subscriber that takes nothing, and it hears exactly how much it missed.
#[tokio::test]
async fn who_takes_nothing_is_told_how_much_was_missed() {
    let gate = Gate::at(MIB);
    let held = Behaviour::new(8 * MIB).rule(When::Always, Deed::Hold(gate.clone()));
    let stand = Stand::new(held);
    let mut everything = stand.downloader.events();
    let mut handle = stand.download().lanes(1).start();
    let mut narrow = handle.events_with_room(2);
    let mut published = 0;
    // Each step is told before the next one, so that there is enough to miss.
    for step in 1..8 {
        loop {
            let event = tokio::time::timeout(crate::stand::LIMIT, everything.next()).await;
            let event = event.expect("in time").expect("it goes on");
            published += u64::from(event.id == handle.id());
            if matches!(event.what, What::Progress(progress) if progress.landed == step * MIB) {
                break;
            }
        }
        gate.open_to((step + 1) * MIB);
    }
    outcome(&mut handle).await.expect("it succeeds");
    let mut missed = 0;
    let mut told = Vec::new();
    while let Some(event) = narrow.next().await {
        match event.what {
            What::Lagged(n) => missed += n,
            _ => told.push(event),
        }
    }
    assert_eq!(told.len(), 2);
    assert!(matches!(told[1].what, What::Completed(_)) && told[0].seq < told[1].seq);
    loop {
        let event = everything.next().await.expect("its last event is to come");
        published += u64::from(event.id == handle.id());
        if matches!(event.what, What::Completed(_)) {
            break;
        }
    }
    assert!(missed >= 8, "{missed}");
    assert_eq!(missed + 2, published);
}

/// What one download tells is not heard by another, and the downloader hears both, until it is gone.
#[tokio::test]
async fn a_downloader_hears_all_its_downloads_and_ends_with_them() {
    let stand = Stand::new(Behaviour::new(MIB));
    let Stand {
        origin,
        downloader,
        dir,
    } = stand;
    let mut everything = downloader.events();
    let begin = |name: &str| {
        let download = downloader.download(&origin.url(crate::stand::PATH));
        download.dir(dir.path()).file(name).start()
    };
    let mut handles = [begin("a"), begin("b")];
    drop(downloader);
    let mut own = Vec::new();
    for handle in &mut handles {
        let (events, _) = events_of(handle).await;
        assert!(matches!(events[0].what, What::Enqueued));
        assert!(events.iter().all(|event| event.id == handle.id()));
        own.push(events.len());
    }
    let mut ends = 0;
    let mut heard = [0, 0];
    while let Some(event) = everything.next().await {
        for (handle, heard) in handles.iter().zip(&mut heard) {
            *heard += usize::from(event.id == handle.id());
        }
        let over = matches!(event.what, What::Completed(_) | What::Cancelled(_));
        ends += usize::from(over);
    }
    assert_eq!((ends, &heard[..]), (2, &own[..]));
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
    let lane = &midway.lane_map[0];
    assert_eq!((lane.at, lane.state), (Some(MIB), LaneState::Receiving));
    assert_eq!((lane.protocol, lane.end), ("h1", Some(size)));
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
