//! Benches that list SAE sets: no cells.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use harness_benches::catalogue::list_sets;
use harness_contract::exit;
use harness_plan::{
    bench::{BenchSpec, Overrides},
    sources::Answers,
};
use harness_store::{Access, Store};

use super::BenchArgs;
use crate::{
    failure::Failure,
    folders::{self, Query},
    output,
    plugins::Plugins,
    root::Root,
};

/// List the sets of a bench, write the table and print it.
///
/// # Errors
/// When a set cannot be read or the table not be written.
pub fn run(
    args: &BenchArgs,
    root: &Root,
    spec: &BenchSpec,
    (overrides, saes): (&Overrides, &BTreeMap<String, PathBuf>),
    out: &Path,
) -> Result<u8, Failure> {
    let ask = |dirs| {
        let plugins = Plugins::found(args.plugins.choice_or_shipped()?)?;
        let query = Query {
            sets: dirs,
            ..Query::default()
        };
        folders::ask(&plugins, query, Answers::default())
    };
    let listed = list_sets::<Failure>(spec, saes, &root.zoo(), overrides, ask)?;
    let file = match args.dry_run {
        true => None,
        false => {
            let store = Store::open(out, Access::Write)?;
            let name = format!("{}.csv", spec.name);
            Some(store.write_file(&name, listed.csv().as_bytes())?)
        }
    };
    match (args.format.style(), &file) {
        (Some(style), _) => output::result(&listed.print(&spec.title, style))?,
        (None, Some(file)) => {
            let text = fs::read_to_string(file).map_err(|error| {
                Failure::new(exit::UNEXPECTED, format!("{}: {error}", file.display()))
            })?;
            output::result(&text)?;
        }
        (None, None) => output::result(&listed.csv())?,
    }
    match file {
        Some(file) => output::talk(&format!("wrote {}", file.display())),
        None => output::talk("nothing was written"),
    }
    Ok(exit::OK)
}
