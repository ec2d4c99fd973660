//! Python's `%`: the remainder of numbers, and formats of strings.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::python;

/// Widest field of a format: a template may not ask for memory without end.
const MAX_WIDTH: usize = 10_000;

fn bad(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail.into())
}

/// `left % right`; `is_tuple` where `right` is written as a tuple in parentheses.
pub(super) fn modulo(left: Value, right: Value, is_tuple: Option<bool>) -> Result<Value, Error> {
    if let Some(text) = left.as_str() {
        // A list is one value, a tuple several; without parentheses to tell them apart, a format
        // with one field takes a list as it is.
        let is_several = is_tuple == Some(true)
            || right.kind() == ValueKind::Seq && text.replace("%%", "").matches('%').count() > 1;
        let values = if is_several {
            python::items(&right)
        } else {
            vec![right.clone()]
        };
        return format(text, &values, Some(&right)).map(Value::from);
    }
    let integers = (integer(&left), integer(&right));
    if let (Some(a), Some(b)) = integers {
        if b == 0 {
            return Err(bad("remainder of a division by 0"));
        }
        let rest = a.checked_rem(b).unwrap_or(0);
        let floor = if rest != 0 && (rest < 0) != (b < 0) {
            rest + b
        } else {
            rest
        };
        return Ok(match i64::try_from(floor) {
            Ok(small) => small.into(),
            Err(_) => floor.into(),
        });
    }
    match (real(&left), real(&right)) {
        (Some(_), Some(0.0)) => Err(bad("remainder of a division by 0")),
        (Some(a), Some(b)) => {
            let rest = a % b;
            Ok(if rest != 0.0 && (rest < 0.0) != (b < 0.0) {
                rest + b
            } else {
                rest
            }
            .into())
        }
        _ => Err(bad(format!(
            "% is not known for {} and {}",
            left.kind(),
            right.kind()
        ))),
    }
}

fn integer(value: &Value) -> Option<i128> {
    match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    }
}

fn real(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Bool => Some(f64::from(value.is_true())),
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        _ => None,
    }
}

/// One field of a format.
#[derive(Default)]
struct Field {
    minus: bool,
    plus: bool,
    blank: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// `text % values`; `%(name)s` looks names up in `named`.
pub(super) fn format(text: &str, values: &[Value], named: Option<&Value>) -> Result<String, Error> {
    let mut out = String::new();
    let mut values_left = values.iter();
    let mut by_name = false;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char != '%' {
            out.push(char);
            continue;
        }
        let mut field = Field::default();
        let mut value = None;
        if chars.next_if_eq(&'(').is_some() {
            let name: String = chars.by_ref().take_while(|char| *char != ')').collect();
            let found = named.and_then(|map| map.get_item(&Value::from(name.as_str())).ok());
            let found = found.filter(|value| !value.is_undefined());
            value =
                Some(found.ok_or_else(|| bad(format!("the format {text:?} asks for {name:?}")))?);
            by_name = true;
        }
        while let Some(flag) = chars.next_if(|char| "-+ 0#".contains(*char)) {
            match flag {
                '-' => field.minus = true,
                '+' => field.plus = true,
                ' ' => field.blank = true,
                '0' => field.zero = true,
                _ => field.alternate = true,
            }
        }
        let mut size = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            if chars.next_if_eq(&'*').is_some() {
                let given = values_left.next().and_then(integer);
                return given.and_then(|size| usize::try_from(size).ok());
            }
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            if digits.is_empty() {
                Some(0)
            } else {
                digits.parse().ok()
            }
        };
        let wide = || {
            bad(format!(
                "the format {text:?} has a field wider than {MAX_WIDTH}"
            ))
        };
        field.width = size(&mut chars)
            .filter(|width| *width <= MAX_WIDTH)
            .ok_or_else(wide)?;
        if chars.next_if_eq(&'.').is_some() {
            let precision = size(&mut chars).filter(|width| *width <= MAX_WIDTH);
            field.precision = Some(precision.ok_or_else(wide)?);
        }
        while chars.next_if(|char| "hlL".contains(*char)).is_some() {}
        let kind = chars
            .next()
            .ok_or_else(|| bad(format!("the format {text:?} ends early")))?;
        if kind == '%' {
            out.push('%');
            continue;
        }
        let few = || {
            bad(format!(
                "the format {text:?} asks for more values than it gets"
            ))
        };
        let value = match value {
            Some(value) => value,
            None => values_left.next().ok_or_else(few)?.clone(),
        };
        out.push_str(&field.write(kind, &value)?);
    }
    if !by_name && values_left.next().is_some() {
        let is_map = named.is_some_and(|value| value.kind() == ValueKind::Map);
        if !is_map {
            return Err(bad(format!(
                "the format {text:?} gets more values than it asks for"
            )));
        }
    }
    Ok(out)
}

impl Field {
    fn write(&self, kind: char, value: &Value) -> Result<String, Error> {
        let wrong = || {
            bad(format!(
                "%{kind} asks for a number, not for {}",
                value.kind()
            ))
        };
        let cut = |text: String| match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        };
        Ok(match kind {
            's' => self.pad(String::new(), cut(python::text(value)), false),
            'r' | 'a' => self.pad(String::new(), cut(python::repr(value)), false),
            'c' => match (value.as_str(), integer(value)) {
                (Some(text), _) if text.chars().count() == 1 => {
                    self.pad(String::new(), text.to_owned(), false)
                }
                (None, Some(code)) => {
                    let code = u32::try_from(code).ok().and_then(char::from_u32);
                    self.pad(String::new(), code.ok_or_else(wrong)?.to_string(), false)
                }
                _ => return Err(wrong()),
            },
            'd' | 'i' | 'u' => {
                let whole = integer(value).or_else(|| real(value).map(|real| real.trunc() as i128));
                let whole = whole.ok_or_else(wrong)?;
                self.integer(whole < 0, whole.unsigned_abs().to_string(), "")
            }
            'x' | 'X' | 'o' => {
                let whole = integer(value).ok_or_else(wrong)?;
                let size = whole.unsigned_abs();
                let (digits, prefix) = match kind {
                    'x' => (format!("{size:x}"), "0x"),
                    'X' => (format!("{size:X}"), "0X"),
                    _ => (format!("{size:o}"), "0o"),
                };
                self.integer(whole < 0, digits, if self.alternate { prefix } else { "" })
            }
            'f' | 'F' | 'e' | 'E' => {
                let real = real(value).ok_or_else(wrong)?;
                let precision = self.precision.unwrap_or(6);
                let size = real.abs();
                let digits = match kind {
                    _ if !real.is_finite() => python::float(size),
                    'f' | 'F' => format!("{size:.precision$}"),
                    _ => exponential(size, precision),
                };
                let digits = if kind.is_uppercase() {
                    digits.to_uppercase()
                } else {
                    digits
                };
                let is_finite = real.is_finite();
                self.pad(
                    self.sign(real.is_sign_negative() && !real.is_nan()),
                    digits,
                    is_finite,
                )
            }
            _ => {
                return Err(bad(format!(
                    "the format character {kind:?} is not known here"
                )));
            }
        })
    }

    fn integer(&self, is_negative: bool, digits: String, prefix: &str) -> String {
        let zeros = self.precision.unwrap_or(0).saturating_sub(digits.len());
        let sign = self.sign(is_negative) + prefix;
        self.pad(sign, "0".repeat(zeros) + &digits, true)
    }

    fn sign(&self, is_negative: bool) -> String {
        match (is_negative, self.plus, self.blank) {
            (true, _, _) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        }
        .to_owned()
    }

    fn pad(&self, sign: String, text: String, is_number: bool) -> String {
        let length = sign.chars().count() + text.chars().count();
        let missing = self.width.saturating_sub(length);
        if self.minus {
            return sign + &text + &" ".repeat(missing);
        }
        if self.zero && is_number {
            return sign + &"0".repeat(missing) + &text;
        }
        " ".repeat(missing) + &sign + &text
    }
}

/// Digits with an exponent of at least two digits.
fn exponential(size: f64, precision: usize) -> String {
    let text = format!("{size:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ('-', rest),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}
