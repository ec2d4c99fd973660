//! A grid of SAEs with random weights, in the released layout.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::json;
use tch::{Device, Kind, Tensor};

#[derive(Debug, Clone)]
pub struct SaeGrid {
    /// Width of the residual stream.
    pub d_model: i64,
    /// Latents.
    pub d_sae: i64,
    /// Insertion layers.
    pub layers: Vec<i64>,
    /// Active budgets.
    pub k: Vec<i64>,
    /// Number format of the files.
    pub kind: Kind,
}

/// Writes `resid_post_layer_L/trainer_i` below `folder`: unit decoder rows in random directions,
/// the encoder their transpose.
///
/// # Errors
/// When it cannot be written.
pub fn write(folder: &Path, grid: &SaeGrid) -> Result<()> {
    tch::manual_seed(3407);
    for layer in &grid.layers {
        for (i, k) in grid.k.iter().enumerate() {
            let dir = folder
                .join(format!("resid_post_layer_{layer}"))
                .join(format!("trainer_{i}"));
            fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
            let w_dec = Tensor::randn([grid.d_sae, grid.d_model], (Kind::Float, Device::Cpu));
            let norm = w_dec.norm_scalaropt_dim(2.0, [1_i64].as_slice(), true);
            let w_dec = (w_dec / norm).to_kind(grid.kind); // [d_sae, d_model]
            let zeros = |n: i64| Tensor::zeros([n], (grid.kind, Device::Cpu));
            let tensors = [
                ("W_enc", w_dec.transpose(0, 1).contiguous()),
                ("W_dec", w_dec),
                ("b_enc", zeros(grid.d_sae)),
                ("b_dec", zeros(grid.d_model)),
            ];
            Tensor::write_safetensors(&tensors, dir.join("sae_weights.safetensors"))?;
            let dtype = if grid.kind == Kind::BFloat16 {
                "bfloat16"
            } else {
                "float32"
            };
            let config = json!({
                "architecture": "topk",
                "d_in": grid.d_model,
                "d_sae": grid.d_sae,
                "k": k,
                "dtype": dtype,
                "device": "cpu",
                "apply_b_dec_to_input": true,
                "normalize_activations": "none",
                "reshape_activations": "none",
                "rescale_acts_by_decoder_norm": false,
                "metadata": {"hook_name": format!("blocks.{layer}.hook_resid_post")},
            });
            fs::write(dir.join("cfg.json"), config.to_string())?;
        }
    }
    Ok(())
}
