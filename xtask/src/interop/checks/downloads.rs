//! Whole files, by each protocol that a server speaks; curl gets the same file.
//!
//! Read [`CHECKS`].

use anyhow::{Result, ensure};

use super::{Check, HTTP3, check, needing};
use crate::interop::field::{Ask, Done, FILE, Field};
use crate::interop::table::Found;

pub(super) const CHECKS: &[Check] = &[
    check("nginx", "HTTP/1.1 in clear text", nginx_plain),
    check("nginx", "HTTP/1.1 in TLS", nginx_h1),
    check("nginx", "HTTP/2, agreed in TLS", nginx_h2),
    check("nginx", "HTTP/2 in clear text, --http2", nginx_h2c),
    check("nginx", "one connection, -x 1", nginx_single),
    check(
        "nginx",
        "TLS 1.2 alone, with a client certificate",
        nginx_client,
    ),
    check("caddy", "HTTP/1.1 in clear text", caddy_plain),
    check("caddy", "HTTP/1.1 in TLS", caddy_h1),
    check("caddy", "HTTP/2, agreed in TLS", caddy_h2),
    needing(HTTP3, check("caddy", "HTTP/3, --http3", caddy_h3)),
    needing(
        HTTP3,
        check("gtlsserver", "HTTP/3 of another stack", gtlsserver_h3),
    ),
];

fn nginx_plain(field: &Field) -> Result<Found> {
    both(field, &field.servers.nginx.plain(FILE), "h1", &[])
}

fn nginx_h1(field: &Field) -> Result<Found> {
    both(field, &field.servers.nginx.tls(FILE), "h1", &["--http1.1"])
}

fn nginx_h2(field: &Field) -> Result<Found> {
    both(field, &field.servers.nginx.tls(FILE), "h2", &[])
}

fn nginx_h2c(field: &Field) -> Result<Found> {
    let url = field.servers.nginx.h2c(FILE);
    let done = fetch(field, &url, "h2", &["--http2"])?;
    field.curl(&url, &["--http2-prior-knowledge"])?;
    Ok(Found::noted(done, "curl: right"))
}

fn nginx_single(field: &Field) -> Result<Found> {
    let done = field.fetch(&Ask::new(field.servers.nginx.plain(FILE)).words(["-x", "1"]))?;
    ensure!(done.connections == 1, "{} connections", done.connections);
    Ok(Found::right(done))
}

fn nginx_client(field: &Field) -> Result<Found> {
    let url = field.servers.nginx.clients(FILE);
    let pair = &field.certificates.client;
    let [certificate, key] = [&pair.certificate, &pair.key].map(|path| path.to_string_lossy());
    let done = fetch(field, &url, "h2", &["--cert", &certificate, "--key", &key])?;
    // nginx answers those who show none with a page and status 400.
    field.refused(&Ask::new(&url), 8)?;
    field.curl(&url, &["--cert", &certificate, "--key", &key])?;
    Ok(Found::noted(done, "without it: refused; curl: right"))
}

fn caddy_plain(field: &Field) -> Result<Found> {
    both(field, &field.servers.caddy.plain(FILE), "h1", &[])
}

fn caddy_h1(field: &Field) -> Result<Found> {
    both(field, &field.servers.caddy.tls(FILE), "h1", &["--http1.1"])
}

fn caddy_h2(field: &Field) -> Result<Found> {
    both(field, &field.servers.caddy.tls(FILE), "h2", &[])
}

fn caddy_h3(field: &Field) -> Result<Found> {
    let url = field.servers.caddy.tls(FILE);
    Ok(Found::right(fetch(field, &url, "h3", &[HTTP3])?))
}

/// It knows no ranges, so one stream has to do.
fn gtlsserver_h3(field: &Field) -> Result<Found> {
    let url = field.servers.gtlsserver.url(FILE);
    Ok(Found::right(fetch(field, &url, "h3", &[HTTP3])?))
}

/// The program and curl, which understands the same words.
fn both(field: &Field, url: &str, protocol: &str, words: &[&str]) -> Result<Found> {
    let done = fetch(field, url, protocol, words)?;
    field.curl(url, words)?;
    Ok(Found::noted(done, "curl: right"))
}

fn fetch(field: &Field, url: &str, protocol: &str, words: &[&str]) -> Result<Done> {
    // On a machine that has its server, one connection is enough: so four are asked for, to have ranges.
    let ask = Ask::new(url).words(["-s", "4"]).words(words);
    let done = field.fetch(&ask)?;
    ensure!(
        done.protocol == protocol,
        "{} was spoken instead of {protocol}",
        done.protocol
    );
    ensure!(
        done.wasted <= field.file.size / 8,
        "{} bytes came in vain",
        done.wasted
    );
    Ok(done)
}
