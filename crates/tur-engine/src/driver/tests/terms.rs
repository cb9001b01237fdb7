//! What the user demands: what breaks it fails early and leaves things as they were.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use sha2::Digest as _;
use tur_core::Kind;
use tur_http::Terms;
use tur_testkit::{Behaviour, Deed, Framing, Ranges, When, weak};

use super::stand::{DIR, KIB, MIB, NAME, PATH, Ran, Stand, Want, check, job, origin};
use crate::What;
use crate::checksum::hex;
use crate::job::{Destination, Job};

const SIZE: u64 = MIB;

fn under(terms: Terms) -> Job {
    Job { terms, ..job() }
}

fn length() -> Job {
    under(Terms {
        length: true,
        ..Terms::default()
    })
}

fn resume() -> Job {
    under(Terms {
        resume: true,
        ..Terms::default()
    })
}

fn decode() -> Job {
    under(Terms {
        decode: true,
        ..Terms::default()
    })
}

fn types(globs: &[&str]) -> Job {
    under(Terms {
        types: globs
            .iter()
            .map(|glob| glob.parse().expect("a glob"))
            .collect(),
        ..Terms::default()
    })
}

fn message(ran: &Ran) -> String {
    ran.result.as_ref().expect_err("it fails").to_string()
}

fn has_note(ran: &Ran, part: &str) -> bool {
    ran.count(|what| matches!(what, What::Note(text) if text.contains(part))) == 1
}

#[tokio::test(start_paused = true)]
async fn a_length_that_is_required_and_not_told_ends_the_first_request() {
    let open = || {
        origin(SIZE)
            .framing(Framing::UntilClose)
            .ranges(Ranges::Ignored)
    };
    let (stand, ran) = check(open(), length(), Want::Nothing(Kind::Network)).await;
    assert_eq!(stand.transport.requests(), 1);
    assert!(message(&ran).contains("the length is not told"), "{ran:?}");
    let (_, ran) = check(open(), job(), Want::File(0, SIZE)).await;
    assert!(ran.done().unverifiable);
    for behaviour in [
        origin(SIZE),
        origin(SIZE)
            .framing(Framing::Chunked)
            .ranges(Ranges::Ignored),
        // The length is that of the range.
        origin(SIZE).framing(Framing::UntilClose),
    ] {
        check(behaviour, length(), Want::File(0, SIZE)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_resumed_ends_at_the_first_answer_that_shows_it() {
    for (behaviour, why) in [
        (
            origin(SIZE).ranges(Ranges::Ignored),
            "does not serve ranges",
        ),
        (origin(SIZE).ranges(Ranges::Refused), "refuses ranges"),
        (origin(SIZE).ranges(Ranges::NoContentRange), "Content-Range"),
        (origin(SIZE).ranges(Ranges::Multipart), "Content-Range"),
        (origin(SIZE).ranges(Ranges::StarTotal), "length"),
        (
            origin(SIZE)
                .framing(Framing::Chunked)
                .ranges(Ranges::Ignored),
            "ranges",
        ),
    ] {
        let (stand, ran) = check(behaviour, resume(), Want::Nothing(Kind::NotResumable)).await;
        assert_eq!(stand.transport.requests(), 1);
        assert!(message(&ran).contains(why), "{}", message(&ran));
    }
    for behaviour in [
        origin(SIZE),
        origin(SIZE).rule(When::First(2), Deed::CutAfter(100 * KIB)),
        origin(SIZE).ranges(Ranges::ShortAtMost(200 * KIB)),
        origin(0),
        // An overlap proves what no validator does.
        origin(SIZE).no_validators(),
        origin(SIZE).etag(Some(weak("w"))),
    ] {
        let size = behaviour.size;
        check(behaviour, resume(), Want::File(0, size)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn ranges_that_fail_later_end_what_must_be_resumable_too() {
    for ranges in [Ranges::Ignored, Ranges::Refused, Ranges::NoContentRange] {
        let first = origin(SIZE).rule(When::Only(1), Deed::CutAfter(SIZE / 2));
        let fails = first.rule(When::From(1), Deed::Ranges(ranges));
        let job = Job {
            lanes_max: 1,
            ..resume()
        };
        let (_, ran) = check(fails, job, Want::Part(Kind::NotResumable)).await;
        assert!(message(&ran).contains("are kept"), "{}", message(&ran));
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_part_is_not_given_up_where_resuming_is_required() {
    let gone = Deed::Status {
        status: 404,
        retry_after: None,
    };
    let stops = origin(SIZE)
        .rule(When::Only(1), Deed::CutAfter(SIZE / 2))
        .rule(When::After(1), gone);
    let mut stand = Stand::new(stops);
    stand.check(job(), Want::Part(Kind::Server)).await;
    let part = format!("{NAME}.part");
    let kept = stand.read(&part);
    for ranges in [Ranges::Ignored, Ranges::Refused, Ranges::NoContentRange] {
        stand.transport.swap(PATH, origin(SIZE).ranges(ranges));
        stand.check(resume(), Want::Part(Kind::NotResumable)).await;
        assert!(stand.read(&part) == kept, "untouched");
    }
    stand.transport.swap(PATH, origin(SIZE));
    let ran = stand.check(resume(), Want::File(0, SIZE)).await;
    assert!(ran.done().resumed_bytes >= SIZE / 2 - 64 * KIB, "{ran:?}");
}

#[tokio::test(start_paused = true)]
async fn only_types_that_were_asked_for_are_taken() {
    let typed = |text: &str| origin(SIZE).media_type(text);
    for (behaviour, globs, ok) in [
        (typed("image/png"), &["image/*"][..], true),
        (typed("Image/PNG; q=1"), &["image/*"], true),
        (typed("image/png"), &["text/*", "IMAGE/*"], true),
        (typed("text/html"), &["image/*"], false),
        (typed("text/html"), &["text/html"], true),
        (origin(SIZE), &["application/octet-stream"], true),
        (origin(SIZE), &["*"], true),
        (origin(SIZE), &["image/*"], false),
    ] {
        let want = if ok {
            Want::File(0, SIZE)
        } else {
            Want::Nothing(Kind::Server)
        };
        let (stand, ran) = check(behaviour, types(globs), want).await;
        if !ok {
            assert_eq!(stand.transport.requests(), 1);
            assert!(
                message(&ran).contains("--accept-type asks for image/*"),
                "{ran:?}"
            );
        }
    }
    let untyped = Behaviour {
        media_type: None,
        ..origin(SIZE)
    };
    check(
        untyped.clone(),
        types(&["application/octet-*"]),
        Want::File(0, SIZE),
    )
    .await;
    check(untyped, types(&["image/*"]), Want::Nothing(Kind::Server)).await;
}

#[tokio::test(start_paused = true)]
async fn a_page_is_taken_with_a_word_if_its_name_is_that_of_something_else() {
    let page = |path: &str| Stand::with([(path, origin(SIZE).media_type("text/html; charset=x"))]);
    for (path, warned) in [("/page.html", false), ("/file.iso", true), ("/", false)] {
        let (mut stand, url) = (page(path), format!("http://origin.test{path}"));
        let job = Job {
            destination: Destination::Directory(DIR.into()),
            ..super::stand::job_of(&url)
        };
        let ran = stand.run(job).await;
        let name = ran.done().path.file_name().expect("a name").to_owned();
        stand.assert_file(&name.to_string_lossy(), 0, SIZE);
        assert_eq!(has_note(&ran, "HTML page"), warned, "{path}: {ran:?}");
    }
}

fn text(lines: u32) -> Vec<u8> {
    (0..lines)
        .flat_map(|n| format!("{n} {:x}\n", n.wrapping_mul(2_654_435_761)).into_bytes())
        .collect()
}

pub(super) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

pub(super) fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

fn coded(bytes: Vec<u8>, name: &str) -> Behaviour {
    Behaviour::of(bytes).encoding(name)
}

/// The decoded file is there, and nothing beside it.
fn assert_decoded(stand: &Stand, ran: &Ran, plain: &[u8]) {
    let done = ran.done();
    assert_eq!((done.bytes, done.resumed_bytes), (plain.len() as u64, 0));
    assert!(stand.read(NAME).expect("the file is there") == plain);
    stand.assert_sides(NAME, false);
}

#[tokio::test(start_paused = true)]
async fn what_comes_coded_is_decoded_as_one_stream() {
    let plain = text(40_000);
    let (gz, z) = (
        || coded(gzip(&plain), "gzip"),
        || coded(zlib(&plain), "deflate"),
    );
    let short = Ranges::ShortAtMost(20 * KIB);
    for (name, behaviour, requests) in [
        ("ranges", gz(), 1),
        ("no ranges", gz().ranges(Ranges::Ignored), 1),
        (
            "chunked",
            gz().ranges(Ranges::Ignored).framing(Framing::Chunked),
            1,
        ),
        (
            "until close",
            gz().ranges(Ranges::Ignored).framing(Framing::UntilClose),
            1,
        ),
        ("parts", gz().ranges(short), 2),
        ("no total", gz().ranges(Ranges::StarTotal), 2),
        ("deflate", z(), 1),
        (
            "broken off",
            gz().rule(When::First(2), Deed::CutAfter(60 * KIB)),
            3,
        ),
        (
            "reset",
            z().rule(When::Only(1), Deed::ResetAfter(60 * KIB)),
            2,
        ),
    ] {
        let mut stand = Stand::new(behaviour);
        let ran = stand.run(decode()).await;
        println!("{name}");
        assert_decoded(&stand, &ran, &plain);
        assert!(has_note(&ran, "it is decoded"), "{ran:?}");
        assert_eq!(
            (stand.transport.requests(), ran.done().lanes_max),
            (requests, 1)
        );
    }
    // What is not coded takes as many lanes as ever, and what is not to be decoded is kept.
    let (_, ran) = check(origin(4 * MIB), decode(), Want::File(0, 4 * MIB)).await;
    assert_eq!(ran.done().lanes_max, 4);
    let mut stand = Stand::new(gz());
    let ran = stand.run(job()).await;
    assert_eq!(stand.read(NAME), Some(gzip(&plain)));
    assert!(has_note(&ran, "it is kept as it comes"), "{ran:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_leaves_nothing() {
    let plain = text(40_000);
    let mut damaged = gzip(&plain);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    let early = gzip(&plain)[..middle].to_vec();
    let bomb = gzip(&vec![0; 8 << 20]);
    for (bytes, name, kind, part) in [
        (damaged, "gzip", Kind::Protocol, "damaged"),
        (early, "gzip", Kind::Network, "has no end"),
        (bomb, "gzip", Kind::Limit, "200 times"),
        (text(100), "br", Kind::Protocol, "(br)"),
        (text(100), "gzip, br", Kind::Protocol, "(gzip, br)"),
    ] {
        let (stand, ran) = check(coded(bytes, name), decode(), Want::Nothing(kind)).await;
        assert!(message(&ran).contains(part), "{}", message(&ran));
        let tries = if kind == Kind::Network { 6 } else { 1 };
        assert_eq!(stand.transport.requests(), tries);
    }
    let both = under(Terms {
        decode: true,
        resume: true,
        ..Terms::default()
    });
    let refused = Want::Nothing(Kind::NotResumable);
    check(coded(gzip(&plain), "gzip"), both, refused).await;
}

/// Neither a stopped run that decoded nor one that did not has anything for the other.
#[tokio::test(start_paused = true)]
async fn coded_and_decoded_bytes_never_meet() {
    let plain = text(40_000);
    let gz = || coded(gzip(&plain), "gzip");
    let gone = || Deed::Status {
        status: 404,
        retry_after: None,
    };
    let stops = || {
        let cut = gz().rule(When::Only(1), Deed::CutAfter(60 * KIB));
        cut.rule(When::After(1), gone())
    };
    let mut stand = Stand::new(stops());
    stand.check(decode(), Want::Nothing(Kind::Server)).await;
    stand.transport.swap(PATH, stops());
    stand.check(job(), Want::Part(Kind::Server)).await;
    stand.transport.swap(PATH, gz());
    let ran = stand.run(decode()).await;
    assert_decoded(&stand, &ran, &plain);
    // The file that is there is not what the origin has: it was decoded, or was not.
    for (first, second) in [(decode(), job()), (job(), decode())] {
        let mut stand = Stand::new(gz().last_modified(Some(tur_testkit::TODAY)));
        assert!(stand.run(first).await.result.is_ok());
        let ran = stand.run(second).await;
        let error = ran.result.expect_err("another file has the name");
        assert_eq!(error.kind(), Kind::Local);
    }
}

#[tokio::test]
async fn a_digest_is_that_of_the_decoded_file() {
    let plain = text(40_000);
    let sum = |bytes: &[u8]| {
        let sum = format!("sha256:{}", hex(&sha2::Sha256::digest(bytes)));
        Some(sum.parse().expect("a checksum"))
    };
    let mut stand = Stand::new(coded(gzip(&plain), "gzip"));
    let job = Job {
        checksum: sum(&plain),
        ..decode()
    };
    let ran = stand.run(job).await;
    assert_decoded(&stand, &ran, &plain);
    let mut stand = Stand::new(coded(gzip(&plain), "gzip"));
    let job = Job {
        checksum: sum(&gzip(&plain)),
        ..decode()
    };
    stand.check(job, Want::Nothing(Kind::Checksum)).await;
}

#[tokio::test]
async fn a_file_with_another_digest_is_kept_under_a_name_of_its_own() {
    let wrong = || Job {
        checksum: Some(
            "md5:00000000000000000000000000000000"
                .parse()
                .expect("a sum"),
        ),
        ..job()
    };
    let kept = || Job {
        keep_bad: true,
        ..wrong()
    };
    let mut stand = Stand::new(origin(SIZE));
    stand.check(wrong(), Want::Nothing(Kind::Checksum)).await;
    for name in ["file.bin.bad", "file.bin.bad.1"] {
        assert!(!stand.exists(name));
        let ran = stand.check(kept(), Want::Nothing(Kind::Checksum)).await;
        stand.assert_file(name, 0, SIZE);
        assert!(
            message(&ran).ends_with(&format!("{DIR}/{name}")),
            "{}",
            message(&ran)
        );
    }
}
