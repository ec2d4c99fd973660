//! What judges answer, read strictly. An answer that is not exactly what was asked for is unusable, and says why.

use serde::{Deserialize, de::DeserializeOwned};

/// Scores lie between 0 and this.
const HIGHEST_SCORE: f64 = 100.0;

/// The explanation in an answer to `explain`.
///
/// # Errors
/// Why the answer is unusable.
pub fn explanation(text: &str) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Explained {
        explanation: String,
    }
    let Explained { explanation } = parse(text)?;
    match explanation.trim().is_empty() {
        true => Err("an empty explanation".to_owned()),
        false => Ok(explanation),
    }
}

/// The scores without and after steering in an answer to `concept_pair`. One outside 0 to 100 is no score: it is unusable, not moved to the
/// nearest end.
///
/// # Errors
/// Why the answer is unusable.
pub fn pair(text: &str) -> Result<(f64, f64), String> {
    #[derive(Deserialize)]
    struct Pair {
        score_without: f64,
        score_after: f64,
    }
    let Pair {
        score_without,
        score_after,
    } = parse(text)?;
    let is_score = |score: f64| (0.0..=HIGHEST_SCORE).contains(&score);
    match is_score(score_without) && is_score(score_after) {
        true => Ok((score_without, score_after)),
        false => Err(format!(
            "scores {score_without} and {score_after} are not both within 0 to {HIGHEST_SCORE}"
        )),
    }
}

/// The windows in an answer to `predict_windows`, ascending. One named twice counts once; one that is not among the `n` that were shown makes
/// the answer unusable, as does anything that is no whole number.
///
/// # Errors
/// Why the answer is unusable.
pub fn windows(text: &str, n: usize) -> Result<Vec<u32>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Active {
        active: Vec<u64>,
    }
    let Active { mut active } = parse(text)?;
    active.sort_unstable();
    active.dedup();
    match active.last().filter(|last| **last >= n as u64) {
        Some(out) => Err(format!(
            "window {out} out of range: {n} were shown, numbered from 0"
        )),
        None => Ok(active.into_iter().map(|place| place as u32).collect()),
    }
}

/// Reads a judge's JSON answer; one fenced as Markdown is accepted, anything else is an error with its beginning.
fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let trimmed = text.trim();
    let inner = trimmed
        .strip_prefix("```json")
        .or_else(|| trimmed.strip_prefix("```"))
        .and_then(|rest| rest.strip_suffix("```"))
        .unwrap_or(trimmed);
    serde_json::from_str(inner.trim()).map_err(|error| {
        let start: String = text.chars().take(60).collect();
        format!("the answer cannot be read: {error}; it begins `{start}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_plain_and_fenced_and_nothing_else() {
        assert_eq!(explanation(r#"{"explanation": "boats"}"#).unwrap(), "boats");
        let fenced = "```json\n{\"explanation\": \"boats\"}\n```";
        assert_eq!(explanation(fenced).unwrap(), "boats");
        let error = |text| explanation(text).unwrap_err();
        assert!(error("boats").contains("begins `boats`"));
        assert!(error(r#"{"explanation": 3}"#).contains("cannot be read"));
        assert!(error(r#"{"explanation": " "}"#).contains("empty"));
    }

    #[test]
    fn scores_outside_the_scale_are_no_scores() {
        let read = |without: &str, after: &str| {
            pair(&format!(
                r#"{{"score_without": {without}, "score_after": {after}}}"#
            ))
        };
        assert_eq!(read("0", "100").unwrap(), (0.0, 100.0));
        assert!(read("-1", "50").unwrap_err().contains("-1 and 50"));
        assert!(read("10", "100.5").is_err());
        assert!(read("10", "NaN").is_err());
    }

    #[test]
    fn answers_name_windows_or_are_unusable() {
        assert!(windows(r#"{"active": []}"#, 14).unwrap().is_empty());
        let twice = windows(r#"{"active": [13, 0, 2, 0]}"#, 14).unwrap();
        assert_eq!(twice, [0, 2, 13]);
        for bad in [
            r#"{"active": [14]}"#,
            r#"{"active": [1.0]}"#,
            r#"{"active": [-1]}"#,
            r#"{"active": ["1"]}"#,
            r#"{"active": null}"#,
            r#"{"active": [1], "sure": true}"#,
            r#"{"windows": [1]}"#,
            "none",
            "1, 2",
        ] {
            assert!(!windows(bad, 14).unwrap_err().is_empty(), "{bad}");
        }
        assert_eq!(
            windows(r#"{"active": [2, 14]}"#, 14).unwrap_err(),
            "window 14 out of range: 14 were shown, numbered from 0"
        );
    }
}
