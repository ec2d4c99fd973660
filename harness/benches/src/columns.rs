//! Columns that the tables of several benches share.

use harness_core::{measure::Measure, sae_id::SaeId};
use harness_present::{Column, optional};

pub const STATUS: &str = "whether the numbers are whole, see the rules of all tables";

/// A row of one SAE in a model.
pub trait OfSae {
    /// The model, and the SAE.
    fn sae(&self) -> (&str, &SaeId);
}

/// Model and SAE, the first keys of most tables.
pub fn of_sae<R: OfSae>() -> [Column<R>; 5] {
    [
        Column::key(
            "model",
            "the model whose residual is read or changed",
            |r| r.sae().0.to_owned(),
        ),
        Column::key("sae", "SAE set", |r| r.sae().1.set.clone()),
        Column::key(
            "sae_id",
            "the SAE within its set, see the rules of all tables",
            |r| r.sae().1.id.clone(),
        ),
        Column::key("layer", "block whose output the SAE reads, from 0", |r| {
            r.sae().1.layer.to_string()
        }),
        Column::key(
            "k",
            "active budget of the SAE; empty for one of a kind without",
            |r| optional(r.sae().1.k),
        ),
    ]
}

/// A table, whatever its rows are.
#[derive(Clone)]
pub struct Table {
    /// The files that have these columns.
    pub files: Vec<String>,
    /// What its rows are, as the reference page says it.
    pub rows: &'static str,
    pub columns: Vec<Described>,
    /// What `metric` can be, of a table of values.
    pub measures: Vec<Measure>,
}

/// What is said of a column.
#[derive(Clone)]
pub struct Described {
    pub name: &'static str,
    pub is_key: bool,
    pub unit: &'static str,
    pub meaning: &'static str,
}

/// The table of some files.
pub fn table<R>(files: &[impl AsRef<str>], rows: &'static str, columns: &[Column<R>]) -> Table {
    let described = |column: &Column<R>| Described {
        name: column.name,
        is_key: column.is_key,
        unit: column.unit,
        meaning: column.meaning,
    };
    Table {
        files: (files.iter().map(|file| file.as_ref().to_owned())).collect(),
        rows,
        measures: Vec::new(),
        columns: columns.iter().map(described).collect(),
    }
}
