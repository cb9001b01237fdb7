//! A transfer against an origin that changes its file, misplaces ranges and breaks off: it ends, and if it ends well
//! every byte is of one version of the file.
//!
//! The input is three bytes (lanes, length, how the transfer is set up) and a list of turns, two bytes each: what
//! happens, and how much or to whom. Answers pass through `admit` as they do in the engine; widths, windows, demands,
//! rate limits and losses on disk come at any time. After the last turn the origin is honest.
#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tur_core::{
    Answer, Asides, Ask, BodyKind, ByteRange, Content, ContentRange, ETag, Fault, Identity, Origin,
    RangeSet, Representation, RetryAfter, Scheme, Target, Timestamp, Wait,
};
use tur_http::{Asked, admit};
use tur_sched::{
    Action, Ended, Event, Failure, FetchOrder, Gate, LaneId, LeaseId, OnChange, Proof, Resumed,
    Schedule, Transfer, TransferConfig,
};

const KIB: u64 = 1024;
/// The version that is no version of the file, but an HTML page.
const PAGE: u8 = u8::MAX;
/// Turns that are played from the input.
const TURNS_MAX: usize = 400;
/// Turns in which an honest origin must bring every transfer to its end.
const HONEST_TURNS_MAX: usize = 20_000;

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let Some((&[lanes, pages, flags], turns)) = data.split_first_chunk() else {
        return;
    };
    let total = u64::from(pages % 48) * 64 * KIB + u64::from(pages);
    let mut world = World::new(u16::from(lanes % 6) + 1, total, flags);
    for turn in turns.chunks_exact(2).take(TURNS_MAX) {
        if world.end.is_some() {
            break;
        }
        world.turn(turn[0], turn[1]);
    }
    world.finish();
    if let Some(Ok(total)) = &world.end {
        world.assert_one_version(*total);
    }
});

/// A request that runs.
struct Running {
    order: FetchOrder,
    gate: Gate,
    at: u64,
    /// Where the body ends, and of which version it is, once an answer was admitted.
    body: Option<(u64, u8)>,
}

/// Obeys the transfer's actions and keeps the truth that they are judged by.
struct World {
    transfer: Transfer,
    now: Timestamp,
    /// Length of the first version; each further one is a byte longer or as long, in turns.
    total: u64,
    version: u8,
    wanting: Vec<LaneId>,
    running: BTreeMap<LeaseId, Running>,
    /// What is on disk, by version.
    written: BTreeMap<u8, RangeSet>,
    end: Option<Result<u64, Failure>>,
}

impl World {
    fn new(lanes: u16, total: u64, flags: u8) -> Self {
        let is_set = |bit: u8| flags & (1 << bit) != 0;
        let target = Target {
            origin: Origin {
                scheme: Scheme::Http,
                host: "origin".into(),
                port: 80,
            },
            path: "/file".into(),
        };
        let config = TransferConfig {
            lanes_max: lanes,
            lanes_start: (!is_set(0)).then_some(lanes),
            on_change: if is_set(1) {
                OnChange::Fail
            } else {
                OnChange::Restart
            },
            schedule: [Schedule::Equal, Schedule::Fibonacci, Schedule::Adaptive]
                [usize::from(flags >> 6) % 3],
            piece_min: is_set(2).then_some(100 * KIB),
            spare: is_set(5),
            ..TransferConfig::new(target)
        };
        let landed: RangeSet = match (is_set(3), is_set(4)) {
            (false, _) => RangeSet::new(),
            (true, false) => [ByteRange::new(total / 3, total / 2)].into_iter().collect(),
            (true, true) => [ByteRange::new(0, total)].into_iter().collect(),
        };
        let resumed = is_set(3).then(|| Resumed {
            identity: Identity {
                total: Some(total),
                etag: facts_of(0).etag,
                media_type: facts_of(0).media_type,
                ..Identity::default()
            },
            landed: landed.clone(),
            proof: match (is_set(5), total % 2) {
                (false, _) => Proof::Validator,
                (true, 0) => Proof::Overlap,
                (true, _) => Proof::OtherUrl,
            },
        });
        let mut world = Self {
            transfer: Transfer::new(config, resumed, Timestamp::ZERO),
            now: Timestamp::ZERO,
            total,
            version: 0,
            wanting: Vec::new(),
            running: BTreeMap::new(),
            written: BTreeMap::from([(0, landed)]),
            end: None,
        };
        world.obey();
        world
    }

    fn total_of(&self, version: u8) -> u64 {
        let page = u64::from(version == PAGE) * KIB;
        self.total + u64::from(version / 2) + page
    }

    /// One turn of a bad day.
    fn turn(&mut self, what: u8, size: u8) {
        self.now = self.now + Duration::from_millis(u64::from(size) * 4);
        let open: Vec<LeaseId> = self.running.keys().copied().collect();
        let pick = open.get(usize::from(size) % open.len().max(1)).copied();
        match (what % 32, pick) {
            (0..=2, _) => self.grant_all(),
            (3, _) => self.deny(),
            (4, _) => drop(self.jump()),
            (5, _) => self.tell(Event::Pause),
            (6, _) => self.tell(Event::Unpause),
            (7, _) => self.version = (self.version + 1).min(PAGE - 1),
            (8, Some(lease)) => self.break_off(lease),
            (9, Some(lease)) => self.redirect(lease, size),
            (kind @ 10..=19, Some(lease)) if self.running[&lease].body.is_none() => {
                let answer = self.answer(lease, kind, size);
                self.reply(lease, &answer);
            }
            (24, Some(lease)) if self.running[&lease].body.is_some() => {
                self.tell(Event::Held { lease });
            }
            (25, Some(lease)) => self.tell(Event::Released { lease }),
            (26..=30, _) => self.turn_from_outside(what % 32, size),
            (31, _) => self.lose(self.stretch(size)),
            (_, Some(lease)) => self.flow(lease, u64::from(size) * 2 * KIB + 1),
            (_, None) => {}
        }
    }

    /// What users, readers and the scaler say.
    fn turn_from_outside(&mut self, what: u8, size: u8) {
        let lanes = u16::from(size % 9);
        let event = match what {
            26 => Event::Width(lanes),
            27 => Event::Ceiling(lanes),
            28 if size % 4 == 3 => Event::Withdrawn(self.stretch(size & !3)),
            28 if size % 4 == 2 => Event::Ahead(RangeSet::from_iter([self.stretch(size)])),
            28 => Event::Demand(self.stretch(size)),
            29 => Event::Window(Some(RangeSet::from_iter([self.stretch(size)]))),
            _ if size % 2 == 1 => Event::Streams(size % 4 == 1),
            _ => Event::Window(None),
        };
        self.tell(event);
    }

    /// A part of the file: one sixteenth of it or more, or nothing.
    fn stretch(&self, size: u8) -> ByteRange {
        let (at, len) = (u64::from(size >> 4), u64::from(size & 15));
        let sixteenths = |n: u64| self.total * n / 16;
        ByteRange::new(sixteenths(at), sixteenths(at + len))
    }

    /// The disk has lost what was written in `range`, and storage has noticed.
    fn lose(&mut self, range: ByteRange) {
        for written in self.written.values_mut() {
            written.remove(range);
        }
        self.tell(Event::Lost { range });
    }

    /// What the origin says to the request of `lease`.
    fn answer(&self, lease: LeaseId, kind: u8, size: u8) -> Answer {
        let asked = self.running[&lease].order.ask.range();
        let total = self.total_of(self.version);
        let end = asked.end.min(total);
        match kind {
            // Short, long, from zero, shifted, without a total.
            11 => self.partial(
                asked.start,
                end.min(asked.start + u64::from(size) + 1),
                Some(total),
            ),
            12 => self.partial(asked.start, total, Some(total)),
            13 => self.partial(0, total, Some(total)),
            14 => self.partial(asked.start + u64::from(size), end, Some(total)),
            15 => self.partial(asked.start, end, None),
            16 => self.whole(if size.is_multiple_of(2) {
                BodyKind::Length(total)
            } else {
                BodyKind::Marked
            }),
            17 => Answer::Unsatisfiable {
                total: size.is_multiple_of(2).then_some(total),
            },
            18 => refused([404, 429, 503, 500, 403, 401][usize::from(size % 6)], size),
            19 => self.page(),
            _ => self.honest(lease),
        }
    }

    /// What an honest origin says.
    fn honest(&self, lease: LeaseId) -> Answer {
        let order = &self.running[&lease].order;
        let total = self.total_of(self.version);
        let identity = self
            .transfer
            .identity()
            .and_then(|identity| identity.etag.clone());
        let stale = order.if_range && identity != self.facts().etag;
        match order.ask {
            Ask::Range(range) if stale || range.start < total => {
                if stale {
                    self.whole(BodyKind::Length(total))
                } else {
                    self.partial(range.start, range.end.min(total), Some(total))
                }
            }
            Ask::Range(_) => Answer::Unsatisfiable { total: Some(total) },
            Ask::Whole => self.whole(BodyKind::Length(total)),
        }
    }

    fn facts(&self) -> Representation {
        facts_of(self.version)
    }

    fn partial(&self, start: u64, end: u64, total: Option<u64>) -> Answer {
        let range = (start < end).then_some(ContentRange {
            range: ByteRange::new(start, end),
            total,
        });
        Answer::Partial {
            range,
            content: Content {
                representation: self.facts(),
                body: BodyKind::Marked,
                asides: Asides::default(),
            },
        }
    }

    fn whole(&self, body: BodyKind) -> Answer {
        Answer::Whole(Content {
            representation: self.facts(),
            body,
            asides: Asides::default(),
        })
    }

    /// A page without validators, told from the file by its length alone once it was taken for the file.
    fn page(&self) -> Answer {
        Answer::Whole(Content {
            representation: Representation {
                media_type: Some("text/html".into()),
                ..Representation::default()
            },
            body: BodyKind::Length(self.total_of(PAGE)),
            asides: Asides::default(),
        })
    }

    /// Admits an answer, or refuses it, as the engine does.
    fn reply(&mut self, lease: LeaseId, answer: &Answer) {
        let is_page = *answer == self.page();
        let version = if is_page { PAGE } else { self.version };
        let total = self.total_of(version);
        let order = &self.running[&lease].order;
        let asked = Asked {
            ask: order.ask,
            if_range: order.if_range,
            identity: self.transfer.identity(),
            terms: tur_http::Terms::NONE,
        };
        match admit(answer, &asked) {
            Ok(admitted) => {
                let place = admitted.place();
                let run = self.running.get_mut(&lease).expect("it runs");
                run.body = Some((place.end.min(total), version));
                let partial = admitted.is_partial();
                let identity = admitted.into_identity();
                self.tell(Event::Opened {
                    lease,
                    place,
                    identity,
                    partial,
                });
            }
            Err(fault) => {
                self.running.remove(&lease);
                self.tell(Event::Refused {
                    lease,
                    fault,
                    session: true,
                });
            }
        }
    }

    /// Writes up to `n` bytes of a body; ends the fetch where body or gate end.
    fn flow(&mut self, lease: LeaseId, n: u64) {
        let run = self.running.get_mut(&lease).expect("it runs");
        let Some((body_end, version)) = run.body else {
            return;
        };
        let granted = run.gate.take(run.at, n.min(body_end - run.at));
        let fresh = ByteRange::new(run.at, run.at + granted);
        if run.order.compare {
            let equal = self.written.get(&version).is_some_and(|w| w.covers(fresh));
            if !equal {
                let at = run.at;
                self.running.remove(&lease);
                return self.tell(Event::Differs { lease, at });
            }
            return self.flowed(lease, granted);
        }
        for (other, written) in &self.written {
            assert!(
                !written.overlaps(fresh),
                "{fresh} is there already, of version {other}"
            );
        }
        self.written.entry(version).or_default().insert(fresh);
        self.flowed(lease, granted);
    }

    /// So many more bytes of a body are where they belong.
    fn flowed(&mut self, lease: LeaseId, granted: u64) {
        let run = self.running.get_mut(&lease).expect("it runs");
        let body_end = run.body.map_or(run.at, |(end, _)| end);
        run.at += granted;
        let at = run.at;
        if at == body_end || at >= run.gate.end() {
            let clean = at == body_end;
            let how = if clean { Ended::Clean } else { Ended::Cut };
            self.running.remove(&lease);
            self.tell(Event::Ended {
                lease,
                at,
                how,
                session: clean,
            });
        } else {
            let busy = Duration::from_millis(1 + granted / 1000);
            self.tell(Event::Landed {
                lease,
                upto: at,
                busy,
            });
        }
    }

    fn tell(&mut self, event: Event) {
        self.transfer.handle(self.now, event);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(action) = self.transfer.poll_action() {
            match action {
                Action::Want { lane, .. } => self.wanting.push(lane),
                Action::Yield { lane } => self.wanting.retain(|wanting| *wanting != lane),
                Action::Fetch(order) => {
                    let run = Running {
                        gate: Gate::new(order.grant.start, order.grant.end),
                        at: order.grant.start,
                        body: None,
                        order,
                    };
                    let before = self.running.insert(run.order.lease, run);
                    assert!(before.is_none(), "one request at a time for a lease");
                }
                Action::Cut { lease, at } => {
                    let at = self.running[&lease].gate.cut(at);
                    self.transfer.handle(self.now, Event::CutAt { lease, at });
                }
                Action::Extend { lease, end } => self.running[&lease].gate.extend(end),
                Action::Abort { lease } => {
                    let run = self
                        .running
                        .remove(&lease)
                        .expect("only what runs is aborted");
                    let (at, how) = (run.at, Ended::Cut);
                    let event = Event::Ended {
                        lease,
                        at,
                        how,
                        session: false,
                    };
                    self.transfer.handle(self.now, event);
                }
                Action::Restart { .. } => self.written.clear(),
                Action::Forget { range } => {
                    for written in self.written.values_mut() {
                        written.remove(range);
                    }
                }
                Action::Note(_) => {}
                Action::Complete { total } => self.end = Some(Ok(total)),
                Action::Fail(failure) => self.end = Some(Err(failure)),
            }
        }
    }

    fn grant_all(&mut self) {
        while let Some(lane) = self.wanting.pop() {
            let handshake = Duration::from_millis(10);
            self.tell(Event::Granted { lane, handshake });
        }
    }

    fn deny(&mut self) {
        if let Some(lane) = self.wanting.pop() {
            let fault = Fault::TimedOut(Wait::Connect, Duration::from_secs(10));
            self.tell(Event::Denied { lane, fault });
        }
    }

    fn break_off(&mut self, lease: LeaseId) {
        let run = self.running.remove(&lease).expect("it runs");
        let (at, how) = (run.at, Ended::Fault(Fault::Lost("reset".into())));
        self.tell(Event::Ended {
            lease,
            at,
            how,
            session: false,
        });
    }

    fn redirect(&mut self, lease: LeaseId, size: u8) {
        if self.running[&lease].body.is_some() {
            return;
        }
        let mut target = self.running.remove(&lease).expect("it runs").order.target;
        target.path = format!("/{size}");
        self.tell(Event::Moved {
            lease,
            target,
            session: true,
        });
    }

    /// Jumps to the next deadline. False if there is none.
    fn jump(&mut self) -> bool {
        let Some((at, _)) = self.transfer.next_wakeup() else {
            return false;
        };
        self.now = self.now.max(at);
        self.tell(Event::Tick);
        true
    }

    /// From now on everything works: runs to the end.
    fn finish(&mut self) {
        if self.end.is_none() {
            self.tell(Event::Window(None));
            self.tell(Event::Unpause);
            for lease in self.running.keys().copied().collect::<Vec<_>>() {
                self.tell(Event::Released { lease });
            }
        }
        for _ in 0..HONEST_TURNS_MAX {
            if self.end.is_some() {
                return;
            }
            self.grant_all();
            let Some(lease) = self.running.keys().next_back().copied() else {
                assert!(
                    self.end.is_some() || self.jump(),
                    "nothing pends: {:?}",
                    self.transfer
                );
                continue;
            };
            self.now = self.now + Duration::from_millis(5);
            if self.running[&lease].body.is_none() {
                let answer = self.honest(lease);
                self.reply(lease, &answer);
            } else {
                self.flow(lease, 200 * KIB);
            }
        }
        panic!("no end: {:?}", self.transfer);
    }

    /// The file that was called complete is one version, whole.
    fn assert_one_version(&self, total: u64) {
        let whole = ByteRange::new(0, total);
        let is_whole = |(version, written): (&u8, &RangeSet)| {
            self.total_of(*version) == total && written.covers(whole) && written.len() == total
        };
        let others = self
            .written
            .values()
            .filter(|written| !written.is_empty())
            .count();
        let empty = total == 0 && others == 0;
        assert!(
            empty || (others == 1 && self.written.iter().any(is_whole)),
            "complete with {total} bytes of {:?}",
            self.written
        );
    }
}

/// What the fields of a version say.
fn facts_of(version: u8) -> Representation {
    Representation {
        etag: Some(ETag {
            weak: false,
            opaque: format!("\"{version}\"").into_bytes(),
        }),
        media_type: Some("application/zip".into()),
        ..Representation::default()
    }
}

fn refused(status: u16, seconds: u8) -> Answer {
    Answer::Refused {
        status,
        reason: "no".into(),
        retry_after: Some(RetryAfter::Delay(Duration::from_secs(u64::from(seconds)))),
        challenge: false,
        asides: Asides::default(),
    }
}
