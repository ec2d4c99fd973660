//! Rows 26 and 30 to 33: folders whose files do not belong together, tokenizers, configurations.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::support::{
    MODEL_WEIGHTS, SAE_WEIGHTS, assemble, bench, continued, edit, generate, inspect, limited,
    model, parts, refused, refused_with_little, sae, says, span,
};
use crate::support::{root, run, succeed};

/// A model whose weights are in two files, and its index.
fn sharded(dir: &Path) -> (PathBuf, PathBuf) {
    let model = model(dir, "dream");
    let whole = model.join(MODEL_WEIGHTS);
    let (header, data) = parts(&whole);
    let mut names: Vec<&String> = header.as_object().unwrap().keys().collect();
    names.retain(|name| *name != "__metadata__");
    let mut map = json!({});
    for (i, half) in names.chunks(names.len().div_ceil(2)).enumerate() {
        let shard = format!("model-0000{}-of-00002.safetensors", i + 1);
        let (mut own, mut bytes) = (json!({}), Vec::new());
        for name in half {
            let at = bytes.len();
            bytes.extend_from_slice(&data[span(&header, name)]);
            own[*name] = header[*name].clone();
            own[*name]["data_offsets"] = json!([at, bytes.len()]);
            map[*name] = json!(shard);
        }
        assemble(&model.join(shard), &own.to_string(), &bytes);
    }
    fs::remove_file(whole).unwrap();
    let index = model.join("model.safetensors.index.json");
    fs::write(&index, json!({ "weight_map": map }).to_string()).unwrap();
    (model, index)
}

/// Row 26: a shard that the index names and that is not there is named, with the number of its
/// tensors; a path that leaves the folder is refused before anything is opened.
#[test]
fn row_26_shards() {
    let dir = tempfile::tempdir().unwrap();
    let whole = succeed(&mut generate(&model(dir.path(), "dream"))).stdout;
    let (model, index) = sharded(dir.path());
    assert_eq!(succeed(&mut generate(&model)).stdout, whole);
    succeed(&mut inspect(&model));
    let everywhere = |words: &[&str]| {
        says(&refused(&mut inspect(&model)), words);
        says(&refused(&mut generate(&model)), words);
    };
    let second = model.join("model-00002-of-00002.safetensors");
    let outside = dir.path().join("outside.safetensors");
    fs::rename(&second, &outside).unwrap();
    everywhere(&[
        "index.json",
        "the shard model-00002-of-00002.safetensors",
        "tensors), which is missing",
    ]);
    // The file is there, one folder up; it is not read.
    let text = fs::read_to_string(&index).unwrap();
    for path in ["../outside.safetensors", outside.to_str().unwrap()] {
        let escaped = text.replace("model-00002-of-00002.safetensors", path);
        fs::write(&index, escaped).unwrap();
        everywhere(&["index.json", "outside.safetensors", "outside the folder"]);
    }
    fs::write(&index, &text).unwrap();
    fs::rename(&outside, &second).unwrap();
    File::options()
        .write(true)
        .open(&second)
        .unwrap()
        .set_len(9000)
        .unwrap();
    everywhere(&["model-00002-of-00002.safetensors", "download incomplete?"]);
    fs::write(&index, &text[..text.len() / 2]).unwrap();
    everywhere(&["index.json", "is no weight index"]);
}

/// Row 30: an SAE of another model, and one of another layer: both numbers.
#[test]
fn row_30_an_sae_of_another_model_or_layer() {
    let dir = tempfile::tempdir().unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let (set, sae) = sae(dir.path());
        edit(&sae.join("cfg.json"), change);
        refused(&mut bench(dir.path(), &set))
    };
    let said = with(&|config| config["d_in"] = json!(4096));
    says(&said, &["d_model 4096", "dream has d_model 128", "--saes"]);
    let said = with(&|config| config["metadata"]["hook_name"] = json!("blocks.3.hook_resid_post"));
    says(&said, &["layer 3", "layer 1"]);
    let said = with(&|config| config["hook_layer"] = json!(3));
    says(
        &said,
        &["blocks.1.hook_resid_post", "(layer 1)", "hook_layer 3"],
    );
    // Weights of another width below a configuration that fits.
    let (set, sae) = sae(dir.path());
    let weights = sae.join(SAE_WEIGHTS);
    let (_, data) = parts(&weights);
    let header = json!({
        "W_enc": {"dtype": "BF16", "shape": [64, 208], "data_offsets": [0, 26624]},
        "b_enc": {"dtype": "BF16", "shape": [208], "data_offsets": [26624, 27040]},
        "W_dec": {"dtype": "BF16", "shape": [208, 64], "data_offsets": [27040, 53664]},
        "b_dec": {"dtype": "BF16", "shape": [64], "data_offsets": [53664, 53792]},
    });
    assemble(&weights, &header.to_string(), &data[..53792]);
    says(
        &refused(&mut bench(dir.path(), &set)),
        &["W_dec", "[208, 128]", "[208, 64]"],
    );
}

/// Row 31: tokenizers that are no JSON, of an unknown version, with ids beyond the vocabulary, with
/// a padding of 2^33, with a regular expression that takes exponential time, nested beyond reason
/// or larger than any. The limit is named and no process dies.
#[test]
fn row_31_tokenizers() {
    let dir = tempfile::tempdir().unwrap();
    let of = |change: &dyn Fn(&Path)| {
        let model = model(dir.path(), "gpt2");
        change(&model.join("tokenizer.json"));
        model
    };
    let edited = |change: &dyn Fn(&mut Value)| of(&|path| edit(path, change));
    let said = |model: &Path| refused(&mut generate(model));

    let cut = of(&|path| {
        let text = fs::read_to_string(path).unwrap();
        fs::write(path, &text[..text.len() / 2]).unwrap();
    });
    says(&said(&cut), &["tokenizer.json: not JSON", "line"]);
    let version = edited(&|t| t["version"] = json!("9.9"));
    says(&said(&version), &["version \"9.9\"", "\"1.0\" is"]);
    let beyond = edited(&|t| t["model"]["vocab"]["zebra"] = json!(2048));
    says(&said(&beyond), &["\"zebra\": id 2048", "the limit 2048"]);
    let beyond = edited(&|t| t["added_tokens"][0]["id"] = json!(u64::from(u32::MAX) + 1));
    says(&said(&beyond), &["id 4294967296", "the limit 2048"]);
    let regex = |pattern: &'static str| {
        edited(&move |t| {
            t["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        })
    };
    says(
        &said(&regex("(a+)+$")),
        &["pre_tokenizer.pattern.Regex", "exponential time", "(a+)+$"],
    );
    says(
        &said(&regex("(?<x")),
        &["pre_tokenizer.pattern.Regex", "does not compile"],
    );
    let lengthy = edited(&|t| {
        t["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": "a".repeat(5000)}, "behavior": "Isolated", "invert": false});
    });
    says(&said(&lengthy), &["5000 bytes", "the limit is 4096"]);
    let nested = of(&|path| fs::write(path, "[".repeat(100_000)).unwrap());
    says(
        &said(&nested),
        &["tokenizer.json: not JSON", "recursion limit"],
    );
    let large = of(&|path| File::create(path).unwrap().set_len(129 << 20).unwrap());
    says(
        &said(&large),
        &[
            "tokenizer.json: 135266304 bytes",
            "the limit for this file is 134217728",
        ],
    );
    let missing = of(&|path| {
        fs::remove_file(path).unwrap();
        fs::remove_file(path.with_file_name("vocab.json")).unwrap();
    });
    says(&said(&missing), &["no tokenizer here"]);

    // Padding and truncation are not used: a length that would be allocated changes nothing.
    let sound = succeed(&mut generate(&of(&|_| {}))).stdout;
    let padded = edited(&|t| {
        t["padding"] = json!({"strategy": {"Fixed": 1_u64 << 33}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "!"});
        t["truncation"] =
            json!({"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0});
    });
    let ran = succeed(&mut limited(&generate(&padded), 8 << 20));
    assert_eq!(ran.stdout, sound);
    // An expression that is let through ends nevertheless: the engine has a step limit.
    let slow = run(&mut continued(&regex("(a|a)*b"), &"a".repeat(200)));
    assert!([0, 20].contains(&slow.code), "{}", slow.stderr);
}

/// Row 32: a tokenizer without the mask token that the model's configuration names, or with another
/// one: the id that is expected (126336 for LLaDA-8B, 151666 for Dream-7B; read from config.json,
/// never fixed here) and what was found.
#[test]
fn row_32_a_tokenizer_of_another_model() {
    let dir = tempfile::tempdir().unwrap();
    let said = |model: &Path| refused(&mut generate(model));
    let together = "tokenizer and model do not belong together";
    for (name, mask) in [("dream", "<|mask|>"), ("llada", "<|mdm_mask|>")] {
        let model = model(dir.path(), name);
        // Another id: an ordinary word, and one without a token.
        for (id, found) in [(5, mask), (2047, mask)] {
            edit(&model.join("config.json"), |config| {
                config["mask_token_id"] = json!(id)
            });
            says(
                &said(&model),
                &[together, &format!("mask id expected {id}"), found],
            );
        }
    }
    // The whole tokenizer of another family, whose vocabulary is as large.
    let dream = model(dir.path(), "dream");
    for file in [
        "added_tokens.json",
        "merges.txt",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "vocab.json",
    ] {
        let theirs = root().join("benchmarks/zoo/qwen").join(file);
        match theirs.exists() {
            true => drop(fs::copy(theirs, dream.join(file)).unwrap()),
            false => fs::remove_file(dream.join(file)).unwrap(),
        }
    }
    says(&said(&dream), &[together, "mask id expected 2040"]);
    let (set, _) = sae(dir.path());
    let mut command = bench(dir.path(), &set);
    command
        .arg("--model")
        .arg(format!("dream={}", dream.display()))
        .args(["--data", "embedded"]);
    says(&refused(&mut command), &[together, "mask id expected 2040"]);
    // More tokens than the model has embeddings.
    let small = model(dir.path(), "gpt2");
    edit(&small.join("config.json"), |config| {
        config["vocab_size"] = json!(2000)
    });
    says(&said(&small), &["wte.weight", "[2000, 128]", "[2048, 128]"]);
}

/// Row 33: a configuration whose width is not that of the weights (a table), a model type that
/// nobody reads (with those that are read, and that remote code is never run), numbers that are
/// none, a file that is no configuration.
#[test]
fn row_33_configurations() {
    let dir = tempfile::tempdir().unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let model = model(dir.path(), "dream");
        edit(&model.join("config.json"), change);
        model
    };
    let said = |model: &Path| refused(&mut generate(model));
    let wide = with(&|config| config["hidden_size"] = json!(256));
    says(
        &said(&wide),
        &[
            "expected",
            "found",
            "model.embed_tokens.weight",
            "[2048, 256]",
            "[2048, 128]",
        ],
    );
    let odd = with(&|config| config["hidden_size"] = json!(130));
    says(&said(&odd), &["hidden_size 130", "4 heads"]);

    let flag = dir.path().join("executed");
    let unknown = with(&|config| {
        config["model_type"] = json!("falcon\u{1b}[2J");
        config["auto_map"] = json!({"AutoModel": "evil.Model"});
    });
    let code = format!("open({:?}, 'w')", flag.display().to_string());
    fs::write(unknown.join("evil.py"), code).unwrap();
    let words = [
        "falcon\\u{1b}[2J",
        "remote code is never run",
        "adapters available: Dream",
        "llada",
    ];
    says(&said(&unknown), &words);
    let (set, _) = sae(dir.path());
    let mut command = bench(dir.path(), &set);
    command
        .arg("--model")
        .arg(format!("dream={}", unknown.display()))
        .args(["--data", "embedded"]);
    says(&refused(&mut command), &words);
    assert!(!flag.exists());

    let rope = with(&|config| config["rope_scaling"] = json!({"rope_type": "longrope"}));
    says(
        &said(&rope),
        &["rope scaling \"longrope\" is not implemented"],
    );
    let none = with(&|config| drop(config.as_object_mut().unwrap().remove("model_type")));
    says(&said(&none), &["config.json", "model_type"]);
    let negative = with(&|config| config["num_hidden_layers"] = json!(-3));
    says(&said(&negative), &["config.json", "num_hidden_layers"]);
    let huge = with(&|config| config["num_hidden_layers"] = json!(4_000_000_000_u32));
    says(
        &said(&huge),
        &["config.json", "n_layers is 4000000000", "1 to 4096"],
    );
    let huge = with(&|config| config["hidden_size"] = json!(1_u64 << 40));
    says(&said(&huge), &["config.json"]);

    // Limits come before parsing.
    let model = model(dir.path(), "dream");
    let config = model.join("config.json");
    File::create(&config).unwrap().set_len(1 << 30).unwrap();
    let words = ["config.json", "1073741824 bytes", "limit"];
    says(&refused_with_little(&inspect(&model)), &words);
    says(&said(&model), &words);
    fs::write(&config, "[".repeat(1 << 20)).unwrap();
    says(
        &refused_with_little(&inspect(&model)),
        &["config.json", "recursion limit"],
    );
    says(&said(&model), &["config.json", "recursion limit"]);
}
