//! Text that has to fit: how wide it is, and where it is broken or cut.

/// Width of `text` at `size`, pixels. It is an estimate on the wide side: the font is the viewer's
/// choice.
pub fn text_width(text: &str, size: f64) -> f64 {
    let em: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '|' | '!' | '\'' => 0.32,
            'f' | 't' | 'r' | ' ' | '(' | ')' | '[' | ']' | '/' | '-' => 0.38,
            'm' | 'w' | 'M' | 'W' | '@' | '%' | '→' | '−' => 0.95,
            // From here on most characters are as wide as they are high.
            c if c >= '\u{2e80}' => 1.0,
            c if c.is_uppercase() => 0.72,
            _ => 0.6,
        })
        .sum();
    em * size
}

/// Lines of at most `width` pixels. Line breaks of the text are kept; a word that is longer than a
/// line is broken, after a hyphen or the like where it has one.
pub(super) fn wrap(text: &str, size: f64, width: f64) -> Vec<String> {
    text.lines()
        .flat_map(|line| wrap_line(line, size, width))
        .collect()
}

/// The same with at most `most` lines; what is cut off is marked by `…`.
pub(super) fn fit(text: &str, size: f64, width: f64, most: usize) -> Vec<String> {
    let mut lines = wrap(text, size, width);
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = cut(last, size, width);
        }
    }
    lines
}

/// `text` on one line of at most `width` pixels; what is cut off is marked by `…`.
pub(super) fn shorten(text: &str, size: f64, width: f64) -> String {
    match text_width(text, size) <= width {
        true => text.to_owned(),
        false => cut(text, size, width),
    }
}

/// As much of the beginning of `text` as fits before a `…`.
fn cut(text: &str, size: f64, width: f64) -> String {
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if text_width(&kept, size) + text_width("…", size) > width {
            kept.pop();
            break;
        }
    }
    kept.push('…');
    kept
}

/// `text` with a space for every character that an XML file cannot hold, and for line breaks.
pub(super) fn printable(text: &str) -> String {
    text.replace(
        |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'),
        " ",
    )
}

fn wrap_line(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line, size) + text_width(word, size) + 0.4 * size <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.extend(pieces(word, size, width)),
        }
    }
    lines
}

/// A word in pieces of at most `width` pixels, at least a character each.
fn pieces(word: &str, size: f64, width: f64) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = word;
    while text_width(rest, size) > width {
        let (mut anywhere, mut after_sign) = (0, 0);
        for (at, c) in rest.char_indices() {
            let end = at + c.len_utf8();
            if at > 0 && text_width(&rest[..end], size) > width {
                break;
            }
            anywhere = end;
            if matches!(c, '-' | '_' | '/' | '.' | ':' | '@') {
                after_sign = end;
            }
        }
        let end = if after_sign > 0 { after_sign } else { anywhere };
        pieces.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        pieces.push(rest.to_owned());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_broken_after_signs_and_otherwise_anywhere() {
        assert_eq!(wrap("a bc\nd", 10.0, 100.0), ["a bc", "d"]);
        let width = text_width("sae-stability-", 10.0);
        assert_eq!(
            wrap("sae-stability-early", 10.0, width),
            ["sae-stability-", "early"]
        );
        assert_eq!(wrap("aaaaa", 10.0, 12.0), ["aa", "aa", "a"]);
        assert_eq!(wrap("ab", 10.0, 1.0), ["a", "b"], "never less than one");
        assert!(wrap(" \n", 10.0, 100.0).is_empty());
    }

    #[test]
    fn what_is_cut_off_is_marked() {
        assert_eq!(shorten("as it is", 10.0, 100.0), "as it is");
        assert_eq!(shorten("aaaaaaaaaa", 10.0, 30.0), "aaaa…");
        assert_eq!(fit("aa bb", 10.0, 14.0, 2), ["aa", "bb"]);
        assert_eq!(fit("aa bb cc", 10.0, 14.0, 2), ["aa", "b…"]);
        assert_eq!(shorten("a", 10.0, 0.0), "…");
    }
}
