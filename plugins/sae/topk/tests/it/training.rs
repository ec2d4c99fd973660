//! Training: it learns what was planted, resumes bit for bit, and writes what it learnt.

use crate::common::{f32s, wave};
use plugin_topk::{
    Format, NonFinite, SaeError, Stored, TopKSae, load,
    train::{TrainConfig, Trainer},
};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

fn config(more: Value) -> TrainConfig {
    tch::set_num_threads(1); // several tests share the cores
    let mut json = json!({
        "d_model": 16, "d_sae": 48, "k": 4, "steps": 1500, "lr": 3e-3, "warmup_steps": 20,
        "dead_after_tokens": 20000, "layer": 3, "policy": "mask", "model": "tiny",
    });
    for (k, v) in more.as_object().unwrap() {
        json[k] = v.clone();
    }
    TrainConfig::from_json(&json).unwrap()
}

/// Rows made of up to 3 of 12 orthogonal directions with positive weights, an offset and a scale of
/// 50.
fn planted(batch: u64) -> (Tensor, Tensor) {
    let (q, _) = Tensor::linalg_qr(&wave(&[16, 12], 5.0), "reduced");
    let directions = q.tr(); // [12, 16]
    let pick: Vec<i64> = (0..256 * 3)
        .map(|i| {
            let h = (i as u64 + 1 + batch * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((h >> 33) % 12) as i64
        })
        .collect();
    let weight = wave(&[256, 3], batch as f64).abs() + 0.5;
    let rows = directions
        .index_select(0, &Tensor::from_slice(&pick))
        .view([256, 3, 16]);
    let x = (rows * weight.unsqueeze(2)).sum_dim_intlist(1i64, false, Kind::Float) * 50.0 + 20.0;
    (x, directions)
}

fn scale() -> f64 {
    planted(0)
        .0
        .square()
        .sum_dim_intlist(1i64, false, Kind::Double)
        .mean(Kind::Double)
        .double_value(&[])
        .sqrt()
}

#[test]
fn a_planted_dictionary_is_found_and_saved() {
    let mut trainer =
        Trainer::new(config(json!({"activation_scale": scale()})), Device::Cpu).unwrap();
    let mut last = trainer.step(&planted(0).0).unwrap();
    let first = last;
    for batch in 1..1500 {
        last = trainer.step(&planted(batch).0).unwrap();
    }
    assert!(
        last.ev.unwrap() > 0.97 && last.loss < 0.25 * first.loss,
        "{first:?} {last:?}"
    );
    assert!(last.l0 <= 4.0 && last.l0 > 2.0, "{last:?}");

    let (x, directions) = planted(99_999);
    let weights = trainer.weights().unwrap();
    let cosines = directions
        .matmul(&weights.w_dec.tr())
        .abs()
        .amax(1i64, false);
    let found = cosines.ge(0.9).sum(Kind::Int64).int64_value(&[]);
    assert!(found >= 10, "{found} of 12 directions");
    let norms = weights.w_dec.norm_scalaropt_dim(2, 1i64, false);
    assert!((norms - 1.0).abs().max().double_value(&[]) < 1e-5);

    // The scale is folded back: the written SAE works on raw activations.
    for (format, stored) in [
        (Format::Saelens, Stored::F32),
        (Format::DictionaryLearning, Stored::F32),
        (Format::Saelens, Stored::Bf16),
    ] {
        let dir = tempfile::tempdir().unwrap();
        trainer
            .save(
                dir.path(),
                format,
                stored,
                &json!({"model": "tiny", "tokens": 384_000}),
            )
            .unwrap();
        let back = load(dir.path(), NonFinite::Refuse).unwrap();
        assert_eq!(
            (back.k, back.meta.layer, back.meta.policy.as_str()),
            (4, Some(3), "mask")
        );
        let recon = TopKSae::new(&back, Device::Cpu)
            .unwrap()
            .reconstruct(&x)
            .unwrap();
        let fvu = (&recon - &x).square().sum(Kind::Double)
            / (&x - x.mean_dim(0i64, false, Kind::Float))
                .square()
                .sum(Kind::Double);
        assert!(
            fvu.double_value(&[]) < 0.05,
            "{format:?} {stored:?} {fvu:?}"
        );
        let text = std::fs::read_to_string(dir.path().join(format.config_file().unwrap())).unwrap();
        assert!(
            text.contains("384000") && text.contains("steps_done"),
            "{text}"
        );
    }
}

/// The encoder's product in bf16 changes what is selected near ties, and little else.
#[test]
fn bf16_products_reach_the_same_explained_variance() {
    let last = |dtype: &str, steps: u64| {
        let settings = config(
            json!({"activation_scale": scale(), "steps": steps, "product_dtype": dtype, "dead_after_tokens": 2000}),
        );
        let mut trainer = Trainer::new(settings, Device::Cpu).unwrap();
        let reports: Vec<_> = (0..steps)
            .map(|batch| trainer.step(&planted(batch).0).unwrap())
            .collect();
        let w_enc = trainer.weights().unwrap().w_enc;
        assert_eq!(w_enc.kind(), Kind::Float, "the master weights stay f32");
        let tail = &reports[reports.len() - 50..];
        let ev = tail.iter().map(|r| r.ev.unwrap()).sum::<f64>() / 50.0;
        (ev, reports.iter().any(|r| r.n_dead > 0), f32s(&w_enc))
    };
    let ((single, _, a), (half, died, b)) = (last("f32", 800), last("bf16", 800));
    assert!(died, "the auxiliary loss took part");
    assert!(
        single > 0.9 && (half / single - 1.0).abs() < 0.005,
        "f32 {single} bf16 {half}"
    );
    assert_ne!(a, b, "the number format took effect");
}

#[test]
fn a_resumed_run_ends_with_the_same_bits() {
    for dtype in ["f32", "bf16"] {
        resumed_run_ends_with_the_same_bits(dtype);
    }
}

fn resumed_run_ends_with_the_same_bits(dtype: &str) {
    let settings = || {
        config(
            json!({"steps": 60, "dead_after_tokens": 500, "threshold_start_step": 10, "activation_scale": 40.0,
                "product_dtype": dtype}),
        )
    };
    let mut whole = Trainer::new(settings(), Device::Cpu).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.safetensors");
    let mut reports = Vec::new();
    for batch in 0..60 {
        if batch == 25 {
            whole.save_state(&file).unwrap();
        }
        reports.push(whole.step(&planted(batch).0).unwrap());
    }
    assert!(
        reports.iter().any(|r| r.n_dead > 0),
        "the auxiliary loss took part"
    );
    let mut resumed = Trainer::new(settings(), Device::Cpu).unwrap();
    resumed.load_state(&file).unwrap();
    assert_eq!(resumed.steps_done(), 25);
    for batch in 25..60 {
        assert_eq!(
            resumed.step(&planted(batch).0).unwrap(),
            reports[batch as usize],
            "step {batch}"
        );
    }
    let (a, b) = (whole.weights().unwrap(), resumed.weights().unwrap());
    for (a, b) in [
        (&a.w_enc, &b.w_enc),
        (&a.w_dec, &b.w_dec),
        (&a.b_enc, &b.b_enc),
        (&a.b_dec, &b.b_dec),
    ] {
        assert_eq!(f32s(a), f32s(b));
    }
    assert_eq!(a.threshold.to_bits(), b.threshold.to_bits());
    assert!(a.threshold > 0.0);

    let mut other = Trainer::new(config(json!({"steps": 60, "k": 5})), Device::Cpu).unwrap();
    let e = other.load_state(&file).unwrap_err().to_string();
    assert!(
        e.contains("other settings") && e.contains('k') && e.contains("dead_after_tokens"),
        "{e}"
    );
    std::fs::write(&file, b"12345678").unwrap();
    assert!(resumed.load_state(&file).is_err());
}

#[test]
fn latents_die_by_tokens_and_the_auxiliary_loss_moves_them() {
    // With 256 rows a batch, `1` makes every latent dead that did not fire in the batch itself.
    let settings = |alpha: f64, dead: u64| {
        config(
            json!({"auxk_alpha": alpha, "dead_after_tokens": dead, "k": 1, "activation_scale": scale()}),
        )
    };
    let mut trainer = Trainer::new(settings(0.0, 1), Device::Cpu).unwrap();
    trainer.step(&planted(0).0).unwrap();
    let x = planted(1).0;
    let sae = TopKSae::new(&trainer.weights().unwrap(), Device::Cpu).unwrap();
    let mut fired = crate::common::i64s(&sae.encode(&x).unwrap().latents);
    fired.sort_unstable();
    fired.dedup();
    let silent = 48 - fired.iter().filter(|&&l| l >= 0).count() as u64;
    assert!(silent > 0 && silent < 48);
    assert_eq!(trainer.step(&x).unwrap().n_dead, silent);

    // 257 tokens are two batches: none is dead after the first.
    let mut patient = Trainer::new(settings(0.0, 257), Device::Cpu).unwrap();
    assert_eq!(patient.step(&planted(0).0).unwrap().n_dead, 0);
    assert!(patient.step(&planted(0).0).unwrap().n_dead > 0);

    let run = |alpha: f64| {
        let mut trainer = Trainer::new(settings(alpha, 1), Device::Cpu).unwrap();
        let reports: Vec<_> = (0..3).map(|_| trainer.step(&x).unwrap()).collect();
        (reports, trainer.weights().unwrap())
    };
    let ((with, a), (without, b)) = (run(1.0 / 32.0), run(0.0));
    assert!(
        with[0].loss > without[0].loss,
        "the auxiliary loss is part of the loss"
    );
    let moved = (a.w_dec - b.w_dec).abs().amax(1i64, false); // [48]
    for latent in 0..48 {
        let by = moved.double_value(&[latent]);
        if !fired.contains(&latent) {
            assert!(by > 1e-7, "dead latent {latent} stayed, {by}");
        }
    }
}

#[test]
fn a_batch_that_is_not_finite_changes_nothing() {
    let mut trainer = Trainer::new(config(json!({})), Device::Cpu).unwrap();
    trainer.step(&planted(0).0).unwrap();
    let before = f32s(&trainer.weights().unwrap().w_enc);
    let bad = planted(1).0 / 0.0;
    assert!(matches!(
        trainer.step(&bad),
        Err(SaeError::Diverged { step: 1, .. })
    ));
    assert_eq!(before, f32s(&trainer.weights().unwrap().w_enc));
    let e = trainer.step(&wave(&[4, 15], 0.0)).unwrap_err().to_string();
    assert!(e.contains("[4, 15]") && e.contains("16"), "{e}");
}

#[test]
fn the_schedule_warms_up_and_decays() {
    let c = config(json!({"steps": 1000, "warmup_steps": 100, "lr": 1.0}));
    let at = |s| c.lr_at(s);
    assert_eq!(
        (at(0), at(50), at(100), at(800), at(900)),
        (0.0, 0.5, 1.0, 1.0, 0.5)
    );
    assert!(at(999) > 0.0 && at(999) < 0.01);
    let paper =
        TrainConfig::from_json(&json!({"d_model": 3584, "d_sae": 16384, "k": 50, "steps": 73242}))
            .unwrap();
    assert_eq!((paper.decay_start(), paper.k_aux()), (58593, 1792));
}

#[test]
fn every_wrong_setting_is_named() {
    let e =
        TrainConfig::from_json(&json!({"d_model": 16, "d_sae": 8, "k": 9, "steps": 0, "lr": -1.0}))
            .unwrap_err()
            .to_string();
    for word in ["k = 9", "d_sae = 8", "steps", "lr = -1"] {
        assert!(e.contains(word), "{word}: {e}");
    }
    let e =
        TrainConfig::from_json(&json!({"d_model": 16, "d_sae": 8, "k": 1, "steps": 1, "kk": 1}))
            .unwrap_err()
            .to_string();
    assert!(e.contains("kk"), "{e}");
}
