//! What HTTP messages mean to a downloader, as pure functions.
//!
//! [`read`] turns the head of an answer into facts, [`admit`] compares those facts with the identity of the file and
//! is the only way to an [`Admitted`], [`Terms`] are what the user demands beside that, [`challenge`] tells a page that
//! comes instead of the file, [`follow`] resolves a redirect, [`target`] reads a URL, [`SafeName`] is the only
//! kind of file name made from bytes of the network, [`Proxies`] choose the proxy for an origin, and [`printable`] is how such
//! bytes reach a terminal.
//!
//! Read [`admit`] first: it holds the rules that keep two versions of a file apart.
//!
//! What is absent: no clock, no socket, no file, no retry. The crate is `no_std` + `alloc`, and no input makes it panic.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod admit;
mod alt_svc;
mod asides;
mod basic;
mod challenge;
mod cookies;
mod date;
mod digest;
mod disposition;
mod fields;
mod host;
mod hosts;
mod name;
mod netrc;
mod no_proxy;
mod percent;
mod printable;
mod proxy;
mod read;
mod redirect;
mod schemes;
mod terms;
mod url;

pub use crate::admit::{Admitted, Asked, admit};
pub use crate::basic::basic;
pub use crate::challenge::{
    LOOK_BYTES_MAX, Sight, challenge, may_be_page, may_challenge, names_a_file,
};
pub use crate::cookies::{
    COOKIE_BYTES_MAX, COOKIES_MAX, COOKIES_PER_DOMAIN_MAX, CookieFile, CookieLineError, Jar,
};
pub use crate::date::{http_date, retry_after};
pub use crate::digest::DigestAuth;
pub use crate::host::is_host;
pub use crate::hosts::{HostEntry, HostEntryError};
pub use crate::name::{NAME_BYTES_MAX, SafeName};
pub use crate::netrc::{NETRC_BYTES_MAX, Netrc, NetrcError};
pub use crate::no_proxy::NoProxy;
pub use crate::printable::{PRINTABLE_CHARS_MAX, is_hidden, printable};
pub use crate::proxy::{Proxies, ProxiesError, Proxy, ProxyError, ProxyKind};
pub use crate::read::{Head, read};
pub use crate::redirect::{Hop, RedirectPolicy, follow};
pub use crate::terms::{Coding, Terms, TypeGlob, TypeGlobError, is_surprising_page};
pub use crate::url::{URL_BYTES_MAX, UrlError, Userinfo, referer, target};
