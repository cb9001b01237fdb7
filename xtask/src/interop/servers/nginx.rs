//! nginx: HTTP/1.1 and HTTP/2, in clear text and TLS, and a log of what clients showed.
//!
//! Read [`Nginx`]; [`configuration`] is its configuration. One line of the log is a [`Logged`].
#![expect(
    clippy::disallowed_methods,
    reason = "it writes files for another program; nothing here is part of tur"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::proxies::{PASSWORD, USER};
use super::{Ahead, Grounds, takes_connections};
use crate::interop::ports::free;
use crate::interop::process::{Daemon, bound_to_us, read, wait_until};

/// An nginx that serves the documents.
#[derive(Debug)]
pub(in crate::interop) struct Nginx {
    daemon: Daemon,
    ports: Ports,
    access_log: PathBuf,
}

/// One for each way to be asked.
#[derive(Clone, Copy, Debug)]
struct Ports {
    /// HTTP/1.1 in clear text.
    plain: u16,
    /// TLS 1.2 and 1.3; HTTP/1.1 and HTTP/2.
    tls: u16,
    /// HTTP/2 in clear text, without asking.
    h2c: u16,
    /// Another origin, in clear text.
    other: u16,
    /// TLS 1.2 alone, and only for clients that show a certificate.
    clients: u16,
}

/// What nginx wrote about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::interop) struct Logged {
    /// The port that was asked.
    pub(in crate::interop) port: u16,
    /// Status of the answer.
    pub(in crate::interop) status: u16,
    /// Bytes of the body that were given to the socket.
    pub(in crate::interop) sent: u64,
    /// The whole line.
    pub(in crate::interop) line: String,
}

/// How nginx writes them: what secrets a request had, `-` for none, stands behind what [`Logged::parse`] reads.
const LOG_FORMAT: &str = r#"$server_port $status $body_bytes_sent $request_method $request_uri $server_protocol range="$http_range" authorization="$http_authorization" cookie="$http_cookie" secret="$http_x_secret" referer="$http_referer""#;

impl Logged {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        Some(Self {
            port: words.next()?.parse().ok()?,
            status: words.next()?.parse().ok()?,
            sent: words.next()?.parse().ok()?,
            line: line.to_owned(),
        })
    }
}

impl Nginx {
    /// Starts it.
    ///
    /// # Errors
    /// It does not start.
    pub(in crate::interop) fn start(grounds: &Grounds<'_>) -> Result<Self> {
        let directory = grounds.directory.join("nginx");
        std::fs::create_dir_all(&directory)?;
        let [plain, tls, h2c, other, clients] = free()?;
        let ports = Ports {
            plain,
            tls,
            h2c,
            other,
            clients,
        };
        std::fs::write(
            directory.join("users"),
            format!("{USER}:{{PLAIN}}{PASSWORD}\n"),
        )?;
        let configuration = configuration(grounds, &directory, ports);
        std::fs::write(directory.join("nginx.conf"), configuration)?;
        let all = [plain, tls, h2c, other, clients];
        let is_ready = || all.into_iter().all(takes_connections);
        Ok(Self {
            daemon: Daemon::start(
                "nginx",
                &mut command(grounds, &directory),
                grounds.directory,
                is_ready,
            )?,
            ports,
            access_log: directory.join("access.log"),
        })
    }

    /// Its process.
    pub(in crate::interop) const fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// What it logged: errors, then requests.
    pub(super) fn log(&self) -> String {
        read(&self.access_log.with_file_name("error.log")) + &read(&self.access_log)
    }

    /// Its URL of a path, by HTTP/1.1 in clear text.
    pub(in crate::interop) fn plain(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports.plain)
    }

    /// The same, where HTTP/2 is spoken without asking.
    pub(in crate::interop) fn h2c(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports.h2c)
    }

    /// The same in TLS.
    pub(in crate::interop) fn tls(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.ports.tls)
    }

    /// The same, where clients have to show a certificate, and TLS 1.2 is spoken alone.
    pub(in crate::interop) fn clients(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.ports.clients)
    }

    /// The port in clear text.
    pub(in crate::interop) const fn plain_port(&self) -> u16 {
        self.ports.plain
    }

    /// The port in TLS.
    pub(in crate::interop) const fn tls_port(&self) -> u16 {
        self.ports.tls
    }

    /// The other origin's port.
    pub(in crate::interop) const fn other_port(&self) -> u16 {
        self.ports.other
    }

    /// Requests so far.
    pub(in crate::interop) fn requests(&self) -> Vec<Logged> {
        read(&self.access_log)
            .lines()
            .filter_map(Logged::parse)
            .collect()
    }

    /// Requests since there were `before`, when `count` of them at least are logged: nginx writes a line when a request
    /// has ended, which it may see later than its client. What is there after some seconds is what there is.
    pub(in crate::interop) fn requests_since(&self, before: usize, count: usize) -> Vec<Logged> {
        let is_there = || self.requests().len() >= before + count;
        wait_until(Duration::from_secs(5), is_there);
        self.requests().split_off(before)
    }
}

/// What starts one whose configuration is in `directory`.
pub(super) fn command(grounds: &Grounds<'_>, directory: &Path) -> Command {
    let programs = grounds.programs;
    let mut command = bound_to_us(&programs.setpriv, "TERM", &programs.nginx);
    command.arg("-e").arg(directory.join("error.log"));
    command.arg("-p").arg(directory).arg("-c");
    command.arg(directory.join("nginx.conf"));
    command
}

/// What a configuration begins with, up to what is said of HTTP.
pub(super) fn beginning(directory: &Path) -> String {
    // Started by root, it would read as somebody else, who may not look into our folder.
    let user = if is_root(Command::new("id").arg("-u")) {
        "user root;"
    } else {
        ""
    };
    let directory = directory.display();
    let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {directory}/{name};\n"))
        .concat();
    format!(
        "daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
{scratch}"
    )
}

fn configuration(grounds: &Grounds<'_>, directory: &Path, ports: Ports) -> String {
    let beginning = beginning(directory);
    let (directory, documents) = (directory.display(), grounds.documents.display());
    let server = &grounds.certificates.server;
    let tls = format!(
        "ssl_certificate {}; ssl_certificate_key {};",
        server.certificate.display(),
        server.key.display()
    );
    let authority = grounds.certificates.authority.display();
    let Ports {
        plain,
        tls: secure,
        h2c,
        other,
        clients,
    } = ports;
    let buffer = match grounds.ahead {
        Ahead::Little => " sndbuf=64k",
        Ahead::Usual => "",
    };
    format!(
        "{beginning}    log_format seen '{LOG_FORMAT}';
    access_log {directory}/access.log seen;
    default_type application/octet-stream;
    root {documents};
    sendfile on;
    server {{
        listen 127.0.0.1:{plain}{buffer};
        location /slow/ {{ alias {documents}/; limit_rate 4m; }}
        location /locked/ {{ alias {documents}/; auth_basic tur; auth_basic_user_file {directory}/users; }}
        location = /away {{ return 302 http://127.0.0.1:{other}/file.bin; }}
    }}
    server {{ listen 127.0.0.1:{other}; }}
    server {{ listen 127.0.0.1:{h2c} http2; }}
    server {{
        listen 127.0.0.1:{secure} ssl http2{buffer}; {tls}
        ssl_protocols TLSv1.2 TLSv1.3;
        location /slow/ {{ alias {documents}/; limit_rate 4m; }}
        location = /away {{ return 302 http://127.0.0.1:{other}/file.bin; }}
        location = /clients {{ return 302 https://127.0.0.1:{clients}/file.bin; }}
    }}
    server {{
        listen 127.0.0.1:{clients} ssl http2; {tls}
        ssl_protocols TLSv1.2;
        ssl_client_certificate {authority}; ssl_verify_client on;
    }}
}}
"
    )
}

fn is_root(id: &mut Command) -> bool {
    id.output().is_ok_and(|output| output.stdout == b"0\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_log_are_read() {
        let line = r#"8080 206 1048576 GET /file.bin HTTP/1.1 range="bytes=0-" authorization="-" cookie="-" secret="-" referer="-""#;
        let expected = Logged {
            port: 8080,
            status: 206,
            sent: 1_048_576,
            line: line.to_owned(),
        };
        assert_eq!(Logged::parse(line), Some(expected));
        assert_eq!(Logged::parse("8080 206"), None);
        assert_eq!(Logged::parse(""), None);
    }

    #[test]
    fn only_root_is_root() {
        assert!(is_root(Command::new("echo").arg("0")));
        assert!(!is_root(Command::new("echo").arg("1000")));
        assert!(!is_root(&mut Command::new("/no/such/program")));
    }
}
