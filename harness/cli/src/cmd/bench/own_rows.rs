//! Rows of one's own: `--model NAME=DIR` and `--saes NAME=DIR` under a name that the bench does not
//! have.

use harness_plan::{
    bench::{BenchSpec, Overrides},
    expand::{Named, add_own_rows, own_names},
    sources::Answers,
};

use crate::{
    failure::Failure,
    folders::{self, Query},
    plugins::Plugins,
};

/// Adds the rows of one's own to a bench. Returns what a person should know of them.
///
/// # Errors
/// Folders that plugins cannot be asked about or cannot use; SAEs that do not say enough.
pub fn add(
    spec: &mut BenchSpec,
    overrides: &mut Overrides,
    (models, saes): (&Named, &Named),
    plugins: &Plugins,
) -> Result<Option<String>, Failure> {
    let names = own_names(spec, models, saes);
    if names.is_empty() {
        return Ok(None);
    }
    let of = |folders: &Named| names.iter().map(|name| folders[name].clone()).collect();
    let query = Query {
        models: of(models),
        sets: of(saes),
    };
    let answers = folders::ask(plugins, query, Answers::default())?;
    let are_rows_chosen = overrides.rows.is_some();
    add_own_rows(spec, overrides, (models, saes), &names, &answers)?;
    let run = overrides.rows.as_deref().unwrap_or_default().join(", ");
    Ok((!are_rows_chosen).then(|| {
        format!("running the rows that folders are given for, {run}; --rows chooses others")
    }))
}
