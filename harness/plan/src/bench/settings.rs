use std::ops::Range;

use harness_core::{
    suggest,
    task::preset::{self, Preset},
};

use super::RowKind;
use crate::{
    config::{ConfigError, Problem, Table},
    stages::{DocumentPolicy, Measures},
};

const COUNT: Range<i64> = 1..u32::MAX as i64 + 1;

/// Defines the patch: every setting there is, of any kind of bench, and any of them may be missing.
macro_rules! patch {
    ($( $(#[$doc:meta])* $field:ident: $ty:ty = $read:expr, )*) => {
        /// Settings of one level: a bench file, a profile, a row, a variant, or the command line.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct SettingsPatch {
            $( $(#[$doc])* pub $field: Option<$ty>, )*
        }

        impl SettingsPatch {
            /// Read every setting a table holds. One that these kinds of rows do not have is a problem.
            pub(super) fn read(table: &Table<'_, '_>, kinds: &[RowKind]) -> SettingsPatch {
                SettingsPatch {
                    $( $field: match is_had(table, kinds, stringify!($field)) {
                        true => ($read)(table, stringify!($field)),
                        false => None,
                    }, )*
                }
            }

            /// These settings, and those of `lower` where these are silent.
            pub fn or(&self, lower: &SettingsPatch) -> SettingsPatch {
                SettingsPatch {
                    $( $field: self.$field.clone().or_else(|| lower.$field.clone()), )*
                }
            }
        }
    };
}

/// Defines the complete settings of one kind of row, made from a patch.
macro_rules! complete {
    ($(#[$outer:meta])* $name:ident
     { $( $(#[$doc:meta])* $field:ident: $ty:ty, )* }
     optional { $( $(#[$odoc:meta])* $ofield:ident: $oty:ty, )* }) => {
        $(#[$outer])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct $name {
            $( $(#[$doc])* pub $field: $ty, )*
            $( $(#[$odoc])* pub $ofield: Option<$oty>, )*
        }

        impl $name {
            pub(super) const FIELDS: &'static [&'static str] =
                &[ $( stringify!($field), )* $( stringify!($ofield), )* ];

            fn complete(patch: &SettingsPatch, origin: &str) -> Result<$name, ConfigError> {
                let mut problems = Vec::new();
                $( if patch.$field.is_none() {
                    problems.push(Problem::new(origin, concat!("`", stringify!($field), "` is not set"), ""));
                } )*
                match patch.clone() {
                    SettingsPatch { $( $field: Some($field), )* $( $ofield, )* .. } =>
                        Ok($name { $( $field, )* $( $ofield, )* }),
                    _ => Err(ConfigError { problems }),
                }
            }
        }
    };
}

patch! {
    /// Active budgets of the SAEs.
    k: Vec<u32> = |t: &Table<'_, '_>, key| t.u32_list(key, COUNT),
    /// Features selected for each SAE.
    n_features: u32 = |t: &Table<'_, '_>, key| t.u32(key, COUNT),
    /// Prefixes for each feature.
    n_prefix: u32 = |t: &Table<'_, '_>, key| t.u32(key, COUNT),
    /// Tokens of the activation pass, or of the text that is measured on.
    budget_tokens: u64 = |t: &Table<'_, '_>, key| t.integer(key, 1..i64::MAX).and_then(|n| n.try_into().ok()),
    /// Tokens of a row.
    context_length: u32 = |t: &Table<'_, '_>, key| t.u32(key, 4..1 << 20),
    /// Strength α of Eq. 4.
    amp_factor: f64 = |t: &Table<'_, '_>, key| t.number(key, "a finite number", |_| true),
    /// Steering policy.
    token_scope: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Decoding order of masked-diffusion models.
    order: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Denoising steps.
    dlm_steps: u32 = |t: &Table<'_, '_>, key| t.u32(key, 1..100_001),
    /// Tokens after the prefix or prompt.
    max_new_tokens: u32 = |t: &Table<'_, '_>, key| t.u32(key, 1..100_001),
    /// Sampling temperature.
    temperature: f64 = |t: &Table<'_, '_>, key| t.number(key, "0 or more", |x| x >= 0.0),
    /// Nucleus.
    top_p: f64 = |t: &Table<'_, '_>, key| t.number(key, "above 0 and at most 1", |x| x > 0.0 && x <= 1.0),
    /// Seed of all draws.
    seed: u64 = |t: &Table<'_, '_>, key| t.integer(key, 0..i64::MAX).and_then(|n| n.try_into().ok()),
    /// Judge of explanations and concepts.
    judge: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Model that scores perplexity, by name.
    scorer: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Tokens of a text scored at most.
    scorer_max_tokens: u32 = |t: &Table<'_, '_>, key| t.u32(key, 2..1 << 20),
    /// Weight of P in S.
    lambda: f64 = |t: &Table<'_, '_>, key| t.number(key, "a finite number", |_| true),
    /// Bootstrap resamples of standard errors.
    resamples: u32 = |t: &Table<'_, '_>, key| t.u32(key, 2..1_000_001),
    /// SAE architecture.
    architecture: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Metrics that form C, P and S.
    metrics: Vec<String> = |t: &Table<'_, '_>, key| t.string_list(key),
    /// Steered positions, for a policy that picks some.
    k_scope: u32 = |t: &Table<'_, '_>, key| t.u32(key, COUNT),
    /// Model behind an online judge.
    judge_model: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Smallest mask rate.
    t_min: f64 = |t: &Table<'_, '_>, key| rate(t, key),
    /// Largest mask rate.
    t_max: f64 = |t: &Table<'_, '_>, key| rate(t, key),
    /// Rows of a batch.
    batch: u32 = |t: &Table<'_, '_>, key| t.u32(key, COUNT),
    /// What is measured besides the splice at all positions.
    measures: Measures = measures,
    /// Field of the data files that holds the text.
    text_field: String = |t: &Table<'_, '_>, key| t.string(key),
    /// How rows are made from documents.
    documents: DocumentPolicy = |t: &Table<'_, '_>, key| t.choice(key, &[("truncate", DocumentPolicy::Truncate), ("pack", DocumentPolicy::Pack)]),
    /// Tokens of a shard: the text is measured in shards of this size, each a cell of every SAE.
    shard_tokens: u64 = |t: &Table<'_, '_>, key| t.integer(key, 1..i64::MAX).and_then(|n| n.try_into().ok()),
    /// Take what is there when the text ends before the budget does; otherwise that is an error.
    allow_short: bool = |t: &Table<'_, '_>, key| t.boolean(key),
    /// Field of the prompt files that holds the prompt.
    prompt_field: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Prompts continued.
    n_prompts: u32 = |t: &Table<'_, '_>, key| t.u32(key, COUNT),
    /// Tokens of a prompt at most.
    prompt_tokens: u32 = |t: &Table<'_, '_>, key| t.u32(key, 1..1 << 20),
    /// Render prompts with the checkpoint's chat template, as a user's message.
    chat: bool = |t: &Table<'_, '_>, key| t.boolean(key),
    /// Decoding orders that are compared.
    orders: Vec<String> = |t: &Table<'_, '_>, key| t.string_list(key),
    /// Latents of a set whose overlap is measured.
    k_set: u32 = |t: &Table<'_, '_>, key| t.u32(key, COUNT),
    /// Bins of the curves over normalised progress.
    bins: u32 = |t: &Table<'_, '_>, key| t.u32(key, 1..10_001),
    /// Also by generated position.
    by_position: bool = |t: &Table<'_, '_>, key| t.boolean(key),
    /// Follow a row only until a stop token is among its decoded ones.
    until_stop: bool = |t: &Table<'_, '_>, key| t.boolean(key),
    /// Questions answered.
    n_questions: u32 = |t: &Table<'_, '_>, key| t.u32(key, COUNT),
    /// Questions of a cell.
    shard_questions: u32 = |t: &Table<'_, '_>, key| t.u32(key, 1..4097),
    /// How questions are put.
    preset: Preset = preset,
    /// Field of the question files that holds the question.
    question_field: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Field of the question files that holds the worked answer.
    answer_field: String = |t: &Table<'_, '_>, key| t.string(key),
}

complete! {
    /// Settings of a row of a steering bench.
    SteeringSettings {
        /// Active budgets of the SAEs.
        k: Vec<u32>,
        /// Features selected for each SAE.
        n_features: u32,
        /// Prefixes for each feature.
        n_prefix: u32,
        /// Tokens of the activation pass.
        budget_tokens: u64,
        /// Tokens of a row of the activation pass.
        context_length: u32,
        /// Strength α of Eq. 4.
        amp_factor: f64,
        /// Steering policy.
        token_scope: String,
        /// Decoding order of masked-diffusion models.
        order: String,
        /// Denoising steps.
        dlm_steps: u32,
        /// Tokens after the prefix.
        max_new_tokens: u32,
        /// Sampling temperature.
        temperature: f64,
        /// Nucleus.
        top_p: f64,
        /// Seed of all draws.
        seed: u64,
        /// Judge of explanations and concepts.
        judge: String,
        /// Model that scores perplexity, by name.
        scorer: String,
        /// Tokens of a text scored at most.
        scorer_max_tokens: u32,
        /// Weight of P in S.
        lambda: f64,
        /// Bootstrap resamples of standard errors.
        resamples: u32,
        /// SAE architecture.
        architecture: String,
        /// Metrics that form C, P and S.
        metrics: Vec<String>,
    }
    optional {
        /// Steered positions, for a policy that picks some.
        k_scope: u32,
        /// Model behind an online judge.
        judge_model: String,
    }
}

complete! {
    /// Settings of every row of a grid bench, whatever it is measured on.
    GridSettings {
        /// Active budgets of the SAEs.
        k: Vec<u32>,
        /// Smallest mask rate.
        t_min: f64,
        /// Largest mask rate.
        t_max: f64,
        /// Rows of a batch: they change results by rounding at most.
        batch: u32,
        /// Seed of all draws.
        seed: u64,
        /// Bootstrap resamples of standard errors.
        resamples: u32,
        /// SAE architecture.
        architecture: String,
        /// What is measured besides the splice at all positions.
        measures: Measures,
    }
    optional {}
}

complete! {
    /// Settings of a row that is measured on documents.
    DocumentSettings {
        /// Tokens of the text.
        budget_tokens: u64,
        /// Tokens of a shard.
        shard_tokens: u64,
        /// Tokens of a row at most.
        context_length: u32,
        /// How rows are made from documents.
        documents: DocumentPolicy,
        /// Field of the data files that holds the text.
        text_field: String,
        /// Take what is there when the text ends before the budget does.
        allow_short: bool,
    }
    optional {}
}

complete! {
    /// Settings of a row that is measured on continuations of prompts.
    RolloutSettings {
        /// Field of the prompt files that holds the prompt.
        prompt_field: String,
        /// Prompts continued.
        n_prompts: u32,
        /// Tokens of a prompt at most.
        prompt_tokens: u32,
        /// Render prompts with the checkpoint's chat template.
        chat: bool,
        /// Decoding order of masked-diffusion models.
        order: String,
        /// Denoising steps.
        dlm_steps: u32,
        /// Tokens after the prompt.
        max_new_tokens: u32,
        /// Sampling temperature.
        temperature: f64,
        /// Nucleus.
        top_p: f64,
    }
    optional {}
}

complete! {
    /// Settings of a row of the decoding-order bench.
    DecodingSettings {
        /// Active budgets of the SAEs: one.
        k: Vec<u32>,
        /// Decoding orders that are compared.
        orders: Vec<String>,
        /// Latents of a set whose overlap is measured.
        k_set: u32,
        /// Bins of the curves over normalised progress.
        bins: u32,
        /// Also by generated position.
        by_position: bool,
        /// Follow a row only until a stop token is among its decoded ones.
        until_stop: bool,
        /// Questions answered.
        n_questions: u32,
        /// Questions of a cell.
        shard_questions: u32,
        /// How questions are put.
        preset: Preset,
        /// Field of the question files that holds the question.
        question_field: String,
        /// Field of the question files that holds the worked answer.
        answer_field: String,
        /// Tokens of a prompt at most.
        prompt_tokens: u32,
        /// Denoising steps.
        dlm_steps: u32,
        /// Tokens after the prompt.
        max_new_tokens: u32,
        /// Sampling temperature.
        temperature: f64,
        /// Nucleus.
        top_p: f64,
        /// Seed of all draws.
        seed: u64,
        /// Bootstrap resamples of standard errors.
        resamples: u32,
        /// SAE architecture.
        architecture: String,
    }
    optional {}
}

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
        /// Of the documents.
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
            RowKind::Catalogue => return Ok(None),
        }))
    }

    /// Active budgets of the SAEs.
    pub fn k(&self) -> &[u32] {
        match self {
            Settings::Steering(set) => &set.k,
            Settings::Documents { grid, .. } | Settings::Rollouts { grid, .. } => &grid.k,
            Settings::Decoding(set) => &set.k,
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
        }
    }

    /// Those of every grid bench.
    pub fn grid(&self) -> Option<&GridSettings> {
        match self {
            Settings::Steering(_) | Settings::Decoding(_) => None,
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

/// Whether rows of these kinds have a setting; one that is there all the same is a problem.
fn is_had(table: &Table<'_, '_>, kinds: &[RowKind], name: &'static str) -> bool {
    if kinds.iter().any(|kind| kind.has(name)) {
        return true;
    }
    if table.has(name) {
        let owners: Vec<&str> = RowKind::ALL
            .into_iter()
            .filter(|kind| kind.has(name))
            .map(RowKind::name)
            .collect();
        let these: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let message = format!(
            "`{name}` is a setting of {} benches, and this is a {} bench",
            listed(&owners),
            listed(&these)
        );
        let own: Vec<&str> = kinds.iter().flat_map(|kind| kind.settings()).collect();
        table.problem_at(name, message, suggest::hint(name, own));
    }
    false
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [first @ .., before, last] => {
            let head: Vec<String> = first.iter().map(|name| format!("{name}, ")).collect();
            format!("{}{before} and {last}", head.concat())
        }
        _ => names.concat(),
    }
}

fn rate(table: &Table<'_, '_>, key: &'static str) -> Option<f64> {
    table.number(key, "above 0 and at most 1", |t| t > 0.0 && t <= 1.0)
}

/// A preset by name, with its version or without.
fn preset(table: &Table<'_, '_>, key: &'static str) -> Option<Preset> {
    let name = table.string(key)?;
    match preset::preset(&name) {
        Ok(preset) => Some(preset),
        Err(error) => {
            table.problem_at(key, error.to_string(), "");
            None
        }
    }
}

/// What may be measured, as a list of names; `none` stands for an empty list on the command line.
fn measures(table: &Table<'_, '_>, key: &'static str) -> Option<Measures> {
    const NAMES: [&str; 4] = ["policy_splice", "zero_ablation", "paper_code", "kl"];
    let mut measures = Measures::default();
    for name in table.string_list(key)? {
        match name.as_str() {
            "policy_splice" => measures.policy_splice = true,
            "zero_ablation" => measures.zero_ablation = true,
            "paper_code" => measures.paper_code = true,
            "kl" => measures.kl = true,
            "none" => {}
            _ => {
                let message = format!("`{key}` has no choice `{name}`");
                table.problem_at(key, message, suggest::hint(&name, NAMES));
                return None;
            }
        }
    }
    Some(measures)
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
