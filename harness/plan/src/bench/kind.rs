//! Kinds of benches as bench files know them. The kinds themselves lie above this crate, in
//! `harness-benches`; what reads bench files is given their list.

use std::fmt;

use harness_contract::config::Table;

use super::settings::{KindSettings, SettingsPatch};

/// What is declared of a kind of bench.
#[derive(Debug)]
pub struct KindDeclaration {
    /// Its name, and the settings that rows have.
    pub settings: KindSettings,
    /// Its benches and what they do, for the help of `harness bench`.
    pub summary: &'static str,
    /// Commands that show what can be done with it, for the help of the commands they call.
    pub examples: &'static [&'static str],
    /// The text that rows read; `None` where nothing is run.
    pub text: Option<TextNeed>,
    /// The tables and figures that can be derived from its rows.
    pub tables: &'static [TableDeclaration],
}

/// What is declared of a table or figure.
#[derive(Clone, Copy, Debug)]
pub struct TableDeclaration {
    /// What bench files call it.
    pub name: &'static str,
    /// Whether it is a figure of another bench, derived from that one's cells.
    pub is_figure: bool,
    /// Whether its bench has variants of rows.
    pub has_variants: bool,
    /// Names of other kinds from whose rows it can be derived as well.
    pub also_of: &'static [&'static str],
}

impl TableDeclaration {
    /// The table of a bench.
    pub const fn table(name: &'static str) -> TableDeclaration {
        TableDeclaration {
            name,
            is_figure: false,
            has_variants: false,
            also_of: &[],
        }
    }

    /// A figure of another bench.
    pub const fn figure(name: &'static str) -> TableDeclaration {
        TableDeclaration {
            is_figure: true,
            ..TableDeclaration::table(name)
        }
    }
}

/// A kind of bench: what is done for a row, and which settings it has. Two are equal when their
/// names are.
#[derive(Clone, Copy)]
pub struct RowKind(pub &'static KindDeclaration);

/// The kinds of benches there are.
pub type Kinds = &'static [RowKind];

/// How rows of results are derived. Two are equal when their names are, which no two kinds share.
#[derive(Clone, Copy)]
pub struct TableKind {
    kind: RowKind,
    declaration: &'static TableDeclaration,
}

/// Which of the texts that can be given a kind reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextInput {
    /// Documents, with `--data`.
    Documents,
    /// Prompts that are continued, with `--prompts` or else `--data`.
    Prompts,
    /// Questions with gold answers, with `--questions`.
    Questions,
}

/// The text that a kind reads, for the message that asks for it.
#[derive(Clone, Copy, Debug)]
pub struct TextNeed {
    pub input: TextInput,
    /// The setting that says how much of it.
    pub amount: &'static str,
    /// What it is for: `text to be measured on`.
    pub what: &'static str,
    /// Files that hold such a text.
    pub files: &'static str,
}

/// Files of documents, for messages.
pub const DOCUMENT_FILES: &str =
    "held-out text: jsonl, json, csv, parquet or plain text, also .gz or .zst";

impl TextInput {
    /// The option that gives it.
    pub const fn option(self) -> &'static str {
        match self {
            TextInput::Documents => "--data",
            TextInput::Prompts => "--prompts",
            TextInput::Questions => "--questions",
        }
    }

    /// What is counted of it.
    pub const fn unit(self) -> &'static str {
        match self {
            TextInput::Documents => "tokens",
            TextInput::Prompts => "prompts",
            TextInput::Questions => "questions",
        }
    }
}

impl RowKind {
    /// Its settings.
    pub fn settings(self) -> &'static KindSettings {
        &self.0.settings
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        self.settings().name
    }

    /// Its name with an article: `a grid`.
    pub fn a_name(self) -> String {
        self.settings().with_article()
    }

    /// Whether anything is run for its rows.
    pub fn is_run(self) -> bool {
        self.0.text.is_some()
    }

    /// Whether its rows read such a text.
    pub fn reads(self, input: TextInput) -> bool {
        self.0.text.is_some_and(|need| need.input == input)
    }

    /// Whether it has a setting of this name.
    pub fn has(self, setting: &str) -> bool {
        self.settings().has(setting)
    }

    /// The settings of rows of these kinds in a table of a bench file, or in an option; `all` are
    /// the kinds there are.
    pub(super) fn read(table: &Table<'_, '_>, kinds: &[RowKind], all: Kinds) -> SettingsPatch {
        let of = |kinds: &[RowKind]| kinds.iter().map(|kind| kind.settings()).collect::<Vec<_>>();
        SettingsPatch::read(table, &of(kinds), &of(all))
    }
}

impl PartialEq for RowKind {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for RowKind {}

impl fmt::Debug for RowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TableKind {
    /// The tables of all kinds, by what bench files call them.
    pub(super) fn named(all: Kinds) -> Vec<(&'static str, TableKind)> {
        let tables = |kind: &RowKind| {
            let kind = *kind;
            let tables = kind.0.tables.iter();
            tables.map(move |declaration| (declaration.name, TableKind { kind, declaration }))
        };
        all.iter().flat_map(tables).collect()
    }

    /// What bench files call it.
    pub fn name(self) -> &'static str {
        self.declaration.name
    }

    /// What is done for the rows of a bench with this table.
    pub const fn kind(self) -> RowKind {
        self.kind
    }

    /// Whether it is a figure of another bench.
    pub const fn is_figure(self) -> bool {
        self.declaration.is_figure
    }

    /// Whether its bench has variants of rows.
    pub const fn has_variants(self) -> bool {
        self.declaration.has_variants
    }

    /// Whether it can be derived from rows of a kind.
    pub fn fits(self, kind: RowKind) -> bool {
        self.kind == kind || self.declaration.also_of.contains(&kind.name())
    }
}

impl PartialEq for TableKind {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl fmt::Debug for TableKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
