//! Sliding-window attention, which is not implemented: accepted where it never applies.

use crate::Result;

use super::fields::Fields;

/// Refuses a window that some text that fits the context would feel.
///
/// `layer_types` says which layers have one; without it those from `max_window_layers` on.
pub(super) fn check(
    fields: &Fields,
    model_type: &str,
    n_layers: i64,
    max_positions: i64,
) -> Result<()> {
    let is_used = fields.flag_or("use_sliding_window", false)?;
    let first = match fields.strings("layer_types")? {
        Some(types) => {
            let known = ["full_attention", "sliding_attention"];
            if let Some(other) = types.iter().find(|kind| !known.contains(kind)) {
                return Err(fields.error(format!(
                    "layer_types holds \"{other}\", which is not implemented; implemented: \
                     full_attention"
                )));
            }
            let mut layers = types.iter().take(n_layers.max(0) as usize);
            let Some(first) = layers.position(|kind| *kind == "sliding_attention") else {
                return Ok(());
            };
            if !is_used {
                return Err(fields.error(format!(
                    "layer_types gives layer {first} a sliding window, and use_sliding_window says \
                     that there is none; correct one of them"
                )));
            }
            first as i64
        }
        None if !is_used => return Ok(()),
        None => match fields.has("max_window_layers") {
            true => fields.integer("max_window_layers")?,
            // Families without a default have windows in all layers.
            false => fields.size(model_type, "max_window_layers").unwrap_or(0),
        },
    };
    let window = match fields.has("sliding_window") {
        true => fields.optional_integer("sliding_window")?,
        false => fields.size(model_type, "sliding_window").ok(),
    };
    match window {
        Some(window) if first < n_layers && window < max_positions => Err(fields.error(format!(
            "use_sliding_window = true is not implemented: from layer {first} on, texts longer than \
             {window} tokens (sliding_window) would see a part of themselves only; set it to false \
             for full attention, with other results on longer texts"
        ))),
        _ => Ok(()),
    }
}
