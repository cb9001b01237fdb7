//! A run from plan to exit code.
//!
//! [`run()`] prepares; a [`Run`] then has as many downloads under way as the plan allows, shows what each tells, begins the
//! next when one ends, and keeps the session. Nothing of it is as long as the list but two flags for each item; and with a
//! session, the names of files that others might take for theirs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::future::pending;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tur_engine::{Completed, Downloader, Error, Event, Events, Handle, Kind, What};

use crate::batch::{Tally, Turns};
use crate::console;
use crate::plan::Plan;
use crate::request;
use crate::show::{Pace, Show, Standing};
use crate::signals;

/// Does what the plan says. What comes back is the exit code; everything was said.
pub(crate) fn run(plan: Plan) -> u8 {
    let (stopped, runtime, downloader) = match begin(&plan) {
        Ok(begun) => begun,
        Err(code) => return code,
    };
    let tally = Tally::new(plan.items.len());
    if let Err((kind, message)) = check(&downloader, &plan).and_then(|()| save(&plan, &tally)) {
        return stop(kind, &message);
    }
    let mut show = Show::new(plan.show, plan.several);
    let told = greet(&downloader, &mut show);
    let code = runtime.block_on(async {
        Run::new(&downloader, &plan, &mut show, tally)
            .carry_through(stopped)
            .await
    });
    part(&downloader, &show, &told);
    code
}

/// What every run begins with: signals are listened to, and there is an engine. Otherwise it was said why not, and this is the
/// exit code.
pub(crate) fn begin(plan: &Plan) -> Result<(Stopped, Runtime, Downloader), u8> {
    let signals = signals::listen()
        .map_err(|error| stop(Kind::Other, &format!("cannot listen to signals: {error}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| stop(Kind::Other, &format!("cannot start: {error}")))?;
    let downloader =
        request::downloader(&plan.job).map_err(|(kind, message)| stop(kind, &message))?;
    Ok((Stopped::new(signals), runtime, downloader))
}

/// Says what is to be said before anything begins, and returns what of it may come again.
pub(crate) fn greet(downloader: &Downloader, show: &mut Show) -> Vec<String> {
    for warning in downloader.warnings() {
        show.warn(warning);
    }
    let told = downloader.notes();
    for note in &told {
        show.note(note);
    }
    told
}

/// Keeps what was learned, and says what was not said before.
pub(crate) fn part(downloader: &Downloader, show: &Show, told: &[String]) {
    // The outcome was said: what is still to be done concerns later downloads.
    if let Err(error) = downloader.flush_origins(FLUSH_MAX) {
        show.aside(&format!("what was learned of servers is not kept: {error}"));
    }
    let new = |note: &&String| !told.contains(note);
    for note in downloader.notes().iter().filter(new) {
        show.note(note);
    }
}

/// Looks at everything that can be wrong before anything begins. A single URL shows it by itself.
fn check(downloader: &Downloader, plan: &Plan) -> Result<(), (Kind, String)> {
    match plan.several || plan.session.is_some() {
        true => check_items(downloader, plan),
        false => Ok(()),
    }
}

/// Looks at what can be wrong with each item.
pub(crate) fn check_items(downloader: &Downloader, plan: &Plan) -> Result<(), (Kind, String)> {
    for n in 0..plan.items.len() {
        let wrong = |line, kind, why: &dyn fmt::Display| {
            let (place, listed) = plan.items.place(n, line);
            // A line that cannot be used is a mistake in the list, whatever it would be elsewhere.
            let kind = if listed { Kind::Usage } else { kind };
            match plan.several {
                true => (kind, format!("{place}: {why}")),
                false => (kind, why.to_string()),
            }
        };
        let item = plan.items.item(n);
        let item = item.map_err(|(line, why)| wrong(Some(line), Kind::Usage, &why))?;
        let download = request::download(downloader, &plan.job, item);
        download.check().map_err(|error| {
            let line = line_to_blame(downloader, plan, n);
            wrong(line, error.kind(), &error)
        })?;
    }
    for (place, url, file) in plan.items.made() {
        let remembered = downloader.remember_file(url, Path::new(file));
        remembered.map_err(|error| (Kind::Usage, format!("{place}: {error}")))?;
    }
    Ok(())
}

/// The option without which nothing would be wrong with an item. `None`: it is the URL.
fn line_to_blame(downloader: &Downloader, plan: &Plan, n: usize) -> Option<u32> {
    let options = plan.items.options(n)?;
    let good_without = |line: &u32| {
        let item = plan.items.item_without(n, Some(*line));
        item.is_ok_and(|item| {
            let download = request::download(downloader, &plan.job, item);
            download.check().is_ok()
        })
    };
    options.map(|(line, ..)| line).find(good_without)
}

/// Writes what is left into the session, if there is one.
fn save(plan: &Plan, tally: &Tally) -> Result<(), (Kind, String)> {
    plan.session
        .as_ref()
        .map_or(Ok(()), |session| session.save(&plan.items, tally))
}

/// Downloads under way.
struct Run<'a> {
    downloader: &'a Downloader,
    plan: &'a Plan,
    show: &'a mut Show,
    turns: Turns,
    tally: Tally,
    /// By item.
    running: BTreeMap<usize, Running>,
    /// Each hands on what its download tells.
    followers: JoinSet<()>,
    tell: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
    began: Instant,
    pace: Pace,
    /// With a session: of each item, whether another one's file is probably called like its own.
    namesakes: Option<Vec<bool>>,
    /// How many items were done when the session was written.
    saved: usize,
    /// When it may be written again, since the run began.
    save_from: Duration,
}

struct Running {
    handle: Handle,
    /// What [`Turns`] knows it by.
    target: String,
    /// Bytes that an earlier run had left.
    resumed: u64,
    /// True once every byte is here, and the rest is for processor and disk.
    landed: bool,
}

/// What a download tells, with its item.
enum Told {
    Event(usize, Event),
    Ended(usize),
}

impl<'a> Run<'a> {
    #[expect(
        clippy::disallowed_methods,
        reason = "for the summary and for how often the session is written; no download knows of it"
    )]
    fn new(downloader: &'a Downloader, plan: &'a Plan, show: &'a mut Show, tally: Tally) -> Self {
        let (tell, told) = mpsc::channel(TOLD_MAX);
        Self {
            downloader,
            plan,
            show,
            turns: Turns::new(tally.items()),
            tally,
            running: BTreeMap::new(),
            followers: JoinSet::new(),
            tell,
            told,
            began: Instant::now(),
            pace: Pace::default(),
            namesakes: plan.session.as_ref().map(|_| plan.items.namesakes()),
            saved: 0,
            save_from: Duration::ZERO,
        }
    }

    /// All of it. What comes back is the exit code.
    async fn carry_through(mut self, mut stopped: Stopped) -> u8 {
        let mut draws = self.show.period().map(ticks);
        let mut saves = self.plan.session.as_ref().map(|_| ticks(SAVE_PERIOD));
        self.fill();
        while !self.running.is_empty() {
            tokio::select! {
                Some(told) = self.told.recv() => match told {
                    Told::Event(n, event) => {
                        self.tell_of(n, &event);
                        if matches!(event.what, What::Verifying) && stopped.code.is_none() {
                            self.fill();
                        }
                    }
                    Told::Ended(n) => {
                        self.end(n, stopped.code.is_some()).await;
                        if stopped.code.is_none() {
                            self.fill();
                        }
                    }
                },
                () = stopped.ask() => {
                    for running in self.running.values() {
                        running.handle.cancel();
                    }
                }
                () = tick(&mut draws) => self.tick(),
                () = tick(&mut saves) => self.save_now_and_then(),
            }
        }
        self.finish(stopped.code)
    }

    /// Begins what may run. Where several may, one that only has to be verified and saved makes room for the next: the
    /// network does not wait for the disk. As many as that may be there besides, and no more.
    fn fill(&mut self) {
        let (items, most) = (&self.plan.items, self.plan.at_once);
        let landed = self.running.values().filter(|running| running.landed);
        let aside = if most > 1 {
            landed.count().min(most)
        } else {
            0
        };
        while self.running.len() < most + aside
            && let Some(n) = self.turns.next(|n| items.likely_target(n))
        {
            let item = items.item(n).expect("each item was checked, or was typed");
            let handle = request::download(self.downloader, &self.plan.job, item).start();
            let wanted = self.show.wanted();
            let heard = move |what: &What| matches!(what, What::Verifying) || wanted(what);
            let events = handle.events().only(heard);
            self.followers.spawn(follow(n, events, self.tell.clone()));
            self.show.begin(n);
            let target = items.likely_target(n);
            let running = Running {
                handle,
                target,
                resumed: 0,
                landed: false,
            };
            self.running.insert(n, running);
        }
    }

    fn tell_of(&mut self, n: usize, event: &Event) {
        if let What::Opened { resumed_bytes, .. } = event.what
            && let Some(running) = self.running.get_mut(&n)
        {
            running.resumed = resumed_bytes;
        }
        if matches!(event.what, What::Verifying)
            && let Some(running) = self.running.get_mut(&n)
        {
            running.landed = true;
        }
        let name = || name(&self.running, self.plan, n);
        self.show.event(n, event, name);
    }

    async fn end(&mut self, n: usize, stopping: bool) {
        let Some(mut running) = self.running.remove(&n) else {
            return;
        };
        let outcome = running.handle.wait().await;
        // Nobody asks how it ended: the message that it did was its last act.
        while self.followers.try_join_next().is_some() {}
        let busy = matches!(&outcome, Err(error) if error.kind() == Kind::Busy);
        match &outcome {
            Err(error) if busy && self.plan.several && !stopping && self.turns.again(n) => {
                self.show.again(n, error);
            }
            outcome => {
                self.tally.count(n, outcome);
                self.keep_name(n, outcome);
                self.show.end(n, outcome);
            }
        }
        self.turns.ended(&running.target);
        self.save_now_and_then();
    }

    /// For the session: which file an item has become, if one that is left might come to the same name: by its URL, or because
    /// servers give names.
    fn keep_name(&mut self, n: usize, outcome: &Result<Completed, Error>) {
        let (Some(namesakes), Ok(done)) = (&self.namesakes, outcome) else {
            return;
        };
        let item = self.plan.items.item(n).expect("it was begun");
        let likely = request::download(self.downloader, &self.plan.job, item).likely_name();
        let name = done.path.file_name().and_then(OsStr::to_str);
        if namesakes[n] || name != Some(&likely) {
            self.tally.make(n, done.path.clone());
        }
    }

    fn tick(&mut self) {
        let progress = |(n, running): (&usize, &Running)| (*n, running.handle.progress());
        let progress: Vec<_> = self.running.iter().map(progress).collect();
        if !self.plan.several {
            if let Some((_, progress)) = progress.last() {
                self.show.tick(progress);
            }
            return;
        }
        let landed = progress.iter().map(|(_, progress)| progress.landed);
        let parts = landed.zip(self.running.values().map(|running| running.resumed));
        let all = Standing::new(&self.tally, parts, &mut self.pace, self.began.elapsed());
        let each: Vec<_> = progress
            .into_iter()
            .map(|(n, progress)| (name(&self.running, self.plan, n), progress))
            .collect();
        self.show.tick_all(&all, &each);
    }

    /// Writes the session, if more is done than it says, and the last time is long enough ago: a second, and twenty times as
    /// long as writing took.
    fn save_now_and_then(&mut self) {
        let began = self.began.elapsed();
        if self.saved == self.tally.done || began < self.save_from {
            return;
        }
        self.saved = self.tally.done;
        if let Err((_, message)) = save(self.plan, &self.tally) {
            // The last attempt decides; until then what it says is only older than it could be.
            self.show.note(&message);
        }
        let ended = self.began.elapsed();
        let took = ended.saturating_sub(began);
        self.save_from = ended + SAVE_PERIOD.max(took.saturating_mul(20));
    }

    fn finish(mut self, signal: Option<u8>) -> u8 {
        if let Err((kind, message)) = save(self.plan, &self.tally) {
            self.tally.blame(kind);
            self.show.error(&message);
        }
        if self.plan.several {
            self.show.summary(&self.tally, self.began.elapsed());
        }
        self.tally.exit_code(signal)
    }
}

/// The number of an item in events: from 1, in the order of the command line and the list, however often it is begun.
pub(crate) fn number(n: usize) -> u64 {
    n as u64 + 1
}

/// How a download ended, if that is what an event tells.
pub(crate) fn outcome(what: &What) -> Option<Result<Completed, Error>> {
    match what {
        What::Completed(done) => Some(Ok(Completed::clone(done))),
        What::Failed(error) | What::Cancelled(error) => Some(Err(error.clone())),
        _ => None,
    }
}

/// What an item is called in a sentence.
fn name(running: &BTreeMap<usize, Running>, plan: &Plan, n: usize) -> String {
    let told = running
        .get(&n)
        .and_then(|running| running.handle.progress().name);
    told.unwrap_or_else(|| match plan.items.likely_target(n).trim_matches('/') {
        "" => format!("file {}", n + 1),
        name => name.to_owned(),
    })
}

/// Hands on the events of a download, and its end.
async fn follow(n: usize, mut events: Events, tell: mpsc::Sender<Told>) {
    while let Some(mut event) = events.next().await {
        event.id = number(n);
        if tell.send(Told::Event(n, event)).await.is_err() {
            return;
        }
    }
    // Nobody listens only if the run is over.
    tell.send(Told::Ended(n)).await.ok();
}

/// The wish to stop that a signal brings.
pub(crate) struct Stopped {
    signal: Option<oneshot::Receiver<u8>>,
    /// The exit code that belongs to the signal that came.
    pub(crate) code: Option<u8>,
}

impl Stopped {
    const fn new(signal: oneshot::Receiver<u8>) -> Self {
        Self {
            signal: Some(signal),
            code: None,
        }
    }

    /// Waits for a signal; it is told once.
    pub(crate) async fn ask(&mut self) {
        if let Some(signal) = &mut self.signal {
            let told = signal.await;
            self.signal = None;
            if let Ok(code) = told {
                self.code = Some(code);
                return;
            }
        }
        pending().await
    }
}

/// Says why nothing is begun.
fn stop(kind: Kind, message: &str) -> u8 {
    console::say(message);
    kind.exit_code()
}

pub(crate) fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is not at once but after a period: a short download shows no progress at all.
    ticks.reset();
    ticks
}

pub(crate) async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => pending().await,
    }
}

/// The end of a run waits so long at most to write what was learned: longer than the engine waits for its lock.
const FLUSH_MAX: Duration = Duration::from_secs(3);

/// So many words of downloads may wait to be shown; then they wait with their downloads, which keep the latest.
const TOLD_MAX: usize = 256;

/// How often the session is written at most.
const SAVE_PERIOD: Duration = Duration::from_secs(1);
