//! All tables of the benches, with their columns.

use std::{collections::BTreeSet, fmt::Write as _};

use harness_core::measure::Measure;

use crate::{
    TABLES,
    columns::{Described, Table},
};

const TOP: &str = "# Columns of every table\n\n\
    Written from the code. Columns with a key name a row. The rules of all tables, and what `variant` \
    is\nput together from, are in [Files of results](columns.md).\n";

/// All tables, in the order of the reference page.
fn tables() -> impl Iterator<Item = Table> {
    TABLES.iter().flat_map(|tables| tables())
}

/// The columns that name rows in the tables of the benches: two files are matched by those of them
/// that they have.
pub fn key_columns() -> BTreeSet<&'static str> {
    let columns = tables().flat_map(|table| table.columns);
    let keys = columns.filter(|column| column.is_key);
    keys.map(|column| column.name).collect()
}

/// The reference page of all columns, as Markdown.
pub fn columns_page() -> String {
    let mut page = TOP.to_owned();
    for table in tables() {
        let files: Vec<String> = table.files.iter().map(|f| format!("`{f}`")).collect();
        let rows = wrapped(table.rows);
        let _ = writeln!(page, "\n## {}\n\n{rows}\n", files.join(", "));
        page.push_str("| column | key | unit | meaning |\n|---|---|---|---|\n");
        for Described {
            name,
            is_key,
            unit,
            meaning,
        } in table.columns
        {
            let key = if is_key { "key" } else { "" };
            let _ = writeln!(page, "| `{name}` | {key} | {unit} | {meaning} |");
        }
        if !table.measures.is_empty() {
            page.push_str("\n| metric | variant | unit | definition |\n|---|---|---|---|\n");
        }
        for measure in table.measures {
            let Measure { name, unit, .. } = measure;
            let definition = measure.definition.replace('|', "\\|");
            let variant = match measure.variant {
                "" => String::new(),
                variant => format!("`{variant}`"),
            };
            let _ = writeln!(page, "| `{name}` | {variant} | {unit} | {definition} |");
        }
    }
    page
}

/// A text in lines of at most 100 columns.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let n = word.chars().count();
        match width {
            0 => {}
            _ if width + 1 + n > 100 => {
                out.push('\n');
                width = 0;
            }
            _ => {
                out.push(' ');
                width += 1;
            }
        }
        out.push_str(word);
        width += n;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, fs, path::Path};

    /// Files that others have kept are matched by these names: none may go.
    #[test]
    fn the_keys_of_all_tables() {
        let names = "amp_factor attribute bin component depth dlm_steps extraction family group k \
                     k_scope label latent layer max_new_tokens metric model n_prefix order order_a \
                     order_b position preset random_windows sae sae_id sae_source step target \
                     token_scope variant";
        let keys: Vec<&str> = key_columns().into_iter().collect();
        assert_eq!(keys.join(" "), names);
    }

    /// `HARNESS_WRITE_DOCS=1` writes the page anew.
    #[test]
    fn the_reference_page_is_what_the_code_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/tables.md");
        let page = columns_page();
        if env::var_os("HARNESS_WRITE_DOCS").is_some() {
            fs::write(&path, &page).unwrap();
        }
        assert!(
            fs::read_to_string(&path).unwrap() == page,
            "{} is not what the code says; write it with HARNESS_WRITE_DOCS=1",
            path.display()
        );
    }

    #[test]
    fn every_column_is_explained() {
        for column in tables().flat_map(|table| table.columns) {
            assert!(!column.meaning.is_empty(), "{}", column.name);
        }
    }
}
