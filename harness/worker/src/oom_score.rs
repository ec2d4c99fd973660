//! When the system runs out of memory it ends the process with the highest score. That process has
//! to be a worker, because the supervisor can replace it.

use std::fs;

const SCORE: &str = "/proc/self/oom_score_adj";
/// Added to the score that the supervisor has, of at most 1000.
const MORE: i32 = 500;

/// Raises the score of this process above the supervisor's. A system that does not allow it chooses
/// between the two as before.
pub fn raise() {
    let own = fs::read_to_string(SCORE).ok();
    let own = own.and_then(|text| text.trim().parse::<i32>().ok());
    let score = own.unwrap_or(0).saturating_add(MORE).min(1000);
    let _ = fs::write(SCORE, score.to_string());
}
