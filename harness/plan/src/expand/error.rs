use harness_weights::InputError;

use harness_contract::{
    cell::CellError,
    config::{ConfigError, Problem},
    exit,
};

/// Why a bench cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Values that are wrong, all of them.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Names of components that no plugin offers.
    #[error(transparent)]
    Unknown(ConfigError),
    /// Checkpoints, SAE sets or data that cannot be used, all of them.
    #[error("{}", join(.0))]
    Sources(Vec<InputError>),
    /// Components that are needed and not offered by any loaded plugin, while plugins were refused.
    #[error("{}", join(.0))]
    Plugins(Vec<Problem>),
    /// Nothing is left to do after the filters.
    #[error("0 cells: {reason}")]
    Nothing {
        /// What filtered everything out.
        reason: String,
    },
    /// A cell could not be written as JSON.
    #[error(transparent)]
    Cell(#[from] CellError),
}

impl PlanError {
    /// Exit code of a run that ends for this reason.
    pub const fn exit_code(&self) -> u8 {
        match self {
            PlanError::Config(_) => exit::CONFIG,
            PlanError::Unknown(_) => exit::USAGE,
            PlanError::Sources(_) => exit::BAD_INPUT,
            PlanError::Plugins(_) => exit::PLUGIN_REFUSED,
            PlanError::Nothing { .. } => exit::NOTHING,
            PlanError::Cell(_) => exit::UNEXPECTED,
        }
    }
}

impl From<InputError> for PlanError {
    fn from(error: InputError) -> Self {
        PlanError::Sources(vec![error])
    }
}

fn join<T: ToString>(items: &[T]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
