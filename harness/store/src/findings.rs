use std::path::PathBuf;

use super::{Damage, STORE_SCHEMA};
use crate::replies::ReplyDamage;

/// Something in a store that is not as a run leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: PathBuf,
    /// What is wrong with it, or worth knowing.
    pub problem: Problem,
}

/// What is wrong with a file of a store, or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A cell that cannot be used.
    #[error("{0}")]
    Cell(Damage),
    /// A done cell that was made from another that is not there.
    #[error("made from cell {input}, which is {state}")]
    Input {
        /// Key of the other.
        input: String,
        /// `missing`, `failed` or `open`.
        state: &'static str,
    },
    /// A kept reply that cannot be used.
    #[error("{0}")]
    Reply(ReplyDamage),
    /// The ledger or a batch of judges' replies cannot be read.
    #[error("{0}")]
    Money(String),
    /// A file among cells or replies that is neither.
    #[error("its name is not that of a {of} in this place: nothing reads it")]
    Misplaced {
        /// `cell` or `kept reply`.
        of: &'static str,
    },
    /// Another result of a done cell.
    #[error("another result of a cell that was done: the first counts")]
    Conflict,
    /// Another reply to a request that was answered.
    #[error("another reply to a request that was answered: the first counts")]
    ReplyConflict,
    /// `store.json` is of a newer version.
    #[error("the store was written with schema {found}, this version writes {STORE_SCHEMA}")]
    Newer {
        /// Its schema.
        found: u64,
    },
    /// `store.json` is no schema.
    #[error("it does not name the schema of the store")]
    NoSchema,
    /// The manifest cannot be read.
    #[error("the manifest of the last run cannot be read")]
    Manifest,
    #[error("a {stage} cell that failed: {message}")]
    Failed {
        stage: String,
        /// The first line of why.
        message: String,
    },
    #[error("a {stage} cell that is open: {message}")]
    Open {
        stage: String,
        /// The first line of why.
        message: String,
    },
    /// A cell that this version would compute another way, or not at all.
    #[error("a {stage} cell of version {version}, which this version does not make")]
    OtherVersion {
        stage: String,
        /// Its version of the stage.
        version: u32,
    },
    #[error("a temporary file, of a process that is writing or was killed")]
    Temporary,
    /// A file that was put aside.
    #[error("a damaged file that was put aside")]
    Quarantined,
    /// A file that no run leaves.
    #[error("no file of a run")]
    Unknown,
}

impl Problem {
    /// Its name for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Problem::Cell(Damage::Unreadable(_)) => "cell-unreadable",
            Problem::Cell(Damage::Checksum) => "cell-checksum",
            Problem::Cell(Damage::Key) => "cell-key",
            Problem::Cell(Damage::Newer { .. }) => "cell-newer",
            Problem::Input { .. } => "input",
            Problem::Reply(ReplyDamage::Unreadable(_)) => "reply-unreadable",
            Problem::Reply(ReplyDamage::Checksum) => "reply-checksum",
            Problem::Reply(ReplyDamage::Key) => "reply-key",
            Problem::Money(_) => "money",
            Problem::Misplaced { .. } => "misplaced",
            Problem::Conflict => "conflict",
            Problem::ReplyConflict => "reply-conflict",
            Problem::Newer { .. } => "newer",
            Problem::NoSchema => "no-schema",
            Problem::Manifest => "manifest",
            Problem::Failed { .. } => "failed",
            Problem::Open { .. } => "open",
            Problem::OtherVersion { .. } => "other-version",
            Problem::Temporary => "temporary",
            Problem::Quarantined => "quarantined",
            Problem::Unknown => "unknown",
        }
    }

    /// What a run does with it, or what to do.
    pub const fn next(&self) -> &'static str {
        match self {
            Problem::Cell(Damage::Newer { .. }) => {
                "read it with the version that wrote it; a run of this version moves it to quarantine/ and computes it again"
            }
            Problem::Cell(_) => "a run that needs it moves it to quarantine/ and computes it again",
            Problem::Input { .. } => "a run that needs the other computes it again",
            Problem::Reply(_) => {
                "a run that needs it moves it to quarantine/ and asks, and pays, again: put a good copy back first if there is one"
            }
            Problem::Money(_) => {
                "no run asks a judge while it is there: what was spent would not be known; put a good copy back"
            }
            Problem::Misplaced { .. } => {
                "give it back its name and folder (ab/abcd….json, 64 hex digits) or remove it"
            }
            Problem::Conflict => {
                "compare both: equal inputs gave different values, by hardware, threads or a plugin that is not deterministic; \
                 `harness gc --conflicts` removes it"
            }
            Problem::ReplyConflict => {
                "both were paid for; `harness gc --conflicts` removes this one"
            }
            Problem::Newer { .. } => {
                "write to it with the version that made it, or to another --out"
            }
            Problem::NoSchema | Problem::Manifest => "the next run writes it again",
            Problem::Failed { .. } => "a run tries it again",
            Problem::Open { .. } => "tables show what is there, and a run asks for the rest",
            Problem::OtherVersion { .. } => "a run of this version passes it over",
            Problem::Temporary => "`harness gc` removes it once it is old",
            Problem::Quarantined => "`harness gc --quarantine` removes it",
            Problem::Unknown => "nothing reads it",
        }
    }

    /// Whether results are whole in spite of it: a run that was killed, or that met a failure or
    /// damage and went on, leaves it behind.
    pub const fn is_harmless(&self) -> bool {
        match self {
            Problem::Cell(_)
            | Problem::Input { .. }
            | Problem::Reply(_)
            | Problem::Money(_)
            | Problem::Misplaced { .. }
            | Problem::Conflict
            | Problem::ReplyConflict
            | Problem::Newer { .. } => false,
            Problem::NoSchema
            | Problem::Manifest
            | Problem::Failed { .. }
            | Problem::Open { .. }
            | Problem::OtherVersion { .. }
            | Problem::Temporary
            | Problem::Quarantined
            | Problem::Unknown => true,
        }
    }
}
