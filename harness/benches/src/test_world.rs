//! What the tests of plans stand on: a zoo of configuration files without weights.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use harness_contract::{
    hash::HashCache,
    plugin::{ComponentEntry, Discovery, FoundPlugin, Manifest},
    sources::{Checkpoint, ModelAnswer, ModelFacts, SaeAnswer, find},
    stages::{Dtype, Numerics, Stage},
};
use harness_plan::bench::{BenchSpec, Catalogue, Overrides, Profile, RowKind};
use harness_plan::expand::*;
use harness_plan::sources::Answers;

pub const STEERING: RowKind = RowKind(&crate::steering::settings::KIND);
pub const DOCUMENTS: RowKind = RowKind(&crate::fidelity::settings::DOCUMENTS);
pub const ROLLOUTS: RowKind = RowKind(&crate::fidelity::settings::ROLLOUTS);
pub const DECODING: RowKind = RowKind(&crate::decoding::settings::KIND);
pub const AUTOINTERP: RowKind = RowKind(&crate::autointerp::settings::KIND);
pub const CATALOGUE: RowKind = RowKind(&crate::catalogue::settings::KIND);

/// A zoo of configuration files without weights, and what a plan needs besides.
pub struct World {
    pub dir: tempfile::TempDir,
    pub models: BTreeMap<String, PathBuf>,
    pub saes: BTreeMap<String, PathBuf>,
    pub data: Vec<PathBuf>,
    pub questions: Vec<PathBuf>,
    prefixes: Vec<String>,
    pub plugins: Discovery,
    options: Vec<[String; 3]>,
    pub limits: Limits,
    pub profile: Option<Profile>,
    pub allow_nan: bool,
    pub is_forecast: bool,
    pub strict_saes: bool,
}

pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub fn model_config(model_type: &str, n_layers: u32) -> String {
    let mask = if ["Dream", "llada"].contains(&model_type) {
        r#","mask_token_id":3"#
    } else {
        ""
    };
    format!(
        r#"{{"model_type":"{model_type}","hidden_size":128,"num_hidden_layers":{n_layers},"vocab_size":2048,"intermediate_size":352{mask}}}"#
    )
}

fn plugin(id: &str, kind: &str, names: &[&str], model_types: &[&str]) -> FoundPlugin {
    let components = names.iter().map(|name| ComponentEntry {
        kind: kind.into(),
        name: (*name).into(),
        summary: String::new(),
        model_types: model_types.iter().map(|t| (*t).to_owned()).collect(),
        online: false,
        model: None,
    });
    FoundPlugin {
        manifest: Manifest { components: components.collect(), ..Manifest::parse(&format!(
            "id='{id}'\nversion='1'\nabi='1.0'\nlibrary='x.so'\n[[component]]\nkind='judge'\nname='x'\n"
        )).unwrap() },
        manifest_path: format!("{id}/plugin.toml").into(),
        library: format!("{id}/x.so").into(),
        hash: format!("hash-of-{id}"),
        manifest_hash: format!("hash-of-the-manifest-of-{id}"),
    }
}

/// What a made-up plugin `topk` says of a folder: SAEs are as [`World::write_set`] writes them, and
/// a cfg.json may say more in the words of a plugin's answer.
fn answer(dir: &Path) -> SaeAnswer {
    let Ok(text) = fs::read_to_string(dir.join("cfg.json")) else {
        return SaeAnswer::Nothing;
    };
    let mut facts: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (name, own) in [("layer", "hook_layer"), ("d_model", "d_in")] {
        if !facts[own].is_null() {
            facts[name] = facts[own].clone();
        }
    }
    for part in ["made_for", "training"] {
        if facts[part].is_null() {
            facts[part] = serde_json::json!({});
        }
    }
    let said = serde_json::json!({"version": 1, "folder": "sae", "facts": facts});
    SaeAnswer::of_plugin(&said.to_string(), "topk", &["topk".to_owned()]).unwrap()
}

/// What a made-up adapter says of a checkpoint: the sizes in its config.json, whatever the family's
/// own names of them are.
pub fn model_answer(dir: &Path) -> Option<ModelAnswer> {
    let text = fs::read_to_string(dir.join("config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_str(&text).ok()?;
    let size = |names: &[&str]| {
        let found = names.iter().find_map(|name| config[*name].as_u64());
        found.map(|n| u32::try_from(n).unwrap())
    };
    let d_model = size(&["hidden_size", "n_embd"])?;
    let heads = size(&["num_attention_heads", "n_head"]).unwrap_or(1);
    let key_heads = size(&["num_key_value_heads"]).unwrap_or(heads);
    let (model_type, is_diffusion) = (&config["model_type"], !config["mask_token_id"].is_null());
    let facts = ModelFacts {
        is_diffusion,
        logit_offset: u32::from(model_type != "llada"),
        n_layers: size(&["num_hidden_layers", "n_layer"])?,
        d_model,
        vocab_size: size(&["vocab_size"])?,
        d_ff: size(&["intermediate_size"]).unwrap_or(4 * d_model),
        n_ff: if model_type == "gpt2" { 2 } else { 3 },
        d_kv: d_model / heads * key_heads,
        blocks: Some("layers".to_owned()),
        schedule_eps: (model_type == "Dream").then_some(1e-3),
    };
    Some(ModelAnswer::Model { facts })
}

/// What [`answer`] says of the folders of sets, as far as they are there, and [`model_answer`] of
/// models that one of the plugins reads.
fn answers(request: &BenchRequest<'_>) -> Answers {
    let mut answers = Answers::default();
    for dir in request.model_dirs() {
        let checkpoint = Checkpoint::read("model", &dir).ok();
        let is_read =
            checkpoint.is_some_and(|c| request.plugins.model_for_type(&c.model_type).is_some());
        if let Some(answer) = model_answer(&dir).filter(|_| is_read) {
            answers.add(dir, answer);
        }
    }
    for root in request.set_dirs().into_iter().filter(|dir| dir.is_dir()) {
        let found = find(&root, &mut |dir| {
            answers.add(dir.to_owned(), answer(dir));
            Ok(answer(dir))
        });
        found.unwrap();
    }
    answers
}

impl World {
    pub fn made_up() -> World {
        let dir = tempfile::tempdir().unwrap();
        for (name, model_type) in [
            ("qwen", "qwen2"),
            ("dream", "Dream"),
            ("dream-sft", "Dream"),
            ("dream-instruct", "Dream"),
            ("llama", "llama"),
            ("llada", "llada"),
            ("gpt2", "gpt2"),
        ] {
            write(
                &dir.path().join(name).join("config.json"),
                &model_config(model_type, 8),
            );
        }
        for set in [
            "qwen",
            "dream-unmask",
            "dream-mask",
            "dream-sft-mask",
            "dream-instruct-mask",
            "llama",
            "llada-unmask",
            "llada-mask",
        ] {
            World::write_set(
                &dir.path().join("saes").join(set),
                &[1, 2, 3, 4, 5, 6, 7],
                128,
            );
        }
        let text = dir.path().join("text.jsonl");
        write(&text, "{\"text\":\"a b c\"}\n");
        write(&dir.path().join("prompts.jsonl"), "{\"prompt\":\"a b\"}\n");
        write(
            &dir.path().join("questions.jsonl"),
            "{\"question\":\"a b\",\"answer\":\"#### 1\"}\n",
        );
        let plugins = Discovery {
            found: vec![
                plugin("qwen", "model", &["qwen2"], &["qwen2"]),
                plugin("dream", "model", &["Dream"], &["Dream"]),
                plugin("llama", "model", &["llama"], &["llama"]),
                plugin("llada", "model", &["llada"], &["llada"]),
                plugin("gpt2", "model", &["gpt2"], &["gpt2"]),
                plugin("topk", "sae", &["topk"], &[]),
                plugin(
                    "orders",
                    "remasker",
                    &["origin", "topk_margin", "entropy", "low_confidence"],
                    &[],
                ),
                plugin(
                    "stability",
                    "remasker",
                    &["sae-stability", "sae-stability-early"],
                    &[],
                ),
                plugin(
                    "scopes",
                    "steering",
                    &["all-tokens", "update-tokens", "topk-tokens"],
                    &[],
                ),
                plugin(
                    "metrics",
                    "metric",
                    &[
                        "concept_improvement",
                        "perplexity_reduction",
                        "steering_score",
                    ],
                    &[],
                ),
                plugin("lexical", "judge", &["lexical"], &[]),
                plugin("openai", "judge", &["openai"], &[]),
            ],
            ..Discovery::default()
        };
        World {
            dir,
            models: BTreeMap::new(),
            saes: BTreeMap::new(),
            data: vec![],
            questions: vec![],
            prefixes: (0..50).map(|i| format!("prefix {i}")).collect(),
            plugins,
            options: Vec::new(),
            limits: Limits::default(),
            profile: None,
            allow_nan: false,
            is_forecast: false,
            strict_saes: false,
        }
    }

    /// SAEs that differ by layer and k in one file each, named by their place in the set.
    pub fn write_set(dir: &Path, layers: &[u32], d_model: u32) {
        for layer in layers {
            for (i, k) in [4, 8, 50].iter().enumerate() {
                let text = format!(
                    r#"{{"d_in":{d_model},"d_sae":320,"k":{k},"hook_layer":{layer},"set":"{}"}}"#,
                    dir.file_name().unwrap().to_string_lossy()
                );
                write(
                    &dir.join(format!("resid_post_layer_{layer}/trainer_{i}/cfg.json")),
                    &text,
                );
            }
        }
    }

    pub fn options(mut self, options: &[(&str, &str, &str)]) -> World {
        let owned = |o: &(&str, &str, &str)| [o.0.to_owned(), o.1.to_owned(), o.2.to_owned()];
        self.options = options.iter().map(owned).collect();
        self
    }

    pub fn resolve(&self, spec: &BenchSpec) -> Result<ResolvedBench, PlanError> {
        let options: Vec<(&str, &str, &str)> = self
            .options
            .iter()
            .map(|[option, key, value]| (option.as_str(), key.as_str(), value.as_str()))
            .collect();
        let overrides = Overrides::from_options(&spec.kinds(), crate::KINDS, &options);
        let request = BenchRequest {
            spec,
            kind_of: crate::kind_of,
            models: &self.models,
            saes: &self.saes,
            zoo: self.dir.path(),
            overrides: &overrides,
            data: &self.data,
            zoo_data: &[self.dir.path().join("text.jsonl")],
            prompts: &[],
            zoo_prompts: &[self.dir.path().join("prompts.jsonl")],
            questions: &self.questions,
            zoo_questions: &[self.dir.path().join("questions.jsonl")],
            prefixes: &self.prefixes,
            profile: self.profile,
            numerics: Numerics {
                dtype: Dtype::F32,
                reproducible: false,
                allow_nan: self.allow_nan,
            },
            limits: self.limits,
            is_forecast: self.is_forecast,
            strict_saes: self.strict_saes,
            plugins: &self.plugins,
        };
        resolve(&request, &answers(&request))
    }

    pub fn plan(&self, bench: &str) -> Result<Plan, PlanError> {
        self.expand(&self.resolve(&spec(bench))?)
    }

    pub fn expand(&self, resolved: &ResolvedBench) -> Result<Plan, PlanError> {
        crate::expand(resolved, &self.plugins, &mut HashCache::in_memory())
    }

    pub fn error(&self, bench: &str) -> String {
        self.plan(bench).unwrap_err().to_string()
    }
}

pub fn spec(bench: &str) -> BenchSpec {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benchmarks/tables");
    Catalogue::open(Path::new(dir), crate::KINDS)
        .unwrap()
        .load(bench)
        .unwrap()
}

pub fn keys(plan: &Plan, stage: Stage) -> BTreeSet<String> {
    plan.cells
        .iter()
        .filter(|c| c.stage() == stage)
        .map(|c| c.key.clone())
        .collect()
}

/// How many cells each stage of a plan has, stages without a cell left out.
pub fn stage_counts(plan: &Plan) -> Vec<(Stage, usize)> {
    let of = |stage| plan.cells.iter().filter(move |c| c.stage() == stage);
    (Stage::ALL
        .into_iter()
        .map(|stage| (stage, of(stage).count())))
    .filter(|(_, n)| *n > 0)
    .collect()
}

/// Stages whose keys differ between two plans.
pub fn changed(a: &Plan, b: &Plan) -> Vec<&'static str> {
    Stage::ALL
        .into_iter()
        .filter(|s| keys(a, *s) != keys(b, *s))
        .map(Stage::name)
        .collect()
}
