//! What a bench of decoding orders can be told.

use harness_core::task::preset::Preset;

use harness_plan::{
    bench::{
        KindDeclaration, KindSettings, TableDeclaration, TextInput, TextNeed,
        settings::{
            COUNT,
            Values::{self, Components, Switch, Text, Whole},
            shared::{self, DECODING},
        },
    },
    settings,
};

/// Feature dynamics and accuracy of decoding orders.
pub const ORDERS: &str = "decoding";
/// Stability before decoding (Fig. 4).
pub const STABILITY: &str = "stability";
/// Drift after decoding (Fig. 5).
pub const DRIFT: &str = "drift";
/// The most active latent: lock rate and flips (Fig. 11).
pub const TOP1: &str = "top1";

pub static KIND: KindDeclaration = KindDeclaration {
    settings: KindSettings {
        name: "decoding",
        article: "a",
        lists: &[DecodingSettings::SETTINGS],
    },
    text: Some(TextNeed {
        input: TextInput::Questions,
        amount: "n_questions",
        what: "questions to answer",
        files: "GSM8K's test.jsonl, or parquet with fields `question` and `answer`",
    }),
    tables: &[
        TableDeclaration {
            name: ORDERS,
            is_figure: false,
            has_variants: false,
            also_of: &[],
        },
        TableDeclaration {
            name: STABILITY,
            is_figure: true,
            has_variants: false,
            also_of: &[],
        },
        TableDeclaration {
            name: DRIFT,
            is_figure: true,
            has_variants: false,
            also_of: &[],
        },
        TableDeclaration {
            name: TOP1,
            is_figure: true,
            has_variants: false,
            also_of: &[],
        },
    ],
};

settings! {
    /// Settings of a row of the decoding-order bench.
    DecodingSettings {
        k: Vec<u32> = shared::K,
        /// Decoding orders that are compared, any remasker by name:
        /// origin,topk_margin,entropy.
        orders: Vec<String> = Components("remasker").option("--orders LIST", DECODING),
        /// Latents of a set whose overlap is measured.
        k_set: u32 = Whole(COUNT).option("--k-set N", DECODING),
        /// Bins of the curves over normalised progress.
        bins: u32 = Whole(1..10_001).plain(),
        /// Values by generated position too.
        by_position: bool = Switch.option("--by-position", DECODING),
        /// Follow a row only until a stop token is among its decoded ones.
        until_stop: bool = Switch.plain(),
        /// Questions asked, a seeded sample.
        n_questions: u32 = Whole(COUNT).option("--n-questions N", DECODING),
        /// Questions of a cell.
        shard_questions: u32 = Whole(1..4097).plain(),
        /// How questions are put: chat, few-shot, few-shot-chat or question, with
        /// @VERSION or the latest.
        preset: Preset = Values::Preset.option("--preset NAME", DECODING),
        /// Field of the question files that holds the question.
        question_field: String = Text.plain(),
        /// Field of the question files that holds the worked answer.
        answer_field: String = Text.plain(),
        prompt_tokens: u32 = shared::PROMPT_TOKENS,
        dlm_steps: u32 = shared::DLM_STEPS,
        max_new_tokens: u32 = shared::MAX_NEW_TOKENS,
        temperature: f64 = shared::TEMPERATURE,
        top_p: f64 = shared::TOP_P,
        seed: u64 = shared::SEED,
        resamples: u32 = shared::RESAMPLES,
        architecture: String = shared::ARCHITECTURE,
    }
    optional {
        max_bad_rows: f64 = shared::MAX_BAD_ROWS,
    }
}
