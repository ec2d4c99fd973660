//! Text from outside that does nothing where it is shown: not to a terminal, not in a spreadsheet.

/// Makes text that came from a model, a file or a plugin harmless to show: control characters,
/// escape sequences and marks that change the direction of writing are shown by their code. Line
/// ends and tabs stay.
pub fn sanitize(text: &str) -> String {
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
    sanitize(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Whether a character is an instruction: a control character, or a mark of direction.
pub fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_inert() {
        assert_eq!(
            sanitize("a\u{1b}[2Jb\u{202e}c\n"),
            "a\\u{1b}[2Jb\\u{202e}c\n"
        );
        assert_eq!(sanitize("größe 東京\t"), "größe 東京\t");
        assert_eq!(one_line("a\r\nb\tc"), "a\\u{d}\\nb\\tc");
    }
}
