//! What a kind of bench adds to planning. The kinds lie above this crate, in `harness-benches`, and
//! are known here through [`BenchKind`] alone.

use std::{fmt, ops::Deref};

use harness_contract::{
    config::{ConfigError, Problem},
    sources::ModelFolder,
    stages::Positions,
};
use harness_core::policy::Policy;
use sae_folder::SaeFolder;

use crate::bench::{KindDeclaration, RowKind, RowSpec, Settings};

/// A kind of bench whose rows are run.
pub trait BenchKind: Sync {
    /// What bench files know of it.
    fn declaration(&self) -> &'static KindDeclaration;

    /// How a row that is no variant is called after its SAE set: nothing, where the set alone names
    /// it, or ` in MODEL`.
    fn of_model(&self, model: &str) -> String;

    /// Notes what is wrong with the settings of a row.
    ///
    /// # Errors
    /// Settings of another kind.
    fn check(&self, check: &mut RowCheck<'_>, settings: &Settings) -> Result<(), ConfigError>;

    /// Notes what is wrong with a row's settings for its SAEs.
    ///
    /// # Errors
    /// Settings of another kind.
    fn check_saes(
        &self,
        _: &mut RowCheck<'_>,
        _: &Settings,
        _: &[SaeFolder],
    ) -> Result<(), ConfigError> {
        Ok(())
    }

    /// What is wrong with its rows together, in the bench's file `origin`.
    fn check_rows(&self, _: &[&RowSpec], _origin: &str) -> Option<Problem> {
        None
    }

    /// The texts that rows generate; `None` where groups of cells say what memory they take.
    fn generated(&self, _: &Settings) -> Option<GeneratedRow> {
        None
    }
}

/// A kind of bench, compared by its name.
#[derive(Clone, Copy)]
pub struct Kind(pub &'static dyn BenchKind);

/// What the kinds add, by what rows say; `None` for a kind that runs nothing.
pub type KindOf = fn(RowKind) -> Option<Kind>;

impl Deref for Kind {
    type Target = dyn BenchKind;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.declaration().settings.name == other.declaration().settings.name
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.declaration().settings.name)
    }
}

/// What a row of generated texts takes memory for.
#[derive(Clone, Copy, Debug)]
pub struct GeneratedRow {
    /// Tokens of a row, at most.
    pub row_tokens: u64,
    /// Whether the SAEs of all layers are held together, or those of one at a time.
    pub holds_all_saes: bool,
}

/// What is known of a row while its settings are checked, and what was found wrong.
pub struct RowCheck<'a> {
    pub row: &'a RowSpec,
    pub model: &'a ModelFolder,
    /// Prefixes of the pool.
    pub n_prefixes: usize,
    /// The bench's file.
    pub origin: &'a str,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl RowCheck<'_> {
    /// Notes something wrong with the bench.
    pub fn problem(&mut self, message: String, hint: impl Into<String>) {
        self.problems.push(Problem::new(self.origin, message, hint));
    }

    /// Notes something wrong with an option.
    pub fn problem_of(&mut self, option: &str, message: String, hint: &str) {
        self.problems.push(Problem::new(option, message, hint));
    }

    /// Masked positions need masks.
    pub fn positions(&mut self, positions: Positions, mask_rate: Option<f64>) {
        let is_clean = mask_rate.is_none_or(|rate| rate == 0.0);
        if positions == Positions::Policy && self.row.policy == Some(Policy::Mask) && is_clean {
            let message = format!(
                "{} was trained on masked positions, and clean text has none",
                self.row.sae
            );
            let hint = "mask text with --mask-rate, or count all positions with --positions all";
            self.problem(message, hint);
        }
    }

    /// A bench of masks needs a masked-diffusion model; `lacks` says what another model has not.
    pub fn masks(&mut self, lacks: impl FnOnce(&RowSpec) -> String) {
        if !self.model.is_diffusion {
            let hint = "config.json of a masked-diffusion model names its mask_token_id";
            self.problem(lacks(self.row), hint);
        }
    }
}
