use std::collections::BTreeSet;

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

/// The columns that name rows in the tables of the benches: two files are matched by those of them
/// that they have.
pub fn key_columns() -> BTreeSet<&'static str> {
    let lists = [
        of(&autointerp_columns()),
        of(&latent_columns()),
        of(&label_columns()),
        of(&table1_columns()),
        of(&table3_columns()),
        of(&step_columns()),
        of(&curve_columns()),
        of(&position_columns()),
        of(&summary_columns()),
        of(&accuracy_columns()),
        of(&paired_columns()),
        of(&grid_columns()),
        of(&delta_columns()),
        of(&ev_columns()),
        of(&transfer_columns()),
        of(&steering_columns()),
        of(&table2_columns()),
        of(&table4_columns()),
        of(&metric_columns(true)),
    ];
    lists.into_iter().flatten().collect()
}

fn of<R>(columns: &[Column<R>]) -> Vec<&'static str> {
    let keys = columns.iter().filter(|column| column.is_key);
    keys.map(|column| column.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
