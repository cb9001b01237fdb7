//! Divides the memory that peers may fill among the connections of a transport.

use std::sync::{Arc, Mutex, PoisonError};

/// What the windows of all connections may add up to, in bytes.
///
/// Each connection gets what it is set to, or half of what is left; at least [`FLOOR`]. So the first one is as fast as it
/// can be, and any number of peers that send what nobody reads fill no more than this and a floor for each.
#[derive(Clone, Debug)]
pub(crate) struct Windows(Arc<Mutex<u32>>);

impl Windows {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(TOTAL)))
    }

    /// The window of a connection, for as long as the share lives.
    pub(crate) fn share(&self, wanted: u32) -> Share {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = wanted.min((*left / 2).max(FLOOR));
        let taken = bytes.min(*left);
        *left -= taken;
        Share {
            bytes,
            taken,
            windows: self.clone(),
        }
    }
}

/// The window of one connection, taken for as long as this lives.
#[derive(Debug)]
pub(crate) struct Share {
    bytes: u32,
    taken: u32,
    windows: Windows,
}

impl Share {
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Windows(left) = &self.windows;
        *left.lock().unwrap_or_else(PoisonError::into_inner) += self.taken;
    }
}

/// Two connections of the default size.
const TOTAL: u32 = 64 * 1024 * 1024;
/// What a connection needs to be of use on a far link.
const FLOOR: u32 = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_halve_and_come_back() {
        let windows = Windows::new();
        let shares: Vec<Share> = (0..40).map(|_| windows.share(32 << 20)).collect();
        let sizes: Vec<u32> = shares.iter().map(Share::bytes).collect();
        assert_eq!(sizes[..4], [32 << 20, 16 << 20, 8 << 20, 4 << 20]);
        assert!(sizes.iter().all(|bytes| *bytes >= FLOOR));
        assert!(sizes.iter().sum::<u32>() <= TOTAL + 40 * FLOOR);
        drop(shares);
        assert_eq!(windows.share(1 << 20).bytes(), 1 << 20);
        assert_eq!(windows.share(32 << 20).bytes(), 32 << 20);
    }
}
