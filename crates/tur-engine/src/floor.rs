//! The data thread: what runs on it beside the drivers.
//!
//! Read [`serve`].

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Weak;
use std::task::Poll;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tur_net::{HttpSession, HttpTransport};
use tur_storage::FileDisk;

use crate::CancelToken;
use crate::clock::Clock;
use crate::driver;
use crate::hub::{Hub, Run};
use crate::pressure::Watch;
use crate::sessions::Sessions;

/// What the data thread looks after.
pub(crate) struct Floor {
    pub(crate) pools: Sessions<HttpSession>,
    pub(crate) clock: Clock,
    pub(crate) hub: Hub<HttpTransport, FileDisk>,
}

/// Why the data thread has looked up.
enum Looked {
    Begin(Vec<Run>),
    Again,
    Over,
}

/// The data thread: runs drivers, begins what peers ask for, closes connections that nobody uses, and looks at what is left
/// of memory and descriptors. Ends when the last downloader is gone and every driver has kept what it has.
pub(crate) async fn serve(
    mut inbox: mpsc::UnboundedReceiver<Run>,
    mut floor: Floor,
    mut watch: Watch,
    (stop, life): (CancelToken, Weak<watch::Sender<()>>),
) {
    let mut drivers = JoinSet::new();
    let mut stopped = pin!(stop.cancelled().fuse());
    loop {
        let Floor { pools, clock, hub } = &mut floor;
        let mut expiry = pin!(driver::until(
            pools.expire(clock.now()).map(|at| clock.instant(at))
        ));
        let mut returned = pin!(pools.returned());
        let looked = poll_fn(|cx| {
            while let Poll::Ready(Some(ended)) = drivers.poll_join_next(cx) {
                if let Err(error) = ended {
                    tracing::error!(%error, "a driver panicked");
                }
            }
            if !drivers.is_empty()
                && let Poll::Ready(signs) = watch.poll(cx)
            {
                pools.pressure(clock.now(), &signs);
                return Poll::Ready(Looked::Again);
            }
            if stopped.as_mut().poll(cx).is_ready()
                && let Some(life) = life.upgrade()
            {
                // Each driver takes a change for the end of its downloader.
                life.send_replace(());
                hub.shut_down();
            }
            if let Poll::Ready(runs) = hub.poll(cx) {
                return Poll::Ready(Looked::Begin(runs));
            }
            match inbox.poll_recv(cx) {
                Poll::Ready(Some(run)) => Poll::Ready(Looked::Begin(vec![run])),
                Poll::Ready(None) => Poll::Ready(Looked::Over),
                // A session that came back may be the next to expire.
                Poll::Pending if returned.as_mut().poll(cx).is_ready() => {
                    Poll::Ready(Looked::Again)
                }
                Poll::Pending => expiry.as_mut().poll(cx).map(|()| Looked::Again),
            }
        });
        match looked.await {
            Looked::Begin(runs) => runs.into_iter().for_each(|run| drop(drivers.spawn(run))),
            Looked::Again => {}
            Looked::Over => break,
        }
    }
    floor.hub.shut_down();
    while drivers.join_next().await.is_some() {}
}
