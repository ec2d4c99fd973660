//! Two plain samplers, enough to look at what a model has learned. The harness has the real ones.

use anyhow::Result;
use decoder::Decoder;
use harness_data::Draws;
use tch::{Kind, Tensor, no_grad};

use crate::objective::{hidden, scoring_rows};

/// How tokens are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Divisor of the logits.
    pub temperature: f64,
    /// Smallest set of tokens with at least this probability is kept.
    pub top_p: f64,
    /// Tokens added to a prompt.
    pub new_tokens: usize,
}

/// A row being written, with its own stream of draws: neighbours in a batch change nothing.
struct Row {
    ids: Vec<i64>,
    draws: Draws,
}

/// Continues one prompt by next-token sampling.
///
/// # Errors
/// What the model refuses.
pub fn autoregressive(
    model: &dyn Decoder,
    prompt: &[i64],
    sampling: Sampling,
    draws: Draws,
) -> Result<Vec<i64>> {
    let mut row = Row {
        ids: prompt.to_vec(),
        draws,
    };
    let eos = &model.config().special.eos;
    for _ in 0..sampling.new_tokens {
        let last = row.ids.len() as i64 - 1;
        let logits = logits(model, &row.ids, &[last])?;
        let (token, _) = draw(&logits, sampling, &mut row.draws);
        row.ids.push(token);
        if eos.contains(&token) {
            break;
        }
    }
    Ok(row.ids)
}

/// Fills `new_tokens` masks after one prompt, one a step, the surest (lowest entropy) position
/// first.
///
/// # Errors
/// What the model refuses.
pub fn by_entropy(
    model: &dyn Decoder,
    prompt: &[i64],
    sampling: Sampling,
    draws: Draws,
) -> Result<Vec<i64>> {
    let mask = model.config().special.mask.unwrap_or_default();
    let mut row = Row {
        ids: prompt.to_vec(),
        draws,
    };
    row.ids.resize(prompt.len() + sampling.new_tokens, mask);
    for _ in 0..sampling.new_tokens {
        let open: Vec<i64> = (0..row.ids.len() as i64)
            .filter(|&i| row.ids[i as usize] == mask)
            .collect();
        if open.is_empty() {
            break;
        }
        let all = logits(model, &row.ids, &open)?; // [m][v]
        let v = all.len() / open.len();
        let mut best: Option<(f64, i64, i64)> = None;
        for (i, &position) in open.iter().enumerate() {
            let (token, certainty) = draw(&all[i * v..(i + 1) * v], sampling, &mut row.draws);
            if best.is_none_or(|(most, ..)| certainty > most) {
                best = Some((certainty, position, token));
            }
        }
        if let Some((_, position, token)) = best {
            row.ids[position as usize] = token;
        }
    }
    Ok(row.ids)
}

/// Logits that score the given positions of one row (for the autoregressive case: the position
/// itself, which scores the next token), flattened. -> [m * v]
fn logits(model: &dyn Decoder, ids: &[i64], positions: &[i64]) -> Result<Vec<f32>> {
    let _no_grad = tch::no_grad_guard();
    let config = model.config();
    let t = ids.len() as i64;
    let resid = hidden(model, &Tensor::from_slice(ids).view([1, t]))?;
    let flat = Tensor::from_slice(positions);
    let masked = config.special.mask.is_some();
    let rows = if masked {
        scoring_rows(&flat, t, config.family.logit_offset())
    } else {
        flat
    };
    let logits = no_grad(|| model.unembed(&resid.index_select(0, &rows)))?.to_kind(Kind::Float);
    Ok(Vec::<f32>::try_from(logits.reshape([-1]))?)
}

/// Draws a token from tempered, cut logits; also the negative entropy of that distribution.
fn draw(logits: &[f32], sampling: Sampling, draws: &mut Draws) -> (i64, f64) {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits
        .iter()
        .map(|l| (f64::from(l - top) / sampling.temperature).exp())
        .collect();
    let total: f64 = weights.iter().sum();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let mut kept = 0;
    let mut mass = 0.0;
    while kept < order.len() && mass < sampling.top_p * total {
        mass += weights[order[kept]];
        kept += 1;
    }
    order.truncate(kept.max(1));
    let mass: f64 = order.iter().map(|&i| weights[i]).sum();
    let negative_entropy = order
        .iter()
        .map(|&i| weights[i] / mass)
        .filter(|p| *p > 0.0)
        .map(|p| p * p.ln())
        .sum();
    let picked = draws.weighted(order.iter().map(|&i| weights[i]));
    (order[picked] as i64, negative_entropy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_distribution() {
        let mut draws = Draws::new("test", 0, 0);
        let sampling = Sampling {
            temperature: 1.0,
            top_p: 0.95,
            new_tokens: 1,
        };
        // Probabilities 0.6, 0.3, 0.1 and almost nothing, which the cut removes.
        let logits = [0.6_f32.ln(), 0.3_f32.ln(), 0.1_f32.ln(), -20.0];
        let mut counts = [0; 4];
        for _ in 0..4000 {
            counts[draw(&logits, sampling, &mut draws).0 as usize] += 1;
        }
        assert!(
            (2250..2550).contains(&counts[0]) && (320..480).contains(&counts[2]),
            "{counts:?}"
        );
        assert_eq!(counts[3], 0);
        let (_, sure) = draw(&[9.0, 0.0, 0.0], sampling, &mut draws);
        let (_, unsure) = draw(&[1.0, 1.0, 1.0], sampling, &mut draws);
        assert!(sure > unsure);
    }
}
