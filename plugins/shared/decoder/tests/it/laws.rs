//! The laws of the segmented forward, for every family on random models and random batches.

use crate::common::{distance, random_model, run, tokens};
use decoder::{Cache, Decoder, Family};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

/// Two float32 passes whose sums are taken in another order (other shapes, a mask argument instead
/// of none) agree to this: values are of order 1 and pass 4 blocks. Equal shapes have to agree bit
/// for bit.
const REORDERED: f64 = 5e-5;

fn families() -> impl Strategy<Value = Family> {
    prop::sample::select(Family::ALL.to_vec())
}

fn ones(b: i64, t: i64) -> Tensor {
    Tensor::ones([b, t], (Kind::Int64, Device::Cpu))
}

proptest! {
    // A fixed seed: the same cases on every machine.
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(2611),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_split_of_the_blocks_is_bit_identical(
        family in families(), b in 1_i64..4, t in 1_i64..20, seed in 0_i64..100, cut in 0_i64..5, again in 0_i64..5, pad in 0_i64..4,
    ) {
        let (model, _) = random_model(family, seed);
        let _guard = tch::no_grad_guard();
        let mask = ones(b, t);
        let _ = mask.get(0).narrow(0, 0, pad.min(t - 1)).fill_(0);
        let (low, high) = (cut.min(again), cut.max(again));
        let mut context = model.begin((b, t), Some(&mask), Cache::Off).unwrap();
        let input = model.embed(&tokens(b, t, seed), 0, &mut context).unwrap();
        let whole = model.blocks(0, 4, &input, &mut context).unwrap();
        let mut part = input.shallow_clone();
        for (first, last) in [(0, low), (low, high), (high, 4)] {
            part = model.blocks(first, last, &part, &mut context).unwrap();
        }
        prop_assert!(whole.equal(&part));
        prop_assert_eq!(whole.isfinite().all().int64_value(&[]), 1);
        // A residual that was put aside and taken up again in a fresh context is as good.
        let mut fresh = model.begin((b, t), Some(&mask), Cache::Off).unwrap();
        let prefix = model.blocks(0, low, &input, &mut context).unwrap();
        prop_assert!(whole.equal(&model.blocks(low, 4, &prefix, &mut fresh).unwrap()));
    }

    #[test]
    fn rows_do_not_influence_each_other(family in families(), t in 1_i64..20, seed in 0_i64..100) {
        let (model, _) = random_model(family, seed);
        let both = tokens(3, t, seed);
        let other = both.copy();
        other.get(1).copy_(&(both.get(1) + 1).remainder(50));
        let (_, first) = run(&*model, &both, None);
        let (_, second) = run(&*model, &other, None);
        prop_assert!(first.get(0).equal(&second.get(0)));
        prop_assert!(first.get(2).equal(&second.get(2)));
        prop_assert!(!first.get(1).equal(&second.get(1)));
        let (_, alone) = run(&*model, &both.narrow(0, 1, 1), None);
        prop_assert!(distance(&alone, &first.narrow(0, 1, 1), &ones(1, t)) < REORDERED);
    }

    #[test]
    fn padding_does_not_change_valid_positions(
        family in families(), t in 2_i64..16, left in 0_i64..5, right in 0_i64..5, seed in 0_i64..100,
    ) {
        prop_assume!(left + right > 0);
        let (model, _) = random_model(family, seed);
        let text = tokens(1, t, seed);
        let (_, alone) = run(&*model, &text, None);
        let size = left + t + right;
        // Row 0 is the text between padding, row 1 another full text; what the padding holds must
        // not matter.
        let padded = |filler: i64| {
            let batch = tokens(2, size, seed + 1);
            let _ = batch.get(0).fill_(filler);
            batch.get(0).narrow(0, left, t).copy_(&text.get(0));
            batch
        };
        let mask = ones(2, size);
        let _ = mask.get(0).narrow(0, 0, left).fill_(0);
        let _ = mask.get(0).narrow(0, left + t, right).fill_(0);
        let (resids, logits) = run(&*model, &padded(3), Some(&mask));
        let (_, other) = run(&*model, &padded(41), Some(&mask));
        prop_assert!(distance(&logits.narrow(0, 0, 1).narrow(1, left, t), &alone, &ones(1, t)) < REORDERED);
        prop_assert!(logits.get(0).narrow(0, left, t).equal(&other.get(0).narrow(0, left, t)));
        for resid in &resids {
            prop_assert_eq!(resid.isfinite().all().int64_value(&[]), 1);
        }
    }

    #[test]
    fn stored_keys_give_what_the_whole_sequence_gives(
        family in prop::sample::select(vec![Family::Qwen2, Family::Llama, Family::Gpt2]),
        t in 2_i64..16, prompt in 1_i64..16, pad in 0_i64..4, copies in 1_i64..3, seed in 0_i64..100,
    ) {
        let (prompt, pad) = (prompt.min(t), pad.min(prompt.min(t) - 1));
        let (model, _) = random_model(family, seed);
        let _guard = tch::no_grad_guard();
        let ids = tokens(2, t, seed);
        let mask = ones(2, t);
        let _ = mask.get(1).narrow(0, 0, pad).fill_(0);
        let (_, whole) = run(&*model, &ids, Some(&mask));
        let mut context = model.begin((2, t), Some(&mask), Cache::On).unwrap();
        let ids = ids.repeat([copies, 1]);
        let mut at = 0;
        while at < t {
            let len = if at == 0 { prompt } else { (1 + at % 2).min(t - at) };
            let resid = model.embed(&ids.narrow(1, at, len), at, &mut context).unwrap();
            let resid = model.blocks(0, 2, &resid, &mut context).unwrap();
            let resid = model.blocks(2, 4, &resid, &mut context).unwrap();
            let logits = model.unembed(&resid).unwrap();
            for copy in 0..copies {
                let ours = logits.narrow(0, 2 * copy, 2);
                let valid = mask.narrow(1, at, len);
                prop_assert!(distance(&ours, &whole.narrow(1, at, len), &valid) < REORDERED);
            }
            at += len;
        }
    }

    #[test]
    fn a_stacked_residual_is_each_of_its_parts(family in families(), t in 1_i64..16, seed in 0_i64..100, copies in 2_i64..5) {
        let (model, _) = random_model(family, seed);
        let _guard = tch::no_grad_guard();
        let mask = ones(2, t);
        let _ = mask.get(0).narrow(0, 0, (t - 1).min(2)).fill_(0);
        let mut context = model.begin((2, t), Some(&mask), Cache::Off).unwrap();
        let input = model.embed(&tokens(2, t, seed), 0, &mut context).unwrap();
        let prefix = model.blocks(0, 1, &input, &mut context).unwrap();
        let parts: Vec<Tensor> = (0..copies).map(|copy| &prefix + copy as f64 * 0.1).collect();
        let stacked = model.blocks(1, 4, &Tensor::cat(&parts, 0), &mut context).unwrap();
        for (copy, part) in parts.iter().enumerate() {
            let alone = model.blocks(1, 4, part, &mut context).unwrap();
            let ours = stacked.narrow(0, 2 * copy as i64, 2);
            prop_assert!(distance(&ours, &alone, &mask) < REORDERED);
        }
    }
}

#[test]
fn causal_models_do_not_look_ahead_and_bidirectional_ones_do() {
    for family in Family::ALL {
        let (model, _) = random_model(family, 1);
        let ids = tokens(1, 8, 1);
        let (_, before) = run(&*model, &ids, None);
        let changed = ids.copy();
        let _ = changed.get(0).narrow(0, 7, 1).fill_(49);
        let (_, after) = run(&*model, &changed, None);
        let same = before.narrow(1, 0, 7).equal(&after.narrow(1, 0, 7));
        assert_eq!(
            same,
            model.config().attention == decoder::Attention::Causal,
            "{family:?}"
        );
    }
}

#[test]
fn a_batch_without_any_valid_token_stays_finite() {
    for family in Family::ALL {
        let (model, _) = random_model(family, 2);
        let mask = Tensor::zeros([2, 5], (Kind::Int64, Device::Cpu));
        let (_, logits) = run(&*model, &tokens(2, 5, 0), Some(&mask));
        assert_eq!(logits.isfinite().all().int64_value(&[]), 1, "{family:?}");
    }
}

#[test]
fn fused_costs_equal_those_of_the_logits() {
    for family in Family::ALL {
        let (model, _) = random_model(family, 3);
        let _guard = tch::no_grad_guard();
        let rows = Tensor::arange(40 * 32, (Kind::Float, Device::Cpu))
            .sin()
            .view([40, 32]);
        let targets = tokens(1, 40, 5).get(0);
        let logits = model.unembed(&rows).unwrap();
        let expected = -logits
            .log_softmax(-1, Kind::Double)
            .gather(1, &targets.unsqueeze(1), false)
            .squeeze_dim(1);
        let costs = model.unembed_ce(&rows, &targets).unwrap();
        // float32 against float64 logarithms of values below 10.
        assert!(
            (costs - expected).abs().max().double_value(&[]) < 1e-5,
            "{family:?}"
        );
        let out = Tensor::zeros([40, 50], (Kind::Float, Device::Cpu));
        model.unembed_into(&rows, &out).unwrap();
        assert!(out.equal(&logits));
        assert_eq!(
            model
                .unembed_ce(&rows.narrow(0, 0, 0), &targets.narrow(0, 0, 0))
                .unwrap()
                .size(),
            [0]
        );
    }
}

fn message<T>(result: decoder::Result<T>) -> String {
    match result {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn wrong_arguments_are_errors_that_name_the_operands() {
    let (model, _) = random_model(Family::Dream, 4);
    let model: &dyn Decoder = &*model;
    assert!(message(model.begin((2, 65), None, Cache::Off)).contains("64 positions"));
    assert!(message(model.begin((1, 4), None, Cache::On)).contains("bidirectional"));
    let mask = ones(1, 4);
    assert!(
        message(model.begin((2, 4), Some(&mask), Cache::Off)).contains("[1, 4], expected [2, 4]")
    );
    let mut context = model.begin((2, 4), None, Cache::Off).unwrap();
    assert!(
        message(model.embed(&(tokens(2, 4, 0) + 50), 0, &mut context)).contains("vocabulary of 50")
    );
    assert!(message(model.embed(&tokens(3, 4, 0), 0, &mut context)).contains("multiple of 2"));
    assert!(
        message(model.embed(&tokens(2, 2, 0), 2, &mut context)).contains("without stored keys")
    );
    let resid = model.embed(&tokens(2, 4, 0), 0, &mut context).unwrap();
    assert!(message(model.blocks(0, 5, &resid, &mut context)).contains("4 blocks, 0 to 3"));
    assert!(
        message(model.blocks(0, 4, &resid.narrow(1, 0, 3), &mut context)).contains("[2, 3, 32]")
    );
    assert!(message(model.final_norm(&resid.narrow(2, 0, 3))).contains("[.., 32]"));
    let (causal, _) = random_model(Family::Qwen2, 4);
    let mut context = causal.begin((1, 8), None, Cache::On).unwrap();
    let resid = causal.embed(&tokens(1, 2, 0), 4, &mut context).unwrap();
    assert!(message(causal.blocks(0, 4, &resid, &mut context)).contains("stored only 0"));
}

#[test]
fn every_parameter_of_every_family_gets_a_gradient_and_training_lowers_the_loss() {
    for family in Family::ALL {
        let (model, store) = random_model(family, 5);
        let ids = tokens(4, 12, 9);
        let loss = || {
            let logits = model.forward(&ids, None).unwrap(); // [b, t, v]
            logits
                .view([48, 50])
                .cross_entropy_for_logits(&ids.view([48]))
        };
        let first = loss();
        first.backward();
        for (name, variable) in store.variables() {
            let gradient = variable.grad();
            assert!(gradient.defined(), "{family:?} {name}");
            // Attention does not change when every key moves by the same vector, so the key bias
            // has no gradient to speak of; and nothing was read at positions beyond the batch.
            if !name.ends_with("k_proj.bias") {
                assert!(
                    gradient.abs().max().double_value(&[]) > 0.0,
                    "{family:?} {name}"
                );
            }
        }
        let mut optimizer =
            tch::nn::OptimizerConfig::build(tch::nn::AdamW::default(), &store, 1e-2).unwrap();
        let start = first.double_value(&[]);
        for _ in 0..20 {
            optimizer.backward_step(&loss());
        }
        let end = tch::no_grad(loss).double_value(&[]);
        assert!(end < 0.5 * start, "{family:?}: {start} to {end}");
    }
}
