//! A judge: answers by looking for the concept's words, offline.
//!
//! Answers come in the order of the requests; a request that cannot be answered fails alone.

use harness_sdk::{
    Error, Judge, JudgeIdentity, JudgeReply, JudgeRequest, JudgeTask, Result, Value,
};
use serde_json::json;

struct Words;

impl Judge for Words {
    fn new(_name: &str, config: &Value) -> Result<Self> {
        if config.as_object().is_none_or(|keys| !keys.is_empty()) {
            return Err(Error::config(format!(
                "this judge takes no settings, not {config}"
            )));
        }
        Ok(Self)
    }

    fn identity(&self) -> Result<JudgeIdentity> {
        // Change the version whenever an answer can change: it is part of every cached answer's
        // key.
        Ok(JudgeIdentity {
            model: "template-1".to_owned(),
            comparable_with_paper: false,
            online: false,
        })
    }

    fn complete(
        &mut self,
        requests: &[JudgeRequest],
        _max_concurrency: usize,
    ) -> Result<Vec<Result<JudgeReply>>> {
        Ok(requests.iter().map(reply).collect())
    }
}

fn reply(request: &JudgeRequest) -> Result<JudgeReply> {
    Ok(JudgeReply {
        id: request.id.clone(),
        text: answer(request.task, &request.payload)?.to_string(),
        tokens_in: 0,
        tokens_out: 0,
    })
}

fn answer(task: JudgeTask, payload: &Value) -> Result<Value> {
    match task {
        JudgeTask::EXPLAIN => {
            // The token the latent is most active on.
            let mut best = (0.0, String::new());
            for context in list(payload, "contexts")? {
                let acts = list(context, "acts")?.iter().map(Value::as_f64);
                for (token, act) in list(context, "tokens")?.iter().zip(acts) {
                    let act = act.ok_or_else(|| Error::invalid("an activation is no number"))?;
                    if act > best.0 {
                        best = (act, token.as_str().unwrap_or_default().trim().to_owned());
                    }
                }
            }
            Ok(json!({"explanation": best.1}))
        }
        JudgeTask::CONCEPT_PAIR => {
            let concept = text(payload, "concept")?;
            Ok(json!({
                "score_without": score(concept, text(payload, "text_before")?),
                "score_after": score(concept, text(payload, "text_after")?),
            }))
        }
        JudgeTask::PREDICT_WINDOWS => {
            let explanation = text(payload, "explanation")?;
            let windows = list(payload, "windows")?.iter();
            let active: Vec<usize> = windows
                .enumerate()
                .filter(|(_, window)| score(explanation, window.as_str().unwrap_or_default()) > 0)
                .map(|(i, _)| i)
                .collect();
            Ok(json!({"active": active}))
        }
        other => Err(Error::unsupported(format!("judge task {}", other.0))),
    }
}

/// 100 when a word of the concept is in the text, else 0.
fn score(concept: &str, text: &str) -> u32 {
    let text = text.to_lowercase();
    let has = |word: &str| text.split_whitespace().any(|other| other == word);
    100 * u32::from(concept.to_lowercase().split_whitespace().any(has))
}

fn text<'a>(payload: &'a Value, key: &str) -> Result<&'a str> {
    let text = payload[key].as_str();
    text.ok_or_else(|| Error::invalid(format!("the payload has no text `{key}`")))
}

fn list<'a>(payload: &'a Value, key: &str) -> Result<&'a [Value]> {
    let list = payload[key].as_array().map(Vec::as_slice);
    list.ok_or_else(|| Error::invalid(format!("the payload has no list `{key}`")))
}

harness_sdk::export_plugin! {
    id: "template",
    components: [ judge "template" => Words: "looks for the concept's words" ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_the_concept_scores() {
        let pair = json!({"concept": "sail", "text_before": "a door", "text_after": "a red Sail"});
        let got = answer(JudgeTask::CONCEPT_PAIR, &pair).unwrap();
        assert_eq!(got, json!({"score_without": 0, "score_after": 100}));
        assert!(answer(JudgeTask::CONCEPT_PAIR, &json!({})).is_err());
    }
}
