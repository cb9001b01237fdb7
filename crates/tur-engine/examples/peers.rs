//! Two peers share one downloader: a player that is read from now, and one that only fetches ahead. Half-way they change
//! places, and what waits changes places with them.
//!
//! ```text
//! cargo run -p tur-engine --example peers
//! ```

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tur_engine::{Abr, Command, Downloader, Peer, Priority};
use tur_testkit::{Behaviour, Loopback};

/// Segments of each track.
const SEGMENTS: usize = 20;
/// Bytes of a segment.
const SEGMENT: u64 = 40_000;

/// A track that is played, or will be.
struct Track {
    /// True for the one that is played first.
    first: bool,
    /// Segments of both that have come.
    came: Arc<AtomicUsize>,
    commands: Mutex<VecDeque<Command>>,
}

/// It has one variant only: nothing to choose from.
impl Abr for Track {}

impl Peer for Track {
    /// Asked whenever there is room for more: a few at a time, so that the rest can still be decided later.
    fn poll_next(&self, _: &mut Context<'_>) -> Poll<Option<Vec<Command>>> {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let few: Vec<Command> = (0..4).map_while(|_| commands.pop_front()).collect();
        // No more for now; `PeerHandle::wake` would bring the question back.
        Poll::Ready((!few.is_empty()).then_some(few))
    }

    /// Asked at each decision: what waits needs not be queued anew when this changes.
    fn priority(&self) -> Priority {
        // Half-way the listener skips to the other track.
        let skipped = self.came.load(Ordering::Relaxed) >= SEGMENTS / 2;
        if self.first != skipped {
            Priority::High
        } else {
            Priority::Low
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), tur_engine::Error> {
    println!("{}", play().await?.join(" "));
    Ok(())
}

/// The order in which segments came, as `a` and `b`.
pub(crate) async fn play() -> Result<Vec<&'static str>, tur_engine::Error> {
    let paths = (0..SEGMENTS).flat_map(|n| [format!("/a/{n}"), format!("/b/{n}")]);
    let origin = Loopback::start(paths.map(|path| (path, Behaviour::new(SEGMENT))));
    // Two requests at a time: enough to see who goes first.
    let downloader = Downloader::builder()
        .connections(2)
        .connections_per_origin(2)
        .build()?;

    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let came = Arc::new(AtomicUsize::new(0));
    let track = |name, first| {
        let commands = (0..SEGMENTS).map(|n| {
            let (arrived, came) = (arrived.clone(), Arc::clone(&came));
            Command::new(origin.url(&format!("/{name}/{n}"))).on_complete(move |result| {
                came.fetch_add(1, Ordering::Relaxed);
                // The receiver is gone only if this program is.
                drop(arrived.send((name, result.map(|fetched| fetched.bytes))));
            })
        });
        Arc::new(Track {
            first,
            came: Arc::clone(&came),
            commands: Mutex::new(commands.collect()),
        })
    };
    let handle_a = downloader.register(track("a", true));
    let handle_b = downloader.register(track("b", false));

    let mut order = Vec::new();
    while order.len() < 2 * SEGMENTS {
        let Some((name, bytes)) = arrivals.recv().await else {
            break;
        };
        assert_eq!(bytes?, SEGMENT);
        order.push(name);
        if order.len() == SEGMENTS / 2 {
            println!("a pauses, b plays");
            // Its answer to the last question may have been that there was nothing to do.
            handle_b.wake();
        }
    }
    // With the last handle a peer is gone, and what it had asked for with it.
    drop((handle_a, handle_b));
    Ok(order)
}
