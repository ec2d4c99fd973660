//! Scaled dot-product attention with grouped key heads.

use tch::{Device, Tensor};

use crate::context::Mask;

/// `[r, t, h * head_dim] -> [r, t, h, head_dim]`
pub(crate) fn by_head(x: &Tensor, n_heads: i64) -> Tensor {
    let size = x.size();
    x.view([size[0], size[1], n_heads, size[2] / n_heads])
}

/// Attention over all heads, joined again; head i reads key head `i / (h / n_kv_heads)`. Scores are
/// multiplied by `scale`; without one, divided by the square root of head_dim.
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
    let (bias, is_causal) = match mask {
        Mask::None => (None, false),
        Mask::Causal => (None, true),
        Mask::Bias(bias) => (Some(bias), false),
    };
    // Grouped heads are the kernels' own affair, but for CUDA's with a mask: the one that takes a
    // mask takes no groups, and libtorch would fall back on plain products.
    let must_repeat = groups > 1 && bias.is_some() && q.device() != Device::Cpu;
    let (k, v) = match must_repeat {
        true => (repeat_heads(k, groups), repeat_heads(v, groups)),
        false => (k.shallow_clone(), v.shallow_clone()),
    };
    let is_grouped = groups > 1 && !must_repeat;
    Tensor::scaled_dot_product_attention(q, &k, &v, bias, 0.0, is_causal, scale, is_grouped) // [r, h, t, head_dim]
        .transpose(1, 2)
        .reshape([size[0], size[2], size[1] * size[3]])
}

/// Head i of the result is head `i / groups` of x.
///
/// `[r, n, s, head_dim] -> [r, n * groups, s, head_dim]`
fn repeat_heads(x: &Tensor, groups: i64) -> Tensor {
    let size = x.size();
    x.unsqueeze(2)
        .expand([size[0], size[1], groups, size[2], size[3]], false)
        .reshape([size[0], size[1] * groups, size[2], size[3]])
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn groups_of_heads_read_their_key_head() {
        let of = |shape: [i64; 4]| Tensor::rand(shape, (Kind::Float, Device::Cpu));
        let (q, k, v) = (of([2, 6, 5, 8]), of([2, 2, 5, 8]), of([2, 2, 5, 8]));
        let bias = Tensor::zeros([2, 1, 1, 5], (Kind::Float, Device::Cpu));
        let _ = bias.narrow(3, 0, 2).fill_(f64::NEG_INFINITY);
        for mask in [Mask::None, Mask::Causal, Mask::Bias(bias)] {
            let grouped = attend(&q, &k, &v, &mask, None);
            let repeated = attend(&q, &repeat_heads(&k, 3), &repeat_heads(&v, 3), &mask, None);
            assert_eq!(grouped.size(), [2, 5, 48]);
            let off = (grouped - repeated).abs().max().double_value(&[]);
            assert!(off < 1e-6, "{mask:?}: {off}");
        }
    }
}
