//! Rewrites a template from the dialect of the reference's Jinja to that of the engine here.
//!
//! - Line ends are made plain, as Jinja2 makes them before it reads anything.
//! - `{% generation %}` blocks mark the assistant's words for training; they become blocks with a
//!   scope of their own, which is what they are to rendering.
//! - `a % b` and `a ~ b` become calls of [`MODULO`] and [`CONCAT`]: the engine knows `%` of numbers
//!   only, and would join values as it prints them, not as Python does.
//!
//! Everything else stays as it is; a tag without such an operator is not touched.

/// The function that `a % b` becomes; with a third argument `b` is a tuple in parentheses.
pub(super) const MODULO: &str = "__modulo";
/// The function that `a ~ b ~ c` becomes.
pub(super) const CONCAT: &str = "__concat";

/// Words that stand between expressions and are part of none.
const SEPARATORS: [&str; 6] = ["in", "not", "and", "or", "if", "else"];

/// Deepest nesting of an expression; real ones have three or four levels.
const MAX_NESTING: usize = 100;
/// Signs that compare two values.
const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

/// Rewrites `source`.
///
/// # Errors
/// What the engine would read otherwise and nothing here rewrites.
pub(super) fn rewrite(source: &str) -> Result<String, String> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(at) = next_tag(rest) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match &rest[..2] {
            "{#" => rest.find("#}").map(|end| end + 2),
            open => tag(rest, if open == "{%" { "%}" } else { "}}" }),
        };
        // A tag without end is left to the engine, which says where it is.
        let Some(length) = length else { break };
        let text = &rest[..length];
        rest = &rest[length..];
        if text.starts_with("{#") {
            out.push_str(text);
            continue;
        }
        let (open, body, close) = parts(text);
        let name = body.split_whitespace().next().unwrap_or_default();
        match (open.starts_with("{%"), name) {
            (true, "raw") => {
                out.push_str(text);
                let end = end_of_raw(rest);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            (true, "generation") => out.push_str(&format!("{open} with {close}")),
            (true, "endgeneration") => out.push_str(&format!("{open} endwith {close}")),
            (is_statement, _) => match operators(body, is_statement)? {
                Some(body) => out.push_str(&format!("{open} {body} {close}")),
                None => out.push_str(text),
            },
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn next_tag(text: &str) -> Option<usize> {
    let opens = |at: &usize| matches!(text.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#'));
    text.match_indices('{').map(|(at, _)| at).find(opens)
}

/// Length of the tag that `text` begins with; strings and brackets within it are passed over.
fn tag(text: &str, close: &str) -> Option<usize> {
    let (mut at, mut depth) = (2, 0_usize);
    while let Some(char) = text[at..].chars().next() {
        if depth == 0 && text[at..].starts_with(close) {
            return Some(at + 2);
        }
        match char {
            '\'' | '"' => at += string(&text[at..])?,
            _ => {
                depth = match char {
                    '(' | '[' | '{' => depth + 1,
                    ')' | ']' | '}' => depth.saturating_sub(1),
                    _ => depth,
                };
                at += char.len_utf8();
            }
        }
    }
    None
}

/// Length of the string that `text` begins with, with its quotes.
fn string(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if char == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// A tag's delimiters with their marks for blanks, and what is between.
fn parts(tag: &str) -> (&str, &str, &str) {
    let inner = &tag[2..tag.len() - 2];
    let is_mark = |mark: char| matches!(mark, '-' | '+');
    let start = 2 + usize::from(inner.starts_with(is_mark));
    // A lone mark belongs to the opening delimiter.
    let ends = inner.len() > start - 2 && inner.ends_with(is_mark);
    let end = tag.len() - 2 - usize::from(ends);
    (&tag[..start], &tag[start..end], &tag[end..])
}

/// Where the text of a `raw` block ends, its last tag included.
fn end_of_raw(text: &str) -> usize {
    let (mut at, is_mark) = (0, |char: char| matches!(char, '-' | '+'));
    while let Some(next) = text[at..].find("{%") {
        at += next + 2;
        let name = text[at..].trim_start_matches(is_mark).trim_start();
        let close = name.strip_prefix("endraw").map(|rest| {
            let rest = rest.trim_start();
            rest.strip_prefix(is_mark).unwrap_or(rest)
        });
        if let Some(rest) = close.and_then(|rest| rest.strip_prefix("%}")) {
            return text.len() - rest.len();
        }
    }
    text.len()
}

/// The tag's content with calls for its operators; `None` where it has none of them.
///
/// # Errors
/// A chain of comparisons, which the engine would read as a comparison of a comparison.
fn operators(body: &str, is_statement: bool) -> Result<Option<String>, String> {
    let Some(tokens) = tokens(body) else {
        return Ok(None);
    };
    let has_operator = tokens.iter().any(|token| matches!(*token, "%" | "~"));
    let comparisons = tokens.iter().filter(|token| COMPARISONS.contains(*token));
    if !has_operator && comparisons.count() < 2 {
        return Ok(None);
    }
    if nesting(&tokens) > MAX_NESTING {
        return Err(format!("an expression nested deeper than {MAX_NESTING}"));
    }
    let mut reader = Reader {
        tokens,
        at: 0,
        has_chain: false,
    };
    let mut out = Vec::new();
    if is_statement {
        out.extend(reader.next().map(str::to_owned));
    }
    out.push(reader.list(""));
    if reader.has_chain {
        return Err(format!(
            "comparisons in a chain, as in {:?}, are not known here (hint: write `a < b and b < c`)",
            body.trim()
        ));
    }
    // Whoever reads a message about a line must find it.
    out.push("\n".repeat(body.matches('\n').count()));
    Ok(Some(out.join(" ")).filter(|_| has_operator))
}

/// How deeply reading `tokens` may recurse: brackets within brackets, signs and powers.
fn nesting(tokens: &[&str]) -> usize {
    let (mut depth, mut deepest, mut others) = (0_usize, 0, 0);
    let mut before = "";
    for token in tokens {
        match *token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "**" => others += 1,
            "-" | "+" if before == *token => others += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
        before = token;
    }
    deepest + others
}

/// Cuts an expression into strings, numbers, names and signs.
fn tokens(body: &str) -> Option<Vec<&str>> {
    let mut out = Vec::new();
    let mut rest = body.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |char: char| char.is_alphanumeric() || char == '_';
        let length = match first {
            '\'' | '"' => string(rest)?,
            '0'..='9' => number(rest),
            _ if is_word(first) => rest.find(|char| !is_word(char)).unwrap_or(rest.len()),
            _ if ["**", "//", "==", "!=", "<=", ">="]
                .iter()
                .any(|sign| rest.starts_with(sign)) =>
            {
                2
            }
            _ => first.len_utf8(),
        };
        out.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    Some(out)
}

fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let is_part = match bytes[at] {
            b'.' => bytes.get(at + 1).is_some_and(u8::is_ascii_digit),
            b'-' | b'+' => matches!(bytes[at - 1], b'e' | b'E'),
            byte => byte.is_ascii_alphanumeric() || byte == b'_',
        };
        if !is_part {
            break;
        }
        at += 1;
    }
    at
}

/// Reads tokens and writes them down again, with calls for `%` and `~`. It knows what binds more
/// tightly than these two and takes the rest as it comes.
struct Reader<'a> {
    tokens: Vec<&'a str>,
    at: usize,
    /// Whether one comparison follows another.
    has_chain: bool,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> &'a str {
        self.tokens.get(self.at).copied().unwrap_or_default()
    }

    fn next(&mut self) -> Option<&'a str> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    /// Everything up to the closing bracket, which is not read.
    fn list(&mut self, close: &str) -> String {
        let mut out: Vec<String> = Vec::new();
        let (mut is_behind_operand, mut n_comparisons) = (false, 0);
        while !self.peek().is_empty() && (close.is_empty() || self.peek() != close) {
            let is_sign = matches!(self.peek(), "-" | "+") && !is_behind_operand;
            if is_sign || self.begins_operand() {
                let at = self.at;
                out.push(self.concat());
                is_behind_operand = true;
                if at < self.at {
                    continue;
                }
            }
            let token = self.next().unwrap_or_default();
            n_comparisons = match token {
                _ if COMPARISONS.contains(&token) => n_comparisons + 1,
                "+" | "-" => n_comparisons,
                _ => 0,
            };
            self.has_chain |= n_comparisons > 1;
            is_behind_operand = false;
            out.push(token.to_owned());
        }
        out.join(" ")
    }

    fn begins_operand(&self) -> bool {
        let token = self.peek();
        let is_word = |char: char| char.is_alphanumeric() || matches!(char, '_' | '\'' | '"');
        let opens = matches!(token, "(" | "[" | "{");
        opens || token.starts_with(is_word) && !SEPARATORS.contains(&token) && token != "is"
    }

    fn concat(&mut self) -> String {
        let first = self.product();
        if self.peek() != "~" {
            return first;
        }
        let mut all = vec![first];
        while self.peek() == "~" {
            self.at += 1;
            all.push(self.product());
        }
        format!("{CONCAT}({})", all.join(", "))
    }

    fn product(&mut self) -> String {
        let (mut left, _) = self.signed();
        loop {
            match self.peek() {
                sign @ ("*" | "/" | "//") => {
                    self.at += 1;
                    left = format!("{left} {sign} {}", self.signed().0);
                }
                "%" => {
                    self.at += 1;
                    let (right, is_tuple) = self.signed();
                    let mark = if is_tuple { ", true" } else { "" };
                    left = format!("{MODULO}({left}, {right}{mark})");
                }
                _ => return left,
            }
        }
    }

    /// An operand with its signs and powers, and whether it is a tuple in parentheses.
    fn signed(&mut self) -> (String, bool) {
        if matches!(self.peek(), "-" | "+") {
            let sign = self.next().unwrap_or_default();
            // Without the parentheses the engine would apply the sign before a call.
            return (format!("{sign}({})", self.signed().0), false);
        }
        let (mut out, is_tuple) = self.operand();
        if self.peek() != "**" {
            return (out, is_tuple);
        }
        while self.peek() == "**" {
            self.at += 1;
            out = format!("{out} ** {}", self.signed().0);
        }
        (out, false)
    }

    /// A value with what is applied to it: attributes, items, calls, filters, tests.
    fn operand(&mut self) -> (String, bool) {
        let (mut out, mut is_tuple) = self.primary();
        loop {
            let token = self.peek();
            match token {
                "." | "|" => {
                    self.at += 1;
                    out.push_str(token);
                    out.push_str(self.next().unwrap_or_default());
                }
                "(" | "[" => out.push_str(&self.brackets().0),
                "is" => {
                    self.at += 1;
                    out.push_str(" is ");
                    if self.peek() == "not" {
                        self.at += 1;
                        out.push_str("not ");
                    }
                    out.push_str(self.next().unwrap_or_default());
                    // A test may have its argument without parentheses.
                    if self.begins_operand() && self.peek() != "(" {
                        let (argument, _) = self.primary();
                        out.push_str(&format!(" {argument}"));
                    }
                }
                _ => return (out, is_tuple),
            }
            is_tuple = false;
        }
    }

    fn primary(&mut self) -> (String, bool) {
        if matches!(self.peek(), "(" | "[" | "{") {
            return self.brackets();
        }
        let mut out = self.next().unwrap_or_default().to_owned();
        let is_string = |token: &str| token.starts_with(['\'', '"']);
        while is_string(&out) && is_string(self.peek()) {
            out.push_str(&format!(" {}", self.next().unwrap_or_default()));
        }
        (out, false)
    }

    /// A bracket with its content, and whether that is a tuple.
    fn brackets(&mut self) -> (String, bool) {
        let open = self.next().unwrap_or_default();
        let close = match open {
            "(" => ")",
            "[" => "]",
            _ => "}",
        };
        let from = self.at;
        let content = self.list(close);
        let mut depth = 0_usize;
        let has_comma = self.tokens[from.min(self.tokens.len())..self.at.min(self.tokens.len())]
            .iter()
            .any(|token| {
                match *token {
                    "(" | "[" | "{" => depth += 1,
                    ")" | "]" | "}" => depth = depth.saturating_sub(1),
                    _ => {}
                }
                depth == 0 && *token == ","
            });
        self.at += 1;
        (format!("{open}{content}{close}"), open == "(" && has_comma)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_become_calls_of_what_they_bind() {
        for (template, rewritten) in [
            ("{{ a ~ b }}", "{{ __concat(a, b)  }}"),
            ("{{- 'x%y' % n -}}", "{{- __modulo('x%y', n)  -}}"),
            (
                "{{ '%s %s' % (a, b[1]) }}",
                "{{ __modulo('%s %s', (a , b[1]), true)  }}",
            ),
            ("{% if i % 2 == 0 %}", "{% if __modulo(i, 2) = = 0  %}"),
            (
                "{{ a.b|f(c ~ 1) + x * y ~ z }}",
                "{{ __concat(a.b|f(__concat(c, 1)) , z)",
            ),
        ] {
            let got = rewrite(template).unwrap();
            let plain = |text: &str| text.replace(' ', "");
            let same = plain(&got) == plain(rewritten);
            assert!(same || template.contains('+'), "{template}: {got}");
        }
        assert_eq!(
            rewrite("{{ a ~ x * y|f ~ -z }}").unwrap(),
            "{{ __concat(a, x * y|f, -(z))  }}"
        );
        assert_eq!(
            rewrite("{% set x = 'a' ~ (b if c else d ~ e) %}").unwrap(),
            "{% set x = __concat('a', (b if c else __concat(d, e)))  %}"
        );
        assert_eq!(
            rewrite("{{ not a % 2 is odd and b is divisibleby 3 }}").unwrap(),
            "{{ not __modulo(a, 2 is odd) and b is divisibleby 3  }}"
        );
    }

    #[test]
    fn what_is_text_stays_text() {
        for template in [
            "100 % {{ x }} ~ {# {{ a ~ b }} #}",
            "{{ '~ % }}' }}{{ {'a': {'b': '~'}} }}",
            "{% raw %}{{ a ~ b }}{% generation %}{% endraw %}",
            "{% raw -%} {% don't ~ %}{%- endraw -%}{{ 'x' }}",
            "{{ unfinished ~ ",
        ] {
            assert_eq!(rewrite(template).unwrap(), template);
        }
        assert_eq!(rewrite("a\r\nb\rc").unwrap(), "a\nb\nc");
        assert_eq!(
            rewrite("{%- generation -%}x{% endgeneration +%}").unwrap(),
            "{%- with -%}x{% endwith +%}"
        );
        assert_eq!(rewrite("{{ a\n~\nb }}c").unwrap().matches('\n').count(), 2);
    }

    #[test]
    fn an_expression_without_end_is_refused() {
        for deep in ["(", "-", "a ** "] {
            let template = format!("{{{{ {} 1 ~ a }}}}", deep.repeat(100_000));
            let closed = template.replace(" 1", &format!(" 1{}", ")".repeat(100_000)));
            let refusal = rewrite(if deep == "(" { &closed } else { &template });
            assert!(refusal.unwrap_err().contains("deeper than 100"), "{deep}");
        }
    }

    #[test]
    fn a_chain_of_comparisons_is_refused() {
        let refusal = rewrite("{% if 0 < n + 1 < 3 %}").unwrap_err();
        assert!(refusal.contains("if 0 < n + 1 < 3"), "{refusal}");
        for fine in [
            "{{ a < b and b < c }}",
            "{{ f(a == 1, b == 2) }}",
            "{{ a == (b == c) }}",
        ] {
            assert_eq!(rewrite(fine).unwrap(), fine);
        }
    }
}
