//! The stages of steering benches: texts without and with a direction added to the residual, how
//! likely they are, what a judge says of them, and what that amounts to.

mod judge;
mod perplexity;
mod score;
mod texts;

pub(crate) use judge::judge;
pub(crate) use perplexity::perplexity;
pub(crate) use score::score;
pub(crate) use texts::{baseline, steer};
