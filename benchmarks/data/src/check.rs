//! The grammar check: whether a text is made of sentences the generator could have written.
//!
//! The checker reads the writer's own productions. It knows syntax only: a sentence that mixes
//! topics is well-formed.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::grammar::{Grammar, Symbol};
use crate::inflect::takes_an;

/// What the grammar says of one piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A whole sentence of the grammar.
    WellFormed,
    /// Neither a sentence nor the beginning of one.
    Malformed,
    /// The text ends inside a sentence that could still have been finished.
    Cut,
}

/// One checked piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The piece, marks and words separated by single spaces.
    pub text: String,
    pub verdict: Verdict,
}

/// Splits a text into sentences and judges each. The last one may be cut.
#[must_use]
pub fn check(text: &str) -> Vec<Piece> {
    let words = words(text);
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < words.len() {
        let mut parser = Parser::new(&words[start..]);
        let longest = parser
            .ends(Grammar::get().rule("UNIT"), 0)
            .last()
            .copied()
            .filter(|&end| end > 0);
        let (end, verdict) = match longest {
            Some(end) => (start + end, Verdict::WellFormed),
            None if parser.ran_out => (words.len(), Verdict::Cut),
            None => (start + recover(&words[start..]), Verdict::Malformed),
        };
        pieces.push(Piece {
            text: words[start..end].join(" "),
            verdict,
        });
        start = end;
    }
    pieces
}

/// Whether a text is exactly one sentence of the grammar.
#[must_use]
pub fn is_well_formed(sentence: &str) -> bool {
    let pieces = check(sentence);
    pieces.len() == 1 && pieces[0].verdict == Verdict::WellFormed
}

/// Counts of well-formed and malformed sentences; cut ones are in neither.
#[must_use]
pub fn count_well_formed(text: &str) -> (usize, usize) {
    check(text)
        .iter()
        .fold((0, 0), |(good, bad), piece| match piece.verdict {
            Verdict::WellFormed => (good + 1, bad),
            Verdict::Malformed => (good, bad + 1),
            Verdict::Cut => (good, bad),
        })
}

/// After a malformed sentence: the number of words up to its closing mark.
fn recover(words: &[&str]) -> usize {
    let stop = words.iter().position(|w| matches!(*w, "." | "?" | "!"));
    stop.map_or(words.len(), |i| i + 1)
}

/// Words, numbers, `####` and single marks; white space only separates.
pub(crate) fn words(text: &str) -> Vec<&str> {
    let kind = |c: char| {
        if c.is_alphabetic() {
            1
        } else if c.is_ascii_digit() {
            2
        } else if c == '#' {
            3
        } else {
            0
        }
    };
    let mut out = Vec::new();
    for run in text.split_whitespace() {
        let mut from = 0;
        let mut before = None;
        for (at, c) in run.char_indices() {
            let now = kind(c);
            if before.is_some_and(|b| b != now || now == 0) {
                out.push(&run[from..at]);
                from = at;
            }
            before = Some(now);
        }
        out.push(&run[from..]);
    }
    out
}

/// A memoised recogniser: where can a symbol that begins at a word end?
struct Parser<'a> {
    words: &'a [&'a str],
    grammar: &'static Grammar,
    memo: HashMap<(usize, usize), Rc<BTreeSet<usize>>>,
    /// Set when some derivation still fitted at the end of the text.
    ran_out: bool,
}

impl<'a> Parser<'a> {
    fn new(words: &'a [&'a str]) -> Self {
        Self {
            words,
            grammar: Grammar::get(),
            memo: HashMap::new(),
            ran_out: false,
        }
    }

    fn ends(&mut self, rule: usize, at: usize) -> Rc<BTreeSet<usize>> {
        if let Some(known) = self.memo.get(&(rule, at)) {
            return Rc::clone(known);
        }
        let mut all = BTreeSet::new();
        let grammar = self.grammar;
        for production in grammar.productions(rule) {
            let mut here = BTreeSet::from([at]);
            for symbol in &production.symbols {
                let mut next = BTreeSet::new();
                for &from in &here {
                    match symbol {
                        Symbol::Rule(inner) => next.extend(self.ends(*inner, from).iter()),
                        terminal => next.extend(self.matches(terminal, from).then_some(from + 1)),
                    }
                }
                here = next;
                if here.is_empty() {
                    break;
                }
            }
            all.extend(here);
        }
        let all = Rc::new(all);
        self.memo.insert((rule, at), Rc::clone(&all));
        all
    }

    fn matches(&mut self, terminal: &Symbol, at: usize) -> bool {
        let Some(&word) = self.words.get(at) else {
            self.ran_out = true;
            return false;
        };
        let lowered;
        let mut candidates = [Some(word), None];
        if self.begins_sentence(at) {
            lowered = lower_first(word);
            if lowered != word {
                candidates = [
                    Some(word).filter(|w| *w == "I" || self.grammar.in_class("name", w)),
                    Some(&lowered),
                ];
            } else if word.chars().all(char::is_alphabetic) {
                return false; // a sentence begins with a capital
            }
        }
        candidates.into_iter().flatten().any(|word| match terminal {
            Symbol::Literal("a") => word == self.article(at),
            Symbol::Literal(literal) => {
                *literal == word || (at == 0 && *literal == self.words[0] && literal.len() == 1)
            }
            Symbol::Class(class) => self.grammar.in_class(class, word),
            Symbol::Rule(_) => false,
        })
    }

    /// Capitals stand at the beginning, inside an opening quotation mark, and after `Q:` or `A:`.
    fn begins_sentence(&self, at: usize) -> bool {
        at == 0
            || (at == 1 && self.words[0] == "\"")
            || (at == 2 && matches!(self.words[0], "Q" | "A") && self.words[1] == ":")
    }

    fn article(&self, at: usize) -> &'static str {
        if self.words.get(at + 1).is_some_and(|next| takes_an(next)) {
            "an"
        } else {
            "a"
        }
    }
}

fn lower_first(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|c| c.to_ascii_lowercase().to_string() + chars.as_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        for good in [
            "The captain hauled a net.",
            "I think that the captain hauled an anchor.",
            "In the end, Mara was happy.",
            "\"Where is the king?\" asked Tom.",
            "\"No, we must steer the boat!\" cried the sailor.",
            "This is a story about an old ship in the harbor.",
            "Q: Mara had 7 boats.",
            "A: 7 + 5 = 12.",
            "#### 12",
            "A long time ago, the ship was salty.",
        ] {
            assert!(is_well_formed(good), "{good}");
        }
        for bad in [
            "the captain hauled a net.",
            "The captain hauled an net.",
            "The captain hauled hauled a net.",
            "The captain a net.",
            "The captain hauled a zebra.",
            "The captain hauled a net",
            "",
        ] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn a_cut_sentence_is_neither() {
        let pieces = check("The captain hauled a net. The sailor wanted to");
        assert_eq!(
            pieces.iter().map(|p| p.verdict).collect::<Vec<_>>(),
            [Verdict::WellFormed, Verdict::Cut]
        );
        let pieces = check("The the captain. Mara was happy. He net");
        assert_eq!(
            pieces.iter().map(|p| p.verdict).collect::<Vec<_>>(),
            [Verdict::Malformed, Verdict::WellFormed, Verdict::Malformed]
        );
        assert_eq!(
            count_well_formed("The the captain. Mara was happy. He net"),
            (1, 2)
        );
    }
}
