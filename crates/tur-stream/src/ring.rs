//! The last bytes of a stream that has no end, in a bounded piece of memory: [`Ring`]. Nothing here waits.

use std::collections::VecDeque;
use std::task::Waker;

use tur_engine::{Error, Head};

/// What a reader gets from where it is.
pub(crate) enum Look {
    /// So many bytes.
    Read(usize),
    /// What it wanted is gone: so many bytes were missed, and the next one it can have stands here.
    Lagged { missed: u64, next: u64 },
    /// Another connection brought what follows: nobody knows what lies between.
    Break,
    /// Nothing yet.
    Nothing,
    /// Nothing, unless somebody connects again; and why, unless the origin said that it is the end.
    Over(Option<Error>),
}

/// The bytes `start..end` of what has come, counted over all connections. Its length is a bound and never grows.
pub(crate) struct Ring {
    bytes: Box<[u8]>,
    start: u64,
    end: u64,
    /// Where connections began, but the first; only those that a reader may still come to.
    breaks: VecDeque<u64>,
    /// Which connection brings bytes; what an older one brings late is dropped.
    pub(crate) connection: u64,
    pub(crate) head: Option<Head>,
    over: Option<Option<Error>>,
    waiting: Vec<Waker>,
}

impl Ring {
    pub(crate) fn new(len: usize) -> Self {
        Self {
            bytes: vec![0; len].into(),
            start: 0,
            end: 0,
            breaks: VecDeque::new(),
            connection: 0,
            head: None,
            over: None,
            waiting: Vec::new(),
        }
    }

    /// What can be read.
    pub(crate) fn window(&self) -> (u64, u64) {
        (self.start, self.end)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Takes what comes; the oldest bytes make room.
    pub(crate) fn push(&mut self, mut from: &[u8]) {
        let len = self.bytes.len();
        while !from.is_empty() {
            let at = self.index(self.end);
            let (now, later) = from.split_at(from.len().min(len - at));
            self.bytes[at..at + now.len()].copy_from_slice(now);
            self.end += now.len() as u64;
            from = later;
        }
        self.start = self.start.max(self.end.saturating_sub(len as u64));
        // Who comes to one from before has lagged, and hears of that.
        while self.breaks.front().is_some_and(|at| *at < self.start) {
            self.breaks.pop_front();
        }
    }

    /// Another connection begins. Returns its number.
    pub(crate) fn connect(&mut self) -> u64 {
        self.connection += 1;
        self.over = None;
        if self.connection > 1 && self.breaks.back() != Some(&self.end) {
            self.breaks.push_back(self.end);
        }
        self.connection
    }

    /// The connection is over.
    pub(crate) fn end(&mut self, why: Option<Error>) {
        self.over = Some(why);
    }

    /// What stands at `at`. `heard` is the break that its reader was told of last.
    pub(crate) fn look(&self, at: u64, heard: Option<u64>, into: &mut [u8]) -> Look {
        if at < self.start {
            let (missed, next) = (self.start - at, self.start);
            return Look::Lagged { missed, next };
        }
        let here = self.breaks.partition_point(|other| *other < at);
        let mut ahead = self.breaks.range(here..).copied();
        let mut next = ahead.next();
        if next == Some(at) {
            if heard != Some(at) {
                return Look::Break;
            }
            next = ahead.next();
        }
        let end = next.unwrap_or(self.end);
        if at < end {
            return Look::Read(self.copy(at, end, into));
        }
        match &self.over {
            Some(why) => Look::Over(why.clone()),
            None => Look::Nothing,
        }
    }

    /// `waker` is among those that are taken when something has happened.
    pub(crate) fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|other| other.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }

    /// Who is to be woken once the ring is free.
    pub(crate) fn take_waiting(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.waiting)
    }

    fn copy(&self, at: u64, end: u64, into: &mut [u8]) -> usize {
        let from = self.index(at);
        let run = usize::try_from(end - at).unwrap_or(usize::MAX);
        let len = run.min(into.len()).min(self.bytes.len() - from);
        into[..len].copy_from_slice(&self.bytes[from..from + len]);
        len
    }

    fn index(&self, at: u64) -> usize {
        let len = self.bytes.len() as u64;
        usize::try_from(at % len).expect("it is less than a length in memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ring: &Ring, at: u64, most: usize) -> Vec<u8> {
        let mut into = vec![0; most];
        match ring.look(at, None, &mut into) {
            Look::Read(came) => into[..came].to_vec(),
            _ => Vec::new(),
        }
    }

    /// Pieces of every length, held against all that ever came.
    #[test]
    fn it_holds_the_last_bytes_and_no_others() {
        for len in [1, 2, 7, 16] {
            let (mut ring, mut all) = (Ring::new(len), Vec::new());
            for piece in 0..40_u8 {
                let bytes: Vec<u8> = (0..piece % 23).map(|i| piece.wrapping_mul(7) ^ i).collect();
                ring.push(&bytes);
                all.extend(&bytes);
                let start = all.len().saturating_sub(len);
                assert_eq!(ring.window(), (start as u64, all.len() as u64));
                for at in start..all.len() {
                    let have = read(&ring, at as u64, 5);
                    assert!(!have.is_empty() && all[at..].starts_with(&have));
                }
                if start > 0 {
                    let look = ring.look(start as u64 - 1, None, &mut [0; 3]);
                    let next = start as u64;
                    assert!(matches!(look, Look::Lagged { missed: 1, next: n } if n == next));
                }
            }
        }
    }

    #[test]
    fn no_read_joins_two_connections() {
        let mut ring = Ring::new(8);
        ring.connect();
        ring.push(b"abc");
        ring.end(None);
        assert!(matches!(ring.look(3, None, &mut [0; 9]), Look::Over(None)));
        ring.connect();
        ring.push(b"def");
        assert_eq!(read(&ring, 1, 9), b"bc");
        assert!(matches!(ring.look(3, None, &mut [0; 9]), Look::Break));
        let mut into = [0; 9];
        assert!(matches!(ring.look(3, Some(3), &mut into), Look::Read(3)));
        assert_eq!(&into[..3], b"def");
        assert!(matches!(ring.look(6, Some(3), &mut into), Look::Nothing));
        // What is not reached any more is forgotten.
        ring.push(b"ghijklm");
        assert!(ring.breaks.is_empty());
    }
}
