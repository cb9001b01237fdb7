//! What every transport must keep: one suite for the port in [`tur_core::port`], run against each implementation.
//!
//! Give [`run`] a transport and a [`Rig`] that serves behaviours where that transport can reach them: [`LoopbackRig`] for one
//! that has sockets. Each case ([`CASES`]) reads every byte and compares it with [`content`]; one that fails panics and says
//! which it was. [`lifetime::serves_ten_thousand_requests`] takes longer and is run apart. `examples/own_transport.rs` is a
//! transport that knows nothing of ours.
//!
//! Protocols differ in what ends with a request: over HTTP/1.1 the connection, over those with streams the stream alone.
//! What a case expects of either is said in the case, by [`has_streams`]; what cannot be said in a protocol is left out
//! there and named.

pub mod answers;
pub mod framing;
pub mod lifetime;
mod loopback;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use tur_core::port::{Body, Fill, Reply, Request, Session, Transport};
use tur_core::{Answer, Ask, ByteRange, Chunks, ContentRange, Fault, Origin, Target};

pub use self::loopback::LoopbackRig;
use crate::behaviour::Behaviour;
use crate::content::content;

/// Where the suite's origins live.
pub trait Rig {
    /// Serves `behaviour` under a path of its own and says where that is. All targets have the same origin.
    fn serve(&self, behaviour: Behaviour) -> Target;

    /// Connections that the origin has taken so far.
    fn connections(&self) -> u64;

    /// An origin where nobody listens.
    fn dead_origin(&self) -> Origin;
}

/// Defines [`run`] and [`CASES`] by one list.
macro_rules! cases {
    ($($family:ident :: $case:ident),* $(,)?) => {
        /// Names of the cases, in their order.
        pub const CASES: &[&str] = &[$(concat!(stringify!($family), "::", stringify!($case))),*];

        /// Runs every case.
        ///
        /// # Panics
        /// If the transport breaks a rule of the port; the message names the case.
        pub async fn run<T: Transport>(transport: &T, rig: &impl Rig) {
            $(boxed::$case(transport, rig).await;)*
        }

        /// Each case on the heap, made in a frame of its own: the stack of a test is small for all of them.
        mod boxed {
            use std::pin::Pin;

            use tur_core::port::Transport;

            use super::Rig;

            $(pub(super) fn $case<T: Transport>(
                transport: &T,
                rig: &impl Rig,
            ) -> Pin<Box<impl Future<Output = ()>>> {
                Box::pin(super::$family::$case(transport, rig))
            })*
        }
    };
}

cases! {
    lifetime::opens_and_refuses,
    lifetime::survives_a_cancelled_open,
    answers::reads_whole_and_ranges,
    answers::tells_validators,
    answers::asks_with_if_range,
    framing::tells_framing,
    answers::reads_every_redirect,
    answers::reads_answers_without_the_file,
    answers::places_by_content_range,
    framing::never_takes_a_cut_for_an_end,
    framing::ends_where_the_frame_ends,
    framing::refuses_what_is_not_http,
    framing::bounds_what_comes_before_a_body,
    lifetime::reuses_one_connection,
    lifetime::closes_what_is_dropped,
    lifetime::survives_a_cancelled_fetch,
    lifetime::survives_cancelled_fills,
    lifetime::keeps_to_the_budget,
    lifetime::runs_as_many_as_it_says,
}

/// True if a session runs each request on a stream of its own: then what goes wrong with one ends that one, and the end of
/// a body is always marked.
#[must_use]
pub fn has_streams<S: Session>(session: &S) -> bool {
    session.facts().protocol != "h1"
}

/// Opens a session to the target's origin.
async fn open<T: Transport>(transport: &T, target: &Target) -> T::Session {
    match limited("open", transport.open(&target.origin)).await {
        Ok(session) => session,
        Err(fault) => panic!("open {}: {fault}", target.origin),
    }
}

/// Fetches what must be answered.
async fn fetch<S: Session>(name: &str, session: &S, request: Request) -> Reply<S::Body> {
    match limited(name, session.fetch(request)).await {
        Ok(reply) => reply,
        Err(fault) => panic!("{name}: {fault}"),
    }
}

/// The fault of a fetch that must fail.
async fn fault<S: Session>(name: &str, session: &S, target: &Target) -> Fault {
    match limited(name, session.fetch(request(target))).await {
        Ok(reply) => panic!("{name}: it was answered with {:?}", reply.answer),
        Err(fault) => fault,
    }
}

fn request(target: &Target) -> Request {
    Request {
        target: target.clone(),
        ask: Ask::Whole,
        if_range: None,
        no_cache: false,
        fields: Vec::new(),
    }
}

fn ranged(target: &Target, range: ByteRange) -> Request {
    Request {
        ask: Ask::Range(range),
        ..request(target)
    }
}

/// Where a 206 says that its body belongs.
fn placed<B>(name: &str, reply: &Reply<B>) -> Option<(ByteRange, Option<u64>)> {
    match &reply.answer {
        Answer::Partial { range, .. } => range.map(|ContentRange { range, total }| (range, total)),
        other => panic!("{name}: {other:?}"),
    }
}

/// Reads a body to its end and compares every byte.
async fn assert_body<B: Body>(name: &str, mut reply: Reply<B>, range: ByteRange) {
    let (bytes, outcome) = drain(name, &mut reply.body).await;
    assert_eq!(outcome, Ok(()), "{name}: the body ends");
    assert_eq!(bytes.len() as u64, range.len(), "{name}: length");
    assert!(bytes == content(0, range), "{name}: every byte of {range}");
}

/// Everything a body gives, and how it ended.
async fn drain<B: Body>(name: &str, body: &mut B) -> (Vec<u8>, Result<(), Fault>) {
    let mut chunks = Chunks::new();
    let outcome = loop {
        match limited(name, body.fill(&mut chunks, BUDGET)).await {
            Ok(Fill::More) => {}
            Ok(Fill::End) => break Ok(()),
            Err(fault) => break Err(fault),
        }
    };
    (flat(&chunks), outcome)
}

fn flat(chunks: &Chunks) -> Vec<u8> {
    chunks.iter().flatten().copied().collect()
}

/// Polls a future at most so often, then drops it.
async fn give_up_after<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        left -= 1;
        match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(None),
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    })
    .await
}

/// A transport that hangs fails its case.
async fn limited<F: Future>(name: &str, future: F) -> F::Output {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_elapsed) => panic!("{name}: nothing happened for {LIMIT:?}"),
    }
}

/// Length of most representations: no multiple of any buffer.
const SIZE: u64 = 200_003;
/// More than sockets and buffers hold.
const BIG: u64 = 8_000_011;
const BUDGET: usize = 64 * 1024;
/// No transport's buffer is larger.
const BUFFER_MAX: usize = 512 * 1024;
/// Real time for a real transport: far more than any case needs.
const LIMIT: Duration = Duration::from_secs(60);
