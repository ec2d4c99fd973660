//! A deterministic judge that works offline, by words alone.
//!
//! **Not comparable with the paper's judge**, a language model: this one counts words. It knows no
//! synonyms and no grammar; its scores order texts by how much of a concept's own vocabulary they
//! use, and are on another scale. Its identity says so (`comparable_with_paper` is false) and every
//! table made with it repeats it.
//!
//! * `EXPLAIN` ([`explain`]): the words a latent is active on, e.g. `words: harbour, sail, anchor`.
//! * `CONCEPT_PAIR` ([`score`]): 100·s / (s + 0.1), where s is the smoothed share of a text's words
//!   that belong to the concept.
//! * `PREDICT_WINDOWS` ([`score`]): the windows that hold a word of the concept, counted from 0.

mod explain;
mod judge;
mod score;
mod words;

pub use explain::{Context, Explain, explain};
pub use judge::Lexical;
pub use score::{concept_words, score, windows};

harness_sdk::export_plugin! {
    id: "lexical",
    components: [
        judge "lexical" => Lexical: "explains and scores by words, offline; not comparable with the paper's judge",
    ]
}
