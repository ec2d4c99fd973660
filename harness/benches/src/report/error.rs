use std::path::PathBuf;

use harness_contract::exit;
use harness_store::StoreError;

/// Why a run cannot be reported.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is no such folder.
    #[error("{}: there is no such folder of results", path.display())]
    NoRun { path: PathBuf },
    /// The run has no cells of the stage a report is made of.
    #[error("{} holds no {what}: {found}", path.display())]
    Nothing {
        path: PathBuf,
        /// What was looked for, e.g. `auto-interpretation`.
        what: &'static str,
        /// What is there instead.
        found: String,
    },
    /// No SAE set of this name.
    #[error("no SAE set `{name}` in this run; there are {}", known.join(", "))]
    NoSet {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Several judges explained the same windows and none was named.
    #[error("{} judges explained {sae}: {}", judges.len(), judges.join(", "))]
    SeveralJudges {
        /// An SAE with several.
        sae: String,
        /// Their identities.
        judges: Vec<String>,
    },
    /// No judge of this name explained anything.
    #[error("no judge `{name}` in this run; there are {}", known.join(", "))]
    NoJudge {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A file of the run cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    CannotRead { path: PathBuf, reason: String },
    /// Data of a page have no JSON form.
    #[error("a page cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReportError {
    /// Exit code of a command that ends for this reason.
    pub const fn exit_code(&self) -> u8 {
        match self {
            ReportError::NoRun { .. } | ReportError::CannotRead { .. } => exit::BAD_INPUT,
            ReportError::Nothing { .. }
            | ReportError::NoSet { .. }
            | ReportError::NoJudge { .. } => exit::NOTHING,
            ReportError::SeveralJudges { .. } => exit::USAGE,
            ReportError::Encode(_) => exit::UNEXPECTED,
            ReportError::Store(error) => error.exit_code(),
        }
    }

    /// What to do next; empty where the message says it.
    pub fn hint(&self) -> String {
        match self {
            ReportError::NoRun { .. } => {
                "give the folder that a bench wrote to (`--out`), e.g. results/runs/autointerp"
                    .to_owned()
            }
            ReportError::Nothing { what, .. } if *what == "steering" => {
                "run `harness bench table2` and give its folder".to_owned()
            }
            ReportError::Nothing { .. } => {
                "run `harness bench autointerp --plugins ./plugins` first and give its folder"
                    .to_owned()
            }
            ReportError::SeveralJudges { judges, .. } => match judges.first() {
                Some(judge) => format!("name one: --judge {judge}"),
                None => String::new(),
            },
            ReportError::CannotRead { .. } => {
                "`harness status --out RUN` lists what the folder holds".to_owned()
            }
            _ => String::new(),
        }
    }
}
