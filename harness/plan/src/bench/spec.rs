use std::fmt;

use crate::{
    bench::SettingsPatch,
    config::{ConfigError, Document, Table},
};

/// A bench as its file says it.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchSpec {
    /// Its name: the file's stem.
    pub name: String,
    /// The file, for messages.
    pub origin: String,
    /// One line about it.
    pub title: String,
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
    /// `zoo` or `real`.
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
    /// What its SAEs were trained on: `clean`, `mask` or `unmask`.
    pub policy: String,
    /// Layers on small models.
    pub zoo_layers: Vec<u32>,
    /// Layers on models of the paper's size.
    pub real_layers: Vec<u32>,
    /// Settings of this row.
    pub settings: SettingsPatch,
    /// What the paper calls it.
    pub paper: Option<PaperName>,
}

impl RowSpec {
    /// The layers of a profile.
    pub fn layers(&self, profile: Profile) -> &[u32] {
        match profile {
            Profile::Zoo => &self.zoo_layers,
            Profile::Real => &self.real_layers,
        }
    }
}

/// What the paper calls a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaperName {
    /// Its model.
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
    /// Read the text of a bench file; `name` is its stem and `origin` its path for messages.
    ///
    /// # Errors
    /// Everything that is wrong with it, located.
    pub fn parse(name: &str, origin: &str, text: &str) -> Result<BenchSpec, ConfigError> {
        let doc = Document::new(origin, text);
        let parsed = doc.parse()?;
        let root = doc.root(&parsed);
        let title = root.required("title", root.string("title"));
        let kinds = [
            ("mean_over_k", TableKind::MeanOverK),
            ("by_k", TableKind::ByK),
            ("variants", TableKind::Variants),
        ];
        let table = root.required("table", root.choice("table", &kinds));
        let level = |key| {
            let Some(table) = root.required(key, root.table(key)) else {
                return SettingsPatch::default();
            };
            let patch = SettingsPatch::read(&table);
            table.finish();
            patch
        };
        let (settings, zoo, real) = (level("settings"), level("zoo"), level("real"));
        let rows: Vec<Option<RowSpec>> = root.tables("rows").into_iter().map(row).collect();
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
            .map(|t| variant(t, &sets))
            .collect();
        for (i, set) in sets.iter().enumerate() {
            if sets[..i].contains(set) {
                root.problem_at("rows", format!("two rows are of SAE set `{set}`"), "");
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
                table,
                settings,
                zoo,
                real,
                rows,
                variants,
            }),
            // A missing key has left a problem behind, so this is not reached.
            _ => Err(ConfigError::default()),
        }
    }

    /// Names of the models it runs, in order, the scorers last.
    pub fn models(&self) -> Vec<&str> {
        let scorers = [&self.settings, &self.zoo, &self.real]
            .into_iter()
            .filter_map(|s| s.scorer.as_deref());
        unique(self.rows.iter().map(|r| r.model.as_str()).chain(scorers))
    }

    /// Names of its SAE sets, in order.
    pub fn sae_sets(&self) -> Vec<&str> {
        unique(self.rows.iter().map(|r| r.sae.as_str()))
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

fn row(table: Table<'_, '_>) -> Option<RowSpec> {
    let family = table.required("family", table.string("family"));
    let model = table.required("model", table.string("model"));
    let sae = table.required("sae", table.string("sae"));
    let policies = [("clean", "clean"), ("mask", "mask"), ("unmask", "unmask")];
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
    let settings = SettingsPatch::read(&table);
    table.finish();
    let (zoo_layers, real_layers) = layers?;
    Some(RowSpec {
        family: family?,
        model: model?,
        sae: sae?,
        policy: policy?.to_owned(),
        zoo_layers,
        real_layers,
        settings,
        paper,
    })
}

fn variant(table: Table<'_, '_>, sets: &[&str]) -> Option<VariantSpec> {
    let group = table.required("group", table.string("group"));
    let sae = table.required("sae", table.string("sae"));
    if let Some(sae) = sae.as_deref().filter(|s| !sets.contains(s)) {
        let hint = harness_core::suggest::hint(sae, sets.iter().copied());
        table.problem_at("sae", format!("no row is of SAE set `{sae}`"), hint);
    }
    let settings = SettingsPatch::read(&table);
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

    fn error(text: &str) -> String {
        BenchSpec::parse("b", "b.toml", text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_bench_reads() {
        let b = BenchSpec::parse("b", "b.toml", GOOD).unwrap();
        assert_eq!(
            (b.table, b.settings.seed, b.zoo.k.clone()),
            (TableKind::ByK, Some(1), Some(vec![8]))
        );
        assert_eq!(
            (b.models(), b.sae_sets()),
            (vec!["dream", "gpt2"], vec!["dream-mask"])
        );
        assert_eq!(b.rows[0].layers(Profile::Zoo), [1, 2]);
        assert_eq!(
            b.rows[0].settings.token_scope.as_deref(),
            Some("all-tokens")
        );
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
        assert!(error(&format!("{GOOD}{rows}")).contains("two rows are of SAE set `dream-mask`"));
        let varied =
            GOOD.replace("by_k", "variants") + "[[variants]]\ngroup = 'g'\nsae = 'dream-msk'\n";
        assert!(error(&varied).contains("did you mean `dream-mask`"));
    }
}
