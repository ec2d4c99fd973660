//! Strict reading of TOML: every problem of a file is found, located and reported at once.

mod problem;
mod reader;

pub use problem::{ConfigError, Problem};
pub use reader::{Document, Table};
