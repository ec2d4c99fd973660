//! Stage `windows`: the windows of many SAEs' latents in one pass over a text (PROTOCOL §5).
//!
//! ```text
//! files -> Text (rows of ids, masks, labels) -> batches -> blocks up to the deepest SAE, layer by layer
//!                                                            └-> each SAE of a layer: encode -> its Activity
//! ```
//! The rows are read before the pass, because random windows are drawn among all places of the text. What is kept beside them is what
//! the trackers remember.

mod logits;
mod output;
mod pass;
mod stage;
#[cfg(test)]
mod tests;
mod text;
