//! What every test here needs: an origin with many small files, peers that ask for them, and a look at what came.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::mpsc;
use tur_core::ByteRange;
use tur_engine::{Abr, Command, Downloader, DownloaderBuilder, Error, Fetched, Peer, Priority};
use tur_testkit::{Behaviour, Loopback, content};

/// No test comes near it on any machine that works.
const LIMIT: Duration = Duration::from_secs(60);

/// Length of each small file, unless a test says otherwise.
pub(crate) const SMALL: u64 = 4_096;

/// An origin with files `/0`, `/1`, … that all behave alike.
pub(crate) fn origin(files: usize, behaviour: &Behaviour) -> Loopback {
    Loopback::start((0..files).map(|n| (format!("/{n}"), behaviour.clone())))
}

/// A downloader with so many permits, for one origin as for all.
pub(crate) fn downloader(permits: usize) -> Downloader {
    narrow(permits).build().expect("a downloader")
}

pub(crate) fn narrow(permits: usize) -> DownloaderBuilder {
    Downloader::builder()
        .connections(permits)
        .connections_per_origin(permits)
}

/// What `future` brings; panics if that takes for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it ends")
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests look at files from outside, not through the engine's own port"
)]
pub(crate) fn read(path: &std::path::Path) -> Vec<u8> {
    std::fs::read(path).expect("the file is there")
}

/// A moment, for what is to take at least or at most so long.
#[expect(
    clippy::disallowed_methods,
    reason = "what is measured is the wait of a real origin"
)]
pub(crate) fn moment() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The bytes of a file, or of a part of it.
pub(crate) fn bytes(range: std::ops::Range<u64>) -> Vec<u8> {
    content(0, ByteRange::new(range.start, range.end))
}

/// A peer that is asked, and whose commands tests put in.
#[derive(Default)]
pub(crate) struct Asked {
    active: AtomicBool,
    commands: Mutex<VecDeque<Command>>,
    waker: Mutex<Option<Waker>>,
}

impl Asked {
    pub(crate) fn new(commands: impl IntoIterator<Item = Command>) -> Arc<Self> {
        let asked = Self::default();
        asked.add(commands);
        Arc::new(asked)
    }

    pub(crate) fn add(&self, commands: impl IntoIterator<Item = Command>) {
        self.commands.lock().expect("no panic").extend(commands);
        if let Some(waker) = self.waker.lock().expect("no panic").take() {
            waker.wake();
        }
    }

    pub(crate) fn activate(&self, yes: bool) {
        self.active.store(yes, Ordering::SeqCst);
    }

    /// Commands that nobody has asked for yet.
    pub(crate) fn left(&self) -> usize {
        self.commands.lock().expect("no panic").len()
    }
}

impl Abr for Asked {}

impl Peer for Asked {
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Vec<Command>>> {
        let next = self.commands.lock().expect("no panic").pop_front();
        match next {
            Some(command) => Poll::Ready(Some(vec![command])),
            None => {
                *self.waker.lock().expect("no panic") = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn priority(&self) -> Priority {
        if self.active.load(Ordering::SeqCst) {
            Priority::High
        } else {
            Priority::Low
        }
    }
}

/// A peer that only its handle speaks for.
#[derive(Default)]
pub(crate) struct Quiet {
    pub(crate) active: AtomicBool,
}

impl Quiet {
    pub(crate) fn active() -> Self {
        Self {
            active: AtomicBool::new(true),
        }
    }
}

impl Abr for Quiet {}

impl Peer for Quiet {
    fn priority(&self) -> Priority {
        if self.active.load(Ordering::SeqCst) {
            Priority::High
        } else {
            Priority::Low
        }
    }
}

/// Ends of commands, in the order in which they came: each with its name.
pub(crate) struct Ends<N> {
    sender: mpsc::UnboundedSender<(N, Result<Fetched, Error>)>,
    receiver: mpsc::UnboundedReceiver<(N, Result<Fetched, Error>)>,
}

impl<N: Send + 'static> Ends<N> {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver }
    }

    /// A command whose end is told here, by this name.
    pub(crate) fn of(&self, command: Command, name: N) -> Command {
        let sender = self.sender.clone();
        command.on_complete(move |result| drop(sender.send((name, result))))
    }

    /// The next `n` ends.
    pub(crate) async fn next(&mut self, n: usize) -> Vec<(N, Result<Fetched, Error>)> {
        let mut ends = Vec::new();
        while ends.len() < n {
            ends.push(soon(self.receiver.recv()).await.expect("an end"));
        }
        ends
    }

    /// What was told and nobody has looked at.
    pub(crate) fn more(&mut self) -> usize {
        std::iter::from_fn(|| self.receiver.try_recv().ok()).count()
    }
}
