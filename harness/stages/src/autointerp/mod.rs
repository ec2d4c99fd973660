//! Stages `windows` and `features`: the windows of many SAEs' latents in one pass over a text
//! (PROTOCOL §5).
//!
//! ```text
//! files -> Text (rows of ids, masks, labels) -> batches -> blocks up to the deepest SAE, layer by layer
//!                                                            └-> each SAE of a layer: encode -> its Activity
//! ```
//! The rows are read before the pass, because random windows are drawn among all places of the
//! text. What is kept beside them is what the trackers remember.
//!
//! Stage `features` reads its corpus the same way, follows all latents, keeps
//! their largest peaks and ranks latents by the coherence of the rows these are in.

mod coherence;
mod features;
mod logits;
mod output;
mod pass;
pub(crate) mod predict;
mod reading;
#[cfg(test)]
mod tests;
mod text;
mod windows;

pub(crate) use features::Features;
pub(crate) use windows::Windows;
