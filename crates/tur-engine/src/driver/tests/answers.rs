//! What an origin may make of a range, of a length and of a name: the file is right whatever it does.

use tur_core::Kind;
use tur_testkit::{Behaviour, Deed, Framing, IfRange, Ranges, TODAY, When, weak};

use super::stand::{KIB, MIB, Stand, Want, check, job, origin};
use crate::job::Job;

const SIZE: u64 = MIB + 12_345;

/// One lane, as many as pay, and four at once.
fn widths() -> [Job; 3] {
    let one = Job {
        lanes_max: 1,
        ..job()
    };
    let four = Job {
        lanes_start: Some(4),
        ..job()
    };
    [one, job(), four]
}

/// The whole file comes, with any number of lanes.
async fn whole(rows: Vec<(&str, Behaviour)>) {
    for (name, behaviour) in rows {
        for job in widths() {
            let size = behaviour.size;
            println!(
                "{name}, {} lanes, {:?} at once",
                job.lanes_max, job.lanes_start
            );
            check(behaviour.clone(), job, Want::File(0, size)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lanes_share_an_honest_origin() {
    for (job, lanes) in widths().into_iter().zip([1, 4, 4]) {
        let (stand, ran) = check(origin(4 * MIB), job, Want::File(0, 4 * MIB)).await;
        let done = ran.done();
        assert_eq!(done.lanes_max, lanes);
        assert_eq!(u64::from(done.connections), stand.transport.connections());
        assert_eq!(u64::from(done.requests), stand.transport.requests());
        assert_eq!(
            (done.protocol, done.unverifiable, done.already),
            ("h1", false, false)
        );
        let surplus = stand.transport.bytes_sent() - 4 * MIB;
        assert!(
            surplus <= 64 * KIB * u64::from(lanes),
            "{surplus} bytes twice"
        );
        assert_eq!(surplus, done.wasted_bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn ranges_that_do_not_work_end_in_one_stream() {
    whole(vec![
        (
            "ignored",
            origin(SIZE).ranges(Ranges::Ignored).accept_ranges(false),
        ),
        (
            "announced and ignored",
            origin(SIZE).ranges(Ranges::Ignored),
        ),
        ("refused with 416", origin(SIZE).ranges(Ranges::Refused)),
        (
            "everything from zero",
            origin(SIZE).ranges(Ranges::FromZero),
        ),
        ("no label", origin(SIZE).ranges(Ranges::NoContentRange)),
        (
            "unreadable label",
            origin(SIZE).ranges(Ranges::Label("bytes 1-x/y".into())),
        ),
        ("multipart", origin(SIZE).ranges(Ranges::Multipart)),
        ("later", origin(SIZE).ranges(Ranges::Shifted(1_000))),
        ("earlier", origin(SIZE).ranges(Ranges::Shifted(-1_000))),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn ranges_that_stop_working_do_no_harm() {
    let later = |deed| origin(SIZE).rule(When::From(1), deed);
    whole(vec![
        ("ignored", later(Deed::Ranges(Ranges::Ignored))),
        ("refused", later(Deed::Ranges(Ranges::Refused))),
        ("from zero", later(Deed::Ranges(Ranges::FromZero))),
        ("no label", later(Deed::Ranges(Ranges::NoContentRange))),
        ("multipart", later(Deed::Ranges(Ranges::Multipart))),
        ("shifted", later(Deed::Ranges(Ranges::Shifted(4_096)))),
        ("shifted back", later(Deed::Ranges(Ranges::Shifted(-4_096)))),
        ("a page", later(Deed::Page)),
        (
            "shifted now and then",
            origin(SIZE).rule(When::Every(3), Deed::Ranges(Ranges::Shifted(512))),
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn ranges_of_other_lengths_are_cut_and_asked_for_again() {
    whole(vec![
        ("short", origin(SIZE).ranges(Ranges::ShortAtMost(64 * KIB))),
        (
            "very short",
            origin(100 * KIB).ranges(Ranges::ShortAtMost(1_000)),
        ),
        ("long", origin(SIZE).ranges(Ranges::LongToEnd)),
        ("no total", origin(SIZE).ranges(Ranges::StarTotal)),
        (
            "no total, short",
            origin(SIZE)
                .ranges(Ranges::StarTotal)
                .rule(When::Only(1), Deed::Ranges(Ranges::ShortAtMost(500 * KIB))),
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn validators_of_any_kind_will_do_for_one_run() {
    let old = tur_core::Wall::from_unix_secs(TODAY.unix_secs() - 86_400);
    whole(vec![
        ("weak", origin(SIZE).etag(Some(weak("w")))),
        ("date", origin(SIZE).etag(None).last_modified(Some(old))),
        (
            "fresh date",
            origin(SIZE).etag(None).last_modified(Some(TODAY)),
        ),
        ("none", origin(SIZE).no_validators()),
        (
            "If-Range not understood",
            origin(SIZE).if_range(IfRange::Never),
        ),
        ("If-Range ignored", origin(SIZE).if_range(IfRange::Ignored)),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_ends_as_its_framing_says() {
    let plain = || origin(SIZE).ranges(Ranges::Ignored);
    whole(vec![
        ("chunked", plain().framing(Framing::Chunked)),
        ("chunked ranges", origin(SIZE).framing(Framing::Chunked)),
        ("until close", plain().framing(Framing::UntilClose)),
        (
            "ranges until close",
            origin(SIZE).framing(Framing::UntilClose),
        ),
        ("no keep-alive", origin(SIZE).no_keep_alive()),
        (
            "more than declared",
            plain().rule(When::Always, Deed::Extra(4_096)),
        ),
        (
            "more than asked",
            origin(SIZE).rule(When::Always, Deed::Extra(4_096)),
        ),
        (
            "interim answers",
            origin(SIZE).rule(When::Always, Deed::Interim(3)),
        ),
        ("coded", origin(SIZE).encoding("gzip")),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn small_files_are_files() {
    let mut rows = Vec::new();
    for size in [0, 1, 2, KIB, 64 * KIB, 64 * KIB + 1] {
        for framing in [Framing::Length, Framing::Chunked, Framing::UntilClose] {
            for ranges in [
                Ranges::Honest,
                Ranges::Ignored,
                Ranges::Refused,
                Ranges::StarTotal,
            ] {
                let behaviour = origin(size).framing(framing.clone()).ranges(ranges);
                rows.push(("small", behaviour));
            }
        }
    }
    whole(rows).await;
}

#[tokio::test(start_paused = true)]
async fn a_kibibyte_takes_one_request() {
    for job in widths() {
        let (stand, ran) = check(origin(KIB), job, Want::File(0, KIB)).await;
        assert_eq!(stand.transport.requests(), 1);
        assert_eq!(stand.transport.connections(), 1);
        assert_eq!(ran.done().wasted_bytes, 0);
    }
}

/// The length is learnt from the end.
#[tokio::test(start_paused = true)]
async fn a_length_that_is_not_told_becomes_known() {
    for (framing, unverifiable) in [(Framing::Chunked, false), (Framing::UntilClose, true)] {
        let behaviour = origin(4 * SIZE).framing(framing).ranges(Ranges::Ignored);
        let mut stand = Stand::new(behaviour);
        let handle = stand.start(job());
        stand.transport.bytes_reach(MIB).await;
        stand.pass(std::time::Duration::from_millis(300)).await;
        let midway = handle.progress();
        assert_eq!(midway.total, None);
        assert!(midway.landed >= MIB / 2);
        let ran = stand.end(handle).await;
        stand.assert_left(&ran, Want::File(0, 4 * SIZE));
        assert_eq!(ran.done().unverifiable, unverifiable);
        assert_eq!(stand.transport.requests(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_total_that_is_wrong_in_every_answer_is_no_success() {
    for total in [SIZE + 1_000, SIZE - 1_000] {
        for job in widths() {
            let mut stand = Stand::new(origin(SIZE).ranges(Ranges::WrongTotal(total)));
            let ran = stand.run(job).await;
            match &ran.result {
                // The truth may come out: then the file is the true one.
                Ok(done) => {
                    assert_eq!(done.bytes, SIZE);
                    stand.assert_file("file.bin", 0, SIZE);
                }
                Err(error) => {
                    assert_ne!(error.kind(), Kind::Other, "{error}");
                    assert!(!stand.exists("file.bin"));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_length_that_lies_is_no_success() {
    for said in [SIZE + 1_000, SIZE - 1_000] {
        for ranges in [Ranges::Honest, Ranges::Ignored] {
            for job in widths() {
                let framing = Framing::LyingLength(said);
                let mut stand = Stand::new(origin(SIZE).framing(framing).ranges(ranges.clone()));
                let ran = stand.run(job).await;
                match &ran.result {
                    // A declared length that is too small is all that a client can know.
                    Ok(done) => {
                        assert!(done.bytes == SIZE || done.bytes == said.min(SIZE));
                        stand.assert_file("file.bin", 0, done.bytes);
                    }
                    Err(error) => {
                        assert_ne!(error.kind(), Kind::Other, "{error}");
                        assert!(!stand.exists("file.bin"));
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lengths_that_contradict_are_refused() {
    for lengths in [vec!["-1"], vec!["99999999999999999999999"], vec!["5", "6"]] {
        let lengths = lengths.into_iter().map(str::to_owned).collect();
        let behaviour = origin(SIZE).framing(Framing::Lengths(lengths));
        let (stand, _) = check(behaviour, job(), Want::Nothing(Kind::Protocol)).await;
        assert_eq!(stand.transport.requests(), 1);
    }
}
