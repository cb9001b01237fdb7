//! The hot path: bytes from a body to their place in the file.
//!
//! A [`Region`] is made only of a lease's gate and an [`Admitted`], and nothing else writes to the part: so no byte
//! reaches the file that was not leased and admitted. Bytes that are there already are compared instead; those of a fetch
//! are handed to who takes them, past the same gate.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use tokio::time::sleep_until;
use tur_core::port::{Body, Fill};
use tur_core::{ByteRange, Chunks, Fault, Timestamp};
use tur_http::Admitted;
use tur_sched::{Ended, Gate};
use tur_storage::{Disk, StorageError, Writer};

use crate::clock::Clock;
use crate::hand::{Fallen, Handing};
use crate::limits::{Limits, Turn};
use crate::lookout::Calls;
use crate::overlap::Overlap;
use crate::reading::Core;

/// Bytes taken from a body before they are written: enough to make the call cheap, small enough to lose nothing much.
pub(crate) const FILL_MAX: usize = 256 * 1024;
/// Received and not yet written, over all lanes of a file.
const UNWRITTEN_MAX: usize = 1024 * 1024;
const FILL_MIN: usize = 32 * 1024;
/// The control plane hears of progress so often at most.
const REPORT_BYTES: u64 = 1024 * 1024;
const REPORT_TIME: Duration = Duration::from_millis(50);

/// Where one body may be written.
pub(crate) struct Region<D: Disk> {
    gate: Arc<Gate>,
    place: ByteRange,
    sink: Sink<D>,
    /// Nothing but all of it could be had.
    whole: bool,
}

/// What becomes of the bytes.
pub(crate) enum Sink<D: Disk> {
    /// They are written, and who reads is told.
    Part(Written<D>),
    /// They are there, and must be the same.
    Overlap(Overlap<D>, Arc<Calls>),
    /// They are handed on.
    Taker(Handing),
}

/// Bytes on their way into a part.
pub(crate) struct Written<D: Disk> {
    pub(crate) writer: Writer<D>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) readers: Option<Arc<Core>>,
    /// They stay no longer than until they are read: what comes in one stream waits for who reads it.
    pub(crate) passing: bool,
}

/// Why bytes did not go where they belong.
enum Stuck {
    Disk(StorageError),
    /// They are not what is there.
    Differs,
    Fallen(Fallen),
}

impl<D: Disk> Region<D> {
    /// The place that an admitted body has, behind the gate of its lease.
    pub(crate) fn new(gate: Arc<Gate>, admitted: &Admitted, sink: Sink<D>) -> Self {
        let place = admitted.place();
        let region = Self {
            gate,
            place,
            sink,
            whole: !admitted.is_partial(),
        };
        assert_eq!(place.start, region.cursor(), "a body goes where it belongs");
        region
    }

    /// Where the next byte goes.
    fn cursor(&self) -> u64 {
        match &self.sink {
            Sink::Part(part) => part.writer.cursor(),
            Sink::Overlap(overlap, _) => overlap.cursor(),
            Sink::Taker(handing) => handing.cursor(),
        }
    }

    /// Ready when whoever takes the bytes has room, or needs none.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Fallen>> {
        match &self.sink {
            Sink::Taker(handing) if !self.is_over() => handing.poll_room(cx),
            Sink::Part(Written {
                writer,
                readers: Some(readers),
                passing: true,
                ..
            }) if self.whole && !self.is_over() => readers.poll_reach(cx, writer.cursor()).map(Ok),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Writes or compares what of `chunks` may be, and drops the rest. Returns how many bytes came for nothing.
    fn take(&mut self, chunks: &mut Chunks) -> Result<u64, Stuck> {
        let at = self.cursor();
        let wanted = (chunks.len() as u64).min(self.place.end.saturating_sub(at));
        let granted = usize::try_from(self.gate.take(at, wanted)).unwrap_or(0);
        let dropped = chunks.truncate(granted);
        let wasted = match &mut self.sink {
            Sink::Part(part) => {
                let Written { writer, calls, .. } = part;
                let written = calls.during(|| writer.write(chunks, granted));
                if let Some(readers) = &part.readers {
                    readers.published(ByteRange::new(at, writer.cursor()));
                }
                written.map_err(Stuck::Disk)?;
                dropped
            }
            Sink::Overlap(overlap, calls) => {
                if !calls.during(|| overlap.agrees(chunks, granted)) {
                    return Err(Stuck::Differs);
                }
                dropped + granted
            }
            Sink::Taker(handing) => {
                let had = handing.take(chunks, granted).map_err(Stuck::Fallen)?;
                dropped + had
            }
        };
        assert_eq!(
            self.cursor(),
            at + granted as u64,
            "all that was granted is where it belongs"
        );
        Ok(wasted as u64)
    }

    /// True, once, if somebody waits to hear of the first byte, and it has come.
    fn take_began(&mut self) -> bool {
        match &mut self.sink {
            Sink::Taker(handing) => handing.take_began(),
            Sink::Part(..) | Sink::Overlap(..) => false,
        }
    }

    /// True if no byte is wanted any more.
    fn is_over(&self) -> bool {
        self.cursor() >= self.gate.end().min(self.place.end)
    }

    /// True if what it takes is written.
    fn writes(&self) -> bool {
        matches!(self.sink, Sink::Part(..))
    }

    /// True if the lane has to stop, whatever the body still holds.
    fn is_full(&self) -> bool {
        self.cursor() >= self.gate.end() && self.cursor() < self.place.end
    }
}

/// One body on its way to its region.
pub(crate) struct Flow<B, D: Disk> {
    body: B,
    region: Region<D>,
    chunks: Chunks,
    budget: usize,
    limits: Limits,
    /// True from the moment the limits have let it through until it has drawn.
    granted: bool,
    /// True while the machine believes that it waits for this side: the limits, or who takes the bytes.
    held: bool,
    clock: Clock,
    reported: (u64, Timestamp),
    wasted: u64,
    /// Writes since they were asked for last, and the time that they took.
    writes: (u32, Duration),
}

/// What a flow has to say.
#[derive(Debug)]
pub(crate) enum Flowed {
    /// Bytes up to `upto` are written; there is more to come.
    Landed { upto: u64, busy: Duration },
    /// It begins to wait for a rate limit, or for who takes the bytes. Everything that is written was told.
    Held,
    /// It was let through, and waits for the network again.
    Released,
    /// It is over.
    Ended { at: u64, how: Ended },
    /// The bytes from `at` on are not those that are there.
    Differs { at: u64 },
    /// The disk refused; bytes up to `at` are written, whatever the gate has granted.
    Disk { at: u64, error: StorageError },
    /// Who takes the bytes panicked.
    Fallen(Fallen),
}

impl<B: Body, D: Disk> Flow<B, D> {
    /// A flow under `limits` that shares the bound of unwritten bytes with `lanes` others.
    pub(crate) fn new(
        body: B,
        region: Region<D>,
        lanes: usize,
        limits: Limits,
        clock: Clock,
    ) -> Self {
        let reported = (region.cursor(), clock.now());
        let budget = (UNWRITTEN_MAX / lanes.max(1)).clamp(FILL_MIN, FILL_MAX);
        Self {
            body,
            region,
            chunks: Chunks::new(),
            budget,
            limits,
            granted: false,
            held: false,
            clock,
            reported,
            wasted: 0,
            writes: (0, Duration::ZERO),
        }
    }

    /// Bytes received and not used since this was asked last.
    pub(crate) fn take_wasted(&mut self) -> u64 {
        std::mem::take(&mut self.wasted)
    }

    /// How long a write took, on average since this was asked last; `None` if nothing was written.
    pub(crate) fn take_write(&mut self) -> Option<Duration> {
        let (writes, took) = std::mem::take(&mut self.writes);
        (writes > 0).then(|| took / writes)
    }

    /// Moves bytes until there is something to say. Dropping it loses only what was received in the same instant.
    pub(crate) async fn run(&mut self) -> Flowed {
        loop {
            if let Err(said) = self.room().await {
                return said;
            }
            let filled = match self.draw().await {
                Ok(filled) => filled,
                Err(said) => return said,
            };
            let (since, comes) = (self.clock.now(), !self.chunks.is_empty());
            let taken = self.region.take(&mut self.chunks);
            if comes && self.region.writes() {
                let took = self.clock.now().since(since);
                self.writes = (self.writes.0 + 1, self.writes.1 + took);
            }
            let at = self.region.cursor();
            match taken {
                Ok(wasted) => self.wasted += wasted,
                Err(Stuck::Differs) => return Flowed::Differs { at },
                Err(Stuck::Fallen(fallen)) => return Flowed::Fallen(fallen),
                Err(Stuck::Disk(error)) => return Flowed::Disk { at, error },
            }
            match filled {
                Err(fault) => {
                    return Flowed::Ended {
                        at,
                        how: Ended::Fault(fault),
                    };
                }
                Ok(Fill::End) => {
                    return Flowed::Ended {
                        at,
                        how: Ended::Clean,
                    };
                }
                Ok(Fill::More) if self.region.is_full() => {
                    return Flowed::Ended {
                        at,
                        how: Ended::Cut,
                    };
                }
                Ok(Fill::More) => {}
            }
            // The body goes on although its place is full: a lying length, or a chunked body that has yet to end.
            if at >= self.region.place.end && self.wasted > FILL_MAX as u64 {
                return Flowed::Ended {
                    at,
                    how: Ended::Cut,
                };
            }
            let unreported = at - self.reported.0;
            let due = self.clock.now() >= self.reported.1 + REPORT_TIME;
            if unreported >= REPORT_BYTES || (due && unreported > 0) || self.region.take_began() {
                return self.report();
            }
        }
    }

    /// Waits until whoever takes the bytes has room. Before that, it says what it has handed on, and that it waits.
    async fn room(&mut self) -> Result<(), Flowed> {
        let at_once = poll_fn(|cx| self.region.poll_room(cx)).now_or_never();
        if let Some(room) = at_once {
            return room.map_err(Flowed::Fallen);
        }
        self.wait_said()?;
        let since = self.clock.now();
        let room = poll_fn(|cx| self.region.poll_room(cx)).await;
        self.not_busy_since(since);
        room.map_err(Flowed::Fallen)
    }

    /// `Err` is what has to be said before this side is waited for.
    fn wait_said(&mut self) -> Result<(), Flowed> {
        if self.region.cursor() > self.reported.0 {
            return Err(self.report());
        }
        match std::mem::replace(&mut self.held, true) {
            true => Ok(()),
            false => Err(Flowed::Held),
        }
    }

    /// As if the time since then had not passed.
    fn not_busy_since(&mut self, since: Timestamp) {
        self.reported.1 = self.reported.1 + self.clock.now().since(since);
    }

    /// Draws what is ready, as far as the limits allow. `Err` is what has to be said first.
    async fn draw(&mut self) -> Result<Result<Fill, Fault>, Flowed> {
        if !self.limits.is_set() {
            return match std::mem::take(&mut self.held) {
                true => Err(Flowed::Released),
                false => self.fill(self.budget).await.ok_or_else(|| self.report()),
            };
        }
        let most = self.budget.min(self.limits.quantum());
        if !self.granted {
            let turn = self.turn().await?;
            if self.region.is_full() {
                // Its tail went to another lane while it waited.
                let at = self.region.cursor();
                return Err(Flowed::Ended {
                    at,
                    how: Ended::Cut,
                });
            }
            self.granted = true;
            // The turn is not kept while the network is waited for.
            if let Some(filled) = self.body.fill(&mut self.chunks, most).now_or_never() {
                self.debit();
                drop(turn);
                return Ok(filled);
            }
        }
        if std::mem::take(&mut self.held) {
            return Err(Flowed::Released);
        }
        let Some(filled) = self.fill(most).await else {
            return Err(self.report());
        };
        self.debit();
        Ok(filled)
    }

    /// Waits until the limits let it through. Before that, it says what it has written, and that it waits.
    async fn turn(&mut self) -> Result<Turn, Flowed> {
        if let Some(turn) = self.limits.try_turn() {
            return Ok(turn);
        }
        self.wait_said()?;
        let since = self.clock.now();
        let turn = self.limits.turn().await;
        self.not_busy_since(since);
        Ok(turn)
    }

    fn debit(&mut self) {
        self.limits.debit(self.chunks.len());
        self.granted = false;
    }

    /// Draws what is ready; `None` if nothing came while bytes wait to be reported, and their time has come.
    async fn fill(&mut self, most: usize) -> Option<Result<Fill, Fault>> {
        let fill = pin!(self.body.fill(&mut self.chunks, most));
        if self.region.cursor() == self.reported.0 {
            return Some(fill.await);
        }
        let due = pin!(sleep_until(
            self.clock.instant(self.reported.1 + REPORT_TIME)
        ));
        match select(fill, due).await {
            Either::Left((filled, _)) => Some(filled),
            Either::Right(_) => None,
        }
    }

    fn report(&mut self) -> Flowed {
        let (upto, now) = (self.region.cursor(), self.clock.now());
        let busy = now.since(self.reported.1);
        self.reported = (upto, now);
        Flowed::Landed { upto, busy }
    }
}

#[cfg(test)]
mod tests;
