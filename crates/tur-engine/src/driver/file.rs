//! A driver whose bytes go into a file: what it does with answers, and how its machine begins.
//!
//! Read [`ToFile`]. The names are those of [`Filing`], making bytes durable is `keep.rs`, the end `finish.rs`.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tur_core::port::Transport;
use tur_core::{Answer, BodyKind, ByteRange, Content, Representation, Timestamp};
use tur_http::{Admitted, is_surprising_page};
use tur_sched::{Event, FetchOrder, Hint, LaneId, Transfer, TransferConfig, Waits, WaitsFor};
use tur_storage::{Disk, Durable, Stay, StorageError};

use super::answer::{representation, validator};
use super::digest::Follower;
use super::existing::{Existing, telling};
use super::filing::{Filing, Named, Resumable};
use super::keep::Checkpointing;
use super::store::{Errand, Store};
use super::{Driver, End};
use crate::What;
use crate::filed::Filed;
use crate::job::Job;
use crate::lookout::Watched;
use crate::overlap::Overlap;
use crate::region::{Sink, Written};
use crate::tenants::Tenure;

/// A first answer that takes longer is told to be slow.
const SLOW: Duration = Duration::from_secs(2);

/// The file that a download is for.
pub(super) struct ToFile<'a, D: Disk> {
    pub(super) job: &'a Job,
    pub(super) filing: Filing<D>,
    /// Set while the first answer is only to be compared with files that are there.
    pub(super) compare: Option<Vec<Existing>>,
    pub(super) follower: Option<Follower>,
    pub(super) checkpoint: Checkpointing,
    watched: Watched,
}

/// What a file hears of by itself.
pub(super) enum News {
    /// A checkpoint is over.
    Durable(Result<Durable, StorageError>),
    /// Its readers want something else.
    Wanted,
}

/// How a download may end before its bytes have come.
pub(super) enum Early {
    /// The file was there, complete.
    Already,
    /// Existing files were compared: the one that is the same.
    Compared(Option<Existing>),
}

impl<'a, D: Disk + Clone> ToFile<'a, D> {
    pub(super) fn new(
        (disk, filed): (&D, &Filed),
        job: &'a Job,
        tenure: Arc<Tenure>,
        watched: Watched,
    ) -> Self {
        let algorithm = job.checksum.as_ref().map(|checksum| checksum.algorithm);
        Self {
            job,
            filing: Filing::new((disk.clone(), filed.clone()), job, tenure),
            compare: None,
            follower: algorithm.map(Follower::new),
            checkpoint: Checkpointing::default(),
            watched,
        }
    }

    fn void(&mut self, range: ByteRange) {
        if let Some(follower) = &mut self.follower {
            follower.void(range);
        }
    }
}

impl<D: Disk + Clone> Store<D> for ToFile<'_, D> {
    type End = Early;
    type News = News;

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        if let Some(reading) = &self.job.reading
            && reading.poll_wants(cx).is_ready()
        {
            return Poll::Ready(News::Wanted);
        }
        self.checkpoint.poll(cx).map(News::Durable)
    }

    fn name(&self) -> &str {
        self.filing.name()
    }

    fn slow_at(&self, began: Timestamp, opened: bool) -> Option<Timestamp> {
        (!opened).then_some(began + SLOW)
    }

    fn holds_for(&self) -> WaitsFor {
        match self.waits_for_readers() {
            true => WaitsFor::Reader,
            false => WaitsFor::Limiter,
        }
    }

    fn waits_for_readers(&self) -> bool {
        let reading = self.job.reading.as_ref();
        reading.is_some_and(|reading| reading.holds_up())
    }

    fn only_looks(&self) -> bool {
        self.compare.is_some()
    }

    fn looked_at<T: Transport>(driver: &mut Driver<'_, T, D, Self>, answer: &Answer) -> bool {
        if matches!(answer, Answer::Unsatisfiable { total: Some(0) }) {
            // That it is empty is asked of the whole too, whose answer tells its time.
            return false;
        }
        let looks = driver.store.only_looks();
        driver.compared(answer);
        looks
    }

    fn admitted<T: Transport>(
        driver: &mut Driver<'_, T, D, Self>,
        order: &FetchOrder,
        (admitted, answer): (&Admitted, &Answer),
    ) -> bool {
        // What is only compared proves nothing yet: the part goes on belonging to what it was of.
        order.compare || driver.store.filing.begun || driver.first(admitted, answer)
    }

    fn sink(&self, lane: LaneId, order: &FetchOrder) -> Option<Sink<D>> {
        let part = self.filing.part()?;
        // The gate, not the writer, knows where a lease ends: it may still grow.
        let range = ByteRange::from(order.grant.start);
        let calls = self.watched.calls();
        Some(if order.compare {
            Sink::Overlap(Overlap::new(part.reader(), range.start), calls)
        } else {
            Sink::Part(Written {
                writer: part.writer(lane.0, order.lease.0, range),
                calls,
                readers: self.job.reading.clone(),
                passing: self.job.stay == Stay::Passing,
            })
        })
    }

    fn restart<T: Transport>(driver: &mut Driver<'_, T, D, Self>, _why: &str) {
        driver.store.filing.restart();
        driver.store.void(ByteRange::from(0));
    }

    fn forget<T: Transport>(driver: &mut Driver<'_, T, D, Self>, range: ByteRange) {
        driver.store.void(range);
        if let Some(Err(error)) = driver.store.filing.part().map(|part| part.forget(range)) {
            driver.broken(error);
        }
    }

    /// Lets digest and checkpoints follow what has landed.
    fn follow<T: Transport>(driver: &mut Driver<'_, T, D, Self>) {
        let store = &mut driver.store;
        let Some(part) = store.filing.part().filter(|_| store.filing.begun) else {
            return;
        };
        if let Some(follower) = &mut store.follower {
            follower.poke(part, &driver.world.compute);
        }
        if store.job.stay == Stay::Passing {
            let digested = store.follower.as_ref().map(Follower::reached);
            let before = driver.passed.min(digested.unwrap_or(u64::MAX));
            let given = part.give_back(before);
            if let Err(error) = &given {
                // It takes more room than it had to, and that may be had.
                tracing::debug!(%error, "what has passed keeps its room");
            }
            if let (Ok(true) | Err(_), Some(reading)) = (given, &store.job.reading) {
                reading.gave_back();
            }
        }
        driver.checkpoint_if_due();
        driver.tell_readers();
    }

    fn heard<T: Transport>(driver: &mut Driver<'_, T, D, Self>, news: News) {
        match news {
            News::Durable(result) => driver.checkpoint_done(result),
            News::Wanted => driver.heed_readers(),
        }
    }

    /// Looks whether somebody has cut the part.
    fn flow_ended<T: Transport>(driver: &mut Driver<'_, T, D, Self>) {
        if driver.end.is_none() && driver.store.filing.begun {
            driver.check_storage();
        }
    }
}

impl<T: Transport, D: Disk + Clone> Driver<'_, T, D, ToFile<'_, D>> {
    /// Begins the machine anew: with what an earlier run left, or only to compare existing files.
    pub(super) fn begin(&mut self, saved: Option<Resumable>, compare: Option<Vec<Existing>>) {
        self.release_all();
        // The machine that comes now has not been told how many lanes it may use.
        self.leave_origin();
        let now = self.now();
        self.store.compare = compare;
        let resumed = saved.map(|Resumable { saved, proof }| {
            for note in saved.notes {
                self.tell(What::Note(note));
            }
            tur_sched::Resumed {
                identity: saved.identity,
                landed: saved.claimed,
                proof,
            }
        });
        self.tally.resumed = resumed.as_ref().map_or(0, |resumed| resumed.landed.len());
        self.tally.start(now, self.tally.resumed);
        self.tally.width = self.errand.lanes_start.unwrap_or(1);
        self.store.filing.keep = resumed.is_some();
        // The time limit of the whole counts from the first look at the disk.
        let profile = self.world.origins.hint(&self.store.job.target.origin);
        if let Some(profile) = profile.filter(|_| !self.hinted) {
            self.hinted = true;
            self.hint_at_needs(&profile);
        }
        let hint = profile.map_or_else(Hint::default, |profile| Hint {
            lane_rate: profile.lane_rate,
            ratio: profile.ratio.value(),
        });
        let config = config(self.store.job, self.store.compare.as_deref(), hint);
        self.transfer = Transfer::new(config, resumed, self.began);
        if let Some((_, most)) = self.membership.bounds {
            self.transfer.handle(now, Event::Ceiling(most));
        }
        if self.paused {
            self.transfer.handle(now, Event::Pause);
        }
        self.tell_all_wants(now);
    }

    /// The answer to the last byte of an existing file, or to whatever else was asked about it.
    fn compared(&mut self, answer: &Answer) {
        let none = Representation::default();
        // What is coded there would be decoded here: its length is another one.
        let coded = representation(answer).is_some_and(|found| found.encoding.is_some());
        let (total, representation) = match answer {
            _ if coded && self.store.job.terms.decode => (None, &none),
            Answer::Partial {
                range: Some(range),
                content,
            } => (range.total, &content.representation),
            Answer::Whole(content) => (length(content), &content.representation),
            Answer::Unsatisfiable { total } => (*total, &none),
            _ => (None, &none),
        };
        let ToFile {
            compare, filing, ..
        } = &mut self.store;
        if let Some(files) = compare {
            let same = filing.same_of(files, total, representation);
            self.end = Some(End::Own(Early::Compared(same)));
        }
    }

    /// The first answer of a representation: names the file and begins its part. False if nothing is to be written.
    fn first(&mut self, admitted: &Admitted, answer: &Answer) -> bool {
        let none = Representation::default();
        let representation = representation(answer).unwrap_or(&none);
        match self
            .store
            .filing
            .name_by(admitted.identity().total, representation, self.store.job)
        {
            Ok(Named::Go) => {}
            Ok(Named::Already) => {
                self.end = Some(End::Own(Early::Already));
                return false;
            }
            Ok(Named::Resume(saved)) => {
                self.begin(Some(*saved), None);
                self.obey();
                return false;
            }
            Err(error) => {
                self.end = Some(End::Broken(error));
                return false;
            }
        }
        let room = match self.store.filing.begin(admitted.identity()) {
            Ok(room) => room,
            Err(error) => {
                self.broken(error);
                return false;
            }
        };
        self.opened = true;
        self.slow_told = true;
        let identity = admitted.identity();
        self.tell(What::Opened {
            len: identity.total,
            name: self.store.filing.name().to_owned(),
            validator: validator(identity),
            protocol: self.tally.protocol(),
            resumed_bytes: self.tally.resumed,
        });
        self.warn(admitted, representation);
        self.warn_of_full_disk(room);
        true
    }

    /// Says what is odd about the first answer, and no reason to refuse it.
    fn warn(&self, admitted: &Admitted, representation: &Representation) {
        let name = self.store.filing.name();
        if let Some(coding) = &representation.encoding {
            let fate = match admitted.coding() {
                Some(_) => "it is decoded",
                None => "it is kept as it comes",
            };
            self.tell(What::Note(format!(
                "the server sends the file coded ({coding}); {fate}"
            )));
        }
        if is_surprising_page(name, representation.media_type.as_deref()) {
            self.tell(What::Note(format!(
                "{name} is an HTML page, says the server: a login or error page, perhaps"
            )));
        }
    }
}

/// The total that a whole answer's framing tells.
fn length(content: &Content) -> Option<u64> {
    match content.body {
        BodyKind::Length(length) => Some(length),
        BodyKind::Marked | BodyKind::UntilClose => None,
    }
}

/// What the loop needs to know of a download.
pub(super) fn errand(job: &Job) -> Errand<'_> {
    Errand {
        target: &job.target,
        fields: &job.fields,
        sign_in: &job.sign_in,
        terms: &job.terms,
        redirects: &job.redirects,
        lanes_max: job.lanes_max,
        lanes_start: job.lanes_start,
    }
}

/// The machine's settings for a job.
pub(super) fn config(job: &Job, compare: Option<&[Existing]>, hint: Hint) -> TransferConfig {
    TransferConfig {
        lanes_max: job.lanes_max,
        lanes_start: job.lanes_start,
        schedule: job.schedule,
        hint,
        piece_min: job.piece_min,
        retry: job.retry,
        waits: Waits {
            read: job.read_timeout,
            total: job.max_time,
        },
        speed_floor: job.speed_floor,
        on_change: job.on_change,
        require_resume: job.terms.resume,
        seed: job.seed,
        spare: job.reading.is_some() && compare.is_none(),
        transient: job.stay != Stay::Kept,
        first_ask: compare.and_then(telling),
        ..TransferConfig::new(job.target.clone())
    }
}
