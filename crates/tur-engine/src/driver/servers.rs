//! Servers behind one name that disagree about a file.
//!
//! Connections take turns over the addresses of a host. Where one of them has another version of the file than the one that
//! it was begun with, nothing has changed: that server is a different one. The host is then asked at one address alone
//! ([`Pin`]), and the request again. Only that address can say that the file has changed.

use std::net::SocketAddr;
use std::sync::Arc;

use tur_core::port::Transport;
use tur_core::{Fault, Origin, Refusal};
use tur_sched::LaneId;
use tur_storage::Disk;

use super::Driver;
use super::store::Store;
use crate::What;

/// How a transport is told to ask an origin at one address alone.
#[derive(Clone)]
pub(crate) struct Pin(Arc<Tell>);

type Tell = dyn Fn(&Origin, &str) + Send + Sync;

impl Pin {
    pub(crate) fn new(pin: impl Fn(&Origin, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(pin))
    }

    /// For transports whose origins have one address.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self::new(|_, _| {})
    }
}

/// The server that the identity of a file is of.
pub(super) struct Server {
    origin: Origin,
    address: SocketAddr,
}

impl<T: Transport, D: Disk + Clone, B: Store<D>> Driver<'_, T, D, B> {
    /// The lane's answer was admitted: the first one after a beginning says whose file it is.
    pub(super) fn agrees(&mut self, lane: LaneId, first: bool) {
        if first || self.server.is_none() {
            self.server = self.server_of(lane);
        }
    }

    /// The lane's answer was not admitted. What comes back is the fault to tell of it: a disagreement of servers is an
    /// accident of this request, and no change of the file.
    pub(super) fn disagrees(&mut self, lane: LaneId, fault: Fault) -> Fault {
        let Fault::NotAdmitted(Refusal::Changed(why)) = &fault else {
            return fault;
        };
        let (Some(first), Some(other)) = (&self.server, self.server_of(lane)) else {
            return fault;
        };
        if first.origin != other.origin || first.address == other.address {
            return fault;
        }
        let (here, there) = (first.address, other.address);
        if let Some(lent) = self
            .lanes
            .get_mut(&lane)
            .and_then(|lane| lane.lent.as_mut())
        {
            lent.unwanted = true;
        }
        (self.world.pin.0)(&first.origin, &here.to_string());
        let text = format!("the servers of {} disagree ({why})", first.origin.host);
        self.tell(What::Note(format!(
            "{text}: {there} is left out, {here} is asked alone"
        )));
        Fault::Lost(text)
    }

    /// Who answers on this lane; `None` if that cannot be told, as behind a proxy.
    fn server_of(&self, lane: LaneId) -> Option<Server> {
        let lent = self.lanes.get(&lane)?.lent.as_ref()?;
        Some(Server {
            origin: lent.origin.clone(),
            address: lent.facts.address.parse().ok()?,
        })
    }
}
