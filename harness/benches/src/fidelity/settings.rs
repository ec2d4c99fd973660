//! What a grid bench can be told, which splices SAEs into passes over documents or over
//! continuations of prompts.

use harness_contract::stages::{DocumentPolicy, Measures};

use harness_plan::{
    bench::{
        DOCUMENT_FILES, KindDeclaration, KindSettings, RowKind, TableDeclaration, TextInput,
        TextNeed,
        settings::{
            COUNT,
            Values::{self, Number, Switch, Switches, Text, Whole},
            shared::{self, GRID},
        },
    },
    settings,
};

/// One row for each value of an SAE, measured on documents.
pub const GRID_TABLE: &str = "grid";
/// The same, measured on continuations of prompts.
pub const ROLLOUTS_TABLE: &str = "rollouts";
/// Loss differences of each SAE (Fig. 3, Fig. 7).
pub const DELTA: &str = "delta";
/// Explained variance of each SAE (Fig. 8).
pub const EV: &str = "ev";
/// Both by target model and source of the SAE (Fig. 6, Fig. 12).
pub const TRANSFER: &str = "transfer";

/// A row that is measured on documents.
pub const ON_DOCUMENTS: RowKind = RowKind(&DOCUMENTS);
/// A row that is measured on continuations of prompts.
pub const ON_ROLLOUTS: RowKind = RowKind(&ROLLOUTS);

pub static DOCUMENTS: KindDeclaration = KindDeclaration {
    settings: KindSettings {
        name: "grid",
        article: "a",
        lists: &[GridSettings::SETTINGS, DocumentSettings::SETTINGS],
    },
    text: Some(TextNeed {
        input: TextInput::Documents,
        amount: "budget_tokens",
        what: "text to be measured on",
        files: DOCUMENT_FILES,
    }),
    tables: &[
        TableDeclaration {
            name: GRID_TABLE,
            is_figure: false,
            has_variants: false,
            also_of: &[],
        },
        TableDeclaration {
            name: DELTA,
            is_figure: true,
            has_variants: false,
            also_of: &[],
        },
        TableDeclaration {
            name: EV,
            is_figure: true,
            has_variants: false,
            also_of: &[],
        },
        TableDeclaration {
            name: TRANSFER,
            is_figure: true,
            has_variants: false,
            also_of: &["rollout"],
        },
    ],
};

pub static ROLLOUTS: KindDeclaration = KindDeclaration {
    settings: KindSettings {
        name: "rollout",
        article: "a",
        lists: &[GridSettings::SETTINGS, RolloutSettings::SETTINGS],
    },
    text: Some(TextNeed {
        input: TextInput::Prompts,
        amount: "n_prompts",
        what: "prompts to continue",
        files: "jsonl with a field `prompt`, or --set prompt_field=NAME",
    }),
    tables: &[TableDeclaration {
        name: ROLLOUTS_TABLE,
        is_figure: false,
        has_variants: false,
        also_of: &[],
    }],
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
