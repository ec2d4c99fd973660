//! The writer: expands the grammar for one document, keeping to its topic and its small cast of
//! words.

use crate::grammar::{Grammar, Symbol};
use crate::inflect::{capitalised, gerund, past, plural, takes_an};
use crate::lexicon::Topic;
use crate::rng::Draws;
use crate::shared::{ADJECTIVES, ADVERBS, COUNTS, FEELINGS, NAMES_HE, NAMES_SHE, VERBS};

/// How often a content word comes from the document's cast instead of its whole topic.
const CAST_SHARE: f64 = 0.7;
/// How often a content word of a document with two topics comes from the second.
const SECOND_TOPIC_SHARE: f64 = 0.35;

/// A person a document is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hero {
    pub name: &'static str,
    pub she: bool,
}

impl Hero {
    pub fn draw(draws: &mut Draws) -> Self {
        let she = draws.chance(0.5);
        Self {
            name: draws.pick(if she { NAMES_SHE } else { NAMES_HE }),
            she,
        }
    }

    pub fn pronoun(self) -> &'static str {
        if self.she { "she" } else { "he" }
    }

    fn possessive(self) -> &'static str {
        if self.she { "her" } else { "his" }
    }
}

/// The words a document comes back to.
struct Cast {
    topic: &'static Topic,
    persons: Vec<&'static str>,
    things: Vec<&'static str>,
    places: Vec<&'static str>,
    adjectives: Vec<&'static str>,
    transitive: Vec<&'static str>,
    intransitive: Vec<&'static str>,
}

impl Cast {
    fn draw(topic: &'static Topic, draws: &mut Draws) -> Self {
        let mut some = |list: &[&'static str], n: usize| {
            (0..n).map(|_| skewed(list, draws)).collect::<Vec<_>>()
        };
        Self {
            topic,
            persons: some(topic.persons, 2),
            things: some(topic.things, 4),
            places: some(topic.places, 2),
            adjectives: some(topic.adjectives, 3),
            transitive: some(topic.transitive, 3),
            intransitive: some(topic.intransitive, 2),
        }
    }

    fn word(&self, class: &str, draws: &mut Draws) -> Option<&'static str> {
        let (cast, all) = match class {
            "person" | "persons" => (&self.persons, self.topic.persons),
            "thing" | "things" => (&self.things, self.topic.things),
            "place" => (&self.places, self.topic.places),
            "adj" => (&self.adjectives, self.topic.adjectives),
            "vt" | "vted" | "vting" => (&self.transitive, self.topic.transitive),
            "vi" | "vied" | "viing" => (&self.intransitive, self.topic.intransitive),
            _ => return None,
        };
        Some(if draws.chance(CAST_SHARE) {
            draws.pick(cast)
        } else {
            skewed(all, draws)
        })
    }
}

/// Earlier words of a list are drawn more often, as in real text.
fn skewed(list: &[&'static str], draws: &mut Draws) -> &'static str {
    list[draws.weighted((0..list.len()).map(|i| 1.0 / (i as f64 + 6.0)))]
}

/// Writes the sentences of one document.
pub(crate) struct Writer {
    draws: Draws,
    casts: Vec<Cast>,
    hero: Hero,
    other: Hero,
    hero_known: bool,
}

impl Writer {
    /// A writer for one or two topics.
    pub fn new(topics: &[&'static Topic], mut draws: Draws) -> Self {
        let casts = topics.iter().map(|t| Cast::draw(t, &mut draws)).collect();
        let hero = Hero::draw(&mut draws);
        let other = Hero::draw(&mut draws);
        Self {
            draws,
            casts,
            hero,
            other,
            hero_known: false,
        }
    }

    /// Whatever else has to be drawn for the document.
    pub fn draws(&mut self) -> &mut Draws {
        &mut self.draws
    }

    /// The person the document is about.
    pub fn hero(&self) -> Hero {
        self.hero
    }

    /// A content word of the document's topics.
    pub fn content(&mut self, class: &str) -> Option<String> {
        let second = self.casts.len() > 1 && self.draws.chance(SECOND_TOPIC_SHARE);
        let base = self.casts[usize::from(second)].word(class, &mut self.draws)?;
        Some(match class {
            "persons" | "things" => plural(base),
            "vted" | "vied" => past(base),
            "vting" | "viing" => gerund(base),
            _ => base.to_owned(),
        })
    }

    /// One sentence, from the rule of this name.
    pub fn sentence(&mut self, rule: &str) -> String {
        let mut words = Vec::new();
        self.expand(Grammar::get().rule(rule), &mut words);
        spell(&words)
    }

    fn expand(&mut self, rule: usize, out: &mut Vec<String>) {
        let ways = Grammar::get().productions(rule);
        let way = &ways[self.draws.weighted(ways.iter().map(|w| w.weight))];
        for symbol in &way.symbols {
            match symbol {
                Symbol::Literal(word) => out.push((*word).to_owned()),
                Symbol::Class(class) => {
                    let word = self.word(class);
                    out.push(word);
                }
                Symbol::Rule(inner) => self.expand(*inner, out),
            }
        }
    }

    fn word(&mut self, class: &str) -> String {
        if let Some(word) = self.content(class) {
            return word;
        }
        let draws = &mut self.draws;
        let word = match class {
            "adv" => draws.pick(ADVERBS),
            "gadj" => draws.pick(ADJECTIVES),
            "feel" => draws.pick(FEELINGS),
            "count" => draws.pick(COUNTS),
            "gvted" => draws.pick(VERBS).1,
            "poss" => self.hero.possessive(),
            // A pronoun needs somebody it stands for.
            "pron" if self.hero_known => self.hero.pronoun(),
            _ => {
                let hero = draws.chance(0.7);
                self.hero_known |= hero;
                if hero {
                    self.hero.name
                } else {
                    self.other.name
                }
            }
        };
        word.to_owned()
    }
}

/// Joins words and marks into a sentence: spacing, `a` or `an`, capitals.
fn spell(words: &[String]) -> String {
    let mut out = String::new();
    let mut open = false;
    let mut capital = true;
    for (i, word) in words.iter().enumerate() {
        let quote = word == "\"";
        let closes = matches!(word.as_str(), "." | "," | "?" | "!") || (quote && open);
        let just_opened = open && out == "\"";
        if !(out.is_empty() || closes || just_opened) {
            out.push(' ');
        }
        let word = match words.get(i + 1) {
            Some(next) if word == "a" && takes_an(next) => "an",
            _ => word,
        };
        if capital && !quote {
            out.push_str(&capitalised(word));
            capital = false;
        } else {
            out.push_str(word);
        }
        open ^= quote;
    }
    out
}
