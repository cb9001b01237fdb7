//! Divides the memory that peers may fill among the connections of a transport.

use std::sync::{Arc, Mutex, PoisonError};

use tur_core::port::WindowSource;

use super::products::Product;

/// What the windows of all connections may add up to, in bytes.
///
/// Each connection gets twice of what connections to its origin were seen to have on their way, or what it is set to where
/// nobody has seen that; never more than half of what is left, or a quarter where it is not known. So the first ones are as
/// fast as they can be, many get about the same, and any number of peers that send what nobody reads fill no more than this
/// and a floor for each.
#[derive(Clone, Debug)]
pub(crate) struct Windows(Arc<Mutex<u32>>);

impl Windows {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(TOTAL)))
    }

    /// The window of a connection, at most `most`, for as long as the share lives.
    pub(crate) fn share(&self, most: u32, product: Option<Product>) -> Share {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (wanted, fair) = match product {
            // Twice: the next measurement shall show if it was too little.
            Some(product) => (product.bytes.saturating_mul(2).max(KNOWN_MIN), *left / 2),
            None => (most, *left / 4),
        };
        let bytes = wanted.min(most).min(fair.max(FLOOR));
        let taken = bytes.min(*left);
        *left -= taken;
        Share {
            bytes,
            taken,
            source: product.map_or(WindowSource::Default, |product| product.source),
            windows: self.clone(),
        }
    }
}

/// The window of one connection, taken for as long as this lives.
#[derive(Debug)]
pub(crate) struct Share {
    bytes: u32,
    taken: u32,
    source: WindowSource,
    windows: Windows,
}

impl Share {
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// What its size was chosen by.
    pub(crate) fn source(&self) -> WindowSource {
        self.source
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Windows(left) = &self.windows;
        *left.lock().unwrap_or_else(PoisonError::into_inner) += self.taken;
    }
}

/// Of the bound on all memory, half: the other half is for what was read and is being written.
const TOTAL: u32 = 64 * 1024 * 1024;
/// What a connection needs to be of use on a far link.
const FLOOR: u32 = 512 * 1024;
/// No less for what is known: what was measured may have been all that was wanted, or all that a file had. 80 MB/s at 50 ms.
const KNOWN_MIN: u32 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(product: Option<u32>, connections: usize) -> Vec<u32> {
        let source = WindowSource::Measured;
        let product = product.map(|bytes| Product { bytes, source });
        let windows = Windows::new();
        let share = |_| windows.share(32 << 20, product);
        let shares: Vec<Share> = (0..connections).map(share).collect();
        shares.iter().map(Share::bytes).collect()
    }

    #[test]
    fn windows_shrink_and_come_back() {
        let sizes = sizes(None, 60);
        assert_eq!(sizes[..3], [16 << 20, 12 << 20, 9 << 20]);
        assert!(
            sizes[..8].iter().all(|bytes| *bytes >= 2 << 20),
            "{sizes:?}"
        );
        assert!(sizes.iter().all(|bytes| *bytes >= FLOOR));
        assert!(sizes.iter().sum::<u32>() <= TOTAL + 60 * FLOOR);
        let windows = Windows::new();
        let shares: Vec<Share> = (0..60).map(|_| windows.share(32 << 20, None)).collect();
        drop(shares);
        assert_eq!(windows.share(1 << 20, None).bytes(), 1 << 20);
        assert_eq!(windows.share(32 << 20, None).bytes(), 16 << 20);
    }

    #[test]
    fn what_is_known_gets_twice_as_much() {
        assert_eq!(sizes(Some(5 << 20), 4), [10 << 20; 4]);
        assert_eq!(sizes(Some(1), 8), [KNOWN_MIN; 8]);
        assert_eq!(sizes(Some(u32::MAX), 2), [32 << 20, 16 << 20]);
        assert!(sizes(Some(1), 60).iter().sum::<u32>() <= TOTAL + 60 * FLOOR);
        let share = Windows::new().share(1 << 20, None);
        assert_eq!(share.source(), WindowSource::Default);
    }
}
