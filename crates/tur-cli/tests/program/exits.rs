//! The exit code of each kind of failure, and what is left then.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tur_core::{Rate, RetryAfter};
use tur_testkit::{Behaviour, Deed, Gate, Loopback, Refusing, When};

use crate::harness::{Place, Ran};

const MIB: u64 = 1 << 20;

/// Downloads `/f` of an origin with this behaviour; nothing may be left.
#[track_caller]
fn fails(behaviour: Behaviour, args: &[&str], code: i32) -> Ran {
    let origin = Loopback::start([("/f", behaviour)]);
    let place = Place::new();
    let ran = place
        .tur(&[args, &[origin.url("/f").as_str()]].concat())
        .ends_with(code);
    assert!(!ran.stderr.is_empty(), "an error is said");
    assert_eq!(place.names(), [""; 0], "{ran:?}");
    ran
}

fn status(status: u16, seconds: Option<u64>) -> Behaviour {
    let retry_after = seconds.map(|seconds| RetryAfter::Delay(Duration::from_secs(seconds)));
    Behaviour::new(5_000).rule(
        When::Always,
        Deed::Status {
            status,
            retry_after,
        },
    )
}

#[test]
fn usage_is_2_before_anything_is_done() {
    let origin = Loopback::start([("/f", Behaviour::new(5_000))]);
    let url = origin.url("/f");
    let url = url.as_str();
    let place = Place::new();
    for args in [
        &[][..],
        &["-o", "f", url, url],
        &["-j", "0", url, url],
        &["--nope", url],
        &["-x", "0", url],
        &["-x", "257", url],
        &["-s", "0", url],
        &["--max-connections", "0", url],
        &["--max-per-origin", "70000", url],
        &["-k", "1X", url],
        &["-k", "0", url],
        &["--retry", "x", url],
        &["--speed-limit", "-1", url],
        &["--read-timeout", "0", url],
        &["-o", "", url],
        &["--from", "1K", url],
        &["-o", "/dev/null", url, url],
        &["-o", "dir/", url],
        &["-u", "me", url],
        &["-H", "X: a\r\nY: b", url],
        &["-H", "Range: bytes=0-1", url],
        &["-H", "Host;", url],
        &["-H", "Host: a b", url],
        &["--http2", "-H", "Host: a/b", url],
        &["--checksum", "sha256:beef", url],
        &["--exists", "ask", url],
        &["--ca-file", "missing.pem", url],
        &["ftp://127.0.0.1/f"],
        &["not a url"],
    ] {
        let ran = place.tur(args).ends_with(2);
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        assert_eq!(ran.stdout, "");
    }
    assert_eq!(origin.requests(), 0);
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_refusal_of_the_server_is_8_and_leaves_nothing() {
    fails(status(404, None), &[], 8);
    fails(status(500, None), &["--retry", "0"], 8);
    let ran = fails(status(503, Some(3_600)), &["--json"], 8);
    assert_eq!(ran.last()["retry_after_s"], 3_600);
    fails(status(503, Some(2)), &["--max-wait", "1"], 8);
}

#[test]
fn challenges_are_6() {
    let behaviour = Behaviour::new(5_000).rule(When::Always, Deed::Challenge);
    fails(behaviour, &["-u", "me:hunter2"], 6);
}

#[test]
fn what_is_not_http_is_7() {
    let behaviour = Behaviour::new(5_000).rule(When::Always, Deed::NotHttp);
    let ran = fails(behaviour, &["--retry", "0"], 7);
    assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
}

#[test]
fn a_reason_phrase_cannot_act_on_the_terminal() {
    for reason in ["No\u{1b}[2J", "No\u{9b}2J\u{202e}"] {
        let deed = Deed::Reason(404, reason.to_owned());
        let behaviour = Behaviour::new(5_000).rule(When::Always, deed);
        let ran = fails(behaviour, &["--retry", "0", "--json"], 8);
        let acts = |c: char| c == '\u{202e}' || c.is_control() && c != '\n';
        assert!(!ran.stderr.contains(acts), "{ran:?}");
        assert!(!ran.stdout.contains(acts), "{ran:?}");
    }
}

#[test]
fn nobody_there_is_4() {
    let nobody = Refusing::start();
    let place = Place::new();
    let url = format!("http://127.0.0.1:{}/f", nobody.port());
    place.tur(&["--retry", "0", &url]).ends_with(4);
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn too_slow_is_4() {
    for args in [
        &["--max-time", "0.5"][..],
        &["--speed-limit", "1M", "--speed-time", "0.5"],
        &["--read-timeout", "0.5", "--retry", "0"],
    ] {
        let behaviour = Behaviour::new(MIB).rule(When::Always, Deed::Hold(Gate::at(0)));
        fails(behaviour, args, 4);
    }
}

#[test]
fn another_file_is_3_and_stays() {
    let origin = Loopback::start([("/f", Behaviour::new(5_000))]);
    let place = Place::new();
    place.put("x", b"mine");
    place.tur(&["-o", "x", &origin.url("/f")]).ends_with(3);
    place.check_bytes("x", b"mine");
    assert_eq!(place.names(), ["x"]);
}

#[test]
fn where_nothing_can_be_written_is_3_before_anything_is_asked() {
    let origin = Loopback::start([("/f", Behaviour::new(5_000))]);
    let url = &origin.url("/f");
    let place = Place::new();
    place.put("plain", b"");
    place.tur(&["-d", "plain", url]).ends_with(3);
    place.tur(&["-d", "plain/below", url]).ends_with(3);
    place.tur(&["-o", ".", url]).ends_with(2);
    place.tur(&["-o", "missing/f", url]).ends_with(3);
    // Where nobody can make a file, not even the super-user.
    place.tur(&["-d", "/proc/self", url]).ends_with(3);
    // Permissions do not bind the super-user.
    if !rustix::process::geteuid().is_root() {
        let locked = place.file("locked");
        std::fs::create_dir(&locked).expect("the directory can be written to");
        let mode = |mode| std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(mode));
        mode(0o555).expect("it is ours");
        place.tur(&["-d", "locked", url]).ends_with(3);
        mode(0o755).expect("it is ours");
    }
    assert_eq!(origin.requests(), 0);
}

#[test]
fn an_unknown_authority_is_5() {
    let origin = Loopback::start_tls([("/f", Behaviour::new(5_000))]);
    let place = Place::new();
    place.tur(&["--retry", "0", &origin.url("/f")]).ends_with(5);
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn from_https_to_http_is_13() {
    let plain = Loopback::start([("/f", Behaviour::new(5_000))]);
    let location = plain.url("/f");
    let behaviour = Behaviour::new(0).rule(
        When::Always,
        Deed::Redirect {
            status: 302,
            location,
        },
    );
    let secure = Loopback::start_tls([("/f", behaviour)]);
    let place = Place::new();
    place.put("ca.pem", secure.ca_pem().expect("over TLS").as_bytes());
    place
        .tur(&["--ca-file", "ca.pem", &secure.url("/f")])
        .ends_with(13);
    assert_eq!(plain.requests(), 0);
    assert_eq!(place.names(), ["ca.pem"]);
}

#[test]
fn a_redirect_loop_is_14() {
    let location = "/f".to_owned();
    let behaviour = Behaviour::new(0).rule(
        When::Always,
        Deed::Redirect {
            status: 302,
            location,
        },
    );
    fails(behaviour, &[], 14);
}

#[test]
fn a_head_without_end_is_14() {
    let behaviour = Behaviour::new(0).rule(When::Always, Deed::EndlessHead);
    fails(behaviour, &["--retry", "0"], 14);
}

#[test]
fn a_wrong_digest_is_10_and_leaves_no_file() {
    let wrong = format!("sha256:{}", "0".repeat(64));
    fails(Behaviour::new(MIB), &["--checksum", &wrong], 10);
}

#[test]
fn a_change_is_11_if_asked() {
    let behaviour = Behaviour::new(8 * MIB)
        .rule(When::Only(1), Deed::Hold(Gate::at(MIB)))
        .changes_after(1, 1);
    let origin = Loopback::start([("/f", behaviour)]);
    let place = Place::new();
    let url = origin.url("/f");
    place
        .tur(&["--on-change", "fail", "-s4", "-x4", "-k64K", &url])
        .ends_with(11);
    assert!(
        !place.names().contains(&"f".to_owned()),
        "{:?}",
        place.names()
    );
}

#[test]
fn a_second_tur_is_15_and_disturbs_nobody() {
    let gate = Gate::at(MIB);
    let behaviour = Behaviour::new(4 * MIB).rule(When::Always, Deed::Hold(gate.clone()));
    let origin = Loopback::start([("/f", behaviour)]);
    let place = Place::new();
    let url = origin.url("/f");
    let mut first = place.start(&["-x1", "-o", "f", &url]);
    first.wait_for_landed(1);
    place.tur(&["-o", "f", &url]).ends_with(15);
    gate.open();
    first.end().ends_with(0);
    place.check("f", 0, 4 * MIB);
}

#[test]
fn a_limit_of_file_size_is_9_and_kills_nobody() {
    let origin = Loopback::start([("/f", Behaviour::new(4 * MIB))]);
    let place = Place::new();
    let mut command = place.run("sh");
    command
        .args([
            "-c",
            "ulimit -f 1024; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_tur"),
        ])
        .args(["--max-time", "120", &origin.url("/f")]);
    let ran = Ran::of(command.output().expect("there is a shell")).ends_with(9);
    assert!(ran.stderr.contains("file size limit: "), "{ran:?}");
    // Known from the first answer on: nothing was begun.
    assert_eq!(place.names(), [""; 0]);
    assert_eq!(origin.requests(), 1);
}

#[test]
fn few_descriptors_mean_few_connections_and_no_failure() {
    let pace = Rate::per_second(4 * MIB);
    for most in [24, 26] {
        let origin = Loopback::start([("/f", Behaviour::new(8 * MIB).pace(pace))]);
        let place = Place::new();
        let mut command = place.run("sh");
        command
            .args([
                "-c",
                &format!("ulimit -n {most}; exec \"$@\""),
                "sh",
                env!("CARGO_BIN_EXE_tur"),
            ])
            .args(["--max-time", "120", "--json", "-s", "8"])
            .arg(origin.url("/f").as_str());
        let ran = Ran::of(command.output().expect("there is a shell")).ends_with(0);
        place.check("f", 0, 8 * MIB);
        let lanes = ran.last()["lanes_max"].as_u64().expect("a number");

        assert!((1..8).contains(&lanes), "{most}: {lanes} lanes");
        assert!(ran.stderr.contains("for now: "), "{ran:?}");
    }
}
