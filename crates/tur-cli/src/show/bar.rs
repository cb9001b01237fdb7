//! The bar on a terminal.
//!
//! The engine measures; indicatif only draws: its own estimates of speed and time are not used.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tur_engine::{Progress, printable};

use super::{Standing, words};
use crate::console;

/// A bar on standard error.
pub(super) struct Bar {
    drawn: ProgressBar,
}

impl Bar {
    /// A bar that is not drawn before the first [`draw`](Bar::draw).
    pub(super) fn new() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        let drawn = ProgressBar::with_draw_target(Some(0), target);
        drawn.set_style(style(STARTING));
        Self { drawn }
    }

    /// Draws where the download stands.
    pub(super) fn draw(&self, progress: &Progress) {
        let shown = match progress.total {
            Some(total) => {
                self.drawn.set_length(total);
                STANDARD
            }
            None => STARTING,
        };
        self.drawn.set_style(style(shown));
        if let Some(name) = &progress.name {
            self.drawn
                .set_prefix(words::short(&printable(name), NAME_CHARS_MAX));
        }
        self.drawn.set_message(words::standing(progress));
        self.drawn.set_position(progress.landed);
    }

    /// Draws where several downloads stand: how many of them have ended, and the rest in words.
    pub(super) fn draw_many(&self, all: &Standing) {
        self.drawn.set_style(style(MANY));
        self.drawn.set_length(all.items as u64);
        self.drawn.set_message(all.to_string());
        self.drawn.set_position(all.ended as u64);
    }

    /// Writes a line above the bar.
    pub(super) fn say(&self, text: &str) {
        match self.drawn.is_hidden() {
            true => console::say(text),
            false => self.drawn.println(console::spoken(text)),
        }
    }

    /// Takes the bar off the terminal.
    pub(super) fn clear(&self) {
        self.drawn.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates below are well formed")
        .progress_chars("=> ")
}

/// The length is known.
const STANDARD: &str = "{prefix} [{wide_bar}] {percent:>3}% {msg}";

/// Several downloads.
const MANY: &str = "[{wide_bar}] {msg}";

/// It is not.
const STARTING: &str = "{prefix} {wide_msg}";

/// Characters of a name: the bar is to have room too.
const NAME_CHARS_MAX: usize = 16;

/// Faster is not seen.
const DRAWS_PER_SECOND: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        for template in [STANDARD, STARTING, MANY] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
