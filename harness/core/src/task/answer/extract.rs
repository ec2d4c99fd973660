use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Number;
use super::marks::without_marks;
use super::scan::{Found, is_currency, is_minus, numbers};

/// What stands before the answer in the dataset's worked solutions.
const MARKER: &str = "####";

/// What stands before an answer in running text, in lower case.
const STATEMENTS: [&str; 2] = ["answer is", "final answer"];

const BOXED: &str = "\\boxed{";

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

    /// `strict` or `flexible`.
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
    let reply = Reply {
        text: &text,
        numbers: numbers(&text),
    };
    match how {
        Extraction::Strict => {
            let answer = reply.after_marker()?;
            if reply.goes_on(answer) {
                return None;
            }
            reply.numbers[answer].value
        }
        Extraction::Flexible => {
            if let Some(answer) = reply.after_marker() {
                return reply.end_of_sum(answer).value;
            }
            match reply.stated() {
                Some(value) => value,
                None => reply.numbers.last()?.value,
            }
        }
    }
}

/// The gold answer of a worked solution in GSM8K's form; `None` when it cannot be read.
pub fn gold(answer_text: &str) -> Option<Number> {
    extract(answer_text, Extraction::Strict)
}

/// A text with its numbers.
struct Reply<'a> {
    text: &'a str,
    numbers: Vec<Found>,
}

impl Reply<'_> {
    /// Index of the number that follows the last marker on its line.
    fn after_marker(&self) -> Option<usize> {
        let from = self.text.rfind(MARKER)? + MARKER.len();
        self.first_after(from, |c| {
            matches!(c, ' ' | '\t' | '\u{a0}' | '*') || is_currency(c)
        })
    }

    /// The value of the last answer stated in words or in a box; `Some(None)` when it cannot be read.
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
            .chain([BOXED])
            .flat_map(ends)
            .collect();
        places.sort_unstable();
        places.into_iter().rev().find_map(|(from, phrase)| {
            if phrase == BOXED {
                self.boxed(from)
            } else {
                let answer = self.first_after(from, |c| {
                    c.is_whitespace() || ":=*_\\([{\"'".contains(c) || is_currency(c)
                })?;
                Some(self.end_of_sum(answer).value)
            }
        })
    }

    /// The value of the last number of a box that opens before `from` and ends at the first bracket, line end or box.
    fn boxed(&self, from: usize) -> Option<Option<Number>> {
        let own = self.text[from..].split(BOXED).next()?;
        let inside = own.split(['}', '\n']).next()?;
        let until = from + inside.len();
        let last = self
            .numbers
            .partition_point(|n| n.end <= until)
            .checked_sub(1)?;
        let answer = self.numbers.get(last).filter(|n| n.start >= from)?;
        Some(answer.value.filter(|_| !inside.contains("frac")))
    }

    /// Index of the first number after a place, when only such characters stand between.
    fn first_after(&self, from: usize, between: impl Fn(char) -> bool) -> Option<usize> {
        let next = self.numbers.partition_point(|n| n.start < from);
        let number = self.numbers.get(next)?;
        self.text[from..number.start]
            .chars()
            .all(between)
            .then_some(next)
    }

    /// The last number of the sum or list that number `index` begins.
    fn end_of_sum(&self, mut index: usize) -> Found {
        while self.goes_on(index) {
            index += 1;
        }
        self.numbers[index]
    }

    /// Whether number `index` is joined to the next by operators, commas, a point or a colon, or is the whole part of a
    /// mixed number.
    fn goes_on(&self, index: usize) -> bool {
        let Some(next) = self.numbers.get(index + 1) else {
            return false;
        };
        let gap = &self.text[self.numbers[index].end..next.start];
        match gap.trim_matches([' ', '\t', '\u{a0}']) {
            // `18 18` is an answer given twice; `18 -3` is a difference and `1 3/4` a mixed number.
            "" => {
                let next = &self.text[next.start..next.end];
                next.contains('/') || next.starts_with(is_minus)
            }
            // Without blanks: `1.2.3`, `10:30`.
            "." | ":" => gap.len() == 1,
            // A bracket or a percent sign alone joins nothing: `18 (5 left)`.
            signs => {
                let joins = |c: char| is_minus(c) || ",+*\u{d7}\u{b7}\u{f7}\u{2013}/=".contains(c);
                let may_stand = |c: char| is_currency(c) || " \t\u{a0}()%".contains(c);
                signs.contains(joins) && signs.chars().all(|c| joins(c) || may_stand(c))
            }
        }
    }
}
