//! Strict reading of TOML: every problem of a file is found, located and reported at once, and
//! every value knows where it was written.

mod problem;
mod reader;
mod source;

pub use problem::{ConfigError, Problem};
pub use reader::{Document, Table};
pub use source::{SettingSource, Written};
