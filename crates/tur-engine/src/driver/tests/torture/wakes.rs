//! A future that is polled too often, too late, or for nothing: [`Woken`].

use std::pin::Pin;
use std::task::{Context, Poll};

use super::fates::{Fates, Op, Way};
use crate::clock::Clock;
use crate::driver::until;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Each poll is an operation that may be struck.
pub(super) struct Woken<T> {
    inner: Boxed<T>,
    fates: Fates,
    clock: Clock,
    /// While it sleeps, nothing is heard.
    asleep: Option<Boxed<()>>,
    /// Wakes it for nothing.
    prod: Option<Boxed<()>>,
}

impl<T> Woken<T> {
    pub(super) fn new(inner: Boxed<T>, fates: Fates, clock: Clock) -> Self {
        Self {
            inner,
            fates,
            clock,
            asleep: None,
            prod: None,
        }
    }
}

impl<T> Future for Woken<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let instant = |time| this.clock.instant(this.clock.now() + time);
        if this.asleep.is_none() {
            match this.fates.meet(Op::Wake) {
                Some(Way::Late(time)) => this.asleep = Some(Box::pin(until(Some(instant(time))))),
                Some(Way::Spurious(time)) => this.prod = Some(Box::pin(until(Some(instant(time))))),
                Some(Way::Twice) => {
                    if let Poll::Ready(done) = this.inner.as_mut().poll(cx) {
                        return Poll::Ready(done);
                    }
                }
                _ => {}
            }
        }
        if let Some(asleep) = &mut this.asleep {
            if asleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.asleep = None;
        }
        if let Some(prod) = &mut this.prod
            && prod.as_mut().poll(cx).is_ready()
        {
            this.prod = None;
        }
        this.inner.as_mut().poll(cx)
    }
}
