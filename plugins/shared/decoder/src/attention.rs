//! Scaled dot-product attention with grouped key heads.

use tch::Tensor;

use crate::context::Mask;

/// `[r, t, h * head_dim] -> [r, t, h, head_dim]`
pub(crate) fn by_head(x: &Tensor, n_heads: i64) -> Tensor {
    let size = x.size();
    x.view([size[0], size[1], n_heads, size[2] / n_heads])
}

/// Attention over all heads, joined again; head i reads key head `i / (h / n_kv_heads)`. Scores are multiplied by `scale`; without one, divided
/// by the square root of head_dim.
///
/// `q: [r, h, t, head_dim]; k, v: [r, n_kv_heads, s, head_dim] -> [r, t, h * head_dim]`
pub(crate) fn attend(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: &Mask,
    scale: Option<f64>,
) -> Tensor {
    let size = q.size();
    let is_grouped = size[1] != k.size()[1];
    let (bias, is_causal) = match mask {
        Mask::None => (None, false),
        Mask::Causal => (None, true),
        Mask::Bias(bias) => (Some(bias), false),
    };
    Tensor::scaled_dot_product_attention(q, k, v, bias, 0.0, is_causal, scale, is_grouped) // [r, h, t, head_dim]
        .transpose(1, 2)
        .reshape([size[0], size[2], size[1] * size[3]])
}
