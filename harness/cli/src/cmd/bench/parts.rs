//! Cells that were run together when their worker died: they are tried again in smaller parts, until the one at fault is alone.

use std::collections::BTreeMap;

use harness_contract::bisect::{halves, most_failures};

/// The parts of a run, by the keys of their cells.
#[derive(Default)]
pub struct Parts {
    part_of: BTreeMap<String, Part>,
    n_parts: usize,
    /// Failures that are left to the parts of what was once one whole.
    left: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Part {
    number: usize,
    whole: usize,
}

impl Parts {
    /// The number of a cell's part: no cell of another part has it, nor a group of the plan, whose numbers begin at 0.
    pub fn number(&self, key: &str) -> Option<usize> {
        self.part_of.get(key).map(|part| usize::MAX - part.number)
    }

    /// Whether cells whose worker died are to be tried again, and then from now on in two parts.
    pub fn cut(&mut self, keys: &[String]) -> bool {
        let Some((one, other)) = halves(keys) else {
            return false;
        };
        let known = keys.first().and_then(|key| self.part_of.get(key));
        let whole = match known {
            Some(part) => part.whole,
            None => {
                self.left.push(most_failures(keys.len()));
                self.left.len() - 1
            }
        };
        self.left[whole] = self.left[whole].saturating_sub(1);
        if self.left[whole] == 0 {
            return false;
        }
        for half in [one, other] {
            let number = self.n_parts;
            self.n_parts += 1;
            let part = Part { number, whole };
            (self.part_of).extend(half.iter().map(|key| (key.clone(), part)));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_get_smaller_until_nothing_is_left_to_cut() {
        let keys: Vec<String> = (0..6).map(|i| i.to_string()).collect();
        let mut parts = Parts::default();
        assert_eq!(parts.number("0"), None);
        assert!(parts.cut(&keys));
        let number = |parts: &Parts, i: usize| parts.number(&keys[i]).unwrap();
        assert_eq!(number(&parts, 0), number(&parts, 2));
        assert_ne!(number(&parts, 2), number(&parts, 3));
        assert!(parts.cut(&keys[..3]));
        assert_ne!(number(&parts, 0), number(&parts, 2));
        assert_eq!(number(&parts, 3), number(&parts, 5));
        assert!(!parts.cut(&keys[2..3]), "one cell is not cut");
        // Two of eight failures are used up; the sixth of those that could be cut is the last.
        let again = (0..9).take_while(|_| parts.cut(&keys[..2])).count();
        assert_eq!(again, 5);
    }
}
