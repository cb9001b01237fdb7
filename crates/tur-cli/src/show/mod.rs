//! Pictures of a running download: a bar, lines, or events for programs.
//!
//! [`Show`] is the one renderer. It is told each event, and the progress each time its [`period`](Show::period) ends;
//! it decides nothing about the download.

mod bar;
mod json;
mod words;

use std::time::Duration;

use tur_engine::{Completed, Error, Event, Progress, What};

use crate::console;
use crate::plan::{self, Detail, Face};
use bar::Bar;
use json::Lines as JsonLines;

/// Shows one download.
pub(crate) struct Show {
    picture: Picture,
    detail: Detail,
    /// Times that the picture was renewed.
    ticks: u32,
}

enum Picture {
    Plain,
    Lines,
    Bar(Bar),
    Json(JsonLines),
}

impl Show {
    /// Begins the picture that was asked for.
    pub(crate) fn new(show: plan::Show) -> Self {
        let picture = match show.face {
            Face::Plain => Picture::Plain,
            Face::Lines => Picture::Lines,
            Face::Bar => Picture::Bar(Bar::new()),
            Face::Json => Picture::Json(JsonLines::new(show.detail)),
        };
        Self {
            picture,
            detail: show.detail,
            ticks: 0,
        }
    }

    /// Shows what happened.
    pub(crate) fn event(&mut self, event: &Event) {
        if let Picture::Json(lines) = &mut self.picture {
            if let Some(line) = lines.event(event) {
                console::put(&line);
            }
            // Notes are for people; the other events have their own lines.
            if let What::Note(note) = &event.what {
                self.note(note);
            }
            return;
        }
        if let Some((detail, text)) = words::event(&event.what)
            && self.detail >= detail
        {
            self.say(&text);
        }
    }

    /// Shows where the download stands.
    pub(crate) fn tick(&mut self, progress: &Progress) {
        self.ticks += 1;
        let mut lines_due = true;
        match &self.picture {
            Picture::Bar(bar) => {
                bar.draw(progress);
                lines_due = self.ticks.is_multiple_of(BAR_DRAWS_PER_LINE);
            }
            Picture::Lines => {
                if let Some(text) = words::progress(progress) {
                    console::say(&text);
                }
            }
            Picture::Plain | Picture::Json(_) => {}
        }
        if lines_due
            && self.shows_lanes()
            && let Some(map) = words::lane_map(&progress.lane_map)
        {
            self.say(&map);
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

    /// Ends the picture and says how it went. An error is always said.
    pub(crate) fn end(&self, outcome: &Result<Completed, Error>) {
        match &self.picture {
            Picture::Bar(bar) => bar.clear(),
            Picture::Json(lines) => console::put(&lines.end(outcome)),
            Picture::Plain | Picture::Lines => {}
        }
        match outcome {
            Ok(_) if matches!(self.picture, Picture::Json(_)) => {}
            Ok(done) => {
                self.note(&words::completed(done));
                if !done.already {
                    self.aside(&words::metrics(&done.metrics));
                }
            }
            Err(error) => console::say(&words::failed(error)),
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

/// How often a bar is drawn.
const BAR_PERIOD: Duration = Duration::from_millis(100);

/// How often a line of progress is written at most.
const LINE_PERIOD: Duration = Duration::from_secs(2);

/// A bar is drawn so often between two lines above it.
const BAR_DRAWS_PER_LINE: u32 = 20;
