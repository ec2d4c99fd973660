//! What a bench of decoding orders can be told.

use harness_core::task::preset::Preset;

use harness_plan::{
    bench::{
        KindDeclaration, KindSettings, TextInput, TextNeed,
        settings::{
            COUNT,
            Values::{self, Components, Switch, Text, Whole},
            shared,
        },
    },
    settings,
};

use super::views;

/// Feature dynamics and accuracy of decoding orders.
pub const ORDERS: &str = "decoding";

pub static KIND: KindDeclaration = KindDeclaration {
    settings: KindSettings {
        name: "decoding",
        article: "a",
        lists: &[DecodingSettings::SETTINGS],
    },
    summary: "decoding-order, fig4, fig5, fig11: questions are answered in several decoding orders, \
              with features followed",
    examples: &[
        "harness bench decoding-order --plugins ./plugins --orders origin,entropy,my-order",
        "harness bench decoding-order --plugins ./plugins --model dream-instruct=/models/Dream-Instruct-7B \\
      --saes dream-instruct-mask=/saes/dream-mask --questions gsm8k/test.jsonl",
    ],
    text: Some(TextNeed {
        input: TextInput::Questions,
        amount: "n_questions",
        what: "questions to answer",
        files: "GSM8K's test.jsonl, or parquet with fields `question` and `answer`",
    }),
    tables: &views::declared(ORDERS),
};

settings! {
    /// Settings of a row of the decoding-order bench.
    DecodingSettings {
        k: Vec<u32> = shared::K,
        /// Decoding orders that are compared, any remasker by name:
        /// origin,topk_margin,entropy.
        orders: Vec<String> = Components("remasker").option("--orders LIST"),
        /// Latents of a set whose overlap is measured.
        k_set: u32 = Whole(COUNT).option("--k-set N"),
        /// Bins of the curves over normalised progress.
        bins: u32 = Whole(1..10_001).plain(),
        /// Values by generated position too.
        by_position: bool = Switch.option("--by-position"),
        /// Follow a row only until a stop token is among its decoded ones.
        until_stop: bool = Switch.plain(),
        /// Questions asked, a seeded sample.
        n_questions: u32 = Whole(COUNT).option("--n-questions N"),
        /// Questions of a cell.
        shard_questions: u32 = Whole(1..4097).plain(),
        /// How questions are put: chat, few-shot, few-shot-chat or question, with
        /// @VERSION or the latest.
        preset: Preset = Values::Preset.option("--preset NAME"),
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
