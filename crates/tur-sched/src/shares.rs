//! Dividing the lanes of an origin among the transfers that use it.

use alloc::collections::BTreeMap;

/// What a transfer can use: at least, if there is enough, and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Lanes that it has been promised.
    pub least: u16,
    /// Lanes that would find work.
    pub useful: u16,
    /// Its ceiling.
    pub most: u16,
}

/// Divides `width` lanes: everybody who can use one gets one, even if the width does not suffice, because nobody must
/// starve; promises come next; what is left goes, one lane at a
/// time, to whoever has fewest and can use one more, and at last to whoever may have one more: it costs nothing there.
#[must_use]
pub fn shares(width: u16, wants: &BTreeMap<u64, Want>) -> BTreeMap<u64, u16> {
    let mut shares: BTreeMap<u64, u16> = wants
        .iter()
        .map(|(id, want)| (*id, want.useful.min(1)))
        .collect();
    let mut left = usize::from(width).saturating_sub(
        shares
            .values()
            .map(|share| usize::from(*share))
            .sum::<usize>(),
    );
    let promised = |want: &Want| want.least.min(want.useful);
    let ways = [
        promised as fn(&Want) -> u16,
        |want| want.useful,
        |want| want.most,
    ];
    for most in ways {
        while left > 0 {
            let poorest = shares
                .iter_mut()
                .filter(|(id, share)| **share < most(&wants[id]))
                .min_by_key(|(_, share)| **share);
            let Some((_, share)) = poorest else { break };
            *share += 1;
            left -= 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn divide(width: u16, wants: &[(u16, u16)]) -> Vec<u16> {
        let wants = (0u64..)
            .zip(wants)
            .map(|(id, (least, useful))| {
                let (least, useful, most) = (*least, *useful, *useful);
                (
                    id,
                    Want {
                        least,
                        useful,
                        most,
                    },
                )
            })
            .collect();
        shares(width, &wants).into_values().collect()
    }

    #[test]
    fn lanes_go_round_to_those_who_can_use_them() {
        assert_eq!(divide(8, &[(0, 32), (0, 32)]), [4, 4]);
        assert_eq!(divide(8, &[(0, 2), (0, 32)]), [2, 6]);
        assert_eq!(divide(8, &[(6, 32), (0, 32)]), [6, 2]);
        assert_eq!(divide(2, &[(0, 5), (0, 5), (0, 5), (0, 0)]), [1, 1, 1, 0]);
    }

    #[test]
    fn what_nobody_can_use_is_left_with_those_who_may_have_it() {
        let want = |useful| Want {
            least: 1,
            useful,
            most: 32,
        };
        let one = BTreeMap::from([(7, want(3))]);
        assert_eq!(shares(16, &one)[&7], 16);
        let two = BTreeMap::from([(7, want(3)), (8, want(32))]);
        assert_eq!(shares(16, &two)[&7], 3);
    }

    proptest! {
        #[test]
        fn nobody_starves_and_nothing_is_left_that_could_be_used(
            width in 1u16..64, wants in proptest::collection::vec((0u16..8, 0u16..40), 1..12),
        ) {
            let got = divide(width, &wants);
            let able = wants.iter().filter(|(_, useful)| *useful > 0).count();
            let sum: usize = got.iter().map(|n| usize::from(*n)).sum();
            let most: usize = wants.iter().map(|(_, useful)| usize::from(*useful)).sum();
            prop_assert_eq!(sum, usize::from(width).max(able).min(most));
            for (share, (_, useful)) in got.iter().zip(&wants) {
                prop_assert!(*share <= *useful && (*useful == 0 || *share >= 1));
            }
        }
    }
}
