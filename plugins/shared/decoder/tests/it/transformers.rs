//! Configurations as people have them: what transformers 5 computes of each, on tiny random models
//! that `transformers/make.py` made.

use std::path::{Path, PathBuf};

use crate::common::{excess, one_thread, tensors};
use decoder::{Cache, Decoder, DecoderConfig, LoadOptions};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// The tolerance of the parity fixtures for logits in float32.
const LOGITS: (f64, f64) = (5e-4, 1e-4);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transformers")
}

fn about() -> Value {
    let text = std::fs::read_to_string(fixtures().join("cases.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A checkpoint's folder of a case.
fn folder(case: &Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let weights = format!("{}.safetensors", case["weights"].as_str().unwrap());
    std::fs::write(dir.path().join("config.json"), case["config"].to_string()).unwrap();
    std::fs::copy(
        fixtures().join(weights),
        dir.path().join("model.safetensors"),
    )
    .unwrap();
    dir
}

fn model(case: &Value) -> Box<dyn Decoder> {
    one_thread();
    decoder::load(folder(case).path(), None, &LoadOptions::default()).unwrap()
}

fn tokens(about: &Value) -> Tensor {
    let ids: Vec<i64> = serde_json::from_value(about["tokens"].clone()).unwrap();
    Tensor::from_slice(&ids).unsqueeze(0)
}

/// Logits of the text given in chunks that end at these places, on stored keys and values. [t, v]
fn in_chunks(model: &dyn Decoder, ids: &Tensor, ends: impl Iterator<Item = i64>) -> Tensor {
    let _guard = tch::no_grad_guard();
    let mut context = model.begin((1, ids.size()[1]), None, Cache::On).unwrap();
    let (mut start, mut logits) = (0, Vec::new());
    for end in ends {
        let chunk = ids.narrow(1, start, end - start);
        let resid = model.embed(&chunk, start, &mut context).unwrap();
        let resid = model
            .blocks(0, model.config().n_layers, &resid, &mut context)
            .unwrap();
        logits.push(model.unembed(&resid).unwrap().squeeze_dim(0));
        start = end;
    }
    Tensor::cat(&logits, 0)
}

fn assert_close(what: &str, ours: &Tensor, theirs: &Tensor) {
    let valid = Tensor::ones([ours.size()[0]], (Kind::Int64, Device::Cpu));
    let over = excess(ours, theirs, &valid, LOGITS.0, LOGITS.1);
    assert!(over <= 0.0, "{what} is {over} beyond the tolerance");
}

#[test]
fn logits_are_those_of_transformers() {
    let (about, expected) = (about(), tensors(&fixtures().join("expected.safetensors")));
    let ids = tokens(&about);
    let short = about["short"].as_i64().unwrap();
    for (name, case) in about["cases"].as_object().unwrap() {
        let model = model(case);
        let n = ids.size()[1].min(model.config().max_positions);
        let of = |length: i64| {
            let _guard = tch::no_grad_guard();
            let part = ids.narrow(1, 0, length);
            model.forward(&part, None).unwrap().squeeze_dim(0)
        };
        let theirs = &expected[&format!("{name}.long")];
        assert_close(name, &of(n), &theirs.narrow(0, 0, n));
        let stepped = in_chunks(&*model, &ids.narrow(1, 0, n), short..=n);
        match expected.get(&format!("{name}.short")) {
            None => assert_close(
                &format!("{name} in steps"),
                &stepped,
                &theirs.narrow(0, 0, n),
            ),
            // Here each step's frequencies are those of the length up to it.
            Some(brief) => {
                assert_eq!(n, ids.size()[1], "{name} is not stretched");
                assert_close(&format!("{name}, short"), &of(short), brief);
                let theirs = &expected[&format!("{name}.cached")];
                assert_close(&format!("{name} in steps"), &stepped, theirs);
            }
        }
    }
}

/// Dynamic scaling takes the length of the longest row in transformers; here each row has its own,
/// so that no result depends on what else is in the batch.
#[test]
fn rows_of_a_batch_have_frequencies_of_their_own_length() {
    let about = about();
    let model = model(&about["cases"]["dynamic"]);
    let ids = tokens(&about).narrow(1, 0, 50);
    let (short, _guard) = (30, tch::no_grad_guard());
    let alone = model.forward(&ids.narrow(1, 0, short), None).unwrap();
    let mask = Tensor::ones([2, 50], (Kind::Int64, Device::Cpu));
    let _ = mask.narrow(0, 1, 1).narrow(1, 0, 50 - short).fill_(0);
    let padded = Tensor::cat(&[ids.narrow(1, 0, 50 - short), ids.narrow(1, 0, short)], 1);
    let together = model
        .forward(&Tensor::cat(&[&ids, &padded], 0), Some(&mask))
        .unwrap();
    let whole = model.forward(&ids, None).unwrap();
    assert_close("the long row", &together.get(0), &whole.get(0));
    let second = together.get(1).narrow(0, 50 - short, short);
    assert_close("the short row", &second, &alone.get(0));
}

#[test]
fn a_configuration_that_is_written_again_is_the_same() {
    for (name, case) in about()["cases"].as_object().unwrap() {
        let config = DecoderConfig::from_json(name, &case["config"]).unwrap();
        let again = DecoderConfig::from_json(name, &config.to_json(Kind::Float)).unwrap();
        assert_eq!(again, config, "{name}");
    }
}

#[test]
fn sizes_that_are_left_out_are_those_of_the_families_classes() {
    for (family, sizes) in about()["defaults"].as_object().unwrap() {
        for (key, value) in sizes.as_object().unwrap() {
            let ours = decoder::default_size(family, key);
            assert_eq!(ours, value.as_u64(), "{family} {key}");
        }
    }
}
