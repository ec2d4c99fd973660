//! Number formats.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Number format of model passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    F32,
    Bf16,
}

impl Dtype {
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::Bf16 => "bf16",
        }
    }

    pub const fn bytes(self) -> u64 {
        match self {
            Dtype::F32 => 4,
            Dtype::Bf16 => 2,
        }
    }

    /// Share of the sum of squares up to which the spread of residuals is rounding.
    ///
    /// Residuals of tokens that a model does not tell apart (one token repeated, say) are not equal
    /// to the last bit, and what is left of their spread is no variance that anything could
    /// explain. Two roundings add up to it, each relative to the residual:
    /// * a block adds to the residual twice, and each sum is rounded to the format by at most its
    ///   unit roundoff u; the last 50 or so of these sums are about as large as the residual, and
    ///   independent roundings add up to sqrt(50 / 3) u, about 4 u;
    /// * products sum up to some thousand terms in f32: sqrt(4096) = 64 times its unit roundoff.
    pub fn rounding(self) -> f64 {
        let f32_roundoff = f64::from(f32::EPSILON) / 2.0;
        let roundoff = match self {
            Dtype::F32 => f32_roundoff,
            // Eight bits of significand, the leading one included.
            Dtype::Bf16 => 1.0 / 256.0,
        };
        (4.0 * roundoff).powi(2) + (64.0 * f32_roundoff).powi(2)
    }
}

impl FromStr for Dtype {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "f32" => Ok(Dtype::F32),
            "bf16" => Ok(Dtype::Bf16),
            _ => Err(format!("unknown dtype `{name}`: f32 or bf16")),
        }
    }
}
