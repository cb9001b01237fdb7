//! The body of a simulated answer, released by its schedule.

use tokio::sync::watch;
use tokio::time::Instant;
use tur_core::port::{Body, Fill};
use tur_core::{Chunks, Fault};

use super::session::Hold;
use super::session_gone;
use crate::behaviour::Framing;
use crate::clock;
use crate::pace::{Grain, SLACK};
use crate::play::{Break, Script};
use crate::stage::{Schedule, Turn};

/// A body in memory. Chunks are at most 16 KiB; at a pace, about ten milliseconds' worth.
#[derive(Debug)]
pub struct SimBody {
    script: Script,
    schedule: Schedule,
    turn: Turn,
    hold: Option<Hold>,
    session: watch::Receiver<()>,
    sent: u64,
    /// The slice that was taken from the schedule and has not come yet.
    coming: Option<Slice>,
    over: Option<Result<(), Fault>>,
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    len: u64,
    /// `None` is never.
    due: Option<Instant>,
}

impl SimBody {
    pub(super) fn new(
        script: Script,
        turn: Turn,
        hold: Hold,
        session: watch::Receiver<()>,
    ) -> Self {
        Self {
            schedule: Schedule::new(&script, GRAIN),
            script,
            turn,
            hold: Some(hold),
            session,
            sent: 0,
            coming: None,
            over: None,
        }
    }

    /// Bytes that come before the body ends or breaks off.
    fn last(&self) -> u64 {
        let length = match self.script.head.framing {
            // What follows the declared end is not part of the body.
            Framing::LyingLength(said) => self.script.length.min(said),
            _ => self.script.length,
        };
        self.script.stop.map_or(length, |stop| length.min(stop.at))
    }

    /// What the body comes to once all its bytes are out; `None` if it hangs.
    fn outcome(&mut self) -> Option<Result<(), Fault>> {
        let said = match self.script.head.framing {
            Framing::LyingLength(said) => said,
            _ => self.script.length,
        };
        let whole = self.sent == said;
        let outcome = match self.script.stop.map(|stop| stop.how) {
            // Bytes up to a declared end are the whole body, whatever comes after it.
            Some(_) if whole && matches!(self.script.head.framing, Framing::LyingLength(_)) => {
                Ok(())
            }
            Some(Break::Stall) => return None,
            Some(Break::Reset) => Err(Fault::Lost("connection reset".to_owned())),
            // A close is how this body ends, early or not.
            Some(Break::Cut) if self.script.head.framing == Framing::UntilClose => Ok(()),
            Some(Break::Cut) => Err(self.truncated(said)),
            None if whole => Ok(()),
            None => Err(self.truncated(said)),
        };
        let mut hold = self.hold.take();
        if let Some(hold) = &mut hold
            && outcome.is_ok()
            && self.script.keep_alive
            && !self.script.used_up
        {
            hold.release();
        }
        Some(outcome)
    }

    fn truncated(&self, said: u64) -> Fault {
        Fault::Truncated(format!("{} of {said} bytes", self.sent))
    }

    /// Appends every slice that is due, up to `budget`.
    fn take_due(&mut self, chunks: &mut Chunks, budget: u64) -> u64 {
        let mut taken = 0;
        while taken < budget.max(1) && self.sent < self.last().min(self.script.passing()) {
            let slice = self.next_slice();
            if slice.due.is_none_or(|due| due > clock::now()) {
                break;
            }
            self.coming = None;
            chunks.push(self.script.source.chunk(self.sent, slice.len));
            self.sent += slice.len;
            taken += slice.len;
            self.turn.sent(slice.len);
        }
        taken
    }

    fn next_slice(&mut self) -> Slice {
        if let Some(slice) = self.coming {
            return slice;
        }
        let stage = self.turn.stage();
        let passing = self.last().min(self.script.passing());
        let len = self.schedule.slice(stage, passing - self.sent);
        let due = self.schedule.reserve(stage, len);
        *self.coming.insert(Slice { len, due })
    }

    /// Waits for the next slice; a lost session ends it.
    async fn wait(&mut self) -> Result<(), Fault> {
        let passes = self.sent < self.script.passing();
        let due = match self.sent < self.last() {
            // The gate is waited for, not the clock.
            true if !passes => Some(clock::now()),
            true => self.next_slice().due,
            false => None,
        };
        let coming = async {
            match due {
                None => std::future::pending().await,
                Some(due) => clock::wait_until(due).await,
            }
            self.script.passes(self.sent).await;
        };
        tokio::select! {
            () = session_gone(&mut self.session) => {
                Err(Fault::Lost("the session was closed".to_owned()))
            }
            () = coming => Ok(()),
        }
    }
}

impl Body for SimBody {
    async fn fill(&mut self, chunks: &mut Chunks, budget: usize) -> Result<Fill, Fault> {
        // An unpaced body is always ready: others get their turn too.
        tokio::task::consume_budget().await;
        loop {
            if let Some(over) = &self.over {
                return over.clone().map(|()| Fill::End);
            }
            if self.session.has_changed().is_err() {
                self.over = Some(Err(Fault::Lost("the session was closed".to_owned())));
                continue;
            }
            let taken = self.take_due(chunks, budget as u64);
            if self.sent == self.last() {
                self.over = self.outcome();
                match &self.over {
                    Some(Ok(())) => return Ok(Fill::End),
                    // Bytes are handed over first; the fault comes with the next call.
                    Some(Err(_)) if taken > 0 => return Ok(Fill::More),
                    Some(Err(fault)) => return Err(fault.clone()),
                    None => {}
                }
            }
            if taken > 0 {
                return Ok(Fill::More);
            }
            if let Err(fault) = self.wait().await {
                self.over = Some(Err(fault));
            }
        }
    }
}

/// Virtual timers are punctual, and a body of small slices shows more of a client than one of large ones.
const GRAIN: Grain = Grain {
    slice_max: 16 * 1024,
    slack: SLACK,
};
