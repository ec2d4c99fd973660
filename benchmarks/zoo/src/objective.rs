//! Losses, for training and for evaluation.

use anyhow::Result;
use decoder::{Cache, Decoder};
use tch::{Kind, Tensor};

use crate::batches::MaskedBatch;

/// Residual stream after the last block. ids: [b, t] -> [b * t, d]
///
/// # Errors
/// What the model refuses.
pub fn hidden(model: &dyn Decoder, ids: &Tensor) -> Result<Tensor> {
    let size = ids.size();
    let mut context = model.begin((size[0], size[1]), None, Cache::Off)?;
    let resid = model.embed(ids, 0, &mut context)?;
    let resid = model.blocks(0, model.config().n_layers, &resid, &mut context)?; // [b, t, d]
    Ok(resid.view([size[0] * size[1], -1]))
}

/// The rows whose logits score the given flat positions: themselves, or with a logit offset the
/// position before (position 0 of a row is scored by its own). flat: `[m]`, rows of `t` tokens ->
/// `[m]`
pub fn scoring_rows(flat: &Tensor, t: i64, logit_offset: u32) -> Tensor {
    if logit_offset == 0 {
        return flat.shallow_clone();
    }
    flat - flat.remainder(t).ne(0).to_kind(Kind::Int64)
}

/// Cross-entropy of every token but the first of its row, in nats. ids: [b, t] -> [b * (t - 1)]
///
/// # Errors
/// What the model refuses.
pub fn next_token(model: &dyn Decoder, ids: &Tensor) -> Result<Tensor> {
    let size = ids.size();
    let (b, t) = (size[0], size[1]);
    let resid = hidden(model, ids)?
        .view([b, t, -1])
        .narrow(1, 0, t - 1)
        .reshape([b * (t - 1), -1]);
    let targets = ids.narrow(1, 1, t - 1).reshape([-1]);
    cross_entropy(model, &resid, &targets)
}

/// Cross-entropy of every masked token, in nats. `[m]`
///
/// # Errors
/// What the model refuses.
pub fn masked(model: &dyn Decoder, batch: &MaskedBatch) -> Result<Tensor> {
    let t = batch.noisy.size()[1];
    let rows = scoring_rows(&batch.masked, t, model.config().family.logit_offset());
    let resid = hidden(model, &batch.noisy)?.index_select(0, &rows); // [m, d]
    cross_entropy(model, &resid, &batch.targets)
}

/// Eq. 7 per token: the costs of masked tokens weighted by 1 / mask rate, over all positions.
pub fn eq7_per_token(costs: &Tensor, batch: &MaskedBatch) -> Tensor {
    (costs * &batch.weights).sum(Kind::Float) / batch.n_positions as f64
}

fn cross_entropy(model: &dyn Decoder, resid: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let logits = model.unembed(resid)?; // [m, v]
    Ok(logits.cross_entropy_loss::<Tensor>(targets, None, tch::Reduction::None, -100, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifted_rows_stay_in_their_row() {
        let flat = Tensor::from_slice(&[0_i64, 1, 4, 5, 7]);
        assert_eq!(
            Vec::<i64>::try_from(scoring_rows(&flat, 4, 1)).unwrap(),
            [0, 0, 4, 4, 6]
        );
        assert_eq!(
            Vec::<i64>::try_from(scoring_rows(&flat, 4, 0)).unwrap(),
            [0, 1, 4, 5, 7]
        );
    }
}
