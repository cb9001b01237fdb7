//! A server that follows a script byte by byte, on a thread of its own.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;

use tur_core::port::{Body, Fill, Request, Session, Transport};
use tur_core::{Answer, Ask, Chunks, Fault, Origin, Scheme, Target};
use tur_net::{HttpTransport, NetConfig, Spawner};

/// One thing a scripted server does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads up to the end of a request's head.
    Request,
    /// Reads the preface of an HTTP/2 client (RFC 9113, section 3.4).
    Preface,
    /// Reads frames up to one of this kind.
    Frame(u8),
    /// Sends these bytes at once.
    Send(Vec<u8>),
    /// Sends these bytes one by one.
    Drip(Vec<u8>),
    /// Sends these bytes again and again until the client closes.
    Flood(Vec<u8>),
    /// Waits until the client has closed.
    Hold,
}

/// A running script: one connection, then it is over.
pub(crate) struct Script {
    pub(crate) port: u16,
    thread: JoinHandle<Vec<u8>>,
}

impl Script {
    /// Serves one connection, and closes it in good order after the last step.
    pub(crate) fn start(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            for step in steps {
                play(&mut stream, &mut seen, step);
            }
            // The client may have closed already; then there is nothing to do.
            drop(stream.shutdown(Shutdown::Write));
            // What it still says is read: closed before, the connection would be reset, and what was sent here lost.
            let limit = std::time::Duration::from_secs(1);
            if stream.set_read_timeout(Some(limit)).is_ok() {
                let mut rest = [0; 4096];
                while matches!(stream.read(&mut rest), Ok(n) if n > 0) {}
            }
            seen
        });
        Self { port, thread }
    }

    /// Answers the first request with these bytes, then closes.
    pub(crate) fn answer(bytes: &[u8]) -> Self {
        Self::start(vec![Step::Request, Step::Send(bytes.to_vec())])
    }

    /// The requests, once the script is over.
    pub(crate) fn seen(self) -> String {
        String::from_utf8(self.thread.join().unwrap()).unwrap()
    }

    /// Waits until the script is over, without holding up the runtime: a driver may have to close its connection first.
    pub(crate) async fn over(self) {
        let thread = self.thread;
        let ended = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
        assert!(ended.unwrap(), "the script panicked");
    }

    pub(crate) fn target(&self) -> Target {
        target(Scheme::Http, "127.0.0.1", self.port)
    }
}

fn play(stream: &mut TcpStream, seen: &mut Vec<u8>, step: Step) {
    match step {
        Step::Request => {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            seen.extend(head);
        }
        Step::Preface => drop(stream.read_exact(&mut [0; 24])),
        Step::Frame(kind) => loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).is_err() {
                return;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            drop(stream.read_exact(&mut payload));
            if head[3] == kind {
                return;
            }
        },
        Step::Send(bytes) => drop(stream.write_all(&bytes)),
        Step::Drip(bytes) => {
            stream.set_nodelay(true).unwrap();
            for byte in bytes {
                drop(stream.write_all(&[byte]));
            }
        }
        Step::Flood(bytes) => while stream.write_all(&bytes).is_ok() {},
        Step::Hold => {
            let mut rest = [0; 1024];
            while matches!(stream.read(&mut rest), Ok(1..)) {}
        }
    }
}

pub(crate) fn target(scheme: Scheme, host: &str, port: u16) -> Target {
    Target {
        origin: Origin {
            scheme,
            host: host.to_owned(),
            port,
        },
        path: "/file?x=1".to_owned(),
    }
}

pub(crate) fn get(target: &Target) -> Request {
    Request {
        target: target.clone(),
        ask: Ask::Whole,
        if_range: None,
        no_cache: false,
        fields: Vec::new(),
    }
}

pub(crate) fn transport() -> HttpTransport {
    HttpTransport::new(NetConfig::default(), spawner()).unwrap()
}

/// Runs drivers on the runtime of the test.
#[expect(clippy::disallowed_methods, reason = "the test owns its runtime")]
pub(crate) fn spawner() -> Spawner {
    Spawner::new(|driver| drop(tokio::spawn(driver)))
}

/// Everything that one fetch came to, in one line.
pub(crate) async fn outcome(transport: &HttpTransport, target: &Target) -> String {
    let session = transport.open(&target.origin).await.unwrap();
    let mut reply = match session.fetch(get(target)).await {
        Ok(reply) => reply,
        Err(fault) => {
            assert!(!session.is_open(), "a fault closes the connection");
            return format!("{fault}");
        }
    };
    let (bytes, end) = drain(&mut reply.body).await;
    let kind = match &reply.answer {
        Answer::Whole(content) => format!("whole, {:?}", content.body),
        Answer::Partial { range, content } => format!("partial {range:?}, {:?}", content.body),
        Answer::Refused { status, reason, .. } => format!("{status} {reason}"),
        other => format!("{other:?}"),
    };
    let end = match end {
        Ok(()) if session.is_open() => "end, open".to_owned(),
        Ok(()) => "end, closed".to_owned(),
        Err(fault) => {
            assert!(!session.is_open(), "a fault closes the connection");
            format!("{fault}")
        }
    };
    format!("{kind}: {:?}, {end}", String::from_utf8_lossy(&bytes))
}

/// Everything a body gives, and how it ended.
pub(crate) async fn drain<B: Body>(body: &mut B) -> (Vec<u8>, Result<(), Fault>) {
    let mut chunks = Chunks::new();
    let end = loop {
        match body.fill(&mut chunks, 64 * 1024).await {
            Ok(Fill::More) => {}
            Ok(Fill::End) => break Ok(()),
            Err(fault) => break Err(fault),
        }
    };
    (chunks.iter().flatten().copied().collect(), end)
}
