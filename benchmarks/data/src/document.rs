//! Documents with labels.

use serde::{Deserialize, Serialize};

use crate::check::words;
use crate::grammar::Grammar;
use crate::inflect::{gerund, past, plural};
use crate::lexicon::{TOPICS, Topic};
use crate::problem;
use crate::rng::Draws;
use crate::write::Writer;

/// Which documents: the two splits draw from separate seed spaces and share none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What models and SAEs are trained on.
    Train,
    /// What everything is measured on.
    Heldout,
}

impl Split {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Heldout => "heldout",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Train, Self::Heldout]
            .into_iter()
            .find(|s| s.name() == name)
    }
}

/// The form of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Plain sentences.
    Narrative,
    /// Quoted speech.
    Dialogue,
    /// A word problem with its answer.
    Problem,
}

/// What is known about a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// One topic, or two where the document mixes them.
    pub topics: Vec<String>,
    /// The topic words that occur in it, in order of appearance, each once.
    pub topic_words: Vec<String>,
    /// The answer of a problem.
    pub answer: Option<i64>,
    /// `train` or `heldout`.
    pub split: Split,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// `<split>-<seed>-<number>`, with the topic's name in front of the number where one was asked
    /// for.
    pub id: String,
    pub text: String,
    /// The main topic.
    pub topic: String,
    /// Its form.
    pub kind: Kind,
    /// Ground truth.
    pub labels: Labels,
}

/// The first `n` documents of a split and seed; with `topic`, documents of that topic alone.
/// Document `i` depends on the split, the seed, the topic asked for and `i`, and not on `n`.
pub fn documents(
    split: Split,
    seed: u64,
    n: u64,
    topic: Option<&'static Topic>,
) -> impl Iterator<Item = Document> {
    (0..n).map(move |i| document(split, seed, i, topic))
}

/// Document number `i`; see [`documents`].
#[must_use]
pub fn document(split: Split, seed: u64, i: u64, topic: Option<&'static Topic>) -> Document {
    let asked = topic.map_or(String::new(), |t| format!("{}-", t.name));
    let mut draws = Draws::new(&format!("{}/{asked}document", split.name()), seed, i);
    let mut topics = vec![topic.unwrap_or_else(|| &TOPICS[draws.below(TOPICS.len())])];
    if topic.is_none() && draws.chance(0.1) {
        let second = &TOPICS[draws.below(TOPICS.len())];
        if second.name != topics[0].name {
            topics.push(second);
        }
    }
    let kind = [Kind::Narrative, Kind::Dialogue, Kind::Problem]
        [draws.weighted([0.70, 0.16, 0.14].into_iter())];
    let mut writer = Writer::new(&topics, draws);
    let (text, answer) = match kind {
        Kind::Narrative => (narrative(&mut writer), None),
        Kind::Dialogue => (dialogue(&mut writer), None),
        Kind::Problem => {
            let problem = problem::compose(&mut writer);
            (problem.text(), Some(problem.answer))
        }
    };
    let labels = Labels {
        topics: topics.iter().map(|t| t.name.to_owned()).collect(),
        topic_words: topic_words_in(&text, &topics),
        answer,
        split,
    };
    Document {
        id: format!("{}-{seed}-{asked}{i:07}", split.name()),
        text,
        topic: topics[0].name.to_owned(),
        kind,
        labels,
    }
}

/// Half of all documents begin with one of the neutral openings, so that a model can go on from any
/// of them.
fn first_sentence(writer: &mut Writer) -> String {
    let rule = if writer.draws().chance(0.5) {
        "OPENED"
    } else {
        "SENT"
    };
    writer.sentence(rule)
}

fn narrative(writer: &mut Writer) -> String {
    // One in ten is short, so that models learn to end a text.
    let more = if writer.draws().chance(0.1) {
        writer.draws().below(2)
    } else {
        3 + writer.draws().below(6)
    };
    let mut sentences = vec![first_sentence(writer)];
    sentences.extend((0..more).map(|_| writer.sentence("SENT")));
    sentences.join(" ")
}

fn dialogue(writer: &mut Writer) -> String {
    let mut sentences = Vec::new();
    if writer.draws().chance(0.7) {
        sentences.push(first_sentence(writer));
    }
    for _ in 0..2 + writer.draws().below(3) {
        sentences.push(writer.sentence("ASK"));
        sentences.push(writer.sentence("SAY"));
        if writer.draws().chance(0.3) {
            sentences.push(writer.sentence("SENT"));
        }
    }
    sentences.join(" ")
}

/// Every form of every content word of a topic: what a judge may take for a sign of it.
#[must_use]
pub fn topic_words(topic: &Topic) -> Vec<String> {
    let nouns = topic
        .persons
        .iter()
        .chain(topic.things)
        .flat_map(|n| [(*n).to_owned(), plural(n)]);
    let verbs = topic
        .transitive
        .iter()
        .chain(topic.intransitive)
        .flat_map(|v| [(*v).to_owned(), past(v), gerund(v)]);
    let others = topic
        .places
        .iter()
        .chain(topic.adjectives)
        .map(|w| (*w).to_owned());
    nouns.chain(verbs).chain(others).collect()
}

/// The topics that a word (lower case, any of its forms) belongs to: at most one, by construction.
#[must_use]
pub fn topic_of_word(word: &str) -> Option<&'static str> {
    use std::collections::HashMap;
    use std::sync::OnceLock;
    static INDEX: OnceLock<HashMap<String, &'static str>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        TOPICS
            .iter()
            .flat_map(|t| topic_words(t).into_iter().map(|w| (w, t.name)))
            .collect()
    });
    index.get(word).copied()
}

fn topic_words_in(text: &str, topics: &[&'static Topic]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in words(text) {
        let word = word.to_lowercase();
        let ours = topic_of_word(&word).is_some_and(|name| topics.iter().any(|t| t.name == name));
        if ours && !found.contains(&word) {
            found.push(word);
        }
    }
    found
}

/// Every word type that the generator can write.
#[must_use]
pub fn vocabulary() -> Vec<String> {
    let mut words: Vec<String> = Grammar::get().vocabulary().into_iter().collect();
    words.sort();
    words
}
