//! Text from outside that does nothing where it is shown: not to a terminal, not in a spreadsheet.

/// Text that came from a model, a file or a plugin, made inert: control characters, escape sequences and marks that
/// change the direction of writing are shown by their code. Line ends and tabs stay.
pub fn inert(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_active(c) && !matches!(c, '\n' | '\t') {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    out
}

/// The same on one line: line ends and tabs are shown by their code too.
pub fn one_line(text: &str) -> String {
    inert(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Whether a character is an instruction: a control character, or a mark of direction.
pub fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A header and rows as CSV text with LF line ends.
pub(crate) fn csv_text(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut out = String::new();
    for fields in std::iter::once(columns.iter().map(|c| (*c).to_owned()).collect()).chain(rows) {
        let line: Vec<String> = fields.iter().map(|f| field(f)).collect();
        out.push_str(&line.join(","));
        out.push('\n');
    }
    out
}

/// A field of a CSV file, quoted where it must be. A text that a spreadsheet would take for a
/// formula gets a quote in front. A zero has no sign: `-0` is what is left of a difference of equal
/// numbers, and says nothing.
fn field(text: &str) -> String {
    let text = if text == "-0" { "0" } else { text };
    let is_number = text.parse::<f64>().is_ok();
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number;
    let text = match is_formula {
        true => format!("'{}", inert(text)),
        false => inert(text),
    };
    if text.contains(['"', ',', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_inert() {
        assert_eq!(inert("a\u{1b}[2Jb\u{202e}c\n"), "a\\u{1b}[2Jb\\u{202e}c\n");
        assert_eq!(inert("größe 東京\t"), "größe 東京\t");
        assert_eq!(one_line("a\r\nb\tc"), "a\\u{d}\\nb\\tc");
    }

    #[test]
    fn texts_cannot_break_a_row_or_become_a_formula() {
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"x\"\n"), "\"say \"\"x\"\"\n\"");
        assert_eq!(field("=cmd|x"), "'=cmd|x");
        assert_eq!(field("\r=cmd|x"), "'\\u{d}=cmd|x");
        assert_eq!(field("a\u{1b}[2J"), "a\\u{1b}[2J");
        assert_eq!(field("-0.5"), "-0.5");
        assert_eq!(field(&(-0.0_f64).to_string()), "0");
    }
}
