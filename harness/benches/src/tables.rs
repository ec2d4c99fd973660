//! All tables of the benches, with their columns.

use std::{collections::BTreeSet, fmt::Write as _};

use harness_present::Column;

use crate::{
    autointerp::rows::{autointerp_columns, label_columns, latent_columns},
    catalogue::tables::{table1_columns, table3_columns},
    decoding::rows::{
        accuracy_columns, curve_columns, paired_columns, position_columns, step_columns,
        summary_columns,
    },
    fidelity::{delta_columns, ev_columns, rows::grid_columns, transfer_columns},
    steering::rows::{metric_columns, steering_columns, table2_columns, table4_columns},
};

/// A table, whatever its rows are.
struct Table {
    /// The files that have these columns.
    files: &'static [&'static str],
    columns: Vec<Described>,
}

/// What is said of a column.
struct Described {
    name: &'static str,
    is_key: bool,
    unit: &'static str,
    meaning: &'static str,
}

fn table<R>(files: &'static [&'static str], columns: &[Column<R>]) -> Table {
    let described = |column: &Column<R>| Described {
        name: column.name,
        is_key: column.is_key,
        unit: column.unit,
        meaning: column.meaning,
    };
    Table {
        files,
        columns: columns.iter().map(described).collect(),
    }
}

fn tables() -> Vec<Table> {
    vec![
        table(&["table2.csv"], &table2_columns()),
        table(
            &["table2_by_k.csv", "fig9.csv", "fig10.csv"],
            &steering_columns(),
        ),
        table(&["table4.csv"], &table4_columns()),
        table(&["metrics.csv"], &metric_columns(true)),
        table(
            &["fidelity.csv", "transfer.csv", "transfer-rollouts.csv"],
            &grid_columns(),
        ),
        table(&["fig3.csv", "fig7.csv"], &delta_columns()),
        table(&["fig8.csv"], &ev_columns()),
        table(&["fig6.csv", "fig12.csv"], &transfer_columns()),
        table(
            &["decoding-order.csv", "fig4.csv", "fig5.csv", "fig11.csv"],
            &step_columns(),
        ),
        table(
            &[
                "decoding-order_curves.csv",
                "fig4_curves.csv",
                "fig5_curves.csv",
                "fig11_curves.csv",
            ],
            &curve_columns(),
        ),
        table(&["decoding-order_summary.csv"], &summary_columns()),
        table(&["decoding-order_by_position.csv"], &position_columns()),
        table(&["accuracy.csv"], &accuracy_columns()),
        table(&["accuracy_paired.csv"], &paired_columns()),
        table(&["autointerp.csv"], &autointerp_columns()),
        table(&["latents.csv"], &latent_columns()),
        table(&["autointerp_labels.csv"], &label_columns()),
        table(&["table1.csv"], &table1_columns()),
        table(&["table3.csv"], &table3_columns()),
    ]
}

/// The columns that name rows in the tables of the benches: two files are matched by those of them
/// that they have.
pub fn key_columns() -> BTreeSet<&'static str> {
    let columns = tables().into_iter().flat_map(|table| table.columns);
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
        for column in tables().iter().flat_map(|table| &table.columns) {
            assert!(!column.meaning.is_empty(), "{}", column.name);
            assert!(schema.contains(column.name), "SCHEMA.md: {}", column.name);
        }
    }
}
