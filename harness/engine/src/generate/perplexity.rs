//! Perplexity of texts under a language model: exp of the mean cost of their tokens but the first.

use harness_kernels::readback;
use tch::Tensor;

use super::{GenerateError, generated::padding_id};
use crate::{
    plugin::{CacheMode, Model, ModelInfo, Objective},
    steps,
};

/// Real and padding tokens of a batch at most.
const BATCH_TOKENS: usize = 8192;

/// Perplexity of each text, or `None` where it has fewer than two tokens.
///
/// Rows are the tokens of the texts as they are, without a begin or end token of their own: a
/// text's first token is read and not scored. Of a longer text the first `max_tokens` tokens count
/// (and never more than the model's context).
///
/// - returns `[n]`, exp(mean over tokens 1.. of -ln p(token | tokens before it)), accumulated in
///   f64
///
/// # Errors
/// A model that does not predict the next token; failures of the model.
pub fn token_perplexity(
    model: &mut Model,
    rows: &[Vec<i64>],
    max_tokens: usize,
) -> Result<Vec<Option<f64>>, GenerateError> {
    let _guard = tch::no_grad_guard();
    let info = model.info()?.clone();
    if info.objective != Objective::Autoregressive {
        return Err(GenerateError::Request(format!(
            "perplexity needs a model of the next token; {} is a masked-diffusion model (hint: use gpt2)",
            info.family
        )));
    }
    let longest = max_tokens.min(info.max_positions);
    let rows: Vec<&[i64]> = rows
        .iter()
        .map(|row| &row[..row.len().min(longest)])
        .collect();
    let mut order: Vec<usize> = (0..rows.len()).filter(|i| rows[*i].len() > 1).collect();
    order.sort_by_key(|i| rows[*i].len());
    let mut out = vec![None; rows.len()];
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        // Lengths ascend: the batch is as wide as its last row.
        let fits = |n: &usize| rows[rest[n - 1]].len() * n <= BATCH_TOKENS;
        let n = (1..=rest.len()).take_while(fits).last().unwrap_or(1);
        let (batch, others) = rest.split_at(n);
        let texts: Vec<&[i64]> = batch.iter().map(|i| rows[*i]).collect();
        for (i, cost) in batch.iter().zip(mean_costs(model, &info, &texts)?) {
            out[*i] = Some(cost.exp());
        }
        rest = others;
    }
    Ok(out)
}

/// Mean cost in nats of the tokens of each row but its first. Rows are right-padded to one width.
fn mean_costs(
    model: &mut Model,
    info: &ModelInfo,
    rows: &[&[i64]],
) -> Result<Vec<f64>, GenerateError> {
    let (b, t) = (
        rows.len(),
        rows.iter().map(|row| row.len()).max().unwrap_or(0),
    );
    let mut tokens = vec![padding_id(info).clamp(0, info.vocab_size as i64 - 1); b * t];
    let mut valid = vec![0u8; b * t];
    let (mut before, mut targets) = (Vec::new(), Vec::new());
    for (r, row) in rows.iter().enumerate() {
        tokens[r * t..r * t + row.len()].copy_from_slice(row);
        valid[r * t..r * t + row.len()].fill(1);
        before.extend((0..row.len() - 1).map(|i| (r * t + i) as i64));
        targets.extend_from_slice(&row[1..]);
    }
    let shape = [b as i64, t as i64];
    let _step = steps::step();
    let mut pass = model.begin(
        &Tensor::f_from_slice(&valid)?.f_view(shape)?,
        CacheMode::OFF,
    )?;
    let mut resid = pass.embed(&Tensor::f_from_slice(&tokens)?.f_view(shape)?, 0)?; // [b, t, d_model]
    pass.blocks(0, info.n_layers, &mut resid)?;
    let index = Tensor::f_from_slice(&before)?.f_to_device(resid.device())?;
    let scored = resid
        .f_view([-1, info.d_model as i64])?
        .f_index_select(0, &index)?; // [n, d_model]
    let costs = pass.unembed_ce(&scored, &Tensor::f_from_slice(&targets)?)?; // [n]
    let costs = readback::f64s(&costs)?;
    let mut costs = costs.as_slice();
    let mut means = Vec::with_capacity(b);
    for row in rows {
        let (own, rest) = costs.split_at(row.len() - 1);
        means.push(own.iter().sum::<f64>() / own.len() as f64);
        costs = rest;
    }
    Ok(means)
}
