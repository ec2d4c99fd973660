use super::{Number, notation::UNREADABLE};

/// What separates groups of three digits besides a comma: blanks of all widths and the apostrophe.
const GROUP_SIGNS: [char; 8] = [
    ' ', '\u{a0}', '\u{2007}', '\u{2008}', '\u{2009}', '\u{202f}', '\'', '\u{2019}',
];

/// Raised digits in their order.
const RAISED: &str = "⁰¹²³⁴⁵⁶⁷⁸⁹";

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
    let mut list = List::default();
    while let Some(first) = next_digit(text, at) {
        let start = first - usize::from(point_leads(text, first));
        // The 2 of `cm^2` is no number of its own.
        if is_raised(&text[..start]) {
            at = digits_end(text, first);
            continue;
        }
        let word = before(text, start).is_some_and(joins_words);
        let read = amount(text, start, &mut list);
        let rest = &text[read.end..];
        if word || belongs_to_word(rest) {
            at = text.len() - rest.trim_start_matches(is_of_words).len();
            continue;
        }
        let sign = sign(text, start);
        let whole = is_whole(&text[..sign.start], rest);
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

/// Whether the digits after this text are an exponent: `^2`, `^-2`, `^(2`.
fn is_raised(head: &str) -> bool {
    let head = head.strip_suffix(is_minus).unwrap_or(head);
    head.strip_suffix('(').unwrap_or(head).ends_with('^')
}

/// Whether a number is all that stands there. `5²` and `5^2` are not 5, and a number beside a root
/// or after `±` is not the value either.
fn is_whole(head: &str, rest: &str) -> bool {
    let head = head.trim_end_matches(is_blank);
    let after = rest.trim_start_matches(|c| is_blank(c) || c == '.');
    !rest.starts_with(|c: char| c.is_numeric() || c == '^')
        && !after.starts_with(UNREADABLE)
        && !head.ends_with([UNREADABLE, '±'])
}

/// Whether this is a blank within a line.
pub(super) fn is_blank(c: char) -> bool {
    c == '\t' || (c.is_whitespace() && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Whether this is a currency sign that a number may carry.
pub(super) fn is_currency(c: char) -> bool {
    matches!(c, '$' | '\u{a2}'..='\u{a5}' | '\u{20a0}'..='\u{20cf}')
}

/// Whether this is a minus sign. The en dash is none: it stands for ranges and pauses.
pub(super) fn is_minus(c: char) -> bool {
    matches!(c, '-' | '\u{2212}')
}

/// The last run of groups of digits that is a list, because not all of them fit into one number.
#[derive(Default)]
struct List {
    sign: char,
    end: usize,
}

impl List {
    /// Whether `sign` after the digits that begin at `start` stands between two of the list.
    fn holds(&self, sign: char, start: usize) -> bool {
        self.sign == sign && start < self.end
    }
}

/// A piece of text read as an unsigned value.
struct Read {
    end: usize,
    value: Option<Number>,
    /// Whether it has neither a fraction nor an exponent.
    is_integer: bool,
}

/// Reads a number with its exponent, a fraction of numbers, or a mixed number.
fn amount(text: &str, start: usize, list: &mut List) -> Read {
    let mut read = decimal(text, start, list);
    let mut parts = 1;
    while let Some(under) = text[read.end..].strip_prefix('/')
        && under.starts_with(|c: char| c.is_ascii_digit())
    {
        let divisor = decimal(text, read.end + 1, list);
        parts += 1;
        read = Read {
            end: divisor.end,
            value: match (read.value, divisor.value) {
                (Some(over), Some(under)) if parts == 2 => over.ratio(under),
                _ => None,
            },
            is_integer: false,
        };
    }
    match proper_fraction(text, read.end).filter(|_| read.is_integer) {
        Some((end, fraction)) => Read {
            end,
            value: read
                .value
                .zip(fraction)
                .and_then(|(whole, part)| whole.plus(part)),
            is_integer: false,
        },
        None => read,
    }
}

/// The end and value of the fraction below 1 that makes a mixed number of the integer before
/// `start`: ` 1/2`, ` and 1/2`.
fn proper_fraction(text: &str, start: usize) -> Option<(usize, Option<Number>)> {
    let after = text[start..].trim_start_matches(is_blank);
    let after = after
        .strip_prefix("and")
        .map_or(after, |rest| rest.trim_start_matches(is_blank));
    let over_at = text.len() - after.len();
    // A blank stands before the fraction, so that its digits are not those of the integer.
    if !text[start..over_at].ends_with(is_blank) {
        return None;
    }
    let over_end = digits_end(text, over_at);
    text[over_end..].strip_prefix('/')?;
    let end = digits_end(text, over_end + 1);
    let over: i64 = text[over_at..over_end].parse().ok()?;
    let under: i64 = text[over_end + 1..end].parse().ok()?;
    let goes_on = text[end..].starts_with('/') || belongs_to_word(&text[end..]);
    (0 < over && over < under && !goes_on)
        .then(|| (end, Number::from(over).ratio(Number::from(under))))
}

/// Reads digits with their separators of thousands, fraction and exponent.
fn decimal(text: &str, start: usize, list: &mut List) -> Read {
    let mut whole_end = digits_end(text, start);
    let sign = text[whole_end..].chars().next();
    let separates = |c: &char| *c == ',' || GROUP_SIGNS.contains(c);
    if let Some(sign) = sign.filter(|sign| separates(sign) && !list.holds(*sign, start)) {
        let groups = groups_end(text, start, whole_end, sign);
        if are_thousands(&text[start..groups], sign, &text[groups..]) {
            whole_end = groups;
        } else {
            *list = List { sign, end: groups };
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
    let exponent = exponent(text, mantissa_end).or_else(|| power_of_ten(text, mantissa_end));
    let (end, size) = exponent.unwrap_or((mantissa_end, 0));
    Read {
        end,
        value: Number::from_digits(&text[start..whole_end], fraction, size),
        is_integer: fraction.is_empty() && exponent.is_none(),
    }
}

/// Where the groups of digits with `sign` between them end that begin at `start`; the first of them
/// ends at `end`.
fn groups_end(text: &str, start: usize, mut end: usize, sign: char) -> usize {
    if start == end {
        return end;
    }
    while let Some(after) = text[end..].strip_prefix(sign)
        && after.starts_with(|c: char| c.is_ascii_digit())
    {
        end = digits_end(text, end + sign.len_utf8());
    }
    end
}

/// Whether groups of digits, with `rest` after them, are one number: the first has one to three
/// digits and no leading zero, all others have three.
fn are_thousands(groups: &str, sign: char, rest: &str) -> bool {
    let mut all = groups.split(sign);
    let first = all.next().unwrap_or_default();
    let fits = (1..=3).contains(&first.len())
        && !first.starts_with('0')
        && all.clone().all(|group| group.len() == 3);
    if sign == ',' || !fits {
        return fits;
    }
    // `180 180` is a number said twice, and a group that begins a fraction, a time or a word is a
    // number for itself.
    let is_repeated = sign == ' ' && all.all(|group| group == first);
    let mut after = rest.chars();
    let goes_on = match after.next() {
        Some('/' | ':' | ',') => after.next().is_some_and(|c| c.is_ascii_digit()),
        Some('^') => true,
        _ => belongs_to_word(rest),
    };
    !is_repeated && !goes_on
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

/// The end and value of a power of ten that a mantissa is multiplied by: ` × 10^3`, `*10^-2`,
/// `·10³`.
fn power_of_ten(text: &str, start: usize) -> Option<(usize, i64)> {
    let times = text[start..].trim_start_matches(is_blank);
    let ten = times
        .strip_prefix(['×', 'x', 'X', '*', '·'])?
        .trim_start_matches(is_blank)
        .strip_prefix("10")?;
    let raised = ten.strip_prefix('^');
    let digit = |c: char| match raised {
        Some(_) => c.to_digit(10).map(i64::from),
        None => (RAISED.chars().zip(0..)).find_map(|(known, value)| (known == c).then_some(value)),
    };
    let signed = raised.unwrap_or(ten);
    let unsigned = signed
        .strip_prefix(['-', '\u{2212}', '⁻'])
        .unwrap_or(signed);
    // A fourth digit shows that it is no exponent; more might not fit into a number.
    let digits: String = unsigned
        .chars()
        .take_while(|c| digit(*c).is_some())
        .take(4)
        .collect();
    let size = digits
        .chars()
        .filter_map(digit)
        .fold(0_i64, |size, d| size * 10 + d);
    let rest = &unsigned[digits.len()..];
    let is_exponent = (1..=3).contains(&digits.chars().count()) && !rest.starts_with(is_of_words);
    let size = if unsigned.len() < signed.len() {
        -size
    } else {
        size
    };
    is_exponent.then(|| (text.len() - rest.len(), size))
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
        let word = negative_word(&text[..start]);
        return Sign {
            start: word.unwrap_or(start),
            negative: word.is_some(),
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

/// Where the word `negative` begins that ends this text.
fn negative_word(head: &str) -> Option<usize> {
    const WORD: &str = "negative ";
    let at = head.len().checked_sub(WORD.len())?;
    let is_word = head.get(at..)?.eq_ignore_ascii_case(WORD);
    (is_word && !head[..at].ends_with(is_letter)).then_some(at)
}

/// Whether the point before these digits is theirs: `.5`, not the end of a sentence or the rest of
/// `1.2.5`.
fn point_leads(text: &str, first: usize) -> bool {
    text[..first]
        .strip_suffix('.')
        .is_some_and(|head| !head.ends_with(|c: char| c.is_alphanumeric() || c == '.'))
}

/// Whether what follows the digits makes a word of them: an ordinal, or letters that run into
/// digits.
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

/// What makes a word of the digits or the minus after it. Digits of other scripts do: with ours
/// they would be one number.
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
    fn groups_between_blanks() {
        assert_eq!(
            read("10 000; 1\u{202f}234\u{202f}567.5; 1'234"),
            "10000 1234567.5 1234"
        );
        assert_eq!(
            read("18 000 00; 1234 567; 180 180; 3 100/200"),
            "18 0 0 1234 567 180 180 3.5"
        );
        assert_eq!(read("2 100th 5 200:1 18 18"), "2 5 200 1 18 18");
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
        assert_eq!(read("5^2 18 cm^2 4 s^-1 (2^(3))"), "? 18 4 ?");
        assert_eq!(
            read("3 1/2 -3 1/2 3 and 1/4 1 1/3 2 4/3"),
            "3.5 -3.5 3.25 ? 2 ?"
        );
        assert_eq!(
            read("1.5 × 10^3, 2*10^-2, 3·10⁴, 10^3"),
            "1500 0.02 30000 ?"
        );
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
