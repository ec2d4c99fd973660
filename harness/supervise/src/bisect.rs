//! Cells that were run together when their worker died: they are tried again in halves, until the
//! one at fault is alone.

use std::collections::BTreeMap;

use harness_contract::bisect::{halves, most_failures};

/// The halves of a run, by the keys of their cells.
#[derive(Default)]
pub struct Bisection {
    half_of: BTreeMap<String, Half>,
    n_halves: usize,
    /// Failures that are left to the halves of what was once one group.
    failures_left: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Half {
    number: usize,
    /// The group that was cut first.
    origin: usize,
}

impl Bisection {
    /// The group that a cell's half is given out as: no cell of another half has its number, nor
    /// has a group of the plan, whose numbers begin at 0.
    pub fn group_of(&self, key: &str) -> Option<usize> {
        self.half_of.get(key).map(|half| usize::MAX - half.number)
    }

    /// Cut cells whose worker died into halves, which are run apart from now on; false where they
    /// are not to be tried again.
    pub fn cut(&mut self, keys: &[String]) -> bool {
        let Some((one, other)) = halves(keys) else {
            return false;
        };
        let known = keys.first().and_then(|key| self.half_of.get(key));
        let origin = match known {
            Some(half) => half.origin,
            None => {
                self.failures_left.push(most_failures(keys.len()));
                self.failures_left.len() - 1
            }
        };
        self.failures_left[origin] = self.failures_left[origin].saturating_sub(1);
        if self.failures_left[origin] == 0 {
            return false;
        }
        for keys in [one, other] {
            let number = self.n_halves;
            self.n_halves += 1;
            let half = Half { number, origin };
            (self.half_of).extend(keys.iter().map(|key| (key.clone(), half)));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_get_smaller_until_nothing_is_left_to_cut() {
        let keys: Vec<String> = (0..6).map(|i| i.to_string()).collect();
        let mut bisection = Bisection::default();
        assert_eq!(bisection.group_of("0"), None);
        assert!(bisection.cut(&keys));
        let number = |bisection: &Bisection, i: usize| bisection.group_of(&keys[i]).unwrap();
        assert_eq!(number(&bisection, 0), number(&bisection, 2));
        assert_ne!(number(&bisection, 2), number(&bisection, 3));
        assert!(bisection.cut(&keys[..3]));
        assert_ne!(number(&bisection, 0), number(&bisection, 2));
        assert_eq!(number(&bisection, 3), number(&bisection, 5));
        assert!(!bisection.cut(&keys[2..3]), "one cell is not cut");
        // Two of eight failures are used up; the sixth of those that could be cut is the last.
        let again = (0..9).take_while(|_| bisection.cut(&keys[..2])).count();
        assert_eq!(again, 5);
    }
}
