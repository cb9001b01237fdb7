//! Memory of short files, which the next ones use again: [`Buffer`].
//!
//! With thousands of small files, giving memory back and asking for it anew costs as much as copying into it: the allocator
//! returns it to the system, and each page is a fault when it comes again.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::held::HELD_MAX;

/// Buffers that wait for the next file: 2 MiB at most. More files at once allocate like everybody else.
const SPARE_MAX: usize = 16;

/// One heap for the process, as the allocator behind it.
static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes in memory. What it was allocated with outlives it.
#[derive(Clone, Debug)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// An empty one, with room for `len` bytes at least.
    pub(crate) fn with_room_for(len: usize) -> Self {
        let spare = spare().pop().filter(|spare| spare.capacity() >= len);
        Self(spare.unwrap_or_else(|| Vec::with_capacity(len)))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0);
        bytes.clear();
        let fits = |capacity: usize| capacity > 0 && capacity as u64 <= HELD_MAX;
        let mut spare = spare();
        if spare.len() < SPARE_MAX && fits(bytes.capacity()) {
            spare.push(bytes);
        }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

/// A push or a pop leaves it whole.
fn spare() -> MutexGuard<'static, Vec<Vec<u8>>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other tests of this process use the same heap: what is looked at is what holds whatever they do.
    #[test]
    fn buffers_come_back_empty_and_as_few_as_were_promised() {
        let most = usize::try_from(HELD_MAX).unwrap();
        let many: Vec<_> = (0..4 * SPARE_MAX)
            .map(|_| {
                let mut buffer = Buffer::with_room_for(most);
                assert!(buffer.is_empty() && buffer.capacity() >= most);
                buffer.extend_from_slice(b"somebody's");
                buffer
            })
            .collect();
        drop(many);
        assert!((1..=SPARE_MAX).contains(&spare().len()));
        for len in [0, 1, most] {
            let buffer = Buffer::with_room_for(len);
            assert!(buffer.is_empty() && buffer.capacity() >= len);
        }
        // One that has outgrown what a file may hold is not kept.
        let mut large = Buffer::with_room_for(most);
        large.resize(most + 1, 0);
        drop(large);
        let capacities = spare().iter().map(Vec::capacity).max();
        assert!(capacities <= Some(most), "{capacities:?}");
    }
}
