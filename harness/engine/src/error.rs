use std::path::PathBuf;

use harness_abi::ErrorCode;
use harness_contract::protocol::{Counters, Failure, FailureKind};
use harness_kernels::KernelError;
use harness_store::replies::RepliesError;
use serde_json::Value;

use crate::{
    data::DataError,
    eval::EvalError,
    generate::GenerateError,
    plugin::{ComponentError, PluginFailure},
    text::TextError,
};

/// A value in which something is missing for a reason outside.
#[derive(Debug)]
pub struct OpenCell {
    /// What there is.
    pub output: Value,
    pub counters: Counters,
    /// What is missing and why.
    pub why: String,
}

/// Why a cell has no value, or none that stays.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// A plugin's method failed.
    #[error(transparent)]
    Plugin(#[from] PluginFailure),
    /// A component cannot be had.
    #[error(transparent)]
    Component(#[from] ComponentError),
    #[error(transparent)]
    Generate(#[from] GenerateError),
    #[error(transparent)]
    Text(#[from] TextError),
    /// A data file failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An input cell's output does not fit the stage.
    #[error("output of cell {key}: {source}")]
    Input {
        /// The input's key.
        key: String,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// An input is not in the store.
    #[error("cell {key} needs the output of {input}, which is not in the store")]
    MissingInput {
        key: String,
        /// What it needs.
        input: String,
    },
    /// A hash without a place on this machine.
    #[error("no {what} with hash {hash} among the sources of this run")]
    NoSource {
        /// `model`, `SAE` or `data file`.
        what: &'static str,
        /// Its content hash.
        hash: String,
    },
    /// A file that does not fit what it is used for.
    #[error("{}: {reason}", path.display())]
    Unfit {
        path: PathBuf,
        /// Why, with both numbers.
        reason: String,
    },
    /// A file from outside cannot be used.
    #[error("{0}")]
    BadInput(String),
    /// The tensor library failed.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// The request cannot be run.
    #[error("{0}")]
    Invalid(String),
    /// The store cannot be read or written.
    #[error("{0}")]
    Store(String),
    /// The device is missing or unusable.
    #[error("{0}")]
    Device(String),
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// What was computed is not a number.
    #[error(
        "the result holds NaN or infinity and is not kept (hint: look for them in the weights; with --dtype bf16 try f32)"
    )]
    NotFinite,
    /// The budget of memory is too small.
    #[error("{0}")]
    OutOfMemory(String),
    /// What this cell shares with others failed.
    #[error("{0}")]
    Together(Failure),
    /// The judge cannot be asked, this question or another.
    #[error("{0}")]
    NoJudge(PluginFailure),
    /// It has a value, in which something is missing for a reason outside.
    #[error("{}", .0.why)]
    Open(Box<OpenCell>),
    /// The judge's budget does not cover the next question.
    #[error("{0}")]
    JudgeBudget(String),
    /// Replay has no reply to a question.
    #[error("{0}")]
    JudgeMissing(String),
    /// A setting of the run is wrong.
    #[error("{0}")]
    Config(String),
    /// Replies cannot be kept or read.
    #[error(transparent)]
    Replies(#[from] RepliesError),
    #[error("stopped")]
    Stopped,
    /// The same, with what is kept.
    #[error("{0}")]
    Interrupted(String),
}

impl From<KernelError> for CellError {
    fn from(error: KernelError) -> Self {
        match error {
            KernelError::Torch(error) => Self::Torch(error),
            other => Self::Eval(EvalError::Kernel(other)),
        }
    }
}

impl CellError {
    /// The failure as the protocol says it.
    #[must_use]
    pub fn failure(&self, key: Option<&str>) -> Failure {
        if let CellError::Together(failure) = self {
            let key = key.map(str::to_owned);
            return Failure {
                key,
                ..failure.clone()
            };
        }
        let plugin = self.plugin_failure();
        Failure {
            key: key.map(str::to_owned),
            plugin: plugin.map(|failure| failure.plugin.clone()),
            component: plugin.map(|failure| failure.component.clone()),
            method: plugin.map(|failure| failure.method.to_owned()),
            ..Failure::new(self.kind(), self.to_string())
        }
    }

    /// The plugin's failure behind this one, if a plugin is behind it.
    fn plugin_failure(&self) -> Option<&PluginFailure> {
        match self {
            CellError::Plugin(failure)
            | CellError::NoJudge(failure)
            | CellError::Component(ComponentError::Failed(failure))
            | CellError::Generate(GenerateError::Plugin(failure)) => Some(failure),
            CellError::Eval(EvalError::Plugin(failure)) => Some(failure),
            _ => None,
        }
    }

    /// Whether one of several cells that are run together may have caused this alone, so that the
    /// others are worth trying without it. What they share, such as the model and the text, is no
    /// fault of any of them.
    #[must_use]
    pub fn may_be_of_one(&self) -> bool {
        match self.plugin_failure() {
            Some(failure) => !failure.component.starts_with("model "),
            None => self.kind() == FailureKind::OutOfMemory,
        }
    }

    fn kind(&self) -> FailureKind {
        if let CellError::NoJudge(_) = self {
            return FailureKind::JudgeAuth;
        }
        if let Some(failure) = self.plugin_failure() {
            return match failure.code {
                ErrorCode::INPUT => FailureKind::BadInput,
                ErrorCode::OUT_OF_MEMORY => FailureKind::OutOfMemory,
                ErrorCode::AUTH => FailureKind::JudgeAuth,
                _ => FailureKind::Plugin,
            };
        }
        match self {
            CellError::Together(failure) => failure.kind,
            CellError::Plugin(_)
            | CellError::NoJudge(_)
            | CellError::Component(ComponentError::Failed(_)) => FailureKind::Plugin,
            CellError::Open(_) => FailureKind::JudgeUnanswered,
            CellError::Generate(GenerateError::Text(_)) => FailureKind::BadInput,
            CellError::Component(ComponentError::Unknown { .. }) => FailureKind::PluginRefused,
            CellError::Text(_)
            | CellError::Component(ComponentError::NoAdapter { .. })
            | CellError::Data(_)
            | CellError::NoSource { .. }
            | CellError::BadInput(_)
            | CellError::NotFinite
            | CellError::Unfit { .. } => FailureKind::BadInput,
            CellError::Torch(error)
            | CellError::Eval(
                EvalError::Tensor(error) | EvalError::Kernel(KernelError::Torch(error)),
            )
            | CellError::Generate(
                GenerateError::Tensor(error) | GenerateError::Kernel(KernelError::Torch(error)),
            ) if error.to_string().contains("out of memory") => FailureKind::OutOfMemory,
            CellError::OutOfMemory(_) => FailureKind::OutOfMemory,
            CellError::Store(_) | CellError::Replies(_) => FailureKind::CannotWrite,
            CellError::JudgeBudget(_) => FailureKind::JudgeBudget,
            CellError::JudgeMissing(_) => FailureKind::JudgeMissing,
            CellError::Config(_) => FailureKind::Config,
            CellError::Device(_) => FailureKind::Device,
            CellError::Stopped | CellError::Interrupted(_) => FailureKind::Interrupted,
            CellError::Input { .. }
            | CellError::MissingInput { .. }
            | CellError::Generate(_)
            | CellError::Torch(_)
            | CellError::Eval(_)
            | CellError::Invalid(_) => FailureKind::Internal,
        }
    }
}
