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
            shared,
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
    summary: "fidelity, transfer, fig3, fig7, fig8, fig12: SAEs are spliced into passes over text",
    examples: &[
        "harness bench fidelity --plugins ./plugins --rows dream-mask --layers 1,5 --measures kl,paper_code",
        "harness bench fidelity --plugins ./plugins --dry-run --memory 16G --batch 4",
        "harness slurm submit fidelity --plugins ./plugins --out /shared/fidelity \\
      --model dream=/shared/Dream-7B --saes dream-mask=/shared/dlm-mask \\
      --data /shared/text.jsonl.gz --dtype bf16 --device cuda:0 --gres gpu:1 --cpus-per-task 8 \\
      --mem 64G --time 4:00:00 --array-limit 16 --sbatch-arg=--mail-type=FAIL",
    ],
    text: Some(TextNeed {
        input: TextInput::Documents,
        amount: "budget_tokens",
        what: "text to be measured on",
        files: DOCUMENT_FILES,
    }),
    tables: &[
        TableDeclaration::table(GRID_TABLE),
        TableDeclaration::figure(DELTA),
        TableDeclaration::figure(EV),
        TableDeclaration {
            also_of: &["rollout"],
            ..TableDeclaration::figure(TRANSFER)
        },
    ],
};

pub static ROLLOUTS: KindDeclaration = KindDeclaration {
    settings: KindSettings {
        name: "rollout",
        article: "a",
        lists: &[GridSettings::SETTINGS, RolloutSettings::SETTINGS],
    },
    summary: "transfer-rollouts (fig6: this and grid): the same on what the model writes itself",
    examples: &["harness bench fig6 --plugins ./plugins --png"],
    text: Some(TextNeed {
        input: TextInput::Prompts,
        amount: "n_prompts",
        what: "prompts to continue",
        files: "jsonl with a field `prompt`, or --set prompt_field=NAME",
    }),
    tables: &[TableDeclaration::table(ROLLOUTS_TABLE)],
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
            .option("--measures LIST"),
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
