//! Stage `perplexity`: texts of a baseline or steer cell under the scorer.

use harness_contract::{
    outputs::{GenerationOutput, Perplexity, PerplexityOutput},
    stages::PerplexityParams,
};
use harness_engine::{error::CellError, generate::token_perplexity};

use crate::{
    stage::{Inputs, Progress},
    worker::Worker,
};

/// Texts scored together on a GPU. On the CPU each is scored alone: the last bits of a matrix
/// product depend on the number of its rows, and equal texts must have equal perplexities (P is
/// exactly 0 where nothing was steered).
const GPU_TEXTS: usize = 256;

/// Perplexity of each text, in the texts' order.
pub(crate) fn perplexity(
    worker: &mut Worker,
    params: &PerplexityParams,
    inputs: &Inputs<'_>,
    progress: Progress<'_>,
) -> Result<PerplexityOutput, CellError> {
    let generated: GenerationOutput = inputs.get(0)?;
    let max_tokens = params.max_tokens as usize;
    let mut values = Vec::with_capacity(generated.texts.len());
    let together = if worker.options.device == tch::Device::Cpu {
        1
    } else {
        GPU_TEXTS
    };
    for chunk in generated.texts.chunks(together) {
        let loaded = worker.scorer(&params.model)?;
        let rows = chunk
            .iter()
            .map(|text| {
                let ids = loaded.codec.encode(&text.text, false)?;
                Ok(ids.into_iter().map(i64::from).collect())
            })
            .collect::<Result<Vec<Vec<i64>>, CellError>>()?;
        let perplexities = token_perplexity(&mut loaded.model, &rows, max_tokens)?;
        for ((text, row), perplexity) in chunk.iter().zip(&rows).zip(perplexities) {
            values.push(Perplexity {
                latent: text.latent,
                prefix: text.prefix,
                perplexity,
                n_tokens: row.len().min(max_tokens).saturating_sub(1) as u64,
            });
        }
        if values.len().is_multiple_of(GPU_TEXTS) || values.len() == generated.texts.len() {
            progress(values.len() as u64, generated.texts.len() as u64, "texts")?;
        }
    }
    Ok(PerplexityOutput { values })
}
