//! Bench files: what to run. `benchmarks/tables/*.toml` → [`BenchSpec`], strictly checked.
//!
//! A bench is of one kind, which its `table` decides. The kinds are declared above this crate, in
//! `harness-benches`: here they are a list that whoever reads bench files is given ([`Kinds`]). A
//! file that says `same_as` takes rows, settings and results from other benches.

mod catalogue;
pub mod help;
mod kind;
mod overrides;
mod same;
pub mod settings;
mod spec;

pub use catalogue::{BenchError, Catalogue, TablesEntry};
pub use kind::{
    DOCUMENT_FILES, KindDeclaration, Kinds, RowKind, TableDeclaration, TableKind, TextInput,
    TextNeed,
};
pub use overrides::{CHOICES, LIMITED, Overrides};
pub use same::{BenchFile, SameSpec};
pub use settings::{KindSettings, Setting, SettingOption, Settings, SettingsPatch};
pub use spec::{BenchSpec, PaperName, Profile, RowId, RowSpec, VariantSpec, ViewSpec};
