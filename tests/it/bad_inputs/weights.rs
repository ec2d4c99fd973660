//! Rows 19 to 25: weight files that are not what their headers say, that do not fit, or that are
//! something else.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use serde_json::{Value, json};

use super::support::{
    MODEL_WEIGHTS, SAE_WEIGHTS, again, assemble, bench, edit, generate, inspect, model, parts,
    refused, refused_with_little, sae, says, sound_table, span, table,
};
use crate::support::succeed;

/// What every command that reads a weight file says of this one, under the name of a model's and of
/// an SAE's.
fn everywhere(spoil: impl Fn(&Path), words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path(), "dream");
    spoil(&model.join(MODEL_WEIGHTS));
    says(&refused(&mut inspect(&model)), words);
    says(&refused(&mut generate(&model)), words);
    let (set, sae) = sae(dir.path());
    let mut of_model = bench(dir.path(), &set);
    of_model
        .arg("--model")
        .arg(format!("dream={}", model.display()));
    says(&refused(&mut of_model), words);
    spoil(&sae.join(SAE_WEIGHTS));
    says(&refused(&mut inspect(&sae)), words);
    says(&refused(&mut inspect(&set)), words);
    says(&refused(&mut bench(dir.path(), &set)), words);
    assert!(!dir.path().join("out").exists(), "nothing was begun");
}

/// Row 19: a header whose length is 2^62 bytes. Said to be no safetensors file, with the length.
#[test]
fn row_19_header_length() {
    everywhere(
        |path| fs::write(path, [&(1_u64 << 62).to_le_bytes()[..], b"{}"].concat()).unwrap(),
        &[
            "not a safetensors file",
            "header length 4611686018427387904",
            "the limit is",
        ],
    );
}

/// A header of so many tensors without numbers, written without being held.
fn many_tensors(path: &Path, n: u32) {
    let entry = |i: u32| {
        let comma = if i == 0 { "" } else { "," };
        format!(r#"{comma}"{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)
    };
    let length: u64 = 2 + (0..n).map(|i| entry(i).len() as u64).sum::<u64>();
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(&length.to_le_bytes()).unwrap();
    file.write_all(b"{").unwrap();
    for i in 0..n {
        file.write_all(entry(i).as_bytes()).unwrap();
    }
    file.write_all(b"}").unwrap();
    file.flush().unwrap();
}

/// Row 20: a header of 101 MB, and one of a million tensors, and one that is short enough and names
/// too many. The limit is named within a second of processor time and 100 MB of address space, by
/// every command that reads the file.
#[test]
fn row_20_header_size_and_tensor_count() {
    let long = |path: &Path| {
        let length: u64 = 101 << 20;
        fs::write(path, length.to_le_bytes()).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(8 + length).unwrap();
    };
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path(), "dream");
    let (set, sae) = sae(dir.path());
    let check = |spoil: &dyn Fn(&Path), words: &[&str]| {
        spoil(&model.join(MODEL_WEIGHTS));
        spoil(&sae.join(SAE_WEIGHTS));
        for command in [
            inspect(&model),
            generate(&model),
            inspect(&sae),
            bench(dir.path(), &set),
        ] {
            says(&refused_with_little(&command), words);
        }
    };
    check(
        &long,
        &["header length 105906176", "the limit is 16777216 bytes"],
    );
    check(
        &|path| many_tensors(path, 1_000_000),
        &["header length", "the limit is 16777216 bytes"],
    );
    check(
        &|path| many_tensors(path, 200_000),
        &["names 200000 tensors", "the limit is 100000"],
    );
    // An SAE has a handful of tensors: its own reader draws the line lower, and its cell fails in
    // the worker.
    many_tensors(&sae.join(SAE_WEIGHTS), 300);
    says(
        &refused(&mut bench(dir.path(), &set)),
        &["names 300 tensors", "the limit is 256"],
    );
}

/// A header with a change, on the data that was there, with so many bytes more or fewer.
fn spoiled(path: &Path, change: impl Fn(&mut Value), more: i64) {
    let (mut header, mut data) = parts(path);
    change(&mut header);
    data.resize((data.len() as i64 + more) as usize, 0);
    assemble(path, &header.to_string(), &data);
}

/// The tensor that lies last in a file, with its bytes.
fn last(header: &Value) -> (String, [u64; 2]) {
    let spans = header
        .as_object()
        .unwrap()
        .iter()
        .filter_map(|(name, entry)| {
            let of = |i: usize| entry["data_offsets"].get(i)?.as_u64();
            Some((name.clone(), [of(0)?, of(1)?]))
        });
    spans.max_by_key(|(_, span)| span[1]).unwrap()
}

/// Row 21: tensors that overlap or leave a hole are named with their offsets; bytes that are left
/// over and bytes that are missing with both sizes.
#[test]
fn row_21_spans_of_tensors() {
    let moved = |by: i64| {
        move |path: &Path| {
            let change = |header: &mut Value| {
                let (name, [start, end]) = last(header);
                let to = |at: u64| (at as i64 + by) as u64;
                header[name]["data_offsets"] = json!([to(start), to(end)]);
            };
            spoiled(path, change, by);
        }
    };
    everywhere(
        moved(-2),
        &["tensor `", "overlaps", "it starts at byte", "expected"],
    );
    everywhere(
        moved(2),
        &["tensor `", "leaves a hole", "it starts at byte", "expected"],
    );
    everywhere(
        |path| spoiled(path, |_| {}, 7),
        &["left over", "size", "expected"],
    );
    everywhere(
        |path| spoiled(path, |_| {}, -100),
        &[
            "download incomplete?",
            "size",
            "expected",
            "download it again",
        ],
    );
    // Cut in the header, in its length, and to nothing.
    for size in [1000, 5] {
        everywhere(
            |path| {
                File::options()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_len(size)
                    .unwrap()
            },
            &["download incomplete?", &format!("size {size}")],
        );
    }
    everywhere(|path| fs::write(path, "").unwrap(), &["is empty"]);
}

/// Row 22: a name that is there twice is refused: whoever keeps the last one computes with half a
/// file.
#[test]
fn row_22_duplicate_name() {
    everywhere(
        |path| {
            let (header, data) = parts(path);
            let (name, _) = last(&header);
            let (text, entry) = (header.to_string(), header[&name].to_string());
            let twice = format!("{},\"{name}\":{entry}}}", text.strip_suffix('}').unwrap());
            assemble(path, &twice, &data);
        },
        &["` is there twice"],
    );
}

/// Row 23: tensors that are missing, too many, of another shape, transposed or of another type are
/// a table of what was expected and what was found, of an SAE and of a model.
#[test]
fn row_23_tensors_that_do_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let of_sae = |change: &dyn Fn(&mut Value)| {
        let (set, sae) = sae(dir.path());
        spoiled(&sae.join(SAE_WEIGHTS), change, 0);
        refused(&mut bench(dir.path(), &set))
    };
    let rename = |from: &'static str, to: &'static str| {
        move |header: &mut Value| {
            let entry = header.as_object_mut().unwrap().remove(from).unwrap();
            header[to] = entry;
        }
    };
    let table = ["tensor", "expected", "found"];
    let said = of_sae(&rename("b_enc", "b_encoder"));
    says(&said, &table);
    says(
        &said,
        &[
            "b_enc ",
            "[208]",
            "missing",
            "b_encoder",
            "not in this layout",
        ],
    );
    let said = of_sae(&|header| header["W_enc"]["shape"] = json!([208, 128]));
    says(&said, &["W_enc", "[128, 208]", "[208, 128] (transposed)"]);
    let said = of_sae(&|header| header["W_enc"]["shape"] = json!([64, 416]));
    says(&said, &["W_enc", "[128, 208]", "[64, 416]"]);
    let said = of_sae(&|header| {
        header["b_enc"]["dtype"] = json!("I32");
        header["b_enc"]["shape"] = json!([104]);
    });
    says(&said, &["b_enc", "[208]", "[104]"]);
    let (set, sae) = sae(dir.path());
    spoiled(
        &sae.join(SAE_WEIGHTS),
        |header| header["b_enc"]["dtype"] = json!("I16"),
        0,
    );
    says(
        &refused(&mut bench(dir.path(), &set)),
        &["`b_enc`", "I16", "not read"],
    );

    let of_model = |change: &dyn Fn(&mut Value)| {
        let model = model(dir.path(), "dream");
        spoiled(&model.join(MODEL_WEIGHTS), change, 0);
        refused(&mut generate(&model))
    };
    let norm = "model.norm.weight";
    let said = of_model(&rename(norm, "model.norm.bias"));
    says(&said, &table);
    says(
        &said,
        &[norm, "[128]", "missing", "model.norm.bias", "nothing"],
    );
    let up = "model.layers.3.mlp.up_proj.weight";
    let said = of_model(&|header| header[up]["shape"] = json!([128, 256]));
    says(&said, &[up, "[256, 128]", "[128, 256]"]);
    let said = of_model(&|header| header[norm]["dtype"] = json!("I16"));
    says(&said, &[norm, "I16", "weights can be"]);
}

/// Puts values into a tensor of bf16 numbers, from a place on.
fn put(path: &Path, tensor: &str, from: usize, values: &[u16]) {
    let (header, mut data) = parts(path);
    assert_eq!(header[tensor]["dtype"], "BF16");
    let start = span(&header, tensor).start + 2 * from;
    for (i, value) in values.iter().enumerate() {
        data[start + 2 * i..][..2].copy_from_slice(&value.to_le_bytes());
    }
    assemble(path, &header.to_string(), &data);
}

const NAN: u16 = 0x7fc0;
const INFINITY: u16 = 0x7f80;

/// Row 24: NaN and infinity in weights are refused with the tensor and their number. `--allow-nan`
/// goes on: where they are not met the result is that of sound weights, and it is not taken for one
/// that needed no permission.
#[test]
fn row_24_weights_that_are_not_finite() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path(), "dream");
    let sound = succeed(&mut generate(&model)).stdout;
    // The vocabulary is padded: no text has its last id.
    let embedding = "model.embed_tokens.weight";
    put(
        &model.join(MODEL_WEIGHTS),
        embedding,
        2047 * 128,
        &[NAN, INFINITY, NAN],
    );
    let said = refused(&mut generate(&model));
    says(
        &said,
        &[
            embedding,
            "3 of 262144 values",
            "NaN or infinite",
            "--allow-nan",
        ],
    );
    let allowed = succeed(generate(&model).arg("--allow-nan"));
    assert_eq!(allowed.stdout, sound);

    // Latent 95 never fires: what it would write is not read.
    let (set, sae) = sae(dir.path());
    let weights = sae.join(SAE_WEIGHTS);
    put(&weights, "W_dec", 95 * 128, &[NAN, INFINITY]);
    let words = [SAE_WEIGHTS, "`W_dec`", "2 NaN or infinite", "--allow-nan"];
    says(&refused(&mut bench(dir.path(), &set)), &words);
    succeed(bench(dir.path(), &set).arg("--allow-nan"));
    assert_eq!(table(dir.path()), sound_table(500));
    // The same command without permission is refused, whatever the store holds.
    let mut strict = again(&dir.path().join("out"), 500);
    strict
        .arg("--saes")
        .arg(format!("dream-mask={}", set.display()));
    says(&refused(&mut strict), &words);

    // Where they are met there is no number to be had: a missing value, never NaN, and the run ends
    // in order.
    put(&weights, "b_enc", 5, &[NAN]);
    let said = refused(bench(dir.path(), &set).arg("--allow-nan"));
    says(&said, &["the result holds NaN or infinity and is not kept"]);
    let table = table(dir.path());
    assert!(
        table.contains("failed") && !table.to_lowercase().contains("nan"),
        "{table}"
    );
}

/// Sound weights are not touched by the permission: `row_24` would pass if it changed values.
#[test]
fn row_24_permission_changes_no_value() {
    let dir = tempfile::tempdir().unwrap();
    let (set, _) = sae(dir.path());
    succeed(bench(dir.path(), &set).arg("--allow-nan"));
    assert_eq!(table(dir.path()), sound_table(500));
}

/// Row 25: a pointer of Git LFS or a web page in the place of weights is said to be just that, with
/// how to get the file; the same for configurations and vocabularies.
#[test]
fn row_25_pointers_and_web_pages() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 15231\n";
    let page = "\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n";
    let pointer_words = ["Git LFS pointer", "git lfs pull"];
    let page_words = ["a web page", "download it again"];
    everywhere(|path| fs::write(path, pointer).unwrap(), &pointer_words);
    everywhere(|path| fs::write(path, page).unwrap(), &page_words);

    let dir = tempfile::tempdir().unwrap();
    for (text, word) in [(pointer, "Git LFS pointer"), (page, "web page")] {
        let (set, sae) = sae(dir.path());
        fs::remove_file(sae.join(SAE_WEIGHTS)).unwrap();
        fs::write(sae.join("ae.pt"), text).unwrap();
        says(&refused(&mut inspect(&sae)), &["ae.pt", word]);
        says(&refused(&mut bench(dir.path(), &set)), &["ae.pt", word]);
        fs::remove_file(sae.join("ae.pt")).unwrap();
        fs::write(sae.join("cfg.json"), text).unwrap();
        says(&refused(&mut inspect(&sae)), &["cfg.json", word]);

        let model = model(dir.path(), "dream");
        fs::write(model.join("vocab.json"), text).unwrap();
        says(&refused(&mut generate(&model)), &["vocab.json", word]);
        fs::write(model.join("config.json"), text).unwrap();
        says(&refused(&mut generate(&model)), &["config.json", word]);
        says(&refused(&mut inspect(&model)), &["config.json", word]);
    }
    // Something else that is often there.
    let model = model(dir.path(), "dream");
    fs::write(model.join(MODEL_WEIGHTS), b"GGUF\x03\0\0\0").unwrap();
    says(&refused(&mut inspect(&model)), &["is a GGUF file"]);
    let (set, sae) = sae(dir.path());
    edit(&sae.join("cfg.json"), |config| config["k"] = json!(0));
    says(&refused(&mut bench(dir.path(), &set)), &["cfg.json", "`k`"]);
}
