//! Laws of splicing, over every adapter that is built and the tiny checkpoints of the parity
//! fixtures.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use tch::Tensor;

use crate::plugin::{LoadOptions, Model, Registry};

const FAMILIES: [&str; 5] = ["Dream", "llada", "qwen2", "llama", "gpt2"];
const DIRS: [&str; 5] = ["dream", "llada", "qwen2", "llama", "gpt2"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn models() -> Vec<Model> {
    tch::set_num_threads(1);
    let golden = root().join("tests/parity");
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

/// Costs of a batch, and with the rows of `scope` after `layer` replaced by what `map` makes of
/// them.
fn costs(
    model: &mut Model,
    batch: &Batch,
    layer: usize,
    scope: Scope,
    map: &dyn Fn(&Tensor) -> Result<Tensor, EvalError>,
) -> GridCosts {
    let scored = [ScoredSet {
        positions: batch.next_token_targets(),
        logit_offset: model.info().unwrap().logit_offset,
    }];
    let candidates = [Candidate {
        layer,
        with: Replacement::Map(map),
        at: vec![scope],
    }];
    let options = GridOptions {
        stack: 1,
        divergence: true,
    };
    run_grid(model, batch, &candidates, &scored, options, &mut NoWatch).unwrap()
}

fn bits(costs: &[Vec<f64>]) -> Vec<u64> {
    costs[0].iter().map(|cost| cost.to_bits()).collect()
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
            for model in models.borrow_mut().iter_mut() {
                let layer = layer % model.info().unwrap().n_layers;
                let same = |x: &Tensor| Ok(x.shallow_clone());
                let found = costs(model, &batch, layer, scopes[scope], &same);
                let (plain, spliced) = (bits(&found.clean), bits(&found.spliced[0].ce));
                prop_assert!(
                    found.spliced[0]
                        .divergence
                        .iter()
                        .flatten()
                        .all(|kl| *kl == 0.0)
                );
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
        let double = |x: &Tensor| Ok(x * 2.0);
        let found = costs(&mut model, &batch, 0, Scope::Masked, &double);
        assert_ne!(found.clean, found.spliced[0].ce);
        assert!(
            found.spliced[0]
                .divergence
                .iter()
                .flatten()
                .any(|kl| *kl > 0.0)
        );
    }
}

/// However splices are stacked, and whatever else is in the grid, each gives what it gives alone.
#[test]
fn stacking_changes_nothing_but_rounding() {
    for mut model in models() {
        let info = model.info().unwrap().clone();
        let ids: Vec<i64> = (0..20).map(|i| (i * 37 + 11) % 460).collect();
        let batch = batch(2, 10, &ids, 3, 2);
        let double = |x: &Tensor| Ok(x * 2.0);
        let half = |x: &Tensor| Ok(x * 0.5);
        let zero = |x: &Tensor| Ok(x.zeros_like());
        let scopes = vec![Scope::All, Scope::Masked];
        let mut candidates = Vec::new();
        for layer in 0..info.n_layers {
            for with in [&double as &dyn Fn(&Tensor) -> _, &half, &zero] {
                candidates.push(Candidate {
                    layer,
                    with: Replacement::Map(with),
                    at: scopes.clone(),
                });
            }
        }
        let scored = [ScoredSet {
            positions: batch.next_token_targets(),
            logit_offset: info.logit_offset,
        }];
        let mut run = |candidates: &[Candidate<'_>], stack| {
            let options = GridOptions {
                stack,
                divergence: true,
            };
            run_grid(
                &mut model,
                &batch,
                candidates,
                &scored,
                options,
                &mut NoWatch,
            )
            .unwrap()
        };
        let n_splices = candidates.len() * scopes.len();
        let whole = run(&candidates, n_splices);
        let suffixes: usize = (0..info.n_layers)
            .map(|l| 6 * (info.n_layers - 1 - l))
            .sum();
        assert_eq!(whole.work.block_passes as usize, info.n_layers + suffixes);
        assert_eq!(
            whole.work.head_rows as usize,
            whole.at[0].len() * (n_splices + 1)
        );
        for stack in [1, 2, 5] {
            let other = run(&candidates, stack);
            for (s, (a, b)) in whole.spliced.iter().zip(&other.spliced).enumerate() {
                assert_eq!((a.candidate, a.at), (b.candidate, b.at));
                for (i, (a, b)) in a.ce[0].iter().zip(&b.ce[0]).enumerate() {
                    // f32 products of another number of rows, through at most a few small blocks.
                    assert!(
                        (a - b).abs() < 1e-4 * (1.0 + a.abs()),
                        "{} stack {stack}, splice {s}, token {i}: {a} {b}",
                        info.family
                    );
                }
            }
        }
        let alone = run(&candidates[2..3], 1);
        for (a, b) in alone.spliced[0].ce[0].iter().zip(&whole.spliced[4].ce[0]) {
            assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{a} {b}");
        }
    }
}
