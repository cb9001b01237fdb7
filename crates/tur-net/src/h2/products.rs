//! What connections to an origin had on their way at once, for those that are opened later.
//!
//! Read [`Products`]: what was measured by this process counts more than what an earlier visit is remembered for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tur_core::Origin;
use tur_core::port::WindowSource;

/// Bytes by origin: of the last [`ORIGINS_MAX`] of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Products(Arc<Mutex<VecDeque<(Origin, Product)>>>);

/// Bytes that were on their way at once, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) bytes: u32,
    pub(crate) source: WindowSource,
}

impl Products {
    pub(crate) fn of(&self, origin: &Origin) -> Option<Product> {
        let products = self.lock();
        let known = products.iter().find(|(there, _)| there == origin);
        known.map(|(_, product)| *product)
    }

    /// An earlier visit says so. Nothing is changed where this process has measured.
    pub(crate) fn remember(&self, origin: &Origin, bytes: u32) {
        let source = WindowSource::Remembered;
        self.note(origin, Product { bytes, source });
    }

    /// A connection says so, for as long as it lives.
    pub(crate) fn measuring(&self, origin: &Origin) -> Measuring {
        Measuring {
            products: self.clone(),
            origin: origin.clone(),
        }
    }

    /// What was measured is the most that any connection had; what is remembered gives way to it.
    fn note(&self, origin: &Origin, product: Product) {
        let mut products = self.lock();
        let known = products.iter_mut().find(|(there, _)| there == origin);
        let measured = product.source == WindowSource::Measured;
        match known {
            Some((_, old)) if old.source == WindowSource::Measured => {
                if measured && product.bytes > old.bytes {
                    *old = product;
                }
            }
            Some((_, old)) => *old = product,
            None => {
                if products.len() >= ORIGINS_MAX {
                    products.pop_front();
                }
                products.push_back((origin.clone(), product));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Origin, Product)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.products.note(&self.origin, Product { bytes, source });
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
        assert_eq!(products.of(&here), None);
        products.remember(&here, 7);
        products.remember(&here, 5);
        let known = |bytes, source| Some(Product { bytes, source });
        assert_eq!(products.of(&here), known(5, WindowSource::Remembered));
        products.measuring(&here).tell(3);
        products.remember(&here, 9);
        assert_eq!(products.of(&here), known(3, WindowSource::Measured));
        products.measuring(&here).tell(8);
        products.measuring(&here).tell(4);
        assert_eq!(products.of(&here), known(8, WindowSource::Measured));
    }

    #[test]
    fn the_last_ones_are_kept() {
        let products = Products::default();
        for port in 0..300 {
            products.remember(&origin(port), 1);
        }
        assert_eq!(products.of(&origin(43)), None);
        assert!((44..300).all(|port| products.of(&origin(port)).is_some()));
    }
}
