//! What reads files, lines and answers from outside, each as a target for a fuzzer: a function of
//! bytes that must neither panic nor take long nor hold much memory, and whose laws are asserted.

#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod documents;
mod judges;
mod pickled;
mod saes;
mod scratch;
mod settings;
mod store;
mod tables;
mod task;
mod weights;

/// A parser, and what it is begun with.
pub struct Target {
    /// Its name on the command line; its corpus lies in a folder of this name.
    pub name: &'static str,
    /// Bytes of an input at most.
    pub max_len: usize,
    /// Reads an input and asserts the laws.
    pub run: fn(&[u8]),
    /// Inputs made by our own code.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($module:ident :: $name:ident, $max_len:expr;)*) => {
        /// All targets.
        pub static TARGETS: [Target; [$(stringify!($name)),*].len()] = [$(Target {
            name: stringify!($name),
            max_len: $max_len,
            run: $module::$name,
            seeds: $module::seeds::$name,
        }),*];
    };
}

targets! {
    weights::safetensors, 4096;
    weights::pickle, 4096;
    weights::torch_archive, 4096;
    weights::tokenizer, 4096;
    weights::model_config, 4096;
    saes::sae, 4096;
    settings::bench, 4096;
    settings::plugin_manifest, 4096;
    store::cell, 4096;
    store::reply, 4096;
    store::batch, 4096;
    store::run_manifest, 8192;
    store::protocol, 4096;
    judges::answers, 1024;
    task::gsm8k, 512;
    documents::lines, 4096;
    documents::archives, 4096;
    documents::parquet, 8192;
    tables::csv, 2048;
    tables::explanations, 4096;
}

/// Inputs that are texts.
fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
