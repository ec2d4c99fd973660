//! Settings of rows: each is declared once, in the room of the kind of bench that has it, or in
//! [`shared`] where several kinds do. Bench files are read by the declarations, options are made of
//! them, and a kind uses its settings as a type.

mod complete;
mod declare;
mod kind;
mod level;
pub mod shared;

pub use complete::Settings;
pub use declare::{COUNT, HelpPart, Setting, SettingOption, Values};
pub use kind::KindSettings;
pub use level::SettingsPatch;
pub(super) use level::listed;
