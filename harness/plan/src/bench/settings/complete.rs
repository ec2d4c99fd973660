//! The settings each kind of row must have.

use harness_core::{
    autointerp::{RandomWindows, WindowRules},
    task::preset::Preset,
};

use super::SettingsPatch;
use harness_contract::{
    config::{ConfigError, Problem},
    stages::{DocumentPolicy, Measures, Positions},
};

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
            pub(in crate::bench) const FIELDS: &'static [&'static str] =
                &[ $( stringify!($field), )* $( stringify!($ofield), )* ];

            pub(super) fn complete(patch: &SettingsPatch, origin: &str) -> Result<$name, ConfigError> {
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
        temperature: f64,
        /// Nucleus.
        top_p: f64,
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
        /// Probability with which the activation pass masks tokens, for masked-diffusion models;
        /// clean text without.
        mask_rate: f64,
        /// Positions of that pass at which activations count: all without.
        positions: Positions,
        /// Steered positions, for a policy that picks some.
        k_scope: u32,
        /// Model behind an online judge.
        judge_model: String,
        /// Features without C or P count as 0 in all means, as the authors count them.
        invalid_as_zero: bool,
        /// Explanations of an autointerp run that stand for the features and their explanations.
        explanations: String,
        /// Field of the data files that holds the text, where it is not `text`.
        text_field: String,
        /// Share of the rows of the files that may be unusable, where it is not the default.
        max_bad_rows: f64,
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
    optional {
        /// Share of the rows of the files that may be unusable, where it is not the default.
        max_bad_rows: f64,
    }
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
        temperature: f64,
        /// Nucleus.
        top_p: f64,
    }
    optional {
        /// Share of the rows of the files that may be unusable, where it is not the default.
        max_bad_rows: f64,
    }
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
        temperature: f64,
        /// Nucleus.
        top_p: f64,
        seed: u64,
        /// Bootstrap resamples of standard errors.
        resamples: u32,
        /// SAE architecture.
        architecture: String,
    }
    optional {
        /// Share of the rows of the files that may be unusable, where it is not the default.
        max_bad_rows: f64,
    }
}

complete! {
    /// Settings of a row of the autointerp bench.
    AutointerpSettings {
        /// Active budgets of the SAEs.
        k: Vec<u32>,
        /// Latents of each SAE, a seeded sample.
        n_latents: u32,
        /// Tokens of the text.
        budget_tokens: u64,
        /// Tokens of a row at most.
        context_length: u32,
        /// How rows are made from documents.
        documents: DocumentPolicy,
        /// Field of the data files that holds the text.
        text_field: String,
        /// Take what is there when the text ends before the budget does.
        allow_short: bool,
        /// Rows of a batch: they change results by rounding at most.
        batch: u32,
        /// Positions at which activations count.
        positions: Positions,
        /// Activations over the text below which a latent is dead.
        dead_threshold: u32,
        /// Tokens on either side of the middle of a window.
        buffer: u32,
        /// Windows around the largest activations.
        n_top: u32,
        /// Of them, shown to explain the latent.
        n_top_shown: u32,
        /// Windows drawn in proportion to activation.
        n_weighted: u32,
        /// Of them, shown to explain the latent.
        n_weighted_shown: u32,
        /// Windows at random positions.
        n_random: u32,
        /// Share of the largest activation above which a token is active.
        act_threshold: f64,
        /// Power of the activation in the weights of drawn windows.
        weight_power: f64,
        /// What counts as true of random windows.
        random_windows: RandomWindows,
        /// Tokens that a latent promotes and suppresses most, of each.
        n_logits: u32,
        seed: u64,
        /// Judge that explains and predicts.
        judge: String,
        /// Bootstrap resamples of standard errors.
        resamples: u32,
        /// SAE architecture.
        architecture: String,
    }
    optional {
        /// These latents instead of a sample.
        latent: Vec<u32>,
        /// Probability with which tokens are masked; clean text without.
        mask_rate: f64,
        /// JSON pointer to the labels of a document, or `none`.
        label_field: String,
        /// Model behind an online judge.
        judge_model: String,
        /// Share of the rows of the files that may be unusable, where it is not the default.
        max_bad_rows: f64,
    }
}

impl AutointerpSettings {
    /// Where the labels of a document are; `None` without labels, which `none` says where a lower
    /// level names some.
    pub fn labels(&self) -> Option<&str> {
        self.label_field.as_deref().filter(|at| *at != "none")
    }

    /// Which windows stand for a latent.
    pub fn rules(&self) -> WindowRules {
        WindowRules {
            buffer: self.buffer,
            n_top: self.n_top,
            n_top_shown: self.n_top_shown,
            n_weighted: self.n_weighted,
            n_weighted_shown: self.n_weighted_shown,
            n_random: self.n_random,
            act_threshold: self.act_threshold,
            weight_power: self.weight_power,
        }
    }
}
