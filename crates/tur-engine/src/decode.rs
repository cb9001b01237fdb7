//! Content codings on their way to the file: coded bytes in, the bytes they stand for out.
//!
//! Read [`Plain`], the body that a flow draws from, then [`Decoder`]. Both hold a bounded amount of memory, whatever
//! comes. An end is said only where the framing *and* the coding have theirs: a body that stops in the middle of its
//! coding is truncated, never complete.

mod gzip;

use bytes::Bytes;
use flate2::{Crc, Decompress, FlushDecompress, Status};
use tur_core::port::{Body, Fill};
use tur_core::{Chunks, Fault};
use tur_http::Coding;

use self::gzip::{Header, TAIL_BYTES, Took};

/// A body as it is written: as it comes, or decoded.
pub(crate) enum Plain<B> {
    /// What comes is what is written.
    AsItComes(B),
    /// What comes is decoded.
    Decoded(Box<Decoding<B>>),
}

impl<B: Body> Plain<B> {
    /// `body`, decoded if a coding is named.
    pub(crate) fn new(body: B, coding: Option<Coding>) -> Self {
        match coding {
            None => Plain::AsItComes(body),
            Some(coding) => Plain::Decoded(Box::new(Decoding {
                body,
                coded: Chunks::new(),
                decoder: Decoder::new(coding),
                end: None,
            })),
        }
    }
}

impl<B: Body> Body for Plain<B> {
    async fn fill(&mut self, chunks: &mut Chunks, budget: usize) -> Result<Fill, Fault> {
        match self {
            Plain::AsItComes(body) => body.fill(chunks, budget).await,
            Plain::Decoded(decoding) => decoding.fill(chunks, budget).await,
        }
    }
}

/// A body with its decoder, and what has come and is not decoded yet.
pub(crate) struct Decoding<B> {
    body: B,
    coded: Chunks,
    decoder: Decoder,
    /// How the body ended, once it has.
    end: Option<Result<(), Fault>>,
}

impl<B: Body> Decoding<B> {
    /// Waits only for the body, whose own `fill` loses nothing when it is dropped.
    async fn fill(&mut self, chunks: &mut Chunks, budget: usize) -> Result<Fill, Fault> {
        loop {
            if self.decode(chunks, budget)? > 0 {
                return Ok(Fill::More);
            }
            match self.end.take() {
                Some(Ok(())) => return self.decoder.end().map(|()| Fill::End),
                // What came before it is decoded: the failure is that of the connection.
                Some(Err(fault)) => return Err(fault),
                None => {}
            }
            match self.body.fill(&mut self.coded, CODED_MAX.min(budget)).await {
                Ok(Fill::More) => {}
                Ok(Fill::End) => self.end = Some(Ok(())),
                Err(fault) => self.end = Some(Err(fault)),
            }
        }
    }

    /// Decodes what is there, up to about `budget` bytes. Returns how many were appended.
    fn decode(&mut self, chunks: &mut Chunks, budget: usize) -> Result<usize, Fault> {
        let mut out = Vec::with_capacity(budget.clamp(1, OUT_BYTES));
        while out.len() < out.capacity() {
            let front = self.coded.iter().next().unwrap_or_default();
            if front.is_empty() && !self.decoder.has_more {
                break;
            }
            let took = self.decoder.decode(front, &mut out)?;
            self.coded.advance(took);
        }
        let appended = out.len();
        chunks.push(Bytes::from(out));
        Ok(appended)
    }
}

/// What `coded`, the beginning of a body, begins with, up to `most` bytes; as far as it is sound.
pub(crate) fn beginning(coding: Coding, mut coded: &[u8], most: usize) -> Vec<u8> {
    let mut decoder = Decoder::new(coding);
    let mut out = Vec::with_capacity(most);
    while out.len() < most && (decoder.has_more || !coded.is_empty()) {
        match decoder.decode(coded, &mut out) {
            Ok(took) => coded = &coded[took..],
            Err(_) => break,
        }
    }
    out.truncate(most);
    out
}

/// Decodes one body.
pub(crate) struct Decoder {
    coding: Coding,
    stage: Stage,
    inflate: Decompress,
    /// Of the bytes of this member.
    check: Crc,
    sent: u64,
    decoded: u64,
    /// True if decoded bytes may be waiting for room, whether or not more comes.
    has_more: bool,
}

enum Stage {
    /// The header of a gzip member; the first one must be there.
    Header(Header),
    /// The first two bytes of `deflate` tell which of its two formats it is.
    Sniff(Option<u8>),
    Data,
    /// Checksum and length of a gzip member, as far as they came.
    Tail(Vec<u8>),
    /// The coding has ended; so many bytes came behind it.
    Over(u64),
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub(crate) fn new(coding: Coding) -> Self {
        let (stage, zlib) = match coding {
            Coding::Gzip => (Stage::Header(Header::first()), false),
            Coding::Deflate => (Stage::Sniff(None), true),
        };
        Self {
            coding,
            stage,
            inflate: Decompress::new(zlib),
            check: Crc::new(),
            sent: 0,
            decoded: 0,
            has_more: false,
        }
    }

    /// Takes coded bytes from the front of `input` and appends what they stand for to `out`, as far as it has room.
    /// Returns how many it took: none only if there were none, or `out` has got fuller.
    ///
    /// # Errors
    /// `Undecodable` if the coding is damaged, `Inflated` if there is far more in it than was sent.
    pub(crate) fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Fault> {
        let took = match &mut self.stage {
            Stage::Header(header) => {
                let (took, what) = header.take(input);
                match what {
                    Took::More => {}
                    Took::Whole => self.stage = Stage::Data,
                    // RFC 1952, section 2.2: members follow one another. As the tools have it, anything else is padding.
                    Took::NoMember => self.stage = Stage::Over(took as u64),
                    Took::Damaged => return Err(self.damaged("its header")),
                }
                took
            }
            Stage::Sniff(first) => match (*first, input) {
                (None, [byte, ..]) => {
                    *first = Some(*byte);
                    1
                }
                (Some(first), [second, ..]) => {
                    self.begin_deflate([first, *second], out)?;
                    1
                }
                (_, []) => 0,
            },
            Stage::Data => self.inflate(input, out)?,
            Stage::Tail(tail) => {
                let took = input.len().min(TAIL_BYTES - tail.len());
                tail.extend_from_slice(&input[..took]);
                if tail.len() == TAIL_BYTES {
                    self.end_member()?;
                }
                took
            }
            Stage::Over(surplus) => {
                *surplus += input.len() as u64;
                if *surplus > SURPLUS_MAX {
                    return Err(self.damaged("far more came behind its end"));
                }
                input.len()
            }
        };
        self.sent += took as u64;
        self.check_growth()?;
        Ok(took)
    }

    /// The body is over.
    ///
    /// # Errors
    /// `Truncated` if the coding is not.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        match &self.stage {
            Stage::Over(_) => Ok(()),
            Stage::Header(header) if header.may_be_padding() => Ok(()),
            _ => {
                let coding = self.coding.as_str();
                Err(Fault::Truncated(format!("its {coding} coding has no end")))
            }
        }
    }

    /// RFC 9110, section 8.4.1.2: some origins send the format of RFC 1951 without the wrapper of RFC 1950, whose first
    /// two bytes are known (section 2.2).
    fn begin_deflate(&mut self, start: [u8; 2], out: &mut Vec<u8>) -> Result<(), Fault> {
        let is_zlib = start[0] & 0x0f == 8 && u16::from_be_bytes(start).is_multiple_of(31);
        self.inflate = Decompress::new(is_zlib);
        self.stage = Stage::Data;
        let mut rest = &start[..];
        while !rest.is_empty() && matches!(self.stage, Stage::Data) {
            rest = &rest[self.inflate(rest, out)?..];
        }
        if let Stage::Over(surplus) = &mut self.stage {
            *surplus = rest.len() as u64;
        }
        Ok(())
    }

    fn inflate(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Fault> {
        let (sent, before) = (self.inflate.total_in(), out.len());
        let status = self
            .inflate
            .decompress_vec(input, out, FlushDecompress::None);
        let took = usize::try_from(self.inflate.total_in() - sent).unwrap_or(input.len());
        if self.coding == Coding::Gzip {
            self.check.update(&out[before..]);
        }
        self.decoded += (out.len() - before) as u64;
        self.has_more = out.len() == out.capacity();
        match status {
            Ok(Status::StreamEnd) => {
                self.has_more = false;
                self.stage = match self.coding {
                    Coding::Gzip => Stage::Tail(Vec::with_capacity(TAIL_BYTES)),
                    Coding::Deflate => Stage::Over(0),
                };
                Ok(took)
            }
            Ok(_) => {
                // Otherwise whoever calls would never come to an end.
                let moved = took > 0 || out.len() > before || input.is_empty();
                moved
                    .then_some(took)
                    .ok_or_else(|| self.damaged("its data"))
            }
            Err(_) => Err(self.damaged("its data")),
        }
    }

    /// RFC 1952, section 2.3.1: checksum, and length modulo 2^32.
    fn end_member(&mut self) -> Result<(), Fault> {
        let Stage::Tail(tail) = &self.stage else {
            return Ok(());
        };
        let word = |at: usize| {
            let bytes = tail[at..at + 4].try_into();
            u32::from_le_bytes(bytes.expect("a tail has eight bytes"))
        };
        if (word(0), word(4)) != (self.check.sum(), self.check.amount()) {
            return Err(self.damaged("its checksum differs"));
        }
        self.check.reset();
        self.inflate.reset(false);
        self.stage = Stage::Header(Header::next());
        Ok(())
    }

    fn check_growth(&self) -> Result<(), Fault> {
        let allowed = self.sent.saturating_mul(RATIO_MAX);
        match self.decoded.saturating_sub(GROWTH_FREE) > allowed {
            true => Err(Fault::Inflated { limit: RATIO_MAX }),
            false => Ok(()),
        }
    }

    fn damaged(&self, what: &str) -> Fault {
        let coding = self.coding.as_str();
        Fault::Undecodable(format!(
            "the {coding} coding of the file is damaged ({what})"
        ))
    }
}

/// Coded bytes that are drawn at a time.
const CODED_MAX: usize = 64 * 1024;
/// Decoded bytes that are made at a time.
const OUT_BYTES: usize = 64 * 1024;
/// How many times larger than what was sent a file may get. The format can do 1032 times (a run of zeros); text reaches
/// about 20, and repetitive logs 100. Web servers that decode draw the line at 200 too.
const RATIO_MAX: u64 = 200;
/// So much may come of anything: small files of one letter are no bombs.
const GROWTH_FREE: u64 = 1024 * 1024;
/// Padding behind the end of a coding. Tapes and careless programs fill up a record; more is no padding.
const SURPLUS_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
