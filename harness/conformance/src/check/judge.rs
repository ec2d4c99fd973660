//! The laws of judges. The host's handle itself refuses a wrong number of answers and answers in
//! another order. An online judge is never asked anything here: it would cost money and the result
//! would not be repeatable.

use std::ops::ControlFlow;

use harness_engine::plugin::{
    Answer, ErrorCode, Judge, JudgeTask, PluginFailure, Prompt, Question,
};
use serde_json::{Value, json};

use super::{
    subject::{Named, Subject},
    verdict::{Checked, Ended, ensure, no_panic, unknown},
};

pub(super) const TESTS: &[Named] = &[
    ("identity", "it says who answers"),
    ("order", "answers come in the order of the questions"),
    (
        "each",
        "answers handed over one by one are those given together, and none comes after a stop",
    ),
    (
        "batch",
        "without batches it says so, and with them an unknown tag finds none",
    ),
    ("isolated", "a question that fails does not fail the others"),
    ("deterministic", "an offline judge answers the same twice"),
    ("answers", "answers have the form their task asks for"),
    ("odd", "odd questions give an error or an answer, no panic"),
];

pub(super) fn run(test: &str, subject: &Subject<'_>) -> Checked {
    let mut judge = subject.registry.judge(subject.name, &json!({}))?;
    if test == "identity" {
        return identity(&judge);
    }
    if judge.identity()?.online {
        return Err(Ended::skipped(
            "it answers over the network; nothing is sent in a check",
        ));
    }
    match test {
        "order" => order(&mut judge),
        "each" => each(&mut judge),
        "batch" => batch(&mut judge),
        "isolated" => isolated(&mut judge),
        "deterministic" => deterministic(&mut judge),
        "answers" => answers(&mut judge),
        "odd" => odd(&mut judge),
        other => unknown(other),
    }
}

fn question(id: &str, task: JudgeTask, payload: Value) -> Question {
    Question {
        id: id.to_owned(),
        task,
        messages: vec![Prompt {
            role: "user",
            content: payload.to_string(),
        }],
        payload,
        max_tokens: 128,
        temperature: 0.0,
    }
}

fn explain(id: &str) -> Question {
    let contexts = json!([
        {"tokens": ["the", " red", " sail", " of", " the", " boat"], "acts": [0.0, 0.2, 4.0, 0.0, 0.0, 1.5]},
        {"tokens": ["a", " sail", " in", " the", " wind"], "acts": [0.0, 3.5, 0.0, 0.0, 0.5]},
    ]);
    question(id, JudgeTask::EXPLAIN, json!({"contexts": contexts}))
}

fn pair(id: &str) -> Question {
    let payload = json!({
        "concept": "sail, boat",
        "text_before": "I think that it is a quiet day",
        "text_after": "I think that the boat has a red sail",
    });
    question(id, JudgeTask::CONCEPT_PAIR, payload)
}

fn windows(id: &str) -> Question {
    let payload =
        json!({"explanation": "sail, boat", "windows": ["a red sail", "a red door", "the boat"]});
    question(id, JudgeTask::PREDICT_WINDOWS, payload)
}

/// A question whose payload is not what its task promises.
fn broken(id: &str) -> Question {
    question(id, JudgeTask::CONCEPT_PAIR, json!({"nothing": 1}))
}

fn identity(judge: &Judge) -> Checked {
    let identity = judge.identity()?;
    ensure(!identity.model.trim().is_empty(), || {
        "its identity is empty: every cached answer is kept under it".to_owned()
    })?;
    let again = judge.identity()?;
    ensure(identity == again, || {
        format!("its identity changes from {identity:?} to {again:?}")
    })
}

fn order(judge: &mut Judge) -> Checked {
    for concurrency in [1, 8] {
        let all = [pair("a"), explain("b"), windows("c"), pair("d")];
        // The handle compares the ids.
        let got = judge.ask(&all, concurrency)?;
        for (i, alone) in all.iter().enumerate() {
            let alone = judge.ask(std::slice::from_ref(alone), 1)?;
            let text =
                |answers: &[Result<harness_engine::plugin::Answer, _>], at: usize| match &answers
                    [at]
                {
                    Ok(answer) => answer.text.clone(),
                    Err(_) => String::new(),
                };
            ensure(text(&got, i) == text(&alone, 0), || {
                format!("question {i} of 4 gets another answer than alone")
            })?;
        }
    }
    ensure(judge.ask(&[], 4)?.is_empty(), || {
        "no questions get answers".to_owned()
    })
}

fn each(judge: &mut Judge) -> Checked {
    let all = [pair("a"), explain("b"), windows("c"), broken("d")];
    let text =
        |answer: &Result<Answer, PluginFailure>| answer.as_ref().ok().map(|a| a.text.clone());
    let together: Vec<Option<String>> = judge.ask(&all, 4)?.iter().map(text).collect();
    let mut one_by_one: Vec<Option<String>> = vec![None; all.len()];
    judge.ask_each(&all, 4, &mut |i, answer| {
        one_by_one[i] = text(&answer);
        ControlFlow::Continue(())
    })?;
    ensure(one_by_one == together, || {
        format!("one by one the answers are {one_by_one:?}, together {together:?}")
    })?;
    let mut n = 0;
    judge.ask_each(&all, 1, &mut |_, _| {
        n += 1;
        ControlFlow::Break(())
    })?;
    ensure(n == 1, || {
        format!("{n} answers were handed over when the first should end it")
    })
}

fn batch(judge: &mut Judge) -> Checked {
    match judge.find("a tag that nobody has given") {
        Ok(None) => Ok(()),
        Ok(Some(ticket)) => Err(Ended::failed(format!(
            "a tag that nobody has given finds `{ticket}`"
        ))),
        Err(failure) if failure.code == ErrorCode::UNSUPPORTED => {
            match judge.submit(&[pair("a")], "tag") {
                Err(failure) if failure.code == ErrorCode::UNSUPPORTED => Ok(()),
                Err(other) => Err(other.into()),
                Ok(_) => Err(Ended::failed(
                    "it takes batches and cannot find them: what is lost would be paid for twice",
                )),
            }
        }
        Err(other) => Err(other.into()),
    }
}

fn isolated(judge: &mut Judge) -> Checked {
    let good = judge.ask(&[pair("a"), pair("c")], 4)?;
    let mixed = judge.ask(&[pair("a"), broken("b"), pair("c")], 4)?;
    for (at, alone) in [(0, 0), (2, 1)] {
        let same = match (&mixed[at], &good[alone]) {
            (Ok(mixed), Ok(good)) => mixed == good,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        ensure(same, || {
            format!("question {at} fares otherwise beside one that fails")
        })?;
    }
    match &mixed[1] {
        Err(failure) if failure.code == ErrorCode::PANIC => Err(Ended::failed(failure.to_string())),
        Err(_) => Ok(()),
        Ok(answer) => Err(Ended::warning(format!(
            "a question without its data is answered: {}",
            answer.text
        ))),
    }
}

fn deterministic(judge: &mut Judge) -> Checked {
    let all = [pair("a"), explain("b"), windows("c")];
    let mut texts = Vec::new();
    for _ in 0..2 {
        let answers = judge.ask(&all, 4)?;
        let text: Vec<String> = answers
            .into_iter()
            .map(|answer| answer.map_or_else(|failure| failure.to_string(), |a| a.text))
            .collect();
        texts.push(text);
    }
    ensure(texts[0] == texts[1], || {
        format!("first {:?}, then {:?}", texts[0], texts[1])
    })
}

fn answers(judge: &mut Judge) -> Checked {
    let asked = judge.ask(&[explain("a"), pair("b"), windows("c")], 4)?;
    let names = ["EXPLAIN", "CONCEPT_PAIR", "PREDICT_WINDOWS"];
    let mut unsupported = Vec::new();
    for (i, (answer, name)) in asked.into_iter().zip(names).enumerate() {
        let answer = match answer {
            Err(failure) if failure.code == ErrorCode::UNSUPPORTED => {
                unsupported.push(name);
                continue;
            }
            other => other?,
        };
        let value: Value = serde_json::from_str(&answer.text).map_err(|error| {
            Ended::failed(format!("{name}: {} is no JSON: {error}", answer.text))
        })?;
        let score = |key: &str| {
            value[key]
                .as_f64()
                .is_some_and(|s| (0.0..=100.0).contains(&s))
        };
        let fits = match i {
            0 => value["explanation"]
                .as_str()
                .is_some_and(|text| !text.trim().is_empty()),
            1 => score("score_without") && score("score_after"),
            _ => value["active"].as_array().is_some_and(|active| {
                active
                    .iter()
                    .all(|index| index.as_u64().is_some_and(|index| index < 3))
            }),
        };
        ensure(fits, || {
            format!("{name}: {} is not the answer asked for", answer.text)
        })?;
    }
    match unsupported.as_slice() {
        [] => Ok(()),
        all if all.len() == 3 => Err(Ended::failed("it answers none of the three tasks")),
        some => Err(Ended::warning(format!(
            "it does not answer {}",
            some.join(", ")
        ))),
    }
}

fn odd(judge: &mut Judge) -> Checked {
    let odd = [
        question("a", JudgeTask(9999), json!({})),
        question("b", JudgeTask::EXPLAIN, json!({"contexts": []})),
        question("c", JudgeTask::EXPLAIN, json!([])),
        question(
            "d",
            JudgeTask::CONCEPT_PAIR,
            json!({"concept": "", "text_before": "", "text_after": "\u{0}\u{202e}"}),
        ),
        question(
            "e",
            JudgeTask::PREDICT_WINDOWS,
            json!({"explanation": "x", "windows": []}),
        ),
    ];
    for question in &odd {
        let what = format!("question `{}`", question.id);
        match judge.ask(std::slice::from_ref(question), 1) {
            Ok(mut answers) => match answers.pop() {
                Some(answer) => no_panic(&what, answer)?,
                None => return Err(Ended::failed(format!("{what} gets no answer"))),
            },
            Err(failure) => no_panic(&what, Err::<(), _>(failure))?,
        }
    }
    let answers = judge.ask(&odd[..1], 1)?;
    if answers.iter().any(|answer| answer.is_ok()) {
        return Err(Ended::warning("a task it cannot know is answered"));
    }
    Ok(())
}
