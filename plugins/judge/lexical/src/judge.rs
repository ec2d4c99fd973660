use harness_sdk::{
    Error, Judge, JudgeIdentity, JudgeReply, JudgeRequest, JudgeTask, Result, Value,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    explain::{Explain, explain},
    score::{concept_words, score, windows},
};

/// Nothing can be set: what it answers is part of its version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {}

/// Payload of `CONCEPT_PAIR`.
#[derive(Debug, Deserialize)]
struct ConceptPair {
    concept: String,
    text_before: String,
    text_after: String,
}

/// Payload of `PREDICT_WINDOWS`.
#[derive(Debug, Deserialize)]
struct PredictWindows {
    explanation: String,
    windows: Vec<String>,
}

/// The judge by words.
#[derive(Clone, Copy, Debug)]
pub struct Lexical;

impl Judge for Lexical {
    fn new(_name: &str, config: &Value) -> Result<Self> {
        if !config.is_object() {
            return Err(Error::config(format!(
                "judge `lexical`: {config} is not an object of settings"
            )));
        }
        let Config {} = serde_json::from_value(config.clone())
            .map_err(|error| Error::config(format!("judge `lexical`: {error}")))?;
        Ok(Self)
    }

    fn identity(&self) -> Result<JudgeIdentity> {
        Ok(JudgeIdentity {
            model: "lexical-1".to_owned(),
            comparable_with_paper: false,
            online: false,
        })
    }

    fn complete(
        &mut self,
        requests: &[JudgeRequest],
        _max_concurrency: usize,
    ) -> Result<Vec<Result<JudgeReply>>> {
        Ok(requests
            .iter()
            .map(|request| {
                Ok(JudgeReply {
                    id: request.id.clone(),
                    text: answer(request)?.to_string(),
                    tokens_in: 0,
                    tokens_out: 0,
                })
            })
            .collect())
    }
}

fn answer(request: &JudgeRequest) -> Result<Value> {
    match request.task {
        JudgeTask::EXPLAIN => Ok(json!({"explanation": explain(&payload::<Explain>(request)?)?})),
        JudgeTask::CONCEPT_PAIR => {
            let pair: ConceptPair = payload(request)?;
            let concept = concept(&pair.concept)?;
            Ok(json!({
                "score_without": score(&concept, &pair.text_before),
                "score_after": score(&concept, &pair.text_after),
            }))
        }
        JudgeTask::PREDICT_WINDOWS => {
            let question: PredictWindows = payload(request)?;
            let concept = concept(&question.explanation)?;
            Ok(json!({"active": windows(&concept, &question.windows)}))
        }
        other => Err(Error::unsupported(format!("judge task {}", other.0))),
    }
}

fn concept(explanation: &str) -> Result<Vec<String>> {
    let concept = concept_words(explanation);
    if concept.is_empty() {
        return Err(Error::invalid(format!(
            "the explanation `{explanation}` holds no word"
        )));
    }
    Ok(concept)
}

fn payload<T: DeserializeOwned>(request: &JudgeRequest) -> Result<T> {
    serde_json::from_value(request.payload.clone())
        .map_err(|error| Error::invalid(format!("payload of request `{}`: {error}", request.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str, task: JudgeTask, payload: Value) -> JudgeRequest {
        JudgeRequest {
            id: id.to_owned(),
            task,
            payload,
            messages: Vec::new(),
            max_tokens: 128,
            temperature: 0.0,
        }
    }

    #[test]
    fn a_batch_is_answered_in_order_and_a_bad_request_fails_alone() {
        let pair = json!({
            "concept": "words: sail",
            "text_before": "I think that it is late",
            "text_after": "I think that the sails are red",
        });
        let requests = [
            request("a", JudgeTask::CONCEPT_PAIR, pair.clone()),
            request("b", JudgeTask::CONCEPT_PAIR, json!({"concept": "x"})),
            request("c", JudgeTask(99), json!({})),
            request(
                "d",
                JudgeTask::PREDICT_WINDOWS,
                json!({"explanation": "words: sail", "windows": ["a sail", "a door"]}),
            ),
            request("e", JudgeTask::CONCEPT_PAIR, pair),
        ];
        let mut judge = Lexical::new("lexical", &json!({})).unwrap();
        let replies = judge.complete(&requests, 4).unwrap();
        let text = |i: usize| replies[i].as_ref().unwrap().text.clone();
        assert_eq!(replies[0].as_ref().unwrap().id, "a");
        let scores: Value = serde_json::from_str(&text(0)).unwrap();
        assert_eq!(scores["score_without"], 0.0);
        assert!(scores["score_after"].as_f64().unwrap() > 30.0);
        assert!(replies[1].as_ref().unwrap_err().message().contains("`b`"));
        assert_eq!(
            replies[2].as_ref().unwrap_err().code(),
            harness_sdk::ErrorCode::UNSUPPORTED
        );
        assert_eq!(text(3), r#"{"active":[0]}"#);
        assert_eq!(text(4), text(0));
    }

    #[test]
    fn it_says_that_it_is_not_the_papers_judge() {
        let identity = Lexical::new("lexical", &json!({}))
            .unwrap()
            .identity()
            .unwrap();
        assert_eq!(identity.model, "lexical-1");
        assert!(!identity.comparable_with_paper && !identity.online);
        assert!(Lexical::new("lexical", &json!({"words": 3})).is_err());
    }

    #[test]
    fn explanations_serve_as_concepts() {
        let explain = request(
            "x",
            JudgeTask::EXPLAIN,
            json!({"contexts": [{"tokens": ["the", " red", " sail"], "acts": [0.0, 0.1, 4.0]}]}),
        );
        let answer = answer(&explain).unwrap();
        let concept = concept_words(answer["explanation"].as_str().unwrap());
        assert!(score(&concept, "they sailed on") > score(&concept, "they went on"));
    }
}
