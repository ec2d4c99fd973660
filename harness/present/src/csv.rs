//! CSV files as the harness writes them: tables whose columns are declared once.

use harness_contract::sanitize::sanitize;

/// A column of a table: from a table's columns come its header, its fields, the columns that
/// `harness compare` matches rows by, and the reference page.
pub struct Column<R: ?Sized> {
    pub name: &'static str,
    /// Whether it is one of those that name a row.
    pub is_key: bool,
    /// Empty for a plain number and for text.
    pub unit: &'static str,
    /// What it means, as the reference page says it.
    pub meaning: &'static str,
    /// Its field of a row, unrounded; empty where there is no value.
    pub field: fn(&R) -> String,
}

impl<R: ?Sized> Clone for Column<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: ?Sized> Copy for Column<R> {}

impl<R: ?Sized> Column<R> {
    /// A column that, with the other keys, names a row.
    pub const fn key(
        name: &'static str,
        meaning: &'static str,
        field: fn(&R) -> String,
    ) -> Column<R> {
        Column {
            name,
            is_key: true,
            unit: "",
            meaning,
            field,
        }
    }

    /// A column with a value.
    pub const fn value(
        name: &'static str,
        unit: &'static str,
        meaning: &'static str,
        field: fn(&R) -> String,
    ) -> Column<R> {
        Column {
            name,
            is_key: false,
            unit,
            meaning,
            field,
        }
    }
}

/// Rows as a CSV file with a header.
pub fn csv_table<'a, R: ?Sized + 'a>(
    columns: &[Column<R>],
    rows: impl IntoIterator<Item = &'a R>,
) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let fields = |row: &'a R| columns.iter().map(|column| (column.field)(row)).collect();
    csv_text(&names, rows.into_iter().map(fields))
}

/// A value unrounded (the shortest text that reads back the same), or nothing.
pub fn optional<T: ToString>(value: Option<T>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

/// A header and rows as CSV text with LF line ends.
pub fn csv_text(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut out = String::new();
    for fields in std::iter::once(columns.iter().map(|c| (*c).to_owned()).collect()).chain(rows) {
        let line: Vec<String> = fields.iter().map(|f| field(f)).collect();
        out.push_str(&line.join(","));
        out.push('\n');
    }
    out
}

/// A field of a CSV file, quoted where it must be. A text that a spreadsheet would take for a
/// formula gets a quote in front. A zero has no sign: `-0` is what is left of a difference of equal
/// numbers, and says nothing.
fn field(text: &str) -> String {
    let text = if text == "-0" { "0" } else { text };
    let is_number = text.parse::<f64>().is_ok();
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number;
    let text = match is_formula {
        true => format!("'{}", sanitize(text)),
        false => sanitize(text),
    };
    if text.contains(['"', ',', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_break_a_row_or_become_a_formula() {
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"x\"\n"), "\"say \"\"x\"\"\n\"");
        assert_eq!(field("=cmd|x"), "'=cmd|x");
        assert_eq!(field("\r=cmd|x"), "'\\u{d}=cmd|x");
        assert_eq!(field("a\u{1b}[2J"), "a\\u{1b}[2J");
        assert_eq!(field("-0.5"), "-0.5");
        assert_eq!(field(&(-0.0_f64).to_string()), "0");
    }
}
