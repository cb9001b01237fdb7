//! How much peers may send ahead, over HTTP/2 and HTTP/3: the memory that they may fill, divided among the connections of a
//! transport.
//!
//! Read [`Windows`], then [`Gauge`], which each connection has. [`flow`] measures what a connection has on its way, [`products`]
//! keeps that for those that are opened later.

mod flow;
mod gauge;
mod products;

use std::sync::{Arc, Mutex, PoisonError};

use tur_core::port::WindowSource;

pub(crate) use self::gauge::Gauge;
pub(crate) use self::products::{Known, Products};

/// What the windows of all connections may add up to, in bytes.
///
/// Each connection gets three times what connections to its origin were seen to have on their way, or what it is set to where
/// nobody has seen that. Where it is said how many there will be, each gets an equal part at most, and one part is left; else
/// a quarter of what is left, or half of all for the first one of a path that is known. So the first ones are as fast as
/// they can be, and any number of peers that send what nobody reads fill no more than this and a floor for each.
#[derive(Clone, Debug)]
pub(crate) struct Windows(Arc<Mutex<u32>>);

impl Windows {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(TOTAL)))
    }

    /// The window of a connection, at most `most`, for as long as the share lives.
    pub(crate) fn share(&self, most: u32, Known { product, lanes }: Known) -> Share {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = product.map_or(most, |product| wanted(product.bytes));
        let fair = match lanes.filter(|lanes| *lanes > 1) {
            Some(lanes) => (TOTAL / (u32::from(lanes) + 1)).min(*left),
            None if product.is_some() && *left == TOTAL => TOTAL / 2,
            None => *left / 4,
        };
        let bytes = wanted.min(most).min(fair.max(FLOOR));
        let taken = bytes.min(*left);
        *left -= taken;
        Share {
            bytes,
            taken,
            #[cfg(any(feature = "http3", test))]
            most,
            source: product.map_or(WindowSource::Default, |product| product.source),
            windows: self.clone(),
        }
    }
}

/// The window for what was on its way at once. A full one still brings less than it holds in a round trip, because it is
/// opened again by parts: three times as much as came shows whether it was too little.
fn wanted(product: u32) -> u32 {
    product.saturating_mul(3).max(KNOWN_MIN)
}

/// The window of one connection, taken for as long as this lives.
#[derive(Debug)]
pub(crate) struct Share {
    bytes: u32,
    taken: u32,
    /// As large as it may get.
    #[cfg(any(feature = "http3", test))]
    most: u32,
    source: WindowSource,
    windows: Windows,
}

impl Share {
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Makes it as large as what the connection itself was seen to have on its way wants, of half of what is left. Says how
    /// large it is then, if that is more by an eighth at least.
    #[cfg(any(feature = "http3", test))]
    pub(crate) fn grow(&mut self, product: u32) -> Option<u32> {
        let wanted = wanted(product).min(self.most);
        let step = self.bytes / 8;
        if wanted < self.bytes.saturating_add(step) {
            return None;
        }
        let Windows(left) = &self.windows;
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        let more = (wanted - self.bytes).min(*left / 2);
        if more < step.max(1) {
            return None;
        }
        *left -= more;
        drop(left);
        self.taken += more;
        self.bytes += more;
        self.source = WindowSource::Measured;
        Some(self.bytes)
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
    use super::products::Product;
    use super::*;

    fn sizes(known: Known, connections: usize) -> Vec<u32> {
        let windows = Windows::new();
        let share = |_| windows.share(32 << 20, known);
        let shares: Vec<Share> = (0..connections).map(share).collect();
        shares.iter().map(Share::bytes).collect()
    }

    fn product(bytes: u32) -> Known {
        let source = WindowSource::Measured;
        Known {
            product: Some(Product { bytes, source }),
            lanes: None,
        }
    }

    fn lanes(lanes: u16) -> Known {
        Known {
            product: None,
            lanes: Some(lanes),
        }
    }

    #[test]
    fn windows_shrink_and_come_back() {
        let sizes = sizes(Known::default(), 60);
        assert_eq!(sizes[..3], [16 << 20, 12 << 20, 9 << 20]);
        assert!(
            sizes[..8].iter().all(|bytes| *bytes >= 2 << 20),
            "{sizes:?}"
        );
        assert!(sizes.iter().all(|bytes| *bytes >= FLOOR));
        assert!(sizes.iter().sum::<u32>() <= TOTAL + 60 * FLOOR);
        let (windows, nothing) = (Windows::new(), Known::default());
        let shares: Vec<Share> = (0..60).map(|_| windows.share(32 << 20, nothing)).collect();
        drop(shares);
        assert_eq!(windows.share(1 << 20, nothing).bytes(), 1 << 20);
        assert_eq!(windows.share(32 << 20, nothing).bytes(), 16 << 20);
    }

    #[test]
    fn what_is_known_gets_three_times_as_much() {
        assert_eq!(sizes(product(3 << 20), 3), [9 << 20; 3]);
        assert_eq!(sizes(product(1), 8), [KNOWN_MIN; 8]);
        assert_eq!(sizes(product(u32::MAX), 2), [32 << 20, 8 << 20]);
        assert!(sizes(product(1), 60).iter().sum::<u32>() <= TOTAL + 60 * FLOOR);
        let share = Windows::new().share(1 << 20, Known::default());
        assert_eq!(share.source(), WindowSource::Default);
    }

    #[test]
    fn a_window_grows_with_what_it_brings_as_long_as_there_is_some_left() {
        let windows = Windows::new();
        let most = 32 << 20;
        let mut first = windows.share(most, lanes(7));
        assert_eq!(first.bytes(), 8 << 20);
        assert_eq!(first.grow(2 << 20), None, "it is large enough");
        assert_eq!(first.grow(2_900_000), None, "next to nothing");
        assert_eq!(first.grow(4 << 20), Some(12 << 20));
        assert_eq!(first.source(), WindowSource::Measured);
        assert_eq!(first.grow(u32::MAX), Some(32 << 20));
        assert_eq!(first.grow(u32::MAX), None, "as large as it may be");
        // 32 MiB are left, and all of it comes back.
        let mut second = windows.share(most, lanes(1));
        assert_eq!(second.bytes(), 8 << 20);
        assert_eq!(second.grow(u32::MAX), Some(20 << 20));
        assert_eq!(second.grow(u32::MAX), Some(26 << 20));
        drop((first, second));
        assert_eq!(
            windows.share(u32::MAX, product(u32::MAX)).bytes(),
            TOTAL / 2
        );
    }

    #[test]
    fn as_many_as_are_said_to_come_get_the_same() {
        for count in [2, 4, 8, 16, 32] {
            let part = TOTAL / (u32::from(count) + 1);
            let sizes = sizes(lanes(count), usize::from(count) + 20);
            let (these, others) = sizes.split_at(usize::from(count));
            assert!(these.iter().all(|bytes| *bytes == part), "{sizes:?}");
            assert!(others.iter().all(|bytes| *bytes >= FLOOR));
            assert!(sizes.iter().sum::<u32>() <= TOTAL + 52 * FLOOR);
        }
        assert_eq!(sizes(lanes(1), 1), sizes(Known::default(), 1));
    }
}
