//! Downloads that fail, change, or have no length: what is not whole never looks whole.

use tur_core::Wall;
use tur_engine::RetryPolicy;
use tur_stream::Media;
use tur_testkit::{Behaviour, Deed, Gate, When};

use crate::client::Place;
use crate::stand::{HALF, SIZE, Stand, held_of, lengthless, range};

/// One try and no other.
fn once(stand: &Stand) -> Media {
    let once = RetryPolicy {
        retries: 0,
        ..RetryPolicy::default()
    };
    Media::of(stand.download().lanes(1).retry(once), stand.options())
}

#[test]
fn an_origin_that_fails_midway_leaves_a_body_that_is_short() {
    let gate = Gate::at(HALF);
    let behaviour = Behaviour::new(SIZE)
        .rule(When::Always, Deed::Hold(gate.clone()))
        .rule(When::Only(1), Deed::CutAfter(HALF + 1000))
        .rule(When::After(1), Deed::CutAfter(0));
    for (behaviour, lengthless) in [(behaviour.clone(), false), (lengthless(behaviour), true)] {
        let stand = Stand::new(behaviour);
        let place = Place::of(once(&stand));
        let mut client = place.client();
        client.send("GET", &place.path, &[]);
        // The gate is open for the second of them from the beginning.
        gate.open();
        let answer = client.answer("GET");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("content-length").is_none(), lengthless);
        assert!(!answer.is_whole, "{} bytes", answer.body.len());
        let meant = tur_testkit::content(0, range(0, SIZE));
        assert!(meant.starts_with(&answer.body) && answer.body.len() < meant.len());
        // The text is that of the failure, and there is no file any more, nor a length.
        for lines in [&[][..], &["Range: bytes=0-1"]] {
            place.ask("GET", lines).assert_refusal(504);
        }
        assert_eq!(place.endpoint.clients(), 0);
    }
}

#[test]
fn an_origin_that_refuses_is_a_bad_gateway() {
    let gone = Deed::Status {
        status: 404,
        retry_after: None,
    };
    let stand = Stand::new(Behaviour::new(SIZE).rule(When::Always, gone));
    let place = Place::of(stand.media());
    let refusal = place.ask("GET", &["Range: bytes=5-"]);
    refusal.assert_refusal(502);
    let text = String::from_utf8_lossy(&refusal.body);
    assert!(text.contains("404"), "{text}");
    assert_eq!(place.ask("HEAD", &[]).status, 502);
}

#[test]
fn a_length_that_nobody_knows_is_not_made_up() {
    let (gate, stand) = held_of(lengthless(Behaviour::new(SIZE)), HALF);
    let place = Place::of(stand.media());
    let mut client = place.client();
    client.send("GET", &place.path, &["Range: bytes=100-200"]);
    let head = client.head();
    assert_eq!((head.status, head.field("accept-ranges")), (200, None));
    assert_eq!(head.field("content-length"), None);
    let bare = place.ask("HEAD", &[]);
    assert_eq!((bare.status, bare.field("content-length")), (200, None));
    let old = format!("GET {} HTTP/1.0\r\n\r\n", place.path);
    let mut ancient = place.client();
    ancient.raw(&old);
    ancient.answer("GET").assert_refusal(505);
    // Another one, from its beginning to its end.
    let mut other = place.client();
    other.send("GET", &place.path, &[]);
    gate.open();
    other.answer("GET").assert_bytes(200, 0, range(0, SIZE));
    // Now it is known.
    place.media.wait_committed().expect("it is complete");
    let part = place.ask("GET", &["Range: bytes=100-200"]);
    part.assert_bytes(206, 0, range(100, 201));
    assert_eq!(part.field("etag"), head.field("etag"));
    let mut ancient = place.client();
    ancient.raw(&old);
    ancient.answer("GET").assert_bytes(200, 0, range(0, SIZE));
}

/// Bytes of two versions are never one body.
#[test]
fn a_file_that_changes_ends_who_reads_the_old_one() {
    let gate = Gate::at(HALF);
    let behaviour = Behaviour::new(SIZE)
        .rule(When::Only(1), Deed::Hold(gate.clone()))
        .rule(When::Only(1), Deed::CutAfter(HALF + 1000))
        .changes_after(1, 1);
    let stand = Stand::new(behaviour);
    let place = Place::of(stand.single());
    let mut client = place.client();
    client.send("GET", &place.path, &[]);
    let head = client.head();
    let old = head.field("etag").expect("a tag").to_owned();
    let begun = client.bytes(HALF as usize);
    assert!(begun == tur_testkit::content(0, range(0, HALF)));
    gate.open();
    place
        .media
        .wait_committed()
        .expect("the new one is complete");
    // Whatever of the old one was there may come; not its end.
    let mut rest = vec![0; (SIZE - HALF) as usize];
    let error = std::io::Read::read_exact(&mut client, &mut rest);
    assert!(error.is_err(), "the old file has no end any more");
    let same = format!("If-Range: {old}");
    let answer = place.ask("GET", &["Range: bytes=5-6", &same]);
    answer.assert_bytes(200, 1, range(0, SIZE));
    assert_ne!(answer.field("etag"), Some(&*old));
}

#[test]
fn a_file_that_was_there_is_served_as_any_other() {
    let dated = Some(Wall::from_unix_secs(1_700_000_000));
    let stand = Stand::new(Behaviour::new(SIZE).last_modified(dated));
    stand.media().wait_committed().expect("it is complete");
    let before = stand.origin.bytes_sent();
    let place = Place::of(stand.media());
    place.ask("GET", &[]).assert_bytes(200, 0, range(0, SIZE));
    let part = place.ask("GET", &["Range: bytes=-10"]);
    part.assert_bytes(206, 0, range(SIZE - 10, SIZE));
    let asked = stand.origin.bytes_sent() - before;
    assert!(asked < 2, "{asked} bytes were fetched again");
    let empty = Stand::new(Behaviour::new(0));
    let place = Place::of(empty.media());
    place.ask("GET", &[]).assert_bytes(200, 0, range(0, 0));
    assert_eq!(place.ask("GET", &["Range: bytes=0-"]).status, 416);
    assert_eq!(empty.origin.bytes_sent(), 0);
}
