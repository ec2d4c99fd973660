//! A worker on an embedded model, documents with labels, and cells on them.

use super::*;

/// Words of two subjects, and words of none.
pub(super) const SUBJECTS: [(&str, [&str; 6]); 2] = [
    (
        "sea",
        ["ship", "boat", "sailor", "anchor", "wave", "harbor"],
    ),
    (
        "kitchen",
        ["cake", "soup", "baker", "oven", "spoon", "kettle"],
    ),
];
pub(super) const OTHERS: [&str; 8] = ["the", "old", "and", "was", "near", "a", "small", "with"];
pub(super) const N_DOCUMENTS: u64 = 60;

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(super) fn sae_dir(set: &str, layer: u32) -> PathBuf {
    root().join(format!(
        "benchmarks/zoo/saes/{set}/resid_post_layer_{layer}/trainer_0"
    ))
}

/// Documents about a subject, or about none.
pub(super) fn documents(dir: &Path) -> PathBuf {
    let lines: Vec<String> = (0..N_DOCUMENTS)
        .map(|i| {
            let draws = Stream::new(5, "documents").item(i);
            let subject = SUBJECTS.get(draws.below_at(0, 3) as usize);
            let words: Vec<&str> = (1..20 + draws.below_at(1, 40))
                .map(|w| match subject {
                    Some((_, words)) if draws.below_at(3 * w, 3) == 0 => {
                        words[draws.below_at(3 * w + 1, 6) as usize]
                    }
                    _ => OTHERS[draws.below_at(3 * w + 2, 8) as usize],
                })
                .collect();
            let subjects: Vec<&str> = subject.map(|(name, _)| *name).into_iter().collect();
            json!({"text": words.join(" "), "labels": {"subjects": subjects}}).to_string()
        })
        .collect();
    let path = dir.join("documents.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

pub(super) fn plugin(kind: &str, name: &str) -> PluginRef {
    PluginRef {
        kind: kind.into(),
        name: name.into(),
        plugin: name.to_lowercase(),
        hash: String::new(),
    }
}

/// A worker on the embedded `dream` and the SAEs of some layers.
pub(super) fn worker(dir: &Path, batch: Option<u32>, threads: u32) -> Worker {
    tch::set_num_threads(1);
    let registry = Registry::load(&[root().join("plugins")]).unwrap();
    let has = |kind: &str| {
        registry
            .components()
            .any(|component| component.kind == kind)
    };
    assert!(
        has("model") && has("sae"),
        "no plugins: run cargo xtask build first"
    );
    let mut saes = BTreeMap::new();
    for set in ["dream-mask", "dream-unmask"] {
        for layer in [1, 2, 5] {
            saes.insert(format!("{set}-{layer}"), sae_dir(set, layer));
        }
    }
    let init = Init {
        sources: Sources {
            models: [("dream".into(), root().join("benchmarks/zoo/dream"))].into(),
            saes,
            files: [("text".into(), documents(dir))].into(),
        },
        threads,
        batch,
        ..init(dir)
    };
    Worker::new(registry, init).unwrap()
}

pub(super) fn params(set: &str, layer: u32) -> WindowsParams {
    WindowsParams {
        model: ModelRef {
            name: "dream".into(),
            checkpoint: "dream".into(),
            adapter: plugin("model", "Dream"),
        },
        sae: SaeRef {
            set: set.into(),
            policy: set.strip_prefix("dream-").unwrap().parse().unwrap(),
            layer,
            k: Some(k_of(set, layer)),
            hash: format!("{set}-{layer}"),
            architecture: plugin("sae", "topk"),
        },
        text: ShardRef {
            files: vec!["text".into()],
            text_field: "text".into(),
            documents: DocumentPolicy::Truncate,
            context_length: 64,
            first_token: 0,
            tokens: 100_000,
            allow_short: true,
            max_bad_rows: None,
        },
        masks: None,
        positions: Positions::All,
        latents: LatentChoice::Sample { n: 12 },
        dead_threshold: 15,
        rules: WindowRules {
            buffer: 4,
            ..WindowRules::default()
        },
        n_logits: 5,
        label_field: None,
        seed: 7,
        numerics: Numerics {
            dtype: Dtype::F32,
            reproducible: false,
            allow_nan: false,
        },
    }
}

pub(super) fn k_of(set: &str, layer: u32) -> u32 {
    let config = std::fs::read(sae_dir(set, layer).join("cfg.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["k"].as_u64().unwrap() as u32
}

pub(super) fn masked(params: WindowsParams, positions: Positions) -> WindowsParams {
    WindowsParams {
        masks: Some(FixedMasks {
            rate: 0.4,
            seed: 11,
            shown: Shown::HiddenToken,
        }),
        positions,
        ..params
    }
}

pub(super) type Found = Result<(WindowsOutput, Counters), CellError>;

pub(super) fn run(worker: &mut Worker, all: &[WindowsParams]) -> Vec<Found> {
    let cells: Vec<Cell> = all
        .iter()
        .map(|params| Cell::new(params.clone(), vec![]).unwrap())
        .collect();
    assert!(cells.iter().all(|cell| cell.group() == cells[0].group()));
    let cells: Vec<_> = cells.iter().map(|cell| (cell, vec![])).collect();
    crate::run(worker, &cells, &mut |_, _, _| Ok(()))
        .into_iter()
        .map(|result| {
            result.map(|(value, counters)| (serde_json::from_value(value).unwrap(), counters))
        })
        .collect()
}

pub(super) fn outputs(worker: &mut Worker, all: &[WindowsParams]) -> Vec<WindowsOutput> {
    run(worker, all)
        .into_iter()
        .map(|found| found.unwrap().0)
        .collect()
}
