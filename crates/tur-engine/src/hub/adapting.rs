//! The choice of variants, on the hub's side: what peers are asked, and when.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tur_core::port::Transport;
use tur_core::{Rate, Timestamp};
use tur_sched::abr::{AbrAction, AbrEvent};
use tur_storage::Disk;

use super::Hub;
use crate::careful::caught;
use crate::{PeerNo, What};

/// Peers with variants are looked at so often: several times in the shortest buffer that matters.
const PERIOD: Duration = Duration::from_millis(500);
/// An estimate is told again if it has changed by one part in so many.
const CHANGE: u64 = 10;

/// When to look at the peers with variants again.
#[derive(Default)]
pub(super) struct Rounds {
    timer: Alarm,
    told: Option<Rate>,
}

/// A timer that is set anew only when its time is another one.
#[derive(Default)]
pub(super) struct Alarm(Option<(Timestamp, Pin<Box<Sleep>>)>);

impl Alarm {
    /// Ready at `at`, after which it has to be set again; without a time never.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        at: Option<(Timestamp, Instant)>,
    ) -> Poll<()> {
        let Some((at, instant)) = at else {
            self.0 = None;
            return Poll::Pending;
        };
        let due = self.0.as_ref().is_some_and(|(due, _)| *due == at);
        if !due {
            self.0 = Some((at, Box::pin(sleep_until(instant))));
        }
        let Some((_, timer)) = &mut self.0 else {
            return Poll::Pending;
        };
        let rung = timer.as_mut().poll(cx);
        if rung.is_ready() {
            self.0 = None;
        }
        rung
    }
}

impl<T: Transport, D: Disk + Clone> Hub<T, D> {
    /// Looks at the peers with variants, if it is time. True if it was.
    pub(super) fn poll_round(&mut self, cx: &mut Context<'_>) -> bool {
        let clock = self.ground.clock;
        let adapting = self.peers.values().filter(|entry| entry.adapts);
        let wakeups = adapting.map(|entry| entry.abr.next_wakeup());
        let next = self.looked + PERIOD;
        let at = wakeups
            .map(|wakeup| wakeup.map_or(next, |at| at.min(next)))
            .min()
            .map(|at| (at, clock.instant(at)));
        if self.rounds.timer.poll(cx, at).is_pending() {
            return false;
        }
        self.looked = clock.now();
        self.look_around();
        true
    }

    /// Tells each machine what the network brings and how its peer stands.
    fn look_around(&mut self) {
        let estimate = self.ground.sampler.estimate();
        for entry in self.peers.values().filter(|entry| entry.adapts) {
            let ahead = caught(|| entry.who.ahead()).unwrap_or(None);
            entry.abr.handle(AbrEvent::Progress { ahead });
            entry.abr.handle(AbrEvent::Estimate(estimate));
        }
        if let Some(rate) = estimate.filter(|rate| has_changed(self.rounds.told, *rate)) {
            self.rounds.told = Some(rate);
            for entry in self.peers.values().filter(|entry| entry.adapts) {
                let scope = entry.bus.scope();
                scope.publish(0, Duration::ZERO, || What::BandwidthEstimate { rate });
            }
        }
    }

    /// Asks a peer what there is to choose from.
    pub(super) fn look_at_variants(&mut self, peer: PeerNo) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        let variants = caught(|| entry.who.variants()).unwrap_or(None);
        entry.adapts = variants.is_some();
        if let Some(variants) = variants {
            entry.abr.handle(AbrEvent::Variants(variants));
        }
    }

    /// Hands a decision to its peer.
    pub(super) fn decided(&mut self, peer: PeerNo, action: &AbrAction) {
        let Some(entry) = self.peers.get(&peer) else {
            return;
        };
        tracing::debug!(peer = peer.0, ?action, "variants");
        if let Err(panic) = caught(|| entry.who.decided(action)) {
            tracing::error!(
                panic,
                peer = peer.0,
                "a peer panicked when it was told of a variant"
            );
        }
    }
}

/// True if `rate` differs enough from what was told to be told again.
fn has_changed(told: Option<Rate>, rate: Rate) -> bool {
    let rate = rate.bytes_per_second();
    told.is_none_or(|told| {
        let told = told.bytes_per_second();
        told.abs_diff(rate) > told / CHANGE
    })
}
