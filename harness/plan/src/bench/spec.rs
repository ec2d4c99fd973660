use std::fmt;

use super::{Kinds, RowKind, SettingsPatch, TableKind};
use harness_contract::config::{ConfigError, Document, Table};
use harness_core::policy::Policy;

/// A bench as its file says it.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchSpec {
    /// Its name: the file's stem.
    pub name: String,
    /// The file, for messages.
    pub origin: String,
    /// One line about it.
    pub title: String,
    /// Bench whose folder of results it shares: its own name unless the file says otherwise.
    pub store: String,
    /// How rows of results are derived.
    pub table: TableKind,
    /// Settings of all rows.
    pub settings: SettingsPatch,
    /// Settings of rows on small models.
    pub zoo: SettingsPatch,
    /// Settings of rows on models of the paper's size.
    pub real: SettingsPatch,
    /// What is run: a model with an SAE set.
    pub rows: Vec<RowSpec>,
    /// Variations of each row (Table 4); without any, each row is run once.
    pub variants: Vec<VariantSpec>,
    /// Figures derived from the same cells, itself included when it is one; filled by the
    /// catalogue.
    pub views: Vec<ViewSpec>,
}

/// A figure derived from the rows of a bench.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewSpec {
    /// Its name, which is that of its files.
    pub name: String,
    /// One line about it.
    pub title: String,
    /// How it is derived.
    pub table: TableKind,
    pub rows: Vec<RowId>,
}

/// What names a row of a bench.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowId {
    /// The model, by name.
    pub model: String,
    /// The SAE set, by name.
    pub sae: String,
    /// What is done for it.
    pub kind: RowKind,
}

/// Budgets: scaled to the embedded models, or the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Scaled.
    Zoo,
    /// The paper's.
    Real,
}

impl Profile {
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Zoo => "zoo",
            Profile::Real => "real",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A model with an SAE set.
#[derive(Clone, Debug, PartialEq)]
pub struct RowSpec {
    /// Models compared with each other, e.g. `qwen-dream`.
    pub family: String,
    /// The model, by name.
    pub model: String,
    /// The SAE set, by name.
    pub sae: String,
    /// What is done for it.
    pub kind: RowKind,
    /// What its SAEs were trained on; `None` where nothing is run.
    pub policy: Option<Policy>,
    /// Layers on small models; empty where nothing is run.
    pub zoo_layers: Vec<u32>,
    /// Layers on models of the paper's size; empty where nothing is run.
    pub real_layers: Vec<u32>,
    pub settings: SettingsPatch,
    /// What the paper calls it.
    pub paper: Option<PaperName>,
    /// Whether it is of no file: a model and its SAEs that the command line names.
    pub is_own: bool,
}

impl RowSpec {
    pub fn layers(&self, profile: Profile) -> &[u32] {
        match profile {
            Profile::Zoo => &self.zoo_layers,
            Profile::Real => &self.real_layers,
        }
    }

    /// What names it.
    pub fn id(&self) -> RowId {
        RowId {
            model: self.model.clone(),
            sae: self.sae.clone(),
            kind: self.kind,
        }
    }

    /// Whether a person may mean it by `name`: its SAE set, or `MODEL/SET`.
    pub fn is_called(&self, name: &str) -> bool {
        name == self.sae
            || name
                .split_once('/')
                .is_some_and(|(model, sae)| (model, sae) == (&self.model, &self.sae))
    }
}

/// What the paper calls a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaperName {
    pub model: String,
    /// Its SAE; empty in tables that name none.
    pub sae: String,
}

/// A variation of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct VariantSpec {
    /// Group of the table, e.g. `ablation_amp_factor`.
    pub group: String,
    /// SAE set of the row it varies.
    pub sae: String,
    /// What it changes.
    pub settings: SettingsPatch,
}

impl BenchSpec {
    /// Read the parsed text of a bench file that has its own rows; `name` is its stem.
    ///
    /// # Errors
    /// Everything that is wrong with it, located.
    pub(super) fn read(
        name: &str,
        origin: &str,
        doc: &Document<'_>,
        root: Table<'_, '_>,
        all: Kinds,
    ) -> Result<BenchSpec, ConfigError> {
        let title = root.required("title", root.string("title"));
        let table = root.required("table", root.choice("table", &TableKind::named(all)));
        // Without a table nothing is known to be wrong with a setting.
        let kinds: Vec<RowKind> = match table {
            Some(table) => vec![table.kind()],
            None => all.to_vec(),
        };
        let store = root.string("store").unwrap_or_else(|| name.to_owned());
        let runs = kinds.iter().any(|kind| kind.is_run());
        let level = |key| {
            let level = root.table(key);
            let level = if runs {
                root.required(key, level)
            } else {
                level
            };
            let Some(table) = level else {
                return SettingsPatch::default();
            };
            let patch = RowKind::read(&table, &kinds, all);
            table.finish();
            patch
        };
        let (settings, zoo, real) = (level("settings"), level("zoo"), level("real"));
        let rows: Vec<Option<RowSpec>> = root
            .tables("rows")
            .into_iter()
            .map(|t| row(t, &kinds, all))
            .collect();
        if rows.is_empty() {
            root.problem(
                "it has no rows",
                "add a [[rows]] table with `family`, `model`, `sae` and `layers`",
            );
        }
        let sets: Vec<&str> = rows.iter().flatten().map(|r| r.sae.as_str()).collect();
        let variants: Vec<Option<VariantSpec>> = root
            .tables("variants")
            .into_iter()
            .map(|t| variant(t, &sets, &kinds, all))
            .collect();
        let ids: Vec<RowId> = rows.iter().flatten().map(RowSpec::id).collect();
        for (i, id) in ids.iter().enumerate() {
            if ids[..i].contains(id) {
                let message = format!("two rows are of SAE set `{}` on {}", id.sae, id.model);
                root.problem_at("rows", message, "");
            }
        }
        if table.is_some_and(|table| table.has_variants() == variants.is_empty()) {
            root.problem_at(
                "table",
                "a bench has `variants` when its `table` is `variants`, and only then",
                "",
            );
        }
        root.finish();
        ConfigError::check(doc.take_problems())?;
        let (rows, variants) = (
            rows.into_iter().flatten().collect(),
            variants.into_iter().flatten().collect(),
        );
        match (title, table) {
            (Some(title), Some(table)) => Ok(BenchSpec {
                name: name.to_owned(),
                origin: origin.to_owned(),
                title,
                store,
                table,
                settings,
                zoo,
                real,
                rows,
                variants,
                views: Vec::new(),
            }),
            // A missing key has left a problem behind, so this is not reached.
            _ => Err(ConfigError::default()),
        }
    }

    /// Names of the models it runs, in order, the scorers last.
    pub fn models(&self) -> Vec<&str> {
        let scorers = [&self.settings, &self.zoo, &self.real]
            .into_iter()
            .filter_map(|level| level.text("scorer"));
        unique(self.rows.iter().map(|r| r.model.as_str()).chain(scorers))
    }

    /// Names of its SAE sets, in order.
    pub fn sae_sets(&self) -> Vec<&str> {
        unique(self.rows.iter().map(|r| r.sae.as_str()))
    }

    /// Whether anything is run for its rows.
    pub fn is_run(&self) -> bool {
        self.rows.iter().any(|row| row.kind.is_run())
    }

    /// What is done for its rows, without repeats.
    pub fn kinds(&self) -> Vec<RowKind> {
        self.rows.iter().fold(Vec::new(), |mut seen, row| {
            if !seen.contains(&row.kind) {
                seen.push(row.kind);
            }
            seen
        })
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.fold(Vec::new(), |mut seen, name| {
        if !seen.contains(&name) {
            seen.push(name);
        }
        seen
    })
}

fn row(table: Table<'_, '_>, kinds: &[RowKind], all: Kinds) -> Option<RowSpec> {
    let family = table.required("family", table.string("family"));
    let model = table.required("model", table.string("model"));
    let sae = table.required("sae", table.string("sae"));
    let kind = kinds.first().copied()?;
    if !kind.is_run() {
        table.finish();
        return Some(RowSpec {
            family: family?,
            model: model?,
            sae: sae?,
            kind,
            policy: None,
            zoo_layers: Vec::new(),
            real_layers: Vec::new(),
            settings: SettingsPatch::default(),
            paper: None,
            is_own: false,
        });
    }
    let policies = [Policy::Clean, Policy::Mask, Policy::Unmask].map(|one| (one.name(), one));
    let policy = table.required("policy", table.choice("policy", &policies));
    let layers = table
        .required("layers", table.table("layers"))
        .map(|layers| {
            let read = |key| {
                layers
                    .required(key, layers.u32_list(key, 0..10_000))
                    .unwrap_or_default()
            };
            let lists = (read("zoo"), read("real"));
            layers.finish();
            lists
        });
    let paper = table.table("paper").and_then(|paper| {
        let model = paper.required("model", paper.string("model"));
        let sae = paper.string("sae").unwrap_or_default();
        paper.finish();
        Some(PaperName { model: model?, sae })
    });
    let mut settings = RowKind::read(&table, kinds, all);
    settings.add_source("layers", table.source("layers"));
    table.finish();
    let (zoo_layers, real_layers) = layers?;
    Some(RowSpec {
        family: family?,
        model: model?,
        sae: sae?,
        kind,
        policy: Some(policy?),
        zoo_layers,
        real_layers,
        settings,
        paper,
        is_own: false,
    })
}

fn variant(
    table: Table<'_, '_>,
    sets: &[&str],
    kinds: &[RowKind],
    all: Kinds,
) -> Option<VariantSpec> {
    let group = table.required("group", table.string("group"));
    let sae = table.required("sae", table.string("sae"));
    if let Some(sae) = sae.as_deref().filter(|s| !sets.contains(s)) {
        let hint = harness_core::suggest::hint(sae, sets.iter().copied());
        table.problem_at("sae", format!("no row is of SAE set `{sae}`"), hint);
    }
    let settings = RowKind::read(&table, kinds, all);
    table.finish();
    Some(VariantSpec {
        group: group?,
        sae: sae?,
        settings,
    })
}
