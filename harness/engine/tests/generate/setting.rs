//! The shared fixtures and the plugins built beside this test.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use harness_engine::{
    generate::{GenerateError, Generated, Observer, ResidualReport, StepReport, TokenGrid, Wants},
    plugin::{LoadOptions, Model, ModelInfo, Registry, Sae},
};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The shared fixtures, where they are.
pub fn golden() -> Option<PathBuf> {
    let golden = root().join("../shared/golden");
    if !golden.is_dir() {
        eprintln!("skipped: ../shared not present");
        return None;
    }
    Some(golden)
}

pub fn registry() -> Registry {
    tch::set_num_threads(1);
    let registry = Registry::load(&[root().join("plugins")]).unwrap();
    for kind in ["model", "sae", "remasker", "steering"] {
        let refused: Vec<&str> = registry
            .refused()
            .iter()
            .map(|refused| refused.reason.as_str())
            .collect();
        assert!(
            registry
                .components()
                .any(|component| component.kind == kind),
            "no {kind} plugin: run cargo xtask build first ({})",
            refused.join("; ")
        );
    }
    registry
}

/// A family's model, SAE and recorded runs.
pub struct Family {
    pub model: Model,
    pub info: ModelInfo,
    pub manifest: Value,
    pub recorded: HashMap<String, Tensor>,
    dir: PathBuf,
}

impl Family {
    pub fn load(golden: &Path, registry: &Registry, name: &str) -> Self {
        Self::load_as(golden, registry, name, Kind::Float)
    }

    /// With residuals and weights of `kind`.
    pub fn load_as(golden: &Path, registry: &Registry, name: &str, kind: Kind) -> Self {
        let dir = golden.join(name);
        let read = |path: &str| -> Value {
            serde_json::from_slice(&std::fs::read(dir.join(path)).unwrap()).unwrap()
        };
        let config = read("checkpoint/config.json");
        let mut model = registry
            .model_for_type(config["model_type"].as_str().unwrap())
            .unwrap();
        let options = LoadOptions {
            device: tch::Device::Cpu,
            kind,
            allow_nan: false,
        };
        let info = model.load(&dir.join("checkpoint"), options).unwrap();
        let recorded = dir.join("golden/generate.safetensors");
        let recorded = match recorded.exists() {
            true => Tensor::read_safetensors(recorded)
                .unwrap()
                .into_iter()
                .collect(),
            false => HashMap::new(),
        };
        Self {
            model,
            info,
            manifest: read("golden/manifest.json"),
            recorded,
            dir,
        }
    }

    pub fn sae(&self, registry: &Registry) -> Sae {
        self.sae_as(registry, "topk")
    }

    pub fn sae_as(&self, registry: &Registry, architecture: &str) -> Sae {
        let architecture = registry.sae(architecture, &json!({})).unwrap();
        architecture
            .load(&self.dir.join("sae/saelens"), tch::Device::Cpu, false)
            .unwrap()
    }

    /// The real tokens of the rows of a recorded prompt.
    pub fn prompts(&self, run: &str) -> Vec<Vec<i64>> {
        let rows = |what: &str| -> Vec<Vec<i64>> {
            (&self.recorded[&format!("{run}.{what}")])
                .try_into()
                .unwrap()
        };
        rows("prompt")
            .into_iter()
            .zip(rows("prompt_mask"))
            .map(|(ids, mask)| {
                ids.into_iter()
                    .zip(mask)
                    .filter(|(_, m)| *m != 0)
                    .map(|(id, _)| id)
                    .collect()
            })
            .collect()
    }

    /// Recorded ids, flat.
    pub fn ids(&self, name: &str) -> Vec<i64> {
        (&self.recorded[name].to_kind(Kind::Int64).view([-1]))
            .try_into()
            .unwrap()
    }

    /// Prompts of different lengths for properties that no recording is needed for.
    pub fn some_prompts(&self, n: usize) -> Vec<Vec<i64>> {
        let stream = harness_core::rng::Stream::new(11, "prompts");
        let ids = (0..self.info.vocab_size as i64)
            .filter(|id| Some(*id) != self.info.mask_token_id)
            .collect::<Vec<_>>();
        (0..n)
            .map(|i| {
                let row = stream.item(i as u64);
                let len = 3 + row.below_at(0, 6);
                (1..=len)
                    .map(|k| ids[row.below_at(k, ids.len() as u64) as usize])
                    .collect()
            })
            .collect()
    }
}

/// Keeps everything.
#[derive(Default)]
pub struct Watch {
    pub wants: Wants,
    pub states: Vec<TokenGrid>,
    /// Before, coefficients, after.
    pub steered: Vec<[Tensor; 3]>,
    pub captured: Vec<Vec<Tensor>>,
}

impl Observer for Watch {
    fn wants(&self) -> Wants {
        self.wants.clone()
    }

    fn residual(&mut self, report: &ResidualReport<'_>) -> Result<(), GenerateError> {
        self.captured.resize_with(report.step + 1, Vec::new);
        self.captured[report.step].push(report.resid.copy());
        Ok(())
    }

    fn step(&mut self, report: &StepReport<'_>) -> Result<(), GenerateError> {
        if self.states.is_empty() {
            self.states.push(report.before.clone());
        }
        self.states.push(report.after.clone());
        if let Some(s) = report.steered {
            self.steered
                .push([s.before.copy(), s.coeff.copy(), s.after.copy()]);
        }
        Ok(())
    }
}

/// The real tokens of every row.
pub fn rows(generated: &Generated) -> Vec<Vec<i64>> {
    (0..generated.tokens.b())
        .map(|r| generated.tokens.row(r).to_vec())
        .collect()
}
