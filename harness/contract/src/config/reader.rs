use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    ops::Range,
};

use harness_core::suggest;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{ConfigError, Problem, SettingSource, Written, problem::Place};

/// Problems of a file that are listed; more are counted. Nobody reads a hundred, and a file of bad
/// values alone would have a million.
const MAX_PROBLEMS: usize = 100;

/// A TOML text and the problems found in it so far.
pub struct Document<'t> {
    origin: String,
    text: &'t str,
    problems: RefCell<Vec<(usize, Problem)>>,
    /// Problems beyond [`MAX_PROBLEMS`].
    unlisted: Cell<usize>,
}

/// A table of a document. Each getter marks its key as known; [`Table::finish`] reports the others.
pub struct Table<'d, 't> {
    doc: &'d Document<'t>,
    entries: &'d DeTable<'t>,
    span: Range<usize>,
    name: String,
    known: RefCell<BTreeSet<&'static str>>,
}

impl<'t> Document<'t> {
    /// A text and the name it is reported under.
    pub fn new(origin: impl Into<String>, text: &'t str) -> Document<'t> {
        Document {
            origin: origin.into(),
            text,
            problems: RefCell::default(),
            unlisted: Cell::default(),
        }
    }

    /// Parse the text.
    ///
    /// # Errors
    /// The first syntax error, located.
    pub fn parse(&self) -> Result<Spanned<DeTable<'t>>, ConfigError> {
        DeTable::parse(self.text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let problem = Problem {
                origin: self.origin.clone(),
                place: Some(Place::of(self.text, span)),
                message: format!(
                    "not valid TOML: {}",
                    error.message().trim_end().replace('\n', ", ")
                ),
                hint: String::new(),
            };
            ConfigError {
                problems: vec![problem],
            }
        })
    }

    /// The top table of the parsed text.
    pub fn root<'d>(&'d self, parsed: &'d Spanned<DeTable<'t>>) -> Table<'d, 't> {
        Table {
            doc: self,
            entries: parsed.get_ref(),
            span: 0..0,
            name: String::new(),
            known: RefCell::default(),
        }
    }

    /// Note a problem at a byte range.
    pub fn problem(&self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        if self.problems.borrow().len() == MAX_PROBLEMS {
            self.unlisted.set(self.unlisted.get() + 1);
            return;
        }
        let at = span.start;
        let place = Some(Place::of(self.text, span));
        let problem = Problem {
            origin: self.origin.clone(),
            place,
            message: message.into(),
            hint: hint.into(),
        };
        self.problems.borrow_mut().push((at, problem));
    }

    /// The problems found, in the order of the text; the last says how many more there are, when
    /// there are very many.
    pub fn take_problems(&self) -> Vec<Problem> {
        let mut problems = self.problems.take();
        problems.sort_by_key(|(at, _)| *at);
        let more = match self.unlisted.take() {
            0 => None,
            n => Some(Problem::new(
                &self.origin,
                format!("{n} further problems are not listed"),
                "",
            )),
        };
        let listed = problems.into_iter().map(|(_, problem)| problem);
        listed.chain(more).collect()
    }
}

impl<'d, 't> Table<'d, 't> {
    /// Text of `key`.
    pub fn string(&self, key: &'static str) -> Option<String> {
        let value = self.get(key)?;
        match value.get_ref().as_str() {
            Some(text) if text.trim().is_empty() => {
                self.doc
                    .problem(value.span(), format!("`{key}` is empty"), "");
                None
            }
            Some(text) => Some(text.to_owned()),
            None => self.wrong_type(key, value, "a string"),
        }
    }

    /// One of some words.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string(key)?;
        let found = choices
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let span = self.get(key)?.span();
            let hint = suggest::hint(&text, choices.iter().map(|(name, _)| *name));
            self.doc
                .problem(span, format!("`{key}` has no choice `{text}`"), hint);
        }
        found
    }

    /// A whole number of a range.
    pub fn integer(&self, key: &'static str, range: Range<i64>) -> Option<i64> {
        let value = self.get(key)?;
        self.integer_in(key, value, &range)
    }

    /// A whole number of a range, as `u32`.
    pub fn u32(&self, key: &'static str, range: Range<i64>) -> Option<u32> {
        self.integer(key, range)?.try_into().ok()
    }

    /// A finite number for which `holds` is true; `rule` says which those are.
    pub fn number(&self, key: &'static str, rule: &str, holds: fn(f64) -> bool) -> Option<f64> {
        let value = self.get(key)?;
        let text = match value.get_ref() {
            DeValue::Float(float) => float.as_str().replace('_', ""),
            DeValue::Integer(int) if int.radix() == 10 => int.as_str().replace('_', ""),
            _ => return self.wrong_type(key, value, "a number"),
        };
        match text.parse::<f64>() {
            Ok(x) if x.is_finite() && holds(x) => Some(x),
            _ => {
                self.doc.problem(
                    value.span(),
                    format!("`{key}` is {text}"),
                    format!("must be {rule}"),
                );
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        value
            .get_ref()
            .as_bool()
            .or_else(|| self.wrong_type(key, value, "true or false"))
    }

    /// A list of whole numbers of a range, not empty, without repeats.
    pub fn u32_list(&self, key: &'static str, range: Range<i64>) -> Option<Vec<u32>> {
        let value = self.get(key)?;
        let Some(items) = value.get_ref().as_array() else {
            return self.wrong_type(key, value, "a list of whole numbers");
        };
        let list: Vec<u32> = items
            .iter()
            .filter_map(|item| self.integer_in(key, item, &range)?.try_into().ok())
            .collect();
        if items.is_empty() {
            self.doc
                .problem(value.span(), format!("`{key}` is empty"), "");
        } else if list.iter().collect::<BTreeSet<_>>().len() < list.len() {
            self.doc
                .problem(value.span(), format!("`{key}` names a number twice"), "");
        }
        (list.len() == items.iter().count()).then_some(list)
    }

    /// A list of texts.
    pub fn string_list(&self, key: &'static str) -> Option<Vec<String>> {
        let value = self.get(key)?;
        let Some(items) = value.get_ref().as_array() else {
            return self.wrong_type(key, value, "a list of strings");
        };
        items
            .iter()
            .map(|item| {
                item.get_ref()
                    .as_str()
                    .map(str::to_owned)
                    .or_else(|| self.wrong_type(key, item, "a list of strings"))
            })
            .collect()
    }

    /// A text, or a list of texts.
    pub fn one_or_more(&self, key: &'static str) -> Option<Vec<String>> {
        match self.get(key)?.get_ref().as_str() {
            Some(_) => Some(vec![self.string(key)?]),
            None => self.string_list(key),
        }
    }

    pub fn table(&self, key: &'static str) -> Option<Table<'d, 't>> {
        let value = self.get(key)?;
        self.as_table(key, value)
    }

    /// A list of tables (`[[key]]`), empty when the key is missing.
    pub fn tables(&self, key: &'static str) -> Vec<Table<'d, 't>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type::<()>(key, value, "a list of tables");
            return Vec::new();
        };
        items
            .iter()
            .filter_map(|item| self.as_table(key, item))
            .collect()
    }

    /// The value, or a problem when the key is missing. A key that is there with a bad value has
    /// been reported already.
    pub fn required<T>(&self, key: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.has(key) {
            self.problem(format!("`{key}` is missing{}", self.place()), "");
        }
        value
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name.get_ref() == key)
    }

    /// The value of a key as it is written, and where; `None` when the key is missing.
    pub fn source(&self, key: &'static str) -> Option<SettingSource> {
        let span = self.get(key)?.span();
        let written = self.doc.text.get(span.clone())?;
        Some(SettingSource {
            value: written.split_whitespace().collect::<Vec<_>>().join(" "),
            from: Written::File {
                path: self.doc.origin.clone(),
                line: Place::of(self.doc.text, span).line,
                table: self.name.clone(),
            },
        })
    }

    /// Note a problem of the table as a whole.
    pub fn problem(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.doc.problem(self.span.clone(), message, hint);
    }

    /// Note a problem of the value of a key (of the table, when the key is missing).
    pub fn problem_at(
        &self,
        key: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let span = self.get(key).map_or(self.span.clone(), Spanned::span);
        self.doc.problem(span, message, hint);
    }

    /// Report every key that no getter has asked for.
    pub fn finish(self) {
        let known = self.known.borrow();
        // Misspelt keys are nearly always keys that are still free.
        let free: Vec<&str> = known.iter().copied().filter(|k| !self.has(k)).collect();
        for (key, _) in self
            .entries
            .iter()
            .filter(|(key, _)| !known.contains(key.get_ref().as_ref()))
        {
            let name = key.get_ref();
            let hint = suggest::hint(name, free.iter().copied());
            self.doc.problem(
                key.span(),
                format!("unknown key `{name}`{}", self.place()),
                hint,
            );
        }
    }

    fn place(&self) -> String {
        if self.name.is_empty() {
            String::new()
        } else {
            format!(" in `{}`", self.name)
        }
    }

    fn get(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'t>>> {
        self.known.borrow_mut().insert(key);
        self.entries
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| value)
    }

    fn as_table(&self, key: &str, value: &'d Spanned<DeValue<'t>>) -> Option<Table<'d, 't>> {
        let Some(entries) = value.get_ref().as_table() else {
            return self.wrong_type(key, value, "a table");
        };
        let name = if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        };
        Some(Table {
            doc: self.doc,
            entries,
            span: value.span(),
            name,
            known: RefCell::default(),
        })
    }

    fn integer_in(
        &self,
        key: &str,
        value: &Spanned<DeValue<'t>>,
        range: &Range<i64>,
    ) -> Option<i64> {
        let DeValue::Integer(int) = value.get_ref() else {
            return self.wrong_type(key, value, "a whole number");
        };
        let text = int.as_str().replace('_', "");
        let parsed = i64::from_str_radix(&text, int.radix())
            .ok()
            .filter(|n| range.contains(n));
        if parsed.is_none() {
            let rule = match range.end {
                i64::MAX => format!("must be {} or more", range.start),
                end => format!("must be {} to {}", range.start, end - 1),
            };
            self.doc
                .problem(value.span(), format!("`{key}` is {text}"), rule);
        }
        parsed
    }

    fn wrong_type<T>(&self, key: &str, value: &Spanned<DeValue<'t>>, wanted: &str) -> Option<T> {
        let found = value.get_ref().type_str();
        self.doc.problem(
            value.span(),
            format!("`{key}` is of type {found}"),
            format!("must be {wanted}"),
        );
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let doc = Document::new("a.toml", text);
        let parsed = match doc.parse() {
            Ok(parsed) => parsed,
            Err(error) => return error.to_string(),
        };
        let root = doc.root(&parsed);
        root.required("name", root.string("name"));
        root.u32_list("layers", 0..100);
        root.integer("seed", 0..i64::MAX);
        root.number("amp_factor", "finite", |_| true);
        root.number("top_p", "above 0 and at most 1", |x| x > 0.0 && x <= 1.0);
        root.choice("policy", &[("mask", 0), ("unmask", 1)]);
        if let Some(sub) = root.table("sub") {
            sub.boolean("on");
            sub.finish();
        }
        root.finish();
        ConfigError::check(doc.take_problems()).map_or_else(|e| e.to_string(), |()| String::new())
    }

    #[test]
    fn a_good_file_has_no_problems() {
        let text = "name='x'\nlayers=[0, 1_0, 0x1f]\nseed=3\namp_factor=2\ntop_p=0.5\npolicy='mask'\n[sub]\non=true\n";
        assert_eq!(problems(text), "");
    }

    #[test]
    fn syntax_errors_are_located() {
        let got = problems("name = 'x'\nseed = = 3\n");
        assert!(got.starts_with("a.toml:2:8: not valid TOML"), "{got}");
        assert!(got.contains("2 | seed = = 3\n  |        ^"), "{got}");
    }

    #[test]
    fn an_unknown_key_is_marked_and_corrected() {
        let got = problems("name = 'x'\n\nlayres = [1]\n");
        assert_eq!(
            got,
            "a.toml:3:1: unknown key `layres`\n  |\n3 | layres = [1]\n  | ^^^^^^ did you mean `layers`?"
        );
        let got = problems("name = 'x'\n[sub]\nonn = true\n");
        assert!(
            got.contains("unknown key `onn` in `sub`") && got.contains("did you mean `on`?"),
            "{got}"
        );
    }

    /// Each problem kept its whole line: these 90 KB became 2.7 GB.
    #[test]
    fn a_long_line_of_bad_values_is_shown_in_part_and_counted() {
        let text = format!("name = 'x'\nlayers = [{}]\n", "-1,".repeat(30_000));
        let got = problems(&text);
        assert!(got.len() < 100_000, "{} bytes", got.len());
        assert!(got.starts_with("101 problems\na.toml:2:11: `layers` is -1"));
        assert!(
            got.ends_with("a.toml: 29900 further problems are not listed"),
            "{got}"
        );
        // The mark stands below what it marks, in the middle of the line too.
        let lines: Vec<&str> = got.lines().collect();
        let last = lines.iter().rposition(|line| line.contains("^^")).unwrap();
        let at = lines[last].chars().position(|c| c == '^').unwrap();
        let marked: String = lines[last - 1].chars().skip(at).take(2).collect();
        assert_eq!(marked, "-1");
        assert!(lines[last - 1].starts_with("2 | …") && lines[last - 1].ends_with('…'));
    }

    /// A search of all keys for each unknown one would take minutes here.
    #[test]
    fn any_number_of_unknown_keys_is_counted() {
        let keys: String = (0..50_000).map(|i| format!("k{i}=1\n")).collect();
        assert!(problems(&keys).contains("49901 further problems"));
    }

    #[test]
    fn every_bad_value_is_listed_in_one_error() {
        let got = problems(
            "layers = [1, 100, -2]\nseed = -1\namp_factor = nan\ntop_p = 1.5\npolicy = 'unmsak'\nsub = 3\n",
        );
        for part in [
            "8 problems",
            "`layers` is 100",
            "`layers` is -2",
            "`seed` is -1",
            "must be 0 or more",
            "`amp_factor` is nan",
            "`top_p` is 1.5",
            "must be above 0 and at most 1",
            "did you mean `unmask`",
            "`sub` is of type integer",
            "`name` is missing",
        ] {
            assert!(got.contains(part), "{part} is not in\n{got}");
        }
    }

    #[test]
    fn wrong_types_repeats_and_empty_lists() {
        assert!(problems("name = 3").contains("`name` is of type integer"));
        assert!(problems("name = ' '").contains("`name` is empty"));
        assert!(problems("name='x'\nlayers = []").contains("`layers` is empty"));
        assert!(problems("name='x'\nlayers = [1, 1]").contains("names a number twice"));
        assert!(problems("name='x'\nlayers = 'a'").contains("must be a list of whole numbers"));
        assert!(
            problems("name='x'\nseed = 99999999999999999999")
                .contains("`seed` is 99999999999999999999")
        );
    }
}
