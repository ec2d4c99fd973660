//! What a steering bench can be told.

use harness_contract::stages::Positions;

use harness_plan::{
    bench::{
        DOCUMENT_FILES, KindDeclaration, KindSettings, TableDeclaration, TextInput, TextNeed,
        settings::{
            COUNT,
            Values::{Component, Components, Model, Number, Switch, Text, Whole},
            shared,
        },
    },
    settings,
};

/// Mean over the k sweep, one row for each layer, stars (Table 2).
pub const MEAN_OVER_K: &str = "mean_over_k";
/// One row for each layer and k (Fig. 9, Fig. 10).
pub const BY_K: &str = "by_k";
/// One row for each variant, with times (Table 4).
pub const VARIANTS: &str = "variants";

pub static KIND: KindDeclaration = KindDeclaration {
    settings: KindSettings {
        name: "steering",
        article: "a",
        lists: &[SteeringSettings::SETTINGS],
    },
    summary: "table2, table4, fig9, fig10: texts are steered with features and scored",
    examples: &[
        "harness bench table2 --plugins ./plugins --dry-run --model dream=/models/Dream-7B \\
      --saes dream-mask=/saes/dream-mask --data text.jsonl.gz",
    ],
    text: Some(TextNeed {
        input: TextInput::Documents,
        amount: "budget_tokens",
        what: "text for its activation pass",
        files: DOCUMENT_FILES,
    }),
    tables: &[
        TableDeclaration::table(MEAN_OVER_K),
        TableDeclaration::table(BY_K),
        TableDeclaration {
            has_variants: true,
            ..TableDeclaration::table(VARIANTS)
        },
    ],
};

settings! {
    /// Settings of a row of a steering bench.
    SteeringSettings {
        k: Vec<u32> = shared::K,
        /// Features selected for each SAE.
        n_features: u32 = Whole(COUNT).option("--n-features N"),
        /// Prefixes for each feature.
        n_prefix: u32 = Whole(COUNT).option("--n-prefix N"),
        budget_tokens: u64 = shared::BUDGET_TOKENS,
        context_length: u32 = shared::CONTEXT_LENGTH,
        /// Strength of steering, the α of Eq. 4.
        amp_factor: f64 = Number("a finite number", |_| true)
            .option("--amp-factor ALPHA"),
        /// Steering policy.
        token_scope: String = Component("steering").plain(),
        order: String = shared::ORDER,
        dlm_steps: u32 = shared::DLM_STEPS,
        max_new_tokens: u32 = shared::MAX_NEW_TOKENS,
        temperature: f64 = shared::TEMPERATURE,
        top_p: f64 = shared::TOP_P,
        seed: u64 = shared::SEED,
        judge: String = shared::JUDGE,
        /// Model that scores perplexity: NAME=DIR, `embedded`, or `none` to go without
        /// P and S [default: the bench's, for embedded models alone].
        scorer: String = Model.option("--scorer NAME=DIR"),
        /// Tokens of a text scored at most.
        scorer_max_tokens: u32 = Whole(2..1 << 20).plain(),
        /// Weight of the perplexity reduction P in the steering score S.
        lambda: f64 = Number("a finite number", |_| true).plain(),
        resamples: u32 = shared::RESAMPLES,
        architecture: String = shared::ARCHITECTURE,
        /// Metrics that form C, P and S.
        metrics: Vec<String> = Components("metric").plain(),
    }
    optional {
        mask_rate: f64 = shared::MASK_RATE,
        positions: Positions = shared::POSITIONS,
        /// Steered positions, for a policy that picks some.
        k_scope: u32 = Whole(COUNT).plain(),
        judge_model: String = shared::JUDGE_MODEL,
        /// Features without C or P count as 0 in all means, as the authors count them;
        /// else the means leave them out.
        invalid_as_zero: bool = Switch.plain(),
        /// Features and their explanations from explanations.jsonl of an autointerp
        /// run, best score first, instead of own ones.
        explanations: String = Text.option("--explanations FILE"),
        text_field: String = shared::TEXT_FIELD,
        max_bad_rows: f64 = shared::MAX_BAD_ROWS,
    }
}
