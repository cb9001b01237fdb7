//! What the decisions of a download cost: every event from the first request to the end, against an origin that answers
//! at once.
//!
//! The clock stands still between events except for what the driver here adds, so that the machine is all there is.

use std::collections::BTreeMap;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use tur_core::{Ask, ByteRange, Identity, Origin, Scheme, Target, Timestamp};
use tur_sched::{Action, Ended, Event, FetchOrder, Gate, LeaseId, Transfer, TransferConfig};

/// Bytes of the file.
const TOTAL: u64 = 1 << 30;

/// Bytes that one event reports: what the engine batches.
const LANDED: u64 = 1 << 20;

/// Adds the benches of [`Transfer`].
pub fn add(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("transfer");
    group.throughput(Throughput::Elements(TOTAL / LANDED));
    for lanes in [1, 8] {
        group.bench_function(
            BenchmarkId::new("1_GiB_in_1_MiB_events", lanes),
            |bencher| {
                bencher.iter(|| Drive::new(lanes).run());
            },
        );
    }
    group.finish();
}

/// A transfer and the origin that it thinks it talks to.
struct Drive {
    transfer: Transfer,
    now: Timestamp,
    running: BTreeMap<LeaseId, Running>,
    /// Events that answer actions, to be told after the actions are drained.
    answers: Vec<Event>,
    complete: bool,
}

/// A body that is being written.
struct Running {
    at: u64,
    body_end: u64,
    gate: Gate,
}

impl Drive {
    fn new(lanes: u16) -> Self {
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
            lanes_start: Some(lanes),
            ..TransferConfig::new(target)
        };
        Self {
            transfer: Transfer::new(config, None, Timestamp::ZERO),
            now: Timestamp::ZERO,
            running: BTreeMap::new(),
            answers: Vec::new(),
            complete: false,
        }
    }

    /// Runs to the end.
    fn run(mut self) {
        self.obey();
        while !self.complete {
            let leases: Vec<LeaseId> = self.running.keys().copied().collect();
            assert!(!leases.is_empty(), "the transfer waits for nothing");
            for lease in leases {
                self.flow(lease);
            }
        }
    }

    fn tell(&mut self, event: Event) {
        self.transfer.handle(self.now, event);
        self.obey();
    }

    fn obey(&mut self) {
        loop {
            while let Some(action) = self.transfer.poll_action() {
                self.act(action);
            }
            let Some(answer) = self.answers.pop() else {
                return;
            };
            self.transfer.handle(self.now, answer);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Want { lane, .. } => self.answers.push(Event::Granted {
                lane,
                handshake: Duration::from_millis(10),
            }),
            Action::Fetch(order) => self.fetch(&order),
            Action::Cut { lease, at } => {
                let at = self.running[&lease].gate.cut(at);
                self.transfer.handle(self.now, Event::CutAt { lease, at });
            }
            Action::Extend { lease, end } => self.running[&lease].gate.extend(end),
            Action::Abort { lease } => {
                if let Some(run) = self.running.remove(&lease) {
                    let how = Ended::Cut;
                    self.answers.push(ended(lease, run.at, how));
                }
            }
            Action::Complete { .. } => self.complete = true,
            Action::Yield { .. } | Action::Note(_) => {}
            Action::Restart { .. } | Action::Forget { .. } | Action::Fail(_) => {
                panic!("nothing goes wrong here: {action:?}")
            }
        }
    }

    fn fetch(&mut self, order: &FetchOrder) {
        let start = order.grant.start;
        let body_end = order.ask.range().end.min(TOTAL);
        let run = Running {
            at: start,
            body_end,
            gate: Gate::new(start, order.grant.end),
        };
        self.running.insert(order.lease, run);
        self.answers.push(Event::Opened {
            lease: order.lease,
            place: ByteRange::new(start, body_end),
            identity: Identity {
                total: Some(TOTAL),
                ..Identity::default()
            },
            partial: order.ask != Ask::Whole,
        });
    }

    /// The next bytes of a lease.
    fn flow(&mut self, lease: LeaseId) {
        let Some(run) = self.running.get_mut(&lease) else {
            return;
        };
        run.at += run.gate.take(run.at, LANDED.min(run.body_end - run.at));
        let at = run.at;
        self.now = self.now + Duration::from_millis(1);
        let event = if at == run.body_end {
            ended(lease, at, Ended::Clean)
        } else if at >= run.gate.end() {
            ended(lease, at, Ended::Cut)
        } else {
            let busy = Duration::from_millis(1);
            Event::Landed {
                lease,
                upto: at,
                busy,
            }
        };
        if matches!(event, Event::Ended { .. }) {
            self.running.remove(&lease);
        }
        self.tell(event);
    }
}

fn ended(lease: LeaseId, at: u64, how: Ended) -> Event {
    let session = how == Ended::Clean;
    Event::Ended {
        lease,
        at,
        how,
        session,
    }
}
