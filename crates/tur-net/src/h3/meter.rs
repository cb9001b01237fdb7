//! Watches the frames of one stream: what they are, how long, and whether the stream ends inside one.
//!
//! Read [`Meter`]. The h3 crate keeps a frame until it is whole, however long it says it is, and takes the end of a stream
//! inside a DATA frame for the end of the body. The meter reads types and lengths (RFC 9114, section 7.1) and nothing else.

use thiserror::Error;

/// What a peer did that ends the stream, or the connection where it was done on the control stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Breach {
    /// A header section of too many bytes.
    #[error("the header section is too large")]
    Head,
    /// More frames without content than [`OTHERS_MAX`] in a row, or one of more than [`OTHER_BYTES_MAX`].
    #[error("a flood of HTTP/3 frames without content")]
    Flood,
    /// Content or another header section after the trailers.
    #[error("a frame after the trailers")]
    Order,
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Cut,
}

/// What runs on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// An answer to a request.
    Answer,
    /// A stream that has not said its type yet.
    Unnamed,
    /// Frames about the connection.
    Control,
    /// Anything else: nothing of it is kept.
    Opaque,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Heads,
    Content,
    Trailers,
}

/// The state of the watch over one stream.
#[derive(Debug)]
pub(crate) struct Meter {
    role: Role,
    part: Part,
    at: At,
    head_limit: u64,
    /// Frames without content in a row; on the control stream, all.
    others: usize,
    /// Bytes of DATA frames that began.
    content: u64,
    goaway: Option<u64>,
}

/// Where in a frame the next byte is.
#[derive(Clone, Copy, Debug)]
enum At {
    Type(Varint),
    Length { kind: u64, varint: Varint },
    Payload { kind: u64, left: u64 },
    Goaway { left: u64, varint: Varint },
}

impl Meter {
    /// Watches an answer, whose header sections may have `head_limit` bytes.
    pub(crate) fn of_answer(head_limit: usize) -> Self {
        Self::new(Role::Answer, head_limit)
    }

    /// Watches a stream that the peer has opened.
    pub(crate) fn of_peer() -> Self {
        Self::new(Role::Unnamed, 0)
    }

    fn new(role: Role, head_limit: usize) -> Self {
        Self {
            role,
            part: Part::Heads,
            at: At::Type(Varint::default()),
            head_limit: head_limit as u64,
            others: 0,
            content: 0,
            goaway: None,
        }
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// The first thing that is not allowed.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<(), Breach> {
        while self.role != Role::Opaque && !bytes.is_empty() {
            if let At::Payload { kind, left } = self.at {
                let taken = left.min(bytes.len() as u64);
                // No more than the slice has.
                bytes = bytes.get(taken as usize..).unwrap_or_default();
                self.at = At::payload(kind, left - taken);
                continue;
            }
            let Some((byte, rest)) = bytes.split_first() else {
                break;
            };
            bytes = rest;
            self.take_byte(*byte)?;
        }
        Ok(())
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// `Cut` if it should have gone on.
    pub(crate) fn end(&self) -> Result<(), Breach> {
        match self.at {
            At::Type(varint) if varint.is_empty() => Ok(()),
            _ if self.role == Role::Answer => Err(Breach::Cut),
            _ => Ok(()),
        }
    }

    /// What the last GOAWAY said: streams of this number and later ones are not served (RFC 9114, section 5.2).
    pub(crate) fn goaway(&self) -> Option<u64> {
        self.goaway
    }

    /// True if what is wrong here is wrong with the connection.
    pub(crate) fn is_of_connection(&self) -> bool {
        self.role != Role::Answer
    }

    /// Bytes of content that the frames have, those of the last one counted that are still to come.
    pub(crate) fn content(&self) -> u64 {
        self.content
    }

    fn take_byte(&mut self, byte: u8) -> Result<(), Breach> {
        match &mut self.at {
            At::Type(varint) => {
                if let Some(kind) = varint.take(byte) {
                    self.named(kind);
                }
            }
            At::Length { kind, varint } => {
                let kind = *kind;
                if let Some(length) = varint.take(byte) {
                    self.begin(kind, length)?;
                    self.at = match (self.role, kind) {
                        (Role::Control, GOAWAY) => At::goaway(length),
                        _ => At::payload(kind, length),
                    };
                }
            }
            At::Goaway { left, varint } => {
                let left = *left - 1;
                if let Some(id) = varint.take(byte) {
                    self.goaway = Some(id);
                    self.at = At::payload(GOAWAY, left);
                } else if left == 0 {
                    self.at = At::Type(Varint::default());
                } else {
                    let varint = *varint;
                    self.at = At::Goaway { left, varint };
                }
            }
            // The caller skips payloads.
            At::Payload { .. } => {}
        }
        Ok(())
    }

    /// The type of a frame came, or that of the stream (RFC 9114, section 6.2).
    fn named(&mut self, kind: u64) {
        if self.role == Role::Unnamed {
            self.role = match kind {
                CONTROL => Role::Control,
                _ => Role::Opaque,
            };
            self.at = At::Type(Varint::default());
        } else {
            let varint = Varint::default();
            self.at = At::Length { kind, varint };
        }
    }

    /// A frame begins.
    fn begin(&mut self, kind: u64, length: u64) -> Result<(), Breach> {
        match (self.role, kind) {
            (Role::Answer, DATA | HEADERS) if self.part == Part::Trailers => {
                return Err(Breach::Order);
            }
            (Role::Answer, DATA) if length > 0 => {
                self.part = Part::Content;
                self.others = 0;
                self.content = self.content.saturating_add(length);
                return Ok(());
            }
            (Role::Answer, HEADERS) => {
                if length > self.head_limit {
                    return Err(Breach::Head);
                }
                if self.part == Part::Content {
                    self.part = Part::Trailers;
                }
                return Ok(());
            }
            _ => {}
        }
        self.others += 1;
        if self.others > OTHERS_MAX || length > OTHER_BYTES_MAX {
            return Err(Breach::Flood);
        }
        Ok(())
    }
}

impl At {
    fn payload(kind: u64, left: u64) -> Self {
        match left {
            0 => At::Type(Varint::default()),
            left => At::Payload { kind, left },
        }
    }

    fn goaway(left: u64) -> Self {
        match left {
            0 => At::Type(Varint::default()),
            left => At::Goaway {
                left,
                varint: Varint::default(),
            },
        }
    }
}

/// A number of variable length, as far as it came (RFC 9000, section 16).
#[derive(Clone, Copy, Debug, Default)]
struct Varint {
    value: u64,
    have: u8,
    length: u8,
}

impl Varint {
    fn is_empty(self) -> bool {
        self.have == 0
    }

    fn take(&mut self, byte: u8) -> Option<u64> {
        if self.have == 0 {
            self.length = 1 << (byte >> 6);
            self.value = u64::from(byte & 0x3f);
        } else {
            self.value = self.value << 8 | u64::from(byte);
        }
        self.have += 1;
        (self.have == self.length).then_some(self.value)
    }
}

/// RFC 9114, sections 6.2 and 7.2.
const CONTROL: u64 = 0;
const DATA: u64 = 0;
const HEADERS: u64 = 1;
const GOAWAY: u64 = 7;

/// Frames without content in a row: reserved types, which peers may send to see that they are ignored, are few.
const OTHERS_MAX: usize = 1_000;
/// Bytes of such a frame: SETTINGS is the largest, and has some dozens.
const OTHER_BYTES_MAX: u64 = 16 * 1024;

#[cfg(test)]
mod tests;
