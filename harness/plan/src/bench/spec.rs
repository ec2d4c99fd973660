use std::fmt;

use super::{RowKind, SettingsPatch, TableKind};
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

/// A figure derived from the rows of a grid bench.
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    ) -> Result<BenchSpec, ConfigError> {
        let title = root.required("title", root.string("title"));
        let table = root.required("table", root.choice("table", &TableKind::NAMES));
        // Without a table nothing is known to be wrong with a setting.
        let kinds: Vec<RowKind> = match table {
            Some(table) => vec![table.kind()],
            None => RowKind::ALL.to_vec(),
        };
        let store = root.string("store").unwrap_or_else(|| name.to_owned());
        let runs = kinds != [RowKind::Catalogue];
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
            let patch = RowKind::read(&table, &kinds);
            table.finish();
            patch
        };
        let (settings, zoo, real) = (level("settings"), level("zoo"), level("real"));
        let rows: Vec<Option<RowSpec>> = root
            .tables("rows")
            .into_iter()
            .map(|t| row(t, &kinds))
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
            .map(|t| variant(t, &sets, &kinds))
            .collect();
        let ids: Vec<RowId> = rows.iter().flatten().map(RowSpec::id).collect();
        for (i, id) in ids.iter().enumerate() {
            if ids[..i].contains(id) {
                let message = format!("two rows are of SAE set `{}` on {}", id.sae, id.model);
                root.problem_at("rows", message, "");
            }
        }
        let is_varied = matches!(table, Some(TableKind::Variants));
        if table.is_some() && is_varied == variants.is_empty() {
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

fn row(table: Table<'_, '_>, kinds: &[RowKind]) -> Option<RowSpec> {
    let family = table.required("family", table.string("family"));
    let model = table.required("model", table.string("model"));
    let sae = table.required("sae", table.string("sae"));
    let kind = kinds.first().copied()?;
    if kind == RowKind::Catalogue {
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
    let mut settings = RowKind::read(&table, kinds);
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
    })
}

fn variant(table: Table<'_, '_>, sets: &[&str], kinds: &[RowKind]) -> Option<VariantSpec> {
    let group = table.required("group", table.string("group"));
    let sae = table.required("sae", table.string("sae"));
    if let Some(sae) = sae.as_deref().filter(|s| !sets.contains(s)) {
        let hint = harness_core::suggest::hint(sae, sets.iter().copied());
        table.problem_at("sae", format!("no row is of SAE set `{sae}`"), hint);
    }
    let settings = RowKind::read(&table, kinds);
    table.finish();
    Some(VariantSpec {
        group: group?,
        sae: sae?,
        settings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::BenchFile;
    use harness_contract::stages::Measures;

    const GOOD: &str = r#"
title = "A bench"
table = "by_k"
[settings]
seed = 1
scorer = "gpt2"
[zoo]
k = [8]
[real]
k = [50, 80]
[[rows]]
family = "f"
model = "dream"
sae = "dream-mask"
policy = "mask"
token_scope = "all-tokens"
layers = { zoo = [1, 2], real = [5] }
paper = { model = "Dream-7B", sae = "Dream-Mask" }
"#;

    const GRID: &str = r#"
title = "A grid"
table = "grid"
[settings]
seed = 1
[zoo]
k = [8]
measures = ["kl"]
[real]
documents = "truncate"
[[rows]]
family = "f"
model = "dream"
sae = "dream-mask"
policy = "mask"
layers = { zoo = [1, 2], real = [5] }
[[rows]]
family = "f"
model = "dream-sft"
sae = "dream-mask"
policy = "mask"
layers = { zoo = [1, 2], real = [5] }
"#;

    fn parse(text: &str) -> Result<BenchSpec, ConfigError> {
        match BenchFile::parse("b", "b.toml", text)? {
            BenchFile::Own(spec) => Ok(*spec),
            BenchFile::Same(same) => panic!("{same:?}"),
        }
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_grid_bench_reads_and_has_settings_of_its_own() {
        let b = parse(GRID).unwrap();
        assert_eq!(
            (b.kinds(), b.store.as_str()),
            (vec![RowKind::Documents], "b")
        );
        assert!(b.zoo.get::<Measures>("measures").unwrap().kl);
        assert_eq!(b.real.text("documents"), Some("truncate"));
        assert!(b.rows[1].is_called("dream-sft/dream-mask") && b.rows[1].is_called("dream-mask"));
        assert!(!b.rows[1].is_called("dream/dream-mask"));
        let got = error(&GRID.replace("seed = 1", "seed = 1\nn_prefix = 3"));
        assert!(
            got.contains(
                "b.toml:6:12: `n_prefix` is a setting of steering benches, and this is a grid bench"
            ),
            "{got}"
        );
        let got = error(&GRID.replace("seed = 1", "t_mn = 0.1"));
        assert!(got.contains("did you mean `t_min`"), "{got}");
        let twice = GRID.replace("\"dream-sft\"", "\"dream\"");
        assert!(error(&twice).contains("two rows are of SAE set `dream-mask` on dream"));
        let got = error(&GRID.replace("[\"kl\"]", "[\"klx\"]"));
        assert!(got.contains("did you mean `kl`"), "{got}");
    }

    #[test]
    fn a_bench_reads() {
        let b = parse(GOOD).unwrap();
        assert_eq!(
            (b.table, b.settings.get("seed"), b.zoo.get("k")),
            (TableKind::ByK, Some(1), Some(vec![8]))
        );
        assert_eq!(
            (b.models(), b.sae_sets()),
            (vec!["dream", "gpt2"], vec!["dream-mask"])
        );
        assert_eq!(b.rows[0].layers(Profile::Zoo), [1, 2]);
        assert_eq!(b.rows[0].settings.text("token_scope"), Some("all-tokens"));
    }

    #[test]
    fn misspelt_keys_at_every_level() {
        let got = error(
            &GOOD
                .replace("layers = {", "layres = {")
                .replace("seed =", "sead =")
                .replace("table =", "tabel ="),
        );
        for part in [
            "did you mean `layers`",
            "did you mean `seed`",
            "did you mean `table`",
            "`layers` is missing in `rows`",
        ] {
            assert!(got.contains(part), "{part} is not in\n{got}");
        }
        assert!(error(&GOOD.replace("zoo = [1", "zo = [1")).contains("did you mean `zoo`"));
    }

    #[test]
    fn every_bad_value_at_once() {
        let bad = GOOD
            .replace("seed = 1", "seed = -1\namp_factor = nan")
            .replace("k = [8]", "k = [0]")
            .replace("\"mask\"", "\"msak\"");
        let got = error(&bad);
        for part in [
            "4 problems",
            "`seed` is -1",
            "`amp_factor` is nan",
            "`k` is 0",
            "did you mean `mask`",
        ] {
            assert!(got.contains(part), "{part} is not in\n{got}");
        }
    }

    #[test]
    fn rows_and_variants_fit_the_table() {
        assert!(error(&GOOD[..GOOD.find("[[rows]]").unwrap()]).contains("it has no rows"));
        assert!(error(&GOOD.replace("by_k", "variants")).contains("has `variants` when"));
        let rows = &GOOD[GOOD.find("[[rows]]").unwrap()..];
        assert!(
            error(&format!("{GOOD}{rows}"))
                .contains("two rows are of SAE set `dream-mask` on dream")
        );
        let varied =
            GOOD.replace("by_k", "variants") + "[[variants]]\ngroup = 'g'\nsae = 'dream-msk'\n";
        assert!(error(&varied).contains("did you mean `dream-mask`"));
    }
}
