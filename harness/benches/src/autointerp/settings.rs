//! What a bench of auto-interpretation can be told.

use harness_contract::{
    outputs::ExplanationLine,
    stages::{DocumentPolicy, Positions},
};
use harness_core::autointerp::{RandomWindows, WindowRules};

use harness_plan::{
    bench::{
        DOCUMENT_FILES, KindDeclaration, KindSettings, TableDeclaration, TextInput, TextNeed,
        settings::{
            COUNT,
            Values::{Choice, Number, Text, Whole, Wholes},
            shared,
        },
    },
    settings,
};

/// Scores of explanations.
pub const SCORES: &str = "autointerp";

pub static KIND: KindDeclaration = KindDeclaration {
    settings: KindSettings {
        name: ExplanationLine::BENCH,
        article: "an",
        lists: &[AutointerpSettings::SETTINGS],
    },
    summary: "autointerp: latents are explained, and the explanations tested on windows of text",
    examples: &[
        "harness bench autointerp --plugins ./plugins --rows dream-mask --latents 50",
        "harness bench autointerp --plugins ./plugins --judge openai --max-cost 2.50 --dry-run",
        "harness bench table2 --plugins ./plugins --explanations results/runs/autointerp/explanations.jsonl",
        "harness compare results/runs/autointerp/autointerp.csv results/paper/official_repo_autointerp.csv \\
      --paper autointerp --columns autointerp_score=autointerp_score_mean --common --atol 0.05",
    ],
    text: Some(TextNeed {
        input: TextInput::Documents,
        amount: "budget_tokens",
        what: "text for its activation pass",
        files: DOCUMENT_FILES,
    }),
    tables: &[TableDeclaration::table(SCORES)],
};

settings! {
    /// Settings of a row of the autointerp bench.
    AutointerpSettings {
        k: Vec<u32> = shared::K,
        /// Latents of each SAE that are explained, a seeded sample of those that are
        /// alive.
        n_latents: u32 = Whole(COUNT).option("--latents N"),
        budget_tokens: u64 = shared::BUDGET_TOKENS,
        context_length: u32 = shared::CONTEXT_LENGTH,
        documents: DocumentPolicy = shared::DOCUMENTS,
        text_field: String = shared::TEXT_FIELD,
        allow_short: bool = shared::ALLOW_SHORT,
        batch: u32 = shared::BATCH,
        positions: Positions = shared::POSITIONS,
        /// Activations over the text below which a latent is dead.
        dead_threshold: u32 = Whole(COUNT).plain(),
        /// Tokens on either side of the middle of a window.
        buffer: u32 = Whole(1..1 << 16).plain(),
        /// Windows around the largest activations.
        n_top: u32 = Whole(1..1001).plain(),
        /// Windows around the largest activations that are shown to explain the latent.
        n_top_shown: u32 = Whole(1..1001).plain(),
        /// Windows drawn in proportion to activation.
        n_weighted: u32 = Whole(0..1001).plain(),
        /// Windows drawn in proportion to activation that are shown to explain the
        /// latent.
        n_weighted_shown: u32 = Whole(0..1001).plain(),
        /// Windows at random positions.
        n_random: u32 = Whole(0..1001).plain(),
        /// Share of the largest activation above which a token is active.
        act_threshold: f64 = Number("at least 0 and below 1", |x| (0.0..1.0).contains(&x)).plain(),
        /// Power of the activation in the weights of drawn windows.
        weight_power: f64 = Number("at least 0 and at most 8", |x| (0.0..=8.0).contains(&x))
            .plain(),
        /// What counts as true of random windows: checked, or paper_code (that they are
        /// inactive).
        random_windows: RandomWindows = Choice(&[("checked", "checked"), ("paper_code", "paper_code")])
            .option("--random-windows HOW"),
        /// Tokens that a latent promotes and suppresses most, of each.
        n_logits: u32 = Whole(0..1001).plain(),
        seed: u64 = shared::SEED,
        judge: String = shared::JUDGE,
        resamples: u32 = shared::RESAMPLES,
        architecture: String = shared::ARCHITECTURE,
    }
    optional {
        /// These latents instead of a sample, such as 3,17.
        latent: Vec<u32> = Wholes(0..COUNT.end).option("--latent LIST"),
        mask_rate: f64 = shared::MASK_RATE,
        /// JSON pointer to the labels of a document, or `none`.
        label_field: String = Text.plain(),
        judge_model: String = shared::JUDGE_MODEL,
        max_bad_rows: f64 = shared::MAX_BAD_ROWS,
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
