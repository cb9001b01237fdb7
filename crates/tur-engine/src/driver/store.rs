//! Where the bytes of a driver go: what its loop leaves to a file, or to who takes them.
//!
//! Read [`Store`]. There is one loop, one machine and one way through the network; what differs is behind this trait:
//! [`ToFile`](super::file::ToFile) keeps a part and a journal, [`ToTaker`](super::fetch::ToTaker) hands on and keeps nothing.

use std::task::{Context, Poll};

use tur_core::port::{Field, Transport};
use tur_core::{Answer, ByteRange, Target, Timestamp};
use tur_http::{Admitted, RedirectPolicy, Terms};
use tur_sched::{FetchOrder, LaneId, WaitsFor};
use tur_storage::Disk;

use super::Driver;
use crate::passport::SignIn;
use crate::region::Sink;

/// What the loop needs to know of what was asked for.
#[derive(Clone, Copy)]
pub(super) struct Errand<'a> {
    pub(super) target: &'a Target,
    /// For the first origin only, unless `sign_in` says otherwise.
    pub(super) fields: &'a [Field],
    pub(super) sign_in: &'a SignIn,
    pub(super) terms: &'a Terms,
    pub(super) redirects: &'a RedirectPolicy,
    pub(super) lanes_max: u16,
    pub(super) lanes_start: Option<u16>,
}

/// Where bytes go.
pub(super) trait Store<D: Disk + Clone>: Sized + Send {
    /// How a driver may end here and nowhere else.
    type End;
    /// What it hears of by itself.
    type News;

    /// What it has heard of; never ready without anything.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Self::News>;

    /// What goes there, for people.
    fn name(&self) -> &str;

    /// When the transfer is to be called slow.
    fn slow_at(&self, began: Timestamp, opened: bool) -> Option<Timestamp>;

    /// It was called slow.
    fn slow<T: Transport>(_driver: &mut Driver<'_, T, D, Self>) {}

    /// The lane begins to wait for this side, or ceases to.
    fn hold(&mut self, _now: Timestamp, _held: bool) {}

    /// What of this side a lane waits for that is held.
    fn holds_for(&self) -> WaitsFor {
        WaitsFor::Limiter
    }

    /// True while readers hold a lane up, which is no stall.
    fn waits_for_readers(&self) -> bool {
        false
    }

    /// True while an answer is only to be looked at: then no origin is worked at.
    fn only_looks(&self) -> bool {
        false
    }

    /// Looks at an answer that is no refusal. True if that is all that was wanted of it.
    fn looked_at<T: Transport>(_driver: &mut Driver<'_, T, D, Self>, _answer: &Answer) -> bool {
        false
    }

    /// An admitted answer: says what there is to say with the first one of a representation. False if none of its bytes
    /// are wanted.
    fn admitted<T: Transport>(
        driver: &mut Driver<'_, T, D, Self>,
        order: &FetchOrder,
        answer: (&Admitted, &Answer),
    ) -> bool;

    /// Where the bytes that were asked for go.
    fn sink(&self, lane: LaneId, order: &FetchOrder) -> Option<Sink<D>>;

    /// The representation changed: everything is void.
    fn restart<T: Transport>(driver: &mut Driver<'_, T, D, Self>, why: &str);

    /// These bytes will come again.
    fn forget<T: Transport>(driver: &mut Driver<'_, T, D, Self>, range: ByteRange);

    /// A turn of the loop is over.
    fn follow<T: Transport>(_driver: &mut Driver<'_, T, D, Self>) {}

    /// It has heard of something.
    fn heard<T: Transport>(driver: &mut Driver<'_, T, D, Self>, news: Self::News);

    /// A body is over.
    fn flow_ended<T: Transport>(_driver: &mut Driver<'_, T, D, Self>) {}
}
