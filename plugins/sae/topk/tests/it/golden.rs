//! Parity with the fixtures: every layout, latents, activations and reconstructions.

use std::{fs, path::Path};

use crate::common::{f32s, golden, i64s};
use plugin_topk::{NonFinite, TopKSae, TopKWeights, load};
use tch::{Device, Kind, Tensor};

const ATOL: f64 = 2e-4;
const RTOL: f64 = 1e-4;

fn tensor(file: &safetensors::SafeTensors<'_>, name: &str) -> Tensor {
    let view = file.tensor(name).unwrap();
    let kind = match view.dtype() {
        safetensors::Dtype::F32 => Kind::Float,
        safetensors::Dtype::I64 => Kind::Int64,
        other => panic!("{other:?}"),
    };
    let shape: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
    Tensor::from_data_size(view.data(), &shape, kind)
}

fn assert_close(found: &Tensor, expected: &Tensor, what: &str) {
    let (found, expected) = (f32s(found), f32s(expected));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&a, &b)) in found.iter().zip(&expected).enumerate() {
        let off = f64::from((a - b).abs());
        assert!(
            off <= ATOL + RTOL * f64::from(b.abs()),
            "{what}[{i}]: {a}, expected {b}"
        );
    }
}

fn read(dir: &Path) -> TopKWeights {
    load(dir, NonFinite::Refuse).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_layout_gives_the_reference_numbers() {
    let Some(golden) = golden() else { return };
    let mut checked = 0;
    for family in ["dream", "llada", "qwen2", "llama"] {
        let dir = golden.join(family);
        let bytes = fs::read(dir.join("golden/loss.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let layouts = [
            ("sae/saelens", "saelens"),
            ("sae/saelens_v5", "saelens"),
            ("sae/sparsify/layers.2", "sparsify"),
            ("sae/dictionary_learning/trainer_0", "dictionary_learning"),
            ("sae/saelens_rescaled", "saelens"),
        ];
        for (folder, format) in layouts {
            let path = dir.join(folder);
            if !path.exists() {
                continue; // one of them is there for a single family
            }
            let weights = read(&path);
            assert_eq!(weights.meta.format.name(), format);
            assert_eq!(
                (weights.d_model(), weights.d_sae(), weights.k),
                (64, 195, 8)
            );
            assert_eq!(weights.meta.layer, Some(2));
            let sae = TopKSae::new(&weights, Device::Cpu).unwrap();
            for case in ["plain", "padded"] {
                let x = tensor(&file, &format!("{case}.resid")).view([-1, 64]);
                let active = sae.encode(&x).unwrap();
                let mut expected = "recon";
                if folder.ends_with("rescaled") {
                    expected = "recon_rescaled";
                } else {
                    let values = tensor(&file, &format!("{case}.sae_values")).view([-1, 8]);
                    let indices = tensor(&file, &format!("{case}.sae_indices")).view([-1, 8]);
                    assert_close(&active.acts, &values, folder);
                    let (found, wanted, acts) =
                        (i64s(&active.latents), i64s(&indices), f32s(&values));
                    for i in 0..found.len() {
                        // Values closer than the tolerance may swap places.
                        let row = i / 8 * 8;
                        let near = (row..row + 8).any(|j| {
                            wanted[j] == found[i] && f64::from((acts[j] - acts[i]).abs()) <= ATOL
                        });
                        assert!(found[i] == wanted[i] || near, "{folder} latent {i}");
                    }
                    checked += found.len();
                }
                let recon = tensor(&file, &format!("{case}.{expected}")).view([-1, 64]);
                assert_close(&sae.reconstruct(&x).unwrap(), &recon, folder);
                assert_close(
                    &sae.decode(&active.acts, &active.latents).unwrap(),
                    &recon,
                    folder,
                );
                checked += recon.numel();
            }
        }
    }
    assert!(checked > 200_000, "only {checked} values compared");
}

#[test]
fn our_ae_pt_has_the_pickle_that_torch_writes() {
    let Some(golden) = golden() else { return };
    let source = golden.join("dream/sae/dictionary_learning/trainer_0");
    let weights = read(&source);
    let out = tempfile::tempdir().unwrap();
    plugin_topk::save(
        &weights,
        out.path(),
        plugin_topk::Format::DictionaryLearning,
        plugin_topk::Stored::F32,
        &serde_json::json!({"policy": "mask"}),
    )
    .unwrap();
    let record = |path: &Path, name: &str| {
        let mut archive = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut archive.by_name(name).unwrap(), &mut bytes).unwrap();
        bytes
    };
    let (theirs, ours) = (source.join("ae.pt"), out.path().join("ae.pt"));
    let names = [
        "data.pkl",
        "data/0",
        "data/1",
        "data/2",
        "data/3",
        "data/4",
        "data/5",
        "byteorder",
        "version",
    ];
    for name in names {
        assert!(
            record(&theirs, &format!("ae/{name}")) == record(&ours, &format!("ae/{name}")),
            "{name}"
        );
    }
    let again = read(out.path());
    assert_eq!(
        (again.meta.policy.as_str(), again.meta.layer, again.k),
        ("mask", Some(2), 8)
    );
}
