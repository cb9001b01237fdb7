//! An origin that sends whatever bytes a test says, and no HTTP unless they are.
#![expect(
    clippy::disallowed_methods,
    reason = "an origin that drips does so in real time; nothing here is part of tur"
)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// One thing that it does after a request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes again and again, until the client closes or so many bytes went out.
    Flood(Vec<u8>, usize),
    /// Sends one byte each so often, until the client closes.
    Drip(u8, Duration),
    /// Waits until the client closes.
    Hold,
}

/// A running origin. It serves each connection on a thread of its own and ends with the process.
pub(crate) struct Wild {
    port: u16,
    open: Arc<OnceLock<()>>,
}

impl Wild {
    /// Answers the request on each connection as `play` says; what it is given is the head of the request.
    pub(crate) fn start(play: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let wild = Self::start_shut(play);
        wild.open();
        wild
    }

    /// Like [`Wild::start`], and answers nobody before it is opened.
    pub(crate) fn start_shut(play: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port can be had");
        let port = listener.local_addr().expect("it is bound").port();
        let open = Arc::new(OnceLock::new());
        let opened = Arc::clone(&open);
        let play = Arc::new(move |head: &str| {
            opened.wait();
            play(head)
        });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let play = Arc::clone(&play);
                std::thread::spawn(move || serve(stream, &*play));
            }
        });
        Self { port, open }
    }

    /// Answers from now on.
    pub(crate) fn open(&self) {
        self.open.get_or_init(|| ());
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

fn serve(mut stream: TcpStream, play: &dyn Fn(&str) -> Vec<Step>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return;
        }
        head.push(byte[0]);
    }
    for step in play(&String::from_utf8_lossy(&head)) {
        if !act(&mut stream, step) {
            return;
        }
    }
    // A socket that is dropped with unread input would be reset.
    drop(stream.shutdown(Shutdown::Write));
    hold(&mut stream);
}

/// False once the client is gone.
fn act(stream: &mut TcpStream, step: Step) -> bool {
    match step {
        Step::Send(bytes) => stream.write_all(&bytes).is_ok(),
        Step::Flood(bytes, max) => {
            let mut sent = 0;
            while sent < max {
                if stream.write_all(&bytes).is_err() {
                    return false;
                }
                sent += bytes.len();
            }
            true
        }
        Step::Drip(byte, pause) => {
            while stream.write_all(&[byte]).is_ok() {
                std::thread::sleep(pause);
            }
            false
        }
        Step::Hold => {
            hold(stream);
            false
        }
    }
}

fn hold(stream: &mut TcpStream) {
    let mut rest = [0; 1_024];
    while matches!(stream.read(&mut rest), Ok(1..)) {}
}
