//! What the kernels are held to: plain loops over slices that say what the fast functions compute.
//! Row-major, accumulation in f64.

mod sets;

pub use sets::{jaccard_row, topk_row};

/// `ReLU(scale · ((x - b_dec) W_enc + b_enc))` of one row; `w_enc: [d_model, d_sae]`, empty `b_dec`
/// or `scale` for none.
pub fn pre_acts_row(
    x: &[f32],
    w_enc: &[f32],
    b_enc: &[f32],
    b_dec: &[f32],
    scale: &[f32],
) -> Vec<f32> {
    let d_sae = b_enc.len();
    (0..d_sae)
        .map(|f| {
            let sum: f64 = x
                .iter()
                .enumerate()
                .map(|(i, &x)| {
                    f64::from(x - b_dec.get(i).copied().unwrap_or(0.0))
                        * f64::from(w_enc[i * d_sae + f])
                })
                .sum();
            let p = (sum + f64::from(b_enc[f])) * f64::from(scale.get(f).copied().unwrap_or(1.0));
            if p.is_nan() {
                f32::NAN
            } else {
                p.max(0.0) as f32
            }
        })
        .collect()
}

/// Reconstruction of one row from its active latents; latent -1 is unused. `w_dec: [d_sae,
/// d_model]`.
pub fn decode_row(acts: &[f32], latents: &[i64], w_dec: &[f32], b_dec: &[f32]) -> Vec<f64> {
    let d = b_dec.len();
    let mut out: Vec<f64> = b_dec.iter().map(|&b| f64::from(b)).collect();
    for (&act, &latent) in acts.iter().zip(latents) {
        if let Ok(latent) = usize::try_from(latent) {
            for (o, &w) in out.iter_mut().zip(&w_dec[latent * d..(latent + 1) * d]) {
                *o += f64::from(act) * f64::from(w);
            }
        }
    }
    out
}

/// Cross-entropy in nats of one row of logits.
pub fn cross_entropy_row(logits: &[f32], target: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|&l| (f64::from(l) - f64::from(max)).exp())
        .sum();
    sum.ln() + f64::from(max) - f64::from(logits[target])
}

/// `(|r|^2 of each row, sum of r over the rows, the same over the rows to keep)` of `r = x -
/// x_hat`, both `[n, d]`.
pub fn residual_moments(
    x: &[f32],
    x_hat: &[f32],
    d: usize,
    keep: &[bool],
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut r2, mut all, mut kept) = (vec![0.0; keep.len()], vec![0.0; d], vec![0.0; d]);
    for row in 0..keep.len() {
        for i in 0..d {
            let r = f64::from(x[row * d + i]) - f64::from(x_hat[row * d + i]);
            r2[row] += r * r;
            all[i] += r;
            if keep[row] {
                kept[i] += r;
            }
        }
    }
    (r2, all, kept)
}

/// `KL(clean || spliced)` in nats of two rows of logits; tokens without clean probability add
/// nothing.
pub fn kl_row(clean: &[f32], spliced: &[f32]) -> f64 {
    (0..clean.len())
        .map(|i| (cross_entropy_row(clean, i), cross_entropy_row(spliced, i)))
        .map(|(c, s)| match (-c).exp() {
            0.0 => 0.0,
            p => p * (s - c),
        })
        .sum()
}

/// `x / sqrt(mean(x^2) + eps) · weight` of one row.
pub fn rms_norm_row(x: &[f32], weight: &[f32], eps: f64) -> Vec<f64> {
    let mean = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (mean + eps).sqrt();
    (x.iter().zip(weight))
        .map(|(&v, &weight)| f64::from(v) * scale * f64::from(weight))
        .collect()
}

/// `silu(gate) · up`.
pub fn swiglu(gate: f32, up: f32) -> f64 {
    f64::from(gate) / (1.0 + (-f64::from(gate)).exp()) * f64::from(up)
}
