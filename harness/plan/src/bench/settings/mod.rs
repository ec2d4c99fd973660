//! Settings of rows: each is declared once, in the file of the kind of bench that has it, or in
//! `shared` where several kinds do. Bench files are read by the declarations, options are made of
//! them, and a kind uses its settings as a type.

pub(super) mod autointerp;
mod complete;
mod declare;
pub(super) mod decoding;
pub(super) mod fidelity;
pub(super) mod kind;
mod level;
pub mod shared;
pub(super) mod steering;

pub use autointerp::AutointerpSettings;
pub use complete::Settings;
pub use declare::{COUNT, Setting, SettingOption, Values};
pub use decoding::DecodingSettings;
pub use fidelity::{DocumentSettings, GridSettings, RolloutSettings};
pub use kind::KindSettings;
pub use level::SettingsPatch;
pub use steering::SteeringSettings;

#[cfg(test)]
mod tests;
