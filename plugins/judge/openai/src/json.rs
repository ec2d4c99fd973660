//! Finds the answer in what a model writes: thoughts before it, a sentence around it and a fence of
//! any spelling are no part of it.
//!
//! An answer is a JSON object that holds what its task asks for; other keys do not matter, numbers
//! may stand in quotes, and a comma may stand before a closing bracket. Two answers that say
//! different things are none.

use std::ops::RangeInclusive;

use harness_sdk::{JudgeTask, Value};

/// Names of the elements that models think in.
const THOUGHTS: [&str; 5] = ["think", "thinking", "thought", "thoughts", "reasoning"];
/// Scores there can be.
const SCORES: RangeInclusive<f64> = 0.0..=100.0;
/// Opening brackets that are looked at.
const MOST_OBJECTS: usize = 1000;

/// The answer to a task in the content of a message.
///
/// # Errors
/// Why there is none.
pub fn answer(task: JudgeTask, content: &Value) -> Result<Value, String> {
    let text = text_of(content).ok_or("the reply has no content")?;
    let text = after_thoughts(&text)?;
    let objects = objects(text);
    let (mut answers, mut lacking) = (Vec::new(), None);
    for object in objects {
        match missing(task, &object) {
            None => answers.push(object),
            Some(what) => lacking = Some(what),
        }
    }
    match (answers.as_slice(), lacking) {
        ([], None) => Err("the content holds no JSON object".to_owned()),
        ([], Some(what)) => Err(format!("the content has no {what}")),
        ([first, rest @ ..], _) => match rest.iter().all(|other| is_same(task, first, other)) {
            true => Ok(first.clone()),
            false => Err(format!(
                "the content holds {} answers that differ",
                answers.len()
            )),
        },
    }
}

/// The text of a content: a text, or the texts among its parts.
fn text_of(content: &Value) -> Option<String> {
    if let Some(text) = content.as_str() {
        return Some(text.to_owned());
    }
    let texts: Vec<&str> = (content.as_array()?.iter())
        .filter_map(|part| match part["type"].as_str() {
            None | Some("text" | "output_text") => part["text"].as_str().or(part.as_str()),
            Some(_) => None,
        })
        .collect();
    (!texts.is_empty()).then(|| texts.concat())
}

/// What follows the last thought. Some servers leave out the opening mark.
fn after_thoughts(text: &str) -> Result<&str, String> {
    let lower = text.to_ascii_lowercase();
    let end_of = |name: &str| {
        let mark = format!("</{name}>");
        lower.rfind(&mark).map(|at| at + mark.len())
    };
    if let Some(end) = THOUGHTS.iter().filter_map(|name| end_of(name)).max() {
        return Ok(&text[end..]);
    }
    let start = lower.trim_start();
    match THOUGHTS
        .iter()
        .any(|name| start.starts_with(&format!("<{name}>")))
    {
        true => Err("the content is a thought that does not end".to_owned()),
        false => Ok(text),
    }
}

/// The outermost JSON objects of a text.
fn objects(text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut from = 0;
    for _ in 0..MOST_OBJECTS {
        let Some(at) = text[from..].find('{') else {
            break;
        };
        let start = from + at;
        let object = object_at(&text[start..]);
        from = start + object.as_ref().map_or(1, |(_, length)| *length);
        found.extend(object.map(|(value, _)| value));
    }
    found
}

/// The object that a text begins with, and its length.
fn object_at(text: &str) -> Option<(Value, usize)> {
    // The object without commas before closing brackets.
    let mut plain = String::new();
    let (mut depth, mut is_quoted, mut is_escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        let ends_list = || text[at + 1..].trim_start().starts_with(['}', ']']);
        if is_quoted || c != ',' || !ends_list() {
            plain.push(c);
        }
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = is_quoted,
            '"' => is_quoted = !is_quoted,
            '{' | '[' if !is_quoted => depth += 1,
            '}' | ']' if !is_quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let length = at + c.len_utf8();
            return Some((serde_json::from_str(&plain).ok()?, length));
        }
    }
    None
}

/// What the task's answer must hold and this object does not.
fn missing(task: JudgeTask, answer: &Value) -> Option<&'static str> {
    let is_score = |key: &str| number(&answer[key]).is_some_and(|n| SCORES.contains(&n));
    let is_told = |key: &str| answer[key].as_str().is_some_and(|t| !t.trim().is_empty());
    match task {
        JudgeTask::EXPLAIN if !is_told("explanation") => Some("text `explanation`"),
        JudgeTask::CONCEPT_PAIR if !is_score("score_without") => {
            Some("`score_without` from 0 to 100")
        }
        JudgeTask::CONCEPT_PAIR if !is_score("score_after") => Some("`score_after` from 0 to 100"),
        JudgeTask::PREDICT_WINDOWS if windows(answer).is_none() => {
            Some("list `active` of whole numbers from 0")
        }
        _ => None,
    }
}

fn is_same(task: JudgeTask, a: &Value, b: &Value) -> bool {
    let numbers = |answer: &Value| ["score_without", "score_after"].map(|key| number(&answer[key]));
    match task {
        JudgeTask::EXPLAIN => a["explanation"] == b["explanation"],
        JudgeTask::CONCEPT_PAIR => numbers(a) == numbers(b),
        JudgeTask::PREDICT_WINDOWS => windows(a) == windows(b),
        _ => a == b,
    }
}

fn windows(answer: &Value) -> Option<Vec<f64>> {
    let places = answer["active"].as_array()?.iter().map(number);
    let places = places.collect::<Option<Vec<f64>>>()?;
    places
        .iter()
        .all(|place| *place >= 0.0 && place.fract() == 0.0)
        .then_some(places)
}

/// A number, also one in quotes.
fn number(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn explained(content: &str) -> Result<String, String> {
        let answer = answer(JudgeTask::EXPLAIN, &json!(content))?;
        Ok(answer["explanation"].as_str().unwrap().to_owned())
    }

    #[test]
    fn the_answer_is_found_whatever_stands_around_it() {
        let json = r#"{"explanation": "boats"}"#;
        for around in [
            "{json}",
            " \n{json}\n",
            "```json\n{json}\n```",
            "```JSON\n{json}\n```",
            "```\n{json}\n```",
            "~~~json\n{json}\n~~~",
            "Here is the JSON you asked for:\n\n{json}\n\nLet me know if you need more.",
            "It's \"the\" answer {as asked}: ```{json}``` Isn't it?",
            "<think>\nRows share {something}: [1, 2].\n</think>\n\n{json}",
            "<think>{\"explanation\": \"cars\"}</think>{json}",
            "They share {\"explanation\": \"cars\"}.</think>\n{json}",
            "<THINK>no</THINK>```json\n{json}\n```",
            "<reasoning>no</reasoning> {json}",
            "{json}\n{json}",
            "{\"note\": 1} {json}",
        ] {
            let content = around.replace("{json}", json);
            assert_eq!(explained(&content).as_deref(), Ok("boats"), "{content}");
        }
    }

    #[test]
    fn what_is_not_one_answer_is_none() {
        for (content, why) in [
            ("", "no JSON object"),
            ("boats", "no JSON object"),
            ("\"explanation\": \"boats\"", "no JSON object"),
            ("{\"explanation\": \"bo", "no JSON object"),
            ("{\"explanation\": 3}", "no text `explanation`"),
            ("{\"explanation\": \" \"}", "no text `explanation`"),
            (
                "{\"answer\": {\"explanation\": \"boats\"}}",
                "no text `explanation`",
            ),
            ("<think>{\"explanation\": \"boats\"}", "does not end"),
            (
                "{\"explanation\": \"boats\"} or {\"explanation\": \"cars\"}",
                "2 answers that differ",
            ),
        ] {
            let error = explained(content).unwrap_err();
            assert!(error.contains(why), "{content}: {error}");
        }
    }

    #[test]
    fn forms_of_numbers_that_mean_one_thing_are_read() {
        let pair = |text: &str| answer(JudgeTask::CONCEPT_PAIR, &json!(text));
        assert!(pair(r#"{"score_without": "10", "score_after": 20.0, "sure": true}"#).is_ok());
        assert!(pair(r#"{"score_without": 10, "score_after": 20,}"#).is_ok());
        for bad in [
            r#"{"score_without": "high", "score_after": 20}"#,
            r#"{"score_without": null, "score_after": 20}"#,
            r#"{"score_without": "10%", "score_after": 20}"#,
            r#"{"score_without": "NaN", "score_after": 20}"#,
            r#"{"score_without": -1, "score_after": 20}"#,
            r#"{"score_without": 100.5, "score_after": 20}"#,
        ] {
            assert!(pair(bad).unwrap_err().contains("`score_without`"), "{bad}");
        }
        let places = |text: &str| answer(JudgeTask::PREDICT_WINDOWS, &json!(text));
        for good in [
            r#"{"active": []}"#,
            r#"{"active": ["1", "3"]}"#,
            r#"{"active": [1.0, 3]}"#,
            r#"{"active": [1, 3, ]}"#,
            r#"{"active": [1], "sure": "very"} {"active": ["1"]}"#,
        ] {
            assert!(places(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"active": [1.5]}"#,
            r#"{"active": ["one"]}"#,
            r#"{"active": [-1]}"#,
            r#"{"active": null}"#,
        ] {
            assert!(places(bad).unwrap_err().contains("`active`"), "{bad}");
        }
    }

    #[test]
    fn content_in_parts_is_the_text_among_them() {
        let parts = json!([
            {"type": "thinking", "thinking": "{\"explanation\": \"cars\"}"},
            {"type": "text", "text": "{\"explanation\": "},
            {"type": "text", "text": "\"boats\"}"},
        ]);
        let answer = answer(JudgeTask::EXPLAIN, &parts).unwrap();
        assert_eq!(answer["explanation"], "boats");
    }

    #[test]
    fn commas_in_texts_stay() {
        let text = r#"{"explanation": "a list, ] of \"odd, }\" things"}"#;
        assert_eq!(explained(text).unwrap(), "a list, ] of \"odd, }\" things");
        // Marks of prose are not those of a text.
        assert_eq!(
            explained("the 5\" one: {\"explanation\": \"x\",}").unwrap(),
            "x"
        );
    }

    #[test]
    fn a_wall_of_brackets_ends() {
        assert!(explained(&"{".repeat(100_000)).is_err());
    }
}
