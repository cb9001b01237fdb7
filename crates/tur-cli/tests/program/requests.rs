//! What is sent: fields, credentials, and to whom.

use tur_testkit::{Behaviour, Deed, Loopback, When};

use crate::harness::Place;

#[test]
fn fields_are_sent_once_and_replace_ours() {
    let origin = Loopback::start([("/f", Behaviour::new(5_000))]);
    let place = Place::new();
    let url = origin.url("/f");
    place
        .tur(&[
            "-H",
            "X-One: 1",
            "-H",
            "X-Empty;",
            "-U",
            "agent/1",
            "-e",
            "http://r/",
            "-u",
            "me:pa:ss",
            &url,
        ])
        .ends_with(0);
    place.check("f", 0, 5_000);
    let seen = &origin.seen()[0];
    for (name, value) in [
        ("x-one", &b"1"[..]),
        ("x-empty", b""),
        ("user-agent", b"agent/1"),
        ("referer", b"http://r/"),
        ("authorization", b"Basic bWU6cGE6c3M="),
    ] {
        let values: Vec<_> = seen
            .fields
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| &v[..])
            .collect();
        assert_eq!(values, [value], "{name}");
    }
    place
        .tur(&["-o", "g", "-H", "user-agent: mine", &url])
        .ends_with(0);
    place.check("g", 0, 5_000);
    let seen = &origin.seen()[1];
    let agents = seen.fields.iter().filter(|(name, _)| name == "user-agent");
    assert_eq!(
        agents.map(|(_, value)| &value[..]).collect::<Vec<_>>(),
        [b"mine"]
    );
}

#[test]
fn without_flags_the_agent_is_ours() {
    let origin = Loopback::start([("/f", Behaviour::new(5_000))]);
    let place = Place::new();
    place.tur(&[&origin.url("/f")]).ends_with(0);
    place.check("f", 0, 5_000);
    let agent = format!("tur/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(origin.seen()[0].field("user-agent"), Some(agent.as_bytes()));
}

#[test]
fn secrets_go_to_the_first_origin_only_and_are_never_said() {
    let second = Loopback::start([("/g", Behaviour::new(1 << 20))]);
    let location = second.url("/g");
    let behaviour = Behaviour::new(0).rule(
        When::Always,
        Deed::Redirect {
            status: 302,
            location,
        },
    );
    let first = Loopback::start([("/f", behaviour)]);
    let place = Place::new();
    let args = [
        "-vv",
        "--json",
        "-u",
        "me:hunter2",
        "-H",
        "X-Token: hunter3",
    ];
    let url = first.url("/f").replace("http://", "http://you:hunter4@");
    let ran = place.tur(&[&args[..], &[&url]].concat()).ends_with(0);
    place.check("f", 0, 1 << 20);
    let absent = first
        .url("/absent")
        .replace("http://", "http://you:hunter4@");
    let failed = place.tur(&[&args[..], &[&absent]].concat()).ends_with(8);
    for text in [&ran.stdout, &ran.stderr, &failed.stdout, &failed.stderr] {
        assert!(!text.contains("hunter") && !text.contains("bWU6"), "{text}");
    }
    assert_eq!(first.seen()[0].field("x-token"), Some(&b"hunter3"[..]));
    assert_eq!(
        first.seen()[0].field("authorization"),
        Some(&b"Basic bWU6aHVudGVyMg=="[..])
    );
    for seen in second.seen() {
        assert_eq!(
            (seen.field("x-token"), seen.field("authorization")),
            (None, None)
        );
    }
}
