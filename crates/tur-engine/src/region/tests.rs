//! What a flow under a limit says, and what time it calls busy.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;
use tur_core::{Answer, Ask, BodyKind, Content, Identity, Rate, Representation};
use tur_http::{Asked, admit};
use tur_storage::{FileName, MemDisk, Part, Place};

use super::*;
use crate::fetch::{Head, Taker};
use crate::hand::Hand;
use crate::limits::Limit;

const STEP: usize = 2048;
const SILENCE: Duration = Duration::from_millis(300);

/// Steps of 2 KiB, each ready at once or after a silence.
struct Steps {
    clock: Clock,
    ready: VecDeque<bool>,
    silent_until: Option<Instant>,
}

impl Body for Steps {
    async fn fill(&mut self, chunks: &mut Chunks, _budget: usize) -> Result<Fill, Fault> {
        if self.ready.front() == Some(&false) {
            let until = self.clock.instant(self.clock.now() + SILENCE);
            sleep_until(*self.silent_until.get_or_insert(until)).await;
        }
        self.ready.pop_front();
        chunks.push(vec![7; STEP].into());
        Ok(match self.ready.is_empty() {
            true => Fill::End,
            false => Fill::More,
        })
    }
}

/// A flow of these steps into a file in memory.
fn flow(clock: Clock, ready: &[bool], limit: Option<Rate>) -> Flow<Steps, MemDisk> {
    let total = (STEP * ready.len()) as u64;
    let place = Place {
        dir: "/downloads".into(),
        name: FileName::new("file").expect("a name"),
        create_dirs: true,
    };
    let opened = Part::open(MemDisk::new(), &place, "http://h/file").expect("an empty disk");
    let identity = Identity {
        total: Some(total),
        ..Identity::default()
    };
    let begun = opened.part.begin("http://h/file", &identity, false);
    begun.expect("an empty disk");
    let writer = opened.part.writer(0, 0, ByteRange::from(0));
    let (unlimited, limit) = (Limit::new(clock, None), Limit::new(clock, limit));
    let limits = Limits {
        process: unlimited,
        transfer: limit,
    };
    flow_to(
        clock,
        limits,
        (steps(clock, ready), total),
        Sink::Part(Written {
            writer,
            calls: Arc::default(),
            readers: None,
            passing: false,
        }),
    )
}

fn steps(clock: Clock, ready: &[bool]) -> Steps {
    Steps {
        clock,
        ready: ready.iter().copied().collect(),
        silent_until: None,
    }
}

/// A flow of a body of so many bytes.
fn flow_to<B: Body>(
    clock: Clock,
    limits: Limits,
    (body, total): (B, u64),
    sink: Sink<MemDisk>,
) -> Flow<B, MemDisk> {
    let answer = Answer::Whole(Content {
        representation: Representation::default(),
        body: BodyKind::Length(total),
        asides: tur_core::Asides::default(),
    });
    let asked = Asked {
        ask: Ask::Whole,
        if_range: false,
        identity: None,
        terms: tur_http::Terms::NONE,
    };
    let admitted = admit(&answer, &asked).expect("a plain answer");
    let region = Region::new(Arc::new(Gate::new(0, total)), &admitted, sink);
    Flow::new(body, region, 1, limits, clock)
}

/// Who takes so many bytes and then has no room.
struct Mug(usize);

impl Taker for Mug {
    fn head(&mut self, _head: &Head) -> Result<(), String> {
        Ok(())
    }

    fn poll_room(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        match self.0 {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    fn take(&mut self, bytes: Bytes) -> Result<(), crate::fetch::Full> {
        self.0 = self.0.saturating_sub(bytes.len());
        Ok(())
    }

    fn slow(&mut self) {}
}

/// A body whose end comes after its last byte.
struct Late(Steps);

impl Body for Late {
    async fn fill(&mut self, chunks: &mut Chunks, budget: usize) -> Result<Fill, Fault> {
        if self.0.ready.is_empty() {
            return Ok(Fill::End);
        }
        self.0.fill(chunks, budget).await.map(|_| Fill::More)
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_is_told_at_once_and_the_last_needs_no_room_behind_it() {
    let clock = Clock::start();
    let total = 3 * STEP;
    let hand = Hand::new(Box::new(Mug(total)), 0, clock);
    let limits = Limits {
        process: Limit::new(clock, None),
        transfer: Limit::new(clock, None),
    };
    let body = (Late(steps(clock, &[true; 3])), total as u64);
    let flow = flow_to(clock, limits, body, Sink::Taker(hand.body(0)));
    let told = tokio::time::timeout(SILENCE, said(clock, flow)).await;
    let told = told.expect("it waits for room that it does not need");
    let words: Vec<_> = told.iter().map(|(word, ..)| *word).collect();
    assert_eq!(words, ["landed", "ended"]);
    assert_eq!(hand.next(), total as u64);
}

/// Everything a flow says until its end: its word, the time, and how long it says to have been busy.
async fn said<B: Body>(
    clock: Clock,
    mut flow: Flow<B, MemDisk>,
) -> Vec<(&'static str, Duration, Duration)> {
    let (start, mut said) = (clock.now(), Vec::new());
    loop {
        let (word, busy) = match flow.run().await {
            Flowed::Landed { busy, .. } => ("landed", busy),
            Flowed::Held => ("held", Duration::ZERO),
            Flowed::Released => ("released", Duration::ZERO),
            Flowed::Ended { .. } => ("ended", Duration::ZERO),
            Flowed::Disk { error, .. } => panic!("{error}"),
            Flowed::Fallen(fallen) => panic!("{fallen:?}"),
            Flowed::Differs { at } => panic!("nothing was to be compared at {at}"),
        };
        said.push((word, clock.now().since(start), busy));
        if word == "ended" {
            return said;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_limit_is_told_once_and_is_not_busy() {
    let clock = Clock::start();
    let steps = [true, true, true, false, true];
    // A step takes 200 ms at this rate.
    let limit = Rate::per_second(STEP as u64 * 5);
    let told = said(clock, flow(clock, &steps, Some(limit))).await;
    let ms = |time: Duration| (time.as_secs_f64() * 50.0).round() as u64 * 20;
    let told: Vec<_> = told
        .into_iter()
        .map(|(word, at, busy)| (word, ms(at), ms(busy)))
        .collect();
    assert_eq!(
        told,
        [
            ("landed", 0, 0),
            ("held", 0, 0),
            ("landed", 200, 0),
            ("landed", 400, 0),
            // The limit lets it through, and nothing is there: the network is waited for.
            ("released", 600, 0),
            ("landed", 900, 300),
            ("held", 900, 0),
            // The silence has saved up a tenth of a second.
            ("ended", 1_000, 0),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_nothing_is_said_of_one() {
    let clock = Clock::start();
    let told = said(clock, flow(clock, &[true, true, false, true], None)).await;
    let words: Vec<_> = told.iter().map(|(word, ..)| *word).collect();
    // After 50 ms of the silence what has come is reported.
    assert_eq!(words, ["landed", "landed", "ended"]);
    let busy: Duration = told.iter().map(|(.., busy)| *busy).sum();
    assert!(
        busy.abs_diff(SILENCE) < Duration::from_millis(5),
        "{busy:?}"
    );
}
