use harness_core::dynamics::Metric;

use super::settings::{self, KindSettings, SettingsPatch};
use harness_contract::config::Table;

/// What is done for a row of a bench; decides which settings it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKind {
    /// Texts are steered and scored.
    Steering,
    /// SAEs are spliced into passes over documents.
    Documents,
    /// SAEs are spliced into passes over continuations of prompts.
    Rollouts,
    /// Questions are answered in several decoding orders, with features followed in every pass.
    Decoding,
    /// Latents are explained, and windows predicted from the explanations.
    Autointerp,
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
    /// Feature dynamics and accuracy of decoding orders (decoding-order).
    Decoding,
    /// Stability before decoding (Fig. 4).
    Stability,
    /// Drift after decoding (Fig. 5).
    Drift,
    /// The most active latent: lock rate and flips (Fig. 11).
    Top1,
    /// Scores of explanations (autointerp).
    Autointerp,
    /// What SAE sets are (Table 1).
    Table1,
    /// What training SAE sets took (Table 3).
    Table3,
}

impl RowKind {
    pub const ALL: [RowKind; 6] = [
        RowKind::Steering,
        RowKind::Documents,
        RowKind::Rollouts,
        RowKind::Decoding,
        RowKind::Autointerp,
        RowKind::Catalogue,
    ];

    /// Its settings.
    pub fn settings(self) -> &'static KindSettings {
        match self {
            RowKind::Steering => &settings::steering::KIND,
            RowKind::Documents => &settings::fidelity::DOCUMENTS,
            RowKind::Rollouts => &settings::fidelity::ROLLOUTS,
            RowKind::Decoding => &settings::decoding::KIND,
            RowKind::Autointerp => &settings::autointerp::KIND,
            RowKind::Catalogue => &settings::kind::CATALOGUE,
        }
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        self.settings().name
    }

    /// Its name with an article: `a grid`, `an autointerp`.
    pub fn a_name(self) -> String {
        self.settings().with_article()
    }

    /// The settings of rows of these kinds in a table of a bench file, or in an option.
    pub(super) fn read(table: &Table<'_, '_>, kinds: &[RowKind]) -> SettingsPatch {
        let of = |kinds: &[RowKind]| kinds.iter().map(|kind| kind.settings()).collect::<Vec<_>>();
        SettingsPatch::read(table, &of(kinds), &of(&RowKind::ALL))
    }

    /// Whether it has a setting of this name.
    pub fn has(self, setting: &str) -> bool {
        self.settings().has(setting)
    }
}

impl TableKind {
    /// Names in bench files.
    pub(super) const NAMES: [(&'static str, TableKind); 15] = [
        ("mean_over_k", TableKind::MeanOverK),
        ("by_k", TableKind::ByK),
        ("variants", TableKind::Variants),
        ("grid", TableKind::Grid),
        ("rollouts", TableKind::Rollouts),
        ("delta", TableKind::Delta),
        ("ev", TableKind::Ev),
        ("transfer", TableKind::Transfer),
        ("decoding", TableKind::Decoding),
        ("stability", TableKind::Stability),
        ("drift", TableKind::Drift),
        ("top1", TableKind::Top1),
        ("autointerp", TableKind::Autointerp),
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
            TableKind::Decoding | TableKind::Stability | TableKind::Drift | TableKind::Top1 => {
                RowKind::Decoding
            }
            TableKind::Autointerp => RowKind::Autointerp,
            TableKind::Table1 | TableKind::Table3 => RowKind::Catalogue,
        }
    }

    /// Whether it is a figure of another bench: of a grid or of decoding orders.
    pub const fn is_figure(self) -> bool {
        matches!(
            self,
            TableKind::Delta
                | TableKind::Ev
                | TableKind::Transfer
                | TableKind::Stability
                | TableKind::Drift
                | TableKind::Top1
        )
    }

    /// Metrics of the feature dynamics that it shows.
    pub fn dynamics(self) -> &'static [Metric] {
        match self {
            TableKind::Decoding => &Metric::ALL,
            TableKind::Stability => &[Metric::JaccardPre],
            TableKind::Drift => &[Metric::DriftPost],
            TableKind::Top1 => &[Metric::LockRate, Metric::FlipCount],
            _ => &[],
        }
    }

    /// Whether it can be derived from rows of a kind.
    pub fn fits(self, kind: RowKind) -> bool {
        match self {
            TableKind::Transfer => matches!(kind, RowKind::Documents | RowKind::Rollouts),
            _ => self.kind() == kind,
        }
    }
}
