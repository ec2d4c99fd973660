use harness_core::{
    grid::ModelShape,
    schedule::{dream_transfer_counts, llada_transfer_counts},
};
use serde::{Deserialize, Serialize};

/// What a plan needs of a model, as its adapter says. It decides forecasts and warnings; when cells
/// are run, what the adapter states of the loaded model counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFacts {
    /// Whether it is a masked-diffusion model; else it predicts the next token.
    pub is_diffusion: bool,
    /// 1 where the logits of a position score the next one, else 0.
    pub logit_offset: u32,
    /// Blocks.
    pub n_layers: u32,
    /// Width of the residual stream.
    pub d_model: u32,
    /// Rows of the output head.
    pub vocab_size: u32,
    /// Width of the feed-forward layer of a block.
    pub d_ff: u32,
    /// Matrices of the feed-forward layer: 3 with a gate, else 2.
    pub n_ff: u32,
    /// Width of the keys of all heads together.
    pub d_kv: u32,
    /// What the paths of its modules call the list of its blocks, where that is known.
    pub blocks: Option<String>,
    /// The smallest time of its schedule, where that falls evenly from 1 to it; `None` where every
    /// denoising step reveals equally many positions.
    pub schedule_eps: Option<f64>,
}

/// What the model adapters of the plugins say of a checkpoint folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "folder", rename_all = "snake_case")]
pub enum ModelAnswer {
    Model {
        facts: ModelFacts,
    },
    /// It cannot be used, in the plugin's words.
    Bad {
        message: String,
    },
}

impl ModelFacts {
    /// Whether the logits of a position score the next one although the model reads both sides, so
    /// that the authors' script, which never shifts, scores by others.
    #[must_use]
    pub fn is_shifted(&self) -> bool {
        self.is_diffusion && self.logit_offset > 0
    }

    /// Of `new` masked positions, those that each of `steps` denoising steps reveals. What an order
    /// makes of it differs little; one that ends early takes less.
    #[must_use]
    pub fn revealed(&self, new: usize, steps: usize) -> Vec<usize> {
        match self.schedule_eps {
            Some(eps) => dream_transfer_counts(new, steps, eps as f32),
            None => llada_transfer_counts(new, steps),
        }
    }

    /// Its sizes, with numbers of `dtype_bytes` bytes.
    #[must_use]
    pub fn shape(&self, dtype_bytes: u64) -> ModelShape {
        ModelShape {
            n_layers: u64::from(self.n_layers),
            d_model: u64::from(self.d_model),
            d_kv: u64::from(self.d_kv),
            d_ff: u64::from(self.d_ff),
            n_ff: u64::from(self.n_ff),
            vocab_size: u64::from(self.vocab_size),
            dtype_bytes,
        }
    }
}
