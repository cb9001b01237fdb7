//! Who asks: credentials where they belong and nowhere else, certificates that nobody vouches for.
//!
//! Read [`CHECKS`]. What the other origin saw stands in nginx's own log.
#![expect(
    clippy::disallowed_methods,
    reason = "it writes files for the program; nothing here is part of tur"
)]

use anyhow::{Context, Result, ensure};

use super::{Check, check};
use crate::interop::field::{Ask, FILE, Field};
use crate::interop::servers::{PASSWORD, USER};
use crate::interop::table::Found;

pub(super) const CHECKS: &[Check] = &[
    check("nginx", "404", not_found),
    check("nginx", "Basic: none, wrong, right", basic),
    check("nginx", "Basic, from a netrc file", netrc),
    check(
        "nginx",
        "redirect to another origin shows it nothing",
        redirected,
    ),
    check("nginx", "redirect from https to http", downgraded),
    check(
        "nginx",
        "a redirect leads to who wants a client certificate",
        led_to_clients,
    ),
    check("nginx", "an authority that nobody trusts", distrusted),
    check("nginx", "TLS 1.3 demanded where 1.2 is spoken", too_old),
    check("caddy", "SSLKEYLOGFILE has the keys", keys),
];

fn not_found(field: &Field) -> Result<Found> {
    field.refused(&Ask::new(field.servers.nginx.plain("/no-such")), 8)?;
    Ok(Found::none("exit 8"))
}

fn basic(field: &Field) -> Result<Found> {
    let ask = Ask::new(field.servers.nginx.plain("/locked/file.bin"));
    field.refused(&ask, 6)?;
    field.refused(&ask.clone().words(["-u", "visitor:wrong"]), 6)?;
    let pair = format!("{USER}:{PASSWORD}");
    let done = field.fetch(&ask.words(["-u", &pair]))?;
    Ok(Found::noted(done, "exit 6 without"))
}

fn netrc(field: &Field) -> Result<Found> {
    let file = field.folder()?.join("netrc");
    let text = format!("machine 127.0.0.1 login {USER} password {PASSWORD}\n");
    std::fs::write(&file, text)?;
    let ask = Ask::new(field.servers.nginx.plain("/locked/file.bin"));
    let file = file.to_string_lossy().into_owned();
    Ok(Found::right(
        field.fetch(&ask.words(["--netrc-file", &file]))?,
    ))
}

fn redirected(field: &Field) -> Result<Found> {
    let nginx = &field.servers.nginx;
    let before = nginx.requests().len();
    let secrets = [
        "who:hunter2",
        "id=hunter3",
        "X-Secret: hunter4",
        "http://a/hunter5",
    ];
    let [pair, cookie, header, referer] = secrets;
    let words = ["-u", pair, "-b", cookie, "-H", header, "-e", referer];
    let done = field.fetch(&Ask::new(nginx.plain("/away")).words(words))?;
    let logged = nginx.requests_since(before, usize::try_from(done.requests)?);
    let of = |port| logged.iter().filter(move |one| one.port == port);
    let first = of(nginx.plain_port())
        .next()
        .context("the first origin was not asked")?;
    // `who:hunter2` in Base64 (RFC 7617 §2).
    let shown = ["d2hvOmh1bnRlcjI=", "id=hunter3", "hunter4", "hunter5"];
    for secret in shown {
        ensure!(
            first.line.contains(secret),
            "the first origin did not see {secret}"
        );
    }
    let others: Vec<_> = of(nginx.other_port()).collect();
    ensure!(
        others
            .iter()
            .any(|one| one.status == 206 || one.status == 200),
        "it was not followed"
    );
    for other in &others {
        ensure!(
            !other.line.contains("hunter")
                && other
                    .line
                    .contains(r#"authorization="-" cookie="-" secret="-" referer="-""#),
            "the other origin saw {}",
            other.line
        );
    }
    let note = format!(
        "{} requests there, none with a secret in its log",
        others.len()
    );
    Ok(Found::noted(done, note))
}

fn downgraded(field: &Field) -> Result<Found> {
    let ask = Ask::new(field.servers.nginx.tls("/away"));
    field.refused(&ask, 13)?;
    let done = field.fetch(&ask.words(["--allow-downgrade"]))?;
    Ok(Found::noted(done, "exit 13 without --allow-downgrade"))
}

/// It is shown to the first origin alone, so the other one refuses: with a page and status 400, as nginx does.
fn led_to_clients(field: &Field) -> Result<Found> {
    let pair = &field.certificates.client;
    let [certificate, key] = [&pair.certificate, &pair.key].map(|path| path.to_string_lossy());
    let ask = Ask::new(field.servers.nginx.tls("/clients"));
    field.refused(&ask.words(["--cert", &certificate, "--key", &key]), 8)?;
    Ok(Found::none("exit 8: none was shown there"))
}

fn distrusted(field: &Field) -> Result<Found> {
    // The server's own certificate vouches for nobody.
    let other = field
        .certificates
        .client
        .certificate
        .to_string_lossy()
        .into_owned();
    let ask = Ask::new(field.servers.nginx.tls(FILE)).words(["--ca-file", &other]);
    field.refused(&ask, 5)?;
    let done = field.fetch(&ask.words(["--insecure"]))?;
    Ok(Found::noted(done, "exit 5 without --insecure"))
}

fn too_old(field: &Field) -> Result<Found> {
    let ask = Ask::new(field.servers.nginx.clients(FILE)).words(["--tls-min", "1.3"]);
    field.refused(&ask, 5)?;
    Ok(Found::none("exit 5"))
}

fn keys(field: &Field) -> Result<Found> {
    let file = field.folder()?.join("keys");
    let ask = Ask::new(field.servers.caddy.tls(FILE)).with("SSLKEYLOGFILE", file.to_string_lossy());
    let done = field.fetch(&ask)?;
    let text = std::fs::read_to_string(&file)?;
    let lines = text
        .lines()
        .filter(|line| line.starts_with("CLIENT_TRAFFIC_SECRET_0 "))
        .count();
    ensure!(
        lines as u64 >= done.connections,
        "keys of {lines} connections"
    );
    Ok(Found::noted(done, format!("keys of {lines} connections")))
}
