//! Tokens whose logits a latent raises and lowers.

use harness_contract::outputs::TokenLogit;
use harness_engine::{
    error::CellError,
    plugin::{CacheMode, Model, Sae},
    text::TextCodec,
};
use harness_kernels::readback;
use tch::Tensor;

/// Latents whose logits are alive at once.
const CHUNK: usize = 64;

/// The `n` tokens that the decoder row of each latent raises most and lowers most, through the
/// final norm and the head, largest change first; of equal ones the smaller id. Ids that the
/// vocabulary is padded with are none.
///
/// # Errors
/// Latents out of range, failures of the plugins.
pub(super) fn extremes(
    model: &mut Model,
    sae: &Sae,
    codec: &TextCodec,
    latents: &[u32],
    n: usize,
) -> Result<Vec<[Vec<TokenLogit>; 2]>, CellError> {
    let mut out = Vec::with_capacity(latents.len());
    if n == 0 {
        out.resize_with(latents.len(), Default::default);
        return Ok(out);
    }
    let (info, options) = (model.info()?, model.options()?);
    let vocab_size = info.vocab_size;
    let known: Vec<u32> = (0..info.vocab_size as u32)
        .filter(|id| codec.id_to_token(*id).is_some())
        .collect();
    // The head needs no forward of its own; it is reached through one of a single position.
    let mut pass = model.begin(
        &Tensor::from_slice(&[1u8]).f_reshape([1, 1])?,
        CacheMode::OFF,
    )?;
    for chunk in latents.chunks(CHUNK) {
        let ids: Vec<i64> = chunk.iter().map(|latent| i64::from(*latent)).collect();
        let rows = sae
            .decoder_rows(&Tensor::f_from_slice(&ids)?)?
            .f_to_device(options.device)?
            .f_to_kind(options.kind)?; // [m, d]
        let logits = readback::f32s(&pass.unembed(&rows)?)?; // [m, v]
        for logits in logits.chunks_exact(vocab_size) {
            // A softmax does not see what all logits have in common.
            let sum: f64 = known.iter().map(|id| f64::from(logits[*id as usize])).sum();
            let mean = sum / known.len().max(1) as f64;
            let of = |id: u32| (f64::from(logits[id as usize]) - mean) as f32;
            let largest = |sign: f32| {
                let mut ids = known.clone();
                let by_size =
                    |a: &u32, b: &u32| (sign * of(*b)).total_cmp(&(sign * of(*a))).then(a.cmp(b));
                if n < ids.len() {
                    ids.select_nth_unstable_by(n, by_size);
                    ids.truncate(n);
                }
                ids.sort_by(by_size);
                ids.into_iter()
                    .map(|id| {
                        Ok(TokenLogit {
                            token: codec.piece(id)?,
                            logit: of(id),
                        })
                    })
                    .collect::<Result<Vec<_>, CellError>>()
            };
            out.push([largest(1.0)?, largest(-1.0)?]);
        }
    }
    Ok(out)
}
