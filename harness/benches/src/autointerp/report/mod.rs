//! Feature pages and the examples of Appendix E, from the cells of an auto-interpretation run.
//!
//! [`Run`] reads which cells there are and joins them: for each SAE its windows, their
//! explanations, the predictions made from them. [`pages()`] makes one HTML file for each SAE set,
//! [`examples()`] one Markdown file. Nothing is written and nothing is fetched here.
//!
//! A page is one file without a single address in it. Its content security policy lets run one
//! script and one style, both by their hash; what comes from models, texts and judges is JSON in a
//! data block and reaches the document as text only.

mod cells;
mod data;
mod error;
mod examples;
mod html;
mod join;
mod pages;
mod sae;
mod steering;
#[cfg(test)]
mod tests;

pub use error::ReportError;
pub use examples::{Examples, examples};
pub use join::{Counts, Run, SaeCells, Selection};
pub use pages::{MAX_PAGE_BYTES, Page, Pages, pages};
pub use steering::{Steered, SteeredLatent, SteeredPair, Steering};
