//! SAE sets as people have them: what folders are called, which files lie in them, and what they
//! say of themselves. The weights are always those of one embedded SAE, so that every layout must
//! give its numbers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use zip::CompressionMethod;

use crate::{
    bad_inputs::{
        support::{SAE_WEIGHTS, assemble, edit, inspect, parts, refused, says, span},
        torch_files::{archive, tensor, text},
    },
    support::{copy_folder, harness, result, root, run, succeed, words},
};

/// The embedded SAE whose weights are used: layer 1, k 8 of `qwen`.
const EMBEDDED: &str = "benchmarks/zoo/saes/qwen/resid_post_layer_1/trainer_0";

/// A folder of results and a set of SAEs that is put together.
struct Set {
    dir: tempfile::TempDir,
}

impl Set {
    fn new() -> Set {
        Set {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn saes(&self) -> PathBuf {
        self.dir.path().join("saes")
    }

    /// The embedded SAE at a place of the set, in the layout it has, with a change of its
    /// configuration.
    fn saelens(&self, place: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
        let folder = self.saes().join(place);
        copy_folder(&root().join(EMBEDDED), &folder);
        edit(&folder.join("cfg.json"), change);
        folder
    }

    /// The same in the layout of sparsify, which has no word of a layer.
    fn sparsify(&self, place: &str, activation: &str) -> PathBuf {
        let folder = self.saelens(place, |_| ());
        let (header, data) = parts(&folder.join(SAE_WEIGHTS));
        let (d_model, d_sae) = sizes(&header);
        let transposed = transposed(&data[span(&header, "W_enc")], d_model, d_sae);
        let tensors = [
            (
                "W_dec",
                vec![d_sae, d_model],
                data[span(&header, "W_dec")].to_vec(),
            ),
            (
                "b_dec",
                vec![d_model],
                data[span(&header, "b_dec")].to_vec(),
            ),
            (
                "encoder.bias",
                vec![d_sae],
                data[span(&header, "b_enc")].to_vec(),
            ),
            ("encoder.weight", vec![d_sae, d_model], transposed),
        ];
        safetensors(&folder.join("sae.safetensors"), &tensors);
        fs::remove_file(folder.join(SAE_WEIGHTS)).unwrap();
        let config = json!({
            "activation": activation, "expansion_factor": 4, "num_latents": d_sae, "k": 8,
            "multi_topk": false, "skip_connection": false, "transcode": false, "d_in": d_model,
        });
        fs::write(folder.join("cfg.json"), config.to_string()).unwrap();
        folder
    }

    /// The same as an archive of `torch.save` under another name, with its program.
    fn torch(&self, place: &str, file: &str, program: impl Fn(&[Torch]) -> Vec<u8>) -> PathBuf {
        let folder = self.saelens(place, |_| ());
        let (header, data) = parts(&folder.join(SAE_WEIGHTS));
        let (m, s) = sizes(&header);
        let bytes = |name: &str| data[span(&header, name)].to_vec();
        let tensors = [
            Torch::new("encoder.weight", &[s, m], &[1, s], bytes("W_enc")),
            Torch::new("encoder.bias", &[s], &[1], bytes("b_enc")),
            Torch::new("decoder.weight", &[m, s], &[1, m], bytes("W_dec")),
            Torch::new("b_dec", &[m], &[1], bytes("b_dec")),
        ];
        let storages: Vec<&[u8]> = tensors.iter().map(|t| &*t.bytes).collect();
        let program = program(&tensors);
        let path = folder.join(file);
        archive(&path, &program, &[], &storages, CompressionMethod::Stored);
        fs::remove_file(folder.join(SAE_WEIGHTS)).unwrap();
        fs::remove_file(folder.join("cfg.json")).unwrap();
        folder
    }

    /// A bench that measures the set's SAEs of layer 1 and k 8.
    fn bench(&self, saes: &Path) -> Command {
        let mut command = harness();
        command
            .args(words(
                "bench fidelity --plugins plugins --rows qwen --layers 1",
            ))
            .args(words("--k 8 --measures none --threads 1 --reproducible"))
            .args(words("--budget-tokens 500 --set shard_tokens=500 --saes"))
            .arg(format!("qwen={}", saes.display()))
            .arg("--out")
            .arg(self.dir.path().join("out"));
        command
    }

    /// Names and explained variances of the SAEs that a bench has measured.
    fn measured(&self) -> Vec<(String, f64)> {
        evs(&self.dir.path().join("out"))
    }
}

/// A tensor of an archive, in bf16.
struct Torch {
    name: &'static str,
    shape: Vec<u32>,
    stride: Vec<u32>,
    bytes: Vec<u8>,
}

impl Torch {
    fn new(name: &'static str, shape: &[usize], stride: &[usize], bytes: Vec<u8>) -> Torch {
        let narrow = |sizes: &[usize]| sizes.iter().map(|n| *n as u32).collect();
        Torch {
            name,
            shape: narrow(shape),
            stride: narrow(stride),
            bytes,
        }
    }

    /// Its value in a pickle.
    fn value(&self, i: usize) -> Vec<u8> {
        let len = self.bytes.len() as u32 / 2;
        tensor(i, "torch\nBFloat16Storage", len, &self.shape, &self.stride)
    }
}

fn sizes(header: &Value) -> (usize, usize) {
    let size = |i: usize| header["W_enc"]["shape"][i].as_u64().unwrap() as usize;
    (size(0), size(1))
}

/// Numbers of two bytes: `[rows, columns]` to `[columns, rows]`.
fn transposed(bytes: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let at = |r: usize, c: usize| &bytes[2 * (r * columns + c)..][..2];
    let all = (0..columns).flat_map(|c| (0..rows).map(move |r| (r, c)));
    all.flat_map(|(r, c)| at(r, c).to_vec()).collect()
}

fn safetensors(path: &Path, tensors: &[(&str, Vec<usize>, Vec<u8>)]) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, bytes) in tensors {
        let from = data.len();
        data.extend(bytes);
        let entry = json!({"dtype": "BF16", "shape": shape, "data_offsets": [from, data.len()]});
        header.insert((*name).to_owned(), entry);
    }
    assemble(path, &Value::Object(header).to_string(), &data);
}

/// A pickle of a dictionary.
fn dict(items: Vec<(String, Vec<u8>)>) -> Vec<u8> {
    let items = items
        .into_iter()
        .flat_map(|(name, value)| [text(&name), value].concat());
    [b"}(".to_vec(), items.collect(), b"u".to_vec()].concat()
}

fn program(root: Vec<u8>) -> Vec<u8> {
    [b"\x80\x02".to_vec(), root, b".".to_vec()].concat()
}

fn evs(out: &Path) -> Vec<(String, f64)> {
    let csv = result(out, "fidelity.csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let head = reader.headers().unwrap().clone();
    let at = |name: &str| head.iter().position(|column| column == name).unwrap();
    assert_eq!(at("sae_id"), at("sae") + 1);
    let rows = reader.records().map(Result::unwrap);
    let evs = rows.filter(|row| &row[at("variant")] == "ev_var");
    evs.map(|row| {
        (
            row[at("sae_id")].to_owned(),
            row[at("value")].parse().unwrap(),
        )
    })
    .collect()
}

/// The explained variance of the embedded SAE where it lies, on the same text.
fn expected() -> f64 {
    let set = Set::new();
    set.saelens("resid_post_layer_1/trainer_0", |_| ());
    succeed(&mut set.bench(&set.saes()));
    set.measured()[0].1
}

fn close(found: &[(String, f64)], names: &[&str], value: f64) {
    let got: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(got, names);
    for (name, ev) in found {
        assert!((ev - value).abs() < 1e-6, "{name}: {ev} is not {value}");
    }
}

/// Folders named by a module's path or a hook, at any depth, are SAEs of their layer, and several
/// of one layer and k are all measured.
#[test]
fn folders_named_by_modules_and_hooks_are_measured_side_by_side() {
    let set = Set::new();
    let without_hook = |note: &'static str| {
        move |config: &mut Value| {
            config["metadata"]["hook_name"] = Value::Null;
            config["note"] = json!(note);
        }
    };
    set.saelens("layers.1", without_hook("a"));
    set.saelens("runs/model.layers.1/16x/trainer_2", without_hook("b"));
    set.saelens("runs/model.layers.1/16x/trainer_10", without_hook("c"));
    set.saelens("blocks.2.hook_resid_pre", |config| {
        config["metadata"]["hook_name"] = json!("blocks.2.hook_resid_pre");
    });
    set.sparsify("transformer.h.1", "topk");
    let ran = succeed(&mut set.bench(&set.saes()));
    close(
        &set.measured(),
        &[
            "blocks.2.hook_resid_pre",
            "layers.1",
            "runs/model.layers.1/16x/trainer_2",
            "runs/model.layers.1/16x/trainer_10",
            "transformer.h.1",
        ],
        expected(),
    );
    // The printed table tells them apart, since it must.
    says(
        &ran.stdout,
        &["runs/model.layers.1/16x/trainer_10", "transformer.h.1"],
    );
    let manifest: Value =
        serde_json::from_str(&result(&set.dir.path().join("out"), "run.json")).unwrap();
    assert_eq!(manifest["saes"][1]["sae_id"], "layers.1");

    let listed = succeed(inspect(&set.saes()).args(["--format", "csv"]));
    says(
        &listed.stdout,
        &[
            "set,sae_id,layer,k,",
            ",layers.1,1,8,",
            ",transformer.h.1,1,8,",
        ],
    );
}

/// One SAE's own folder is a set of one, named by its folder.
#[test]
fn an_own_folder_is_a_set() {
    let set = Set::new();
    let folder = set.sparsify("layers.1", "topk");
    let ran = succeed(&mut set.bench(&folder));
    close(&set.measured(), &["layers.1"], expected());
    assert!(
        !ran.stdout.contains("layers.1"),
        "no longer label than needed"
    );
    // From inside it the folder has no name of its own.
    let inside = succeed(inspect(Path::new(".")).current_dir(&folder));
    says(&inside.stdout, &["layers.1", "208"]);
}

/// Configurations as Python writes them, in which a field that nobody reads may be `NaN`.
#[test]
fn configurations_that_python_wrote_are_read() {
    let set = Set::new();
    let folder = set.saelens("resid_post_layer_1/trainer_0", |_| ());
    let path = folder.join("cfg.json");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replacen('{', "{\"l0_coefficient\": NaN, \"lr_end\": -Infinity, ", 1);
    fs::write(&path, text).unwrap();
    succeed(&mut set.bench(&set.saes()));
    close(
        &set.measured(),
        &["resid_post_layer_1/trainer_0"],
        expected(),
    );
}

/// OpenAI's `autoencoder.pt` has no configuration: its settings lie beside its tensors, in a
/// dictionary inside. Its reader normalises each row, which changes the numbers. Where the settings
/// lie open, another program wrote the file: rows are read as they are, and that is said.
#[test]
fn openai_files_are_read_from_their_header() {
    let names = [
        "encoder.weight",
        "latent_bias",
        "decoder.weight",
        "pre_bias",
    ];
    let settings = |prefix: &str| {
        let k = (format!("{prefix}k"), b"K\x08".to_vec());
        vec![k, (format!("{prefix}postact_fn"), text("ReLU"))]
    };
    let written = |tensors: &[Torch], settings: Vec<(String, Vec<u8>)>| {
        let mut items: Vec<(String, Vec<u8>)> = (names.iter().zip(tensors).enumerate())
            .map(|(i, (name, t))| ((*name).to_owned(), t.value(i)))
            .collect();
        items.push(("activation".to_owned(), text("TopK")));
        items.extend(settings);
        program(dict(items))
    };
    let note = "its input is read as it is, not normalised";
    let place = ("resid_post_layer_1/trainer_0", "autoencoder.pt");
    let published = Set::new();
    published.torch(place.0, place.1, |tensors| {
        let inner = dict(settings(""));
        written(tensors, vec![("activation_state_dict".to_owned(), inner)])
    });
    let ran = succeed(&mut published.bench(&published.saes()));
    assert!(!ran.stderr.contains(note), "{}", ran.stderr);
    let other = Set::new();
    other.torch(place.0, place.1, |tensors| {
        written(tensors, settings("activation_state_dict."))
    });
    let ran = succeed(&mut other.bench(&other.saes()));
    says(&ran.stderr, &["resid_post_layer_1/trainer_0", note]);
    close(&other.measured(), &[place.0], expected());
    let normalised = published.measured();
    assert_eq!(normalised.len(), 1);
    assert!(
        (normalised[0].1 - expected()).abs() > 1e-3,
        "{normalised:?}"
    );
    for set in [published, other] {
        says(
            &succeed(&mut inspect(&set.saes())).stdout,
            &["openai", "208"],
        );
    }
}

/// Names with a wrapper's prefix, values that are parameters, and weights inside a trainer's
/// checkpoint.
#[test]
fn weights_as_trainers_leave_them() {
    let value = expected();
    let config = json!({
        "trainer": {"dict_class": "AutoEncoderTopK", "activation_dim": 128, "dict_size": 208, "k": 8, "layer": 1,
            "submodule_name": "resid_post_layer_1"},
        "buffer": {"io": "out"},
    });
    let parameter = |value: Vec<u8>| {
        let made = b"ctorch._utils\n_rebuild_parameter\n(".to_vec();
        [made, value, b"\x88ccollections\nOrderedDict\n)RtR".to_vec()].concat()
    };
    let prefixed = |tensors: &[Torch], prefix: &str| {
        let items = tensors.iter().enumerate();
        let item = |(i, t): (usize, &Torch)| (format!("{prefix}{}", t.name), parameter(t.value(i)));
        dict(items.map(item).collect())
    };
    let set = Set::new();
    let folders = [
        set.torch("resid_post_layer_1/trainer_0", "ae.pt", |t| {
            program(prefixed(t, "_orig_mod."))
        }),
        set.torch("resid_post_layer_1/trainer_1", "ae.pt", |t| {
            program(dict(vec![
                ("epoch".to_owned(), b"K\x03".to_vec()),
                ("optimizer".to_owned(), b"}K\0]s".to_vec()),
                ("state_dict".to_owned(), prefixed(t, "module.ae.")),
            ]))
        }),
    ];
    for folder in folders {
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
    }
    let wrapped = set.saelens("resid_post_layer_1/trainer_2", |_| ());
    let (header, data) = parts(&wrapped.join(SAE_WEIGHTS));
    let header: serde_json::Map<String, Value> = (header.as_object().unwrap().iter())
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(name, entry)| (format!("_orig_mod.{name}"), entry.clone()))
        .collect();
    assemble(
        &wrapped.join(SAE_WEIGHTS),
        &Value::Object(header).to_string(),
        &data,
    );
    succeed(&mut set.bench(&set.saes()));
    let names = [0, 1, 2].map(|i| format!("resid_post_layer_1/trainer_{i}"));
    close(
        &set.measured(),
        &names.each_ref().map(String::as_str),
        value,
    );
}

/// Kinds of SAE that are not read are refused by their names before anything is loaded, whatever
/// their k is; `inspect` shows them.
#[test]
fn other_kinds_are_refused_by_name() {
    for (architecture, k, name) in [
        ("jumprelu", Value::Null, "JumpReLU"),
        ("batchtopk", json!(8.0), "BatchTopK"),
        ("matryoshka_batchtopk", json!(8), "Matryoshka BatchTopK"),
        ("gated", Value::Null, "Gated"),
        ("transcoder", json!(8), "transcoder"),
    ] {
        let set = Set::new();
        set.saelens("resid_post_layer_1/trainer_0", |config| {
            config["architecture"] = json!(architecture);
            config["k"] = k.clone();
        });
        says(
            &refused(&mut set.bench(&set.saes())),
            &[&format!("is a {name} SAE"), "trainer_0"],
        );
        assert!(!set.dir.path().join("out").exists(), "nothing was begun");
        says(&succeed(&mut inspect(&set.saes())).stdout, &[name]);
    }
}

/// SAEs of other places are passed over with a line that says which and why, and refused where they
/// are all there is. A configuration and a folder that differ are an error that shows both.
#[test]
fn other_places_and_contradictions_are_named() {
    let set = Set::new();
    set.saelens("layers.1", |config| {
        config["metadata"]["hook_name"] = Value::Null
    });
    let mlp = set.sparsify("layers.1.mlp", "topk");
    let ran = succeed(&mut set.bench(&set.saes()));
    says(
        &ran.stderr,
        &["layers.1.mlp is passed over", "it reads `layers.1.mlp`"],
    );
    assert_eq!(set.measured().len(), 1);
    says(
        &succeed(&mut inspect(&set.saes())).stderr,
        &["passed over", "layers.1.mlp"],
    );
    says(&refused(&mut set.bench(&mlp)), &["it reads `layers.1.mlp`"]);

    let set = Set::new();
    set.saelens("layers.2", |_| ());
    let both = [
        "`blocks.1.hook_resid_post` (layer 1)",
        "`layers.2` (layer 2)",
    ];
    says(&refused(&mut set.bench(&set.saes())), &both);
    says(&refused(&mut inspect(&set.saes())), &both);
}

/// SAEs that say they were made for another model are warned of with both names, and refused where
/// the bench is strict.
#[test]
fn saes_of_another_model_are_warned_of_or_refused() {
    let set = Set::new();
    set.saelens("resid_post_layer_1/trainer_0", |config| {
        config["metadata"]["model_name"] = json!("EleutherAI/pythia-70m");
        config["metadata"]["harness"] = Value::Null;
    });
    let ran = succeed(&mut set.bench(&set.saes()));
    let names = ["made for `EleutherAI/pythia-70m`", "used in qwen"];
    says(&ran.stderr, &["warning:"]);
    says(&ran.stderr, &names);

    let mut strict = set.bench(&set.saes());
    let ran = run(strict.arg("--strict-saes"));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    says(&ran.stderr, &names);

    // A name that is only spelt differently is the same one, and equal content settles the matter.
    let set = Set::new();
    set.saelens("resid_post_layer_1/trainer_0", |config| {
        config["metadata"]["model_name"] = json!("Somebody/Qwen");
        config["metadata"]["harness"] = Value::Null;
    });
    let ran = succeed(set.bench(&set.saes()).arg("--strict-saes"));
    assert!(!ran.stderr.contains("warning:"), "{}", ran.stderr);
    let manifest: Value =
        serde_json::from_str(&result(&set.dir.path().join("out"), "run.json")).unwrap();
    assert_eq!(manifest["strict_saes"], true);
}
