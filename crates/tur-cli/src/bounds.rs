//! The bounds that the program sets itself, and the section of `--help` that lists all of them.
//!
//! [`LIMITS`] is for people; the test below compares each figure in it with the constant that decides.

/// Most bytes of a file of request fields (`-H @FILE`). A failure of kind `usage`.
pub(crate) const FIELD_FILE_BYTES: u64 = 64 << 10;

/// Most bytes of a netrc file, a file of cookies or one with a token. A failure of kind `usage`.
pub(crate) const SIGN_IN_FILE_BYTES: u64 = 1 << 20;

/// Most bytes of certificates and keys (`--ca-file`, `--cert`, `--key`) that are read of each file. A bundle of a system has about 200 KiB.
pub(crate) const CA_FILE_BYTES: u64 = 16 << 20;

/// Most bytes of a list (`-i`). It is checked as a whole before anything begins, and kept in memory. A failure of kind
/// `usage`, as those below.
pub(crate) const LIST_BYTES: u64 = 64 << 20;

/// Most bytes of a line of a list.
pub(crate) const LIST_LINE_BYTES: u64 = 128 << 10;

/// Most options of an entry of a list.
pub(crate) const ITEM_OPTIONS: usize = 256;

/// The bounds, one a line.
pub(crate) const LIMITS: &str = "\
Limits, with their defaults; within them a server cannot make tur hold more than 64 MiB:
    header section            256 KiB and 1024 fields; exit 14
    interim (1xx) answers     100, and 64 KiB of fields; exit 14
    redirects                 20; exit 14
    body of a redirect        64 KiB are read, then the connection is closed
    trailers                  as a header section; exit 7
    chunk extensions          16 KiB in a body; exit 7
    proxy's answer to CONNECT 16 KiB; exit 14
    URL                       64 KiB
    derived file name         200 bytes
    connections               32 for a file (-x, 256 at most), 32 to a server (--max-per-origin),
                              128 in all (--max-connections)
    connect and TLS           10 s (--connect-timeout)
    header section as a whole 30 s (--read-timeout), counted from the request
    silence of a body         30 s (--read-timeout)
    retries without progress  5 (--retry)
    longest Retry-After       60 s (--max-wait); exit 8
    network away              1 h
    journal                   16 MiB are read
    servers remembered        1000, for 90 days
    file of -H @FILE          64 KiB
    netrc and cookie files    1 MiB
    cookies                   1024, 64 of a domain, 4096 bytes each
    list (-i)                 64 MiB, 128 KiB a line, 256 options of a URL
    shown of a text           500 characters of what a server wrote";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tur_engine::{RetryPolicy, bounds};

    use super::*;

    /// `256 KiB`, `16 MiB`, or the number.
    fn size(bytes: u64) -> String {
        match (bytes >> 20 << 20 == bytes, bytes >> 10 << 10 == bytes) {
            (true, _) => format!("{} MiB", bytes >> 20),
            (_, true) => format!("{} KiB", bytes >> 10),
            _ => format!("{bytes} bytes"),
        }
    }

    fn time(time: Duration) -> String {
        match time.as_secs() {
            hours if hours % 3_600 == 0 => format!("{} h", hours / 3_600),
            seconds => format!("{seconds} s"),
        }
    }

    type Row = (&'static str, String);

    /// What a server may send.
    fn sizes() -> Vec<Row> {
        vec![
            (
                "header section  ",
                format!(
                    "{} and {} fields;",
                    size(bounds::HEAD_BYTES as u64),
                    bounds::HEAD_FIELDS
                ),
            ),
            (
                "interim (1xx) answers",
                format!(
                    "{}, and {} of fields",
                    bounds::INTERIM_ANSWERS,
                    size(bounds::INTERIM_BYTES as u64)
                ),
            ),
            ("redirects", format!("{};", bounds::REDIRECTS)),
            (
                "body of a redirect",
                format!("{} are read", size(bounds::REDIRECT_BODY_BYTES as u64)),
            ),
            (
                "chunk extensions",
                format!("{} in a body", size(bounds::CHUNK_EXTENSION_BYTES as u64)),
            ),
            (
                "proxy's answer to CONNECT",
                size(bounds::PROXY_HEAD_BYTES as u64),
            ),
            ("URL", size(bounds::URL_BYTES as u64)),
            ("derived file name", size(bounds::NAME_BYTES as u64)),
        ]
    }

    /// What tur takes, waits for and remembers.
    fn numbers() -> Vec<Row> {
        let retry = RetryPolicy::default();
        vec![
            (
                "connections",
                format!(
                    "{} for a file (-x, {} at most), {} to a server",
                    bounds::LANES_DEFAULT,
                    bounds::LANES,
                    bounds::CONNECTIONS_PER_ORIGIN
                ),
            ),
            ("  ", format!("{} in all", bounds::CONNECTIONS)),
            ("connect and TLS", time(bounds::CONNECT_TIMEOUT)),
            ("header section as a whole", time(bounds::READ_TIMEOUT)),
            ("silence of a body", time(bounds::READ_TIMEOUT)),
            ("retries without progress", retry.retries.to_string()),
            ("longest Retry-After", time(retry.wait_max)),
            ("network away", time(retry.away_max)),
            (
                "journal",
                format!("{} are read", size(bounds::JOURNAL_BYTES)),
            ),
            (
                "servers remembered",
                format!(
                    "{}, for {} days",
                    bounds::ORIGINS,
                    bounds::ORIGIN_AGE.as_secs() / 86_400
                ),
            ),
            ("file of -H @FILE", size(FIELD_FILE_BYTES)),
            ("netrc and cookie files", size(SIGN_IN_FILE_BYTES)),
            (
                "cookies   ",
                format!(
                    "{}, {} of a domain, {} bytes each",
                    bounds::COOKIES,
                    bounds::COOKIES_PER_DOMAIN,
                    bounds::COOKIE_BYTES
                ),
            ),
            (
                "list (-i)",
                format!(
                    "{}, {} a line, {ITEM_OPTIONS} options",
                    size(LIST_BYTES),
                    size(LIST_LINE_BYTES)
                ),
            ),
            (
                "shown of a text",
                format!("{} characters", bounds::MESSAGE_CHARS),
            ),
        ]
    }

    #[test]
    fn each_figure_is_the_constant_that_decides() {
        let rows = [sizes(), numbers()].concat();
        for (name, figure) in &rows {
            let told = LIMITS.lines().find_map(|line| {
                let rest = line
                    .trim_end()
                    .strip_prefix("    ")?
                    .strip_prefix(name.trim_end())?;
                rest.trim_start().starts_with(figure.as_str()).then_some(())
            });
            assert_eq!(told, Some(()), "{name}: {figure}\n{LIMITS}");
        }
        // Trailers have the bound of a head, in other words. No other line has a figure of its own.
        assert_eq!(LIMITS.lines().count(), rows.len() + 2);
    }
}
