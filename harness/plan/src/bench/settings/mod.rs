//! Settings of rows: what levels may say, what a kind of row must have.

mod complete;
mod patch;

pub use complete::{
    AutointerpSettings, DecodingSettings, DocumentSettings, GridSettings, RolloutSettings,
    SteeringSettings,
};
pub use patch::SettingsPatch;

use super::RowKind;
use harness_contract::config::ConfigError;

/// All settings of a row.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Settings {
    /// Of a steering bench.
    Steering(Box<SteeringSettings>),
    /// Of a grid bench, measured on documents.
    Documents {
        /// Of every grid bench.
        #[serde(flatten)]
        grid: GridSettings,
        #[serde(flatten)]
        text: DocumentSettings,
    },
    /// Of a grid bench, measured on continuations of prompts.
    Rollouts {
        /// Of every grid bench.
        #[serde(flatten)]
        grid: GridSettings,
        /// Of the continuations.
        #[serde(flatten)]
        text: RolloutSettings,
    },
    /// Of the decoding-order bench.
    Decoding(Box<DecodingSettings>),
    /// Of the autointerp bench.
    Autointerp(Box<AutointerpSettings>),
}

impl Settings {
    /// The complete settings of a kind of row; `None` for a kind that has none.
    ///
    /// # Errors
    /// All that are missing, reported under `origin`.
    pub fn complete(
        kind: RowKind,
        patch: &SettingsPatch,
        origin: &str,
    ) -> Result<Option<Settings>, ConfigError> {
        let grid = || GridSettings::complete(patch, origin);
        Ok(Some(match kind {
            RowKind::Steering => {
                Settings::Steering(Box::new(SteeringSettings::complete(patch, origin)?))
            }
            RowKind::Documents => {
                let (grid, text) = both(grid(), DocumentSettings::complete(patch, origin))?;
                Settings::Documents { grid, text }
            }
            RowKind::Rollouts => {
                let (grid, text) = both(grid(), RolloutSettings::complete(patch, origin))?;
                Settings::Rollouts { grid, text }
            }
            RowKind::Decoding => {
                Settings::Decoding(Box::new(DecodingSettings::complete(patch, origin)?))
            }
            RowKind::Autointerp => {
                Settings::Autointerp(Box::new(AutointerpSettings::complete(patch, origin)?))
            }
            RowKind::Catalogue => return Ok(None),
        }))
    }

    /// Active budgets of the SAEs.
    pub fn k(&self) -> &[u32] {
        match self {
            Settings::Steering(set) => &set.k,
            Settings::Documents { grid, .. } | Settings::Rollouts { grid, .. } => &grid.k,
            Settings::Decoding(set) => &set.k,
            Settings::Autointerp(set) => &set.k,
        }
    }

    /// SAE architecture.
    pub fn architecture(&self) -> &str {
        match self {
            Settings::Steering(set) => &set.architecture,
            Settings::Documents { grid, .. } | Settings::Rollouts { grid, .. } => {
                &grid.architecture
            }
            Settings::Decoding(set) => &set.architecture,
            Settings::Autointerp(set) => &set.architecture,
        }
    }

    /// The judge that answers its questions, and the model behind it where one is named.
    pub fn judge(&self) -> Option<(&str, Option<&str>)> {
        match self {
            Settings::Steering(set) => Some((&set.judge, set.judge_model.as_deref())),
            Settings::Autointerp(set) => Some((&set.judge, set.judge_model.as_deref())),
            Settings::Documents { .. } | Settings::Rollouts { .. } | Settings::Decoding(_) => None,
        }
    }

    /// Names the model behind its judge.
    pub fn set_judge_model(&mut self, model: &str) {
        match self {
            Settings::Steering(set) => set.judge_model = Some(model.to_owned()),
            Settings::Autointerp(set) => set.judge_model = Some(model.to_owned()),
            Settings::Documents { .. } | Settings::Rollouts { .. } | Settings::Decoding(_) => {}
        }
    }

    /// Those of every grid bench.
    pub fn grid(&self) -> Option<&GridSettings> {
        match self {
            Settings::Steering(_) | Settings::Decoding(_) | Settings::Autointerp(_) => None,
            Settings::Documents { grid, .. } | Settings::Rollouts { grid, .. } => Some(grid),
        }
    }
}

/// Both values, or the problems of both.
fn both<A, B>(a: Result<A, ConfigError>, b: Result<B, ConfigError>) -> Result<(A, B), ConfigError> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => {
            let mut problems = a.err().map_or_else(Vec::new, |error| error.problems);
            problems.extend(b.err().into_iter().flat_map(|error| error.problems));
            Err(ConfigError { problems })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearer_levels_win_and_missing_ones_are_listed() {
        let high = SettingsPatch {
            seed: Some(1),
            ..Default::default()
        };
        let low = SettingsPatch {
            seed: Some(2),
            top_p: Some(0.5),
            ..Default::default()
        };
        let both = high.or(&low);
        assert_eq!((both.seed, both.top_p), (Some(1), Some(0.5)));
        let error = |kind| {
            Settings::complete(kind, &both, "x.toml")
                .unwrap_err()
                .to_string()
        };
        let steering = error(RowKind::Steering);
        assert!(
            steering.contains("x.toml: `lambda` is not set") && !steering.contains("`seed`"),
            "{steering}"
        );
        let grid = error(RowKind::Documents);
        for part in ["`t_min` is not set", "`shard_tokens` is not set"] {
            assert!(grid.contains(part), "{part} is not in\n{grid}");
        }
        assert!(!grid.contains("lambda") && !grid.contains("n_prompts"));
    }
}
