//! Which of the paper's models fit into a memory, by arithmetic.

use harness_contract::jobs::FitReport;
use harness_core::grid::{GridShape, ModelShape};

use crate::output;

/// Tokens of the row that a pass is counted for: the context length of the paper.
const TOKENS: u64 = 2048;
/// Bytes of a number in bf16.
const BF16_BYTES: u64 = 2;

/// A model of the paper as its config.json describes it.
struct PaperModel {
    name: &'static str,
    /// All parameters, norms and biases included.
    parameters: u64,
    shape: ModelShape,
}

fn models() -> [PaperModel; 4] {
    let of = |name, parameters, n_layers, d_model, d_kv, d_ff, vocab_size| PaperModel {
        name,
        parameters,
        shape: ModelShape {
            n_layers,
            d_model,
            d_kv,
            d_ff,
            n_ff: 3,
            vocab_size,
            dtype_bytes: BF16_BYTES,
        },
    };
    [
        of("Dream-7B", 7_615_616_512, 28, 3584, 512, 18_944, 152_064),
        of("LLaDA-8B", 8_015_581_184, 32, 4096, 4096, 12_288, 126_464),
        of("Qwen2.5-7B", 7_615_616_512, 28, 3584, 512, 18_944, 152_064),
        of("LLaMA-3-8B", 8_030_261_248, 32, 4096, 1024, 14_336, 128_256),
    ]
}

/// Each of the paper's models against what is free.
pub fn all(free: Option<u64>) -> Vec<FitReport> {
    models().iter().map(|model| fit(model, free)).collect()
}

fn fit(model: &PaperModel, free: Option<u64>) -> FitReport {
    let weight_bytes = model.parameters * BF16_BYTES;
    let needed_bytes = pass(model, weight_bytes).memory(1, 1);
    let activation_bytes = needed_bytes - weight_bytes;
    let bytes = output::bytes;
    let against = free.map_or_else(
        || "what is free is not known".to_owned(),
        |free| format!("{} are free", bytes(free)),
    );
    FitReport {
        model: model.name.to_owned(),
        parameters: model.parameters,
        dtype: "bf16".to_owned(),
        weight_bytes,
        activation_bytes,
        needed_bytes,
        fits: free.map(|free| needed_bytes <= free),
        arithmetic: format!(
            "{:.2}e9 parameters x {BF16_BYTES} bytes = {}, and {} for a pass over {TOKENS} tokens: {} needed, {against}",
            model.parameters as f64 / 1e9,
            bytes(weight_bytes),
            bytes(activation_bytes),
            bytes(needed_bytes),
        ),
    }
}

/// A clean pass over one row, with all its logits counted: what a dry run predicts for a grid
/// without SAEs.
fn pass(model: &PaperModel, weight_bytes: u64) -> GridShape {
    GridShape {
        model: model.shape,
        weight_bytes,
        sae_bytes: 0,
        d_sae: 0,
        sites: Vec::new(),
        counted_share: 1.0,
        n_logit_sets: 1,
        tokens: TOKENS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stated parameters are those of the stated sizes; norms and biases are a few thousandths
    /// of a per cent.
    #[test]
    fn parameters_are_those_of_the_sizes() {
        for model in models() {
            let matrices = model.shape.numbers();
            let others = model.parameters - matrices;
            assert!(others > 0 && others < matrices / 10_000, "{}", model.name);
        }
    }

    #[test]
    fn a_model_fits_where_all_of_it_is_free() {
        let dream = &all(None)[0];
        assert_eq!(dream.fits, None);
        assert_eq!(dream.weight_bytes, 15_231_233_024);
        assert!(dream.activation_bytes > 500 << 20 && dream.activation_bytes < 2 << 30);
        let fits = |free| all(Some(free))[0].fits;
        assert_eq!(fits(dream.needed_bytes), Some(true));
        assert_eq!(fits(dream.needed_bytes - 1), Some(false));
        let said = &all(Some(16 << 30))[0].arithmetic;
        assert!(
            said.starts_with("7.62e9 parameters x 2 bytes = 14.2 GiB, and"),
            "{said}"
        );
        assert!(said.ends_with("16.0 GiB are free"), "{said}");
    }
}
