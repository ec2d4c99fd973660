//! Damaged, hostile and merely different files: each is refused and says what is wrong.

use std::{fs, io::Write, path::Path};

use crate::common::{f32s, wave, weights};
use plugin_topk::{Format, NonFinite, SaeError, Stored, TopKSae, load, save};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

fn saved(format: Format) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    save(
        &weights(4, 32, 8),
        dir.path(),
        format,
        Stored::F32,
        &json!({}),
    )
    .unwrap();
    dir
}

fn refusal(path: &Path) -> SaeError {
    load(path, NonFinite::Refuse).expect_err("must be refused")
}

/// Changes the configuration of a sound SAE and returns the refusal.
fn with_config(format: Format, change: impl FnOnce(&mut Value)) -> String {
    let dir = saved(format);
    let path = dir.path().join(format.config_file().unwrap());
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(&path, json.to_string()).unwrap();
    refusal(dir.path()).to_string()
}

fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` not in: {text}");
    }
}

#[test]
fn settings_that_are_not_understood_are_refused() {
    let s = Format::Saelens;
    assert_says(
        &with_config(s, |c| c["architecture"] = json!("jumprelu")),
        &["jumprelu", "not Top-K"],
    );
    assert_says(
        &with_config(s, |c| c["architecture"] = json!("standard")),
        &["standard"],
    );
    for mode in [
        "expected_average_only_in",
        "layer_norm",
        "constant_norm_rescale",
        "mystery",
    ] {
        let e = with_config(s, |c| c["normalize_activations"] = json!(mode));
        assert_says(&e, &["normalize_activations", mode]);
    }
    assert_says(
        &with_config(s, |c| c["reshape_activations"] = json!("hook_z")),
        &["hook_z"],
    );
    let e = with_config(s, |c| {
        c["metadata"]["hook_name"] = json!("blocks.3.hook_mlp_out")
    });
    assert_says(&e, &["blocks.3.hook_mlp_out", "residual stream"]);
    assert_says(
        &with_config(s, |c| c["metadata"]["hook_head_index"] = json!(1)),
        &["hook_head_index"],
    );
    assert_says(
        &with_config(s, |c| c["k"] = json!(33)),
        &["k = 33", "32 latents"],
    );
    assert_says(
        &with_config(s, |c| c["k"] = json!(0)),
        &["no positive whole number `k`"],
    );
    assert_says(
        &with_config(s, |c| drop(c.as_object_mut().unwrap().remove("k"))),
        &["no positive whole number `k`"],
    );
    assert_says(
        &with_config(s, |c| c["d_in"] = json!("four")),
        &["d_in", "\"four\""],
    );

    let d = Format::DictionaryLearning;
    assert_says(
        &with_config(d, |c| c["trainer"]["dict_class"] = json!("BatchTopKSAE")),
        &["BatchTopKSAE"],
    );
    assert_says(
        &with_config(d, |c| c["buffer"]["io"] = json!("in")),
        &["`io`", "\"in\""],
    );
    assert_says(
        &with_config(d, |c| c["trainer"]["k"] = json!(9)),
        &["`k` is 8", "9 in config.json"],
    );
    assert_says(
        &with_config(d, |c| c["trainer"]["layer"] = json!(2)),
        &["layer 3", "2"],
    );
}

#[test]
fn tensors_that_do_not_fit_are_a_table() {
    let e = with_config(Format::Saelens, |c| {
        c["d_in"] = json!(32);
        c["d_sae"] = json!(4);
        c["k"] = json!(2);
    });
    assert_says(
        &e,
        &[
            "tensor",
            "expected",
            "found",
            "W_enc",
            "[32, 4]",
            "[4, 32] (transposed)",
            "b_dec",
        ],
    );
    let e = with_config(Format::Saelens, |c| c["d_in"] = json!(3584));
    assert_says(&e, &["3584", "[4, 32]"]);
    let e = with_config(Format::DictionaryLearning, |c| {
        c["trainer"]["activation_dim"] = json!(5)
    });
    assert_says(&e, &["encoder.weight", "[32, 5]", "[32, 4]"]);
}

#[test]
fn an_sae_of_another_width_names_both() {
    let dir = saved(Format::Saelens);
    let sae = TopKSae::new(&load(dir.path(), NonFinite::Refuse).unwrap(), Device::Cpu).unwrap();
    let e = sae.encode(&wave(&[2, 6], 0.0)).unwrap_err().to_string();
    assert_says(&e, &["[2, 6]", "[n, 4]"]);
}

#[test]
fn values_that_are_not_finite_are_refused_unless_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = weights(4, 32, 8);
    w.b_enc = w
        .b_enc
        .index_fill(0, &Tensor::from_slice(&[1i64, 5]), f64::NAN);
    save(&w, dir.path(), Format::Saelens, Stored::F32, &json!({})).unwrap();
    let e = refusal(dir.path());
    assert_says(&e.to_string(), &["b_enc", "2 NaN or infinite"]);
    assert_says(e.hint(), &["--allow-nan"]);
    assert!(load(dir.path(), NonFinite::Allow).is_ok());
}

#[test]
fn a_layer_that_disagrees_with_its_folder_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("resid_post_layer_7/trainer_0");
    save(
        &weights(4, 32, 8),
        &dir,
        Format::Saelens,
        Stored::F32,
        &json!({}),
    )
    .unwrap();
    assert_says(&refusal(&dir).to_string(), &["layer 3", "layer 7"]);
}

/// A safetensors file with this header and this much data.
fn with_header(header: &str, data: usize) -> String {
    let dir = saved(Format::Saelens);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    fs::write(dir.path().join("sae_weights.safetensors"), bytes).unwrap();
    refusal(dir.path()).to_string()
}

#[test]
fn safetensors_headers_are_not_believed() {
    let e = with_header("{}", 4);
    assert_says(&e, &["left over"]);
    let one = r#""b_dec":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}"#;
    assert_says(
        &with_header(&format!("{{{one},{one}}}"), 16),
        &["b_dec", "twice"],
    );
    assert_says(
        &with_header(&format!("{{{one}}}"), 12),
        &["download incomplete?", "expected"],
    );
    let hole = r#"{"b_dec":{"dtype":"F32","shape":[4],"data_offsets":[4,20]}}"#;
    assert_says(&with_header(hole, 20), &["b_dec", "hole"]);
    let overlap = r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}}"#;
    assert_says(&with_header(overlap, 24), &["`b`", "overlaps"]);
    let wrong = r#"{"b_dec":{"dtype":"F32","shape":[5],"data_offsets":[0,16]}}"#;
    assert_says(&with_header(wrong, 16), &["b_dec", "[5]"]);
    let huge = r#"{"b_dec":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}}"#;
    assert_says(&with_header(huge, 16), &["b_dec"]);
    let exotic = r#"{"b_dec":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}"#;
    assert_says(&with_header(exotic, 4), &["F8_E4M3"]);
    assert_says(&with_header("not json", 0), &["header"]);
    assert_says(&with_header(&" ".repeat(2 << 20), 0), &["limit"]);

    let dir = saved(Format::Saelens);
    let file = dir.path().join("sae_weights.safetensors");
    fs::write(&file, (1u64 << 62).to_le_bytes()).unwrap();
    assert_says(
        &refusal(dir.path()).to_string(),
        &["header length 4611686018427387904"],
    );
    fs::write(
        &file,
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    )
    .unwrap();
    assert_says(
        &refusal(dir.path()).to_string(),
        &["Git LFS pointer", "git lfs pull"],
    );
    fs::write(&file, "<!DOCTYPE html><html></html>").unwrap();
    assert_says(&refusal(dir.path()).to_string(), &["web page"]);
    fs::write(&file, "").unwrap();
    assert_says(&refusal(dir.path()).to_string(), &["empty"]);
}

/// An archive like torch's, with this pickle.
fn archive(path: &Path, pickle: &[u8], method: CompressionMethod, more: &[(&str, Vec<u8>)]) {
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    let options = SimpleFileOptions::default().compression_method(method);
    zip.start_file("ae/data.pkl", options).unwrap();
    zip.write_all(pickle).unwrap();
    for (name, bytes) in more {
        zip.start_file(format!("ae/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

fn with_pickle(pickle: &[u8]) -> String {
    let dir = saved(Format::DictionaryLearning);
    archive(
        &dir.path().join("ae.pt"),
        pickle,
        CompressionMethod::Stored,
        &[],
    );
    refusal(dir.path()).to_string()
}

#[test]
fn pickles_execute_nothing() {
    let flag = tempfile::tempdir().unwrap().path().join("executed");
    let call = format!("cos\nsystem\n(X\0\0\0\0touch {}", flag.display());
    assert_says(
        &with_pickle(&[b"\x80\x02", call.as_bytes(), b"tR."].concat()),
        &["os.system", "nothing was executed"],
    );
    assert!(!flag.exists());
    assert_says(
        &with_pickle(b"\x80\x02cbuiltins\neval\n."),
        &["builtins.eval"],
    );
    assert_says(
        &with_pickle(b"\x80\x04\x8c\x05posix\x8c\x06system\x93."),
        &["posix.system"],
    );
    assert_says(
        &with_pickle(b"\x80\x02ctorch._utils\n_rebuild_sparse_tensor\n."),
        &["sparse"],
    );
    assert_says(
        &with_pickle(b"\x80\x02ctorch._utils\n_rebuild_qtensor\n."),
        &["quantised"],
    );
    assert_says(
        &with_pickle(b"\x80\x02ctorch\nQUInt8Storage\n."),
        &["torch.QUInt8Storage"],
    );
    assert_says(&with_pickle(b"\x80\x02(I1\n."), &["instruction 0x49"]);
    assert_says(&with_pickle(b"\x80\x02"), &["ends inside"]);
    assert_says(&with_pickle(b"\x80\x02]."), &["no dictionary"]);
    assert_says(&with_pickle(b"\x80\x02h\x07."), &["recalls value 7"]);
    assert_says(
        &with_pickle(&[b"\x80\x02".as_slice(), &vec![b'('; 100_000]].concat()),
        &["nests deeper than 4096"],
    );
    assert_says(
        &with_pickle(&[b"\x80\x02".as_slice(), &b"}0".repeat(150_000)].concat()),
        &["more than 200000"],
    );
    assert_says(&with_pickle(&vec![b'}'; 2 << 20]), &["limit"]);
    assert_says(
        &with_pickle(b"\x80\x02}(K\x01K\x02u."),
        &["key that is no text"],
    );
    // A dictionary inside itself.
    assert_says(
        &with_pickle(b"\x80\x02}q\0(X\x01\0\0\0ah\0u."),
        &["dictionaries inside each other"],
    );
}

#[test]
fn tensors_of_a_pickle_stay_inside_their_storage() {
    // ('storage', FloatStorage, '0', 'cpu', 4), offset, size, stride, False, OrderedDict()
    let tensor = |offset: u8, size: u8, stride: u8| {
        let head = b"\x80\x02}X\x05\0\0\0b_decctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ";
        let tail = [b'K', offset, b'K', size, 0x85, b'K', stride, 0x85, 0x89];
        let end = b"ccollections\nOrderedDict\n)RtRs.";
        with_pickle(&[head.as_slice(), &tail, end.as_slice()].concat())
    };
    assert_says(&tensor(0, 5, 1), &["reaches beyond its storage of 4"]);
    assert_says(&tensor(1, 4, 1), &["reaches beyond"]);
    assert_says(&tensor(0, 200, 0), &["expands a storage of 4"]);
    assert_says(&tensor(0, 4, 1), &["encoder.weight", "missing"]); // sound, but the rest is not there
}

#[test]
fn archives_must_be_plain_and_whole() {
    let dir = saved(Format::DictionaryLearning);
    let path = dir.path().join("ae.pt");
    archive(
        &path,
        b"\x80\x02}.",
        CompressionMethod::Deflated,
        &[("data/0", vec![0; 1 << 24])],
    );
    assert_says(&refusal(dir.path()).to_string(), &["compressed"]);
    archive(
        &path,
        b"\x80\x02}.",
        CompressionMethod::Stored,
        &[("byteorder", b"big".to_vec())],
    );
    assert_says(&refusal(dir.path()).to_string(), &["byte order `big`"]);
    fs::write(&path, b"\x80\x02}.").unwrap();
    assert_says(&refusal(dir.path()).to_string(), &["zip archive"]);

    let dir = saved(Format::DictionaryLearning);
    let path = dir.path().join("ae.pt");
    let sound = fs::read(&path).unwrap();
    fs::write(&path, &sound[..sound.len() / 2]).unwrap();
    assert_says(&refusal(dir.path()).to_string(), &["damaged or cut short"]);
    // One byte inside the encoder's weights.
    let bytes: Vec<u8> = f32s(&weights(4, 32, 8).w_enc.tr())
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let at = sound.windows(bytes.len()).position(|w| w == bytes).unwrap();
    let mut flipped = sound;
    flipped[at + 5] ^= 0x10;
    fs::write(&path, flipped).unwrap();
    assert_says(&refusal(dir.path()).to_string(), &["encoder.weight", "CRC"]);
}

#[test]
fn no_single_flipped_byte_changes_numbers_in_silence() {
    let dir = saved(Format::DictionaryLearning);
    let path = dir.path().join("ae.pt");
    let sound = fs::read(&path).unwrap();
    let expected = f32s(&load(dir.path(), NonFinite::Refuse).unwrap().w_enc);
    for at in (0..sound.len()).step_by(7) {
        let mut flipped = sound.clone();
        flipped[at] ^= 0x41;
        fs::write(&path, flipped).unwrap();
        if let Ok(read) = load(dir.path(), NonFinite::Refuse) {
            assert_eq!(f32s(&read.w_enc), expected, "byte {at}");
        }
    }
}

#[test]
fn folders_without_or_with_two_saes_say_so() {
    let dir = tempfile::tempdir().unwrap();
    assert_says(&refusal(dir.path()).to_string(), &["no SAE", "ae.pt"]);
    assert_says(
        &refusal(&dir.path().join("nowhere")).to_string(),
        &["nowhere", "cannot find it"],
    );
    save(
        &weights(4, 32, 8),
        dir.path(),
        Format::Saelens,
        Stored::F32,
        &json!({}),
    )
    .unwrap();
    fs::remove_file(dir.path().join("cfg.json")).unwrap();
    assert_says(&refusal(dir.path()).to_string(), &["cfg.json"]);
    save(
        &weights(4, 32, 8),
        dir.path(),
        Format::Saelens,
        Stored::F32,
        &json!({}),
    )
    .unwrap();
    save(
        &weights(4, 32, 8),
        dir.path(),
        Format::DictionaryLearning,
        Stored::F32,
        &json!({}),
    )
    .unwrap();
    assert_says(&refusal(dir.path()).to_string(), &["several layouts"]);
    assert!(
        load(&dir.path().join("ae.pt"), NonFinite::Refuse).is_ok(),
        "the file decides"
    );
}

#[test]
fn openai_files_are_read_with_their_normalisation() {
    let dir = tempfile::tempdir().unwrap();
    let w = weights(4, 32, 8);
    let path = dir.path().join("autoencoder.pt");
    let tensors: [(&str, Tensor); 4] = [
        ("pre_bias", w.b_dec.shallow_clone()),
        ("latent_bias", w.b_enc.shallow_clone()),
        ("encoder.weight", w.w_enc.tr().contiguous()),
        ("decoder.weight", w.w_dec.tr().contiguous()),
    ];
    let mut pickle = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    let text = |out: &mut Vec<u8>, t: &str| {
        out.push(b'X');
        out.extend_from_slice(&(t.len() as u32).to_le_bytes());
        out.extend_from_slice(t.as_bytes());
    };
    let int = |out: &mut Vec<u8>, v: i64| {
        out.push(b'J');
        out.extend_from_slice(&(v as i32).to_le_bytes());
    };
    let mut records = Vec::new();
    for (i, (name, t)) in tensors.iter().enumerate() {
        text(&mut pickle, name);
        pickle.extend_from_slice(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut pickle, "storage");
        pickle.extend_from_slice(b"ctorch\nFloatStorage\n");
        text(&mut pickle, &i.to_string());
        text(&mut pickle, "cuda:0");
        int(&mut pickle, t.numel() as i64);
        pickle.extend_from_slice(b"tQK\0(");
        t.size().iter().for_each(|&d| int(&mut pickle, d));
        pickle.extend_from_slice(b"t(");
        t.stride().iter().for_each(|&d| int(&mut pickle, d));
        pickle.extend_from_slice(b"t\x89ccollections\nOrderedDict\n)RtR");
        records.push((
            format!("data/{i}"),
            f32s(t)
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect::<Vec<u8>>(),
        ));
    }
    text(&mut pickle, "activation");
    text(&mut pickle, "TopK");
    text(&mut pickle, "activation_state_dict");
    pickle.extend_from_slice(b"ccollections\nOrderedDict\n)R(");
    text(&mut pickle, "k");
    pickle.extend_from_slice(b"K\x08");
    text(&mut pickle, "postact_fn");
    text(&mut pickle, "ReLU");
    pickle.extend_from_slice(b"uu.");
    let records: Vec<(&str, Vec<u8>)> = records
        .iter()
        .map(|(n, b)| (n.as_str(), b.clone()))
        .collect();
    archive(&path, &pickle, CompressionMethod::Stored, &records);

    let read = load(&path, NonFinite::Refuse).unwrap();
    assert_eq!((read.d_model(), read.d_sae(), read.k), (4, 32, 8));
    let sae = TopKSae::new(&read, Device::Cpu).unwrap();
    let x = wave(&[5, 4], 9.0) * 3.0 + 1.0;
    // The definition, densely.
    let mean = x.mean_dim(-1i64, true, Kind::Float);
    let std = (&x - &mean).std_dim(-1i64, true, true);
    let input = (&x - &mean) / (&std + 1e-5);
    let p = ((input - &w.b_dec).matmul(&w.w_enc) + &w.b_enc).relu();
    let (values, _) = p.topk(8, -1, true, true);
    let kept = p.where_self(&p.ge_tensor(&values.narrow(1, 7, 1)), &p.zeros_like());
    let expected = (kept.matmul(&w.w_dec) + &w.b_dec) * &std + &mean;
    let off = (sae.reconstruct(&x).unwrap() - expected)
        .abs()
        .max()
        .double_value(&[]);
    assert!(off < 1e-4, "{off}");
    let active = sae.encode(&x).unwrap();
    assert!(sae.decode(&active.acts, &active.latents).is_err());

    let at = pickle.windows(4).position(|w| w == b"TopK").unwrap();
    pickle[at..at + 4].copy_from_slice(b"TopJ");
    archive(&path, &pickle, CompressionMethod::Stored, &records);
    assert_says(&refusal(&path).to_string(), &["TopJ"]);
}

/// Factors of ones change nothing; others would change every number.
#[test]
fn scaling_factors_other_than_one_are_refused() {
    let with = |factors: &[f32]| {
        let dir = saved(Format::Saelens);
        let path = dir.path().join("sae_weights.safetensors");
        let mut tensors: Vec<(String, Tensor)> = Tensor::read_safetensors(&path).unwrap();
        tensors.push(("scaling_factor".into(), Tensor::from_slice(factors)));
        Tensor::write_safetensors(&tensors, &path).unwrap();
        dir
    };
    let ones = with(&[1.0; 32]);
    load(ones.path(), NonFinite::Refuse).expect("ones change nothing");
    let mut factors = [1.0; 32];
    factors[7] = 1.5;
    let other = with(&factors);
    assert_says(
        &refusal(other.path()).to_string(),
        &["`scaling_factor` of 1 latents is not 1"],
    );
}
