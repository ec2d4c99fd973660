//! Rotary settings, found wherever transformers finds them.

use crate::Result;
use crate::config::{RopeScaling, Yarn};

use super::fields::Fields;

/// Base of the wavelengths where no file names one.
const DEFAULT_THETA: f64 = 10_000.0;

/// What a configuration says of its rotary embedding.
pub(super) struct RopeSettings {
    pub(super) theta: f64,
    pub(super) scaling: RopeScaling,
    /// Longest context: what the scaling stretches `max_position_embeddings` to.
    pub(super) max_positions: i64,
}

/// Reads `rope_scaling` or else `rope_parameters`, as transformers does; `rope_theta` is in that
/// object or beside it, and the length of the first training is beside it or in it.
pub(super) fn read(fields: &Fields, max_positions: i64) -> Result<RopeSettings> {
    let inner = match fields.object("rope_scaling")? {
        Some(scaling) => Some(scaling),
        None => fields.object("rope_parameters")?,
    };
    for fields in std::iter::once(fields).chain(&inner) {
        let share = fields.number_or("partial_rotary_factor", 1.0)?;
        if share != 1.0 {
            return Err(fields.error(format!(
                "partial_rotary_factor = {share} is not implemented; implemented: 1.0"
            )));
        }
    }
    let beside = fields.optional_number("rope_theta")?;
    let Some(inner) = inner else {
        return Ok(RopeSettings {
            theta: beside.unwrap_or(DEFAULT_THETA),
            scaling: RopeScaling::None,
            max_positions,
        });
    };
    if let Some(layers) = inner.nested() {
        return Err(fields.error(format!(
            "rotary settings of their own for the layers \"{layers}\" are not implemented"
        )));
    }
    let kind = match inner.optional_string("rope_type")? {
        Some(kind) => kind,
        None => inner
            .optional_string("type")?
            .unwrap_or_else(|| "default".to_owned()),
    };
    let original = match fields.optional_integer("original_max_position_embeddings")? {
        Some(length) => length,
        None => inner
            .optional_integer("original_max_position_embeddings")?
            .unwrap_or(max_positions),
    };
    let theta = inner.optional_number("rope_theta")?.or(beside);
    let scaling = match kind.as_str() {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear {
            factor: inner.number("factor")?,
        },
        "dynamic" => RopeScaling::Dynamic {
            factor: inner.number("factor")?,
            original_max_positions: max_positions,
        },
        "llama3" => RopeScaling::Llama3 {
            factor: inner.number("factor")?,
            low_freq_factor: inner.number("low_freq_factor")?,
            high_freq_factor: inner.number("high_freq_factor")?,
            original_max_positions: original,
        },
        "yarn" => RopeScaling::Yarn(yarn(&inner, original, max_positions)?),
        other => {
            return Err(fields.error(format!(
                "rope scaling \"{other}\" is not implemented; available: default, linear, \
                 dynamic, llama3, yarn"
            )));
        }
    };
    Ok(RopeSettings {
        theta: theta.unwrap_or(DEFAULT_THETA),
        scaling,
        max_positions: stretched(&scaling, max_positions),
    })
}

/// YaRN's settings with what transformers infers: the factor from the two lengths where it is null,
/// the factor of cosines and sines from the other settings where it is not given.
fn yarn(fields: &Fields, original: i64, max_positions: i64) -> Result<Yarn> {
    let factor = match fields.has("factor") && fields.get("factor").is_none() {
        true => max_positions as f64 / original as f64,
        false => fields.number("factor")?,
    };
    // Python's `or`: a 0 is as good as nothing.
    let non_zero = |key| -> Result<Option<f64>> {
        Ok(fields.optional_number(key)?.filter(|value| *value != 0.0))
    };
    let scale = |by: f64| match factor > 1.0 {
        true => 0.1 * by * factor.ln() + 1.0,
        false => 1.0,
    };
    let attention_factor = match fields.optional_number("attention_factor")? {
        Some(given) => given,
        None => match (non_zero("mscale")?, non_zero("mscale_all_dim")?) {
            (Some(mscale), Some(all)) => scale(mscale) / scale(all),
            _ => scale(1.0),
        },
    };
    Ok(Yarn {
        factor,
        original_max_positions: original,
        attention_factor,
        beta_fast: non_zero("beta_fast")?.unwrap_or(32.0),
        beta_slow: non_zero("beta_slow")?.unwrap_or(1.0),
        // Python takes null for false here.
        truncate: fields.flag_or("truncate", !fields.has("truncate"))?,
    })
}

/// The longest context that a scaling is meant for. `max_position_embeddings` is the length before
/// linear and dynamic scaling, and in some files that before YaRN; llama3's is the length after.
fn stretched(scaling: &RopeScaling, max_positions: i64) -> i64 {
    let times = |length: i64, factor: f64| (length as f64 * factor.max(1.0)) as i64;
    match scaling {
        RopeScaling::None | RopeScaling::Llama3 { .. } => max_positions,
        RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor, .. } => {
            times(max_positions, *factor)
        }
        RopeScaling::Yarn(yarn) => {
            max_positions.max(times(yarn.original_max_positions, yarn.factor))
        }
    }
}
