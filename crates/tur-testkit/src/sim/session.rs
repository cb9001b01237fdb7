//! A simulated connection: one fetch at a time, as HTTP/1.1 has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tur_core::port::{Reply, Request, Session, SessionFacts};
use tur_core::{Answer, Ask, Fault};

use super::body::SimBody;
use super::head;
use super::machine::Socket;
use crate::clock;
use crate::log::Seen;
use crate::play::{Act, Play, Script, Wanted};
use crate::stage::{Seat, Stage, Turn};

/// An established simulated connection. Dropping it ends its fetch and its body: both say that it was lost.
#[derive(Debug)]
pub struct SimSession {
    stage: Arc<Stage>,
    seat: Seat,
    facts: SessionFacts,
    line: Arc<Line>,
    // Bodies hold receivers, which see this end.
    alive: watch::Sender<()>,
    socket: Option<Socket>,
}

/// Whether a connection can take a request.
#[derive(Debug, Default)]
pub(super) struct Line(AtomicU8);

const IDLE: u8 = 0;
const BUSY: u8 = 1;
const CLOSED: u8 = 2;

impl Line {
    fn take(&self) -> bool {
        self.0
            .compare_exchange(IDLE, BUSY, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// A connection in use; dropped before [`Hold::release`], it is closed.
#[derive(Debug)]
pub(super) struct Hold {
    line: Arc<Line>,
    kept: bool,
}

impl Hold {
    /// The fetch ended well: the connection may take another.
    pub(super) fn release(&mut self) {
        if !self.kept {
            self.kept = true;
            self.line.0.store(IDLE, Ordering::Release);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.kept {
            self.line.0.store(CLOSED, Ordering::Release);
        }
    }
}

impl SimSession {
    pub(super) fn new(stage: Arc<Stage>, seat: Seat, facts: SessionFacts) -> Self {
        Self {
            stage,
            seat,
            facts,
            line: Arc::default(),
            alive: watch::Sender::new(()),
            socket: None,
        }
    }

    /// Stands on this socket, and frees it when it is dropped.
    pub(super) fn on(mut self, socket: Socket) -> Self {
        self.socket = Some(socket);
        self
    }

    /// One exchange, on a connection that is held.
    async fn exchange(&self, request: Request, hold: Hold) -> Result<Reply<SimBody>, Fault> {
        let (seen, wanted) = self.seen(&request);
        let link = &self.stage.link;
        let (play, turn) = self.stage.request(&self.seat, seen, wanted);
        let Play {
            delay,
            gate,
            interim,
            act,
        } = play;
        if link.black_hole {
            std::future::pending::<()>().await;
        }
        clock::pass(link.rtt.saturating_add(delay)).await;
        if let Some(gate) = gate {
            gate.passes(0).await;
        }
        if interim > INTERIM_MAX {
            return Err(Fault::TooManyInterim {
                limit: INTERIM_MAX as usize,
            });
        }
        match act {
            Act::BlackHole => std::future::pending().await,
            Act::Hangup => Err(Fault::Lost("closed before the answer".to_owned())),
            Act::ResetStream(REFUSED_STREAM) => {
                Err(Fault::StreamRefused("REFUSED_STREAM".to_owned()))
            }
            Act::ResetStream(ENHANCE_YOUR_CALM) | Act::GoAway(ENHANCE_YOUR_CALM) => {
                Err(Fault::Calm("ENHANCE_YOUR_CALM".to_owned()))
            }
            Act::ResetStream(code) | Act::GoAway(code) => {
                Err(Fault::Lost(format!("ended by the origin with code {code}")))
            }
            Act::NotHttp => Err(Fault::Malformed("not HTTP".to_owned())),
            Act::EndlessHead => Err(Fault::HeadTooLarge { limit: HEAD_MAX }),
            Act::Answer(script) => self.reply(*script, turn, hold),
        }
    }

    fn reply(&self, script: Script, turn: Turn, hold: Hold) -> Result<Reply<SimBody>, Fault> {
        let answer: Answer = head::answer(&script)?;
        let body = SimBody::new(script, turn, hold, self.alive.subscribe());
        Ok(Reply { answer, body })
    }

    /// The request as an origin sees it.
    fn seen(&self, request: &Request) -> (Seen, Option<Wanted>) {
        let wanted = match request.ask {
            Ask::Whole => None,
            Ask::Range(range) => Some(Wanted::Range(range)),
        };
        let range = match request.ask {
            Ask::Whole => None,
            Ask::Range(range) => Some(range),
        };
        // If-Range is sent only with a range.
        let if_range = request.if_range.clone().filter(|_| range.is_some());
        let mut fields: Vec<_> = request
            .fields
            .iter()
            .map(|field| {
                (
                    field.name.to_ascii_lowercase(),
                    field.value.expose().to_vec(),
                )
            })
            .collect();
        if request.no_cache {
            fields.push(("cache-control".to_owned(), b"no-cache".to_vec()));
        }
        let seen = Seen {
            method: "GET".to_owned(),
            path: request.target.path.clone(),
            host: request.target.origin.authority(),
            range,
            if_range,
            fields,
            protocol: "h1",
            connection: self.seat.number,
            stream: 0,
            at: Duration::ZERO,
            status: 0,
            sent: 0,
        };
        (seen, wanted)
    }
}

impl Session for SimSession {
    type Body = SimBody;

    async fn fetch(&self, request: Request) -> Result<Reply<SimBody>, Fault> {
        if !self.line.take() {
            return Err(Fault::Lost("the connection is closed or busy".to_owned()));
        }
        let hold = Hold {
            line: self.line.clone(),
            kept: false,
        };
        self.exchange(request, hold).await
    }

    fn facts(&self) -> SessionFacts {
        self.facts.clone()
    }

    fn is_open(&self) -> bool {
        self.line.0.load(Ordering::Acquire) != CLOSED
    }
}

/// Codes of RFC 9113, section 7.
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Interim answers that a transport takes.
const INTERIM_MAX: u32 = 100;

/// Bytes of a head that a transport takes.
const HEAD_MAX: usize = 256 * 1024;
