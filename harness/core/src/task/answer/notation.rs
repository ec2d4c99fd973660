//! LaTeX and other ways to typeset a number, rewritten as the plain text that the scanner reads.

use std::borrow::Cow;

/// Stands where something cannot be read as a number: a root, a fraction of letters. A number
/// beside it cannot be read either.
pub(super) const UNREADABLE: char = '\u{fffc}';

/// How a box begins in the rewritten text; it ends at `}`, and no other bracket of this form is
/// left.
pub(super) const BOXED: &str = "\\boxed{";

/// Commands whose argument is text: the argument stays, with blanks around it.
const TEXTS: [&str; 10] = [
    "text",
    "textbf",
    "textit",
    "textrm",
    "mathrm",
    "mathbf",
    "mathit",
    "mathsf",
    "mbox",
    "operatorname",
];

/// Commands that say how large or where something is drawn, and nothing about its value.
const DRAWN: [&str; 13] = [
    "left",
    "right",
    "big",
    "Big",
    "bigl",
    "bigr",
    "displaystyle",
    "textstyle",
    "limits",
    "bf",
    "rm",
    "it",
    "boldsymbol",
];

/// Fractions that are one character, with their numerator and denominator.
const VULGAR: [(char, &str); 18] = [
    ('\u{bd}', "1/2"),
    ('\u{bc}', "1/4"),
    ('\u{be}', "3/4"),
    ('\u{2153}', "1/3"),
    ('\u{2154}', "2/3"),
    ('\u{2155}', "1/5"),
    ('\u{2156}', "2/5"),
    ('\u{2157}', "3/5"),
    ('\u{2158}', "4/5"),
    ('\u{2159}', "1/6"),
    ('\u{215a}', "5/6"),
    ('\u{2150}', "1/7"),
    ('\u{215b}', "1/8"),
    ('\u{215c}', "3/8"),
    ('\u{215d}', "5/8"),
    ('\u{215e}', "7/8"),
    ('\u{2151}', "1/9"),
    ('\u{2152}', "1/10"),
];

/// What a brace that is open stands for.
enum Brace {
    Boxed,
    Text,
    Group,
}

/// The text in plain notation: `1{,}234` and `1,\!234` become `1,234`, `\dfrac{1}{2}` becomes
/// `1/2`, `\text{ dollars}` its words, `½` becomes `1/2`. Boxes stay, as [`BOXED`] … `}`.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let is_typeset =
        |c| matches!(c, '\\' | '{' | '}' | '~' | '\u{2044}' | '\u{3c0}') || vulgar(c).is_some();
    if !text.contains(is_typeset) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut braces = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            '\\' => command(&rest[1..], &mut out, &mut braces),
            '{' => match rest.strip_prefix("{,}") {
                Some(after) => {
                    out.push(',');
                    after
                }
                None => {
                    braces.push(Brace::Group);
                    &rest[1..]
                }
            },
            '}' => {
                match braces.pop() {
                    Some(Brace::Boxed) => out.push('}'),
                    Some(Brace::Text) => out.push(' '),
                    Some(Brace::Group) | None => {}
                }
                &rest[1..]
            }
            // A blank of LaTeX between groups of digits; elsewhere it means "about".
            '~' if ends_in_digit(&out) && begins_with_digit(&rest[1..]) => {
                out.push('\u{a0}');
                &rest[1..]
            }
            '\u{2044}' => {
                out.push('/');
                &rest[c.len_utf8()..]
            }
            '\u{3c0}' => {
                out.push(UNREADABLE);
                &rest[c.len_utf8()..]
            }
            _ => {
                match vulgar(c) {
                    Some(fraction) => push_fraction(&mut out, fraction),
                    None => out.push(c),
                }
                &rest[c.len_utf8()..]
            }
        };
    }
    Cow::Owned(out)
}

/// Rewrites one command, whose backslash is before `rest`; what follows it is returned.
fn command<'a>(rest: &'a str, out: &mut String, braces: &mut Vec<Brace>) -> &'a str {
    let name_end = rest
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    let (name, after) = rest.split_at(name_end);
    if name.is_empty() {
        let Some(sign) = rest.chars().next() else {
            out.push('\\');
            return rest;
        };
        match sign {
            '!' => {}
            ',' | ':' | ';' => out.push('\u{2009}'),
            '(' | ')' | '[' | ']' | '{' | '}' | ' ' | '\\' => out.push(' '),
            '$' | '%' => out.push(sign),
            _ => out.extend(['\\', sign]),
        }
        return &rest[sign.len_utf8()..];
    }
    let open = |kind: Brace, braces: &mut Vec<Brace>| match after.strip_prefix('{') {
        Some(inside) => {
            braces.push(kind);
            inside
        }
        None => after,
    };
    match name {
        "boxed" | "fbox" if after.starts_with('{') => {
            out.push_str(BOXED);
            open(Brace::Boxed, braces)
        }
        "frac" | "dfrac" | "tfrac" | "cfrac" => match fraction(after) {
            Some((over, under, after)) => {
                push_fraction(out, &format!("{over}/{under}"));
                after
            }
            None => {
                out.push(UNREADABLE);
                after
            }
        },
        "sqrt" | "overline" | "pi" => {
            out.push(UNREADABLE);
            after
        }
        "times" => sign_of(out, '\u{d7}', after),
        "cdot" | "ast" => sign_of(out, '\u{b7}', after),
        "div" => sign_of(out, '\u{f7}', after),
        "pm" => sign_of(out, '\u{b1}', after),
        "approx" | "sim" => sign_of(out, '\u{2248}', after),
        "circ" | "degree" => sign_of(out, '\u{b0}', after),
        "textdollar" | "dollar" => sign_of(out, '$', after),
        "quad" | "qquad" => sign_of(out, ' ', after),
        _ if TEXTS.contains(&name) => {
            out.push(' ');
            open(Brace::Text, braces)
        }
        _ if DRAWN.contains(&name) => after,
        // What is not known stays as it is.
        _ => {
            out.push('\\');
            out.push_str(name);
            after
        }
    }
}

fn sign_of<'a>(out: &mut String, sign: char, after: &'a str) -> &'a str {
    out.push(sign);
    after
}

/// The two parts of a fraction of plain numbers, and what follows: `{1}{2}`, `{1{,}000}{8}`, `12`.
fn fraction(text: &str) -> Option<(String, String, &str)> {
    let (over, rest) = part(text)?;
    let (under, rest) = part(rest)?;
    Some((over, under, rest))
}

/// One digit, or a number in braces.
fn part(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start_matches(' ');
    let Some(inside) = text.strip_prefix('{') else {
        let digit = text.chars().next().filter(char::is_ascii_digit)?;
        return Some((digit.to_string(), &text[1..]));
    };
    let inside_of = |c: char| c.is_ascii_digit() || "-., {}\\!".contains(c);
    let stretch = &inside[..inside.find(|c| !inside_of(c)).unwrap_or(inside.len())];
    let end = end_of_group(stretch)?;
    let number: String = stretch[..end]
        .chars()
        .filter(|c| !matches!(c, ' ' | '{' | '}' | '\\' | '!'))
        .collect();
    number
        .contains(|c: char| c.is_ascii_digit())
        .then(|| (number, &inside[end + 1..]))
}

/// Where the brace closes that is open before the text.
fn end_of_group(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Adds a fraction; right after a digit it is the rest of a mixed number.
fn push_fraction(out: &mut String, fraction: &str) {
    if ends_in_digit(out) {
        out.push(' ');
    }
    out.push_str(fraction);
}

fn ends_in_digit(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_digit())
}

fn begins_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn vulgar(c: char) -> Option<&'static str> {
    let found = VULGAR.iter().find(|(known, _)| *known == c);
    found.map(|(_, fraction)| *fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typeset_numbers_become_plain_ones() {
        for (text, want) in [
            ("1{,}234 and 1,\\!234", "1,234 and 1,234"),
            ("\\$1\\,234", "$1\u{2009}234"),
            ("10~000 and ~5", "10\u{a0}000 and ~5"),
            ("\\dfrac{1}{2} \\frac12 3\\tfrac{1}{4}", "1/2 1/2 3 1/4"),
            ("\\frac{1{,}000}{8}", "1,000/8"),
            ("\\frac{-3}{4} \\frac{x}{4}", "-3/4 \u{fffc}x4"),
            (
                "\\boxed{18\\text{ cm}^{2}} of {5}",
                "\\boxed{18  cm ^2} of 5",
            ),
            ("\\boxed{\\sqrt{2}}", "\\boxed{\u{fffc}2}"),
            ("\\(3 \\times 10^{3}\\)", " 3 \u{d7} 10^3 "),
            ("3\u{bd} \u{be} 3\u{2044}4", "3 1/2 3/4 3/4"),
            ("25\\% \\alpha\\_1 \\", "25% \\alpha\\_1 \\"),
            ("}{{\\boxed{", "\\boxed{"),
            ("plain", "plain"),
        ] {
            assert_eq!(plain(text), want, "{text}");
        }
    }
}
