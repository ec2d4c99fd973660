//! What a grid bench can be told, which splices SAEs into passes over documents or over
//! continuations of prompts.

use harness_contract::stages::{DocumentPolicy, Measures};

use super::{
    KindSettings,
    declare::{
        COUNT,
        Values::{self, Number, Switch, Switches, Text, Whole},
    },
    shared::{self, GRID},
};
use crate::settings;

pub static DOCUMENTS: KindSettings = KindSettings {
    name: "grid",
    article: "a",
    lists: &[GridSettings::SETTINGS, DocumentSettings::SETTINGS],
};

pub static ROLLOUTS: KindSettings = KindSettings {
    name: "rollout",
    article: "a",
    lists: &[GridSettings::SETTINGS, RolloutSettings::SETTINGS],
};

const RATE: Values = Number("above 0 and at most 1", |t| t > 0.0 && t <= 1.0);

settings! {
    /// Settings of every row of a grid bench, whatever it is measured on.
    GridSettings {
        k: Vec<u32> = shared::K,
        /// Smallest mask rate.
        t_min: f64 = RATE.plain(),
        /// Largest mask rate.
        t_max: f64 = RATE.plain(),
        batch: u32 = shared::BATCH,
        seed: u64 = shared::SEED,
        resamples: u32 = shared::RESAMPLES,
        architecture: String = shared::ARCHITECTURE,
        /// What is measured besides the splice at all positions: policy_splice,
        /// zero_ablation, paper_code, kl, or none.
        measures: Measures = Switches(&["policy_splice", "zero_ablation", "paper_code", "kl"])
            .option("--measures LIST", GRID),
    }
    optional {}
}

settings! {
    /// Settings of a row that is measured on documents.
    DocumentSettings {
        budget_tokens: u64 = shared::BUDGET_TOKENS,
        /// Tokens of a shard: the text is measured in shards of this size, each a cell
        /// of every SAE.
        shard_tokens: u64 = Whole(1..i64::MAX).plain(),
        context_length: u32 = shared::CONTEXT_LENGTH,
        documents: DocumentPolicy = shared::DOCUMENTS,
        text_field: String = shared::TEXT_FIELD,
        allow_short: bool = shared::ALLOW_SHORT,
    }
    optional {
        max_bad_rows: f64 = shared::MAX_BAD_ROWS,
    }
}

settings! {
    /// Settings of a row that is measured on continuations of prompts.
    RolloutSettings {
        /// Field of the prompt files that holds the prompt.
        prompt_field: String = Text.plain(),
        /// Prompts continued.
        n_prompts: u32 = Whole(COUNT).plain(),
        prompt_tokens: u32 = shared::PROMPT_TOKENS,
        /// Render prompts with the checkpoint's chat template, as a user's message.
        chat: bool = Switch.plain(),
        order: String = shared::ORDER,
        dlm_steps: u32 = shared::DLM_STEPS,
        max_new_tokens: u32 = shared::MAX_NEW_TOKENS,
        temperature: f64 = shared::TEMPERATURE,
        top_p: f64 = shared::TOP_P,
    }
    optional {
        max_bad_rows: f64 = shared::MAX_BAD_ROWS,
    }
}
