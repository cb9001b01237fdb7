//! The choice among variants, for peers that have some: [`Abr`] is what the downloader asks them, [`AbrHandle`] what they
//! and their users say.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tur_core::{Rate, Timestamp};
use tur_sched::abr::{
    self, AbrAction, AbrConfig, AbrEvent, Commit, Mode, Skip, Ticket, VariantId, Variants,
};

use crate::PeerNo;
use crate::clock::Clock;
use crate::hub::Message;

/// The side of a peer that adapts: it has variants of one presentation, of which one plays. All of it may be left out.
///
/// The methods run on the engine's thread: they are to be quick, and must not block.
pub trait Abr: Send + Sync {
    /// What there is to choose from, and what plays; `None` if there is nothing to choose. Asked when the peer comes, and
    /// after each [`PeerHandle::wake`](crate::PeerHandle::wake).
    fn variants(&self) -> Option<Variants> {
        None
    }

    /// How much playing time lies ahead of the reader without a gap; `None` if that is not known. Asked now and then.
    fn ahead(&self) -> Option<Duration> {
        None
    }

    /// Another variant should play, or no longer. To be prepared now, and committed at a boundary:
    /// [`AbrHandle::commit`].
    fn decided(&self, decision: &AbrAction) {
        let _ = decision;
    }
}

/// The choice of one peer: who chooses, within which bounds, and what was chosen.
#[derive(Clone)]
pub struct AbrHandle {
    shared: Arc<Shared>,
}

struct Shared {
    peer: PeerNo,
    machine: Mutex<abr::Abr>,
    clock: Clock,
    post: mpsc::WeakUnboundedSender<Message>,
}

impl AbrHandle {
    pub(crate) fn new(
        peer: PeerNo,
        config: AbrConfig,
        clock: Clock,
        post: mpsc::WeakUnboundedSender<Message>,
    ) -> Self {
        let machine = Mutex::new(abr::Abr::new(config, peer.0, clock.now()));
        let shared = Shared {
            peer,
            machine,
            clock,
            post,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Who chooses: the downloader, or the user, a variant. Default: the downloader.
    pub fn set_mode(&self, mode: Mode) {
        self.handle(AbrEvent::Mode(mode));
    }

    /// No variant above this, if the downloader chooses.
    pub fn set_cap(&self, cap: Option<Rate>) {
        self.handle(AbrEvent::Cap(cap));
    }

    /// Between `true` and `false`, while a seek is under way, nothing is switched, and what was decided before is void.
    pub fn lock(&self, locked: bool) {
        self.handle(AbrEvent::Locked(locked));
    }

    /// A reader stands at the start of a segment of this variant, whose fetch is slow: another one may deliver.
    pub fn undelivered(&self, variant: VariantId) {
        self.handle(AbrEvent::Undelivered { variant });
    }

    /// The variant of this ticket takes over now, if the ticket still holds.
    pub fn commit(&self, ticket: Ticket) -> Commit {
        let now = self.shared.clock.now();
        let mut machine = self.lock_machine();
        let commit = machine.commit(now, ticket);
        let actions = drain(&mut machine);
        drop(machine);
        if let Commit::Committed { from, to, why } = commit {
            let what = crate::What::VariantSwitch {
                from: from.0,
                to: to.0,
                why: why.to_string(),
            };
            self.post(Message::Say(self.shared.peer, Box::new(what)));
        }
        self.pass(actions);
        commit
    }

    /// What plays; `None` if there is nothing to choose.
    #[must_use]
    pub fn current(&self) -> Option<VariantId> {
        self.lock_machine().current()
    }

    /// The switch that is being prepared.
    #[must_use]
    pub fn pending(&self) -> Option<Ticket> {
        self.lock_machine().pending()
    }

    /// Why nothing is switched; `None` while a switch is being prepared.
    #[must_use]
    pub fn skipped(&self) -> Option<Skip> {
        self.lock_machine().skipped()
    }

    /// Who chooses.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.lock_machine().mode()
    }

    /// Brings an event to the machine; what it decides goes to the peer by way of the hub.
    pub(crate) fn handle(&self, event: AbrEvent) {
        let now = self.shared.clock.now();
        let mut machine = self.lock_machine();
        machine.handle(now, event);
        let actions = drain(&mut machine);
        drop(machine);
        self.pass(actions);
    }

    /// When a tick is wanted.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        self.lock_machine().next_wakeup()
    }

    fn pass(&self, actions: Vec<AbrAction>) {
        for action in actions {
            self.post(Message::Decided(self.shared.peer, action));
        }
    }

    fn post(&self, message: Message) {
        if let Some(post) = self.shared.post.upgrade() {
            // Without a hub there is nobody to tell.
            drop(post.send(message));
        }
    }

    fn lock_machine(&self) -> MutexGuard<'_, abr::Abr> {
        // Each step leaves the machine whole.
        self.shared
            .machine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn drain(machine: &mut abr::Abr) -> Vec<AbrAction> {
    std::iter::from_fn(|| machine.poll_action()).collect()
}

impl fmt::Debug for AbrHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbrHandle")
            .field("current", &self.current())
            .finish_non_exhaustive()
    }
}
