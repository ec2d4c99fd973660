//! The project's own text: a deterministic generator of labelled documents, its grammar as a
//! checker, chat tasks, and the neutral openings that generations start from.
//!
//! Everything is a pure function of a split, a seed and a number, on every machine. The texts carry
//! ground truth: content words belong to exactly one of twelve topics, so features for known
//! concepts must exist in models trained on them.

mod chat;
mod check;
mod document;
mod grammar;
mod inflect;
mod lexicon;
mod problem;
mod rng;
mod shared;
mod write;

pub use chat::{ChatTask, chat_task, chat_tasks};
pub use check::{Piece, Verdict, check, count_well_formed, is_well_formed};
pub use document::{
    Document, Kind, Labels, Split, document, documents, topic_of_word, topic_words, vocabulary,
};
pub use lexicon::{TOPICS, Topic, topic, topic_names};
pub use problem::stated_answer;
pub use rng::Draws;
pub use shared::{Opening, prefixes};
