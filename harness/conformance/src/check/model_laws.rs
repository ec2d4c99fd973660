//! The laws of the segmented forward, on a loaded checkpoint.

use harness_engine::plugin::{Attention, CacheMode, Model, ModelInfo};
use tch::{Device, Kind, Tensor};

use super::{
    data::{Guarded, integers, max_abs, same_bits},
    verdict::{Checked, Ended, ensure, ensure_refused, no_panic, unknown},
};

/// Rows and positions of the batches.
const B: i64 = 3;
const T: i64 = 12;
/// Relative tolerance where matrix products may be formed in another order.
const RTOL: f64 = 1e-4;

pub(super) fn run(test: &str, model: &mut Model, info: &ModelInfo) -> Checked {
    let t = T.min(info.max_positions as i64);
    let tokens = integers("model/tokens", info.vocab_size as u64, &[B, t]);
    let valid = Tensor::ones([B, t], (Kind::Uint8, Device::Cpu));
    match test {
        "split" => split(model, info, &tokens, &valid),
        "rows" => rows(model, info, &tokens, &valid),
        "multiples" => multiples(model, info, &tokens, &valid),
        "padding" => padding(model, info, &tokens),
        "attention" => attention(model, info, &tokens, &valid),
        "fused-loss" => fused_loss(model, info, &tokens, &valid),
        "memory" => memory(model, info, &tokens, &valid),
        "shapes" => shapes(model, info, &tokens, &valid),
        other => unknown(other),
    }
}

/// The residual after blocks split at `cuts`: `[b, t, d_model]`.
fn resid(
    model: &mut Model,
    tokens: &Tensor,
    valid: &Tensor,
    cuts: &[usize],
) -> Result<Tensor, Ended> {
    let mut pass = model.begin(valid, CacheMode::OFF)?;
    let mut resid = pass.embed(tokens, 0)?;
    for pair in cuts.windows(2) {
        pass.blocks(pair[0], pair[1], &mut resid)?;
    }
    Ok(resid)
}

fn near(what: &str, got: &Tensor, want: &Tensor) -> Checked {
    let difference = max_abs(got, want);
    let scale = want.abs().max().double_value(&[]).max(1e-6);
    ensure(difference <= RTOL * scale, || {
        format!("{what}: they differ by {difference}, at values up to {scale}")
    })
}

fn split(model: &mut Model, info: &ModelInfo, tokens: &Tensor, valid: &Tensor) -> Checked {
    let n = info.n_layers;
    let whole = resid(model, tokens, valid, &[0, n])?;
    for cuts in [vec![0, n / 2, n], (0..=n).collect(), vec![0, 0, n, n]] {
        let parts = resid(model, tokens, valid, &cuts)?;
        ensure(same_bits(&whole, &parts), || {
            let difference = max_abs(&whole, &parts);
            format!("split at {cuts:?} the residual differs by {difference} from one call's")
        })?;
    }
    Ok(())
}

fn rows(model: &mut Model, info: &ModelInfo, tokens: &Tensor, valid: &Tensor) -> Checked {
    let cuts = [0, info.n_layers];
    let together = resid(model, tokens, valid, &cuts)?;
    for row in 0..B {
        let one = |tensor: &Tensor| tensor.narrow(0, row, 1).contiguous();
        let alone = resid(model, &one(tokens), &one(valid), &cuts)?;
        near(
            &format!("row {row} alone and in a batch"),
            &one(&together),
            &alone,
        )?;
    }
    // Another row's tokens must not matter at all: same shapes, same order of sums, so the same
    // bits.
    let other = tokens.copy();
    let changed = (tokens.narrow(0, 1, 1) + 1).remainder(info.vocab_size as i64);
    other.narrow(0, 1, 1).copy_(&changed);
    let after = resid(model, &other, valid, &cuts)?;
    for row in [0, 2] {
        let one = |tensor: &Tensor| tensor.narrow(0, row, 1).contiguous();
        ensure(same_bits(&one(&together), &one(&after)), || {
            format!("row {row} changes with the tokens of row 1")
        })?;
    }
    Ok(())
}

fn multiples(model: &mut Model, info: &ModelInfo, tokens: &Tensor, valid: &Tensor) -> Checked {
    let n = info.n_layers;
    let single = resid(model, tokens, valid, &[0, n])?;
    let mut pass = model.begin(valid, CacheMode::OFF)?;
    let embedded = pass.embed(tokens, 0)?;
    let mut doubled = Tensor::cat(&[&embedded, &embedded], 0);
    pass.blocks(0, n, &mut doubled)?;
    for half in 0..2 {
        let got = doubled.narrow(0, half * B, B);
        near(&format!("copy {half} of the batch"), &got, &single)?;
    }
    Ok(())
}

fn padding(model: &mut Model, info: &ModelInfo, tokens: &Tensor) -> Checked {
    let cuts = [0, info.n_layers];
    let t = tokens.size()[1];
    let pad = t / 3;
    if pad == 0 {
        return Err(Ended::skipped("its context is too short"));
    }
    let content = tokens.narrow(0, 0, 1);
    // The same content, right-padded: positions of the content are those without padding.
    let short = content.narrow(1, 0, t - pad).contiguous();
    let all = Tensor::ones([1, t - pad], (Kind::Uint8, Device::Cpu));
    let alone = resid(model, &short, &all, &cuts)?;
    let valid = Tensor::ones([1, t], (Kind::Uint8, Device::Cpu));
    valid
        .narrow(1, t - pad, pad)
        .copy_(&Tensor::zeros([1, pad], (Kind::Uint8, Device::Cpu)));
    let padded = resid(model, &content, &valid, &cuts)?;
    near(
        "valid positions with and without padding",
        &padded.narrow(1, 0, t - pad),
        &alone,
    )?;
    // What stands in the padding must not matter at all, on either side.
    for left in [false, true] {
        let valid = Tensor::ones([1, t], (Kind::Uint8, Device::Cpu));
        let at = if left { 0 } else { t - pad };
        valid
            .narrow(1, at, pad)
            .copy_(&Tensor::zeros([1, pad], (Kind::Uint8, Device::Cpu)));
        let other = content.copy();
        let changed = (content.narrow(1, at, pad) + 1).remainder(info.vocab_size as i64);
        other.narrow(1, at, pad).copy_(&changed);
        let keep = |tensor: Tensor| {
            let from = if left { pad } else { 0 };
            tensor.narrow(1, from, t - pad).contiguous()
        };
        let before = keep(resid(model, &content, &valid, &cuts)?);
        let after = keep(resid(model, &other, &valid, &cuts)?);
        ensure(same_bits(&before, &after), || {
            let side = if left { "left" } else { "right" };
            format!("valid positions change with the tokens in the {side} padding")
        })?;
    }
    Ok(())
}

fn attention(model: &mut Model, info: &ModelInfo, tokens: &Tensor, valid: &Tensor) -> Checked {
    let cuts = [0, info.n_layers];
    let t = tokens.size()[1];
    let at = t - 2;
    if at < 1 {
        return Err(Ended::skipped("its context is too short"));
    }
    let other = tokens.copy();
    let changed = (tokens.narrow(1, at, 1) + 1).remainder(info.vocab_size as i64);
    other.narrow(1, at, 1).copy_(&changed);
    let earlier = |tensor: Tensor| tensor.narrow(1, 0, at).contiguous();
    let before = earlier(resid(model, tokens, valid, &cuts)?);
    let after = earlier(resid(model, &other, valid, &cuts)?);
    let same = same_bits(&before, &after);
    match info.attention {
        Attention::Causal => ensure(same, || {
            format!("positions before {at} change with its token")
        }),
        Attention::Bidirectional if same => Err(Ended::warning(format!(
            "it says it is bidirectional, yet positions before {at} do not see it"
        ))),
        Attention::Bidirectional => Ok(()),
    }
}

/// Rows at the head: `[n, d_model]`.
fn head_rows(resid: &Tensor, info: &ModelInfo) -> Tensor {
    resid.reshape([-1, info.d_model as i64])
}

fn fused_loss(model: &mut Model, info: &ModelInfo, tokens: &Tensor, valid: &Tensor) -> Checked {
    let mut pass = model.begin(valid, CacheMode::OFF)?;
    let mut resid = pass.embed(tokens, 0)?;
    pass.blocks(0, info.n_layers, &mut resid)?;
    let rows = head_rows(&resid, info);
    let targets = integers("model/targets", info.vocab_size as u64, &[rows.size()[0]]);
    let logits = pass.unembed(&rows)?;
    let finite = logits.isfinite().all().int64_value(&[]) == 1;
    ensure(finite, || "a logit is not finite".to_owned())?;
    let expected = logits
        .to_kind(Kind::Double)
        .log_softmax(-1, Kind::Double)
        .gather(1, &targets.unsqueeze(1), false)
        .squeeze_dim(1)
        .neg();
    let got = pass.unembed_ce(&rows, &targets)?;
    near(
        "unembed_ce and the cross-entropy of unembed",
        &got,
        &expected,
    )?;
    let normed = pass.final_norm(&rows)?;
    let finite = normed.isfinite().all().int64_value(&[]) == 1;
    ensure(finite, || "final_norm is not finite".to_owned())
}

fn memory(model: &mut Model, info: &ModelInfo, tokens: &Tensor, valid: &Tensor) -> Checked {
    let mut pass = model.begin(valid, CacheMode::OFF)?;
    let given = Guarded::new(tokens);
    let embedded = pass.embed(&given.view(), 0)?;
    given.unchanged("tokens")?;
    let out = Guarded::new(&embedded);
    let mut view = out.view();
    pass.blocks(0, info.n_layers, &mut view)?;
    out.margins_unchanged("resid")?;
    let rows = Guarded::new(&head_rows(&view, info));
    drop(pass.unembed(&rows.view())?);
    rows.unchanged("rows")?;
    drop(pass.final_norm(&rows.view())?);
    rows.unchanged("rows")
}

fn shapes(model: &mut Model, info: &ModelInfo, tokens: &Tensor, valid: &Tensor) -> Checked {
    let mut pass = model.begin(valid, CacheMode::OFF)?;
    for token in [info.vocab_size as i64, -1] {
        let wrong = tokens.copy();
        wrong.narrow(0, 0, 1).narrow(1, 0, 1).copy_(&Tensor::full(
            [1, 1],
            token,
            (Kind::Int64, Device::Cpu),
        ));
        ensure_refused(&format!("the token {token}"), pass.embed(&wrong, 0))?;
    }
    let good = pass.embed(tokens, 0)?;
    let mut flat = head_rows(&good, info);
    ensure_refused("a residual of rank 2", pass.blocks(0, 1, &mut flat))?;
    let mut integers = good.to_kind(Kind::Int64);
    ensure_refused("a residual of integers", pass.blocks(0, 1, &mut integers))?;
    let mut narrow = good.narrow(2, 0, info.d_model as i64 - 1).contiguous();
    ensure_refused("a narrower residual", pass.blocks(0, 1, &mut narrow))?;
    let mut odd = good.narrow(0, 0, B - 1).contiguous();
    ensure_refused(
        "a residual whose rows are no multiple of the batch",
        pass.blocks(0, 1, &mut odd),
    )?;
    no_panic("no blocks", pass.blocks(0, 0, &mut good.copy()))?;
    let long = info.max_positions as i64 + 1;
    if long <= 1 << 20 {
        let mask = Tensor::ones([1, long], (Kind::Uint8, Device::Cpu));
        ensure_refused(
            "a batch over max_positions",
            model.begin(&mask, CacheMode::OFF),
        )?;
    }
    Ok(())
}
