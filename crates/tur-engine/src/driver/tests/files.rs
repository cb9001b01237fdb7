//! Names, files that are there already, and digests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use sha2::Digest as _;
use tur_core::{ByteRange, Kind, Wall};
use tur_storage::FileKind;
use tur_testkit::{Behaviour, Deed, TODAY, When, content};

use super::stand::{DIR, KIB, MIB, NAME, PATH, Stand, Want, check, job, job_of, origin};
use crate::checksum::hex;
use crate::job::{Destination, Job};
use crate::{Handle, OnExists, What};

const SIZE: u64 = MIB;

/// An origin that tells when its file was made.
fn dated() -> Behaviour {
    origin(SIZE).last_modified(Some(yesterday()))
}

fn yesterday() -> Wall {
    Wall::from_unix_secs(TODAY.unix_secs() - 86_400)
}

/// The name comes from the answer or the URL.
fn derived() -> Job {
    Job {
        destination: Destination::Directory(DIR.into()),
        ..job()
    }
}

fn exists(on_exists: OnExists) -> Job {
    Job { on_exists, ..job() }
}

fn sha256(version: u8) -> String {
    format!(
        "sha256:{}",
        hex(&sha2::Sha256::digest(content(
            version,
            ByteRange::new(0, SIZE)
        )))
    )
}

fn summed(sum: &str) -> Job {
    Job {
        checksum: Some(sum.parse().expect("a checksum")),
        ..job()
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_file_is_not_fetched_twice() {
    for on_exists in [
        OnExists::ByName,
        OnExists::Refuse,
        OnExists::Rename,
        OnExists::Overwrite,
    ] {
        let mut stand = Stand::new(dated());
        stand.check(job(), Want::File(0, SIZE)).await;
        let (requests, bytes) = (stand.transport.requests(), stand.transport.bytes_sent());
        let ran = stand.check(exists(on_exists), Want::File(0, SIZE)).await;
        assert!(ran.done().already);
        assert_eq!(stand.transport.requests() - requests, 1);
        assert!(stand.transport.bytes_sent() - bytes <= 1);
    }
}

/// A range of nothing cannot be had: the answer to that has no date, and the one to the whole has.
#[tokio::test(start_paused = true)]
async fn an_empty_file_is_not_fetched_twice() {
    for destination in [job().destination, Destination::Directory(DIR.into())] {
        let mut stand = Stand::new(origin(0).last_modified(Some(yesterday())));
        for already in [false, true, true] {
            let job = Job {
                destination: destination.clone(),
                ..job()
            };
            let ran = stand.check(job, Want::File(0, 0)).await;
            assert_eq!(ran.done().already, already);
            assert!(!stand.exists("file.bin.1"));
            stand.forget();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_nothing_tells_of_a_file_is_not_said() {
    for (at, said) in [
        (
            origin(SIZE),
            "exists, and nothing tells whether it is this file",
        ),
        (origin(SIZE + 1), "exists and is not this file"),
        (dated(), "exists and is not this file"),
    ] {
        let mut stand = Stand::new(at);
        stand.put(NAME, &content(0, ByteRange::new(0, SIZE)));
        let error = stand.run(job()).await.result.expect_err("it is refused");
        assert_eq!(error.kind(), Kind::Local);
        assert!(error.to_string().contains(said), "{error}");
    }
}

/// Two files of one length and one date, and of one name: items of a list, say.
#[tokio::test(start_paused = true)]
async fn another_urls_file_is_not_taken_for_the_same() {
    let other = dated().version(1);
    let from = |path: &str, destination: Destination, on_exists| Job {
        destination,
        on_exists,
        ..job_of(&format!("http://origin.test/{path}"))
    };
    for named in [false, true] {
        let name = |at: Behaviour| {
            if named {
                at.disposition(b"attachment; filename=file.bin")
            } else {
                at
            }
        };
        let paths = if named {
            ["a/x", "b/y"]
        } else {
            ["a/file.bin", "b/file.bin"]
        };
        let [first, second] = paths;
        let mut stand = Stand::with([
            (format!("/{first}"), name(dated())),
            (format!("/{second}"), name(other.clone())),
        ]);
        let dir = || Destination::Directory(DIR.into());
        stand.run(from(first, dir(), OnExists::ByName)).await.done();
        // The same one is still known.
        let again = stand.run(from(first, dir(), OnExists::ByName)).await;
        assert!(again.done().already);
        let ran = stand.run(from(second, dir(), OnExists::Refuse)).await;
        assert_eq!(ran.result.expect_err("it is refused").kind(), Kind::Local);
        let ran = stand.run(from(second, dir(), OnExists::ByName)).await;
        assert!(!ran.done().already);
        stand.assert_file(NAME, 0, SIZE);
        stand.assert_file("file.bin.1", 1, SIZE);
        let ran = stand.run(from(second, dir(), OnExists::Overwrite)).await;
        assert!(!ran.done().already);
        stand.assert_file(NAME, 1, SIZE);
        // A digest is a proof, whatever the URL.
        let proven = Job {
            checksum: Some(sha256(1).parse().expect("a checksum")),
            ..from(first, dir(), OnExists::ByName)
        };
        if !named {
            assert!(stand.run(proven).await.done().already);
        }
    }
}

/// A list is run again, and again after an end in its middle: one of length and date is found for each URL, and what is there
/// is fetched no more.
#[tokio::test(start_paused = true)]
async fn urls_whose_files_have_one_name_find_their_own_in_a_later_run() {
    const NAMES: [&str; 3] = ["file.bin", "file.bin.1", "file.bin.2"];
    for named in [false, true] {
        let path = |n: u8| match named {
            true => format!("/{n}"),
            false => format!("/{n}/file.bin"),
        };
        let of = |n: u8| match named {
            true => dated()
                .version(n)
                .disposition(b"attachment; filename=file.bin"),
            false => dated().version(n),
        };
        let from = |n: u8| Job {
            destination: Destination::Directory(DIR.into()),
            ..job_of(&format!("http://origin.test{}", path(n)))
        };
        let mut stand = Stand::with([0, 1, 2].map(|n| (path(n), of(n))));
        // The first run came as far as this.
        stand.run(from(0)).await.done();
        for again in [false, true, true] {
            // Another process: nothing is remembered.
            stand.forget();
            let before = stand.transport.bytes_sent();
            for n in 0..3u8 {
                let ran = stand.run(from(n)).await;
                assert_eq!(ran.done().already, again || n == 0, "{named} {n}");
                let path = std::path::Path::new(DIR).join(NAMES[usize::from(n)]);
                assert_eq!(ran.done().path, path);
            }
            for (n, name) in NAMES.into_iter().enumerate() {
                stand.assert_file(name, u8::try_from(n).expect("few"), SIZE);
                stand.assert_sides(name, false);
            }
            let sent = stand.transport.bytes_sent() - before;
            assert!(!again || named || sent <= 3, "{sent} bytes");
            assert!(!stand.exists("file.bin.3"));
        }
    }
}

/// What a URL has begun is not the file that has the name.
#[tokio::test(start_paused = true)]
async fn a_part_of_the_same_url_is_gone_on_with_although_the_name_is_taken() {
    let paths = ["/a/file.bin", "/b/file.bin"];
    let large = |version| {
        let at = origin(4 * MIB).version(version);
        at.last_modified(Some(yesterday()))
    };
    let from = |path: &str, on_exists| Job {
        destination: Destination::Directory(DIR.into()),
        on_exists,
        ..job_of(&format!("http://origin.test{path}"))
    };
    let mut stand = Stand::with([(paths[0], large(0)), (paths[1], large(1))]);
    stand.run(from(paths[0], OnExists::ByName)).await.done();
    let sent = stand.transport.bytes_sent();
    let handle = stand.start(from(paths[1], OnExists::ByName));
    stand.transport.bytes_reach(sent + 2 * MIB).await;
    handle.cancel();
    stand.end(handle).await.result.expect_err("cancelled");
    stand.assert_sides(NAME, true);
    stand.forget();
    let ran = stand.run(from(paths[1], OnExists::Refuse)).await;
    assert_eq!(ran.result.expect_err("it is refused").kind(), Kind::Local);
    stand.assert_sides(NAME, true);
    // To the other URL the part says nothing.
    let ran = stand.run(from(paths[0], OnExists::ByName)).await;
    assert!(ran.done().already);
    stand.forget();
    let ran = stand.run(from(paths[1], OnExists::ByName)).await;
    assert!(ran.done().resumed_bytes >= 3 * MIB / 2);
    stand.assert_file(NAME, 0, 4 * MIB);
    stand.assert_file("file.bin.1", 1, 4 * MIB);
    stand.assert_sides(NAME, false);
}

/// Another file under the name.
#[tokio::test(start_paused = true)]
async fn another_file_is_never_replaced_unasked() {
    let ours = b"something else";
    let rows = [
        (OnExists::ByName, Err(Kind::Local)),
        (OnExists::Refuse, Err(Kind::Local)),
        (OnExists::Skip, Ok("file.bin")),
        (OnExists::Rename, Ok("file.bin.1")),
        (OnExists::Overwrite, Ok("file.bin")),
    ];
    for (on_exists, want) in rows {
        let mut stand = Stand::new(dated());
        stand.put(NAME, ours);
        let ran = stand.run(exists(on_exists)).await;
        let place = ran
            .result
            .as_ref()
            .map(|done| done.path.clone())
            .map_err(|e| e.kind());
        assert_eq!(place, want.map(|name| std::path::Path::new(DIR).join(name)));
        if on_exists == OnExists::Overwrite {
            stand.assert_file(NAME, 0, SIZE);
        } else {
            assert_eq!(stand.read(NAME).as_deref(), Some(&ours[..]));
        }
        if on_exists == OnExists::Rename {
            stand.assert_file("file.bin.1", 0, SIZE);
        }
        assert_eq!(on_exists == OnExists::Skip, stand.transport.requests() == 0);
        stand.assert_sides(NAME, false);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_leaves_the_old_file_alone() {
    let gone = Deed::Status {
        status: 404,
        retry_after: None,
    };
    for on_exists in [OnExists::ByName, OnExists::Overwrite, OnExists::Rename] {
        let mut stand = Stand::new(dated().rule(When::Always, gone.clone()));
        stand.put(NAME, b"old");
        let ran = stand.run(exists(on_exists)).await;
        assert_eq!(ran.result.expect_err("there is none").kind(), Kind::Server);
        assert_eq!(stand.read(NAME).as_deref(), Some(&b"old"[..]));
        stand.assert_sides(NAME, false);
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_deleted_is_fetched_again() {
    use tur_storage::Disk as _;
    let mut stand = Stand::new(dated());
    stand.check(job(), Want::File(0, SIZE)).await;
    let dir = stand.disk.open_dir(DIR.as_ref(), false).expect("there");
    stand.disk.unlink(&dir, NAME).expect("removed");
    let ran = stand.check(job(), Want::File(0, SIZE)).await;
    assert!(!ran.done().already);
    assert_eq!(ran.done().resumed_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_plain_file_is_refused_before_any_request() {
    for kind in [FileKind::Directory, FileKind::Symlink, FileKind::Special] {
        for on_exists in [OnExists::ByName, OnExists::Overwrite, OnExists::Rename] {
            let mut stand = Stand::new(dated());
            stand.put("other", b"");
            stand.disk.place(DIR.as_ref(), NAME, kind);
            let ran = stand.run(exists(on_exists)).await;
            assert_eq!(
                ran.result.expect_err("refused").kind(),
                Kind::Local,
                "{kind:?}"
            );
            assert_eq!(stand.transport.requests(), 0);
            stand.assert_sides(NAME, false);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_not_ours_is_left_alone() {
    let mut stand = Stand::new(dated());
    stand.put("file.bin.part", b"somebody's");
    let ran = stand.run(job()).await;
    assert_eq!(ran.result.expect_err("refused").kind(), Kind::Local);
    assert_eq!(
        stand.read("file.bin.part").as_deref(),
        Some(&b"somebody's"[..])
    );
    assert_eq!(stand.transport.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_downloads_of_one_target_are_one_too_many() {
    let mut stand = Stand::new(dated());
    let first = stand.start(job());
    stand.transport.bytes_reach(SIZE / 4).await;
    let mut second = stand.start(job());
    let busy = second.wait().await.expect_err("the first has it");
    assert_eq!(busy.kind(), Kind::Busy, "{busy}");
    let ran = stand.end(first).await;
    stand.assert_left(&ran, Want::File(0, SIZE));
}

/// Waits until all bytes have landed.
async fn is_put_in_place(handle: &Handle) {
    let mut events = handle.events();
    loop {
        let event = events.next().await.expect("it is told");
        if matches!(event.what, What::Verifying) {
            return;
        }
    }
}

/// It puts the file in place in its own time: the next one begins when it has, and finds it there.
#[tokio::test(start_paused = true)]
#[expect(clippy::await_holding_lock, reason = "a disk hangs for so long")]
async fn who_was_let_go_of_is_waited_for_by_the_next_one_of_its_file() {
    for cancelled in [false, true] {
        let mut stand = Stand::new(Behaviour::new(100_000).last_modified(Some(yesterday())));
        let gate = Arc::new(Mutex::new(()));
        let hangs = gate.lock().expect("nobody has it");
        stand.disk.hang_writes(Arc::clone(&gate));
        let first = stand.start(job());
        is_put_in_place(&first).await;
        if cancelled {
            first.cancel();
        } else {
            drop(first);
        }
        let mut second = stand.start(job());
        // In real time: a thread hangs.
        for _ in 0..50 {
            tokio::task::yield_now().await;
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let told = second.wait().now_or_never();
        assert!(told.is_none(), "{told:?}");
        drop(hangs);
        let ran = stand.end(second).await;
        assert!(ran.done().already);
        stand.assert_file(NAME, 0, 100_000);
        assert_eq!(stand.transport.requests(), 2);
    }
}

/// Who waits for it can be let go of too.
#[tokio::test(start_paused = true)]
#[expect(clippy::await_holding_lock, reason = "a disk hangs for so long")]
async fn who_waits_for_the_one_before_is_cancelled_at_once() {
    let mut stand = Stand::new(Behaviour::new(100_000));
    let gate = Arc::new(Mutex::new(()));
    let hangs = gate.lock().expect("nobody has it");
    stand.disk.hang_writes(Arc::clone(&gate));
    let first = stand.start(job());
    is_put_in_place(&first).await;
    drop(first);
    let mut second = stand.start(job());
    tokio::task::yield_now().await;
    second.cancel();
    let error = second.wait().await.expect_err("it is cancelled");
    assert_eq!(error.kind(), Kind::Signal, "{error}");
    drop(hangs);
    stand.settle().await;
    stand.assert_file(NAME, 0, 100_000);
}

#[tokio::test(start_paused = true)]
async fn the_answer_may_name_the_file() {
    let rows: [(&[u8], &str); 5] = [
        (b"attachment; filename=\"other.iso\"", "other.iso"),
        (b"attachment; filename=\"../../escape.bin\"", "escape.bin"),
        (b"attachment; filename=\".bashrc\"", "bashrc"),
        (
            b"attachment; filename*=UTF-8''na%C3%AFve.txt",
            "na\u{ef}ve.txt",
        ),
        (b"attachment", NAME),
    ];
    for (disposition, name) in rows {
        let mut stand = Stand::new(dated().disposition(disposition));
        let ran = stand.run(derived()).await;
        assert_eq!(ran.done().path, std::path::Path::new(DIR).join(name));
        stand.assert_file(name, 0, SIZE);
        stand.assert_sides(name, false);
        stand.assert_sides(NAME, false);
        assert_eq!(stand.exists(NAME), name == NAME);
        // A given name is the user's.
        check(dated().disposition(disposition), job(), Want::File(0, SIZE)).await;
    }
    let mut stand = Stand::with([("/", dated())]);
    let job = Job {
        destination: Destination::Directory(DIR.into()),
        ..job_of("http://origin.test/")
    };
    assert_eq!(
        stand.run(job).await.done().path,
        std::path::Path::new(DIR).join("download")
    );
    stand.assert_file("download", 0, SIZE);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_the_answer_gives_may_be_taken() {
    let named = || dated().disposition(b"attachment; filename=\"other.iso\"");
    let mut stand = Stand::new(named());
    stand.put("other.iso", b"something else");
    let ran = stand.run(derived()).await;
    assert_eq!(
        ran.done().path,
        std::path::Path::new(DIR).join("other.iso.1")
    );
    stand.assert_file("other.iso.1", 0, SIZE);
    assert_eq!(
        stand.read("other.iso").as_deref(),
        Some(&b"something else"[..])
    );
    // The same file under it is not fetched again.
    let mut stand = Stand::new(named());
    stand.run(derived()).await.done();
    let ran = stand.run(derived()).await;
    assert!(ran.done().already);
    stand.assert_file("other.iso", 0, SIZE);
    for name in [NAME, "other.iso", "other.iso.1"] {
        stand.assert_sides(name, false);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_under_the_answers_name_is_gone_on_with() {
    let mut stand = Stand::new(origin(4 * MIB).disposition(b"attachment; filename=\"other.iso\""));
    let handle = stand.start(derived());
    stand.transport.bytes_reach(2 * MIB).await;
    handle.cancel();
    assert_eq!(
        stand
            .end(handle)
            .await
            .result
            .expect_err("cancelled")
            .kind(),
        Kind::Signal
    );
    stand.assert_sides("other.iso", true);
    stand.assert_sides(NAME, false);
    let ran = stand.run(derived()).await;
    assert!(ran.done().resumed_bytes >= 3 * MIB / 2);
    stand.assert_file("other.iso", 0, 4 * MIB);
    stand.assert_sides("other.iso", false);
    stand.assert_sides(NAME, false);
    let twice = stand.transport.bytes_sent() - 4 * MIB;
    assert!(twice <= 512 * KIB, "{twice} bytes twice");
}

#[tokio::test(start_paused = true)]
async fn a_file_gets_the_time_of_the_origin_unless_told_otherwise() {
    use tur_storage::Disk as _;
    for keep_remote_time in [true, false] {
        let job = Job {
            keep_remote_time,
            ..job()
        };
        let (stand, _) = check(dated(), job, Want::File(0, SIZE)).await;
        let dir = stand.disk.open_dir(DIR.as_ref(), false).expect("there");
        let modified = stand.disk.stat_at(&dir, NAME).expect("there").modified;
        assert_eq!(modified == yesterday(), keep_remote_time);
    }
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_matches_is_told() {
    let bytes = content(0, ByteRange::new(0, SIZE));
    let sums = [
        sha256(0),
        format!("sha512:{}", hex(&sha2::Sha512::digest(&bytes))),
        format!("sha1:{}", hex(&sha1::Sha1::digest(&bytes))),
        format!("md5:{}", hex(&md5::Md5::digest(&bytes))),
        format!("blake3:{}", blake3::hash(&bytes).to_hex()),
    ];
    for sum in &sums {
        let (_, ran) = check(origin(SIZE), summed(sum), Want::File(0, SIZE)).await;
        let told = ran
            .done()
            .sha256
            .as_ref()
            .map(|hex| format!("sha256:{hex}"));
        assert_eq!(told.as_ref(), (sum == &sums[0]).then_some(sum));
    }
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_differs_leaves_nothing() {
    let (_, ran) = check(
        origin(SIZE),
        summed(&sha256(1)),
        Want::Nothing(Kind::Checksum),
    )
    .await;
    let text = ran.result.expect_err("it differs").to_string();
    assert!(
        text.contains(&sha256(1)) && text.contains(&sha256(0)[7..]),
        "{text}"
    );
    // Replaced under way, and nothing tells.
    let flipped = origin(SIZE).no_validators().rule(
        When::After(1),
        Deed::Serve {
            version: 1,
            etag: None,
            size: SIZE,
        },
    );
    let job = Job {
        lanes_start: Some(4),
        ..summed(&sha256(0))
    };
    check(flipped, job, Want::Nothing(Kind::Checksum)).await;
}

#[tokio::test(start_paused = true)]
async fn a_digest_proves_a_file_without_the_network() {
    let mut stand = Stand::new(origin(SIZE));
    stand.put(NAME, &content(0, ByteRange::new(0, SIZE)));
    let ran = stand.check(summed(&sha256(0)), Want::File(0, SIZE)).await;
    assert!(ran.done().already);
    assert_eq!(stand.transport.requests(), 0);
    let ran = stand.run(summed(&sha256(1))).await;
    assert_eq!(ran.result.expect_err("another file").kind(), Kind::Local);
    let job = Job {
        on_exists: OnExists::Overwrite,
        ..summed(&sha256(1))
    };
    stand.transport.swap(PATH, origin(SIZE).version(1));
    stand.check(job, Want::File(1, SIZE)).await;
}

/// The digest of what was written again is that of the new bytes.
#[tokio::test(start_paused = true)]
async fn a_digest_follows_a_restart() {
    let behaviour = origin(SIZE)
        .rule(When::Only(1), Deed::CutAfter(SIZE / 2))
        .changes_after(1, 1);
    check(behaviour, summed(&sha256(1)), Want::File(1, SIZE)).await;
}
