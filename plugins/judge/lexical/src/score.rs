//! Scoring texts against an explanation.

use crate::words::{is_function_word, same, words};

/// Added to the number of words of a text, so that a text of two words cannot have a large share by
/// chance.
const SMOOTHING: f64 = 5.0;
/// The share that scores 50.
const HALF: f64 = 0.1;

/// The words of an explanation, function words aside unless it has no others; `words:` before them
/// is passed over.
#[must_use]
pub fn concept_words(explanation: &str) -> Vec<String> {
    let text = explanation.trim();
    let text = text
        .get(..6)
        .filter(|start| start.eq_ignore_ascii_case("words:"))
        .map_or(text, |start| &text[start.len()..]);
    let mut all: Vec<String> = words(text).into_iter().map(|word| word.text).collect();
    if all.iter().any(|word| !is_function_word(word)) {
        all.retain(|word| !is_function_word(word));
    }
    all.sort();
    all.dedup();
    all
}

/// How strongly a text uses the concept's words, in [0, 100): 100·s / (s + 0.1) with s = hits /
/// (words + 5).
///
/// A hit is a word of the text that is a form of one of the concept's. One hit in 25 words scores
/// 25, three score 50.
#[must_use]
pub fn score(concept: &[String], text: &str) -> f64 {
    let words = words(text);
    let hits = words
        .iter()
        .filter(|word| concept.iter().any(|wanted| same(wanted, &word.text)))
        .count();
    let share = hits as f64 / (words.len() as f64 + SMOOTHING);
    100.0 * share / (share + HALF)
}

/// The windows, counted from 0, that hold a word of the concept.
#[must_use]
pub fn windows(concept: &[String], windows: &[String]) -> Vec<usize> {
    (0..windows.len())
        .filter(|&i| score(concept, &windows[i]) > 0.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concepts_are_read_with_and_without_the_label() {
        assert_eq!(
            concept_words("words: sail, the, Boat"),
            ["boat", "sail"].map(String::from)
        );
        assert_eq!(
            concept_words("the sea and its boats"),
            ["boats", "sea"].map(String::from)
        );
        assert_eq!(concept_words("words: the"), ["the".to_owned()]);
        assert!(concept_words("").is_empty());
        // The label is compared by bytes that may not end a character.
        assert_eq!(concept_words("wordé"), ["wordé".to_owned()]);
    }

    #[test]
    fn the_score_follows_its_formula() {
        let concept = concept_words("words: sail, boat");
        assert_eq!(score(&concept, "a quiet day at home"), 0.0);
        assert_eq!(score(&concept, ""), 0.0);
        // 3 hits in 25 words: s = 3 / 30 = 0.1.
        let text = format!("boats sailing sailed {}", "word ".repeat(22));
        assert!((score(&concept, &text) - 50.0).abs() < 1e-12);
    }

    #[test]
    fn more_hits_score_more_and_never_100() {
        let concept = concept_words("words: sail");
        let of = |n: usize| {
            score(
                &concept,
                &format!("{}{}", "sail ".repeat(n), "word ".repeat(20 - n)),
            )
        };
        for n in 0..20 {
            assert!(of(n) < of(n + 1) && of(n + 1) < 100.0);
        }
    }

    #[test]
    fn windows_are_counted_from_0() {
        let concept = concept_words("words: sail");
        let texts = ["a red sail", "a red door", "sailing home"].map(String::from);
        assert_eq!(windows(&concept, &texts), [0, 2]);
    }
}
