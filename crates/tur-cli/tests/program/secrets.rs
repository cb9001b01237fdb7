//! Where secrets go: to the first origin, and nowhere else, however a download ends.
//!
//! Each secret is a text that occurs nowhere else, so that it can be looked for, as it is, percent-encoded and in base64,
//! in everything that the program says, leaves on the disk or sends to a second origin.
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files from outside; nothing here is part of tur"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tur_testkit::{Behaviour, Deed, Gate, Loopback, When};

use crate::harness::{Place, Ran, Running};

const MIB: u64 = 1 << 20;

/// In fields, credentials, the URL's userinfo, the referer, the second origin's signature and the location's userinfo.
const SECRETS: [&str; 8] = [
    "c4nary+FIELD/1",
    "c4nary+COOKIE/2",
    "c4nary+PASSWORD/3",
    "c4nary+USERINFO/4",
    "c4nary+REFERER/5",
    "c4nary+FRAGMENT/6",
    SIGNATURE,
    "c4nary+LOCATION/8",
];

const SIGNATURE: &str = "c4nary+SIGNED/7";

/// In the query of the user's URL: the journal keeps it by contract, and `start` and `done` tell the URL as it was given.
const QUERY: &str = "c4nary-QUERY-9";

fn percent(text: &str) -> String {
    let coded = |byte: u8| match byte.is_ascii_alphanumeric() || byte == b'-' {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(coded).collect()
}

/// Base64 without the digits that depend on what stands beside the text, for each way that it can be aligned.
fn base64(text: &str) -> Vec<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let aligned = (0..3).map(|skip| {
        let whole = text.as_bytes()[skip..].chunks_exact(3);
        let digits = whole.flat_map(|group| {
            let bits = group
                .iter()
                .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
            [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
        });
        digits.collect()
    });
    aligned.collect()
}

/// Asserts that no secret is in there, in any form.
#[track_caller]
fn check_without(what: &str, bytes: &[u8], secrets: &[&str]) {
    let text = String::from_utf8_lossy(bytes);
    for secret in secrets {
        let forms = [
            (*secret).to_owned(),
            percent(secret),
            percent(secret).to_lowercase(),
        ];
        for form in forms.into_iter().chain(base64(secret)) {
            assert!(
                !text.contains(&form),
                "{what} has {secret} as {form}:\n{text}"
            );
        }
    }
}

/// Every file below, with its bytes.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(dir).map(|entries| entries.flatten().collect::<Vec<_>>());
    let below = entries.unwrap_or_default().into_iter().flat_map(|entry| {
        let path = entry.path();
        match path.is_dir() {
            true => files(&path),
            false => vec![(path.clone(), fs::read(&path).expect("it is ours"))],
        }
    });
    below.collect()
}

/// Asserts that neither the files in the directory nor the state that is kept has a secret, that what is not complete is
/// nobody else's to read, and that no file has an attribute.
#[track_caller]
fn check_files(place: &Place) {
    let mut journals = 0;
    for (path, bytes) in files(place.path()).into_iter().chain(files(&place.state())) {
        let name = path.display().to_string();
        check_without(&name, &bytes, &SECRETS);
        let is_journal = name.ends_with(".tur");
        journals += u32::from(is_journal);
        if is_journal || name.ends_with(".part") {
            let mode = fs::metadata(&path)
                .expect("it is there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o177, 0, "{name}: {mode:o}");
        }
        if !is_journal {
            check_without(&name, &bytes, &[QUERY]);
        }
        let mut list = vec![0; 4_096];
        // A file system without attributes has none either.
        let len = rustix::fs::llistxattr(&path, &mut list[..]).unwrap_or(0);
        let ours = String::from_utf8_lossy(&list[..len]).contains("user.");
        assert!(!ours, "{name} has attributes");
    }
    assert!(journals <= 1);
}

#[track_caller]
fn check_ran(ran: &Ran) {
    check_without("stdout", ran.stdout.as_bytes(), &SECRETS);
    check_without("stderr", ran.stderr.as_bytes(), &SECRETS);
    // The user's URL is told to programs, as it was given; what people see hides its query.
    check_without("stderr", ran.stderr.as_bytes(), &[QUERY]);
    for line in ran.stdout.lines().filter(|line| line.contains(QUERY)) {
        let told = line.contains("\"event\":\"start\"") || line.contains("\"event\":\"done\"");
        assert!(told, "{line}");
    }
}

/// A first origin whose `/f` leads to `/g` of a second one, by a signed location with somebody's userinfo in it.
fn first(second: &Loopback) -> Loopback {
    let location = second.url(&format!("/g?signature={}", percent(SIGNATURE)));
    let location = location.replace("://", &format!("://them:{}@", percent(SECRETS[7])));
    let deed = Deed::Redirect {
        status: 302,
        location,
    };
    Loopback::start([("/f", Behaviour::new(0).rule(When::Always, deed))])
}

/// What is typed, with a secret in each place; `-u` or a field, because a field of that name wins.
fn args(origin: &Loopback, with_field: bool) -> Vec<String> {
    let mut args: Vec<String> = ["-vv", "--retry", "0", "-x2"].map(str::to_owned).into();
    let mut push = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
    if with_field {
        push("-H", format!("Authorization: Bearer {}", SECRETS[0]));
    } else {
        push("-u", format!("me:{}", SECRETS[2]));
    }
    push("-H", format!("Cookie: session={}", SECRETS[1]));
    push("-H", format!("X-Api-Key: {}", SECRETS[0]));
    push(
        "-e",
        format!("http://u:{}@r/?x#{}", percent(SECRETS[4]), SECRETS[5]),
    );
    let userinfo = format!("://you:{}@", percent(SECRETS[3]));
    args.push(
        origin
            .url(&format!("/f?token={QUERY}"))
            .replace("://", &userinfo),
    );
    args
}

/// Runs it both ways of being told, and looks everywhere.
#[track_caller]
fn check(second: &Loopback, more: &[&str], codes: &[i32]) {
    for (picture, with_field) in [
        ("--json", true),
        ("--progress=line", false),
        ("--json", false),
    ] {
        let origin = first(second);
        let place = Place::new();
        if let Some(pem) = second.ca_pem().filter(|_| more.contains(&"--ca-file")) {
            place.put("ca.pem", pem.as_bytes());
        }
        let mut command = place.command(&["--max-time", "60", picture]);
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
        let output = command.args(args(&origin, with_field)).args(more).output();
        let ran = Ran::of(output.expect("the program starts"));
        assert!(
            ran.code.is_some_and(|code| codes.contains(&code)),
            "{ran:?}"
        );
        check_ran(&ran);
        check_files(&place);
        let seen = origin.seen();
        let sent = seen[0].field("authorization").unwrap_or_default();
        assert!(!sent.is_empty(), "the first origin gets them");
        assert_eq!(seen[0].field("referer"), Some(&b"http://r/?x"[..]));
        for seen in second.seen() {
            for (name, value) in &seen.fields {
                check_without(name, value, &SECRETS);
                check_without(name, value, &[QUERY]);
            }
            for name in ["authorization", "cookie", "x-api-key", "referer"] {
                assert_eq!(seen.field(name), None, "{name} left the first origin");
            }
            assert!(seen.path.ends_with(&percent(SIGNATURE)), "{}", seen.path);
        }
    }
}

fn second(behaviour: Behaviour) -> Loopback {
    Loopback::start([("/g", behaviour)])
}

#[test]
fn a_download_that_succeeds_tells_none() {
    check(&second(Behaviour::new(MIB)), &[], &[0]);
}

#[test]
fn a_refusal_tells_none() {
    for status in [401, 403, 404, 500] {
        let deed = Deed::Status {
            status,
            retry_after: None,
        };
        let behaviour = Behaviour::new(MIB).rule(When::Always, deed);
        check(&second(behaviour), &[], &[6, 8]);
    }
    check(
        &second(Behaviour::new(MIB).rule(When::Always, Deed::Challenge)),
        &[],
        &[6],
    );
}

#[test]
fn a_broken_connection_tells_none() {
    for deed in [
        Deed::ResetAfter(MIB),
        Deed::Hangup,
        Deed::NotHttp,
        Deed::EndlessHead,
    ] {
        let behaviour = Behaviour::new(4 * MIB).rule(When::Always, deed);
        check(&second(behaviour), &[], &[4, 7, 14]);
    }
}

#[test]
fn a_redirect_that_is_refused_tells_none() {
    for location in [
        format!("ftp://x:{}@h/f?{}", SECRETS[7], SECRETS[6]),
        format!("https://h:99999/{}", SECRETS[6]),
        format!("http://[{}]/", SECRETS[6]),
        format!("data:,{}", SECRETS[6]),
    ] {
        let deed = Deed::Redirect {
            status: 302,
            location,
        };
        check(
            &second(Behaviour::new(0).rule(When::Always, deed)),
            &[],
            &[7, 8, 13],
        );
    }
}

#[test]
fn a_failed_handshake_tells_none() {
    let origin = Loopback::start_tls([("/g", Behaviour::new(MIB))]);
    check(&origin, &[], &[5]);
    check(&origin, &["--ca-file", "ca.pem"], &[0]);
}

#[test]
fn death_in_the_middle_leaves_none() {
    let behaviour = Behaviour::new(4 * MIB).rule(When::Always, Deed::Hold(Gate::at(MIB)));
    let second = second(behaviour);
    let origin = first(&second);
    let place = Place::new();
    let mut running = place.start(
        &args(&origin, true)
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    running.wait_for_landed(MIB / 2);
    running.signal(Signal::KILL);
    let ran = running.end();
    assert_eq!(ran.code, None);
    check_ran(&ran);
    check_files(&place);
    assert_eq!(place.names(), ["f.part", "f.tur"]);
    let journal = fs::read(place.file("f.tur")).expect("it is ours");
    let text = String::from_utf8_lossy(&journal);
    assert!(
        text.contains(&format!("/f?token={QUERY}")),
        "the query is needed to go on"
    );
}

#[test]
fn fields_of_a_file_are_sent_and_not_in_the_list_of_processes() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(MIB).rule(When::Always, Deed::Hold(gate.clone()));
    let origin = Loopback::start([("/f", behaviour)]);
    let place = Place::new();
    let lines = format!(
        "Authorization: Bearer {}\r\n\nX-Empty;\nCookie: {}",
        SECRETS[0], SECRETS[1]
    );
    place.put("fields", lines.as_bytes());
    let mut command = place.command(&["--json", "-x1", "--max-time", "60", "-H", "@fields"]);
    let running = Running::start(command.arg(origin.url("/f")));
    assert!(origin.wait_for_requests(1, std::time::Duration::from_secs(30)));
    for file in ["cmdline", "environ"] {
        let bytes = fs::read(format!("/proc/{}/{file}", running.id())).unwrap_or_default();
        assert_eq!(bytes.is_empty(), cfg!(not(target_os = "linux")), "{file}");
        check_without(file, &bytes, &SECRETS);
    }
    gate.open();
    running.end().ends_with(0);
    place.check("f", 0, MIB);
    let seen = &origin.seen()[0];
    let bearer = format!("Bearer {}", SECRETS[0]);
    assert_eq!(seen.field("authorization"), Some(bearer.as_bytes()));
    assert_eq!(seen.field("x-empty"), Some(&b""[..]));
    assert_eq!(seen.field("cookie"), Some(SECRETS[1].as_bytes()));
}

#[test]
fn a_file_of_fields_that_is_wrong_is_2_and_is_not_repeated() {
    let place = Place::new();
    place.put("binary", b"X: \xff\xfe");
    place.put("large", &[b'x'; 70_000]);
    place.put("wrong", SECRETS[0].as_bytes());
    place.put("range", b"Range: bytes=0-1");
    for file in [
        "@missing", "@binary", "@large", "@wrong", "@range", "@.", "@",
    ] {
        let ran = place
            .tur(&["-H", file, "http://127.0.0.1:9/f"])
            .ends_with(2);
        check_without(file, ran.stderr.as_bytes(), &SECRETS);
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    }
}
