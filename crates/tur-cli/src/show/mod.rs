//! Pictures of running downloads: a bar, lines, or events for programs.
//!
//! [`Show`] is the one renderer. It is told each event, and the progress each time its [`period`](Show::period) ends;
//! it decides nothing about the downloads. Of several it shows one picture, says whose each sentence is, and ends with a
//! summary.

mod bar;
mod json;
mod many;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use tur_engine::{Completed, Error, Event, Kind, Progress, What};

use crate::batch::Tally;
use crate::console;
use crate::plan::{self, Detail, Face};
use bar::Bar;
use json::Lines as JsonLines;
pub(crate) use many::{Pace, Standing};

/// Shows a run.
pub(crate) struct Show {
    picture: Picture,
    detail: Detail,
    several: bool,
    /// Times that the picture was renewed.
    ticks: u32,
    /// Warnings, which each download tells again.
    warned: Vec<String>,
}

enum Picture {
    Plain,
    Lines,
    Bar(Bar),
    /// The lines of each download, by its item.
    Json(BTreeMap<usize, JsonLines>),
}

impl Show {
    /// Begins the picture that was asked for.
    pub(crate) fn new(show: plan::Show, several: bool) -> Self {
        let picture = match show.face {
            Face::Plain => Picture::Plain,
            Face::Lines => Picture::Lines,
            Face::Bar => Picture::Bar(Bar::new()),
            Face::Json => Picture::Json(BTreeMap::new()),
        };
        Self {
            picture,
            detail: show.detail,
            several,
            ticks: 0,
            warned: Vec::new(),
        }
    }

    /// A download begins: that of this item.
    pub(crate) fn begin(&mut self, item: usize) {
        if let Picture::Json(lines) = &mut self.picture {
            lines.insert(item, JsonLines::new(self.detail));
        }
    }

    /// Says that some protection is off: once, and whatever else is to be said.
    pub(crate) fn warn(&mut self, text: String) {
        self.say(&format!("WARNING: {text}"));
        self.warned.push(text);
    }

    /// Shows what happened to an item. `name` is what it is called.
    pub(crate) fn event(&mut self, item: usize, event: &Event, name: impl FnOnce() -> String) {
        if matches!(&event.what, What::Note(text) if self.warned.contains(text)) {
            return;
        }
        if let Picture::Json(lines) = &mut self.picture {
            put(lines, item, event);
            // Notes are for people; the other events have their own lines.
            if !matches!(event.what, What::Note(_)) {
                return;
            }
        }
        if !is_said(&event.what, self.detail) {
            return;
        }
        let Some(text) = words::event(&event.what) else {
            return;
        };
        match self.several {
            true => self.say(&format!("{}: {text}", name())),
            false => self.say(&text),
        }
    }

    /// Tells which events [`event`](Show::event) wants to hear of.
    pub(crate) fn wanted(&self) -> impl Fn(&What) -> bool + Send + Sync + 'static {
        let (all, detail) = (matches!(self.picture, Picture::Json(_)), self.detail);
        move |what| all || is_said(what, detail)
    }

    /// Shows where the download stands.
    pub(crate) fn tick(&mut self, progress: &Progress) {
        self.ticks += 1;
        match &self.picture {
            Picture::Bar(bar) => bar.draw(progress),
            Picture::Lines => {
                if let Some(text) = words::progress(progress) {
                    console::say(&text);
                }
            }
            Picture::Plain | Picture::Json(_) => {}
        }
        if self.lanes_are_due()
            && let Some(map) = words::lane_map(&progress.lane_map)
        {
            self.say(&map);
        }
    }

    /// Shows where several downloads stand: together, and each that runs, with its name.
    pub(crate) fn tick_all(&mut self, all: &Standing, each: &[(String, Progress)]) {
        self.ticks += 1;
        match &self.picture {
            Picture::Bar(bar) => bar.draw_many(all),
            Picture::Lines => console::say(&all.to_string()),
            Picture::Plain | Picture::Json(_) => {}
        }
        if self.lanes_are_due() {
            for (name, progress) in each {
                if let Some(map) = words::lane_map(&progress.lane_map) {
                    self.say(&format!("{name}: {map}"));
                }
            }
        }
    }

    /// How often [`tick`](Show::tick) is wanted; `None` for never.
    pub(crate) fn period(&self) -> Option<Duration> {
        match self.picture {
            Picture::Bar(_) => Some(BAR_PERIOD),
            Picture::Lines => Some(LINE_PERIOD),
            Picture::Plain if self.shows_lanes() => Some(LINE_PERIOD),
            Picture::Plain | Picture::Json(_) => None,
        }
    }

    fn lanes_are_due(&self) -> bool {
        let drawn = matches!(self.picture, Picture::Bar(_));
        self.shows_lanes() && (!drawn || self.ticks.is_multiple_of(BAR_DRAWS_PER_LINE))
    }

    fn shows_lanes(&self) -> bool {
        self.detail >= Detail::Lanes && !matches!(self.picture, Picture::Json(_))
    }

    /// Something that a person may want to know.
    pub(crate) fn note(&self, text: &str) {
        if self.detail >= Detail::Normal {
            self.say(text);
        }
    }

    /// Something for those who want to know more.
    pub(crate) fn aside(&self, text: &str) {
        if self.detail >= Detail::Lanes {
            self.say(text);
        }
    }

    /// An error: always said.
    pub(crate) fn error(&self, text: &str) {
        self.say(text);
    }

    /// An item met another download at its target, and is tried again later.
    pub(crate) fn again(&mut self, item: usize, error: &Error) {
        let why = words::failed_of_many(error);
        self.note(&format!("{why}; this is tried again at the end"));
        if let Picture::Json(lines) = &mut self.picture
            && let Some(lines) = lines.remove(&item)
        {
            console::put(&lines.again(error));
        }
    }

    /// Says how an item ended. An error is always said; that all of several were interrupted is said once, in the end.
    pub(crate) fn end(&mut self, item: usize, outcome: &Result<Completed, Error>) {
        if let Picture::Json(lines) = &mut self.picture
            && let Some(lines) = lines.remove(&item)
        {
            console::put(&lines.end(outcome));
        }
        if !self.several {
            self.take_off_bar();
        }
        match outcome {
            Ok(_) if matches!(self.picture, Picture::Json(_)) => {}
            Ok(done) => {
                self.note(&words::completed(done));
                if !done.already {
                    self.aside(&words::metrics(&done.metrics));
                }
            }
            Err(error) if !self.several => self.error(&words::failed(error)),
            Err(error) if error.kind() == Kind::Signal => self.aside(&words::failed_of_many(error)),
            Err(error) => self.error(&words::failed_of_many(error)),
        }
    }

    /// Ends the picture of several, and says how they went.
    pub(crate) fn summary(&mut self, tally: &Tally, elapsed: Duration) {
        self.take_off_bar();
        if tally.unfinished() > 0 {
            self.error(&many::interrupted(tally));
        }
        if matches!(self.picture, Picture::Json(_)) {
            console::put(&many::summary_line(tally, elapsed));
            return;
        }
        for line in many::summary(tally, elapsed) {
            self.note(&line);
        }
    }

    /// What is said from here on stands in lines of its own: above a bar they would be filled up to the terminal's width.
    fn take_off_bar(&mut self) {
        if let Picture::Bar(bar) = &self.picture {
            bar.clear();
            self.picture = Picture::Plain;
        }
    }

    /// Says a line without tearing the picture.
    fn say(&self, text: &str) {
        match &self.picture {
            Picture::Bar(bar) => bar.say(text),
            Picture::Plain | Picture::Lines | Picture::Json(_) => console::say(text),
        }
    }
}

/// True if a sentence is said about an event.
fn is_said(what: &What, most: Detail) -> bool {
    words::detail(what).is_some_and(|detail| most >= detail)
}

/// Writes the line of an event, if it has one.
fn put(lines: &mut BTreeMap<usize, JsonLines>, item: usize, event: &Event) {
    let lines = lines.get_mut(&item);
    if let Some(line) = lines.and_then(|lines| lines.event(event)) {
        console::put(&line);
    }
}

/// How often a bar is drawn.
const BAR_PERIOD: Duration = Duration::from_millis(100);

/// How often a line of progress is written at most.
const LINE_PERIOD: Duration = Duration::from_secs(2);

/// A bar is drawn so often between two lines above it.
const BAR_DRAWS_PER_LINE: u32 = 20;
