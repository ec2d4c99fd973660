//! When the system runs out of memory it ends the process with the highest score: that is to be a
//! worker, which can be replaced, and not the process that replaces it.

use std::fs;

const SCORE: &str = "/proc/self/oom_score_adj";
/// Added to the score that the supervisor has, of at most 1000.
const MORE: i32 = 500;

/// Raise the score of this process above the supervisor's. Where the system does not let it, nothing
/// is lost: each is as likely as before.
pub fn raise() {
    let own = fs::read_to_string(SCORE).ok();
    let own = own.and_then(|text| text.trim().parse::<i32>().ok());
    let score = own.unwrap_or(0).saturating_add(MORE).min(1000);
    let _ = fs::write(SCORE, score.to_string());
}
