//! What `Alt-Svc` says, in a table, and what it never does.

use std::borrow::ToOwned;
use std::string::ToString;
use std::vec;

use proptest::prelude::*;
use tur_core::BodyKind;

use super::*;

fn of(status: u16, lines: &[&[u8]]) -> Option<Advert> {
    let fields: Vec<(&str, &[u8])> = lines.iter().map(|line| ("ALT-Svc", *line)).collect();
    advert(&Head {
        status,
        reason: "",
        fields: &fields,
        body: BodyKind::Marked,
    })
}

/// `HOST:PORT SECONDS`, with `!` for one that persists; `-` for a withdrawal, `?` for nothing.
fn shown(advert: Option<Advert>) -> String {
    match advert {
        None => "?".to_owned(),
        Some(Advert::Withdrawn) => "-".to_owned(),
        Some(Advert::Http3(offer)) => {
            let secs = offer.max_age.as_secs();
            let mark = if offer.persist { "!" } else { "" };
            alloc::format!("{} {secs}{mark}", offer.alternative)
        }
    }
}

#[test]
fn what_is_said() {
    for (line, said) in [
        (r#"h3=":443""#, ":443 86400"),
        (r#"h3=":443"; ma=3600"#, ":443 3600"),
        (r#"h3=":443";ma=3600;persist=1"#, ":443 3600!"),
        (r#"h3=":443"; persist=2; new=x"#, ":443 86400"),
        (r#"h3=":443"; MA="60"; v="46,43""#, ":443 60"),
        (r#"h3="alt.Example.:8443"; ma=5"#, "alt.example:8443 5"),
        (r#"h3="[2001:DB8::1]:443""#, "[2001:db8::1]:443 86400"),
        (r#"h3="192.0.2.1:443""#, "192.0.2.1:443 86400"),
        // With the dots it would be a name, and without them an address, or nothing.
        (r#"h3="192.0.2.1..:443""#, "192.0.2.1:443 86400"),
        (r#"h3="0..2...:443""#, "?"),
        (r#"h3="..:443""#, "?"),
        // The first that can be read, whatever stands before it.
        (r#"h2=":443", h3-29=":1", h3=":2", h3=":3""#, ":2 86400"),
        (r#"h3="a,b:1", h3=":0", h3=":65536", h3=":2""#, ":2 86400"),
        (r#"h3="no port", , x, h3=":443"; ma"#, "?"),
        (r#"w=":1"; ma=x, h3=":7""#, ":7 86400"),
        // Percent-encoded names (section 3): `h3`, and one with a quote in it.
        (r#"%683=":443", h%22=":1""#, ":443 86400"),
        (r#"h3=":\4\43"; ma=1"#, ":443 1"),
        (r#"h2=":443""#, "-"),
        ("clear", "-"),
        (" clear ", "-"),
        (r#"h3=":443", clear"#, "-"),
        // Case-sensitive, and no service.
        ("CLEAR", "?"),
        (r#""clear""#, "?"),
        (r#"h3=:443"#, "?"),
        (r#"h3=":443"#, "?"),
        (r#"h3=":443"x"#, "?"),
        (r#"h3=":443\"#, "?"),
        (r#"h 3=":443""#, "?"),
        (r#"h3="a%2eb:443""#, "?"),
        (r#"h3="a b:443""#, "?"),
        (r#"h3=":+443""#, "?"),
        (r#"h3=":443"; ma=-1"#, "?"),
        (r#"h3=":443"; ma="#, "?"),
        (r#"h3=":443"; ma=0"#, ":443 0"),
        // Numbers of any length, bounded.
        (
            r#"h3=":443"; ma=99999999999999999999999999"#,
            ":443 2592000",
        ),
        ("", "?"),
    ] {
        assert_eq!(shown(of(200, &[line.as_bytes()])), said, "{line}");
    }
}

#[test]
fn lines_are_one_list_and_a_421_says_nothing() {
    let h3: &[u8] = br#"h3=":443""#;
    assert_eq!(shown(of(404, &[br#"h2=":1""#, h3])), ":443 86400");
    assert_eq!(shown(of(200, &[h3, b"clear"])), "-");
    assert_eq!(of(421, &[h3]), None);
    assert_eq!(of(200, &[]), None);
}

#[test]
fn it_is_bounded() {
    let h3: &[u8] = br#"h3=":443""#;
    let long = [h3, &vec![b' '; BYTES_MAX]].concat();
    assert_eq!(of(200, &[&long]), None);
    let mut lines = vec![&b"x"[..]; LINES_MAX];
    lines.push(h3);
    assert_eq!(of(200, &lines), None);
    let host = "a".repeat(HOST_BYTES_MAX + 1);
    let line = alloc::format!(r#"h3="{host}:443""#);
    assert_eq!(of(200, &[line.as_bytes()]), None);
}

proptest! {
    /// What was written is what is read.
    #[test]
    fn a_written_offer_is_read(
        host in proptest::option::of("[a-z][a-z0-9]{0,20}(\\.[a-z]{1,9}){0,3}"),
        port in 1_u16..,
        secs in 0_u64..AGE_MAX.as_secs(),
        persist: bool,
        before in "[a-z0-9]{4,8}",
    ) {
        let offer = Offer {
            alternative: Alternative { host, port },
            max_age: Duration::from_secs(secs),
            persist,
        };
        let flag = if persist { "; persist=1" } else { "" };
        let line = alloc::format!(r#"{before}=":1", h3="{}"; ma={secs}{flag}"#, offer.alternative);
        prop_assert_eq!(of(200, &[line.as_bytes()]), Some(Advert::Http3(offer)));
    }

    /// Whatever comes, what is read is in the form that the rest relies on.
    #[test]
    fn anything_is_read_without_a_panic(
        line in proptest::collection::vec(
            prop_oneof![
                any::<u8>().prop_map(|byte| vec![byte]),
                "[h3=\":;,\\\\ %a.\\[\\]0-9]{1,6}".prop_map(String::into_bytes),
                Just(br#"h3=""#.to_vec()),
                Just(br#":443""#.to_vec()),
                Just(b"; ma=".to_vec()),
            ],
            0..20,
        ),
    ) {
        if let Some(Advert::Http3(offer)) = of(200, &[&line.concat()]) {
            prop_assert!(offer.max_age <= AGE_MAX && offer.alternative.port != 0);
            if let Some(host) = offer.alternative.host {
                let again = Host::parse(&host).map(|host| host.to_string());
                prop_assert_eq!(again.as_deref(), Ok(host.as_str()));
            }
        }
    }
}
