use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Number;
use super::marks::without_marks;
use super::notation::{BOXED, UNREADABLE, plain};
use super::offer::{Offer, ends_clause};
use super::scan::{Found, is_blank, is_currency, numbers};

/// What stands before the answer in the dataset's worked solutions.
const MARKER: &str = "####";

/// What stands before an answer in running text, in lower case.
const STATEMENTS: [&str; 2] = ["answer is", "final answer"];

/// What stands before an answer that is alone in its sentence, in lower case.
const LABEL: &str = "answer:";

/// Words that may stand between a statement and its number.
const FILLERS: [&str; 13] = [
    "about",
    "approximately",
    "around",
    "roughly",
    "exactly",
    "just",
    "only",
    "simply",
    "therefore",
    "thus",
    "equal",
    "equals",
    "to",
];

/// How an answer is read from a text; the module says exactly how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extraction {
    /// The number after the last `####`, the form that was asked for.
    Strict,
    /// That, or an answer stated in words, or the last number.
    Flexible,
}

/// A name of no extraction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown way to read answers `{0}`: strict or flexible")]
pub struct UnknownExtraction(pub String);

impl Extraction {
    /// Both, the strict one first.
    pub const ALL: [Extraction; 2] = [Extraction::Strict, Extraction::Flexible];

    pub const fn name(self) -> &'static str {
        match self {
            Extraction::Strict => "strict",
            Extraction::Flexible => "flexible",
        }
    }
}

impl fmt::Display for Extraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Extraction {
    type Err = UnknownExtraction;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Extraction::ALL
            .into_iter()
            .find(|how| how.name() == name)
            .ok_or_else(|| UnknownExtraction(name.to_owned()))
    }
}

/// The answer a text gives; `None` when there is none or its number cannot be read.
pub fn extract(text: &str, how: Extraction) -> Option<Number> {
    let text = without_marks(text);
    let text = plain(&text);
    let reply = Reply::of(&text);
    match how {
        Extraction::Strict => reply.strict(reply.after_marker()?),
        Extraction::Flexible => match reply.after_marker() {
            Some(answer) => reply.offer(answer, reply.all()).value(),
            None => reply.stated().unwrap_or_else(|| reply.last()),
        },
    }
}

/// The gold answer of a worked solution in GSM8K's form; `None` when it cannot be read, or when its
/// line holds another number too (`#### 3 or 4`, `#### 7 apples in 2 boxes`): no part of an answer
/// stands for it.
pub fn gold(answer_text: &str) -> Option<Number> {
    let text = without_marks(answer_text);
    let text = plain(&text);
    let reply = Reply::of(&text);
    let answer = reply.after_marker()?;
    let value = reply.strict(answer)?;
    let line_end = text[reply.numbers[answer].end..]
        .find('\n')
        .map_or(text.len(), |at| reply.numbers[answer].end + at);
    let of_line = reply.numbers[answer..].iter();
    of_line
        .take_while(|number| number.start < line_end)
        .all(|number| number.value == Some(value))
        .then_some(value)
}

/// A text with its numbers.
struct Reply<'a> {
    text: &'a str,
    numbers: Vec<Found>,
}

/// A piece of a text: where it ends, and how many of the text's numbers there are up to its end.
#[derive(Clone, Copy)]
struct Piece {
    end: usize,
    numbers: usize,
}

impl<'a> Reply<'a> {
    fn of(text: &'a str) -> Self {
        Reply {
            text,
            numbers: numbers(text),
        }
    }

    /// The whole text.
    fn all(&self) -> Piece {
        Piece {
            end: self.text.len(),
            numbers: self.numbers.len(),
        }
    }

    /// What is offered from number `first` on, within a piece of the text.
    fn offer(&self, first: usize, piece: Piece) -> Offer<'_> {
        Offer::from(&self.text[..piece.end], &self.numbers[first..piece.numbers])
    }

    /// The number `first`, when nothing but itself stands there.
    fn strict(&self, first: usize) -> Option<Number> {
        let offer = self.offer(first, self.all());
        offer.is_one_number().then(|| offer.value()).flatten()
    }

    /// The last number of the text.
    fn last(&self) -> Option<Number> {
        Offer::last(self.text, &self.numbers).value()
    }

    /// Index of the number that follows the last marker on its line.
    fn after_marker(&self) -> Option<usize> {
        let from = self.text.rfind(MARKER)? + MARKER.len();
        self.first_after(from, |between| {
            between
                .chars()
                .all(|c| is_blank(c) || c == '*' || is_currency(c))
        })
    }

    /// The value of the last answer stated in words or in a box; `Some(None)` when it cannot be
    /// read.
    fn stated(&self) -> Option<Option<Number>> {
        let lower = self.text.to_ascii_lowercase();
        let ends = |phrase: &'static str| {
            let ends = lower
                .match_indices(phrase)
                .map(move |(at, _)| at + phrase.len());
            ends.map(move |end| (end, phrase))
        };
        let mut places: Vec<(usize, &str)> = STATEMENTS
            .into_iter()
            .chain([LABEL, BOXED])
            .flat_map(ends)
            .collect();
        places.sort_unstable();
        places.into_iter().rev().find_map(|(from, phrase)| {
            if phrase == BOXED {
                return self.boxed(from);
            }
            let answer = self.first_after(from, leads_to_number)?;
            match phrase {
                LABEL => self.alone(answer).map(Some),
                _ => Some(self.offer(answer, self.all()).value()),
            }
        })
    }

    /// The value of a box that opens before `from` and ends at its bracket, the line's end or the
    /// next box: its only number, or what its numbers together offer.
    fn boxed(&self, from: usize) -> Option<Option<Number>> {
        let own = self.text[from..].split(BOXED).next()?;
        let inside = own.split(['}', '\n']).next()?;
        let first = self.numbers.partition_point(|n| n.start < from);
        let piece = Piece {
            end: from + inside.len(),
            numbers: self
                .numbers
                .partition_point(|n| n.end <= from + inside.len()),
        };
        if first >= piece.numbers {
            return inside.contains(UNREADABLE).then_some(None);
        }
        let offer = self.offer(first, piece);
        let rest = &self.numbers[first + offer.len()..piece.numbers];
        let value = offer.value();
        // A second number that is not joined to the first leaves open which is meant.
        Some(value.filter(|_| rest.iter().all(|number| number.value == value)))
    }

    /// Number `index`, when it has its sentence for itself but for a unit: `Answer: 18 eggs.`, not
    /// the first number of a working.
    fn alone(&self, index: usize) -> Option<Number> {
        let after = self.text[self.numbers[index].end..].trim_start_matches(is_blank);
        let unit_end = after.find(|c: char| !c.is_alphabetic());
        let end = self.text.len() - after.len() + unit_end.unwrap_or(after.len());
        // What a number offers may be read to the end of the text, so that is looked at last.
        if !ends_clause(&self.text[end..]) {
            return None;
        }
        self.strict(index)
    }

    /// Index of the first number after a place, when what stands between leads to it.
    fn first_after(&self, from: usize, leads: impl Fn(&str) -> bool) -> Option<usize> {
        let next = self.numbers.partition_point(|n| n.start < from);
        let number = self.numbers.get(next)?;
        leads(&self.text[from..number.start]).then_some(next)
    }
}

/// Whether a statement goes on to its number through this text: signs, brackets, some words, a
/// variable that is equal to the number.
fn leads_to_number(between: &str) -> bool {
    let is_sign = |c: char| {
        c.is_whitespace() || is_currency(c) || ":=*_\\([{\"'`~\u{2248}\u{2009}".contains(c)
    };
    let mut rest = between.trim_start_matches(is_sign);
    while !rest.is_empty() {
        let word_end = rest.find(|c: char| !c.is_ascii_alphabetic());
        let (word, after) = rest.split_at(word_end.unwrap_or(rest.len()));
        let is_variable = word.len() == 1 && after.trim_start().starts_with('=');
        let is_filler = FILLERS.iter().any(|known| word.eq_ignore_ascii_case(known));
        if !is_variable && !is_filler {
            return false;
        }
        rest = after.trim_start_matches(is_sign);
    }
    true
}
