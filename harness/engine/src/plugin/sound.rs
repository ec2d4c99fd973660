//! Whether what an SAE returned can be what it computed. Looked at in host memory only: on a device every look would wait for it.

use tch::{Device, Tensor};

use super::{Encoded, PluginFailure, SaeInfo, failure::Origin};
use crate::steps;

/// Check the latents of active ones.
pub(super) fn in_range(
    origin: &Origin,
    info: &SaeInfo,
    encoded: &Encoded,
) -> Result<(), PluginFailure> {
    const METHOD: &str = "encode";
    let (d_sae, w) = (info.d_sae as f64, info.max_active as f64);
    let whole = [
        ("a latent", &encoded.latents, -1.0, d_sae - 1.0),
        ("a number of active latents", &encoded.n_active, 0.0, w),
    ];
    for (what, tensor, lowest, highest) in whole {
        let Some((low, high)) = extremes(origin, METHOD, tensor)? else {
            continue;
        };
        if low < lowest || high > highest {
            let found = if low < lowest { low } else { high };
            let message = format!("{what} is {found}, it must be in {lowest} to {highest}");
            return Err(origin.broken(METHOD, message));
        }
    }
    Ok(())
}

/// Numbers that are not finite are the plugin's fault where those that it was given are, its weights among them.
pub(super) fn finite(
    origin: &Origin,
    method: &'static str,
    what: &str,
    returned: &Tensor,
    given: &Tensor,
) -> Result<(), PluginFailure> {
    let is_finite = |tensor| {
        let found = extremes(origin, method, tensor)?;
        Ok(found.is_none_or(|(low, high)| low.is_finite() && high.is_finite()))
    };
    if is_finite(returned)? || !is_finite(given)? {
        return Ok(());
    }
    let message = format!("{what} is NaN or infinite, of input that is neither");
    Err(origin.broken(method, message))
}

/// The smallest and the largest number, both NaN where one is; `None` without numbers or on a device.
fn extremes(
    origin: &Origin,
    method: &'static str,
    tensor: &Tensor,
) -> Result<Option<(f64, f64)>, PluginFailure> {
    if tensor.device() != Device::Cpu || tensor.numel() == 0 {
        return Ok(None);
    }
    let host = |error: tch::TchError| origin.host(method, error);
    steps::on_host(|| {
        let (low, high) = tensor.f_aminmax(None::<i64>, false).map_err(host)?;
        let number = |t: Tensor| t.f_double_value(&[]).map_err(host);
        Ok(Some((number(low)?, number(high)?)))
    })
}
