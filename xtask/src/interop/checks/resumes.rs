//! Going on: after a kill, with a file that is complete, with one that has changed.
//!
//! Read [`CHECKS`].
#![expect(
    clippy::disallowed_methods,
    reason = "it changes a file that servers serve; nothing here is part of tur"
)]

use anyhow::{Result, ensure};

use super::{Check, check};
use crate::interop::field::{Ask, FILE, Field, NAME};
use crate::interop::table::Found;
use crate::kill::bound;

pub(super) const CHECKS: &[Check] = &[
    check("nginx", "kill -9 in the middle, HTTP/1.1", killed_h1),
    check("nginx", "kill -9 in the middle, HTTP/2", killed_h2),
    check("nginx", "complete already: no second body", complete),
    check("caddy", "complete already: no second body", complete_caddy),
];

/// Connections of what is killed.
const LANES: u16 = 4;

/// What may wait in the buffers of a connection's two sockets when its reader dies: nginx counts it as sent.
const SOCKET: u64 = 512 << 10;

fn killed_h1(field: &Field) -> Result<Found> {
    killed(field, &field.servers.nginx.plain("/slow/file.bin"))
}

fn killed_h2(field: &Field) -> Result<Found> {
    killed(field, &field.servers.nginx.tls("/slow/file.bin"))
}

/// Killed at about half of the file, and run again.
fn killed(field: &Field, url: &str) -> Result<Found> {
    let nginx = &field.servers.nginx;
    let before = nginx.requests().len();
    let lanes = LANES.to_string();
    let ask = Ask::new(url)
        .words(["-x", &lanes, "-s", &lanes])
        .in_folder(&field.folder()?);
    field.start(&ask)?.kill_at(field.file.size / 2)?;
    let done = field.fetch(&ask)?;
    ensure!(
        done.resumed + bound(LANES) >= field.file.size / 2,
        "of {} bytes {} were kept",
        field.file.size / 2,
        done.resumed
    );
    let wanted = usize::from(LANES) + usize::try_from(done.requests)?;
    let logged = nginx.requests_since(before, wanted);
    let sent: u64 = logged.iter().map(|one| one.sent).sum();
    let twice = sent.saturating_sub(field.file.size);
    ensure!(
        twice <= bound(LANES) + u64::from(LANES) * SOCKET,
        "{twice} bytes came twice"
    );
    let note = format!(
        "kept {} KiB; sent twice by nginx, with what was in sockets: {} KiB",
        done.resumed >> 10,
        twice >> 10
    );
    Ok(Found::noted(done, note))
}

fn complete(field: &Field) -> Result<Found> {
    let nginx = &field.servers.nginx;
    let ask = Ask::new(nginx.plain(FILE)).in_folder(&field.folder()?);
    field.fetch(&ask)?;
    let before = nginx.requests().len();
    let done = field.fetch(&ask)?;
    let logged = nginx.requests_since(before, 1);
    let sent: u64 = logged.iter().map(|one| one.sent).sum();
    ensure!(sent <= 1 << 10, "{sent} bytes were sent once more");
    let note = format!("{} request, {sent} B of body", logged.len());
    Ok(Found::noted(done, note))
}

fn complete_caddy(field: &Field) -> Result<Found> {
    let folder = field.folder()?;
    let ask = Ask::new(field.servers.caddy.tls(FILE)).in_folder(&folder);
    field.fetch(&ask)?;
    let inode = || std::fs::metadata(folder.join(NAME)).and_then(|of| of.modified());
    let before = inode()?;
    let done = field.fetch(&ask)?;
    ensure!(before == inode()?, "the file was written anew");
    Ok(Found::right(done))
}
