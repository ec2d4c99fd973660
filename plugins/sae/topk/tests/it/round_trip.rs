//! What is written is read back, bit for bit where the type allows, in the released folder layout.

use std::fs;

use crate::common::{f32s, wave, weights};
use plugin_topk::{Format, NonFinite, Stored, TopKSae, load, save};
use proptest::prelude::*;
use serde_json::json;
use tch::{Device, Kind, Tensor};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn weights_survive(d in 1i64..9, f in 1i64..300, k in 1u64..9, bf16: bool, pt: bool) {
        let mut source = weights(d, f, k.min(f as u64));
        source.threshold = 0.25;
        let stored = if bf16 { Stored::Bf16 } else { Stored::F32 };
        let format = if pt { Format::DictionaryLearning } else { Format::Saelens };
        let dir = tempfile::tempdir().unwrap();
        save(&source, dir.path(), format, stored, &json!({"policy": "unmask", "seed": 7})).unwrap();
        let back = load(dir.path(), NonFinite::Refuse).unwrap();
        let rounded = |t: &Tensor| {
            f32s(&if bf16 { t.to_kind(Kind::BFloat16).to_kind(Kind::Float) } else { t.shallow_clone() })
        };
        prop_assert_eq!(rounded(&source.w_enc), f32s(&back.w_enc));
        prop_assert_eq!(rounded(&source.w_dec), f32s(&back.w_dec));
        prop_assert_eq!(rounded(&source.b_enc), f32s(&back.b_enc));
        prop_assert_eq!(rounded(&source.b_dec), f32s(&back.b_dec));
        prop_assert_eq!(back.k, source.k);
        prop_assert_eq!(back.meta.format, format);
        prop_assert_eq!(back.meta.layer, Some(3));
        prop_assert_eq!(back.meta.policy.as_str(), "unmask");
        prop_assert_eq!(back.meta.model.as_str(), "tiny");
        prop_assert_eq!(back.threshold, if pt { 0.25 } else { -1.0 });
        let names = fs::read_dir(dir.path()).unwrap().count();
        prop_assert_eq!(names, 2, "temporary files are gone");
    }

    #[test]
    fn decoding_is_linear_and_rows_are_what_an_act_adds(seed in 0f64..100.0, rescale: bool) {
        let mut w = weights(7, 40, 5);
        w.rescale_by_decoder_norm = rescale;
        let sae = TopKSae::new(&w, Device::Cpu).unwrap();
        let x = wave(&[6, 7], seed) * 2.0;
        let active = sae.encode(&x).unwrap();
        let twice = sae.decode(&(&active.acts * 2.0), &active.latents).unwrap();
        let once = sae.decode(&active.acts, &active.latents).unwrap();
        let doubled = (&once - &w.b_dec) * 2.0 + &w.b_dec;
        prop_assert!((twice - doubled).abs().max().double_value(&[]) < 1e-4);
        let latent = active.latents.narrow(0, 0, 1).narrow(1, 0, 1).flatten(0, -1); // [1]
        prop_assume!(latent.int64_value(&[0]) >= 0);
        let zero = sae.decode(&Tensor::zeros([1, 1], (Kind::Float, Device::Cpu)), &latent.view([1, 1])).unwrap();
        let one = sae.decode(&Tensor::ones([1, 1], (Kind::Float, Device::Cpu)), &latent.view([1, 1])).unwrap();
        let row = sae.decoder_rows(&latent).unwrap();
        prop_assert!((one - zero - row).abs().max().double_value(&[]) < 1e-5);
        let act = sae.latent_acts(&x.narrow(0, 0, 1), &latent).unwrap();
        prop_assert!((act.double_value(&[0, 0]) - active.acts.double_value(&[0, 0])).abs() < 1e-4);
    }
}

#[test]
fn what_is_saved_is_found_with_its_layer_and_policy() {
    let set = tempfile::tempdir().unwrap();
    for layer in [5u64, 1] {
        for (i, k) in [8u64, 24].into_iter().enumerate() {
            let mut w = weights(4, 32, k);
            w.meta.layer = Some(layer);
            let format = if layer == 1 {
                Format::Saelens
            } else {
                Format::DictionaryLearning
            };
            let dir = set.path().join(format!(
                "saes_mask_tiny/resid_post_layer_{layer}/trainer_{i}"
            ));
            save(&w, &dir, format, Stored::F32, &json!({})).unwrap();
        }
    }
    let found = sae_folder::find(set.path()).unwrap().saes;
    let read = found
        .iter()
        .map(|dir| load(dir, NonFinite::Refuse).unwrap());
    let seen: Vec<_> = read
        .map(|w| (w.meta.layer, w.k, w.meta.format.name(), w.meta.policy))
        .collect();
    let mask = || "mask".to_owned();
    assert_eq!(
        seen,
        [
            (Some(1), 8, "saelens", mask()),
            (Some(1), 24, "saelens", mask()),
            (Some(5), 8, "dictionary_learning", mask()),
            (Some(5), 24, "dictionary_learning", mask())
        ],
        "the policy is from the folder's name"
    );
}

/// SAELens drops the metadata of files that state no version of it, and reads the others as they
/// are.
#[test]
fn saelens_keeps_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let provenance = json!({"context_length": 128, "prepend_bos": false, "model_hash": "ab"});
    let weights = weights(4, 32, 8);
    save(
        &weights,
        dir.path(),
        Format::Saelens,
        Stored::F32,
        &provenance,
    )
    .unwrap();
    let text = fs::read(dir.path().join("cfg.json")).unwrap();
    let cfg: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let metadata = &cfg["metadata"];
    assert_eq!(metadata["sae_lens_version"], "6.22.0");
    assert_eq!(metadata["hook_name"], "blocks.3.hook_resid_post");
    assert_eq!(metadata["model_name"], "tiny");
    assert_eq!(metadata["context_size"], 128);
    assert_eq!(metadata["prepend_bos"], false);
    assert_eq!(metadata["harness"], provenance);
}
