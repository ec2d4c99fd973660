//! What judges answer.

use harness_contract::answers;

/// Windows that were shown.
const SHOWN: usize = 14;

/// Scores are within the scale, windows are among those shown, and an answer that is refused says
/// why.
pub fn answers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match answers::explanation(text) {
        Ok(explanation) => {
            let again = serde_json::json!({"explanation": explanation}).to_string();
            assert_eq!(answers::explanation(&again), Ok(explanation));
        }
        Err(error) => assert!(!error.is_empty()),
    }
    match answers::pair(text) {
        Ok((before, after)) => {
            let is_score = |score: f64| (0.0..=100.0).contains(&score);
            assert!(is_score(before) && is_score(after));
        }
        Err(error) => assert!(!error.is_empty()),
    }
    match answers::windows(text, SHOWN) {
        Ok(windows) => {
            assert!(windows.windows(2).all(|two| two[0] < two[1]));
            assert!(windows.iter().all(|window| (*window as usize) < SHOWN));
            let again = serde_json::json!({"active": windows}).to_string();
            assert_eq!(answers::windows(&again, SHOWN), Ok(windows));
        }
        Err(error) => assert!(!error.is_empty()),
    }
}

/// Inputs to begin with.
pub mod seeds {
    use crate::texts;

    pub fn answers() -> Vec<Vec<u8>> {
        texts(&[
            r#"{"explanation": "boats"}"#,
            "```json\n{\"explanation\": \"boats\"}\n```",
            r#"{"score_without": 10, "score_after": 55.5}"#,
            r#"{"score_without": -1, "score_after": 101}"#,
            r#"{"active": [13, 0, 2, 0]}"#,
            r#"{"active": [14]}"#,
            "```\n{\"active\": []}```",
            "I cannot help with that.",
        ])
    }
}
