//! `harness golden`: every fixture of a parity folder against what this project computes.
//!
//! A folder is described by its `index.json` (families, tolerances) and, per family, by
//! `golden/manifest.json`. Nothing here knows a family, a size or a case by name: what the files
//! list is run, through the same plugins and the same engine code as everything else, and a
//! recorded tensor that no check has read is reported.

mod compare;
mod error;
mod ev;
mod family;
mod fixture;
mod forward;
mod generate;
mod index;
mod job;
mod loss;
mod report;
mod run;
mod sae;
mod sampling;
mod sequences;
mod settings;
#[cfg(test)]
mod tests;
mod tokenizer;
mod trace;
mod units;
mod watch;

pub use job::run;
