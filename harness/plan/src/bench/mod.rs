//! Bench files: what to run. `benchmarks/tables/*.toml` → [`BenchSpec`], strictly checked.
//!
//! A bench is of one of these kinds, which its `table` decides: steering (texts are steered and
//! scored), grid (SAEs are spliced into passes over documents, or over continuations of prompts),
//! decoding (questions are answered in several orders, with features followed in every pass),
//! autointerp (latents are explained, and windows predicted), catalogue (SAE sets are listed). A
//! file that says `same_as` takes rows, settings and results from other benches.

mod catalogue;
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
pub use overrides::{CHOICES, Overrides};
pub use same::{BenchFile, SameSpec};
pub use settings::{KindSettings, Setting, SettingOption, Settings, SettingsPatch};
pub use spec::{BenchSpec, PaperName, Profile, RowId, RowSpec, VariantSpec, ViewSpec};
