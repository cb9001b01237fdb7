//! What comes to the hub, and from whom: handles, wakers, fetches that are over, and peers that are still being made.
//!
//! Read [`Message`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tur_sched::abr::AbrAction;

use crate::adapt::AbrHandle;
use crate::bus::Bus;
use crate::careful::Careful;
use crate::{CancelToken, Command, Peer, PeerNo, What};

/// What comes to the hub from handles, wakers and fetches that are over.
pub(crate) enum Message {
    /// A peer is being made: what is said to it meanwhile is kept until it comes.
    Expect(PeerNo),
    /// A peer comes.
    Register(PeerNo, Box<Newcomer>),
    /// Its last handle is gone, or it could not be made.
    Unregister(PeerNo),
    /// One command of a peer.
    Command {
        peer: PeerNo,
        command: Box<Command>,
        cancel: Option<CancelToken>,
        room: OwnedSemaphorePermit,
    },
    /// Everything that the peer has asked for is not wanted any more.
    CancelPeer(PeerNo),
    /// The peer may have commands.
    Ask(PeerNo),
    /// The peer says that it has news.
    Revive(PeerNo),
    /// What the choice of a peer's variants has come to.
    Decided(PeerNo, AbrAction),
    /// To be told in the peer's scope.
    Say(PeerNo, Box<What>),
    /// A fetch is over.
    Over { peer: PeerNo, id: u64 },
}

/// A peer that comes.
pub(crate) struct Newcomer {
    pub(crate) who: Careful<Arc<dyn Peer>>,
    pub(crate) abr: AbrHandle,
    pub(crate) bus: Bus,
}

/// Peers that are being made, with what was said to them meanwhile: as many commands as they have room for.
#[derive(Default)]
pub(super) struct Expected(BTreeMap<PeerNo, Vec<Message>>);

impl Expected {
    pub(super) fn expect(&mut self, peer: PeerNo) {
        self.0.insert(peer, Vec::new());
    }

    /// What was kept; the peer is not expected any more.
    pub(super) fn take(&mut self, peer: PeerNo) -> Vec<Message> {
        self.0.remove(&peer).unwrap_or_default()
    }

    /// Keeps what is said to a peer that is being made. Returns everything else.
    pub(super) fn keep(&mut self, message: Message) -> Option<Message> {
        match &message {
            Message::CancelPeer(peer) => {
                if let Some(said) = self.0.get_mut(peer) {
                    said.retain(|said| !matches!(said, Message::Command { .. }));
                }
            }
            Message::Command { peer, .. } | Message::Decided(peer, _) | Message::Say(peer, _) => {
                if let Some(said) = self.0.get_mut(peer) {
                    said.push(message);
                    return None;
                }
            }
            // A peer that comes is asked for everything in any case.
            _ => {}
        }
        Some(message)
    }
}

/// A peer that is being made. Its end says what has become of it: that it comes, or that it could not be made.
pub(crate) struct Making<'a> {
    post: &'a mpsc::UnboundedSender<Message>,
    then: Option<Message>,
}

impl<'a> Making<'a> {
    pub(crate) fn new(post: &'a mpsc::UnboundedSender<Message>, peer: PeerNo) -> Self {
        // If nobody hears it, the end says so.
        post.send(Message::Expect(peer)).ok();
        Self {
            post,
            then: Some(Message::Unregister(peer)),
        }
    }

    pub(crate) fn made(mut self, peer: PeerNo, newcomer: Newcomer) {
        self.then = Some(Message::Register(peer, Box::new(newcomer)));
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if let Some(then) = self.then.take()
            && self.post.send(then).is_err()
        {
            tracing::error!("the data thread is gone");
        }
    }
}

/// Rings for one peer.
pub(super) struct Bell {
    pub(super) peer: PeerNo,
    /// True once it has rung and nobody has come.
    pub(super) rung: AtomicBool,
    pub(super) post: mpsc::WeakUnboundedSender<Message>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(post) = self.post.upgrade()
        {
            // Without a hub there is nobody to ask the peer.
            drop(post.send(Message::Ask(self.peer)));
        }
    }
}

/// Tells the hub that a fetch is over, however it ended.
pub(super) struct Over {
    pub(super) post: mpsc::WeakUnboundedSender<Message>,
    pub(super) peer: PeerNo,
    pub(super) id: u64,
}

impl Drop for Over {
    fn drop(&mut self) {
        let (peer, id) = (self.peer, self.id);
        if let Some(post) = self.post.upgrade() {
            // A hub that is gone has nothing to put in order.
            drop(post.send(Message::Over { peer, id }));
        }
    }
}
