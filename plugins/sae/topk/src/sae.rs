//! A loaded SAE on its device: encode, decode, reconstruct.

use std::cell::OnceCell;

use harness_kernels::{Active, Encoder, check_latents, decode_sparse, encode_topk, latent_acts};
use tch::{Device, Kind, Tensor};

use crate::{
    error::{Result, SaeError},
    weights::{InputNorm, SaeMeta, TopKWeights},
};

/// Keeps a division by a standard deviation of 0 finite; the value of the layouts that normalise.
const EPS: f64 = 1e-5;

/// A Top-K SAE ready to run.
#[derive(Debug)]
pub struct TopKSae {
    /// `[d_model, d_sae]`.
    w_enc: Matrix,
    b_enc: Tensor,
    /// Rows as they are added to the residual, in bf16 where that loses nothing: half the memory to
    /// read.
    rows: Tensor,
    b_dec: Tensor,
    /// Norms of the stored decoder rows, where the selection is scaled by them.
    scale: Option<Tensor>,
    k: i64,
    apply_b_dec_to_input: bool,
    input_norm: InputNorm,
    meta: SaeMeta,
}

/// A matrix in the number formats it has been asked for.
#[derive(Debug)]
struct Matrix {
    /// In bf16 where that loses nothing, else f32.
    stored: Tensor,
    other: OnceCell<Tensor>,
}

impl Matrix {
    fn new(matrix: &Tensor) -> Result<Self> {
        Ok(Self {
            stored: compact(matrix)?,
            other: OnceCell::new(),
        })
    }

    fn kind(&self, kind: Kind) -> Result<&Tensor> {
        if self.stored.kind() == kind {
            return Ok(&self.stored);
        }
        if let Some(other) = self.other.get() {
            return Ok(other);
        }
        let other = self.stored.f_to_kind(kind)?;
        Ok(self.other.get_or_init(|| other))
    }
}

/// `t` in bf16 where no value changes by that, else as it is.
fn compact(t: &Tensor) -> Result<Tensor> {
    let half = t.f_to_kind(Kind::BFloat16)?;
    let back = half.f_to_kind(t.kind())?;
    Ok(if back.f_equal(t)? {
        half
    } else {
        t.shallow_clone()
    })
}

impl TopKSae {
    /// Moves weights to a device.
    ///
    /// # Errors
    /// libtorch, for example when memory runs out.
    pub fn new(weights: &TopKWeights, device: Device) -> Result<Self> {
        let on = |t: &Tensor| t.f_to_device(device);
        let mut rows = on(&weights.w_dec)?.f_contiguous()?; // [d_sae, d_model]
        let mut scale = None;
        if weights.rescale_by_decoder_norm {
            let norms = rows.f_norm_scalaropt_dim(2, 1i64, false)?; // [d_sae]
            // A row of norm 0 is never selected; its direction is 0, not 0/0.
            let divisor = norms.f_masked_fill(&norms.f_eq(0)?, 1)?;
            rows = rows.f_div(&divisor.f_unsqueeze(1)?)?;
            scale = Some(norms);
        }
        Ok(Self {
            w_enc: Matrix::new(&on(&weights.w_enc)?)?,
            b_enc: on(&weights.b_enc)?,
            rows: compact(&rows)?,
            b_dec: on(&weights.b_dec)?,
            scale,
            k: weights.k as i64,
            apply_b_dec_to_input: weights.apply_b_dec_to_input,
            input_norm: weights.input_norm,
            meta: weights.meta.clone(),
        })
    }

    /// Where it comes from.
    #[must_use]
    pub fn meta(&self) -> &SaeMeta {
        &self.meta
    }

    /// Width of the residual stream.
    #[must_use]
    pub fn d_model(&self) -> u64 {
        self.w_enc.stored.size()[0] as u64
    }

    /// Number of latents.
    #[must_use]
    pub fn d_sae(&self) -> u64 {
        self.w_enc.stored.size()[1] as u64
    }

    /// Active budget.
    #[must_use]
    pub fn k(&self) -> u64 {
        self.k as u64
    }

    /// The encoder for input of `kind`: its product is bf16 (f32 sums) for bf16 input, else f32.
    fn encoder(&self, kind: Kind) -> Result<Encoder<'_>> {
        let kind = match kind {
            Kind::BFloat16 => Kind::BFloat16,
            _ => Kind::Float,
        };
        Ok(Encoder {
            w_enc: self.w_enc.kind(kind)?,
            b_enc: &self.b_enc,
            b_dec: self.apply_b_dec_to_input.then_some(&self.b_dec),
            scale: self.scale.as_ref(),
        })
    }

    fn check_width(&self, x: &Tensor) -> Result<()> {
        match x.size()[..] {
            [_, d] if d as u64 == self.d_model() => Ok(()),
            ref found => Err(SaeError::Argument {
                what: format!(
                    "input of shape {found:?}, but the SAE reads [n, {}]: it is for another model or layer",
                    self.d_model()
                ),
            }),
        }
    }

    /// Active latents of `x: [n, d_model]` (Eq. 1), `acts` and `latents` `[n, k]`. For bf16 input
    /// the product is bf16, as in the authors' loss script; the selection is exact on what it
    /// gives.
    ///
    /// # Errors
    /// Another width than `d_model`, or libtorch.
    pub fn encode(&self, x: &Tensor) -> Result<Active> {
        self.check_width(x)?;
        let (input, spread) = self.normalised(x)?;
        let mut active = encode_topk(&input, &self.encoder(input.kind())?, self.k)?;
        if let Some((_, std)) = spread {
            active.acts = active.acts.f_mul(&std)?;
        }
        Ok(active)
    }

    /// `ReLU(p)` of chosen latents, before any selection: `[n, m] f32`.
    ///
    /// # Errors
    /// Another width, latents out of range, or libtorch.
    pub fn latent_acts(&self, x: &Tensor, latents: &Tensor) -> Result<Tensor> {
        self.check_width(x)?;
        let (input, spread) = self.normalised(x)?;
        let acts = latent_acts(&input, &self.encoder(input.kind())?, latents)?;
        Ok(match spread {
            Some((_, std)) => acts.f_mul(&std)?,
            None => acts,
        })
    }

    /// Reconstruction from active latents (Eq. 2): `[n, d_model] f32`. On a device the host checks
    /// latents, and ones out of range are taken for the nearest in range.
    ///
    /// # Errors
    /// An SAE that normalises its input (it needs the input back, see [`Self::reconstruct`]), on a
    /// CPU latents out of range, or libtorch.
    pub fn decode(&self, acts: &Tensor, latents: &Tensor) -> Result<Tensor> {
        if self.input_norm != InputNorm::None {
            return Err(SaeError::Unsupported {
                what:
                    "this SAE normalises each row, so it cannot be decoded from activations alone"
                        .into(),
            });
        }
        Ok(decode_sparse(acts, latents, &self.rows, Some(&self.b_dec))?)
    }

    /// `decode(encode(x))`, with the normalisation of the input undone.
    ///
    /// # Errors
    /// See [`Self::encode`].
    pub fn reconstruct(&self, x: &Tensor) -> Result<Tensor> {
        let active = self.encode(x)?;
        match self.normalised(x)?.1 {
            None => self.decode(&active.acts, &active.latents),
            Some((mean, std)) => {
                let change = decode_sparse(&active.acts, &active.latents, &self.rows, None)?;
                Ok(change.f_add(&self.b_dec.f_mul(&std)?)?.f_add(&mean)?)
            }
        }
    }

    /// Decoder rows as added to the residual: `latents: [m] i64` gives `[m, d_model] f32`.
    ///
    /// # Errors
    /// Latents out of range, or libtorch.
    pub fn decoder_rows(&self, latents: &Tensor) -> Result<Tensor> {
        let n = latents.numel() as i64;
        let ones = Tensor::f_ones([n, 1], (Kind::Float, self.rows.device()))?;
        check_latents(latents, 0, self.d_sae() as i64)?;
        Ok(decode_sparse(
            &ones,
            &latents.f_view([n, 1])?,
            &self.rows,
            None,
        )?)
    }

    /// The encoder's input, and the mean and standard deviation to undo (`[n, 1]` each).
    ///
    /// Activations are multiplied by the deviation, so that an act times its decoder row is a
    /// change of the residual stream in every layout.
    fn normalised(&self, x: &Tensor) -> Result<(Tensor, Option<(Tensor, Tensor)>)> {
        match self.input_norm {
            InputNorm::None => Ok((x.shallow_clone(), None)),
            InputNorm::PerRow => {
                let x = x.f_to_kind(Kind::Float)?;
                let mean = x.f_mean_dim(-1i64, true, Kind::Float)?;
                let centred = x.f_sub(&mean)?;
                let std = centred.f_std_dim(-1i64, true, true)?;
                let divisor = std.f_add_scalar(EPS)?;
                Ok((centred.f_div(&divisor)?, Some((mean, std))))
            }
        }
    }
}
