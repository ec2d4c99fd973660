//! Weight files as the host checks them before a worker is started, by the headers that
//! `harness_weights` reads.

mod folder;

pub use folder::{check_checkpoint, check_sae};
