use std::fmt;

use serde::Serialize;

/// A value as somebody wrote it, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingSource {
    /// The value as written, on one line.
    pub value: String,
    #[serde(flatten)]
    pub from: Written,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Written {
    File {
        path: String,
        /// Line, from 1.
        line: usize,
        /// The table it stands in; empty at the top.
        table: String,
    },
    /// The command line.
    Option {
        /// The option with its value.
        option: String,
    },
    /// An environment variable.
    Environment { variable: String },
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Written::File { path, line, table } if table.is_empty() => write!(f, "{path}:{line}"),
            Written::File { path, line, table } => write!(f, "{path}:{line} [{table}]"),
            Written::Option { option } => f.write_str(option),
            Written::Environment { variable } => write!(f, "environment variable {variable}"),
        }
    }
}
