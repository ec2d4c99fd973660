//! Bench files: what to run. `benchmarks/tables/*.toml` → [`BenchSpec`], strictly checked.

mod catalogue;
mod settings;
mod spec;

pub use catalogue::{BenchError, Catalogue, TablesEntry};
pub use settings::{Overrides, Settings, SettingsPatch};
pub use spec::{BenchSpec, PaperName, Profile, RowSpec, TableKind, VariantSpec};
