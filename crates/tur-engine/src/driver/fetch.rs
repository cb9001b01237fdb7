//! A driver whose bytes go to who takes them: one small fetch, from its first wish to its end.
//!
//! Read [`fetch`], then [`ToTaker`]. What is given away is gone: what comes again is dropped on the way, and that it is the
//! same is the machine's business (`TransferConfig::given_away`).

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use tur_core::port::Transport;
use tur_core::{Answer, ByteRange, Timestamp};
use tur_http::{Admitted, SafeName};
use tur_sched::{FetchOrder, LaneId, TransferConfig, Waits, WaitsFor};
use tur_storage::Disk;

use super::answer::validator;
use super::finish::or_cancelled;
use super::store::{Errand, Store};
use super::{Driver, End, Outside, World, conclude};
use crate::careful::unharmed;
use crate::fetch::{FetchJob, Fetched, Head, Taker};
use crate::hand::Hand;
use crate::region::Sink;
use crate::{Completed, Error, What};

/// Fetches one range, small or not, and hands it on while it comes. Tells its events; its last one tells the outcome.
pub(crate) async fn fetch<T, D>(
    world: World<T, D>,
    job: FetchJob,
    taker: Box<dyn Taker>,
    mut outside: Outside,
) -> Result<Fetched, Error>
where
    T: Transport,
    D: Disk + Clone,
{
    let board = outside.board.clone();
    let (clock, began) = (world.clock, world.clock.now());
    let url = job.target.to_string();
    board.tell(Duration::ZERO, What::Started { url: url.clone() });
    let store = ToTaker::new(&job, Hand::new(taker, job.wanted().start, clock), began);
    let result = match or_cancelled(&mut outside, world.origins.ready()).await {
        Some(()) => unharmed(run(&world, store, &mut outside))
            .await
            .and_then(|result| result),
        None => Err(Error::cancelled()),
    };
    let elapsed = clock.now().since(began);
    let result = result
        .map(|done| Fetched { elapsed, ..done })
        .map_err(|error| error.with_url(&url));
    conclude(&board, elapsed, &report(&result, url));
    result
}

async fn run<T: Transport, D: Disk + Clone>(
    world: &World<T, D>,
    store: ToTaker<'_>,
    outside: &mut Outside,
) -> Result<Fetched, Error> {
    let job = store.job;
    let errand = Errand {
        target: &job.target,
        fields: &job.fields,
        sign_in: &job.sign_in,
        terms: &job.terms,
        redirects: &job.redirects,
        lanes_max: 1,
        lanes_start: None,
    };
    let board = outside.board.clone();
    let mut driver = Driver::new(world, errand, config(job), board, store);
    let end = driver.drive(outside).await;
    driver.release_all();
    driver.remember();
    match end {
        End::Landed(_) => Ok(driver.fetched()),
        End::Failed(failure) => Err(failure.into()),
        End::Broken(error) => Err(error),
        End::Cancelled => Err(Error::cancelled()),
    }
}

/// The machine's settings for a fetch.
fn config(job: &FetchJob) -> TransferConfig {
    TransferConfig {
        span: job.span,
        given_away: true,
        lanes_max: 1,
        retry: job.retry,
        waits: Waits {
            read: job.read_timeout,
            total: job.max_time,
        },
        require_resume: job.terms.resume,
        seed: job.seed,
        ..TransferConfig::new(job.target.clone())
    }
}

/// What the events say of the outcome.
fn report(result: &Result<Fetched, Error>, url: String) -> Result<Completed, Error> {
    let done = result.as_ref().map_err(Error::clone)?;
    Ok(Completed {
        url,
        bytes: done.bytes,
        elapsed: done.elapsed,
        protocol: done.head.as_ref().map_or("", |head| head.protocol),
        connections: done.connections,
        lanes_max: 1,
        requests: done.requests,
        wasted_bytes: done.wasted_bytes,
        unverifiable: done.unverifiable,
        ..Completed::default()
    })
}

/// Who takes the bytes of a fetch.
pub(super) struct ToTaker<'a> {
    job: &'a FetchJob,
    hand: Hand,
    head: Option<Head>,
    name: String,
    /// True while this side is waited for: the clock of the origin stands.
    held: bool,
    /// The origin's silence is counted from here, or from the last byte.
    quiet: Timestamp,
}

impl<'a> ToTaker<'a> {
    fn new(job: &'a FetchJob, hand: Hand, began: Timestamp) -> Self {
        Self {
            job,
            hand,
            head: None,
            name: String::new(),
            held: false,
            quiet: began,
        }
    }
}

impl<D: Disk + Clone> Store<D> for ToTaker<'_> {
    type End = Infallible;
    type News = Infallible;

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<Infallible> {
        Poll::Pending
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn slow_at(&self, _began: Timestamp, _opened: bool) -> Option<Timestamp> {
        let heard = self
            .hand
            .last()
            .map_or(self.quiet, |last| last.max(self.quiet));
        (!self.held).then_some(heard + self.job.slow_after)
    }

    fn slow<T: Transport>(driver: &mut Driver<'_, T, D, Self>) {
        if let Err(fallen) = driver.store.hand.slow() {
            driver.end = Some(End::Broken(fallen.into()));
        }
    }

    fn hold(&mut self, now: Timestamp, held: bool) {
        self.held = held;
        self.quiet = now;
    }

    fn holds_for(&self) -> WaitsFor {
        if self.hand.is_full() {
            WaitsFor::Reader
        } else {
            WaitsFor::Limiter
        }
    }

    fn admitted<T: Transport>(
        driver: &mut Driver<'_, T, D, Self>,
        _order: &FetchOrder,
        (admitted, _answer): (&Admitted, &Answer),
    ) -> bool {
        driver.opened || driver.first_answer(admitted)
    }

    fn sink(&self, _lane: LaneId, order: &FetchOrder) -> Option<Sink<D>> {
        Some(Sink::Taker(self.hand.body(order.grant.start)))
    }

    fn restart<T: Transport>(driver: &mut Driver<'_, T, D, Self>, _why: &str) {
        let (next, start) = (driver.store.hand.next(), driver.store.job.wanted().start);
        assert_eq!(next, start, "what was given away is not begun again");
    }

    /// It comes again, and is dropped on the way.
    fn forget<T: Transport>(_driver: &mut Driver<'_, T, D, Self>, _range: ByteRange) {}

    /// Whatever it waited for, it waits no more.
    fn flow_ended<T: Transport>(driver: &mut Driver<'_, T, D, Self>) {
        if driver.store.held {
            let (now, paused) = (driver.now(), driver.paused);
            Store::<D>::hold(&mut driver.store, now, paused);
        }
    }

    fn heard<T: Transport>(_driver: &mut Driver<'_, T, D, Self>, news: Infallible) {
        match news {}
    }
}

impl<T: Transport, D: Disk + Clone> Driver<'_, T, D, ToTaker<'_>> {
    /// The first answer of a representation: shows it to the taker. False if it is not taken.
    fn first_answer(&mut self, admitted: &Admitted) -> bool {
        let identity = admitted.identity();
        let total = identity.total;
        let wanted = self.store.job.wanted();
        if total.is_some_and(|total| wanted.start >= total.max(1)) {
            // There is nothing to show: the machine says so as soon as it knows the total.
            return true;
        }
        let head = Head {
            url: self.transfer.target().to_string(),
            total,
            range: wanted.intersect(identity.extent()),
            media_type: identity.media_type.clone(),
            encoding: identity
                .encoding
                .clone()
                .filter(|_| admitted.coding().is_none()),
            validator: validator(identity),
            protocol: self.tally.protocol(),
        };
        if let Err(declined) = self.store.hand.head(&head) {
            self.end = Some(End::Broken(declined.into()));
            return false;
        }
        self.store.name = SafeName::of(None, &self.store.job.target)
            .as_str()
            .to_owned();
        self.opened = true;
        self.tell(What::Opened {
            len: total,
            name: self.store.name.clone(),
            validator: head.validator.clone(),
            protocol: head.protocol,
            resumed_bytes: 0,
        });
        self.store.head = Some(head);
        true
    }

    fn fetched(&mut self) -> Fetched {
        let hand = &self.store.hand;
        Fetched {
            bytes: hand.next() - self.store.job.wanted().start,
            first_byte: hand.first().map(|first| first.since(self.began)),
            head: self.store.head.take(),
            requests: self.tally.requests,
            connections: self.tally.connections,
            wasted_bytes: self.tally.wasted,
            unverifiable: self.tally.unverifiable,
            ..Fetched::default()
        }
    }
}
