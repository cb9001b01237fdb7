//! How downloads begin and end: jobs, wishes, crashes, and the verdict.

use core::time::Duration;
use std::collections::BTreeMap;

use tur_core::{ByteRange, Identity, Origin, Scheme, Target, Timestamp};
use tur_sched::{Budget, Event, Failure, LaneId, Proof, Resumed, Transfer, TransferConfig, Waits};

use super::lane::Lane;
use super::limits::Limit;
use super::scaling::Membership;
use super::{Due, World};
use crate::link::Change;
use crate::origin::micros;
use crate::report::{DownloadReport, Outcome, Report, Sample};
use crate::scenario::{Job, Wish};
use crate::truth::Truth;
use crate::violation::Violation;

/// Between the end of a run and the next.
const AGAIN_US: u64 = 1_000_000;
/// Samples for a picture are taken so often at most.
const SAMPLE_US: u64 = 200_000;

/// How a run of a download ended.
#[derive(Debug)]
pub(super) enum End {
    Landed(u64),
    Failed(Failure),
    DiskFull,
    Cancelled,
}

/// One download.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) transfer: Option<Transfer>,
    pub(super) lanes: BTreeMap<LaneId, Lane>,
    pub(super) truth: Truth,
    pub(super) tally: Tally,
    pub(super) end: Option<End>,
    pub(super) outcome: Option<Outcome>,
    asked_at: Option<u64>,
    ended_at: u64,
    runs: u32,
    /// What the journal of the last run names.
    journal: Option<Identity>,
    series: Vec<Sample>,
    /// What was told of it at its origin.
    pub(super) member: Option<Membership>,
    /// Bounds that the user has set since: at least, at most.
    pub(super) bounds: Option<(u16, u16)>,
    /// What it may receive.
    pub(super) limit: Limit,
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: u32,
    pub(super) connections: u32,
    pub(super) wasted: u64,
    lanes_max: usize,
    lanes_end: usize,
}

impl Download {
    fn new() -> Self {
        Self {
            transfer: None,
            lanes: BTreeMap::new(),
            truth: Truth::default(),
            tally: Tally::default(),
            end: None,
            outcome: None,
            asked_at: None,
            ended_at: 0,
            runs: 0,
            journal: None,
            series: Vec::new(),
            member: None,
            bounds: None,
            limit: Limit::default(),
        }
    }

    pub(super) fn next_wakeup(&self) -> Option<Timestamp> {
        let (at, _) = self.transfer.as_ref()?.next_wakeup()?;
        Some(at)
    }
}

impl World<'_> {
    /// Puts everything that is planned into the queue.
    pub(super) fn enrol(&mut self) {
        for (d, job) in self.scenario.jobs.iter().enumerate() {
            self.downloads.push(Download::new());
            self.plan(micros(job.at), Due::Begin(d));
        }
        for (n, (at, _)) in self.scenario.link.changes.iter().enumerate() {
            self.plan(micros(*at), Due::Change(n));
        }
        for at in &self.scenario.disk.losses {
            self.plan(micros(*at), Due::Loss);
        }
        for (at, _) in self.scenario.caps.memory.iter().take(1) {
            self.plan(micros(*at), Due::Look);
        }
        for (n, (at, _)) in self.scenario.relimits.iter().enumerate() {
            self.plan(micros(*at), Due::Relimit(n));
        }
        if let Some(at) = self.scenario.crash {
            self.plan(micros(at), Due::Crash);
        }
    }

    /// A run of a download begins, with what the last one left.
    pub(super) fn begin(&mut self, d: usize) {
        let (now, scenario) = (self.timestamp(), self.scenario);
        let Some(job) = scenario.jobs.get(d) else {
            return;
        };
        let download = &mut self.downloads[d];
        download.runs += 1;
        download.bounds = None;
        download.limit = Limit::new(now, job.limit);
        let (first, run) = (download.asked_at.is_none(), download.runs);
        download.asked_at.get_or_insert(self.now);
        let journal = download.journal.take();
        let resumed = journal.filter(|identity| identity.total.is_some());
        let resumed = resumed.map(|identity| Resumed {
            identity,
            landed: download.truth.written().clone(),
            proof: Proof::Validator,
        });
        if resumed.is_none() {
            // Nothing can be joined with what comes: the file is begun anew.
            download.truth.forget(ByteRange::from(0));
        }
        let mut config = config(job, self.seed ^ d as u64);
        config.hint = self.hint(&config.target.origin);
        config.hint.ratio = job.ratio.unwrap_or(config.hint.ratio);
        let download = &mut self.downloads[d];
        download.transfer = Some(Transfer::new(config, resumed, now));
        self.trace.line(self.now, |text| {
            text.push_str(&format!("d{d} start"));
            Ok(())
        });
        if first {
            for (after, wish) in &job.wishes {
                self.plan(self.now + micros(*after), Due::Wish(d, run, *wish));
            }
        }
        self.obey(d);
    }

    pub(super) fn wished(&mut self, d: usize, run: u32, wish: Wish) {
        let download = &mut self.downloads[d];
        if download.runs != run || download.transfer.is_none() {
            return;
        }
        match wish {
            Wish::Pause => self.tell(d, Event::Pause),
            Wish::Unpause => self.tell(d, Event::Unpause),
            Wish::Lanes(least, most) => self.set_bounds(d, (least, most)),
            Wish::Limit(rate) => self.relimit(Some(d), rate),
            Wish::Cancel => download.end = Some(End::Cancelled),
        }
    }

    /// The process dies. What was written is claimed, and all it held is gone.
    pub(super) fn crash(&mut self) {
        self.log(format_args!("crash"));
        for d in 0..self.downloads.len() {
            if self.downloads[d].transfer.is_none() {
                continue;
            }
            let lanes: Vec<LaneId> = self.downloads[d].lanes.keys().copied().collect();
            for lane in lanes {
                // Some of what has arrived was not read any more.
                if self.dice.chance(500) {
                    self.write(d, lane);
                }
            }
            // What it has learned dies with it.
            (self.downloads[d].end, self.downloads[d].member) = (None, None);
            self.leave(d);
            self.plan(self.now + AGAIN_US, Due::Begin(d));
        }
        for conn in self.net.ids() {
            self.drop_conn(conn);
        }
        self.words.clear();
        self.origins.clear();
        self.budget = Budget::new(self.scenario.caps.process);
        self.limit = Limit::new(self.timestamp(), self.scenario.limit);
    }

    /// The disk finds that some of what was written is gone. As in the engine, what lanes have written is told first:
    /// told the other way round, lost bytes would seem to be there.
    pub(super) fn loses(&mut self) {
        for d in 0..self.downloads.len() {
            if self.downloads[d].transfer.is_none() {
                continue;
            }
            let lanes: Vec<LaneId> = self.downloads[d].lanes.keys().copied().collect();
            for lane in lanes {
                self.write(d, lane);
                let fetching = self.downloads[d]
                    .lanes
                    .get(&lane)
                    .and_then(|lane| lane.fetching.as_ref());
                let Some((lease, body)) = fetching.and_then(|f| Some((f.order.lease, f.body?)))
                else {
                    continue;
                };
                let (upto, busy) = (body.at, Duration::ZERO);
                self.tell(d, Event::Landed { lease, upto, busy });
            }
            let end = self.downloads[d]
                .truth
                .written()
                .iter()
                .next_back()
                .map_or(0, |last| last.end);
            let start = self.dice.below(end);
            let len = self.dice.log_uniform(1, end);
            let gone = self.downloads[d]
                .truth
                .written()
                .intersect(ByteRange::new(start, start + len));
            if self.downloads[d].end.is_none() {
                for range in gone.iter() {
                    self.downloads[d].truth.forget(range);
                    self.tell(d, Event::Lost { range });
                }
            }
        }
    }

    /// Something becomes different.
    pub(super) fn changes(&mut self, n: usize) {
        let Some((_, change)) = self.scenario.link.changes.get(n).copied() else {
            return;
        };
        self.log(format_args!("{change:?}"));
        match change {
            Change::Silence(time) => {
                if let Some(conn) = self.net.busiest() {
                    self.net
                        .silence(conn, self.now.saturating_add(micros(time)));
                }
            }
            Change::Outage(time) => {
                for conn in self.net.ids() {
                    self.net
                        .silence(conn, self.now.saturating_add(micros(time)));
                }
            }
            Change::Reset => self.reset_all(),
            change => self.net.change(change),
        }
    }

    /// Every body that is on its way breaks here.
    fn reset_all(&mut self) {
        for d in 0..self.downloads.len() {
            let lanes: Vec<LaneId> = self.downloads[d].lanes.keys().copied().collect();
            for lane in lanes {
                self.write(d, lane);
                let entry = self.downloads[d].lanes.get_mut(&lane);
                let fetching = entry.and_then(|lane| lane.fetching.as_mut());
                if let Some(body) = fetching.and_then(|fetching| fetching.body.as_mut()) {
                    (body.end, body.clean) = (body.at, false);
                }
            }
        }
    }

    /// A machine's process, or its work, is over: everything goes back.
    fn leave(&mut self, d: usize) {
        self.part(d);
        let lanes: Vec<LaneId> = self.downloads[d].lanes.keys().copied().collect();
        for lane in lanes {
            self.give_back(d, lane);
        }
        // Words that are under way are for lanes that want nothing any more; what they lend goes back.
        while let Some(word) = self.words.pop_front() {
            self.word(word);
        }
        self.forget_wishes(d);
        let download = &mut self.downloads[d];
        download.lanes.clear();
        if let Some(transfer) = download.transfer.take() {
            download.journal = transfer.identity().cloned();
        }
    }

    /// A run is over: judges it, and begins another if that is wanted.
    pub(super) fn conclude(&mut self, d: usize) {
        let Some(end) = self.downloads[d].end.take() else {
            return;
        };
        // A driver writes nothing more once it has ended.
        let identity = self.downloads[d]
            .transfer
            .as_ref()
            .and_then(|t| t.identity().cloned());
        self.leave(d);
        self.downloads[d].end = None;
        let scenario = self.scenario;
        let again = scenario
            .jobs
            .get(d)
            .is_some_and(|job| self.downloads[d].runs <= job.again);
        let download = &mut self.downloads[d];
        let (keep, outcome) = match end {
            End::Landed(total) => {
                if let Err(violation) =
                    download
                        .truth
                        .judge(total, identity.as_ref(), &scenario.sizes())
                {
                    self.broken(violation);
                }
                (false, Outcome::Complete)
            }
            End::Failed(failure) => {
                if scenario.gentle {
                    self.broken(Violation::GaveUp(failure.message.clone()));
                }
                let outcome = Outcome::Failed {
                    kind: failure.kind,
                    message: failure.message,
                };
                (failure.keep, outcome)
            }
            End::DiskFull => {
                // Somebody makes room.
                self.space = None;
                (true, Outcome::DiskFull)
            }
            End::Cancelled => (true, Outcome::Cancelled),
        };
        let now = self.now;
        self.log(format_args!("d{d} {outcome:?}"));
        if keep && again {
            return self.plan(now + AGAIN_US, Due::Begin(d));
        }
        let download = &mut self.downloads[d];
        download.outcome = Some(outcome);
        download.ended_at = now;
    }

    /// Notes how a download goes, and judges what can be judged at any time.
    pub(super) fn look(&mut self, d: usize) {
        let limit = self.scenario.jobs.get(d).map_or(1, |job| job.lanes_max);
        let (now, download) = (self.now, &mut self.downloads[d]);
        let limit = usize::from(download.bounds.map_or(limit, |(_, most)| most).max(1));
        let Some(transfer) = &download.transfer else {
            return;
        };
        let lanes = transfer.lanes_streaming();
        download.tally.lanes_max = download.tally.lanes_max.max(lanes);
        let landed = transfer.ledger().landed().len();
        if transfer
            .ledger()
            .total()
            .is_none_or(|total| landed <= total - total / 10)
        {
            download.tally.lanes_end = lanes;
        }
        let at = now - download.asked_at.unwrap_or(now);
        let last = download.series.last().map_or(0, |sample| micros(sample.at));
        if download.series.is_empty() || at >= last + SAMPLE_US {
            let at = Duration::from_micros(at);
            download.series.push(Sample { at, landed, lanes });
        }
        let working = download
            .lanes
            .values()
            .filter(|lane| lane.is_at_work())
            .count();
        if working > limit {
            self.broken(Violation::TooManyLanes {
                lanes: working,
                limit,
            });
        }
    }

    /// No two lanes may own one byte.
    pub(super) fn gates_are_disjoint(&mut self, d: usize) {
        let fetching = self.downloads[d]
            .lanes
            .values()
            .filter_map(|lane| lane.fetching.as_ref());
        let mut gates: Vec<ByteRange> = fetching
            .map(|fetching| ByteRange::new(fetching.gate.taken(), fetching.gate.end()))
            .collect();
        gates.sort_unstable();
        let overlap = gates
            .windows(2)
            .map(|pair| pair[0].intersect(pair[1]))
            .find(|o| !o.is_empty());
        if let Some(overlap) = overlap {
            self.broken(Violation::GatesOverlap(overlap));
        }
    }

    /// What stands still, for the message of a hang.
    pub(super) fn standing(&self) -> String {
        let open = self
            .downloads
            .iter()
            .enumerate()
            .filter(|(_, d)| d.outcome.is_none());
        let texts = open.map(|(n, download)| {
            let lanes = download
                .lanes
                .values()
                .filter(|lane| lane.is_at_work())
                .count();
            format!("download {n} with {lanes} lanes at work")
        });
        texts.collect::<Vec<_>>().join(", ")
    }

    pub(super) fn report(self) -> Report {
        let downloads =
            self.downloads
                .into_iter()
                .zip(&self.scenario.jobs)
                .map(|(download, job)| {
                    let began = download.asked_at.unwrap_or(micros(job.at));
                    DownloadReport {
                        time: Duration::from_micros(download.ended_at.saturating_sub(began)),
                        bytes: download.truth.written().len(),
                        requests: download.tally.requests,
                        connections: download.tally.connections,
                        lanes_max: download.tally.lanes_max,
                        lanes_end: download.tally.lanes_end,
                        wasted: download.tally.wasted + download.truth.given_up,
                        runs: download.runs,
                        series: download.series,
                        outcome: download.outcome.unwrap_or(Outcome::Cancelled),
                    }
                });
        Report {
            downloads: downloads.collect(),
            time: Duration::from_micros(self.now),
            steps: self.steps,
        }
    }
}

/// The machine's settings for a job.
fn config(job: &Job, seed: u64) -> TransferConfig {
    let target = Target {
        origin: Origin {
            scheme: Scheme::Https,
            host: "origin.example".into(),
            port: 443,
        },
        path: "/file".into(),
    };
    TransferConfig {
        lanes_max: job.lanes_max,
        lanes_start: job.lanes_start,
        schedule: job.schedule,
        piece_min: job.piece_min,
        retry: job.retry,
        waits: Waits {
            read: job.read_wait,
            total: job.total_wait,
        },
        speed_floor: job.speed_floor,
        on_change: job.on_change,
        seed,
        ..TransferConfig::new(target)
    }
}
