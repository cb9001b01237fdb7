//! A simulated transport of which each open, fetch and fill may be struck, and which counts what is alive.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tur_core::port::{Body, Fill, Reply, Request, Session, SessionFacts, Transport};
use tur_core::{Answer, Chunks, ETag, Fault, Origin};
use tur_testkit::sim::{SimBody, SimSession, SimTransport};

use super::fates::{Fates, Odd, Op, Way};
use crate::clock::Clock;
use crate::driver::until;

/// Bytes that come one by one.
const TRICKLE: usize = 48;

/// What all parts of one simulated network share.
#[derive(Clone, Debug)]
struct Common {
    fates: Fates,
    clock: Clock,
    live: Arc<()>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Shaken {
    pub(super) inner: SimTransport,
    common: Common,
}

#[derive(Debug)]
pub(super) struct ShakenSession {
    inner: SimSession,
    common: Common,
}

#[derive(Debug)]
pub(super) struct ShakenBody {
    inner: SimBody,
    common: Common,
    /// Nothing comes before; `None` is at once.
    since: Option<Instant>,
    stuck: bool,
    trickle: usize,
    spare: Chunks,
    over: Option<Result<(), Fault>>,
}

impl Shaken {
    pub(super) fn new(inner: SimTransport, fates: Fates, clock: Clock) -> Self {
        let live = Arc::default();
        let common = Common { fates, clock, live };
        Self { inner, common }
    }

    /// Sessions, bodies and operations that are alive.
    pub(super) fn live(&self) -> usize {
        Arc::strong_count(&self.common.live) - 1
    }
}

impl Common {
    fn after(&self, time: Duration) -> Instant {
        self.clock.instant(self.clock.now() + time)
    }
}

impl Transport for Shaken {
    type Session = ShakenSession;

    async fn open(&self, origin: &Origin) -> Result<ShakenSession, Fault> {
        let common = self.common.clone();
        match common.fates.meet(Op::Connect) {
            Some(Way::Fault(fault)) => {
                if matches!(fault, Fault::TimedOut(..)) {
                    until(Some(common.after(Duration::from_secs(10)))).await;
                }
                return Err(fault);
            }
            Some(Way::Later(time)) => until(Some(common.after(time))).await,
            _ => {}
        }
        let inner = self.inner.open(origin).await?;
        Ok(ShakenSession { inner, common })
    }
}

impl Session for ShakenSession {
    type Body = ShakenBody;

    async fn fetch(&self, request: Request) -> Result<Reply<ShakenBody>, Fault> {
        let common = self.common.clone();
        let mut odd = None;
        match common.fates.meet(Op::Fetch) {
            Some(Way::Fault(fault)) => return Err(fault),
            Some(Way::Never) => pending().await,
            Some(Way::Later(time)) => until(Some(common.after(time))).await,
            Some(Way::Answers(answer)) => odd = Some(answer),
            _ => {}
        }
        let Reply { answer, body } = self.inner.fetch(request).await?;
        let answer = match odd {
            Some(odd) => odd.of(answer),
            None => answer,
        };
        let body = ShakenBody {
            inner: body,
            common,
            since: None,
            stuck: false,
            trickle: 0,
            spare: Chunks::new(),
            over: None,
        };
        Ok(Reply { answer, body })
    }

    fn facts(&self) -> SessionFacts {
        self.inner.facts()
    }

    fn is_open(&self) -> bool {
        self.inner.is_open()
    }
}

impl Odd {
    /// What the answer becomes.
    fn of(self, mut answer: Answer) -> Answer {
        match (self, &mut answer) {
            (Odd::Status(status), _) => Answer::Refused {
                status,
                reason: "torture".to_owned(),
                retry_after: None,
                challenge: false,
                asides: tur_core::Asides::default(),
            },
            (Odd::Unsatisfiable, _) => Answer::Unsatisfiable { total: None },
            // To the first question it would be an answer: the file may be a page.
            (
                Odd::Page,
                Answer::Partial {
                    range: Some(range),
                    content,
                },
            ) if range.range.start > 0 => {
                content.representation.media_type = Some("text/html".to_owned());
                content.representation.etag = None;
                Answer::Whole(content.clone())
            }
            (Odd::Stranger, Answer::Partial { content, .. } | Answer::Whole(content)) => {
                content.representation.etag = Some(ETag {
                    weak: false,
                    opaque: b"\"stranger\"".to_vec(),
                });
                answer
            }
            (
                Odd::Shifted,
                Answer::Partial {
                    range: Some(range), ..
                },
            ) => {
                range.range.start += 1;
                answer
            }
            (Odd::NoRange, Answer::Partial { range, .. }) => {
                *range = None;
                answer
            }
            _ => answer,
        }
    }
}

impl ShakenBody {
    /// One byte of what came, and in the end all the rest.
    fn drip(&mut self, chunks: &mut Chunks) {
        let first = self.spare.iter().next().unwrap_or_default();
        let byte = bytes::Bytes::copy_from_slice(&first[..first.len().min(1)]);
        self.spare.advance(byte.len());
        chunks.push(byte);
        self.trickle -= 1;
        if self.trickle == 0 {
            self.pour(chunks);
        }
    }

    fn pour(&mut self, chunks: &mut Chunks) {
        for piece in self.spare.iter() {
            chunks.push(bytes::Bytes::copy_from_slice(piece));
        }
        self.spare.truncate(0);
    }

    async fn draw(&mut self, chunks: &mut Chunks, budget: usize) -> Result<Fill, Fault> {
        if self.trickle == 0 || !self.spare.is_empty() {
            return self.inner.fill(chunks, budget).await;
        }
        let fill = self.inner.fill(&mut self.spare, budget).await;
        self.over = match fill {
            Ok(Fill::More) => None,
            Ok(Fill::End) => Some(Ok(())),
            Err(fault) => Some(Err(fault)),
        };
        self.drip(chunks);
        Ok(Fill::More)
    }
}

impl Body for ShakenBody {
    async fn fill(&mut self, chunks: &mut Chunks, budget: usize) -> Result<Fill, Fault> {
        let mut ill = None;
        match self.common.fates.meet(Op::Fill) {
            Some(Way::Never) => self.stuck = true,
            Some(Way::Later(time)) => self.since = Some(self.common.after(time)),
            Some(Way::Fault(fault)) => self.over = Some(Err(fault)),
            Some(Way::EndsEarly) => self.over = Some(Ok(())),
            Some(Way::Trickles) => self.trickle = TRICKLE,
            Some(Way::Empty) => return Ok(Fill::More),
            Some(Way::BytesThenFault(fault)) => ill = Some(fault),
            _ => {}
        }
        if self.stuck {
            pending::<()>().await;
        }
        if let Some(since) = self.since {
            until(Some(since)).await;
            self.since = None;
        }
        if !self.spare.is_empty() {
            self.drip(chunks);
            return Ok(Fill::More);
        }
        if let Some(over) = &self.over {
            return over.clone().map(|()| Fill::End);
        }
        let filled = self.draw(chunks, budget).await?;
        match ill {
            Some(fault) if filled == Fill::More => {
                self.over = Some(Err(fault.clone()));
                Err(fault)
            }
            _ => Ok(filled),
        }
    }
}
