//! The generator's grammar: one set of weighted productions that both the writer and the checker
//! read.
//!
//! Symbols are words and marks as they stand in a text, `<class>` for a word of a class, and NAMES
//! in capitals for what has productions. No production begins with its own left side.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use crate::inflect::{gerund, past, plural};
use crate::lexicon::TOPICS;
use crate::shared::{self, Opening};

/// Productions: left side, then (weight, right side). Weights only matter to the writer.
const RULES: &[(&str, &[(f64, &str)])] = &[
    (
        "UNIT",
        &[(1.0, "SENT"), (1.0, "ASK"), (1.0, "SAY"), (1.0, "PROBLEM")],
    ),
    (
        "SENT",
        &[
            (30.0, "CLAUSE ."),
            (10.0, "TIME , CLAUSE ."),
            (7.0, "CLAUSE TIME ."),
            (6.0, "CLAUSE , and CLAUSE ."),
            (5.0, "CLAUSE , but CLAUSE ."),
            (6.0, "CLAUSE because CLAUSE ."),
            (5.0, "when CLAUSE , CLAUSE ."),
            (3.0, "there was a NOUN PLACE ."),
            (3.0, "there was a ADJ NOUN PLACE ."),
            (3.0, "there were <count> ADJ <things> PLACE ."),
            (9.0, "OPENED"),
        ],
    ),
    (
        "CLAUSE",
        &[
            (22.0, "AGENT <vted> OBJ"),
            (10.0, "AGENT <gvted> OBJ"),
            (8.0, "AGENT <vied> PLACE"),
            (5.0, "AGENT <vied> <adv>"),
            (5.0, "AGENT <vied> with the <person>"),
            (6.0, "AGENT wanted to <vt> OBJ"),
            (4.0, "AGENT started to <vi> PLACE"),
            (6.0, "AGENT was <vting> OBJ"),
            (3.0, "AGENT was <viing> PLACE"),
            (6.0, "AGENT went to the <place>"),
            (4.0, "AGENT gave OBJ to the <person>"),
            (5.0, "AGENT was <feel>"),
            (7.0, "the <thing> was ADJ"),
            (3.0, "the <thing> was ADJ and ADJ"),
            (3.0, "the <place> was ADJ"),
            (3.0, "the <things> were ADJ"),
            (4.0, "the <person> <adv> <vted> OBJ"),
            (3.0, "nobody could <vt> OBJ"),
        ],
    ),
    (
        "AGENT",
        &[
            (7.0, "the <person>"),
            (5.0, "<name>"),
            (5.0, "<pron>"),
            (2.0, "the ADJ <person>"),
            (2.0, "the <persons>"),
        ],
    ),
    (
        "OBJ",
        &[
            (9.0, "the <thing>"),
            (4.0, "a <thing>"),
            (4.0, "the ADJ <thing>"),
            (3.0, "a ADJ <thing>"),
            (3.0, "<count> <things>"),
            (2.0, "<poss> <thing>"),
            (2.0, "the <things>"),
        ],
    ),
    ("ADJ", &[(3.0, "<adj>"), (2.0, "<gadj>")]),
    (
        "PLACE",
        &[
            (6.0, "in the <place>"),
            (4.0, "near the <place>"),
            (2.0, "behind the <thing>"),
            (2.0, "at the <place>"),
        ],
    ),
    (
        "NOUN",
        &[(3.0, "<person>"), (5.0, "<thing>"), (2.0, "<place>")],
    ),
    (
        "NBAR",
        &[
            (3.0, "NOUN"),
            (2.0, "ADJ NOUN"),
            (1.0, "<things>"),
            (1.0, "<persons>"),
        ],
    ),
    (
        "NP",
        &[
            (4.0, "the NOUN"),
            (3.0, "a NOUN"),
            (2.0, "a ADJ NOUN"),
            (2.0, "the ADJ NOUN"),
            (2.0, "<count> <things>"),
            (1.0, "the <persons>"),
        ],
    ),
    ("TAIL", &[(3.0, ""), (2.0, "PLACE"), (1.0, "and the NBAR")]),
    (
        "TIME",
        &[
            (2.0, "in the morning"),
            (2.0, "at night"),
            (2.0, "the next day"),
            (2.0, "after lunch"),
            (2.0, "in the evening"),
            (1.0, "last summer"),
            (1.0, "on Monday"),
            (1.0, "every day"),
            (1.0, "one day"),
            (1.0, "at noon"),
        ],
    ),
    // The openings of prefixes.txt are added as productions of THAT, ABOUT and THE.
    (
        "OPENED",
        &[
            (31.0, "THAT CLAUSE ."),
            (10.0, "ABOUT NP TAIL ."),
            (9.0, "THE NBAR TAIL ."),
        ],
    ),
    ("ASK", &[(1.0, "\" QUESTION ? \" asked SPEAKER .")]),
    (
        "QUESTION",
        &[
            (4.0, "where is the NOUN"),
            (4.0, "did you <vt> OBJ"),
            (3.0, "can you <vt> OBJ"),
            (3.0, "do you like the <thing>"),
            (3.0, "who <vted> OBJ"),
            (2.0, "why is the <thing> ADJ"),
            (2.0, "can we <vi> PLACE"),
            (2.0, "why did AGENT <vt> OBJ"),
        ],
    ),
    (
        "SAY",
        &[
            (5.0, "\" REPLY , \" said SPEAKER ."),
            (2.0, "\" REPLY ! \" cried SPEAKER ."),
            (2.0, "\" REPLY , \" answered SPEAKER ."),
        ],
    ),
    (
        "REPLY",
        &[(4.0, "yes , REMARK"), (3.0, "no , REMARK"), (4.0, "REMARK")],
    ),
    (
        "REMARK",
        &[
            (5.0, "I <vted> OBJ"),
            (3.0, "I love the <thing>"),
            (4.0, "we must <vt> OBJ"),
            (3.0, "the <thing> is PLACE"),
            (3.0, "the <person> <vted> OBJ"),
            (2.0, "the NOUN is ADJ"),
            (2.0, "please <vt> OBJ"),
            (2.0, "let us <vi> PLACE"),
        ],
    ),
    ("SPEAKER", &[(4.0, "<name>"), (3.0, "the <person>")]),
    // Word problems are composed by `problem`, which keeps the sums right; these are only ever
    // read.
    (
        "PROBLEM",
        &[
            (1.0, "Q : HAD"),
            (1.0, "HAD"),
            (1.0, "MOVE"),
            (1.0, "how many <things> HOWMANY ?"),
            (1.0, "A : SUM ."),
            (1.0, "SUM ."),
            (1.0, "OWNER has <int> <things> ."),
            (1.0, "there are <int> <things> ."),
            (1.0, "#### <int>"),
        ],
    ),
    (
        "HAD",
        &[
            (1.0, "OWNER had <int> <things> ."),
            (1.0, "there were <int> <things> in the <place> ."),
            (1.0, "there were <int> <persons> in the <place> ."),
        ],
    ),
    (
        "MOVE",
        &[
            (1.0, "<pron> bought <int> more <things> ."),
            (1.0, "<pron> found <int> more <things> ."),
            (1.0, "<pron> lost <int> <things> ."),
            (1.0, "<pron> sold <int> <things> ."),
            (1.0, "each <person> had <int> <things> ."),
        ],
    ),
    (
        "HOWMANY",
        &[(1.0, "does OWNER have now"), (1.0, "were there in all")],
    ),
    ("OWNER", &[(1.0, "<name>"), (1.0, "the <person>")]),
    (
        "SUM",
        &[
            (1.0, "<int> + <int> = <int>"),
            (1.0, "<int> - <int> = <int>"),
            (1.0, "<int> * <int> = <int>"),
        ],
    ),
];

/// One symbol of a production.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Symbol {
    /// A word or mark as it stands.
    Literal(&'static str),
    /// Any word of a class.
    Class(&'static str),
    /// Something with productions, by its index.
    Rule(usize),
}

/// One way to write something.
#[derive(Debug)]
pub(crate) struct Production {
    pub weight: f64,
    pub symbols: Vec<Symbol>,
}

/// The compiled grammar with its lexicon.
pub(crate) struct Grammar {
    names: HashMap<&'static str, usize>,
    rules: Vec<Vec<Production>>,
    words: HashMap<&'static str, HashSet<String>>,
}

impl Grammar {
    /// The one grammar, compiled on first use.
    pub fn get() -> &'static Self {
        static GRAMMAR: OnceLock<Grammar> = OnceLock::new();
        GRAMMAR.get_or_init(Self::compile)
    }

    pub fn productions(&self, rule: usize) -> &[Production] {
        &self.rules[rule]
    }

    /// The index of a rule by its name. Every name in this crate's source is checked by a test.
    pub fn rule(&self, name: &str) -> usize {
        self.names.get(name).copied().unwrap_or_default()
    }

    /// Whether `word` (as written inside a sentence) belongs to `class`.
    pub fn in_class(&self, class: &str, word: &str) -> bool {
        if class == "int" {
            return !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        }
        self.words
            .get(class)
            .is_some_and(|words| words.contains(word))
    }

    /// Every word type the grammar can write, lower case except names, `I` and days.
    pub fn vocabulary(&self) -> HashSet<String> {
        let literals = self
            .rules
            .iter()
            .flatten()
            .flat_map(|p| &p.symbols)
            .filter_map(|s| match s {
                Symbol::Literal(word) if word.chars().all(char::is_alphabetic) => {
                    Some((*word).to_owned())
                }
                _ => None,
            });
        self.words
            .values()
            .flatten()
            .cloned()
            .chain(literals)
            .collect()
    }

    fn compile() -> Self {
        let mut names: HashMap<&'static str, usize> = RULES
            .iter()
            .enumerate()
            .map(|(i, (n, _))| (*n, i))
            .collect();
        for extra in ["THAT", "ABOUT", "THE"] {
            let next = names.len();
            names.insert(extra, next);
        }
        let mut rules: Vec<Vec<Production>> = RULES
            .iter()
            .map(|(_, ways)| {
                ways.iter()
                    .map(|(weight, text)| Production {
                        weight: *weight,
                        symbols: symbols(text, &names),
                    })
                    .collect()
            })
            .collect();
        rules.resize_with(names.len(), Vec::new);
        for prefix in shared::prefixes() {
            let name = match Opening::of(prefix) {
                Opening::Clause => "THAT",
                Opening::NounPhrase => "ABOUT",
                Opening::Noun => "THE",
            };
            rules[names[name]].push(Production {
                weight: 1.0,
                symbols: opening(prefix),
            });
        }
        Self {
            names,
            rules,
            words: classes(),
        }
    }
}

fn symbols(text: &'static str, names: &HashMap<&'static str, usize>) -> Vec<Symbol> {
    text.split_whitespace()
        .map(|word| {
            if let Some(class) = word.strip_prefix('<').and_then(|w| w.strip_suffix('>')) {
                Symbol::Class(class)
            } else {
                names
                    .get(word)
                    .map_or(Symbol::Literal(word), |&rule| Symbol::Rule(rule))
            }
        })
        .collect()
}

/// The tokens of an opening, its first word in lower case unless it is `I`.
fn opening(prefix: &'static str) -> Vec<Symbol> {
    let lower = |word: &'static str| match word {
        "The" => "the",
        "It" => "it",
        "My" => "my",
        "We" => "we",
        "He" => "he",
        "She" => "she",
        "They" => "they",
        "In" => "in",
        "At" => "at",
        "As" => "as",
        "To" => "to",
        "One" => "one",
        "A" => "a",
        "This" => "this",
        "Let" => "let",
        "After" => "after",
        "Early" => "early",
        "Before" => "before",
        "There" => "there",
        "Today" => "today",
        "Last" => "last",
        "Yesterday" => "yesterday",
        "Every" => "every",
        "Everyone" => "everyone",
        "Nobody" => "nobody",
        "People" => "people",
        other => other,
    };
    let mut out = Vec::new();
    for word in prefix.split(' ') {
        let bare = word.trim_end_matches(',');
        out.push(Symbol::Literal(if out.is_empty() {
            lower(bare)
        } else {
            bare
        }));
        if bare.len() != word.len() {
            out.push(Symbol::Literal(","));
        }
    }
    out
}

fn classes() -> HashMap<&'static str, HashSet<String>> {
    let mut words: HashMap<&'static str, HashSet<String>> = HashMap::new();
    let mut add = |class: &'static str, word: String| {
        words.entry(class).or_default().insert(word);
    };
    for topic in TOPICS {
        for noun in topic.persons {
            add("person", (*noun).to_owned());
            add("persons", plural(noun));
        }
        for noun in topic.things {
            add("thing", (*noun).to_owned());
            add("things", plural(noun));
        }
        topic
            .places
            .iter()
            .for_each(|w| add("place", (*w).to_owned()));
        topic
            .adjectives
            .iter()
            .for_each(|w| add("adj", (*w).to_owned()));
        for verb in topic.transitive {
            add("vt", (*verb).to_owned());
            add("vted", past(verb));
            add("vting", gerund(verb));
        }
        for verb in topic.intransitive {
            add("vi", (*verb).to_owned());
            add("vied", past(verb));
            add("viing", gerund(verb));
        }
    }
    for (class, list) in [
        ("name", shared::NAMES_SHE),
        ("name", shared::NAMES_HE),
        ("adv", shared::ADVERBS),
        ("gadj", shared::ADJECTIVES),
        ("feel", shared::FEELINGS),
        ("count", shared::COUNTS),
        ("pron", &["he", "she"]),
        ("poss", &["his", "her"]),
    ] {
        list.iter().for_each(|w| add(class, (*w).to_owned()));
    }
    shared::VERBS
        .iter()
        .for_each(|(_, past)| add("gvted", (*past).to_owned()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_is_known() {
        let grammar = Grammar::get();
        assert!(
            RULES
                .iter()
                .all(|(name, ways)| !ways.is_empty() && grammar.rule(name) < grammar.rules.len())
        );
        assert!(grammar.rules.iter().all(|ways| !ways.is_empty()));
        for symbol in grammar.rules.iter().flatten().flat_map(|p| &p.symbols) {
            match symbol {
                Symbol::Class(class) => assert!(
                    *class == "int" || grammar.words.contains_key(class),
                    "{class}"
                ),
                Symbol::Literal(word) => {
                    let shouted = word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase());
                    assert!(!shouted, "{word} has no productions");
                }
                Symbol::Rule(_) => {}
            }
        }
    }

    #[test]
    fn openings_stand_in_lower_case() {
        for prefix in shared::prefixes() {
            let Symbol::Literal(first) = opening(prefix)[0] else {
                panic!("{prefix}")
            };
            assert!(
                first == "I" || first.starts_with(|c: char| c.is_ascii_lowercase()),
                "{prefix}"
            );
        }
    }
}
