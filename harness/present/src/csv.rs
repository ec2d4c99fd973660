//! CSV files as the harness writes them.

use harness_contract::sanitize::inert;

/// A header and rows as CSV text with LF line ends.
pub fn csv_text(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
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
