//! How numbers that follow each other belong together: sums, chains of equals, lists, alternatives.

use super::Number;
use super::scan::{Found, is_blank, is_currency, is_minus};

/// A longer text between two numbers joins nothing.
const LONGEST_GAP: usize = 64;

/// What stands between two numbers that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joint {
    /// They have nothing to do with each other: words, a bracket, the end of a sentence.
    Apart,
    /// Nothing but blanks.
    Blank,
    Equal,
    /// Something that makes one expression of both: `+`, `-`, `:`, a comma without a blank.
    Expression,
    /// `or`: one of them is left open.
    Or,
    /// An operator after a unit: `16 eggs - 3 eggs`, which may also be a pause.
    AfterUnit,
    /// A comma, `and` or a dash between blanks: a list, or a pause.
    Pause,
    /// `to`: a range.
    To,
}

/// Numbers that are joined, from the first of a place on.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    numbers: &'a [Found],
    /// Between each two of them.
    joints: Vec<Joint>,
    /// Whether a comma or the like follows, with a number that begins a new clause.
    is_cut: bool,
}

impl<'a> Offer<'a> {
    /// The first of some numbers of a text with those that it is joined to.
    pub(super) fn from(text: &str, numbers: &'a [Found]) -> Self {
        let mut joints: Vec<Joint> = numbers
            .windows(2)
            .map(|pair| joint(text, &pair[0], &pair[1]))
            .take_while(|joint| *joint != Joint::Apart)
            .collect();
        let is = |kind: Joint| move |joint: &Joint| *joint == kind;
        // A unit and a dash are a pause, unless a result follows.
        if let Some(at) = joints.iter().position(is(Joint::AfterUnit))
            && !joints[at..].contains(&Joint::Equal)
        {
            joints.truncate(at);
        }
        // Words after the last number begin a new clause with it: `18, 2 more than 16`.
        let pause = joints.iter().position(is(Joint::Pause));
        let cut = pause.filter(|_| !ends_clause(&text[numbers[joints.len()].end..]));
        joints.truncate(cut.unwrap_or(joints.len()));
        Self {
            numbers: &numbers[..numbers.len().min(joints.len() + 1)],
            joints,
            is_cut: cut.is_some(),
        }
    }

    /// The last of the numbers of a text, with the expression that it ends.
    pub(super) fn last(text: &str, numbers: &'a [Found]) -> Self {
        let joints: Vec<Joint> = numbers
            .windows(2)
            .rev()
            .map(|pair| joint(text, &pair[0], &pair[1]))
            .take_while(|joint| !matches!(joint, Joint::Apart | Joint::Pause | Joint::To))
            .collect();
        // From the left again.
        let mut joints: Vec<Joint> = joints.into_iter().rev().collect();
        if let Some(at) = joints.iter().rposition(|joint| *joint == Joint::AfterUnit)
            && !joints.contains(&Joint::Equal)
        {
            joints.drain(..=at);
        }
        Self {
            numbers: &numbers[numbers.len().saturating_sub(joints.len() + 1)..],
            joints,
            is_cut: false,
        }
    }

    /// How many numbers it holds.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether it is one number, said once or several times, and neither an expression nor the
    /// begin of what looks like a list.
    pub(super) fn is_one_number(&self) -> bool {
        !self.is_cut && self.joints.iter().all(|joint| *joint == Joint::Blank)
    }

    /// The number that is offered: the only one, or what stands after the last equals sign for
    /// itself. `None` when it cannot be read or when several different numbers are offered.
    pub(super) fn value(&self) -> Option<Number> {
        let parts = self.split(|joint| matches!(joint, Joint::Pause | Joint::Or));
        let mut values = parts.iter().map(Offer::result);
        let first = values.next()??;
        values.all(|value| value == Some(first)).then_some(first)
    }

    /// The value of a part without pauses and alternatives.
    fn result(&self) -> Option<Number> {
        let sides = self.split(|joint| *joint == Joint::Equal);
        sides
            .iter()
            .rev()
            .find(|side| side.is_one_number())?
            .single()
    }

    /// The number that is said, once or several times.
    fn single(&self) -> Option<Number> {
        let first = self.numbers.first()?.value?;
        let is_same = |number: &Found| number.value == Some(first);
        self.numbers.iter().all(is_same).then_some(first)
    }

    /// The parts between joints of some kinds.
    fn split(&self, at: impl Fn(&Joint) -> bool) -> Vec<Offer<'a>> {
        let mut parts = Vec::new();
        let mut first = 0;
        for joints in self.joints.split(at) {
            let end = (first + joints.len() + 1).min(self.numbers.len());
            parts.push(Offer {
                numbers: &self.numbers[first..end],
                joints: joints.to_vec(),
                is_cut: false,
            });
            first = end;
        }
        parts
    }
}

/// Whether nothing but brackets, signs and the end of the sentence or line comes after a number.
pub(super) fn ends_clause(rest: &str) -> bool {
    let may_stand = |c: char| is_blank(c) || is_currency(c) || "*_`\"')]%".contains(c);
    rest.trim_start_matches(may_stand)
        .chars()
        .next()
        .is_none_or(|c| ".!?;}\u{3002}".contains(c) || c.is_control())
}

/// How two numbers that follow each other in a text are joined.
fn joint(text: &str, number: &Found, next: &Found) -> Joint {
    let gap = &text[number.end..next.start];
    if gap.len() > LONGEST_GAP {
        return Joint::Apart;
    }
    // Bold type and brackets say nothing of how numbers are joined; `2**3` without blanks is a
    // power.
    let lower = gap.to_ascii_lowercase();
    let bare: String = match lower.as_str() {
        "**" => "^".to_owned(),
        _ => lower.replace("**", ""),
    };
    let is_bracket = |c: char| matches!(c, '(' | ')' | '[' | ']' | '%');
    let bare: String = bare
        .chars()
        .filter(|c| !is_bracket(*c) && !is_currency(*c) && !matches!(c, '_' | '`' | '"'))
        .collect();
    let bare = bare.trim_matches(is_blank);
    if bare.contains(char::is_control) {
        // A line that begins with an equals sign goes on with the sum above it.
        return match bare.trim() {
            "=" => Joint::Equal,
            _ => Joint::Apart,
        };
    }
    match bare {
        // `18 (5 left)` has two numbers; `18 -3` is a difference.
        "" if gap.contains(is_bracket) => Joint::Apart,
        "" if text[next.start..].starts_with(is_minus) => Joint::Expression,
        "" => Joint::Blank,
        // `1.2.3`, `10:30`, `3,4`; with blanks a sentence ends, a label begins, a list goes on.
        "." | ":" | "," if gap.len() == 1 => Joint::Expression,
        "." | ":" => Joint::Apart,
        "," | "and" | ", and" | "&" | "\u{2014}" => Joint::Pause,
        "\u{2013}" if gap.starts_with(is_blank) => Joint::Pause,
        _ => words(bare).unwrap_or_else(|| match unit(bare) {
            Some(rest) => match words(rest) {
                Some(Joint::Expression) => Joint::AfterUnit,
                Some(joint) => joint,
                None => Joint::Apart,
            },
            None => Joint::Apart,
        }),
    }
}

/// What signs and words of arithmetic, or an alternative, join numbers to; `None` of anything else.
fn words(bare: &str) -> Option<Joint> {
    match bare.trim_start_matches([',', ' ']) {
        "or" | "and/or" | "or maybe" | "or perhaps" | "or even" => return Some(Joint::Or),
        "to" | "through" => return Some(Joint::To),
        "equals" => return Some(Joint::Equal),
        "plus" | "minus" | "times" | "x" | "divided by" | "multiplied by" => {
            return Some(Joint::Expression);
        }
        _ => {}
    }
    let is_equal = |c: char| matches!(c, '=' | '\u{2248}');
    let is_operator =
        |c: char| is_minus(c) || is_equal(c) || "+*/^:<>,\u{d7}\u{b7}\u{f7}\u{2013}".contains(c);
    let is_arithmetic = !bare.is_empty() && bare.chars().all(|c| is_operator(c) || is_blank(c));
    is_arithmetic.then(|| match bare.contains(is_equal) {
        true => Joint::Equal,
        false => Joint::Expression,
    })
}

/// What follows the unit that a text begins with: one word, with its exponent.
fn unit(bare: &str) -> Option<&str> {
    let is_unit = |c: char| c.is_alphanumeric() || matches!(c, '\u{b0}' | '^' | '/' | '\'');
    let rest = bare.trim_start_matches(is_unit);
    (rest.len() < bare.len()).then(|| rest.trim_start_matches(is_blank))
}
