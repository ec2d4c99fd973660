//! Settings that several kinds of bench have.

use super::declare::{
    COUNT,
    HelpPart::{self, Budget, First},
    Setting,
    Values::{Choice, Component, Number, Switch, Text, Whole, Wholes},
};

/// What the two settings are for that say where activations of latents count.
const ACTIVATIONS: HelpPart = HelpPart::OfKinds("Text that latents are looked up in");
/// The judges of texts and explanations.
const JUDGES: HelpPart = HelpPart::OfKinds("Judges");

/// Writes each setting as a constant, whose comment is its help. The field of a kind that has the
/// setting gives its name.
macro_rules! shared {
    ($( $(#[doc = $help:literal])* $name:ident = $setting:expr, )*) => {
        $( $(#[doc = $help])* pub const $name: Setting = $setting.explained(concat!($($help),*)); )*
    };
}

shared! {
    /// Active budgets of the SAEs, such as 50,80.
    K = Wholes(COUNT).option_in("--k LIST", First),
    /// SAE architecture.
    ARCHITECTURE = Component("sae").plain(),
    /// Seed of all draws.
    SEED = Whole(0..i64::MAX).option_in("--seed N", Budget),
    /// Bootstrap resamples of standard errors.
    RESAMPLES = Whole(2..1_000_001).plain(),

    /// Tokens of the text that latents are looked up in, or that is measured on.
    BUDGET_TOKENS = Whole(1..i64::MAX).option_in("--budget-tokens N", Budget),
    /// Tokens of a row of text.
    CONTEXT_LENGTH = Whole(4..1 << 20).option_in("--context-length N", Budget),
    /// How rows are made: truncate (a document each, its end cut off) or pack (documents
    /// joined).
    DOCUMENTS = Choice(&[("truncate", "truncate"), ("pack", "pack_whole")])
        .option("--documents POLICY"),
    /// Field of the data files that holds the text.
    TEXT_FIELD = Text.plain(),
    /// Take the text there is when it ends before the budget of tokens does; otherwise that
    /// is an error.
    ALLOW_SHORT = Switch.option("--allow-short"),
    /// Share of the rows of text, prompts or questions that may be unusable: they are
    /// passed over and counted [default: 0.001; of questions without a gold answer none].
    MAX_BAD_ROWS = Number("a share from 0 to 1", |x| (0.0..=1.0).contains(&x))
        .option_in("--max-bad-rows SHARE", Budget),
    /// Rows of a batch: they change results by rounding at most.
    BATCH = Whole(COUNT).option_of_command("--batch ROWS"),
    /// Mask tokens of the text with this probability, for masked-diffusion models [default:
    /// the bench's; 0, clean text, under the paper's budgets].
    MASK_RATE = Number("from 0 (clean text) to 1", |x| (0.0..=1.0).contains(&x))
        .option_in("--mask-rate T", ACTIVATIONS),
    /// Where activations count: all positions, or those of the SAE's policy (masked or
    /// visible ones).
    POSITIONS = Choice(&[("all", "all"), ("policy", "policy")])
        .option_in("--positions WHICH", ACTIVATIONS),

    /// Decoding order of masked-diffusion models.
    ORDER = Component("remasker").plain(),
    /// Denoising steps, of rollouts and answers too.
    DLM_STEPS = Whole(1..100_001).option("--dlm-steps N"),
    /// Tokens after each prefix, each prompt of rollouts, each question.
    MAX_NEW_TOKENS = Whole(1..100_001).option("--max-new-tokens N"),
    /// Sampling temperature; 0 takes the likeliest token.
    TEMPERATURE = Number("0 or more", |x| x >= 0.0).plain(),
    /// Probability of the nucleus that tokens are drawn from.
    TOP_P = Number("above 0 and at most 1", |x| x > 0.0 && x <= 1.0).plain(),
    /// Tokens of a prompt at most.
    PROMPT_TOKENS = Whole(1..1 << 20).plain(),

    /// Judge of explanations and concepts: lexical, openai, a plugin's, or replay of kept
    /// replies.
    JUDGE = Component("judge").option_in("--judge NAME", JUDGES),
    /// Model behind an online judge; for replay, the judge whose replies are given
    /// [default: the only one].
    JUDGE_MODEL = Text.option_in("--judge-model NAME", JUDGES),
}
