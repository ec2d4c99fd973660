//! The folders as they are shipped: layout against the fixtures, sizes, tokenizers, and that the
//! models have learned.

#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use decoder::{Cache, Checkpoint, Decoder, LoadOptions, Objective};
use harness_data::{Draws, Split, documents};
use serde_json::Value;
use tch::{Device, Kind, Tensor};
use tokenizers::Tokenizer;

/// Folder, and the fixture with its family's layout.
const MODELS: [(&str, &str); 7] = [
    ("qwen", "qwen2"),
    ("dream", "dream"),
    ("dream-sft", "dream"),
    ("dream-instruct", "dream"),
    ("llama", "llama"),
    ("llada", "llada"),
    ("gpt2", "gpt2"),
];

fn zoo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn keys(value: &Value) -> BTreeSet<String> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect()
}

/// Names in a safetensors file with block numbers replaced, and the dtypes.
fn layout(path: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + n]).unwrap();
    let (mut names, mut dtypes) = (BTreeSet::new(), BTreeSet::new());
    for (name, entry) in header.as_object().unwrap() {
        if name == "__metadata__" {
            assert_eq!(entry["format"], "pt");
            continue;
        }
        let parts = name
            .split('.')
            .map(|p| if p.parse::<u32>().is_ok() { "N" } else { p });
        names.insert(parts.collect::<Vec<_>>().join("."));
        dtypes.insert(entry["dtype"].as_str().unwrap().to_owned());
    }
    (names, dtypes)
}

#[test]
fn folders_have_the_layout_of_their_families() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity");
    for (name, fixture) in MODELS {
        let (ours, theirs) = (zoo(name), fixtures.join(fixture).join("checkpoint"));
        for entry in std::fs::read_dir(&theirs).unwrap() {
            let file = entry.unwrap().file_name();
            assert!(
                ours.join(&file).is_file(),
                "{name} lacks {}",
                file.display()
            );
        }
        for file in ["config.json", "tokenizer_config.json"] {
            let (mut has, wants) = (
                keys(&json(&ours.join(file))),
                keys(&json(&theirs.join(file))),
            );
            // Versions of a library that wrote nothing here, lists of tokens that no reader needs;
            // and the gpt2 fixture carries another family's tokenizer settings.
            has.extend(["transformers_version", "additional_special_tokens"].map(str::to_owned));
            let missing: Vec<&String> = wants.difference(&has).collect();
            let foreign = fixture == "gpt2" && file == "tokenizer_config.json";
            assert!(
                missing.is_empty() || foreign,
                "{name}/{file} lacks {missing:?}"
            );
        }
        let (names, dtypes) = layout(&ours.join("model.safetensors"));
        let (mut wanted, _) = layout(&theirs.join("model.safetensors"));
        wanted.remove("h.N.attn.bias"); // a mask buffer, not a parameter
        assert_eq!(names, wanted, "{name}");
        assert_eq!(dtypes, BTreeSet::from(["BF16".to_owned()]), "{name}");
    }
}

/// Bytes of the files below a folder.
fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap());
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => bytes_below(&entry.path()),
            false => entry.metadata().unwrap().len(),
        })
        .sum()
}

/// The whole tree has to fit into the 64 MB that some remote machines take.
#[test]
fn models_and_saes_are_small() {
    let saes = bytes_below(&zoo("saes"));
    let models: Vec<u64> = (MODELS.iter())
        .map(|(name, _)| bytes_below(&zoo(name)))
        .collect();
    assert!(models.iter().all(|bytes| *bytes < 4_000_000), "{models:?}");
    let total = saes + models.iter().sum::<u64>();
    assert!(total <= 34_000_000, "{total} bytes, {saes} of SAEs");
}

/// The tokenizer of a folder, from tokenizer.json or from the two-file form.
fn tokenizer(folder: &Path) -> Tokenizer {
    let single = folder.join("tokenizer.json");
    if single.is_file() {
        return Tokenizer::from_file(single).unwrap();
    }
    // Dream's two-file form holds qwen's base vocabulary; its special tokens do not occur in plain
    // text.
    let qwen = zoo("qwen");
    assert_eq!(
        std::fs::read(folder.join("vocab.json")).unwrap(),
        std::fs::read(qwen.join("vocab.json")).unwrap()
    );
    assert_eq!(
        std::fs::read(folder.join("merges.txt")).unwrap(),
        std::fs::read(qwen.join("merges.txt")).unwrap()
    );
    Tokenizer::from_file(qwen.join("tokenizer.json")).unwrap()
}

#[test]
fn special_ids_agree_between_files() {
    for (name, _) in MODELS {
        let folder = zoo(name);
        let config = json(&folder.join("config.json"));
        let tokens = json(&folder.join("tokenizer_config.json"));
        let id = |token: &Value| {
            let table = tokens["added_tokens_decoder"].as_object().unwrap();
            table
                .iter()
                .find(|(_, e)| e["content"] == *token)
                .map(|(id, _)| id.parse::<i64>().unwrap())
        };
        assert_eq!(
            id(&tokens["eos_token"]),
            config["eos_token_id"].as_i64(),
            "{name}"
        );
        let mask = config.get("mask_token_id").and_then(Value::as_i64);
        assert_eq!(
            mask.is_some(),
            name.starts_with("dream") || name == "llada",
            "{name}"
        );
        if mask.is_some() {
            assert_eq!(id(&tokens["mask_token"]), mask, "{name}");
        }
        let folder_tokenizer = tokenizer(&folder);
        let text = "Last week we visited the old harbor. \"Where is Mara?\" asked Tom.\nA: 7 + 12 = 19.\n#### 19";
        let ids = folder_tokenizer.encode(text, false).unwrap();
        assert_eq!(
            folder_tokenizer.decode(ids.get_ids(), false).unwrap(),
            text,
            "{name}"
        );
        let with_special = folder_tokenizer.encode(text, true).unwrap().len();
        assert_eq!(
            with_special - ids.len(),
            usize::from(name == "llama"),
            "{name}"
        );
    }
}

/// Held-out cost in nats: of the next token, or of a masked token at mask rate 0.5.
fn heldout_cost(model: &dyn Decoder, folder: &Path) -> f64 {
    let tokenizer = tokenizer(folder);
    let config = model.config();
    let (b, t) = (8, 64);
    let mut ids = Vec::new();
    for document in documents(Split::Heldout, 0, 400, None) {
        let row = tokenizer.encode(document.text.as_str(), true).unwrap();
        if row.len() >= t && ids.len() < b * t {
            ids.extend(row.get_ids()[..t].iter().map(|&id| i64::from(id)));
        }
    }
    let mut draws = Draws::new("shipped", 0, 0);
    let diffusion = config.family.objective() == Objective::MaskedDiffusion;
    let scored: Vec<i64> = (0..(b * t) as i64)
        .filter(|i| i % t as i64 > 0 && (!diffusion || draws.chance(0.5)))
        .collect();
    let targets: Vec<i64> = scored.iter().map(|&i| ids[i as usize]).collect();
    if let Some(mask) = config.special.mask {
        scored.iter().for_each(|&i| ids[i as usize] = mask);
    }
    let tokens = Tensor::from_slice(&ids).view([b as i64, t as i64]);
    let mut context = model.begin((b as i64, t as i64), None, Cache::Off).unwrap();
    let resid = model.embed(&tokens, 0, &mut context).unwrap();
    let resid = model
        .blocks(0, config.n_layers, &resid, &mut context)
        .unwrap()
        .view([-1, config.d_model]);
    let offset = i64::from(config.family.logit_offset());
    let rows: Vec<i64> = scored.iter().map(|i| i - offset).collect();
    let rows = resid.index_select(0, &Tensor::from_slice(&rows));
    let costs = model
        .unembed_ce(&rows, &Tensor::from_slice(&targets))
        .unwrap();
    costs.mean(Kind::Double).double_value(&[])
}

#[test]
fn models_have_learned() {
    tch::set_num_threads(1);
    let _no_grad = tch::no_grad_guard();
    for (name, _) in MODELS {
        let folder = zoo(name);
        assert_eq!(Checkpoint::open(&folder).unwrap().config().n_layers, 8);
        let options = LoadOptions {
            kind: Kind::Float,
            device: Device::Cpu,
            ..LoadOptions::default()
        };
        let model = decoder::load(&folder, None, &options).unwrap();
        assert!(
            (1_300_000..3_000_000).contains(&model.config().n_params()),
            "{name}"
        );
        let cost = heldout_cost(model.as_ref(), &folder);
        // The unigram entropy is 5.8 nats. Masked at one half is harder than reading on from the
        // left.
        assert!(cost < 2.9, "{name}: {cost} nats");
    }
}
