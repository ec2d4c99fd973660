//! All tables of the benches, with their columns.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::{
    TABLES,
    columns::{Described, Table},
};

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
    let mut page = "# Columns of every table\n\nWritten from the code. Columns with a key name a row. \
        The rules of all tables, and the values of\n`metric` and `variant`, are in [Columns and files \
        of results](columns.md).\n"
        .to_owned();
    for table in tables() {
        let files: Vec<String> = table.files.iter().map(|f| format!("`{f}`")).collect();
        let _ = writeln!(page, "\n## {}\n", files.join(", "));
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
    }
    page
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
        if env::var_os("HARNESS_WRITE_DOCS").is_some() {
            fs::write(&path, columns_page()).unwrap();
        }
        let page = fs::read_to_string(&path).unwrap();
        assert!(
            page == columns_page(),
            "{} is not what the code says; write it with HARNESS_WRITE_DOCS=1",
            path.display()
        );
    }

    /// Every column says what it means, and the page of results names it.
    #[test]
    fn every_column_is_explained() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let schema = fs::read_to_string(root.join("results/SCHEMA.md")).unwrap();
        for column in tables().flat_map(|table| table.columns) {
            assert!(!column.meaning.is_empty(), "{}", column.name);
            assert!(schema.contains(column.name), "SCHEMA.md: {}", column.name);
        }
    }
}
