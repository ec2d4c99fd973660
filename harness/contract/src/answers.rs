//! What judges answer. Keys that were not asked for do not matter and numbers may stand in quotes;
//! what can be read in two ways, or not at all, is unusable and says why.

use serde_json::Value;

/// Scores lie between 0 and this.
const HIGHEST_SCORE: f64 = 100.0;

/// The explanation in an answer to `explain`.
///
/// # Errors
/// Why the answer is unusable.
pub fn explanation(text: &str) -> Result<String, String> {
    let answer = parse(text)?;
    match answer["explanation"].as_str() {
        None => Err(unread(text, "it has no text `explanation`")),
        Some(explanation) if explanation.trim().is_empty() => {
            Err("an empty explanation".to_owned())
        }
        Some(explanation) => Ok(explanation.to_owned()),
    }
}

/// The scores without and after steering in an answer to `concept_pair`. One outside 0 to 100 is no
/// score: it is unusable, not moved to the nearest end.
///
/// # Errors
/// Why the answer is unusable.
pub fn pair(text: &str) -> Result<(f64, f64), String> {
    let answer = parse(text)?;
    let score = |key: &str| {
        number(&answer[key]).ok_or_else(|| unread(text, &format!("it has no number `{key}`")))
    };
    let (without, after) = (score("score_without")?, score("score_after")?);
    let is_score = |score: f64| (0.0..=HIGHEST_SCORE).contains(&score);
    match is_score(without) && is_score(after) {
        true => Ok((without, after)),
        false => Err(format!(
            "scores {without} and {after} are not both within 0 to {HIGHEST_SCORE}"
        )),
    }
}

/// The windows in an answer to `predict_windows`, ascending. One named twice counts once; one that
/// is not among the `n` that were shown makes the answer unusable, as does anything that is no
/// whole number.
///
/// # Errors
/// Why the answer is unusable.
pub fn windows(text: &str, n: usize) -> Result<Vec<u32>, String> {
    let answer = parse(text)?;
    let is_place = |place: &f64| *place >= 0.0 && place.fract() == 0.0;
    let places = answer["active"].as_array().and_then(|active| {
        let places = active.iter().map(|place| number(place).filter(is_place));
        places.collect::<Option<Vec<f64>>>()
    });
    let mut places =
        places.ok_or_else(|| unread(text, "it has no list `active` of whole numbers"))?;
    places.sort_unstable_by(f64::total_cmp);
    places.dedup();
    match places.last().filter(|last| **last >= n as f64) {
        Some(out) => Err(format!(
            "window {out} out of range: {n} were shown, numbered from 0"
        )),
        None => Ok(places.into_iter().map(|place| place as u32).collect()),
    }
}

/// A number, also one in quotes.
fn number(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| value.as_str()?.trim().parse().ok())
}

/// Reads a judge's JSON answer; one fenced as Markdown is accepted. Whatever else may stand around
/// an answer has been taken off by the judge.
fn parse(text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    let inner = trimmed
        .strip_prefix("```json")
        .or_else(|| trimmed.strip_prefix("```"))
        .and_then(|rest| rest.strip_suffix("```"))
        .unwrap_or(trimmed);
    match serde_json::from_str::<Value>(inner.trim()) {
        Ok(answer) if answer.is_object() => Ok(answer),
        Ok(_) => Err(unread(text, "it is no object")),
        Err(error) => Err(unread(text, &error.to_string())),
    }
}

fn unread(text: &str, why: &str) -> String {
    let start: String = text.chars().take(60).collect();
    format!("the answer cannot be read: {why}; it begins `{start}`")
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
        assert!(read("10", "100.5").unwrap_err().contains("100.5"));
        assert!(read("10", "NaN").unwrap_err().contains("cannot be read"));
        assert!(
            read("10", r#""NaN""#)
                .unwrap_err()
                .contains("within 0 to 100")
        );
        assert_eq!(read(r#"" 10""#, "20.5").unwrap(), (10.0, 20.5));
    }

    #[test]
    fn answers_name_windows_or_are_unusable() {
        assert!(windows(r#"{"active": []}"#, 14).unwrap().is_empty());
        let twice = windows(r#"{"active": [13, 0, 2, 0]}"#, 14).unwrap();
        assert_eq!(twice, [0, 2, 13]);
        for bad in [
            r#"{"active": [14]}"#,
            r#"{"active": [1.5]}"#,
            r#"{"active": [-1]}"#,
            r#"{"active": ["one"]}"#,
            r#"{"active": null}"#,
            r#"{"active": "1, 2"}"#,
            r#"{"windows": [1]}"#,
            "[1]",
            "none",
            "1, 2",
        ] {
            assert!(!windows(bad, 14).unwrap_err().is_empty(), "{bad}");
        }
        let loose = r#"{"active": ["1", 2.0, 13], "sure": true}"#;
        assert_eq!(windows(loose, 14).unwrap(), [1, 2, 13]);
        assert_eq!(
            windows(r#"{"active": [2, 14]}"#, 14).unwrap_err(),
            "window 14 out of range: 14 were shown, numbered from 0"
        );
    }
}
