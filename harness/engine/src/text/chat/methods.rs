//! Methods of Python's strings and lists that templates call.
//!
//! What `minijinja_contrib` has and does as Python is taken from there.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat;

use super::python;

/// Longest text that a method may pad to.
const MAX_WIDTH: usize = 10_000;

/// The callback for methods that the engine does not know.
pub(super) fn call(
    state: &State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let own = match (value.as_str(), value.kind()) {
        (Some(text), _) => of_string(text, method, args)?,
        (None, ValueKind::Seq) => of_list(value, method, args)?,
        _ => None,
    };
    match own {
        Some(result) => Ok(result),
        None => pycompat::unknown_method_callback(state, value, method, args),
    }
}

fn bad(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail.into())
}

fn of_list(list: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    if method != "index" {
        return Ok(None);
    }
    let (what,): (Value,) = from_args(args)?;
    let place = python::items(list).iter().position(|item| *item == what);
    place
        .map(|place| Some(place.into()))
        .ok_or_else(|| bad(format!("{} is not in the list", python::repr(&what))))
}

fn of_string(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let nothing = || from_args::<()>(args);
    Ok(Some(match method {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            let drops = |char: char| chars.map_or(is_space(char), |chars| chars.contains(char));
            let mut rest = text;
            if method != "rstrip" {
                rest = rest.trim_start_matches(drops);
            }
            if method != "lstrip" {
                rest = rest.trim_end_matches(drops);
            }
            rest.into()
        }
        "split" | "rsplit" => split(text, method == "rsplit", args)?,
        "splitlines" => {
            let (keep, named): (Option<bool>, Kwargs) = from_args(args)?;
            let keep = keep.or(named.get("keepends")?).unwrap_or(false);
            named.assert_all_used()?;
            lines(text, keep).into_iter().map(Value::from).collect()
        }
        "partition" | "rpartition" => {
            let (by,): (&str,) = from_args(args)?;
            if by.is_empty() {
                return Err(bad("empty separator"));
            }
            let (found, alone) = match method {
                "partition" => (text.split_once(by), [text, "", ""]),
                _ => (text.rsplit_once(by), ["", "", text]),
            };
            let three = found.map_or(alone, |(left, right)| [left, by, right]);
            three.into_iter().map(Value::from).collect()
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            text.strip_prefix(prefix).unwrap_or(text).into()
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            text.strip_suffix(suffix).unwrap_or(text).into()
        }
        "find" | "rfind" | "index" | "rindex" | "count" => search(text, method, args)?,
        "ljust" | "rjust" | "center" | "zfill" => padded(text, method, args)?.into(),
        "title" => {
            nothing()?;
            title(text).into()
        }
        "capitalize" => {
            nothing()?;
            let mut chars = text.chars();
            let first: String = chars
                .next()
                .into_iter()
                .flat_map(char::to_uppercase)
                .collect();
            (first + &chars.as_str().to_lowercase()).into()
        }
        "swapcase" => {
            nothing()?;
            let swap = |char: char| match char.is_uppercase() {
                true => char.to_lowercase().collect::<String>(),
                false => char.to_uppercase().collect(),
            };
            text.chars().map(swap).collect::<String>().into()
        }
        "casefold" => {
            nothing()?;
            text.to_lowercase().replace('ß', "ss").into()
        }
        "isspace" | "isdigit" | "isdecimal" | "isnumeric" | "isalpha" | "isalnum" => {
            nothing()?;
            let is = |char: char| match method {
                "isspace" => is_space(char),
                "isalpha" => char.is_alphabetic(),
                "isalnum" => char.is_alphanumeric(),
                _ => char.is_numeric(),
            };
            (!text.is_empty() && text.chars().all(is)).into()
        }
        "islower" | "isupper" => {
            nothing()?;
            let (lower, upper) = (char::is_lowercase, char::is_uppercase);
            type IsCased = fn(char) -> bool;
            let (has, has_not): (IsCased, IsCased) = match method {
                "islower" => (lower, upper),
                _ => (upper, lower),
            };
            (text.contains(has) && !text.contains(has_not)).into()
        }
        "format" => {
            let (values, named): (Rest<Value>, Kwargs) = from_args(args)?;
            let mut shown: Vec<Value> = values.iter().map(as_printed).collect();
            let names: Vec<(String, Value)> = named
                .args()
                .map(|name| Ok((name.to_owned(), as_printed(&named.get::<Value>(name)?))))
                .collect::<Result<_, Error>>()?;
            if !names.is_empty() {
                shown.push(Kwargs::from_iter(names).into());
            }
            minijinja::format_filter(minijinja::FormatStyle::StrFormat, text, &shown)?.into()
        }
        _ => return Ok(None),
    }))
}

/// Numbers and strings as they are, so that formats of theirs apply; else what Python prints.
fn as_printed(value: &Value) -> Value {
    match value.kind() {
        ValueKind::Number | ValueKind::String => value.clone(),
        _ => python::text(value).into(),
    }
}

/// What Python takes for blank.
fn is_space(char: char) -> bool {
    char.is_whitespace() || matches!(char, '\u{1c}'..='\u{1f}')
}

fn split(text: &str, from_right: bool, args: &[Value]) -> Result<Value, Error> {
    let (by, most, named): (Option<&str>, Option<i64>, Kwargs) = from_args(args)?;
    let by = by.or(named.get("sep")?);
    let most = most.or(named.get("maxsplit")?).unwrap_or(-1);
    named.assert_all_used()?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let pieces: Vec<&str> = match by {
        Some("") => return Err(bad("empty separator")),
        Some(by) if from_right => {
            let mut pieces: Vec<&str> = text.rsplitn(most.saturating_add(1), by).collect();
            pieces.reverse();
            pieces
        }
        Some(by) => text.splitn(most.saturating_add(1), by).collect(),
        None if from_right => {
            let (mut pieces, mut rest) = (Vec::new(), text.trim_end_matches(is_space));
            while !rest.is_empty() && pieces.len() < most {
                let cut = rest.rfind(is_space);
                let start = cut.map_or(0, |at| {
                    at + rest[at..].chars().next().map_or(0, char::len_utf8)
                });
                pieces.push(&rest[start..]);
                rest = rest[..start].trim_end_matches(is_space);
            }
            pieces.extend(Some(rest).filter(|rest| !rest.is_empty()));
            pieces.reverse();
            pieces
        }
        None => {
            let (mut pieces, mut rest) = (Vec::new(), text.trim_start_matches(is_space));
            while !rest.is_empty() && pieces.len() < most {
                let end = rest.find(is_space).unwrap_or(rest.len());
                pieces.push(&rest[..end]);
                rest = rest[end..].trim_start_matches(is_space);
            }
            pieces.extend(Some(rest).filter(|rest| !rest.is_empty()));
            pieces
        }
    };
    Ok(pieces.into_iter().map(Value::from).collect())
}

fn lines(text: &str, keep: bool) -> Vec<&str> {
    let ends = |char: char| matches!(char, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(ends) {
        let end = match rest[at..].starts_with("\r\n") {
            true => at + 2,
            false => at + rest[at..].chars().next().map_or(1, char::len_utf8),
        };
        out.push(&rest[..if keep { end } else { at }]);
        rest = &rest[end..];
    }
    out.extend(Some(rest).filter(|rest| !rest.is_empty()));
    out
}

fn search(text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let (what, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
    let length = text.chars().count() as i64;
    let place = |at: i64| {
        if at < 0 {
            (length + at).max(0)
        } else {
            at.min(length)
        }
    };
    let (start, end) = (place(start.unwrap_or(0)), place(end.unwrap_or(length)));
    let part: String = text
        .chars()
        .skip(start as usize)
        .take((end - start).max(0) as usize)
        .collect();
    let found = match method {
        "count" if what.is_empty() => return Ok((part.chars().count() + 1).into()),
        "count" => return Ok(part.matches(what).count().into()),
        "rfind" | "rindex" => part.rfind(what),
        _ => part.find(what),
    };
    match found {
        Some(at) => Ok((start + part[..at].chars().count() as i64).into()),
        None if method.ends_with("index") => Err(bad(format!("{what:?} is not in the string"))),
        None => Ok((-1).into()),
    }
}

fn padded(text: &str, method: &str, args: &[Value]) -> Result<String, Error> {
    let (width, fill): (usize, Option<&str>) = from_args(args)?;
    if width > MAX_WIDTH {
        return Err(bad(format!("{method}: wider than {MAX_WIDTH}")));
    }
    let missing = width.saturating_sub(text.chars().count());
    let fill = fill.unwrap_or(" ");
    Ok(match method {
        "ljust" => text.to_owned() + &fill.repeat(missing),
        "rjust" => fill.repeat(missing) + text,
        "center" => {
            // The odd blank goes where Python puts it.
            let left = missing / 2 + (missing & width & 1);
            fill.repeat(left) + text + &fill.repeat(missing - left)
        }
        _ => {
            let (sign, rest) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            sign.to_owned() + &"0".repeat(missing) + rest
        }
    })
}

fn title(text: &str) -> String {
    let mut out = String::new();
    let mut in_word = false;
    for char in text.chars() {
        match in_word {
            true => out.extend(char.to_lowercase()),
            false => out.extend(char.to_uppercase()),
        }
        in_word = char.is_alphabetic();
    }
    out
}
