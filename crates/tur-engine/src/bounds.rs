//! Every bound on what a server can make this engine take, hold or wait for, in one place.
//!
//! Each constant is decided where it is enforced and only named here. Bounds that a caller may set have their default
//! here. What comes above a bound is a failure of kind `limit`, unless the constant says otherwise.

use std::time::Duration;

pub use tur_http::{NAME_BYTES_MAX as NAME_BYTES, URL_BYTES_MAX as URL_BYTES};
pub use tur_net::{
    CHUNK_EXTENSION_BYTES_MAX as CHUNK_EXTENSION_BYTES, FIELDS_MAX as HEAD_FIELDS,
    HEAD_BYTES_MAX as HEAD_BYTES, INTERIM_BYTES_MAX as INTERIM_BYTES,
    INTERIM_MAX as INTERIM_ANSWERS, PROXY_HEAD_BYTES_MAX as PROXY_HEAD_BYTES,
};
pub use tur_sched::{LEAD_MAX as LEAD_BYTES, REDIRECTS_MAX as REDIRECTS};
pub use tur_storage::JOURNAL_BYTES_MAX as JOURNAL_BYTES;

/// Most bytes of a body that nobody wants (a redirect's, a refusal's) that are read to keep its connection. Behind them,
/// or if they are not there yet, the connection is closed; that is no failure.
pub const REDIRECT_BODY_BYTES: usize = 64 * 1024;

/// Limit for name resolution, connect and TLS together, unless it is set. A failure of kind `network`.
pub const CONNECT_TIMEOUT: Duration = tur_net::CONNECT_TIMEOUT;

/// Limit for the whole head of an answer, interim answers with it, counted from the request; and for the silence of a
/// body, unless it is set. A failure of kind `network`.
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Most origins that are remembered; the one noted longest ago makes room.
pub const ORIGINS: usize = tur_sched::OriginMemory::ORIGINS_MAX;

/// What was noted of an origin longer ago is forgotten.
pub const ORIGIN_AGE: Duration = tur_sched::OriginMemory::AGE_MAX;

/// Most characters of a text from the network that reach a terminal.
pub const MESSAGE_CHARS: usize = tur_http::PRINTABLE_CHARS_MAX;

/// Most lanes that one file may be given.
pub const LANES: u16 = 256;

/// Most lanes of one file, unless it is given another number. How many of them work is found by measurement.
pub const LANES_DEFAULT: u16 = 32;

/// Most connections to one origin, unless a number is given. A download with more lanes raises it.
pub const CONNECTIONS_PER_ORIGIN: usize = 32;

/// Most connections of a downloader, unless a number is given.
pub const CONNECTIONS: usize = 128;

/// Most commands of one peer that wait for their turn, unless a number is given: so many urgent ones, and so many others.
pub const PEER_QUEUE: usize = 32;

/// A fetch that has brought nothing for so long is told to be slow, unless a time is given. It goes on.
pub const SLOW_AFTER: Duration = Duration::from_secs(2);

/// Most bytes of a fetch that are kept in memory for a caller who has not said how many.
pub const BUFFERED_BYTES: u64 = 64 * 1024 * 1024;

/// Most cookies that a download keeps; the oldest make room.
pub const COOKIES: usize = tur_http::COOKIES_MAX;

/// Most cookies of one domain.
pub const COOKIES_PER_DOMAIN: usize = tur_http::COOKIES_PER_DOMAIN_MAX;

/// Longer cookies are not taken: bytes of name and value.
pub const COOKIE_BYTES: usize = tur_http::COOKIE_BYTES_MAX;

/// First bytes of a body that are looked into where it may be a page instead of the file.
pub const LOOK_BYTES: usize = tur_http::LOOK_BYTES_MAX;
