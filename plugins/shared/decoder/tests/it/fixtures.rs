//! Parity with the references' outputs: every case of every family, from single files and from
//! shards.

use crate::common::{FIXTURES, excess, golden, load, run, tensors};
use decoder::{Decoder, Family, LoadOptions};
use tch::{Kind, Tensor};

/// The fixtures' tolerances for float32.
const RESID: (f64, f64) = (2e-4, 1e-4);
const LOGITS: (f64, f64) = (5e-4, 1e-4);

fn check_forward(name: &str, model: &dyn Decoder, folder: &std::path::Path) -> usize {
    let golden = tensors(&folder.join("golden/forward.safetensors"));
    let mut cases: Vec<&str> = golden
        .keys()
        .filter_map(|key| key.strip_suffix(".attention_mask"))
        .collect();
    cases.sort_unstable();
    let mut compared = 0;
    for case in &cases {
        let get = |tensor: &str| golden.get(&format!("{case}.{tensor}"));
        let valid = get("attention_mask").expect("a mask");
        let (resids, logits) = run(model, get("input_ids").expect("tokens"), Some(valid));
        let mut check = |tensor: &str, ours: &Tensor, (atol, rtol): (f64, f64)| {
            let Some(theirs) = get(tensor) else { return };
            let over = excess(ours, theirs, valid, atol, rtol);
            assert!(
                over <= 0.0,
                "{name} {case}.{tensor} is {over} beyond the tolerance"
            );
            compared += 1;
        };
        check("embed", &resids[0], RESID);
        for (layer, resid) in resids.iter().skip(1).enumerate() {
            check(&format!("resid_post.{layer}"), resid, RESID);
        }
        check(
            "final_norm",
            &model.final_norm(&resids[resids.len() - 1]).expect("norm"),
            RESID,
        );
        check("logits", &logits, LOGITS);
    }
    compared
}

#[test]
fn forward_agrees_with_the_reference_in_every_family_and_case() {
    let Some(golden) = golden() else { return };
    for (name, family) in FIXTURES {
        let folder = golden.join(name);
        let model = load(&folder.join("checkpoint"));
        assert_eq!(model.config().family, family);
        let compared = check_forward(name, &*model, &folder);
        let expected = if family == Family::Gpt2 { 5 * 4 } else { 5 * 8 };
        assert_eq!(compared, expected, "{name}");
    }
}

#[test]
fn shards_hold_the_same_model() {
    let Some(golden) = golden() else { return };
    for (name, _) in FIXTURES
        .iter()
        .filter(|(_, family)| *family != Family::Gpt2)
    {
        let folder = golden.join(name);
        let model = load(&folder.join("checkpoint-sharded"));
        assert_eq!(check_forward(name, &*model, &folder), 40, "{name}");
    }
}

#[test]
fn positions_are_the_references() {
    let Some(golden) = golden() else { return };
    for (name, family) in FIXTURES
        .iter()
        .filter(|(_, family)| *family != Family::Gpt2)
    {
        let model = load(&golden.join(name).join("checkpoint"));
        let values = tensors(&golden.join(name).join("golden/forward.safetensors"));
        for case in ["len24", "leftpad", "rightpad"] {
            let mask = &values[&format!("{case}.attention_mask")];
            let theirs = &values[&format!("{case}.position_ids")];
            let size = mask.size();
            let context = model
                .begin((size[0], size[1]), Some(mask), decoder::Cache::Off)
                .expect("begin");
            let ours = context.positions().expand(&size[..], false);
            assert!(ours.equal(theirs), "{family:?} {case}");
        }
    }
}

#[test]
fn a_bfloat16_model_is_as_close_to_float32_as_the_reference_in_bfloat16() {
    let Some(golden) = golden() else { return };
    for (name, _) in FIXTURES
        .iter()
        .filter(|(_, family)| *family != Family::Gpt2)
    {
        let options = LoadOptions {
            kind: Kind::BFloat16,
            ..LoadOptions::default()
        };
        let model =
            decoder::load(&golden.join(name).join("checkpoint"), None, &options).expect("loads");
        assert_eq!(model.kind(), Kind::BFloat16);
        let values = tensors(&golden.join(name).join("golden/forward.safetensors"));
        let (_, ours) = run(&*model, &values["bf16.input_ids"], None);
        let error = |a: &Tensor, b: &Tensor| {
            (a.to_kind(Kind::Double) - b.to_kind(Kind::Double))
                .abs()
                .mean(Kind::Double)
                .double_value(&[])
        };
        let (theirs, float32) = (&values["bf16.logits"], &values["len24.logits"]);
        let scale = error(theirs, float32);
        assert!(
            error(&ours, theirs) <= 2.0 * scale,
            "{name}: {} against {scale}",
            error(&ours, theirs)
        );
    }
}

#[test]
fn gpt2_costs_are_the_references() {
    let Some(golden) = golden() else {
        return;
    };
    let model = load(&golden.join("gpt2/checkpoint"));
    let values = tensors(&golden.join("gpt2/golden/forward.safetensors"));
    for case in ["len9", "len24", "len64", "rightpad"] {
        let (ids, mask) = (
            &values[&format!("{case}.input_ids")],
            &values[&format!("{case}.attention_mask")],
        );
        let (resids, _) = run(&*model, ids, Some(mask));
        let (b, t) = (ids.size()[0], ids.size()[1]);
        let rows = resids[resids.len() - 1]
            .narrow(1, 0, t - 1)
            .reshape([b * (t - 1), -1]);
        let targets = ids.narrow(1, 1, t - 1).reshape([b * (t - 1)]);
        let costs = tch::no_grad(|| model.unembed_ce(&rows, &targets))
            .unwrap()
            .view([b, t - 1]);
        let counted = mask.narrow(1, 0, t - 1) * mask.narrow(1, 1, t - 1);
        let theirs = values[&format!("{case}.ce")].narrow(1, 1, t - 1);
        let over = ((costs - &theirs) * counted).abs().max().double_value(&[]);
        // The fixtures' tolerance for losses.
        assert!(
            over <= 1e-4 + 1e-5 * theirs.max().double_value(&[]),
            "{case}: {over}"
        );
    }
}
