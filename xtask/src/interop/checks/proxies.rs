//! Ways through a proxy: who is asked, by what name, and with which credentials.
//!
//! Read [`CHECKS`]. What a proxy was told stands in its own log.

use anyhow::{Result, ensure};

use super::{Check, check};
use crate::interop::certificates::HIDDEN;
use crate::interop::field::{Ask, FILE, Field};
use crate::interop::servers::{PASSWORD, USER};
use crate::interop::table::Found;

pub(super) const CHECKS: &[Check] = &[
    check("tinyproxy", "plain, with credentials", plain),
    check(
        "tinyproxy",
        "CONNECT, with credentials, HTTP/2 behind it",
        tunnel,
    ),
    check("tinyproxy", "wrong password", wrong_password),
    check(
        "tinyproxy",
        "the origin sees no credentials of the proxy",
        secret,
    ),
    check("tinyproxy", "no_proxy is honoured", exception),
    check(
        "microsocks",
        "the proxy looks the name up (socks5h)",
        by_name,
    ),
    check(
        "microsocks",
        "the name is looked up here (socks5)",
        by_address,
    ),
    check("microsocks", "name and password", with_password),
];

fn plain(field: &Field) -> Result<Found> {
    let proxy = &field.servers.tinyproxy;
    let (url, before) = (field.servers.nginx.plain(FILE), proxy.requests().len());
    let done = field.fetch(&Ask::new(&url).words(["--proxy", &proxy.url(PASSWORD)]))?;
    let seen = proxy.requests().split_off(before);
    let expected = format!("GET {url} HTTP/1.1");
    ensure!(!seen.is_empty(), "the proxy was not asked");
    ensure!(
        seen.iter().all(|line| *line == expected),
        "the proxy saw {seen:?}"
    );
    field.curl(&url, &["--proxy", &proxy.url(PASSWORD)])?;
    Ok(Found::noted(
        done,
        format!("{} requests in its log; curl: right", seen.len()),
    ))
}

fn tunnel(field: &Field) -> Result<Found> {
    let (proxy, nginx) = (&field.servers.tinyproxy, &field.servers.nginx);
    let (url, before) = (nginx.tls(FILE), proxy.requests().len());
    // By the environment, as most users have it.
    let done = field.fetch(&Ask::new(&url).with("https_proxy", proxy.url(PASSWORD)))?;
    ensure!(done.protocol == "h2", "{} was spoken", done.protocol);
    let seen = proxy.requests().split_off(before);
    let expected = format!("CONNECT 127.0.0.1:{} HTTP/1.1", nginx.tls_port());
    ensure!(
        seen.len() as u64 >= done.connections,
        "the proxy saw {} of them",
        seen.len()
    );
    ensure!(
        seen.iter().all(|line| *line == expected),
        "the proxy saw {seen:?}"
    );
    field.curl(&url, &["--proxy", &proxy.url(PASSWORD)])?;
    Ok(Found::noted(
        done,
        format!("{} tunnels in its log; curl: right", seen.len()),
    ))
}

fn wrong_password(field: &Field) -> Result<Found> {
    let proxy = field.servers.tinyproxy.url("wrong");
    for url in [
        field.servers.nginx.plain(FILE),
        field.servers.nginx.tls(FILE),
    ] {
        let said = field.refused(&Ask::new(url).words(["--proxy", &proxy]), 6)?;
        ensure!(!said.contains("wrong"), "it tells the password: {said}");
    }
    Ok(Found::none("exit 6, plain and CONNECT"))
}

fn secret(field: &Field) -> Result<Found> {
    let nginx = &field.servers.nginx;
    let before = nginx.requests().len();
    let proxy = field.servers.tinyproxy.url(PASSWORD);
    let done = field.fetch(&Ask::new(nginx.plain(FILE)).words(["--proxy", &proxy]))?;
    let logged = nginx.requests_since(before, usize::try_from(done.requests)?);
    ensure!(!logged.is_empty(), "nginx was not asked");
    for one in &logged {
        ensure!(
            one.line.contains(r#"authorization="-""#),
            "nginx saw {}",
            one.line
        );
    }
    Ok(Found::right(done))
}

fn exception(field: &Field) -> Result<Found> {
    let proxy = &field.servers.tinyproxy;
    let (url, before) = (field.servers.nginx.plain(FILE), proxy.requests().len());
    // The wrong password would be an error if the proxy were asked at all.
    let ask = Ask::new(&url).with("http_proxy", proxy.url("wrong"));
    field.fetch(&ask.clone().with("no_proxy", "example.org,127.0.0.0/8"))?;
    let done = field.fetch(&ask.clone().words(["--noproxy", "127.0.0.1"]))?;
    ensure!(proxy.requests().len() == before, "the proxy was asked");
    field.refused(&ask.with("no_proxy", "example.org"), 6)?;
    Ok(Found::noted(
        done,
        "no request in its log; without it exit 6",
    ))
}

fn by_name(field: &Field) -> Result<Found> {
    let proxy = &field.servers.open_socks;
    let name = if proxy.knows_hidden() {
        HIDDEN
    } else {
        "localhost"
    };
    let port = field.servers.nginx.tls_port();
    let (url, before) = (
        format!("https://{name}:{port}{FILE}"),
        proxy.destinations().len(),
    );
    let through = proxy.url("socks5h", "");
    let done = field.fetch(&Ask::new(&url).words(["--proxy", &through]))?;
    let seen = proxy.destinations().split_off(before);
    let expected = format!("{name}:{port}");
    ensure!(!seen.is_empty(), "the proxy was not asked");
    ensure!(
        seen.iter().all(|whom| *whom == expected),
        "the proxy was told {seen:?}"
    );
    field.curl(&url, &["--proxy", &through])?;
    let note = match proxy.knows_hidden() {
        true => "a name that only the proxy knows",
        false => {
            "localhost, as the proxy's log has it: no names of its own could be given to it here"
        }
    };
    if proxy.knows_hidden() {
        // Without the proxy nobody knows it: else the check would show nothing.
        field.refused(&Ask::new(&url).words(["--retry", "0"]), 4)?;
    }
    Ok(Found::noted(done, format!("{note}; curl: right")))
}

fn by_address(field: &Field) -> Result<Found> {
    let proxy = &field.servers.open_socks;
    let port = field.servers.nginx.plain_port();
    let before = proxy.destinations().len();
    let ask = Ask::new(format!("http://localhost:{port}{FILE}"));
    let resolve = format!("localhost:{port}:127.0.0.1");
    let words = ["--proxy", &proxy.url("socks5", ""), "--resolve", &resolve];
    let done = field.fetch(&ask.words(words))?;
    let seen = proxy.destinations().split_off(before);
    let expected = format!("127.0.0.1:{port}");
    ensure!(!seen.is_empty(), "the proxy was not asked");
    ensure!(
        seen.iter().all(|whom| *whom == expected),
        "the proxy was told {seen:?}"
    );
    Ok(Found::noted(done, "its log has the address"))
}

fn with_password(field: &Field) -> Result<Found> {
    let (proxy, url) = (&field.servers.locked_socks, field.servers.nginx.plain(FILE));
    let through = |userinfo: &str| proxy.url("socks5h", userinfo);
    let right = through(&format!("{USER}:{PASSWORD}@"));
    let done = field.fetch(&Ask::new(&url).words(["--proxy", &right]))?;
    for userinfo in ["", "visitor:wrong@"] {
        field.refused(&Ask::new(&url).words(["--proxy", &through(userinfo)]), 6)?;
    }
    ensure!(!proxy.destinations().is_empty(), "the proxy was not asked");
    field.curl(&url, &["--proxy", &right])?;
    Ok(Found::noted(
        done,
        "exit 6 without, or with a wrong one; curl: right",
    ))
}
