use super::settings::{DocumentSettings, GridSettings, RolloutSettings, SteeringSettings};

/// What is done for a row of a bench; decides which settings it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKind {
    /// Texts are steered and scored.
    Steering,
    /// SAEs are spliced into passes over documents.
    Documents,
    /// SAEs are spliced into passes over continuations of prompts.
    Rollouts,
    /// SAE sets are listed as their files are; nothing is run.
    Catalogue,
}

/// How rows of results are derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// Mean over the k sweep, one row for each layer, stars (Table 2).
    MeanOverK,
    /// One row for each layer and k (Fig. 9, Fig. 10).
    ByK,
    /// One row for each variant, with times (Table 4).
    Variants,
    /// One row for each value of an SAE, measured on documents (fidelity, transfer).
    Grid,
    /// The same, measured on continuations of prompts (transfer-rollouts).
    Rollouts,
    /// Loss differences of each SAE (Fig. 3, Fig. 7).
    Delta,
    /// Explained variance of each SAE (Fig. 8).
    Ev,
    /// Both by target model and source of the SAE (Fig. 6, Fig. 12).
    Transfer,
    /// What SAE sets are (Table 1).
    Table1,
    /// What training SAE sets took (Table 3).
    Table3,
}

impl RowKind {
    /// All kinds.
    pub const ALL: [RowKind; 4] = [
        RowKind::Steering,
        RowKind::Documents,
        RowKind::Rollouts,
        RowKind::Catalogue,
    ];

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            RowKind::Steering => "steering",
            RowKind::Documents => "grid",
            RowKind::Rollouts => "rollout",
            RowKind::Catalogue => "catalogue",
        }
    }

    /// Names of its settings.
    pub fn settings(self) -> impl Iterator<Item = &'static str> {
        let lists: [&[&str]; 2] = match self {
            RowKind::Steering => [SteeringSettings::FIELDS, &[]],
            RowKind::Documents => [GridSettings::FIELDS, DocumentSettings::FIELDS],
            RowKind::Rollouts => [GridSettings::FIELDS, RolloutSettings::FIELDS],
            RowKind::Catalogue => [&[], &[]],
        };
        lists.into_iter().flatten().copied()
    }

    /// Whether it has a setting of this name.
    pub fn has(self, setting: &str) -> bool {
        self.settings().any(|name| name == setting)
    }
}

impl TableKind {
    /// Names in bench files.
    pub(super) const NAMES: [(&'static str, TableKind); 10] = [
        ("mean_over_k", TableKind::MeanOverK),
        ("by_k", TableKind::ByK),
        ("variants", TableKind::Variants),
        ("grid", TableKind::Grid),
        ("rollouts", TableKind::Rollouts),
        ("delta", TableKind::Delta),
        ("ev", TableKind::Ev),
        ("transfer", TableKind::Transfer),
        ("table1", TableKind::Table1),
        ("table3", TableKind::Table3),
    ];

    /// What is done for the rows of a bench with this table.
    pub const fn kind(self) -> RowKind {
        match self {
            TableKind::MeanOverK | TableKind::ByK | TableKind::Variants => RowKind::Steering,
            TableKind::Grid | TableKind::Delta | TableKind::Ev | TableKind::Transfer => {
                RowKind::Documents
            }
            TableKind::Rollouts => RowKind::Rollouts,
            TableKind::Table1 | TableKind::Table3 => RowKind::Catalogue,
        }
    }

    /// Whether it is a figure of a grid bench.
    pub const fn is_figure(self) -> bool {
        matches!(self, TableKind::Delta | TableKind::Ev | TableKind::Transfer)
    }

    /// Whether it can be derived from rows of a kind.
    pub fn fits(self, kind: RowKind) -> bool {
        match self {
            TableKind::Transfer => matches!(kind, RowKind::Documents | RowKind::Rollouts),
            _ => self.kind() == kind,
        }
    }
}
