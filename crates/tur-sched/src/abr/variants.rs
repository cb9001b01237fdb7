//! The variants of one presentation, in the order of what they need.
//!
//! Read [`Variants`]: a list that was checked when it was made, so that no decision meets one that is empty or names a
//! variant twice.

use alloc::vec::Vec;
use core::fmt;

use tur_core::Rate;

/// A variant, numbered by the media layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariantId(pub u32);

impl fmt::Display for VariantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "variant {}", self.0)
    }
}

/// One way to present the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Which.
    pub id: VariantId,
    /// What it needs to play without a pause, in bytes per second (a playlist says bits).
    pub bandwidth: Rate,
}

/// Why a list of variants was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadVariants {
    /// More than [`Variants::MAX`].
    TooMany(usize),
    /// Two have this number.
    Twice(VariantId),
    /// The one that is said to be playing is not in the list. An empty list has none that could.
    Missing(VariantId),
}

impl fmt::Display for BadVariants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadVariants::TooMany(n) => write!(f, "{n} variants; {} are the limit", Variants::MAX),
            BadVariants::Twice(id) => write!(f, "{id} is there twice"),
            BadVariants::Missing(id) => write!(f, "{id} is not there"),
        }
    }
}

impl core::error::Error for BadVariants {}

/// What there is to choose from, and what is playing: at least one, at most [`MAX`](Self::MAX).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variants {
    /// By bandwidth, then by number.
    sorted: Vec<Variant>,
    current: VariantId,
}

impl Variants {
    /// The longest list that is taken. Each decision looks at all of them, and a playlist is a stranger's.
    pub const MAX: usize = 256;

    /// A list in any order, of which `current` is playing.
    ///
    /// # Errors
    ///
    /// What is wrong with the list.
    pub fn new(list: &[Variant], current: VariantId) -> Result<Self, BadVariants> {
        if list.len() > Self::MAX {
            return Err(BadVariants::TooMany(list.len()));
        }
        let mut sorted = list.to_vec();
        sorted.sort_unstable_by_key(|variant| variant.id);
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(BadVariants::Twice(pair[0].id));
        }
        sorted.sort_by_key(|variant| variant.bandwidth);
        let variants = Self { sorted, current };
        match variants.find(current) {
            Some(_) => Ok(variants),
            None => Err(BadVariants::Missing(current)),
        }
    }

    /// The one that is playing.
    #[must_use]
    pub fn current(&self) -> Variant {
        self.find(self.current)
            .expect("what is playing was in the list when it was made, or came from it")
    }

    /// The one with this number.
    #[must_use]
    pub fn find(&self, id: VariantId) -> Option<Variant> {
        self.iter().find(|variant| variant.id == id)
    }

    /// All of them, those that need least first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Variant> + '_ {
        self.sorted.iter().copied()
    }

    /// Those that a cap allows; the lowest, if it allows none.
    pub(super) fn allowed(
        &self,
        cap: Option<Rate>,
    ) -> impl DoubleEndedIterator<Item = Variant> + '_ {
        let under = |variant: &Variant| cap.is_none_or(|cap| variant.bandwidth <= cap);
        let n = self.sorted.partition_point(under).max(1);
        self.sorted.iter().take(n).copied()
    }

    /// True if a decision may choose it under this cap.
    pub(super) fn allows(&self, cap: Option<Rate>, id: VariantId) -> bool {
        self.allowed(cap).any(|variant| variant.id == id)
    }

    /// Another one is playing from now on. One that is not in the list changes nothing.
    pub(super) fn play(&mut self, id: VariantId) {
        if self.find(id).is_some() {
            self.current = id;
        }
    }
}
