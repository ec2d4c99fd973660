use super::Number;

/// A number in a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    /// Where it begins, with its sign and its currency sign.
    pub start: usize,
    /// Where it ends, without units.
    pub end: usize,
    /// Its value; `None` when it cannot be read.
    pub value: Option<Number>,
}

/// The numbers of a text from left to right; see the module above for what is one.
pub(super) fn numbers(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = 0;
    // Commas before this place stand between numbers.
    let mut listed_until = 0;
    while let Some(first) = next_digit(text, at) {
        let start = first - usize::from(point_leads(text, first));
        let word = before(text, start).is_some_and(joins_words);
        let read = amount(text, start, &mut listed_until);
        let rest = &text[read.end..];
        if word || belongs_to_word(rest) {
            at = text.len() - rest.trim_start_matches(is_of_words).len();
            continue;
        }
        // `5²` is 25 and `1¾` is more than 1.
        let whole = !rest.starts_with(|c: char| c.is_numeric());
        let sign = sign(text, start);
        found.push(Found {
            start: sign.start,
            end: read.end,
            value: read.value.filter(|_| whole).map(|number| {
                if sign.negative {
                    number.negated()
                } else {
                    number
                }
            }),
        });
        at = read.end;
    }
    found
}

/// Whether this is a currency sign that a number may carry.
pub(super) fn is_currency(c: char) -> bool {
    matches!(c, '$' | '€' | '£' | '¥' | '₹')
}

/// Whether this is a minus sign. The en dash is none: it stands for ranges and pauses.
pub(super) fn is_minus(c: char) -> bool {
    matches!(c, '-' | '\u{2212}')
}

/// A piece of text read as an unsigned value.
struct Read {
    end: usize,
    value: Option<Number>,
}

/// Reads a number, with its exponent, or a fraction of numbers.
fn amount(text: &str, start: usize, listed_until: &mut usize) -> Read {
    let mut read = decimal(text, start, listed_until);
    let mut parts = 1;
    while let Some(under) = text[read.end..].strip_prefix('/')
        && under.starts_with(|c: char| c.is_ascii_digit())
    {
        let divisor = decimal(text, read.end + 1, listed_until);
        parts += 1;
        read = Read {
            end: divisor.end,
            value: match (read.value, divisor.value) {
                (Some(over), Some(under)) if parts == 2 => over.ratio(under),
                _ => None,
            },
        };
    }
    read
}

/// Reads digits with their thousands separators, fraction and exponent.
fn decimal(text: &str, start: usize, listed_until: &mut usize) -> Read {
    let mut whole_end = digits_end(text, start);
    if start >= *listed_until {
        let groups = groups_end(text, start, whole_end);
        if are_thousands(&text[start..groups]) {
            whole_end = groups;
        } else {
            *listed_until = groups;
        }
    }
    let fraction = match text[whole_end..].strip_prefix('.') {
        Some(_) => &text[whole_end + 1..digits_end(text, whole_end + 1)],
        None => "",
    };
    let mantissa_end = match fraction {
        "" => whole_end,
        _ => whole_end + 1 + fraction.len(),
    };
    let (end, exponent) = exponent(text, mantissa_end).unwrap_or((mantissa_end, 0));
    Read {
        end,
        value: Number::from_digits(&text[start..whole_end], fraction, exponent),
    }
}

/// Where the groups of digits with commas between them end that begin at `start`; the first of them ends at `end`.
fn groups_end(text: &str, start: usize, mut end: usize) -> usize {
    if start == end {
        return end;
    }
    while text[end..].starts_with(',') && digits_end(text, end + 1) > end + 1 {
        end = digits_end(text, end + 1);
    }
    end
}

fn are_thousands(groups: &str) -> bool {
    let mut groups = groups.split(',');
    let first = groups.next().unwrap_or_default();
    (1..=3).contains(&first.len())
        && !first.starts_with('0')
        && groups.all(|group| group.len() == 3)
}

/// The end and value of an exponent such as `e3` or `E-12` that ends its word.
fn exponent(text: &str, start: usize) -> Option<(usize, i64)> {
    let marked = text[start..].strip_prefix(['e', 'E'])?;
    let unsigned = marked.strip_prefix(['+', '-']).unwrap_or(marked);
    let first = text.len() - unsigned.len();
    let end = digits_end(text, first);
    if !(1..=3).contains(&(end - first)) || text[end..].starts_with(is_of_words) {
        return None;
    }
    let size: i64 = text[first..end].parse().ok()?;
    Some((end, if marked.starts_with('-') { -size } else { size }))
}

struct Sign {
    start: usize,
    negative: bool,
}

/// Looks back from a number over its currency sign to its minus, if that is a sign.
fn sign(text: &str, digits: usize) -> Sign {
    let mut start = digits;
    if let Some(currency) = before(text, start).filter(|&c| is_currency(c)) {
        start -= currency.len_utf8();
        start -= usize::from(text[..start].ends_with('\\'));
    }
    let Some(minus) = before(text, start).filter(|&c| is_minus(c)) else {
        return Sign {
            start,
            negative: false,
        };
    };
    let outside = start - minus.len_utf8();
    let operator = before(text, outside).is_some_and(|c| {
        joins_words(c) || c.is_numeric() || is_minus(c) || matches!(c, ')' | ']' | '}' | '%')
    });
    Sign {
        start: if operator { start } else { outside },
        negative: !operator,
    }
}

/// Whether the point before these digits is theirs: `.5`, not the end of a sentence or the rest of `1.2.5`.
fn point_leads(text: &str, first: usize) -> bool {
    text[..first]
        .strip_suffix('.')
        .is_some_and(|head| !head.ends_with(|c: char| c.is_alphanumeric() || c == '.'))
}

/// Whether what follows the digits makes a word of them: an ordinal, or letters that run into digits.
fn belongs_to_word(rest: &str) -> bool {
    let after = rest.trim_start_matches(is_letter);
    let letters = &rest[..rest.len() - after.len()];
    let ordinal = ["st", "nd", "rd", "th"]
        .iter()
        .any(|ending| letters.eq_ignore_ascii_case(ending));
    ordinal
        || after.starts_with('_')
        || (!letters.is_empty() && after.starts_with(|c: char| c.is_ascii_digit()))
}

/// Letters of scripts that have two cases. Others put no spaces between words and numbers.
fn is_letter(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase()
}

/// What makes a word of the digits or the minus after it. Digits of other scripts do: with ours they would be one number.
fn joins_words(c: char) -> bool {
    is_letter(c) || c == '_' || (c.is_numeric() && !c.is_ascii_digit())
}

fn is_of_words(c: char) -> bool {
    joins_words(c) || c.is_ascii_digit()
}

fn before(text: &str, at: usize) -> Option<char> {
    text[..at].chars().next_back()
}

fn next_digit(text: &str, from: usize) -> Option<usize> {
    let bytes = &text.as_bytes()[from..];
    bytes.iter().position(u8::is_ascii_digit).map(|i| from + i)
}

/// The first place from `start` on that is no ASCII digit.
fn digits_end(text: &str, start: usize) -> usize {
    let bytes = &text.as_bytes()[start..];
    start + bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of a text, `?` for one that cannot be read.
    fn read(text: &str) -> String {
        let found = numbers(text);
        let values = found
            .iter()
            .map(|n| n.value.map_or_else(|| "?".to_owned(), |v| v.to_string()));
        values.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn groups_of_digits() {
        assert_eq!(read("1,000 80,000.50 1,234,567"), "1000 80000.5 1234567");
        assert_eq!(
            read("3,4 1234,567 10,20,300 1,000,00"),
            "3 4 1234 567 10 20 300 1 0 0"
        );
        assert_eq!(read("0,123 012,345 5,100"), "0 123 12 345 5100");
        assert_eq!(read("1.5,000 1,000.5,000"), "1.5 0 1000.5 0");
        assert_eq!(read("1,000, 2,000."), "1000 2000");
    }

    #[test]
    fn points() {
        assert_eq!(
            read(".5 -.5 $.50 1. 1.2.3 ...5 end.5"),
            "0.5 -0.5 0.5 1 1.2 3 5 5"
        );
    }

    #[test]
    fn signs() {
        assert_eq!(
            read("-7 \u{2212}7 -$7 $-7 (-7) =-7 5 -7"),
            "-7 -7 -7 -7 -7 -7 5 -7"
        );
        assert_eq!(
            read("2-1 x-1 (2)-1 25%-1 --1 - 1 2-$1 \u{2013}1"),
            "2 1 1 2 1 25 1 1 1 2 1 1"
        );
    }

    #[test]
    fn fractions_and_powers() {
        assert_eq!(
            read("3/4 1/3 1,000/8 12/25/2023 1/0 -3/4 3/-4"),
            "0.75 ? 125 ? ? -0.75 3 -4"
        );
        assert_eq!(read("5\u{b2} 1\u{be} 5/hour 5m\u{b2}"), "? ? 5 5");
        assert_eq!(
            read("1e3 2.5E-2 1e400 1e4000 2e5f 3e 1/2e1"),
            "1000 0.025 ? 3 0.05"
        );
    }

    #[test]
    fn words() {
        assert_eq!(read("B12 B12.5 x_2 0x1f 3x4 5_000 3rd 21ST 1,000th"), "");
        assert_eq!(read("5kg 10am-5pm 7thousand 5's 共18个"), "5 10 5 7 5 18");
        assert_eq!(read("\u{663} \u{ff13} \u{ff13}4 4\u{ff13}"), "?");
    }

    #[test]
    fn places_include_signs() {
        let text = "is -\\$5kg";
        let found = numbers(text);
        assert_eq!(&text[found[0].start..found[0].end], "-\\$5");
    }
}
