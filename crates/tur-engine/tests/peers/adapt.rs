//! Variants: what a peer is told, and that only a ticket that holds changes what plays.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tur_engine::abr::{AbrAction, AbrConfig, Commit, Mode, Ticket, Variant, VariantId, Variants};
use tur_engine::{Abr, Command, Peer, Rate, What};
use tur_testkit::Behaviour;

use crate::stand::{narrow, origin, soon};

/// Plays one of two variants.
struct Player {
    playing: Mutex<VariantId>,
    decisions: mpsc::UnboundedSender<AbrAction>,
}

const LOW: VariantId = VariantId(1);
const HIGH: VariantId = VariantId(2);

impl Abr for Player {
    fn variants(&self) -> Option<Variants> {
        let variant = |id, bandwidth| Variant {
            id,
            bandwidth: Rate::per_second(bandwidth),
        };
        // The higher one needs less than any loopback brings.
        let list = [variant(LOW, 1_000), variant(HIGH, 10_000)];
        let playing = *self.playing.lock().expect("no panic");
        Some(Variants::new(&list, playing).expect("a list"))
    }

    fn ahead(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    fn decided(&self, decision: &AbrAction) {
        self.decisions.send(*decision).ok();
    }
}

impl Peer for Player {}

async fn switch(decisions: &mut mpsc::UnboundedReceiver<AbrAction>) -> (Ticket, VariantId) {
    loop {
        let decision = soon(decisions.recv()).await.expect("a decision");
        if let AbrAction::Switch { ticket, to, .. } = decision {
            return (ticket, to);
        }
    }
}

/// What was fetched shows that there is bandwidth for more, and the peer is told so; a user's word voids it.
#[tokio::test]
async fn a_peer_is_told_to_go_up_and_only_the_ticket_that_holds_counts() {
    let origin = origin(1, &Behaviour::new(2_000_000));
    let rules = AbrConfig {
        interval: Duration::ZERO,
        ..AbrConfig::default()
    };
    let downloader = narrow(4).abr(rules).build().expect("a downloader");
    let (sender, mut decisions) = mpsc::unbounded_channel();
    let player = Arc::new(Player {
        playing: Mutex::new(LOW),
        decisions: sender,
    });
    let handle = downloader.register(Arc::clone(&player));
    let mut events = handle.events();
    for _ in 0..8 {
        let command = Command::new(origin.url("/0"));
        soon(handle.execute(command)).await.expect("it came");
    }
    let (ticket, to) = switch(&mut decisions).await;
    assert_eq!(to, HIGH);

    handle.abr().set_mode(Mode::Manual(LOW));
    assert!(matches!(handle.abr().commit(ticket), Commit::Stale { .. }));
    assert_eq!(handle.abr().current(), Some(LOW));

    handle.abr().set_mode(Mode::Manual(HIGH));
    let (ticket, to) = switch(&mut decisions).await;
    assert_eq!(to, HIGH);
    assert!(matches!(
        handle.abr().commit(ticket),
        Commit::Committed { .. }
    ));
    assert!(matches!(handle.abr().commit(ticket), Commit::Stale { .. }));
    assert_eq!(handle.abr().current(), Some(HIGH));
    let (mut estimated, mut switched) = (false, false);
    while !switched {
        let event = soon(events.next()).await.expect("an event");
        estimated |= matches!(event.what, What::BandwidthEstimate { .. });
        switched = matches!(event.what, What::VariantSwitch { from: 1, to: 2, .. });
    }
    assert!(estimated, "what the network brings is told before");
}

/// Small fetches, each over before anything of it was told, are a measurement too.
#[tokio::test]
async fn small_fetches_count_as_bandwidth() {
    let origin = origin(1, &Behaviour::new(20_000));
    let rules = AbrConfig {
        interval: Duration::ZERO,
        ..AbrConfig::default()
    };
    let downloader = narrow(2).abr(rules).build().expect("a downloader");
    let (sender, mut decisions) = mpsc::unbounded_channel();
    let player = Arc::new(Player {
        playing: Mutex::new(LOW),
        decisions: sender,
    });
    let handle = downloader.register(player);
    for _ in 0..60 {
        let command = Command::new(origin.url("/0"));
        soon(handle.execute(command)).await.expect("it came");
    }
    assert_eq!(switch(&mut decisions).await.1, HIGH);
}
