//! Explaining a latent by the words it is active on.

use std::collections::{BTreeMap, BTreeSet};

use harness_sdk::{Error, Result};
use serde::Deserialize;

use crate::words::{is_function_word, words};

/// Payload of `EXPLAIN`.
#[derive(Debug, Deserialize)]
pub struct Explain {
    /// Texts the latent is active in.
    contexts: Vec<Context>,
    /// Word counts of ordinary text; a word common there says little.
    #[serde(default)]
    background: BTreeMap<String, u64>,
}

/// One text in tokens, with the latent's activation on each.
#[derive(Debug, Deserialize)]
pub struct Context {
    /// Text of each token, leading spaces included. `[t]`
    tokens: Vec<String>,
    /// Activation on each token, 0 or more. `[t]`
    acts: Vec<f64>,
}

/// Most words of an explanation.
const MAX_WORDS: usize = 6;
/// A word below this share of the best word's weight is left out.
const FLOOR: f64 = 0.15;
/// Weight of the activation on a word's neighbours, by distance in words: peaks reach a little
/// around.
const REACH: [f64; 3] = [1.0, 0.25, 0.1];

/// What is known of a word over all contexts.
#[derive(Debug, Default)]
struct Evidence {
    /// Sum over its occurrences of the activation on and around it, relative to the largest of all
    /// contexts.
    weight: f64,
    /// Sum over its occurrences of the activation on it alone.
    own: f64,
    occurrences: f64,
    contexts: BTreeSet<usize>,
}

/// The distinctive words of the contexts, most telling first, as `words: a, b, c`.
///
/// A word's weight is the activation on and around its occurrences, times how reliably it goes with
/// activation (mean activation on its occurrences relative to the largest; a word present
/// everywhere whether active or not gets little), times its rarity in the background, ln((1 + N) /
/// (1 + n)) / ln(1 + N). Function words, and words in all of three or more contexts that are hardly
/// active themselves, are left out unless nothing else is left.
///
/// # Errors
/// A payload of another shape, negative or non-finite activations, no word near a peak.
pub fn explain(payload: &Explain) -> Result<String> {
    let mut peak = 0.0_f64;
    for (i, context) in payload.contexts.iter().enumerate() {
        if context.tokens.len() != context.acts.len() {
            return Err(Error::invalid(format!(
                "context {i} has {} tokens and {} activations",
                context.tokens.len(),
                context.acts.len()
            )));
        }
        if let Some(act) = context
            .acts
            .iter()
            .find(|act| !(act.is_finite() && **act >= 0.0))
        {
            return Err(Error::invalid(format!(
                "context {i} has the activation {act}"
            )));
        }
        peak = context.acts.iter().copied().fold(peak, f64::max);
    }
    if peak <= 0.0 {
        return Err(Error::invalid("the latent is active in no context"));
    }
    let mut evidence: BTreeMap<String, Evidence> = BTreeMap::new();
    for (i, context) in payload.contexts.iter().enumerate() {
        collect(context, i, peak, &mut evidence);
    }
    let total: u64 = payload.background.values().sum();
    let n_contexts = payload.contexts.len();
    let mut ranked: Vec<(bool, f64, &String)> = evidence
        .iter()
        .filter(|(_, e)| e.weight > 0.0)
        .map(|(word, e)| {
            let reliability = (e.own / e.occurrences).clamp(0.05, 1.0);
            let is_common = n_contexts >= 3 && e.contexts.len() == n_contexts && reliability < 0.2;
            let count = payload.background.get(word).copied().unwrap_or(0);
            let rarity = if total == 0 {
                1.0
            } else {
                ((1 + total) as f64 / (1 + count.min(total)) as f64).ln()
                    / ((1 + total) as f64).ln()
            };
            let is_plain = is_function_word(word) || is_common;
            (is_plain, e.weight * reliability * rarity, word)
        })
        .collect();
    if ranked.iter().any(|(is_plain, ..)| !is_plain) {
        ranked.retain(|(is_plain, ..)| !is_plain);
    }
    // Equal weights go in the order of the alphabet: the map is sorted and the sort is stable.
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let best = ranked.first().map_or(0.0, |(_, weight, _)| *weight);
    let chosen: Vec<&str> = ranked
        .iter()
        .filter(|(_, weight, _)| *weight >= FLOOR * best)
        .take(MAX_WORDS)
        .map(|(_, _, word)| word.as_str())
        .collect();
    if chosen.is_empty() {
        return Err(Error::invalid("there is no word near the peaks"));
    }
    Ok(format!("words: {}", chosen.join(", ")))
}

/// Adds what one context says of its words.
fn collect(context: &Context, index: usize, peak: f64, evidence: &mut BTreeMap<String, Evidence>) {
    let mut text = String::new();
    let mut spans = Vec::new(); // of each token in `text`
    for token in &context.tokens {
        let start = text.len();
        // Special tokens such as `<|mask|>` are no words; a space keeps their neighbours apart.
        if is_special(token) {
            text.push(' ');
        } else {
            text.push_str(token);
        }
        spans.push((start, text.len()));
    }
    let words = words(&text);
    let act: Vec<f64> = words
        .iter()
        .map(|word| {
            spans
                .iter()
                .zip(&context.acts)
                .filter(|((start, end), _)| *start < word.end && *end > word.start)
                .map(|(_, act)| act / peak)
                .fold(0.0, f64::max)
        })
        .collect();
    for (i, word) in words.into_iter().enumerate() {
        let around: f64 = REACH
            .iter()
            .enumerate()
            .map(|(distance, reach)| {
                let before = i.checked_sub(distance).map_or(0.0, |j| act[j]);
                let after = act.get(i + distance).copied().unwrap_or(0.0);
                reach
                    * if distance == 0 {
                        act[i]
                    } else {
                        before + after
                    }
            })
            .sum();
        let entry = evidence.entry(word.text).or_default();
        entry.weight += around;
        entry.own += act[i];
        entry.occurrences += 1.0;
        entry.contexts.insert(index);
    }
}

fn is_special(token: &str) -> bool {
    let token = token.trim();
    token.len() > 2
        && ((token.starts_with('<') && token.ends_with('>'))
            || (token.starts_with('[') && token.ends_with(']')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn run(payload: Value) -> Result<String> {
        explain(&serde_json::from_value(payload).unwrap())
    }

    fn context(marked: &str) -> Value {
        // `*` marks an active token.
        let (tokens, acts): (Vec<String>, Vec<f64>) = marked
            .split(' ')
            .map(|token| match token.strip_prefix('*') {
                Some(token) => (format!(" {token}"), 2.0),
                None => (format!(" {token}"), 0.0),
            })
            .unzip();
        json!({"tokens": tokens, "acts": acts})
    }

    #[test]
    fn the_words_at_the_peaks_are_named() {
        let got = run(json!({"contexts": [
            context("the old *harbour was full of *boats that day ."),
            context("she left the *harbour in a small *boat at noon ."),
            context("the *sail of the *boat was red ."),
        ]}))
        .unwrap();
        let words: Vec<&str> = got.strip_prefix("words: ").unwrap().split(", ").collect();
        assert_eq!(&words[..2], ["boat", "harbour"]);
        assert!(words.contains(&"boats") && words.contains(&"sail"));
        assert!(!words.contains(&"the") && !words.contains(&"of"));
    }

    #[test]
    fn pieces_of_a_word_make_the_whole_word() {
        let got = run(json!({"contexts": [
            {"tokens": ["A", " har", "bo", "ur", "<|mask|>", "!"], "acts": [0.0, 0.1, 0.0, 3.0, 0.0, 0.0]},
        ]}));
        assert_eq!(got.unwrap(), "words: harbour");
    }

    #[test]
    fn a_word_everywhere_is_left_out_unless_it_is_active() {
        let silent = ["*cat sat people", "*dog sat people", "*cow sat people"].map(context);
        let got = run(json!({"contexts": silent})).unwrap();
        assert!(!got.contains("people") && !got.contains("sat"), "{got}");
        let active = ["a *cat today", "my *cat slept", "that *cat ran"].map(context);
        assert!(
            run(json!({"contexts": active}))
                .unwrap()
                .starts_with("words: cat")
        );
    }

    #[test]
    fn function_words_explain_where_nothing_else_does() {
        let contexts = ["*the", "*the of"].map(context);
        assert!(
            run(json!({"contexts": contexts}))
                .unwrap()
                .starts_with("words: the")
        );
    }

    #[test]
    fn a_word_common_in_the_background_counts_less() {
        let contexts = [context("*market *anchor")];
        let plain = run(json!({"contexts": contexts})).unwrap();
        assert_eq!(plain, "words: anchor, market");
        let background = json!({"anchor": 900, "market": 3, "day": 97});
        let got = run(json!({"contexts": contexts, "background": background})).unwrap();
        assert_eq!(got, "words: market");
    }

    #[test]
    fn contexts_without_words_or_activation_are_refused() {
        for contexts in [
            json!([]),
            json!([context("a quiet day")]),
            json!([{"tokens": [" .", "!"], "acts": [1.0, 2.0]}]),
            json!([{"tokens": ["a"], "acts": []}]),
            json!([{"tokens": ["a"], "acts": [-1.0]}]),
        ] {
            assert!(run(json!({"contexts": contexts})).is_err(), "{contexts}");
        }
    }
}
