//! Whether an origin is better asked over HTTP/1.1: [`Setbacks`].

/// Requests to an origin that its peers have ended by a reset or with the connection, one after the other, while none ended
/// in order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setbacks {
    asked: u64,
    /// Those up to here were under way when one was counted: they count with it.
    counted: u64,
    in_a_row: u32,
}

impl Setbacks {
    /// A request is made; it has the number that is returned.
    pub(crate) fn ask(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    /// The peer has ended the request of that number. True if that was one too often.
    pub(crate) fn meet(&mut self, number: u64) -> bool {
        if number > self.counted {
            self.counted = self.asked;
            self.in_a_row += 1;
        }
        self.in_a_row >= IN_A_ROW
    }

    /// A request has ended in order.
    pub(crate) fn pass(&mut self) {
        self.in_a_row = 0;
    }
}

/// Setbacks in a row that HTTP/2 gets.
const IN_A_ROW: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_one_after_the_other_are_too_many() {
        let mut setbacks = Setbacks::default();
        for _ in 0..2 {
            let number = setbacks.ask();
            assert!(!setbacks.meet(number));
        }
        setbacks.pass();
        for last in [false, false, true, true] {
            let number = setbacks.ask();
            assert_eq!(setbacks.meet(number), last);
        }
    }

    #[test]
    fn those_that_fail_together_count_once() {
        let mut setbacks = Setbacks::default();
        for last in [false, false, true] {
            let numbers: Vec<_> = (0..50).map(|_| setbacks.ask()).collect();
            for number in numbers {
                assert_eq!(setbacks.meet(number), last);
            }
        }
    }
}
