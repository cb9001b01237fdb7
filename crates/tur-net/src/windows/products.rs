//! What connections to an origin had on their way at once, for those that are opened later.
//!
//! Read [`Products`]: what was measured by this process counts more than what an earlier visit is remembered for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tur_core::Origin;
use tur_core::port::{Expected, WindowSource};

/// Bytes by origin: of the last [`ORIGINS_MAX`] of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Products(Arc<Mutex<VecDeque<(Origin, Known)>>>);

/// What is known of connections to an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) product: Option<Product>,
    /// How many there will be at the beginning.
    pub(crate) lanes: Option<u16>,
}

/// Bytes that were on their way at once, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) bytes: u32,
    pub(crate) source: WindowSource,
}

impl Products {
    pub(crate) fn of(&self, origin: &Origin) -> Known {
        let products = self.lock();
        let known = products.iter().find(|(there, _)| there == origin);
        known.map_or_else(Known::default, |(_, known)| *known)
    }

    /// A visit begins. What an earlier one had counts only where this process has not measured.
    pub(crate) fn expect(&self, origin: &Origin, expected: Expected) {
        let source = WindowSource::Remembered;
        let product = expected.product.map(|bytes| Product { bytes, source });
        self.change(origin, |known| {
            known.lanes = expected.lanes;
            known.take(product);
        });
    }

    /// A connection says so, for as long as it lives.
    pub(crate) fn measuring(&self, origin: &Origin) -> Measuring {
        Measuring {
            products: self.clone(),
            origin: origin.clone(),
        }
    }

    fn change(&self, origin: &Origin, how: impl FnOnce(&mut Known)) {
        let mut products = self.lock();
        if let Some((_, known)) = products.iter_mut().find(|(there, _)| there == origin) {
            return how(known);
        }
        if products.len() >= ORIGINS_MAX {
            products.pop_front();
        }
        let mut known = Known::default();
        how(&mut known);
        products.push_back((origin.clone(), known));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Origin, Known)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What was measured is the most that any connection had; what is remembered gives way to it.
    fn take(&mut self, product: Option<Product>) {
        let measured = |product: &Product| product.source == WindowSource::Measured;
        let most = match (self.product.filter(measured), product.filter(measured)) {
            (Some(old), Some(new)) => Some(if new.bytes > old.bytes { new } else { old }),
            (old, new) => old.or(new),
        };
        self.product = most.or(product).or(self.product);
    }
}

/// Where a connection tells what it measured.
#[derive(Debug)]
pub(crate) struct Measuring {
    products: Products,
    origin: Origin,
}

impl Measuring {
    pub(crate) fn tell(&self, bytes: u32) {
        let source = WindowSource::Measured;
        let product = Some(Product { bytes, source });
        self.products
            .change(&self.origin, |known| known.take(product));
    }
}

/// More than a process has connections; one that is forgotten is begun with anew.
const ORIGINS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use tur_core::Scheme;

    use super::*;

    fn origin(port: u16) -> Origin {
        Origin {
            scheme: Scheme::Https,
            host: "h".to_owned(),
            port,
        }
    }

    #[test]
    fn what_is_measured_counts_more_than_what_is_remembered() {
        let (products, here) = (Products::default(), origin(1));
        assert_eq!(products.of(&here), Known::default());
        let remember = |bytes| {
            let product = Some(bytes);
            let lanes = Some(4);
            products.expect(&here, Expected { product, lanes });
        };
        let is = |bytes, source| {
            let product = Some(Product { bytes, source });
            let lanes = Some(4);
            assert_eq!(products.of(&here), Known { product, lanes });
        };
        remember(7);
        remember(5);
        is(5, WindowSource::Remembered);
        products.measuring(&here).tell(3);
        remember(9);
        is(3, WindowSource::Measured);
        products.measuring(&here).tell(8);
        products.measuring(&here).tell(4);
        is(8, WindowSource::Measured);
        products.expect(&here, Expected::default());
        assert_eq!(products.of(&here).lanes, None);
        assert!(products.of(&here).product.is_some());
    }

    #[test]
    fn the_last_ones_are_kept() {
        let products = Products::default();
        let lanes = Some(2);
        for port in 0..300 {
            let product = None;
            products.expect(&origin(port), Expected { product, lanes });
        }
        assert_eq!(products.of(&origin(43)).lanes, None);
        assert!((44..300).all(|port| products.of(&origin(port)).lanes == lanes));
    }
}
