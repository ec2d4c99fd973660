//! Laws of splicing, over every adapter that is built and the tiny checkpoints of the shared fixtures.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::plugin::{CacheMode, LoadOptions, Model, Registry};

const FAMILIES: [&str; 5] = ["Dream", "llada", "qwen2", "llama", "gpt2"];
const DIRS: [&str; 5] = ["dream", "llada", "qwen2", "llama", "gpt2"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn models() -> Vec<Model> {
    tch::set_num_threads(1);
    let golden = root().join("../shared/golden");
    if !golden.is_dir() {
        eprintln!("skipped: ../shared not present");
        return Vec::new();
    }
    let registry = Registry::load(&[root().join("plugins")]).unwrap();
    assert!(
        registry
            .components()
            .any(|component| component.kind == "model"),
        "no model plugin: run cargo xtask build first"
    );
    let load = |(model_type, dir): (&&str, &&str)| {
        let mut model = registry.model_for_type(model_type).unwrap();
        let options = LoadOptions {
            device: tch::Device::Cpu,
            kind: tch::Kind::Float,
            allow_nan: false,
        };
        model
            .load(&golden.join(dir).join("checkpoint"), options)
            .unwrap();
        model
    };
    FAMILIES.iter().zip(&DIRS).map(load).collect()
}

/// Costs of a batch, with the rows of `scope` after `layer` replaced by themselves when `splice_at` is given.
fn costs(model: &mut Model, batch: &Batch, splice_at: Option<(usize, Scope)>) -> Vec<f32> {
    let info = model.info().unwrap().clone();
    let mut pass = model
        .begin(&batch.mask_tensor().unwrap(), CacheMode::OFF)
        .unwrap();
    let mut resid = pass.embed(&batch.input_tensor().unwrap(), 0).unwrap();
    let mut from = 0;
    if let Some((layer, scope)) = splice_at {
        pass.blocks(0, layer + 1, &mut resid).unwrap();
        let (rows, index) = rows_where(&resid, &batch.positions(scope)).unwrap();
        resid = splice(&resid, &rows, &index).unwrap();
        from = layer + 1;
    }
    pass.blocks(from, info.n_layers, &mut resid).unwrap();
    let positions = batch.next_token_targets();
    let scored = Scored {
        positions: &positions,
        targets: &batch.target_ids,
        logit_offset: info.logit_offset,
    };
    position_costs(&mut pass, &resid, &scored).unwrap()
}

fn batch(b: usize, t: usize, ids: &[i64], padding: usize, masked_every: usize) -> Batch {
    let is_valid = (0..b * t)
        .map(|i| i / t != 0 || i % t >= padding.min(t - 2))
        .collect();
    let is_masked = (0..b * t).map(|i| i % masked_every == 0).collect();
    let ids: Vec<i64> = ids[..b * t].to_vec();
    Batch {
        b,
        t,
        input_ids: ids.clone(),
        target_ids: ids,
        is_valid,
        is_masked,
    }
    .checked()
    .unwrap()
}

#[test]
fn an_identity_splice_changes_no_cost_by_a_single_bit() {
    let models = std::cell::RefCell::new(models());
    let scopes = [Scope::All, Scope::Masked, Scope::Unmasked];
    let config = ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..Default::default()
    };
    let cases = (
        2usize..10,
        prop::collection::vec(0i64..460, 20),
        0usize..4,
        1usize..4,
        0usize..100,
        0usize..3,
    );
    let law =
        |(t, ids, padding, every, layer, scope): (usize, Vec<i64>, usize, usize, usize, usize)| {
            let batch = batch(2, t, &ids, padding, every);
            let bits = |costs: Vec<f32>| costs.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
            for model in models.borrow_mut().iter_mut() {
                let layer = layer % model.info().unwrap().n_layers;
                let plain = bits(costs(model, &batch, None));
                let spliced = bits(costs(model, &batch, Some((layer, scopes[scope]))));
                prop_assert_eq!(
                    plain,
                    spliced,
                    "{} layer {}",
                    &model.info().unwrap().family,
                    layer
                );
            }
            Ok(())
        };
    proptest::test_runner::TestRunner::new(config)
        .run(&cases, law)
        .unwrap();
}

/// A splice that changes something is not lost on the way.
#[test]
fn a_splice_of_other_rows_changes_the_costs() {
    for mut model in models() {
        let ids: Vec<i64> = (0..20).map(|i| (i * 37 + 11) % 460).collect();
        let batch = batch(2, 10, &ids, 0, 2);
        let plain = costs(&mut model, &batch, None);
        let info = model.info().unwrap().clone();
        let mut pass = model
            .begin(&batch.mask_tensor().unwrap(), CacheMode::OFF)
            .unwrap();
        let mut resid = pass.embed(&batch.input_tensor().unwrap(), 0).unwrap();
        pass.blocks(0, 1, &mut resid).unwrap();
        let (rows, index) = rows_where(&resid, &batch.positions(Scope::Masked)).unwrap();
        resid = splice(&resid, &(rows * 2.0), &index).unwrap();
        pass.blocks(1, info.n_layers, &mut resid).unwrap();
        let positions = batch.next_token_targets();
        let scored = Scored {
            positions: &positions,
            targets: &batch.target_ids,
            logit_offset: info.logit_offset,
        };
        assert_ne!(position_costs(&mut pass, &resid, &scored).unwrap(), plain);
    }
}
