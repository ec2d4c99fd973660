//! Every setting there is, of any kind of bench, and how it is read.

use std::{collections::BTreeMap, ops::Range};

use harness_core::{
    autointerp::RandomWindows,
    suggest,
    task::preset::{self, Preset},
};

use crate::bench::RowKind;
use harness_contract::{
    config::{Said, Table, Written},
    stages::{DocumentPolicy, Measures, Positions},
};

const COUNT: Range<i64> = 1..u32::MAX as i64 + 1;

/// Defines the patch: every setting there is, of any kind of bench, and any of them may be missing.
macro_rules! patch {
    ($( $(#[$doc:meta])* $field:ident: $ty:ty = $read:expr, )*) => {
        /// Settings of one level: a bench file, a profile, a row, a variant, or the command line.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct SettingsPatch {
            $( $(#[$doc])* pub $field: Option<$ty>, )*
            /// What was said about each of them and where, the nearest level first: that is the one
            /// that counts. The layers of a row are among them.
            pub said: BTreeMap<&'static str, Vec<Said>>,
        }

        impl SettingsPatch {
            /// Read every setting a table holds. One that these kinds of rows do not have is a
            /// problem.
            pub(in crate::bench) fn read(table: &Table<'_, '_>, kinds: &[RowKind]) -> SettingsPatch {
                let mut patch = SettingsPatch {
                    $( $field: match is_had(table, kinds, stringify!($field)) {
                        true => ($read)(table, stringify!($field)),
                        false => None,
                    }, )*
                    said: BTreeMap::new(),
                };
                $( if patch.$field.is_some() {
                    patch.say(stringify!($field), table.said(stringify!($field)));
                } )*
                patch
            }

            /// These settings, and those of `lower` where these are silent.
            pub fn or(&self, lower: &SettingsPatch) -> SettingsPatch {
                SettingsPatch {
                    $( $field: self.$field.clone().or_else(|| lower.$field.clone()), )*
                    said: self.said_over(lower),
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
    /// Share of the rows of the files that may be unusable.
    max_bad_rows: f64 = |t: &Table<'_, '_>, key| t.number(key, "a share from 0 to 1", |x| (0.0..=1.0).contains(&x)),
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
    /// Features without C or P count as 0 in all means; else the means leave them out.
    invalid_as_zero: bool = |t: &Table<'_, '_>, key| t.boolean(key),
    /// Explanations of an autointerp run: their latents, best score first, are the features.
    explanations: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Latents of each SAE that are explained, a seeded sample.
    n_latents: u32 = |t: &Table<'_, '_>, key| t.u32(key, COUNT),
    /// These latents instead of a sample.
    latent: Vec<u32> = |t: &Table<'_, '_>, key| t.u32_list(key, 0..COUNT.end),
    /// Probability with which tokens of the text are masked; 0 and none are clean text.
    mask_rate: f64 = |t: &Table<'_, '_>, key| t.number(key, "from 0 (clean text) to 1", |x| (0.0..=1.0).contains(&x)),
    /// Positions at which activations count.
    positions: Positions = |t: &Table<'_, '_>, key| t.choice(key, &[("all", Positions::All), ("policy", Positions::Policy)]),
    /// Activations over the text below which a latent is dead.
    dead_threshold: u32 = |t: &Table<'_, '_>, key| t.u32(key, COUNT),
    /// Tokens on either side of the middle of a window.
    buffer: u32 = |t: &Table<'_, '_>, key| t.u32(key, 1..1 << 16),
    /// Windows around the largest activations.
    n_top: u32 = |t: &Table<'_, '_>, key| t.u32(key, 1..1001),
    /// Of them, shown to explain the latent.
    n_top_shown: u32 = |t: &Table<'_, '_>, key| t.u32(key, 1..1001),
    /// Windows drawn in proportion to activation.
    n_weighted: u32 = |t: &Table<'_, '_>, key| t.u32(key, 0..1001),
    /// Of them, shown to explain the latent.
    n_weighted_shown: u32 = |t: &Table<'_, '_>, key| t.u32(key, 0..1001),
    /// Windows at random positions.
    n_random: u32 = |t: &Table<'_, '_>, key| t.u32(key, 0..1001),
    /// Share of the largest activation above which a token is active.
    act_threshold: f64 = |t: &Table<'_, '_>, key| t.number(key, "at least 0 and below 1", |x| (0.0..1.0).contains(&x)),
    /// Power of the activation in the weights of drawn windows.
    weight_power: f64 = |t: &Table<'_, '_>, key| t.number(key, "at least 0 and at most 8", |x| (0.0..=8.0).contains(&x)),
    /// What counts as true of random windows.
    random_windows: RandomWindows = |t: &Table<'_, '_>, key| t.choice(key, &[("checked", RandomWindows::Checked), ("paper_code", RandomWindows::PaperCode)]),
    /// Tokens that a latent promotes and suppresses most, of each.
    n_logits: u32 = |t: &Table<'_, '_>, key| t.u32(key, 0..1001),
    /// JSON pointer to the labels of a document, or `none`.
    label_field: String = |t: &Table<'_, '_>, key| t.string(key),
}

impl SettingsPatch {
    /// Remember what was said about a setting, above what is known.
    pub(crate) fn say(&mut self, name: &'static str, said: Option<Said>) {
        self.said.entry(name).or_default().splice(0..0, said);
    }

    /// What an option says: it has no place in a file.
    pub(in crate::bench) fn say_option(&mut self, option: &str, value: &str) {
        for said in self.said.values_mut().flatten() {
            said.value = value.to_owned();
            said.from = Written::Option {
                option: option.to_owned(),
            };
        }
    }

    fn said_over(&self, lower: &SettingsPatch) -> BTreeMap<&'static str, Vec<Said>> {
        let mut all = self.said.clone();
        for (name, said) in &lower.said {
            all.entry(name).or_default().extend(said.iter().cloned());
        }
        all
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
        let mut kinds_named = kinds.iter();
        let first = kinds_named.next().map(|kind| kind.a_name());
        let others = kinds_named.map(|kind| kind.name().to_owned());
        let these: Vec<String> = first.into_iter().chain(others).collect();
        let these: Vec<&str> = these.iter().map(String::as_str).collect();
        let message = format!(
            "`{name}` is a setting of {} benches, and this is {} bench",
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
