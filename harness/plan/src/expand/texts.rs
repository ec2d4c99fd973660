//! What texts take that are generated, read or scored, and the lengths that are assumed of them:
//! nothing is tokenised to predict.

use harness_core::{
    grid::sae_flops,
    work::{PassWork, masked_rows},
};

use super::Cost;
use harness_contract::sources::ModelFolder;

/// Tokens of a word, as tokenizers of large vocabularies cut English.
const TOKENS_A_WORD: f64 = 1.3;

/// Tokens of a text, about.
pub fn tokens_of(text: &str) -> f64 {
    text.split_whitespace().count() as f64 * TOKENS_A_WORD
}

/// Mean number of tokens of texts, about; at least 1.
pub fn mean_tokens(texts: &[String]) -> u64 {
    let sum: f64 = texts.iter().map(|text| tokens_of(text)).sum();
    ((sum / texts.len().max(1) as f64).round() as u64).max(1)
}

/// Texts of one length that a model writes.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub texts: u64,
    /// Tokens of a prompt.
    pub prompt: u64,
    /// Tokens after it.
    pub new: u64,
    /// Denoising steps; an autoregressive model takes a pass a token.
    pub steps: u64,
}

impl Written {
    /// Positions revealed at each step.
    fn revealed(&self, model: &ModelFolder) -> Vec<usize> {
        model.revealed(self.new as usize, self.steps as usize)
    }

    /// Passes of one text.
    fn passes(&self, model: &ModelFolder) -> PassWork {
        let n_blocks = u64::from(model.n_layers);
        match model.is_diffusion {
            true => PassWork::denoising(n_blocks, self.prompt, self.new, &self.revealed(model)),
            false => PassWork::autoregression(n_blocks, self.prompt, self.new),
        }
    }

    /// What writing them takes.
    pub fn cost(&self, model: &ModelFolder) -> Cost {
        Cost {
            generations: self.texts,
            ..of_passes(model, &(self.passes(model) * self.texts))
        }
    }

    /// Positions that go through the blocks in all passes of all texts.
    pub fn positions(&self, model: &ModelFolder) -> u64 {
        self.passes(model).tokens / u64::from(model.n_layers.max(1)) * self.texts
    }

    /// Of these the masked ones.
    pub fn masked(&self, model: &ModelFolder) -> u64 {
        match model.is_diffusion {
            true => masked_rows(self.new, &self.revealed(model)) * self.texts,
            false => 0,
        }
    }

    /// Of these the ones that are written, which SAEs follow.
    pub fn followed(&self) -> u64 {
        self.texts * self.steps * self.new
    }
}

/// What texts of `tokens` tokens take that a model of the next token scores.
pub fn scored(model: &ModelFolder, texts: u64, tokens: u64) -> Cost {
    let mut work = PassWork::blocks(texts, u64::from(model.n_layers), tokens, tokens);
    work.head_rows = texts * tokens.saturating_sub(1);
    of_passes(model, &work)
}

/// Floating-point operations of encoding `rows` residuals with an SAE.
pub fn encoded(rows: u64, d_model: u32, d_sae: u32) -> f64 {
    sae_flops(rows, u64::from(d_model), u64::from(d_sae), 0)
}

fn of_passes(model: &ModelFolder, work: &PassWork) -> Cost {
    Cost {
        cells: 1,
        block_passes: work.block_passes,
        head_rows: work.head_rows,
        // The size of a number plays no part.
        flops: model.shape(1).flops(work),
        ..Cost::default()
    }
}
