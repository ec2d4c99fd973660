//! Loss and gradient of a batch.

use std::cell::Cell;

use harness_kernels::{
    Active, Backward, ByLatent, Encoder, SparseGradients, decode_sparse, encode_topk, latent_acts,
    sparse_gradients,
};
use tch::{Kind, Tensor};

use super::{ProductDtype, TrainConfig, parameters::Parameters};
use crate::error::Result;

/// Share of a batch's mean square up to which its variance is the rounding of f32: the square of 64
/// unit roundoffs, as products of some thousand terms leave them.
const ROUNDING: f64 = 1.0 / (1u64 << 36) as f64;

/// What a batch says.
#[derive(Debug)]
pub(super) struct Batch {
    /// `mean_n |x - x_hat|^2 + alpha · aux`.
    pub loss: f64,
    /// Eq. 15 on this batch; `None` where its rows vary by rounding alone.
    pub ev: Option<f64>,
    pub active: Active,
    /// How often each latent fired: `[d_sae] i64`.
    pub fired: Tensor,
    /// `x - b_dec`: `[n, d_model]`.
    input: Tensor,
    /// `x_hat - x`: `[n, d_model]`.
    error: Tensor,
    by_latent: ByLatent,
}

/// Encodes and decodes `x: [n, d_model]`. The encoder's product is in the settings' number format,
/// all else in f32.
pub(super) fn forward(x: &Tensor, p: &Parameters, config: &TrainConfig) -> Result<Batch> {
    let n = x.size()[0] as f64;
    let input = x.f_sub(&p.b_dec)?;
    let w_enc = p.w_enc.f_to_kind(config.product_dtype.kind())?.f_tr()?; // [d_model, d_sae]
    let encoder = Encoder {
        w_enc: &w_enc,
        b_enc: &p.b_enc,
        b_dec: None,
        scale: None,
    };
    let active = encode_topk(&input, &encoder, config.k)?;
    let error = decode_sparse(&active.acts, &active.latents, &p.w_dec, Some(&p.b_dec))?.f_sub(x)?;
    let by_latent = ByLatent::new(&active.latents, config.d_sae)?;
    let spread = |t: &Tensor| -> Result<f64> {
        Ok(t.f_var_dim(0i64, true, false)?
            .f_sum(Kind::Double)?
            .f_double_value(&[])?)
    };
    let variance = spread(x)?;
    Ok(Batch {
        loss: sum_of_squares(&error)? / n,
        ev: match variance > ROUNDING * sum_of_squares(x)? / n {
            true => Some(1.0 - spread(&error)? / variance),
            false => None,
        },
        active,
        fired: by_latent.counts()?,
        input,
        error,
        by_latent,
    })
}

/// Gradients, and the norm of all of them together.
#[derive(Debug)]
pub(super) struct Gradients {
    /// In the order of [`Parameters::each`]; that of `w_dec` without its part along each row.
    pub each: [Tensor; 4],
    pub norm: f64,
}

thread_local! {
    /// Memory of a gradient that has been used: a grid's trainers take turns, and need it once.
    static SCRATCH: Cell<Option<SparseGradients>> = const { Cell::new(None) };
}

impl Gradients {
    /// Leaves the memory to the next step.
    pub(super) fn recycle(self) {
        let [w_enc, b_enc, w_dec, _] = self.each;
        SCRATCH.set(Some(SparseGradients {
            w_enc,
            b_enc,
            w_dec,
            squares: 0.0,
        }));
    }
}

/// Gradients of a batch; adds the auxiliary loss of `dead: [m]` latents to it. A dead latent is
/// active in no row.
pub(super) fn gradients(
    batch: &mut Batch,
    p: &Parameters,
    config: &TrainConfig,
    dead: &Tensor,
) -> Result<Gradients> {
    let n = batch.error.size()[0] as f64;
    let out = batch.error.f_mul_scalar(2.0 / n)?; // d loss / d x_hat
    let SparseGradients {
        mut w_enc,
        mut b_enc,
        mut w_dec,
        mut squares,
    } = sparse_gradients(
        &Backward {
            input: &batch.input.f_to_kind(config.product_dtype.kind())?,
            out: &out.f_to_kind(config.product_dtype.kind())?,
            acts: &batch.active.acts,
            latents: &batch.active.latents,
            by_latent: &batch.by_latent,
            w_dec: &p.w_dec,
        },
        SCRATCH.take(),
    )?;
    if dead.numel() > 0
        && let Some(aux) = auxiliary(batch, p, config, dead)?
    {
        batch.loss += aux.loss;
        for (gradient, part) in [
            (&mut w_dec, &aux.w_dec),
            (&mut w_enc, &aux.w_enc),
            (&mut b_enc, &aux.b_enc),
        ] {
            // Nothing else is in these rows, so their squares add up.
            let _ = gradient.f_index_add_(0, dead, part)?;
            squares += sum_of_squares(part)?;
        }
    }
    // b_dec is added to the output and taken from the input of every encoder row.
    let b_dec = out
        .f_sum_dim_intlist(0i64, false, Kind::Float)?
        .f_sub(&b_enc.f_unsqueeze(0)?.f_matmul(&p.w_enc)?.f_squeeze_dim(0)?)?;
    squares += sum_of_squares(&b_dec)?;
    Ok(Gradients {
        each: [w_enc, b_enc, w_dec, b_dec],
        norm: squares.sqrt(),
    })
}

fn sum_of_squares(t: &Tensor) -> Result<f64> {
    Ok(t.f_square()?.f_sum(Kind::Double)?.f_double_value(&[])?)
}

struct Auxiliary {
    loss: f64,
    /// Gradients of the dead latents' rows, that of `w_dec` without its part along each row.
    w_enc: Tensor,
    b_enc: Tensor,
    w_dec: Tensor,
}

/// AuxK: dead latents reconstruct what the live ones leave over. `None` where nothing is left over.
fn auxiliary(
    batch: &Batch,
    p: &Parameters,
    config: &TrainConfig,
    dead: &Tensor,
) -> Result<Option<Auxiliary>> {
    let n = batch.error.size()[0] as f64;
    let product = |a: &Tensor, b: &Tensor| product(a, b, config.product_dtype);
    let left = batch.error.f_neg()?; // [n, d_model]
    let mean = left.f_mean_dim(0i64, false, Kind::Float)?;
    let scale = sum_of_squares(&left.f_sub(&mean)?)? / n;
    if scale <= 0.0 || !scale.is_finite() {
        return Ok(None);
    }
    let w_enc = p.w_enc.f_tr()?;
    let encoder = Encoder {
        w_enc: &w_enc,
        b_enc: &p.b_enc,
        b_dec: None,
        scale: None,
    };
    let mut acts = latent_acts(&batch.input, &encoder, dead)?; // [n, m]
    if dead.size()[0] > config.k_aux() {
        let (values, at) = acts.f_topk(config.k_aux(), -1, true, false)?;
        acts = acts.f_zeros_like()?.f_scatter_(1, &at, &values)?;
    }
    let rows = p.w_dec.f_index_select(0, dead)?; // [m, d_model]
    let error = product(&acts, &rows)?.f_sub(&left)?;
    let loss = sum_of_squares(&error)? / n / scale;
    let out = error.f_mul_scalar(2.0 * config.auxk_alpha / (n * scale))?; // [n, d_model]
    let d_acts = product(&out, &rows.f_tr()?)?.f_mul(&acts.f_gt(0)?)?; // [n, m]
    let w_dec = product(&acts.f_tr()?, &out)?;
    Ok(Some(Auxiliary {
        loss: config.auxk_alpha * loss,
        w_enc: product(&d_acts.f_tr()?, &batch.input)?,
        b_enc: d_acts.f_sum_dim_intlist(0i64, false, Kind::Float)?,
        w_dec: across(&w_dec, &rows)?,
    }))
}

/// `a · b` in a number format, as f32.
fn product(a: &Tensor, b: &Tensor, dtype: ProductDtype) -> Result<Tensor> {
    let kind = dtype.kind();
    Ok(a.f_to_kind(kind)?
        .f_matmul(&b.f_to_kind(kind)?)?
        .f_to_kind(Kind::Float)?)
}

/// A gradient without its part along each unit row, which would only change a norm that is set to 1
/// afterwards.
fn across(gradient: &Tensor, rows: &Tensor) -> Result<Tensor> {
    let along = gradient
        .f_mul(rows)?
        .f_sum_dim_intlist(1i64, true, Kind::Float)?;
    Ok(gradient.f_sub(&rows.f_mul(&along)?)?)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn noise(shape: &[i64], seed: f64) -> Tensor {
        let n: i64 = shape.iter().product();
        ((Tensor::arange(n, (Kind::Double, Device::Cpu)) * 1.3 + seed).sin() * 17.1)
            .sin()
            .to_kind(Kind::Float)
            .view(shape)
    }

    /// The loss written densely, for libtorch to differentiate.
    fn dense_loss(x: &Tensor, p: &Parameters, config: &TrainConfig, dead: &Tensor) -> Tensor {
        let relu = ((x - &p.b_dec).matmul(&p.w_enc.tr()) + &p.b_enc).relu();
        let keep = |z: &Tensor, k: i64| {
            let (_, at) = z.topk(k, -1, true, true);
            z * z.zeros_like().scatter_value(1, &at, 1)
        };
        let error = x - (keep(&relu, config.k).matmul(&p.w_dec) + &p.b_dec);
        let n = x.size()[0] as f64;
        let mut loss = error.square().sum(Kind::Float) / n;
        if dead.numel() > 0 {
            let left = error.detach();
            let scale = (&left - left.mean_dim(0i64, false, Kind::Float))
                .square()
                .sum(Kind::Float)
                / n;
            let z = relu.index_select(1, dead);
            let z = keep(&z, config.k_aux().min(dead.size()[0]));
            let aux = (z.matmul(&p.w_dec.index_select(0, dead)) - left)
                .square()
                .sum(Kind::Float)
                / n;
            loss += aux / scale * config.auxk_alpha;
        }
        loss
    }

    fn check_against_autograd(d_sae: i64, k: i64, dead: &[i64], k_aux: i64) {
        let json =
            serde_json::json!({"d_model": 10, "d_sae": d_sae, "k": k, "steps": 5, "k_aux": k_aux});
        let config = TrainConfig::from_json(&json).unwrap();
        let x = noise(&[33, 10], 0.5) * 2.0;
        let mut p = Parameters {
            w_enc: noise(&[d_sae, 10], 1.0),
            b_enc: noise(&[d_sae], 2.0) * 0.1,
            w_dec: noise(&[d_sae, 10], 3.0),
            b_dec: noise(&[10], 4.0) * 0.3,
        };
        super::super::init::normalise(&mut p.w_dec).unwrap();
        let dead = Tensor::from_slice(dead);
        let mut batch = forward(&x, &p, &config).unwrap();
        let Gradients { each: found, norm } = gradients(&mut batch, &p, &config, &dead).unwrap();
        if dead.numel() == 0 {
            // These latents are declared dead though they fire, so their two parts do not add up as
            // squares.
            let squares: f64 = found.iter().map(|g| sum_of_squares(g).unwrap()).sum();
            assert!(
                (norm - squares.sqrt()).abs() < 1e-5 * norm,
                "{norm} {squares}"
            );
        }

        for t in p.each_mut() {
            *t = t.set_requires_grad(true);
        }
        let loss = dense_loss(&x, &p, &config, &dead);
        loss.backward();
        let expected_loss = loss.double_value(&[]);
        assert!(
            (batch.loss - expected_loss).abs() < 1e-4 * expected_loss,
            "{} {expected_loss}",
            batch.loss
        );
        for ((name, parameter), found) in Parameters::NAMES.iter().zip(p.each()).zip(&found) {
            let mut expected = parameter.grad();
            if *name == "w_dec" {
                let rows = parameter.detach();
                let along = (&expected * &rows).sum_dim_intlist(1i64, true, Kind::Float);
                expected -= along * rows;
            }
            let size = expected.abs().max().double_value(&[]);
            let off = (found - expected).abs().max().double_value(&[]);
            assert!(
                size > 1e-3 && off <= 2e-5 * size.max(1.0),
                "{name}: {off} of {size}"
            );
        }
    }

    #[test]
    fn gradients_are_those_of_the_dense_loss() {
        check_against_autograd(24, 4, &[], 5);
        check_against_autograd(400, 3, &[], 5); // the gathering product
    }

    #[test]
    fn gradients_with_dead_latents_are_those_of_the_dense_loss() {
        check_against_autograd(24, 4, &[1, 5, 6], 5); // all of them
        check_against_autograd(24, 4, &[0, 2, 3, 7, 9, 11, 20], 3); // the largest three
    }

    #[test]
    fn explained_variance_is_equation_15() {
        let config = TrainConfig::from_json(
            &serde_json::json!({"d_model": 3, "d_sae": 6, "k": 2, "steps": 1}),
        )
        .unwrap();
        let x = noise(&[40, 3], 0.1);
        let p = Parameters {
            w_enc: noise(&[6, 3], 0.2),
            b_enc: noise(&[6], 0.3),
            w_dec: noise(&[6, 3], 0.4),
            b_dec: noise(&[3], 0.5),
        };
        let batch = forward(&x, &p, &config).unwrap();
        let values: Vec<f32> = Vec::try_from(batch.error.flatten(0, -1)).unwrap();
        let inputs: Vec<f32> = Vec::try_from(x.flatten(0, -1)).unwrap();
        let spread = |v: &[f32]| -> f64 {
            (0..3)
                .map(|d| {
                    let column: Vec<f64> =
                        v.iter().skip(d).step_by(3).map(|&v| f64::from(v)).collect();
                    let mean = column.iter().sum::<f64>() / 40.0;
                    column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 39.0
                })
                .sum()
        };
        assert!((batch.ev.unwrap() - (1.0 - spread(&values) / spread(&inputs))).abs() < 1e-5);
    }
}
