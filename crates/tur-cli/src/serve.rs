//! `tur serve`: files to players on this machine, at URLs that are said first, while they arrive.
//!
//! [`run()`] does it. With `-o` or `-d` they are downloads as any other, whole and kept; without, they pass through files
//! without names, and no more is fetched than what lies ahead of a player.

use std::future::pending;
use std::io::Write as _;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tur_engine::{Downloader, Event, Events, Kind, What};
use tur_stream::serve::{Endpoint, EndpointOptions};
use tur_stream::{Fill, Media, Options, Place};

use crate::batch::Tally;
use crate::console;
use crate::plan::Plan;
use crate::request;
use crate::run::{self, Stopped};
use crate::show::{Pace, Show, Standing};

/// What a plan says of files that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Serving {
    /// It ends when nobody was served for so long.
    pub(crate) idle: Option<Duration>,
    /// The files have a place where they stay.
    pub(crate) kept: bool,
}

/// How far is fetched ahead of each player, in bytes, before all else: enough for many connections on a long way.
const LOOK_AHEAD: u64 = 32 << 20;
/// So many words of downloads may wait to be shown; then they wait with their downloads, which keep the latest.
const TOLD_MAX: usize = 256;

/// Does what the plan says. What comes back is the exit code; everything was said.
pub(crate) fn run(mut plan: Plan, serving: Serving) -> u8 {
    console::keep_output_free();
    let (stopped, runtime, downloader) = match run::begin(&plan) {
        Ok(begun) => begun,
        Err(code) => return code,
    };
    if let Err((kind, message)) = run::check_items(&downloader, &plan) {
        console::say(&message);
        return kind.exit_code();
    }
    let mut show = Show::new(plan.show, plan.several);
    let told = run::greet(&downloader, &mut show);
    let code = match Stage::set(&downloader, &mut plan, serving) {
        Ok(stage) => runtime.block_on(stage.play(&mut show, stopped)),
        Err((kind, message)) => {
            show.error(&message);
            kind.exit_code()
        }
    };
    run::part(&downloader, &show, &told);
    code
}

/// Everything that is served.
struct Stage {
    endpoint: Endpoint,
    media: Vec<Media>,
    serving: Serving,
}

impl Stage {
    /// Begins every download, and says their URLs.
    fn set(
        downloader: &Downloader,
        plan: &mut Plan,
        serving: Serving,
    ) -> Result<Self, (Kind, String)> {
        let endpoint = Endpoint::open(EndpointOptions::new())
            .map_err(|error| (Kind::Local, format!("cannot listen: {error}")))?;
        let (place, fill) = match serving.kept {
            true => (Place::File, Fill::All),
            false => (Place::Temporary, Fill::Window),
        };
        if !serving.kept {
            plan.job.dir = Some(request::passing_dir()?);
        }
        let options = Options::new().place(place).fill(fill);
        let options = options.look_ahead(LOOK_AHEAD);
        let (mut media, mut urls) = (Vec::new(), String::new());
        for n in 0..plan.items.len() {
            let item = plan.items.item(n).expect("each item was checked");
            let download = request::download(downloader, &plan.job, item);
            let one = Media::of(download, options.clone());
            let url = endpoint.add(&one);
            let url = url.map_err(|error| (Kind::Other, format!("no random bytes: {error}")))?;
            urls = urls + &url + "\n";
            media.push(one);
        }
        console::output()
            .and_then(|mut output| output.write_all(urls.as_bytes()))
            .map_err(|error| (Kind::Local, format!("standard output: {error}")))?;
        Ok(Self {
            endpoint,
            media,
            serving,
        })
    }

    /// Serves until a signal, until nobody is there any more, or until nothing is left to serve. What comes back is the exit
    /// code.
    async fn play(self, show: &mut Show, mut stopped: Stopped) -> u8 {
        let mut followers = JoinSet::new();
        let mut told = self.listen(show, &mut followers);
        let mut nobody = pin!(self.nobody());
        let mut draws = show.period().map(run::ticks);
        let mut tally = Tally::new(self.media.len());
        let mut picture = Picture::default();
        while tally.failed < self.media.len() {
            tokio::select! {
                Some((n, event)) = told.recv() => self.hear(show, &mut tally, (n, &event)),
                () = stopped.ask() => break,
                () = &mut nobody => {
                    show.note("nobody was there for as long as --idle says");
                    break;
                }
                () = run::tick(&mut draws) => picture.draw(show, &tally, &self.media),
            }
        }
        // What landed is to be kept in good order, where it is kept.
        self.media.iter().for_each(Media::cancel);
        while let Some((n, event)) = told.recv().await {
            self.hear(show, &mut tally, (n, &event));
        }
        stopped.code.unwrap_or_else(|| tally.failure())
    }

    /// What all downloads tell from now on, with their numbers.
    fn listen(
        &self,
        show: &mut Show,
        followers: &mut JoinSet<()>,
    ) -> mpsc::Receiver<(usize, Event)> {
        let (tell, told) = mpsc::channel(TOLD_MAX);
        for (n, media) in self.media.iter().enumerate() {
            show.begin(n);
            let wanted = show.wanted();
            let heard = move |what: &What| run::outcome(what).is_some() || wanted(what);
            let events = media.events().only(heard);
            followers.spawn(follow(n, events, tell.clone()));
        }
        told
    }

    fn hear(&self, show: &mut Show, tally: &mut Tally, (n, event): (usize, &Event)) {
        let name = || {
            let name = self.media[n].progress().name;
            name.unwrap_or_else(|| format!("file {}", n + 1))
        };
        show.event(n, event, name);
        let Some(mut outcome) = run::outcome(&event.what) else {
            return;
        };
        tally.count(n, &outcome);
        if let (false, Ok(done)) = (self.serving.kept, &mut outcome) {
            // It has no name.
            done.path = PathBuf::from("-");
        }
        show.end(n, &outcome);
    }

    /// Ready when nobody was served for so long; never, if nobody wants to know.
    async fn nobody(&self) {
        match self.serving.idle {
            Some(idle) => self.endpoint.idle(idle).await,
            None => pending().await,
        }
    }
}

/// Hands on the events of a download.
async fn follow(n: usize, mut events: Events, tell: mpsc::Sender<(usize, Event)>) {
    while let Some(mut event) = events.next().await {
        event.id = run::number(n);
        if tell.send((n, event)).await.is_err() {
            return;
        }
    }
}

/// What was drawn last.
#[derive(Default)]
struct Picture {
    landed: u64,
    pace: Pace,
}

impl Picture {
    /// Draws where the downloads stand, if that has changed: players that rest for hours are nothing to write about.
    fn draw(&mut self, show: &mut Show, tally: &Tally, media: &[Media]) {
        let progress: Vec<_> = media.iter().map(Media::progress).collect();
        let landed = progress.iter().map(|progress| progress.landed).sum();
        if std::mem::replace(&mut self.landed, landed) == landed {
            return;
        }
        if let [one] = &progress[..] {
            return show.tick(one);
        }
        let elapsed = progress.iter().map(|progress| progress.elapsed).max();
        let parts = progress.iter().map(|progress| (progress.landed, 0));
        let elapsed = elapsed.unwrap_or_default();
        let all = Standing::new(tally, parts, &mut self.pace, elapsed);
        let named = progress.into_iter().enumerate().map(|(n, progress)| {
            let name = progress.name.clone();
            (name.unwrap_or_else(|| format!("file {}", n + 1)), progress)
        });
        show.tick_all(&all, &named.collect::<Vec<_>>());
    }
}
