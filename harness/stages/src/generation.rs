//! From the parameters of a generation to what the engine is asked for.

use harness_contract::stages::GenerationParams;
use harness_engine::{
    generate::{DenoiseRequest, OrderDraws, Sampling, SamplingRule},
    plugin::ModelInfo,
};

/// How tokens are drawn.
pub(crate) fn sampling(generation: &GenerationParams, info: &ModelInfo) -> Sampling {
    Sampling {
        temperature: generation.temperature,
        top_p: Some(generation.top_p),
        top_k: None,
        rule: SamplingRule::of(info),
    }
}

/// A denoising run over a batch. `item_ids` key the draws of its rows.
pub(crate) fn denoising<'a>(
    generation: &GenerationParams,
    steps: u32,
    info: &ModelInfo,
    prompts: &'a [Vec<i64>],
    item_ids: &'a [u64],
) -> DenoiseRequest<'a> {
    DenoiseRequest {
        prompts,
        item_ids,
        max_new_tokens: generation.max_new_tokens as usize,
        steps: steps as usize,
        block_length: None,
        sampling: sampling(generation, info),
        cfg_scale: 0.0,
        seed: generation.seed,
        order_draws: &OrderDraws::Counter,
    }
}
