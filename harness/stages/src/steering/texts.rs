//! Stages `baseline` and `steer`: texts without and with a direction added to the residual.

use harness_contract::{
    outputs::{FeaturesOutput, GenerationOutput},
    stages::{BaselineParams, SteerParams},
};
use harness_core::rng::Stream;
use harness_engine::{error::CellError, text::TextCodec};
use serde_json::json;

use crate::{
    stage::{Inputs, Progress},
    texts::{Mover, Row, texts},
    worker::Worker,
};

/// Unsteered texts of every prefix.
pub(crate) fn baseline(
    worker: &mut Worker,
    params: &BaselineParams,
    _: &Inputs<'_>,
    progress: Progress<'_>,
) -> Result<GenerationOutput, CellError> {
    let codec = std::rc::Rc::clone(&worker.subject_model(&params.model)?.codec);
    let rows = (0_u32..)
        .zip(&params.prefixes)
        .map(|(prefix, text)| {
            Ok(Row {
                latent: None,
                prefix,
                prompt: encode(&codec, text)?,
            })
        })
        .collect::<Result<Vec<_>, CellError>>()?;
    texts(
        worker,
        &params.model,
        &params.generation,
        &codec,
        &rows,
        None,
        progress,
    )
}

/// Steered texts of every selected feature, feature by feature, each on its own prefixes.
pub(crate) fn steer(
    worker: &mut Worker,
    params: &SteerParams,
    inputs: &Inputs<'_>,
    progress: Progress<'_>,
) -> Result<GenerationOutput, CellError> {
    let features: FeaturesOutput = inputs.get(0)?;
    let loaded = worker.subject_model(&params.model)?;
    let (codec, d_model) = (std::rc::Rc::clone(&loaded.codec), loaded.info.d_model);
    let sae = worker.assets.sae(&params.sae, d_model)?;
    let config = match params.steering.k_scope {
        Some(k) => json!({ "k": k }),
        None => json!({}),
    };
    let policy = worker
        .registry
        .steering(&params.steering.token_scope.name, &config)?;
    let pool = Stream::new(params.generation.seed, "prefixes").item(u64::from(params.sae.layer));
    let mut rows = Vec::new();
    for feature in &features.features {
        let drawn = pool
            .item(u64::from(feature.latent))
            .sample_indices(params.prefixes.len(), params.n_prefix as usize);
        for index in drawn {
            let text = params.prefixes.get(index).ok_or_else(|| {
                CellError::Invalid(format!("prefix {index} of {}", params.prefixes.len()))
            })?;
            rows.push(Row {
                latent: Some(feature.latent),
                prefix: index as u32,
                prompt: encode(&codec, text)?,
            });
        }
    }
    let mover = Mover {
        layer: params.sae.layer as usize,
        sae: &sae,
        policy,
        amp_factor: params.steering.amp_factor,
    };
    let flops_before = sae.flops();
    let texts = texts(
        worker,
        &params.model,
        &params.generation,
        &codec,
        &rows,
        Some(mover),
        progress,
    )?;
    worker.counters.flops += sae.flops() - flops_before;
    Ok(texts)
}

fn encode(codec: &TextCodec, text: &str) -> Result<Vec<i64>, CellError> {
    Ok(codec
        .encode(text, true)?
        .into_iter()
        .map(i64::from)
        .collect())
}
