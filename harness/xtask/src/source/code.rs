//! What of a Rust file is code: its tokens without comments and without what is compiled for tests
//! alone.

use std::collections::BTreeSet;
use std::iter::Peekable;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};

/// The code of a file.
#[derive(Debug, Default)]
pub struct Code {
    pub tokens: TokenStream,
    /// The modules that are declared for tests and lie in files of their own.
    pub test_modules: Vec<String>,
}

/// Reads a file.
///
/// # Errors
/// Where the text is not made of Rust's tokens.
pub fn read(text: &str) -> Result<Code> {
    let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{error}"))?;
    let mut test_modules = Vec::new();
    let tokens = product(tokens, &mut test_modules);
    Ok(Code {
        tokens,
        test_modules,
    })
}

impl Code {
    /// How many lines of `text`, which the code was read from, hold code. Blank lines within a
    /// string do not count.
    pub fn lines(&self, text: &str) -> usize {
        let mut numbers = BTreeSet::new();
        mark(&self.tokens, &mut numbers);
        let lines = text.lines().enumerate();
        lines
            .filter(|(at, line)| numbers.contains(&(at + 1)) && !line.trim().is_empty())
            .count()
    }
}

/// The tokens that are left when documentation and items for tests are taken out.
fn product(tokens: TokenStream, test_modules: &mut Vec<String>) -> TokenStream {
    let mut left = Vec::new();
    let mut attributes = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let Some((bang, group)) = is_punct(&token, '#')
            .then(|| attribute(&mut rest))
            .flatten()
        else {
            left.append(&mut attributes);
            left.push(match token {
                TokenTree::Group(group) => within(&group, test_modules),
                other => other,
            });
            continue;
        };
        if is_comment(token.span()) {
            continue;
        }
        if !is_for_tests(&group) {
            attributes.push(token);
            attributes.extend(bang);
            attributes.push(TokenTree::Group(group));
        } else if bang.is_some() {
            return TokenStream::new(); // `#![cfg(test)]` holds for all that it stands in.
        } else {
            attributes.clear();
            test_modules.extend(pass_item(&mut rest));
        }
    }
    left.append(&mut attributes);
    left.into_iter().collect()
}

/// Takes the attribute behind a `#`, and the `!` before it.
fn attribute(
    rest: &mut Peekable<impl Iterator<Item = TokenTree> + Clone>,
) -> Option<(Option<TokenTree>, Group)> {
    let mut ahead = rest.clone();
    let bang = ahead.next_if(|next| is_punct(next, '!'));
    match ahead.next() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            *rest = ahead;
            Some((bang, group))
        }
        _ => None,
    }
}

fn within(group: &Group, test_modules: &mut Vec<String>) -> TokenTree {
    let mut stripped = Group::new(group.delimiter(), product(group.stream(), test_modules));
    stripped.set_span(group.span());
    TokenTree::Group(stripped)
}

/// Words that begin an item or a statement; what has none of them is a variant, a field or an arm.
const KEYWORDS: [&str; 12] = [
    "const", "enum", "extern", "fn", "impl", "let", "mod", "static", "struct", "trait", "type",
    "use",
];

/// Passes over what `#[cfg(test)]` stands before: an item up to its semicolon or its body in
/// braces, or a variant, a field or an arm up to its comma. Returns the name of a module that lies
/// in a file of its own.
fn pass_item(rest: &mut Peekable<impl Iterator<Item = TokenTree>>) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_item = false;
    let mut in_arm = false;
    while let Some(token) = rest.next() {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                if is_item {
                    return None;
                }
                let ends = |next: &TokenTree| !is_punct(next, ',');
                if in_arm && rest.peek().is_some_and(ends) {
                    return None;
                }
            }
            TokenTree::Ident(word) => {
                let word = word.to_string();
                is_item |= KEYWORDS.contains(&word.as_str());
                words.push(word);
            }
            other if is_punct(&other, ';') => break,
            other if is_punct(&other, ',') && !is_item => return None,
            other => in_arm |= is_punct(&other, '>'),
        }
    }
    match words.as_slice() {
        [.., keyword, name] if keyword == "mod" => Some(name.clone()),
        _ => None,
    }
}

fn mark(tokens: &TokenStream, numbers: &mut BTreeSet<usize>) {
    for token in tokens.clone() {
        let span = token.span();
        match token {
            TokenTree::Group(group) if group.delimiter() != Delimiter::None => {
                numbers.insert(span.start().line);
                mark(&group.stream(), numbers);
                numbers.insert(span.end().line);
            }
            _ => numbers.extend(span.start().line..=span.end().line),
        }
    }
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// Documentation is read as an attribute whose tokens all lie where the comment does.
fn is_comment(span: Span) -> bool {
    span.source_text().is_some_and(|text| text.starts_with('/'))
}

/// Whether an attribute is `cfg(test)` or `cfg(all(test, …))`.
fn is_for_tests(attribute: &Group) -> bool {
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> usize {
        read(text).unwrap().lines(text)
    }

    #[test]
    fn comments_and_blank_lines_are_no_code() {
        let text =
            "//! Says what.\n\nuse a; // why\n/* a\nb */\n/// Doc.\n/** More. */\nfn f() {}\n";
        assert_eq!(lines(text), 2);
        assert_eq!(lines("#[doc = \"x\"]\n#![allow(a)]\nstruct A;"), 3);
        assert_eq!(lines("fn a() {\n\n    // why\n    b()\n}\n"), 3);
    }

    #[test]
    fn a_string_is_code_whatever_it_holds() {
        let text = "const A: &str = \"// no comment\n\n/* none\";\nconst B: &str = r#\"\n//\"#;";
        assert_eq!(lines(text), 4);
    }

    #[test]
    fn what_is_compiled_for_tests_is_left_out() {
        let text = "fn a() {\n}\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests {\n    fn t() {}\n}\nfn b() {}\n";
        assert_eq!(lines(text), 3);
        assert_eq!(
            lines("impl A {\n#[allow(x)]\n#[cfg(test)]\nfn t(&self) {}\n}"),
            2
        );
        assert_eq!(
            lines("#[cfg(all(test, unix))]\nuse b;\n#[cfg(unix)]\nuse c;"),
            2
        );
        assert_eq!(lines("enum A {\n#[cfg(test)]\nB(C, D),\nE,\n}"), 3);
        assert_eq!(
            lines(
                "match a {\n#[cfg(test)]\nA if b => c(|| {}),\n#[cfg(test)]\nB { c } => {}\n_ => d,\n}"
            ),
            3
        );
        assert_eq!(lines("#![cfg(test)]\nfn a() {}"), 0);
        let code = read("#[cfg(test)]\npub(crate) mod support;\nmod real;").unwrap();
        assert_eq!(code.test_modules, ["support"]);
        assert_eq!(code.tokens.to_string(), "mod real ;");
    }
}
