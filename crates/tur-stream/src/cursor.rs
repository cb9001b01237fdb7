//! Where one reader is, and what it does next: [`Cursor`], under every kind of reader.

use std::io::{self, SeekFrom};
use std::sync::Arc;

use tur_engine::{ByteRange, Demand, Version, Wait};

use crate::ReadError;
use crate::media::Inner;

/// What a reader that has to wait asks for: more than one read as a rule, and little enough that it is not long in coming.
const DEMAND: u64 = 256 << 10;

/// A position in a media, with what belongs to it.
pub(crate) struct Cursor {
    inner: Arc<Inner>,
    view: u64,
    at: u64,
    /// Of which version it has read.
    of: Option<Version>,
    demand: Option<(ByteRange, Demand)>,
}

/// What comes of trying to read.
pub(crate) enum Step {
    /// So many bytes; none at the end.
    Read(usize),
    /// They are missing, and wanted by now.
    Wait(Wait),
}

impl Cursor {
    /// At the beginning of whichever version it reads first.
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self::at(inner, 0, None)
    }

    /// At `at` of the version `of`, and of no other if there is one.
    pub(crate) fn at(inner: Arc<Inner>, at: u64, of: Option<Version>) -> Self {
        let view = inner.enter(at);
        Self {
            inner,
            view,
            at,
            of,
            demand: None,
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// Reads what is there, or says what to wait for. Never waits itself.
    pub(crate) fn step(&mut self, into: &mut [u8]) -> Result<Step, ReadError> {
        if into.is_empty() {
            return Ok(Step::Read(0));
        }
        loop {
            let reading = &self.inner.reading;
            let of = self.of.unwrap_or_else(|| reading.version());
            match reading.read_at(of, self.at, into) {
                Ok(0) => {}
                Ok(came) => {
                    self.of = Some(of);
                    self.go_to(self.at + came as u64);
                    return Ok(Step::Read(came));
                }
                // It has read nothing yet, and begins with the new version.
                Err(_) if self.of.is_none() && reading.version() != of => continue,
                Err(error) => return Err(error.into()),
            }
            let is_at_end = self.is_at_end();
            // Asked last: the length may be that of another version, which has begun since.
            if reading.version() != of {
                continue;
            }
            if is_at_end {
                return Ok(Step::Read(0));
            }
            return Ok(Step::Wait(self.want(of, into.len())));
        }
    }

    /// True if it is known that no byte stands here: of no file does one stand at the last position, but there has to be one.
    fn is_at_end(&self) -> bool {
        match self.inner.reading.len() {
            Some(end) => self.at >= end,
            None => self.at == u64::MAX && self.inner.reading.is_open(),
        }
    }

    /// Says that the bytes here are waited for.
    fn want(&mut self, of: Version, len: usize) -> Wait {
        self.inner.moved(self.view, self.at);
        let demanded = self.demand.as_ref().map(|(range, _)| *range);
        if !demanded.is_some_and(|range| range.contains(self.at)) {
            let end = self.at.saturating_add(DEMAND.max(len as u64));
            let range = ByteRange::new(self.at, end);
            // The new one first: nobody else's is heeded in between.
            let demand = self.inner.reading.demand(range);
            self.demand = Some((range, demand));
        }
        let next = ByteRange::new(self.at, self.at.saturating_add(1));
        // Who has read nothing is not bound to this version.
        self.inner.reading.wait(self.of.map(|_| of), next)
    }

    /// Nobody reads here any more: nothing is wanted for it.
    pub(crate) fn retire(&mut self) {
        self.demand = None;
        self.inner.leave(self.view);
    }

    fn go_to(&mut self, at: u64) {
        self.at = at;
        let left = self.demand.as_ref();
        if left.is_some_and(|(range, _)| !range.contains(at)) {
            self.demand = None;
        }
        self.inner.moved(self.view, at);
    }

    /// Ready once a position from the end means something, or never will.
    pub(crate) fn until_open(&self) -> Wait {
        self.inner.reading.wait(self.of, ByteRange::new(0, 0))
    }

    /// Goes elsewhere; the position stays as it was if that cannot be.
    pub(crate) fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (self.at, by),
            SeekFrom::End(by) => {
                let unknown = || {
                    let message = "the length of the file is not known, or not yet";
                    io::Error::new(io::ErrorKind::Unsupported, message)
                };
                (self.inner.reading.len().ok_or_else(unknown)?, by)
            }
        };
        let Some(at) = base.checked_add_signed(by) else {
            let message = "a seek to before the beginning, or beyond all positions";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        self.go_to(at);
        Ok(at)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.inner.leave(self.view);
    }
}
