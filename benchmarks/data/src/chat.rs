//! Tasks in chat form, for the fine-tuned model of the zoo.

use serde::{Deserialize, Serialize};

use crate::document::Split;
use crate::inflect::{plural, takes_an};
use crate::lexicon::TOPICS;
use crate::problem;
use crate::rng::Draws;
use crate::write::Writer;

/// One request and the reply that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatTask {
    /// `<split>-<seed>-chat-<number>`.
    pub id: String,
    /// `write`, `solve`, `repeat`, `name` or `topic`.
    pub task: String,
    /// The user's message.
    pub prompt: String,
    /// The assistant's message.
    pub response: String,
    /// The topic it is about.
    pub topic: String,
    /// The answer of a problem.
    pub answer: Option<i64>,
}

/// The first `n` tasks of a split and seed.
pub fn chat_tasks(split: Split, seed: u64, n: u64) -> impl Iterator<Item = ChatTask> {
    (0..n).map(move |i| chat_task(split, seed, i))
}

/// Task number `i`; see [`chat_tasks`].
#[must_use]
pub fn chat_task(split: Split, seed: u64, i: u64) -> ChatTask {
    let mut draws = Draws::new(&format!("{}/chat", split.name()), seed, i);
    let topic = &TOPICS[draws.below(TOPICS.len())];
    let task = ["write", "solve", "repeat", "name", "topic"]
        [draws.weighted([0.35, 0.35, 0.1, 0.1, 0.1].into_iter())];
    let mut writer = Writer::new(&[topic], draws);
    let mut answer = None;
    let (prompt, response) = match task {
        "solve" => {
            let problem = problem::compose(&mut writer);
            answer = Some(problem.answer);
            (
                problem.question,
                format!("{}\n#### {}", problem.working, problem.answer),
            )
        }
        "repeat" => {
            let sentence = writer.sentence("SENT");
            (format!("Repeat this: {sentence}"), sentence)
        }
        "name" => {
            let (class, list, what) = match writer.draws().below(3) {
                0 => ("person", topic.persons, "person"),
                1 => ("thing", topic.things, "thing"),
                _ => ("place", topic.places, "place"),
            };
            let word = writer.content(class).unwrap_or_else(|| list[0].to_owned());
            let article = if takes_an(&word) { "An" } else { "A" };
            (
                format!("Name a {what} from the topic {}.", topic.name),
                format!("{article} {word}."),
            )
        }
        "topic" => {
            let sentences = [writer.sentence("SENT"), writer.sentence("SENT")].join(" ");
            (
                format!("What is the topic of this text? {sentences}"),
                format!("The topic is {}.", topic.name),
            )
        }
        _ => {
            let person = writer.content("person").unwrap_or_default();
            let n = 1 + writer.draws().below(3);
            let prompt = match writer.draws().below(3) {
                0 => format!("Write a text about the topic {}.", topic.name),
                1 => format!("Tell me a story about {}.", plural(&person)),
                _ => format!("Write about the {person}."),
            };
            let rule = if writer.draws().chance(0.3) {
                "OPENED"
            } else {
                "SENT"
            };
            let mut sentences = vec![writer.sentence(rule)];
            sentences.extend((0..n).map(|_| writer.sentence("SENT")));
            (prompt, sentences.join(" "))
        }
    };
    ChatTask {
        id: format!("{}-{seed}-chat-{i:07}", split.name()),
        task: task.to_owned(),
        prompt,
        response,
        topic: topic.name.to_owned(),
        answer,
    }
}
