//! The words that a bit-rate controller and its media layer exchange.

use core::fmt;
use core::time::Duration;

use tur_core::{Rate, Timestamp};

use super::variants::{VariantId, Variants};

/// The rules of a controller. Factors are per cent, so that a decision at a threshold is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbrConfig {
    /// An estimate is divided by this before anything is compared with it: estimates are wrong by about so much, and a
    /// segment may be larger than its variant's average.
    pub safety_percent: u32,
    /// Up, if what is left of the estimate is this much of what the higher variant needs.
    pub up_percent: u32,
    /// Down, if it is at most this much of what the present variant needs.
    pub down_percent: u32,
    /// Up only with so much ahead of the reader: a switch costs a segment or two, and a wrong one has to be survived.
    pub ahead_up: Duration,
    /// With at most so much ahead, any need to go down is urgent.
    pub ahead_urgent: Duration,
    /// Between switches, and before the first one; rescues and the user's word do not wait. For so long, too, a variant
    /// that did not deliver is not gone back to if there is another.
    pub interval: Duration,
}

impl Default for AbrConfig {
    /// Safety 1.5; up at 1.3 with 10 s ahead, down at 0.8, urgent at 5 s; 30 s between switches.
    fn default() -> Self {
        Self {
            safety_percent: 150,
            up_percent: 130,
            down_percent: 80,
            ahead_up: Duration::from_secs(10),
            ahead_urgent: Duration::from_secs(5),
            interval: Duration::from_secs(30),
        }
    }
}

/// Who chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The controller.
    #[default]
    Auto,
    /// The user, this one: whatever the estimate, the cap and the time of the last switch say.
    Manual(VariantId),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbrEvent {
    /// What there is to choose from, and what is playing: at first, and whenever it changes.
    Variants(Variants),
    /// So much playing time lies ahead of the reader without a gap; `None` if that is not known.
    Progress {
        /// How much.
        ahead: Option<Duration>,
    },
    /// What the network brings, as [`Bandwidth::estimate`](super::Bandwidth::estimate) says it.
    Estimate(Option<Rate>),
    /// A fetch of this variant passed the soft time-out. Of the one that is playing: the reader stands exactly at the
    /// start of the segment that is waited for. Of another: it was being prepared for a switch.
    Undelivered {
        /// Whose segment.
        variant: VariantId,
    },
    /// Who chooses from now on.
    Mode(Mode),
    /// No variant above this from now on, if the controller chooses.
    Cap(Option<Rate>),
    /// A seek begins (true) or has ended: in between nothing is switched.
    Locked(bool),
    /// The time that `next_wakeup` named has come.
    Tick,
}

/// Permission for one switch, once. Never equal to another of any controller whose session has another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    pub(super) session: u64,
    pub(super) number: u64,
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ticket {}.{}", self.session, self.number)
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbrAction {
    /// Prepare the variant `to`, and [`commit`](super::Abr::commit) the ticket at the boundary where it takes over.
    Switch {
        /// What the commit has to show.
        ticket: Ticket,
        /// What is playing.
        from: VariantId,
        /// What is to.
        to: VariantId,
        /// Why.
        why: Why,
    },
    /// The ticket is void: what was prepared for it is not wanted.
    Retract {
        /// Which.
        ticket: Ticket,
    },
    /// Why nothing is switched, told when it changes: for people, tests and traces.
    Note(Skip),
}

/// Why a variant is switched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The network brings enough for a higher one.
    Up,
    /// It brings too little for this one.
    Down,
    /// It brings too little, and what is ahead of the reader is nearly used up.
    Urgent,
    /// This one does not deliver.
    Escape,
    /// The user's cap is lower than this one.
    Cap,
    /// The user chose.
    Manual,
}

impl Why {
    /// True if the switch waits until the interval is over.
    pub(super) fn waits(self) -> bool {
        matches!(self, Why::Up | Why::Down)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Up => "there is bandwidth for more",
            Why::Down => "there is not bandwidth enough",
            Why::Urgent => "there is not bandwidth enough, and little left to play",
            Why::Escape => "it does not deliver",
            Why::Cap => "it is above the cap",
            Why::Manual => "it was chosen",
        })
    }
}

/// Why nothing is switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// There is nothing to choose from yet.
    NoVariants,
    /// There is one only.
    OnlyOne,
    /// A seek is under way.
    Locked,
    /// The user chose, and that is playing.
    Chosen,
    /// The user chose what is not there.
    NotThere(VariantId),
    /// It does not deliver, and the cap allows no other.
    NoAlternative,
    /// Not enough is known of the network.
    NoEstimate,
    /// What is playing is the best.
    Optimal,
    /// There is bandwidth for a higher one, but not enough ahead of the reader.
    ShortAhead,
    /// There is bandwidth for another, but not by the margin that a switch asks for.
    WithinMargin,
    /// A switch is due at this time: too little has passed since the last one.
    TooSoon(Timestamp),
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Skip::NoVariants => f.write_str("no variants are known"),
            Skip::OnlyOne => f.write_str("there is one variant"),
            Skip::Locked => f.write_str("a seek is under way"),
            Skip::Chosen => f.write_str("what was chosen is playing"),
            Skip::NotThere(id) => write!(f, "{id} was chosen and is not there"),
            Skip::NoAlternative => f.write_str("it does not deliver, and there is no other"),
            Skip::NoEstimate => f.write_str("the bandwidth is not known"),
            Skip::Optimal => f.write_str("what is playing is the best"),
            Skip::ShortAhead => f.write_str("too little is ahead of the reader to go up"),
            Skip::WithinMargin => f.write_str("the difference is within the margin"),
            Skip::TooSoon(_) => f.write_str("the last switch was a moment ago"),
        }
    }
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a stale ticket means that the variant must not take over"]
pub enum Commit {
    /// The switch is done: `to` is playing from now on.
    Committed {
        /// What played.
        from: VariantId,
        /// What plays.
        to: VariantId,
        /// Why.
        why: Why,
    },
    /// The ticket is void, by a later decision, a seek or because it was used. Nothing changed.
    Stale {
        /// The ticket that holds instead.
        valid: Option<Ticket>,
    },
}
