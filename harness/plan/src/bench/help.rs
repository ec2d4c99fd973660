//! What the help of commands and their messages say of the kinds of benches, put together from what
//! the kinds declare.

use std::fmt::Write as _;

use super::{
    Kinds, RowKind, Setting,
    settings::{HelpPart, listed},
};

/// The heading of a part of the help with its place among the parts, for an option that gives a
/// setting.
pub fn part(part: HelpPart, setting: &Setting, all: Kinds) -> (usize, Option<String>) {
    match part {
        HelpPart::First => (0, None),
        HelpPart::Budget => (1, Some(BUDGET.to_owned())),
        HelpPart::OfKind(other) => {
            let name = other.unwrap_or(setting.name);
            let place = all.iter().position(|kind| kind.has(name));
            let heading = place.and_then(|place| heading(all, |kind| *kind == all[place]));
            (2 + place.unwrap_or_default(), heading)
        }
        HelpPart::OfKinds(words) => {
            let kinds = benches_of(all, |kind| kind.has(setting.name));
            (2 + all.len(), Some(format!("{words}, of {kinds}")))
        }
    }
}

/// The heading of the part about what is read.
pub const BUDGET: &str = "Budget";

/// The heading of the options of the first of the kinds that are such.
pub fn heading(all: Kinds, is_such: impl Fn(&RowKind) -> bool) -> Option<String> {
    let kind = all.iter().find(|kind| is_such(kind))?;
    let (first, rest) = kind.name().split_at_checked(1)?;
    Some(format!("{}{rest} benches", first.to_ascii_uppercase()))
}

/// The benches of those kinds that are such: `a, b and c benches`.
pub fn benches_of(all: Kinds, is_such: impl Fn(&RowKind) -> bool) -> String {
    let kinds = all.iter().filter(|kind| is_such(kind));
    let names: Vec<&str> = kinds.map(|kind| kind.name()).collect();
    format!("{} benches", listed(&names))
}

/// A line for each kind: its name, its benches and what they do.
pub fn summaries(all: Kinds) -> String {
    let widest = all.iter().map(|kind| kind.name().len()).max();
    let widest = widest.unwrap_or_default();
    let mut text = String::new();
    for kind in all {
        let _ = writeln!(text, "  {:widest$} {}", kind.name(), kind.0.summary);
    }
    text
}

/// Examples of a command, a line each: its own, then those of the kinds that call it.
pub fn examples(own: &[&str], command: &str, all: Kinds) -> String {
    let declared = all.iter().flat_map(|kind| kind.0.examples);
    let called = declared.filter(|example| example.starts_with(command));
    let examples: Vec<&str> = own.iter().chain(called).copied().collect();
    format!("Examples:\n  {}", examples.join("\n  "))
}
