//! Scaled dot-product attention with grouped key heads.

use tch::Tensor;

use crate::context::Mask;

/// `[r, t, h * head_dim] -> [r, h, t, head_dim]`
pub(crate) fn split_heads(x: &Tensor, n_heads: i64) -> Tensor {
    let size = x.size();
    x.view([size[0], size[1], n_heads, size[2] / n_heads])
        .transpose(1, 2)
}

/// Attention over all heads, joined again. Scores are multiplied by `scale`; without one, divided
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
    let groups = size[1] / k.size()[1];
    let (k, v) = (repeat_heads(k, groups), repeat_heads(v, groups)); // [r, h, s, head_dim]
    let (allowed, is_causal) = match mask {
        Mask::None => (None, false),
        Mask::Causal => (None, true),
        Mask::Allowed(allowed) => (Some(allowed), false),
    };
    Tensor::scaled_dot_product_attention(q, &k, &v, allowed, 0.0, is_causal, scale, false) // [r, h, t, head_dim]
        .transpose(1, 2)
        .reshape([size[0], size[2], size[1] * size[3]])
}

/// Head i of the result is head `i / groups` of x.
///
/// `[r, n, s, head_dim] -> [r, n * groups, s, head_dim]`
fn repeat_heads(x: &Tensor, groups: i64) -> Tensor {
    if groups == 1 {
        return x.shallow_clone();
    }
    let size = x.size();
    x.unsqueeze(2)
        .expand([size[0], size[1], groups, size[2], size[3]], false)
        .reshape([size[0], size[1] * groups, size[2], size[3]])
}
