//! What a transport handed over and storage has not taken yet.

use alloc::collections::VecDeque;
use bytes::Bytes;

/// A queue of received buffers, in order. Appended to by [`port::Body::fill`](crate::port::Body::fill), drained by the
/// writer. A chunk is what the transport delivered; it is never a unit of planning.
#[derive(Debug, Default)]
pub struct Chunks {
    queue: VecDeque<Bytes>,
    len: usize,
}

impl Chunks {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes in the queue.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends one received buffer.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.len += chunk.len();
            self.queue.push_back(chunk);
        }
    }

    /// The buffers, in order, for a gathering write.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.queue.iter().map(|chunk| &chunk[..])
    }

    /// Takes the first buffer out, without a copy.
    pub fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.queue.pop_front()?;
        self.len -= chunk.len();
        Some(chunk)
    }

    /// Drops the first `n` bytes (all of them if there are fewer).
    pub fn advance(&mut self, n: usize) {
        let mut left = n;
        while left > 0 {
            let Some(front) = self.queue.front_mut() else {
                break;
            };
            let step = left.min(front.len());
            // A chunk that is used up goes at once, so that its buffer can be used again.
            if step == front.len() {
                self.queue.pop_front();
            } else {
                *front = front.slice(step..);
            }
            self.len -= step;
            left -= step;
        }
    }

    /// Drops everything after the first `n` bytes and says how many were dropped.
    pub fn truncate(&mut self, n: usize) -> usize {
        let excess = self.len.saturating_sub(n);
        let mut left = excess;
        while left > 0 {
            let Some(mut back) = self.queue.pop_back() else {
                break;
            };
            if back.len() > left {
                back.truncate(back.len() - left);
                left = 0;
                self.queue.push_back(back);
            } else {
                left -= back.len();
            }
        }
        self.len -= excess;
        excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn sample() -> Chunks {
        let mut chunks = Chunks::new();
        for part in [&b"abc"[..], b"", b"de", b"fghi"] {
            chunks.push(Bytes::from_static(part));
        }
        chunks
    }

    fn text(chunks: &Chunks) -> Vec<u8> {
        chunks.iter().flatten().copied().collect()
    }

    #[test]
    fn advance_and_truncate_agree_with_a_vector() {
        for front in 0..12 {
            for back in 0..12 {
                let mut chunks = sample();
                chunks.advance(front);
                let mut flat = b"abcdefghi"[front.min(9)..].to_vec();
                assert_eq!(chunks.truncate(back), flat.len().saturating_sub(back));
                flat.truncate(back);
                assert_eq!(text(&chunks), flat);
                assert_eq!(chunks.len(), flat.len());
                let mut popped = Vec::new();
                while let Some(chunk) = chunks.pop() {
                    assert!(!chunk.is_empty());
                    popped.extend_from_slice(&chunk);
                    assert_eq!(chunks.len(), flat.len() - popped.len());
                }
                assert_eq!(popped, flat);
            }
        }
    }
}
