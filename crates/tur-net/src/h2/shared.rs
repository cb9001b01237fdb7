//! What a session, its bodies and its driver share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::h2::RecvStream;
use ::h2::client::ResponseFuture;
use tur_core::Fault;

use crate::recent::Note;
use crate::windows::Gauge;

use super::meter::{Breach, CONTROL_MAX, Meter, MeterLimits};
use super::resets::Resets;
use super::setbacks::Setbacks;

/// The shared state of one connection.
pub(crate) struct Shared {
    state: Mutex<State>,
    limits: MeterLimits,
    terms: Terms,
    /// Its window is taken for as long as anybody holds a stream: what came for it is in memory even when the connection is gone.
    gauge: Gauge,
}

/// Under which terms HTTP/2 is spoken.
#[derive(Debug)]
pub(crate) struct Terms {
    /// True if the peer did not agree to HTTP/2 by ALPN: nothing but our word says that it speaks it.
    pub(crate) prior_knowledge: bool,
    /// True if no other protocol may be spoken in its place.
    pub(crate) alone: bool,
    /// To say that the origin wants HTTP/1.1.
    pub(crate) legacy: Note<()>,
    /// How requests to it have fared.
    pub(crate) setbacks: Note<Setbacks>,
    /// To say how many requests at once it allows.
    pub(crate) streams: Note<usize>,
    /// What it allowed last.
    pub(crate) allowed: Option<usize>,
}

struct State {
    meter: Meter,
    resets: Resets,
    /// Bytes that may still be read before bodies get their turn.
    turn: usize,
    /// Requests that wait for a head, and bodies that are being read.
    heads: usize,
    bodies: usize,
    life: Life,
    /// What ended the connection, where the h2 crate does not know it.
    verdict: Option<Fault>,
    /// Streams that were given up and may not be reset, for the driver to take.
    parked: Vec<Parked>,
    driver: Option<Waker>,
    /// True once the peer's SETTINGS hold here too.
    settled: bool,
    /// Who waits for that.
    unsettled: Vec<Waker>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Life {
    /// It takes requests.
    Open,
    /// It takes no more; those that run go on, then it is closed.
    Retired,
    /// The driver is gone. What was read before may still be handed out.
    Over,
    /// The session was dropped: all ends now.
    Closed,
}

/// A stream that nobody wants any more.
pub(crate) enum Parked {
    /// Its head has not come.
    Head(ResponseFuture),
    /// Its body has not ended.
    Body(RecvStream),
}

impl Shared {
    pub(crate) fn new(limits: MeterLimits, terms: Terms, gauge: Gauge) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                meter: Meter::new(limits),
                resets: Resets::new(),
                turn: TURN_BYTES,
                heads: 0,
                bodies: 0,
                life: Life::Open,
                verdict: None,
                parked: Vec::new(),
                driver: None,
                settled: false,
                unsettled: Vec::new(),
            }),
            limits,
            terms,
            gauge,
        })
    }

    /// What the connection brings, and how much the peer may send ahead.
    pub(crate) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// A request begins, if no more than `most` run with it; and how many ran before.
    pub(crate) fn begin(self: &Arc<Self>, most: usize) -> Option<(Turn, usize)> {
        let mut state = self.state();
        let ahead = state.running();
        if ahead >= most {
            return None;
        }
        state.heads += 1;
        state.expect();
        let turn = Turn {
            shared: Arc::clone(self),
            reading: false,
            began: self.gauge.age(),
            number: self.terms.setbacks.change(Setbacks::ask),
        };
        Some((turn, ahead))
    }

    /// What the last connection to the origin allowed, if there was one.
    pub(crate) fn allowed(&self) -> Option<usize> {
        self.terms.allowed
    }

    pub(crate) fn life(&self) -> Life {
        self.state().life
    }

    /// Moves on to `life`, never back, and lets the driver see it.
    pub(crate) fn advance(&self, life: Life) {
        let mut state = self.state();
        state.life = state.life.max(life);
        let mut woken = match state.life {
            Life::Over | Life::Closed => std::mem::take(&mut state.unsettled),
            Life::Open | Life::Retired => Vec::new(),
        };
        woken.extend(state.driver.take());
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Tells why the connection ends; the first word counts.
    pub(crate) fn condemn(&self, fault: Fault) {
        self.state().verdict.get_or_insert(fault);
    }

    /// What ended the connection, where the h2 crate does not know it.
    pub(crate) fn verdict(&self) -> Option<Fault> {
        self.state().verdict.clone()
    }

    /// The origin wants HTTP/1.1: the next session is another one. Says what that means for this request.
    pub(crate) fn wants_http1(&self) -> Fault {
        self.terms.legacy.set(());
        self.advance(Life::Retired);
        if self.terms.alone {
            return Fault::ProtocolUnavailable(
                "HTTP/2 was asked for, and the server wants HTTP/1.1 for this".to_owned(),
            );
        }
        Fault::StreamRefused("the server wants HTTP/1.1".to_owned())
    }

    /// Bytes on the wire of the header section that came last.
    pub(crate) fn last_section(&self) -> usize {
        self.state().meter.last_section()
    }

    /// Bytes that a header section may have.
    pub(crate) fn head_limit(&self) -> usize {
        self.limits.head
    }

    /// The meter sees what was read. False if it found a breach: nothing more is to be read then.
    pub(crate) fn received(&self, bytes: &[u8]) -> bool {
        self.gauge.received(bytes.len() as u64);
        let mut state = self.state();
        state.turn = state.turn.saturating_sub(bytes.len());
        let breach = state.meter.read(bytes).err();
        if let Some(breach) = breach {
            let fault = self.fault(breach);
            state.verdict.get_or_insert(fault);
        }
        breach.is_none()
    }

    /// True while this turn of the driver may read more: what was read is to be written while it is fresh.
    pub(crate) fn may_read(&self) -> bool {
        self.state().turn > 0
    }

    /// Ready once the peer's SETTINGS hold, or with false if the connection is over before.
    pub(crate) fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.state();
        if state.settled {
            return Poll::Ready(true);
        }
        if state.life >= Life::Over {
            return Poll::Ready(false);
        }
        if !state.unsettled.iter().any(|w| w.will_wake(cx.waker())) {
            state.unsettled.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The h2 crate has done what was read. True if the peer's SETTINGS were among that, by which it allows so many requests.
    pub(crate) fn settle(&self, streams: usize) -> bool {
        let mut state = self.state();
        if !state.meter.greeted() {
            return false;
        }
        state.settled = true;
        let woken = std::mem::take(&mut state.unsettled);
        drop(state);
        self.terms.streams.set(streams);
        woken.into_iter().for_each(Waker::wake);
        true
    }

    /// What the driver has to know before each of its turns.
    pub(crate) fn drive(&self, cx: &mut Context<'_>) -> Orders {
        let mut state = self.state();
        state.turn = TURN_BYTES;
        state.driver = Some(cx.waker().clone());
        Orders {
            parked: std::mem::take(&mut state.parked),
            stop: state.life >= Life::Over || (state.life == Life::Retired && state.running() == 0),
        }
    }

    fn fault(&self, breach: Breach) -> Fault {
        match breach {
            Breach::NoPreface if self.terms.prior_knowledge => Fault::ProtocolUnavailable(
                "HTTP/2 was asked for, and the server speaks something else".to_owned(),
            ),
            Breach::NoPreface => Fault::Malformed("the peer does not speak HTTP/2 here".to_owned()),
            Breach::Flood => Fault::Malformed(format!(
                "a flood of HTTP/2 frames: {CONTROL_MAX} in a row without content"
            )),
            Breach::Head => Fault::HeadTooLarge {
                limit: self.limits.head,
            },
            Breach::Heads => Fault::TooManyInterim {
                limit: self.limits.interim,
            },
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the driver has to know.
pub(crate) struct Orders {
    /// Streams that it is to look after.
    pub(crate) parked: Vec<Parked>,
    /// True if the connection is to be closed now.
    pub(crate) stop: bool,
}

impl State {
    /// Requests that run, from before they are sent until their bodies have ended.
    fn running(&self) -> usize {
        self.heads + self.bodies
    }

    fn expect(&mut self) {
        self.meter.expect(self.heads, self.bodies);
    }
}

/// A request that runs, from before it is sent until its body has ended or is given up.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    reading: bool,
    /// The age of the connection then.
    began: Duration,
    /// Its number at the origin.
    number: u64,
}

impl Turn {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// It has ended in order.
    pub(crate) fn passed(&self) {
        self.shared.terms.setbacks.change(Setbacks::pass);
    }

    /// It has failed. Where it was the peer who ended this request and others before it, HTTP/1.1 is spoken next. Who closes
    /// the connection instead of an answer ends the request with it.
    pub(crate) fn failed(&self, error: &::h2::Error) {
        let is_said = error.is_remote() && error.reason().is_some();
        if !is_said && (self.reading || !error.is_io()) {
            return;
        }
        let terms = &self.shared.terms;
        let often = terms.setbacks.change(|setbacks| setbacks.meet(self.number));
        if often && !terms.alone && !terms.prior_knowledge {
            tracing::debug!("HTTP/2 does not work here: HTTP/1.1 is spoken from now on");
            terms.legacy.set(());
            self.shared.advance(Life::Retired);
        }
    }

    /// The head has come.
    pub(crate) fn head_came(&mut self) {
        if !std::mem::replace(&mut self.reading, true) {
            let gauge = &self.shared.gauge;
            gauge.answered(gauge.age().saturating_sub(self.began));
            let mut state = self.shared.state();
            state.heads -= 1;
            state.bodies += 1;
            state.expect();
        }
    }

    /// The stream has not ended and nobody wants it: it is reset, or parked if there were too many of those.
    pub(crate) fn give_up(&self, stream: Parked) {
        let age = self.shared.gauge.age();
        let mut state = self.shared.state();
        let refused = state.life < Life::Over && !state.resets.take(age);
        if refused {
            state.life = state.life.max(Life::Retired);
            state.parked.push(stream);
            let driver = state.driver.take();
            drop(state);
            driver.into_iter().for_each(Waker::wake);
            return;
        }
        // Outside the lock: the h2 crate resets the stream in here, and wakes the driver.
        drop(state);
        drop(stream);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if self.reading {
            state.bodies -= 1;
        } else {
            state.heads -= 1;
        }
        state.expect();
        let idle = state.running() == 0;
        // A retired connection is closed after its last stream.
        let driver = (state.life == Life::Retired)
            .then(|| state.driver.take())
            .flatten();
        drop(state);
        self.shared.gauge.ended(idle);
        driver.into_iter().for_each(Waker::wake);
    }
}

/// Bytes that are read in one turn of the driver. A fast peer fills the windows otherwise, before anything is written: tens of
/// megabytes that no cache of a processor holds.
pub(super) const TURN_BYTES: usize = 256 * 1024;
