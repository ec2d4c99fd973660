//! Questions of a set, and which of them are asked.

use serde::{Deserialize, Serialize};

use super::answer::Number;
use crate::rng::Stream;

/// A question with the number that answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Place in its set, from 0.
    pub index: u64,
    /// The question's text, as the set has it.
    pub question: String,
    /// The answer; `None` when the set's could not be read, and then the question is counted but
    /// not scored.
    pub gold: Option<Number>,
}

/// `n` different places of a set of `n_total` questions, in random order; all of them, shuffled,
/// when `n` is not smaller.
///
/// With the same `n_total` and `seed` a larger `n` begins with the places of a smaller one, so
/// asking more keeps what was asked. Takes memory for `n_total` numbers.
pub fn choose(n_total: usize, n: usize, seed: u64) -> Vec<u64> {
    Stream::new(seed, "questions")
        .sample_indices(n_total, n)
        .into_iter()
        .map(|place| place as u64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Stored cells depend on these places: a change here is a change of which questions are asked.
    #[test]
    fn places_are_pinned() {
        assert_eq!(choose(1319, 5, 42), [558, 963, 874, 518, 538]);
        assert!(choose(0, 5, 42).is_empty());
        assert!(choose(5, 0, 42).is_empty());
    }

    #[test]
    fn seeds_choose_differently() {
        assert_ne!(choose(1319, 20, 0), choose(1319, 20, 1));
    }

    #[test]
    fn a_question_is_plain_json() {
        let question = Question {
            index: 3,
            question: "How many?".to_owned(),
            gold: Some(Number::from(18)),
        };
        let json = serde_json::to_string(&question).unwrap();
        assert_eq!(json, r#"{"index":3,"question":"How many?","gold":"18"}"#);
        assert_eq!(serde_json::from_str::<Question>(&json).unwrap(), question);
    }

    proptest! {
        #[test]
        fn more_questions_keep_the_fewer(n_total in 0usize..300, few in 0usize..320, more in 0usize..320, seed: u64) {
            let (few, more) = (few.min(more), few.max(more));
            let all = choose(n_total, more, seed);
            prop_assert_eq!(&choose(n_total, few, seed)[..], &all[..few.min(n_total)]);
            let mut places = all.clone();
            places.sort_unstable();
            places.dedup();
            prop_assert_eq!(places.len(), more.min(n_total));
            prop_assert!(places.iter().all(|&place| place < n_total as u64));
        }
    }
}
