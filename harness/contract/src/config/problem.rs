use std::fmt;

/// One thing wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File, or the option it came from.
    pub origin: String,
    /// Where in the file; `None` for an option or a value that is missing altogether.
    pub place: Option<Place>,
    pub message: String,
    /// What would cure it; empty when nothing is known.
    pub hint: String,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// Characters marked.
    pub width: usize,
    /// The line, or of a long one the part around the mark.
    pub text: String,
    /// Characters of `text` before the mark.
    pub before: usize,
}

/// Characters of a line that are shown, and how many of them before the mark.
const SHOWN: usize = 160;
const SHOWN_BEFORE: usize = 60;

impl Problem {
    /// A problem without a place in a file.
    pub fn new(
        origin: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Problem {
        Problem {
            origin: origin.into(),
            place: None,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl Place {
    /// The place of a byte range in a text. The mark ends with the line.
    pub fn of(text: &str, span: std::ops::Range<usize>) -> Place {
        let start = floor_boundary(text, span.start);
        let end = floor_boundary(text, span.end.max(start));
        let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let column = text[line_start..start].chars().count() + 1;
        let width = text[start..end.min(line_end)].chars().count().max(1);
        let (shown, before) = part(line, column - 1);
        Place {
            line: text[..start].matches('\n').count() + 1,
            column,
            width: width.min((shown.chars().count().saturating_sub(before)).max(1)),
            text: shown,
            before,
        }
    }
}

/// The part of a line around the character at `mark`, and where that is in it.
fn part(line: &str, mark: usize) -> (String, usize) {
    if line.chars().nth(SHOWN).is_none() {
        return (line.to_owned(), mark);
    }
    let skipped = mark.saturating_sub(SHOWN_BEFORE);
    let mut rest = line.chars().skip(skipped);
    let start = if skipped > 0 { "…" } else { "" };
    let shown: String = rest.by_ref().take(SHOWN).collect();
    let end = if rest.next().is_some() { "…" } else { "" };
    let before = mark - skipped + start.chars().count();
    (format!("{start}{shown}{end}"), before)
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else {
            write!(f, "{}: {}", self.origin, self.message)?;
            return if self.hint.is_empty() {
                Ok(())
            } else {
                write!(f, "; {}", self.hint)
            };
        };
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(
            f,
            "{}:{}:{}: {}",
            self.origin, place.line, place.column, self.message
        )?;
        writeln!(f, "{margin} |")?;
        // Tabs are shown as one space each, so that the mark stands below what it marks.
        writeln!(f, "{number} | {}", place.text.replace('\t', " "))?;
        write!(
            f,
            "{margin} | {}{}",
            " ".repeat(place.before),
            "^".repeat(place.width)
        )?;
        if self.hint.is_empty() {
            Ok(())
        } else {
            write!(f, " {}", self.hint)
        }
    }
}

/// Everything wrong with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems, in the order of the file. Never empty.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// `Ok` when there is no problem.
    ///
    /// # Errors
    /// All the problems.
    pub fn check(problems: Vec<Problem>) -> Result<(), ConfigError> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError { problems })
        }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.problems.len() > 1 {
            writeln!(f, "{} problems", self.problems.len())?;
        }
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
