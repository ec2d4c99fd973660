//! Gold answers of GSM8K's test questions, read by the harness and by a second reading of its own.

use std::fs;

use harness_core::task::answer::{Extraction, Number, extract, gold};
use serde_json::Value;

use crate::support::shared;

/// Questions of the test set.
const N_QUESTIONS: usize = 1319;

/// The worked solutions, or `None` where the data set is not there.
fn solutions() -> Option<Vec<String>> {
    let path = shared("data/gsm8k/test.jsonl")?;
    let lines = fs::read_to_string(path).unwrap();
    let solution = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        row["answer"].as_str().unwrap().to_owned()
    };
    Some(lines.lines().map(solution).collect())
}

/// What follows the last marker, without commas, as a whole number.
fn second_reading(solution: &str) -> i64 {
    let (_, answer) = solution.rsplit_once("#### ").unwrap();
    answer.replace(',', "").parse().unwrap()
}

#[test]
fn every_gold_answer_is_read() {
    let Some(solutions) = solutions() else {
        return;
    };
    let read = solutions.iter().filter_map(|solution| gold(solution));
    assert_eq!((solutions.len(), read.count()), (N_QUESTIONS, N_QUESTIONS));
    for solution in &solutions {
        let want = Some(Number::from(second_reading(solution)));
        assert_eq!(gold(solution), want, "{solution}");
        assert_eq!(extract(solution, Extraction::Flexible), want, "{solution}");
    }
}

/// Without its last line a worked solution has no strict answer, and its last number is mostly, not
/// always, the answer.
#[test]
fn a_solution_without_its_last_line_has_no_strict_answer() {
    let Some(solutions) = solutions() else {
        return;
    };
    let mut same = 0;
    for solution in &solutions {
        let (working, _) = solution.rsplit_once("####").unwrap();
        assert_eq!(extract(working, Extraction::Strict), None, "{working}");
        let found = extract(working, Extraction::Flexible);
        same += usize::from(found == Some(Number::from(second_reading(solution))));
    }
    assert!(
        same * 10 > solutions.len() * 9,
        "{same} of {}",
        solutions.len()
    );
}
