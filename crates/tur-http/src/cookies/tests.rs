//! Who gets which cookie.

use super::*;
use proptest::prelude::*;
use std::format;
use std::string::ToString as _;

const NOW: Wall = Wall::from_unix_secs(1_800_000_000);

fn at(url: &str) -> Target {
    crate::target(url)
        .unwrap_or_else(|error| panic!("{url}: {error}"))
        .0
}

fn sent(jar: &Jar, url: &str) -> String {
    let value = jar.value(&at(url), NOW);
    value.map_or_else(String::new, |value| {
        String::from_utf8_lossy(value.expose()).into_owned()
    })
}

fn set(from: &str, field: &str) -> Jar {
    let mut jar = Jar::new();
    jar.set(&at(from), field.as_bytes(), NOW);
    jar
}

/// Who sets which cookie, and whether it goes along with which request.
const ROWS: [(&str, &str, &str, bool); 36] = [
    (
        "https://a.example/x/y",
        "k=v",
        "https://a.example/x/z",
        true,
    ),
    (
        "https://a.example/x/y",
        "k=v",
        "https://a.example:444/x/",
        true,
    ),
    ("https://a.example/x/y", "k=v", "https://a.example/", false),
    (
        "https://a.example/x/y",
        "k=v",
        "https://a.example/xy",
        false,
    ),
    (
        "https://a.example/x/y",
        "k=v",
        "https://b.a.example/x/z",
        false,
    ),
    (
        "https://a.example/x",
        "k=v; Path=/",
        "https://a.example/q?x=/y",
        true,
    ),
    (
        "https://a.example/x",
        "k=v; path=/d",
        "https://a.example/d/e",
        true,
    ),
    (
        "https://a.example/x",
        "k=v; path=/d",
        "https://a.example/de",
        false,
    ),
    (
        "https://a.example/x",
        "k=v; path=d",
        "https://a.example/q",
        true,
    ),
    (
        "https://b.a.example/",
        "k=v; Domain=.A.example",
        "https://c.a.example/",
        true,
    ),
    (
        "https://b.a.example/",
        "k=v; Domain=a.example",
        "https://aa.example/",
        false,
    ),
    (
        "https://b.a.example/",
        "k=v; Domain=c.a.example",
        "https://c.a.example/",
        false,
    ),
    (
        "https://a.example/",
        "k=v; Domain=b.a.example",
        "https://a.example/",
        false,
    ),
    (
        "https://a.example/",
        "k=v; Domain=example",
        "https://b.example/",
        false,
    ),
    (
        "https://a.co.uk/",
        "k=v; Domain=co.uk",
        "https://b.co.uk/",
        false,
    ),
    (
        "https://a.github.io/",
        "k=v; Domain=github.io",
        "https://b.github.io/",
        false,
    ),
    (
        "https://a.co.uk/",
        "k=v; Domain=a.co.uk",
        "https://b.a.co.uk/",
        true,
    ),
    (
        "http://127.0.0.1/",
        "k=v; Domain=0.0.1",
        "http://127.0.0.1/",
        false,
    ),
    (
        "http://127.0.0.1/",
        "k=v; Domain=127.0.0.1",
        "http://127.0.0.1:81/",
        true,
    ),
    (
        "http://1.127.0.0.1.example/",
        "k=v",
        "http://127.0.0.1/",
        false,
    ),
    (
        "https://a.example/",
        "k=v; Secure",
        "https://a.example/",
        true,
    ),
    (
        "https://a.example/",
        "k=v; Secure",
        "http://a.example/",
        false,
    ),
    (
        "http://a.example/",
        "k=v; Secure",
        "https://a.example/",
        false,
    ),
    (
        "https://a.example/",
        "k=v; HttpOnly; SameSite=Lax",
        "http://a.example/",
        true,
    ),
    (
        "https://a.example/",
        "k=v; Max-Age=1",
        "https://a.example/",
        true,
    ),
    (
        "https://a.example/",
        "k=v; Max-Age=0",
        "https://a.example/",
        false,
    ),
    (
        "https://a.example/",
        "k=v; Max-Age=-9223372036854775808",
        "https://a.example/",
        false,
    ),
    (
        "https://a.example/",
        "k=v; Max-Age=9223372036854775807",
        "https://a.example/",
        true,
    ),
    (
        "https://a.example/",
        "k=v; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "https://a.example/",
        false,
    ),
    (
        "https://a.example/",
        "k=v; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=5",
        "https://a.example/",
        true,
    ),
    (
        "https://a.example/",
        "k=v; Expires=Fri, 01 Jan 2100 00:00:00 GMT",
        "https://a.example/",
        true,
    ),
    (
        "https://a.example/",
        "k=v; Expires=whenever",
        "https://a.example/",
        true,
    ),
    (
        "https://a.example/",
        "__Secure-k=v",
        "https://a.example/",
        false,
    ),
    ("https://a.example/", "=v", "https://a.example/", false),
    ("https://a.example/", "kv", "https://a.example/", false),
    (
        "https://a.example/",
        "k=v\r\nx: y",
        "https://a.example/",
        false,
    ),
];

#[test]
fn a_cookie_goes_to_whom_it_is_for() {
    for (from, field, to, goes) in ROWS {
        let jar = set(from, field);
        let got = sent(&jar, to);
        assert_eq!(
            got.ends_with("k=v"),
            goes,
            "{field} of {from} to {to}: {got:?}"
        );
    }
}

#[test]
fn a_later_one_replaces_an_earlier_one_and_the_past_removes_it() {
    let from = at("https://a.example/");
    let mut jar = set("https://a.example/", "k=1");
    assert!(jar.set(&from, b"k=2", NOW));
    assert!(jar.set(&from, b"l=3; Path=/d", NOW));
    assert_eq!(sent(&jar, "https://a.example/d"), "l=3; k=2");
    assert!(jar.set(&from, b"k=; Max-Age=0", NOW));
    assert_eq!(sent(&jar, "https://a.example/d"), "l=3");
    let later = Wall::from_unix_secs(NOW.unix_secs() + 10);
    let jar = set("https://a.example/", "k=1; Max-Age=10");
    assert!(jar.value(&from, later).is_none());
}

#[test]
fn what_the_user_gives_is_for_one_origin() {
    let mut jar = Jar::new();
    let count = jar.give(
        &at("https://a.example/x").origin,
        &"a=1; b=\"2 3\";; c".into(),
    );
    assert_eq!(count, 2);
    assert_eq!(sent(&jar, "https://a.example/any"), "a=1; b=\"2 3\"");
    for other in [
        "http://a.example/",
        "https://a.example:444/",
        "https://b.a.example/",
    ] {
        assert_eq!(sent(&jar, other), "", "{other}");
    }
}

#[test]
fn a_cookie_file_is_read() {
    let file = "# Netscape HTTP Cookie File\r\n\n\
        #HttpOnly_.a.example\tTRUE\t/\tTRUE\t0\tsession\ts3cret\r\n\
        a.example\tFALSE\t/d\tFALSE\t1900000000.5\tk\tv w\n\
        a.example\tFALSE\t/\tFALSE\t1\told\tx\n\
        .com\tTRUE\t/\tFALSE\t0\twide\tx\n\
        a.example\tFALSE\t/\tFALSE\t0\tempty\n\
        .bücher.test\tTRUE\t/\tFALSE\t0\tname\tv\n";
    let mut jar = Jar::new();
    let file = CookieFile::parse(file).expect("each line is sound");
    jar.take(&file, NOW);
    assert_eq!(
        sent(&jar, "https://a.example/d/e"),
        "k=v w; session=s3cret; empty="
    );
    assert_eq!(sent(&jar, "http://a.example/"), "empty=");
    assert_eq!(sent(&jar, "https://b.a.example/"), "session=s3cret");
    assert_eq!(sent(&jar, "https://b.com/"), "");
    assert_eq!(sent(&jar, "https://a.bücher.test/"), "name=v");
    assert!(!format!("{jar:?} {file:?}").contains("s3cret"));
}

#[test]
fn a_line_of_a_file_that_is_no_cookie_is_told_with_what_is_wrong_in_it() {
    let long = format!("a\tTRUE\t/\tTRUE\t0\tk\t{}", "s3cret".repeat(700));
    for (bad, what) in [
        ("a.example TRUE / FALSE 0 k s3cret", "seven fields"),
        ("a\tTRUE\t/\tTRUE\t0", "seven fields"),
        ("<html>", "seven fields"),
        ("a\tTRUE\t/\tTRUE\tsoon\tk\ts3cret", "the expiry"),
        ("a\tTRUE\t/\tTRUE\t\tk\ts3cret", "the expiry"),
        ("a\tTRUE\t/\tTRUE\t0\tk\ts3cret\u{1}", "a control character"),
        ("a\tTRUE\t/\tTRUE\t0\tk\ts3cret\tx", "a control character"),
        ("a\tTRUE\t/\tTRUE\t0\tk\ts3;cret", "a semicolon"),
        ("a\tTRUE\t/\tTRUE\t0\tk;\ts3cret", "a semicolon"),
        ("a\tTRUE\t/\tTRUE\t0\t\ts3cret", "no name"),
        ("\tTRUE\t/\tTRUE\t0\tk\ts3cret", "no domain"),
        ("a\tTRUE\tb\tTRUE\t0\tk\ts3cret", "the path"),
        (&long, "more bytes"),
    ] {
        let error = CookieFile::parse(&format!("# x\n{bad}")).expect_err(bad);
        let text = error.to_string();
        assert!(
            text.starts_with("line 2: ") && text.contains(what),
            "{text}"
        );
        assert!(!text.contains("s3"), "{text}");
    }
}

#[test]
fn an_expiry_beyond_counting_is_never_and_one_before_is_past() {
    let far = "a.example\tFALSE\t/\tFALSE\t99999999999999999999\tk\tv\n";
    let mut jar = Jar::new();
    jar.take(&CookieFile::parse(far).expect("it is sound"), NOW);
    assert_eq!(sent(&jar, "https://a.example/"), "k=v");
    let from = "https://a.example/";
    let jar = set(
        from,
        "k=v; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=99999999999999999999",
    );
    assert_eq!(sent(&jar, from), "k=v");
    let jar = set(from, "k=v; Max-Age=-99999999999999999999");
    assert_eq!(sent(&jar, from), "");
}

#[test]
fn a_jar_is_bounded() {
    let mut jar = Jar::new();
    let from = at("https://a.example/");
    for n in 0..COOKIES_PER_DOMAIN_MAX + 5 {
        assert!(jar.set(&from, format!("k{n}=v").as_bytes(), NOW));
    }
    assert_eq!(jar.cookies.len(), COOKIES_PER_DOMAIN_MAX);
    assert!(
        !sent(&jar, "https://a.example/").contains("k4=")
            && sent(&jar, "https://a.example/").contains("k5=")
    );
    for n in 0..COOKIES_MAX + 5 {
        jar.set(&at(&format!("https://h{n}.example/")), b"k=v", NOW);
    }
    assert_eq!(jar.cookies.len(), COOKIES_MAX);
    assert!(!jar.set(
        &from,
        format!("k={}", "x".repeat(COOKIE_BYTES_MAX)).as_bytes(),
        NOW
    ));
    let mut wide = Jar::new();
    for n in 0..9 {
        assert!(wide.set(&from, format!("k{n}={}", "x".repeat(4_000)).as_bytes(), NOW));
    }
    assert!(sent(&wide, "https://a.example/").len() <= FIELD_BYTES_MAX);
}

proptest! {
    #[test]
    fn no_field_panics_or_leaves_its_host(field in "(k=v|; ?(Domain|Path|Max-Age|Expires|Secure)=?|[a-z.=;/ 0-9-]){0,12}") {
        let jar = set("https://a.b.example/x", &field);
        prop_assert_eq!(sent(&jar, "https://other.org/x"), "");
        prop_assert_eq!(sent(&jar, "https://c.example/x"), "");
    }

    #[test]
    fn no_file_panics(file in "([a.]+\tTRUE\t/\tFALSE\t[0-9]{1,3}\t|[a-z\t\n#.]){0,9}") {
        match CookieFile::parse(&file) {
            Ok(file) => Jar::new().take(&file, NOW),
            Err(error) => prop_assert!(error.line <= file.lines().count()),
        }
    }
}
