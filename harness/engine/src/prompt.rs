//! What is done with prompts that a model cannot well continue.
//!
//! * A prompt without a token of text (empty, or special tokens alone) says nothing. `harness
//!   generate` refuses it; among the prompts of a bench it is passed over and counted.
//! * A prompt that leaves no room in the model's context for what is to be written is refused:
//!   cutting it would cut a question, or the turn of the assistant. Documents that serve as prompts
//!   of rollouts are cut at their end, to `prompt_tokens`, and counted.

use crate::{error::CellError, plugin::ModelInfo, text::TextCodec};

/// Whether a prompt has a token of text.
pub fn has_text(codec: &TextCodec, info: &ModelInfo, ids: &[u32]) -> bool {
    let is_mask = |id: u32| info.mask_token_id == Some(i64::from(id));
    ids.iter().any(|id| !codec.is_special(*id) && !is_mask(*id))
}

/// Refuses a prompt that does not fit the model's context together with what is to be written.
///
/// # Errors
/// The numbers.
pub fn check_length(info: &ModelInfo, prompt: usize, new: usize) -> Result<(), CellError> {
    let context = info.max_positions;
    if prompt.saturating_add(new) <= context {
        return Ok(());
    }
    Err(CellError::BadInput(format!(
        "a prompt of {prompt} tokens and {new} new ones do not fit the model's context of {context}; shorten the prompt, or ask for fewer tokens \
         with --max-new-tokens"
    )))
}
