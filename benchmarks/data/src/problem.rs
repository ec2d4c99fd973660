//! Arithmetic word problems that end in `#### N`, the form GSM8K made common.

use crate::inflect::capitalised;
use crate::write::Writer;

/// A problem, its worked answer and the number.
pub(crate) struct Problem {
    pub question: String,
    pub working: String,
    pub answer: i64,
}

impl Problem {
    /// The text of a document: `Q:`, `A:` and `####` lines.
    pub fn text(&self) -> String {
        format!(
            "Q: {}\nA: {}\n#### {}",
            self.question, self.working, self.answer
        )
    }
}

/// Draws one problem about the things of the writer's topic.
pub(crate) fn compose(writer: &mut Writer) -> Problem {
    let things = writer.content("things").unwrap_or_default();
    if writer.draws().chance(0.2) {
        return groups(writer, &things);
    }
    let hero = writer.hero();
    let (owner, pronoun) = (hero.name, capitalised(hero.pronoun()));
    let start = writer.draws().between(3, 20);
    let mut question = format!("{owner} had {start} {things}.");
    let mut working = String::new();
    let mut total = start;
    let moves = if writer.draws().chance(0.3) { 2 } else { 1 };
    for _ in 0..moves {
        let gain = total < 4 || writer.draws().chance(0.55);
        let by = writer.draws().between(2, if gain { 12 } else { total - 1 });
        let verb = match (gain, writer.draws().chance(0.5)) {
            (true, true) => "bought",
            (true, false) => "found",
            (false, true) => "lost",
            (false, false) => "sold",
        };
        let more = if gain { " more" } else { "" };
        question.push_str(&format!(" {pronoun} {verb} {by}{more} {things}."));
        let after = if gain { total + by } else { total - by };
        let sign = if gain { '+' } else { '-' };
        working.push_str(&format!("{total} {sign} {by} = {after}. "));
        total = after;
    }
    question.push_str(&format!(" How many {things} does {owner} have now?"));
    working.push_str(&format!("{owner} has {total} {things}."));
    Problem {
        question,
        working,
        answer: total,
    }
}

/// So many people with so many things each.
fn groups(writer: &mut Writer, things: &str) -> Problem {
    let person = writer.content("person").unwrap_or_default();
    let place = writer.content("place").unwrap_or_default();
    let people = crate::inflect::plural(&person);
    let (n, each) = (writer.draws().between(2, 6), writer.draws().between(2, 6));
    let total = n * each;
    Problem {
        question: format!(
            "There were {n} {people} in the {place}. Each {person} had {each} {things}. How many {things} were there in all?"
        ),
        working: format!("{n} * {each} = {total}. There are {total} {things}."),
        answer: total,
    }
}

/// The number after the last `####` of a text, if there is one.
#[must_use]
pub fn stated_answer(text: &str) -> Option<i64> {
    let tail = text.rsplit_once("####")?.1.trim_start();
    let end = tail
        .find(|c: char| !c.is_ascii_digit() && c != '-')
        .unwrap_or(tail.len());
    tail[..end].parse().ok()
}
