use std::{fs, path::Path};

use harness_core::record::Status;
use serde_json::{Value, json};

use super::{
    listing::{csv, heading, rows},
    tables::{
        Table3Row, print_table1, print_table3, size, table1_columns, table1_rows, table3_columns,
        table3_rows,
    },
};
use crate::tests::answers;
use harness_contract::runtime::{Runtime, SaeSeconds};
use harness_plan::inspect::{Inspected, InspectedSet};
use harness_present::{csv_table, text_table::Style};
use harness_weights::InputError;

fn inspect(dir: &Path) -> Result<Inspected, InputError> {
    Inspected::read(dir, &answers([dir.to_owned()]))
}

fn read_set(name: &str, dir: &Path) -> Result<InspectedSet, InputError> {
    InspectedSet::read(name, dir, &answers([dir.to_owned()]))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// What `harness train` writes, as far as it is read here.
fn saelens(layer: u32, k: u32, tokens: u64) -> Value {
    json!({
        "architecture": "topk", "d_in": 64, "d_sae": 2048, "k": k, "dtype": "bfloat16",
        "metadata": {
            "model_name": "dream", "hook_name": format!("blocks.{layer}.hook_resid_post"),
            "harness": {
                "model": "dream", "model_family": "dream", "layer": layer, "site": "resid_post", "policy": "mask",
                "tokens": tokens, "batch": 512, "model_batch": 16, "context_length": 128, "mask_rate": [0.05, 0.5],
                "seed": 3407, "data": ["0123456789abcdef0123"], "steps_done": 976,
                "final": {"ev": 0.9375, "loss": 0.25, "l0": 8.0, "n_dead": 3.0},
                "trainer": {"lr": 0.004},
            },
        },
    })
}

/// A safetensors file of 100 bytes.
fn no_tensors() -> Vec<u8> {
    let header = format!("{:92}", "{}");
    [&92_u64.to_le_bytes()[..], header.as_bytes()].concat()
}

/// Two SAEs of 100 + configuration bytes each, with measured times.
fn trained_set(dir: &Path) {
    for (i, k) in [8, 24].iter().enumerate() {
        let sae = dir.join(format!("resid_post_layer_2/trainer_{i}"));
        write(&sae.join("sae_weights.safetensors"), &no_tensors());
        write(
            &sae.join("cfg.json"),
            saelens(2, *k, 499_712).to_string().as_bytes(),
        );
    }
    let runtime = Runtime {
        schema: 1,
        policy: "mask".into(),
        device: "cpu".into(),
        threads: 2,
        model_dtype: "f32".into(),
        product_dtype: "f32".into(),
        resumed: 1,
        model_seconds: 3.0,
        buffer_seconds: 1.0,
        saes: vec![
            SaeSeconds {
                layer: 2,
                k: 8,
                seconds: 5.0,
            },
            SaeSeconds {
                layer: 2,
                k: 24,
                seconds: 6.0,
            },
        ],
    };
    write(
        &dir.join("runtime.json"),
        &serde_json::to_vec(&runtime).unwrap(),
    );
}

/// The configuration of a released SAE.
fn dictionary_learning(dir: &Path) {
    let config = json!({
        "trainer": {"trainer_class": "TopKTrainer", "dict_class": "AutoEncoderTopK", "lr": 0.0002, "steps": 73242,
            "seed": 3407, "activation_dim": 3584, "dict_size": 16384, "k": 50, "device": "cuda:0", "layer": 1,
            "lm_name": "Dream-org/Dream-v0-Base-7B", "submodule_name": "resid_post_layer_1"},
        "buffer": {"d_submodule": 3584, "io": "out", "n_ctxs": 122, "ctx_len": 2048, "refresh_batch_size": 8,
            "out_batch_size": 2048, "device": "cuda:0"},
    });
    write(&dir.join("config.json"), config.to_string().as_bytes());
    write(&dir.join("ae.pt"), &[1; 10]);
}

#[test]
fn a_trained_set_tells_everything() {
    let dir = tempfile::tempdir().unwrap();
    trained_set(&dir.path().join("dream-mask"));
    let Inspected::Saes { sets } = inspect(&dir.path().join("dream-mask")).unwrap() else {
        panic!("a set")
    };
    let [set] = &sets[..] else { panic!("one set") };
    assert_eq!(set.name, "dream-mask");
    let sae = &set.saes[1];
    assert_eq!(
        (sae.layer, sae.k, sae.d_model, sae.d_sae),
        (2, Some(24), 64, 2048)
    );
    assert_eq!(
        (sae.training.tokens, sae.training.batch),
        (Some(499_712), Some(512))
    );
    assert_eq!(sae.training.mask_rate, Some([0.05, 0.5]));
    assert_eq!(
        (sae.training.ev, sae.training.loss),
        (Some(0.9375), Some(0.25))
    );
    assert_eq!((sae.training.l0, sae.training.n_dead), (Some(8.0), Some(3)));
    assert_eq!(
        (sae.training.seed, sae.training.steps, sae.training.lr),
        (Some(3407), Some(976), Some(0.004))
    );
    assert_eq!(sae.format.as_deref(), Some("saelens"));
    assert_eq!(sae.site.as_deref(), Some("resid_post"));
    let config = fs::metadata(sae.dir.join("cfg.json")).unwrap().len();
    assert_eq!(sae.bytes, 100 + config);
    assert_eq!(sae.seconds, Some(8.0)); // its 6, and half of 4

    // The folder of sets and one SAE alone say the same.
    let all = inspect(dir.path()).unwrap();
    assert_eq!(all, Inspected::Saes { sets: sets.clone() });
    let Inspected::Saes { sets: alone } = inspect(&sae.dir).unwrap() else {
        panic!("a set of one")
    };
    assert_eq!(alone[0].saes.len(), 1);
    assert_eq!(
        (alone[0].saes[0].training.ev, alone[0].saes[0].seconds),
        (sae.training.ev, sae.seconds)
    );

    let text = csv(&all);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines[2].starts_with(
            "dream-mask,resid_post_layer_2/trainer_1,2,24,64,2048,topk,saelens,mask,dream,499712,,512,128,0.05,0.5,3407,976,0.9375,0.25,8,3,"
        ),
        "{text}"
    );
    let time = heading(set).into_iter().find(|(name, _)| *name == "time");
    assert!(
        time.unwrap()
            .1
            .starts_with("3.0 s of model passes, 1.0 s of rows, 11.0 s of steps on cpu")
    );
    assert_eq!(
        rows(set)[2][4..9],
        ["500K", "0.9375", "0.2500", "8.00", "3"]
    );
}

#[test]
fn a_released_sae_tells_what_it_knows_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir
        .path()
        .join("saes_mask_Dream-org_Dream-v0-Base-7B_top_k");
    dictionary_learning(&set.join("resid_post_layer_1/trainer_0"));
    let set = read_set("dream", &set).unwrap();
    let sae = &set.saes[0];
    assert_eq!(sae.training.tokens, Some(149_999_616));
    assert_eq!(
        (sae.training.batch, sae.training.model_batch),
        (Some(2048), Some(8))
    );
    assert_eq!(
        (sae.training.context_length, sae.training.seed),
        (Some(2048), Some(3407))
    );
    assert_eq!(
        sae.policy.as_deref(),
        Some("mask"),
        "from the folder's name"
    );
    assert_eq!(sae.model.as_deref(), Some("Dream-org/Dream-v0-Base-7B"));
    assert_eq!(sae.architecture.as_deref(), Some("topk"));
    assert_eq!(
        (
            sae.training.ev,
            sae.training.loss,
            sae.training.l0,
            sae.training.n_dead
        ),
        (None, None, None, None)
    );
    assert_eq!(
        (sae.training.mask_rate, sae.seconds, &sae.training.data),
        (None, None, &None)
    );
}

#[test]
fn a_checkpoint_is_counted_by_its_headers() {
    let dir = tempfile::tempdir().unwrap();
    let config = r#"{"model_type":"Dream","hidden_size":8,"num_hidden_layers":2,"vocab_size":16,"intermediate_size":12,"mask_token_id":3}"#;
    write(&dir.path().join("config.json"), config.as_bytes());
    let model = |dir: &Path| match inspect(dir).unwrap() {
        Inspected::Model(model) => *model,
        other => panic!("{other:?}"),
    };
    // 2 · 16 · 8 of the vocabulary, 2 · (4 · 64 + 3 · 96) of the blocks.
    let found = model(dir.path());
    assert_eq!((found.parameters, found.weight_bytes), (256 + 1088, 0));
    assert_eq!(found.objective, "masked diffusion");

    let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[16,8],"data_offsets":[0,512]},"b":{"dtype":"F32","shape":[],"data_offsets":[512,516]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend([0; 516]);
    write(&dir.path().join("model.safetensors"), &file);
    let found = model(dir.path());
    assert_eq!(found.parameters, 129);
    assert_eq!(found.bytes, (file.len() + config.len()) as u64);
    assert!(csv(&Inspected::Model(Box::new(found))).contains(",2,8,12,16,129,weights,"));

    write(
        &dir.path().join("model.safetensors"),
        &u64::MAX.to_le_bytes(),
    );
    let error = inspect(dir.path()).unwrap_err().to_string();
    assert!(error.contains("the limit is"), "{error}");
}

#[test]
fn other_folders_are_refused_with_what_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let error = |path: &Path| inspect(path).unwrap_err().to_string();
    assert!(error(dir.path()).contains("no checkpoint"));
    assert!(error(&dir.path().join("none")).contains("no such folder"));
    write(
        &dir.path().join("cfg.json"),
        br#"{"d_in":4,"d_sae":8,"k":2}"#,
    );
    assert!(error(dir.path()).contains("names no layer"));
}

#[test]
fn the_rows_of_table_1() {
    let dir = tempfile::tempdir().unwrap();
    trained_set(&dir.path().join("dream-mask"));
    let released = dir.path().join("released_mask");
    dictionary_learning(&released.join("resid_post_layer_1/trainer_0"));
    let sets = [
        read_set("dream-mask", &dir.path().join("dream-mask")).unwrap(),
        read_set("released", &released).unwrap(),
    ];
    let rows = table1_rows(&sets);
    assert_eq!(
        csv_table(&table1_columns(), &rows),
        "sae,attribute,value\n\
         dream-mask,Model,dream\n\
         released,Model,Dream-org/Dream-v0-Base-7B\n\
         dream-mask,Training Data,\"text, SHA-256 0123456789ab\"\n\
         released,Training Data,\n\
         dream-mask,Activation function,ReLU+TopK\n\
         released,Activation function,ReLU+TopK\n\
         dream-mask,Insertion layers,2\n\
         released,Insertion layers,1\n\
         dream-mask,Insertion site,residual stream\n\
         released,Insertion site,residual stream\n\
         dream-mask,SAE width,2K\n\
         released,SAE width,16K\n"
    );
    let printed = print_table1(&rows, Style::Plain);
    let width = printed
        .lines()
        .find(|l| l.starts_with("SAE width") && l.contains("dream-mask"));
    assert!(
        width.unwrap().trim_end().ends_with("Dream-SAE  16K"),
        "{printed}"
    );
}

#[test]
fn the_rows_of_table_3() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dream-mask");
    trained_set(&path);
    let read = || read_set("dream-mask", &path).unwrap();
    let set = read();
    let bytes = (set.saes[0].bytes + set.saes[1].bytes) as f64 / 2.0;
    let mut rows = table3_rows(&[set]);
    assert_eq!((rows[0].gpu_count, rows[0].status), (Some(0), Status::Ok));
    assert_eq!(rows[0].seconds_per_sae, Some(7.5)); // (5 + 6 + 3 + 1) / 2
    rows.push(Table3Row::missing("llada", "llada-mask"));
    assert_eq!(
        csv_table(&table3_columns(), &rows),
        format!(
            "model,sae,tokens,n_saes,arch,disk_per_sae,batch_size,context_length,sae_batch_size,gpu,gpu_count,gpu_model,bytes_per_sae,seconds_per_sae,status\n\
             dream,dream-mask,499712,2,TopK,{},16,128,512,,0,,{bytes},7.5,ok\n\
             llada,llada-mask,,,,,,,,,,,,,missing\n",
            size(bytes),
        )
    );
    let printed = print_table3(&rows, Style::Plain);
    assert!(
        printed.contains("Dream-7B") && printed.contains("LLaDA-8B"),
        "{printed}"
    );
    assert!(
        printed.contains("500K") && printed.contains("449M"),
        "{printed}"
    );

    // SAEs that disagree leave the field empty and the row partial.
    let other = saelens(2, 24, 1000).to_string();
    write(
        &path.join("resid_post_layer_2/trainer_1/cfg.json"),
        other.as_bytes(),
    );
    let row = &table3_rows(&[read()])[0];
    assert_eq!((row.tokens, row.status), (None, Status::Partial));
}

#[test]
fn sizes_are_in_units_of_1024() {
    assert_eq!(size(100.0), "100");
    assert_eq!(size(1536.0), "1.5K");
    assert_eq!(size(f64::from(16384 * 3584 * 2 * 4)), "448M");
    assert_eq!(size(3.0 * 1024f64.powi(3)), "3.0G");
}

#[test]
fn a_sibling_without_a_usable_sae_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let cfg = |layer: u32, hook: &str| {
        let mut config = saelens(layer, 8, 512);
        config["metadata"]["hook_name"] = json!(format!("blocks.{layer}.{hook}"));
        config.to_string()
    };
    for (path, config) in [
        ("mlp_out/blocks.1.hook_mlp_out", cfg(1, "hook_mlp_out")),
        ("resid/layers.1", cfg(1, "hook_resid_post")),
        ("resid/blocks.2.hook_mlp_out", cfg(2, "hook_mlp_out")),
    ] {
        let sae = dir.path().join(path);
        write(&sae.join("sae_weights.safetensors"), &no_tensors());
        write(&sae.join("cfg.json"), config.as_bytes());
    }
    fs::create_dir_all(dir.path().join("late/resid_post_layer_3")).unwrap();
    let Inspected::Saes { sets } = inspect(dir.path()).unwrap() else {
        panic!("sets")
    };
    let [set] = &sets[..] else {
        panic!("one set: {sets:?}")
    };
    assert_eq!((&*set.name, set.saes.len()), ("resid", 1));
    assert_eq!(set.saes[0].sae_id, "layers.1");
    let said = set.passed_over.join("\n");
    assert_eq!(set.passed_over.len(), 3, "{said}");
    for folder in [
        "mlp_out/blocks.1.hook_mlp_out: ",
        "resid/blocks.2.hook_mlp_out: ",
        "late/resid_post_layer_3: ",
    ] {
        assert!(said.contains(folder), "{said}");
    }
}
