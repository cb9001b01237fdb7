//! Chance from a seed: the same seed gives the same world everywhere.
//!
//! Read [`Dice`]. Whatever draws often has dice of its own ([`Dice::fork`]), so that one draw more in one place does
//! not change every other.

/// A stream of random numbers: `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
/// 2014).
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The stream of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Another stream, told apart by `label`; this one does not move.
    #[must_use]
    pub fn fork(&self, label: u64) -> Self {
        let mut dice = Self::new(self.state ^ label.wrapping_mul(0xD605_1F1C_3E59_5B35));
        dice.draw();
        dice
    }

    /// 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        let wide = u128::from(self.draw()) * u128::from(n);
        u64::try_from(wide >> 64).expect("the upper half of a product of two u64")
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below((high.saturating_sub(low)).saturating_add(1))
    }

    /// True `n` times in a thousand.
    pub fn chance(&mut self, n: u64) -> bool {
        self.below(1000) < n
    }

    /// One of `choices`, which is not empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let n = self.below(choices.len() as u64);
        choices[usize::try_from(n).expect("an index")]
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From `low` to `high`, each order of magnitude as likely as another. `low` is at least 1.
    pub fn log_uniform(&mut self, low: u64, high: u64) -> u64 {
        let (low, high) = (low.max(1) as f64, high.max(1) as f64);
        libm::exp(libm::log(low) + (libm::log(high) - libm::log(low)) * self.unit()) as u64
    }

    /// A draw of the standard normal distribution (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.unit(), self.unit());
        libm::sqrt(-2.0 * libm::log(u)) * libm::cos(core::f64::consts::TAU * v)
    }

    /// A draw of the log-normal distribution with this median.
    pub fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * libm::exp(sigma * self.normal())
    }

    /// A draw of the Pareto distribution: never below `min`; the mean is `min * alpha / (alpha - 1)`.
    pub fn pareto(&mut self, min: f64, alpha: f64) -> f64 {
        min / libm::pow(1.0 - self.unit(), 1.0 / alpha)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_stream_and_a_fork_is_another() {
        let (mut a, mut b) = (Dice::new(7), Dice::new(7));
        assert_eq!(a.draw(), b.draw());
        let (mut c, mut d) = (a.fork(1), a.fork(2));
        assert_ne!(c.draw(), d.draw());
        assert_eq!(a.draw(), b.draw(), "a fork moves nothing");
    }

    #[test]
    fn draws_keep_to_their_distributions() {
        let mut dice = Dice::new(1);
        assert!((0..1000).all(|_| dice.below(7) < 7 && dice.unit() < 1.0));
        assert!((0..1000).all(|_| (3..=5).contains(&dice.between(3, 5))));
        assert_eq!((dice.below(0), dice.below(1)), (0, 0));
        let mean =
            |draw: &mut dyn FnMut() -> f64| (0..20_000).map(|_| draw()).sum::<f64>() / 20_000.0;
        assert!(mean(&mut || dice.normal()).abs() < 0.03);
        assert!((mean(&mut || dice.pareto(1.0, 3.0)) - 1.5).abs() < 0.05);
        let mut logs = 0;
        for _ in 0..1000 {
            logs += u32::from(dice.log_uniform(1, 1 << 20) < 1 << 10);
        }
        assert!(
            (400..600).contains(&logs),
            "half lie in the lower half of the magnitudes"
        );
    }
}
