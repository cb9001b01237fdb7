//! The header of a gzip member (RFC 1952, section 2.3), byte by byte as it comes.
//!
//! Read [`Header`]. Nothing of what it skips is kept, so a name without an end costs no memory.

/// Length of what follows the data of a member.
pub(super) const TAIL_BYTES: usize = 8;

/// A header that is being read.
pub(super) struct Header {
    step: Step,
    flags: u8,
    /// True for the first member of a body: it must be there.
    required: bool,
}

/// Which byte comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// One of the ten bytes that each header has.
    Fixed(u8),
    /// The length of the extra field, low byte first.
    ExtraLength(Option<u8>),
    /// So many bytes of it.
    Extra(u16),
    /// Up to a zero byte.
    Name,
    Comment,
    /// The checksum of the header, of which so many bytes are left.
    Check(u8),
    Over,
}

/// What a header made of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// It needs more of them.
    More,
    /// It is whole: data follows.
    Whole,
    /// What comes is no member, and need not be one.
    NoMember,
    /// It is no header.
    Damaged,
}

impl Header {
    /// The header that a body begins with.
    pub(super) fn first() -> Self {
        Self {
            step: Step::Fixed(0),
            flags: 0,
            required: true,
        }
    }

    /// A header behind a member.
    pub(super) fn next() -> Self {
        Self {
            required: false,
            ..Self::first()
        }
    }

    /// True if a body may end here.
    pub(super) fn may_be_padding(&self) -> bool {
        !self.required && matches!(self.step, Step::Fixed(0 | 1))
    }

    /// Takes bytes until the header is over, or is none. Returns how many it took.
    pub(super) fn take(&mut self, input: &[u8]) -> (usize, Took) {
        for (at, byte) in input.iter().enumerate() {
            let is_magic = match self.step {
                Step::Fixed(0) => *byte == MAGIC[0],
                Step::Fixed(1) => *byte == MAGIC[1],
                _ => true,
            };
            if !is_magic {
                let what = if self.required {
                    Took::Damaged
                } else {
                    Took::NoMember
                };
                return (at + 1, what);
            }
            let Some(step) = self.after(*byte) else {
                return (at + 1, Took::Damaged);
            };
            self.step = step;
            if step == Step::Over {
                return (at + 1, Took::Whole);
            }
        }
        (input.len(), Took::More)
    }

    /// The step after a byte; `None` if no header has that byte there.
    fn after(&mut self, byte: u8) -> Option<Step> {
        match self.step {
            Step::Fixed(2) if byte != DEFLATE => return None,
            Step::Fixed(3) if byte & RESERVED != 0 => return None,
            Step::Fixed(3) => self.flags = byte,
            _ => {}
        }
        Some(match self.step {
            Step::Fixed(9) => self.optional(EXTRA),
            Step::Fixed(n) => Step::Fixed(n + 1),
            Step::ExtraLength(None) => Step::ExtraLength(Some(byte)),
            Step::ExtraLength(Some(low)) => match u16::from_le_bytes([low, byte]) {
                0 => self.optional(NAME),
                n => Step::Extra(n),
            },
            Step::Extra(1) => self.optional(NAME),
            Step::Extra(n) => Step::Extra(n - 1),
            Step::Name if byte == 0 => self.optional(COMMENT),
            Step::Comment if byte == 0 => self.optional(CHECK),
            Step::Check(n) if n > 1 => Step::Check(n - 1),
            Step::Check(_) | Step::Over => Step::Over,
            Step::Name | Step::Comment => self.step,
        })
    }

    /// The first optional field from `flag` on that this header has.
    fn optional(&self, flag: u8) -> Step {
        let has = |flag| self.flags & flag != 0;
        match flag {
            EXTRA if has(EXTRA) => Step::ExtraLength(None),
            EXTRA => self.optional(NAME),
            NAME if has(NAME) => Step::Name,
            NAME => self.optional(COMMENT),
            COMMENT if has(COMMENT) => Step::Comment,
            COMMENT => self.optional(CHECK),
            _ if has(CHECK) => Step::Check(2),
            _ => Step::Over,
        }
    }
}

const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The only method that is defined.
const DEFLATE: u8 = 8;
const CHECK: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
/// Section 2.3.1.2: must be zero.
const RESERVED: u8 = 0xe0;
