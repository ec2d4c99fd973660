//! One batch of token ids and the positions a measure looks at.

use harness_core::policy::Policy;
use tch::Tensor;

use super::error::EvalError;

/// Positions of a batch by what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every real token.
    All,
    /// Real tokens replaced by the mask token.
    Masked,
    /// Real tokens that were not.
    Unmasked,
}

impl Scope {
    /// The positions that SAEs of a policy are trained on.
    #[must_use]
    pub const fn of(policy: Policy) -> Self {
        match policy {
            Policy::Clean => Self::All,
            Policy::Mask => Self::Masked,
            Policy::Unmask => Self::Unmasked,
        }
    }

    /// The scope of this name: `all`, `masked`, `unmasked`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "all" => Some(Self::All),
            "masked" => Some(Self::Masked),
            "unmasked" => Some(Self::Unmasked),
            _ => None,
        }
    }
}

/// Token ids with their flags, all `[b, t]` row-major on the CPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Rows.
    pub b: usize,
    /// Positions.
    pub t: usize,
    /// What the model reads.
    pub input_ids: Vec<i64>,
    /// What it should predict.
    pub target_ids: Vec<i64>,
    /// Real tokens.
    pub is_valid: Vec<bool>,
    /// Tokens replaced by the mask token.
    pub is_masked: Vec<bool>,
}

impl Batch {
    /// A batch without corruption: the input is the target.
    ///
    /// # Errors
    /// [`EvalError::Shape`] when the lengths differ from `b * t`.
    pub fn clean(
        b: usize,
        t: usize,
        ids: Vec<i64>,
        is_valid: Vec<bool>,
    ) -> Result<Self, EvalError> {
        let is_masked = vec![false; ids.len()];
        Self {
            b,
            t,
            target_ids: ids.clone(),
            input_ids: ids,
            is_valid,
            is_masked,
        }
        .checked()
    }

    /// The batch, when its parts have `b * t` values each.
    ///
    /// # Errors
    /// [`EvalError::Shape`] with the lengths.
    pub fn checked(self) -> Result<Self, EvalError> {
        let lengths = [
            self.input_ids.len(),
            self.target_ids.len(),
            self.is_valid.len(),
            self.is_masked.len(),
        ];
        if lengths.iter().any(|n| *n != self.b * self.t) {
            return Err(EvalError::Shape(format!(
                "a batch of {} rows of {} positions with parts of {lengths:?} values",
                self.b, self.t
            )));
        }
        Ok(self)
    }

    /// `[b, t] i64` on the CPU.
    ///
    /// # Errors
    /// Allocation.
    pub fn input_tensor(&self) -> Result<Tensor, EvalError> {
        Ok(Tensor::f_from_slice(&self.input_ids)?.f_reshape([self.b as i64, self.t as i64])?)
    }

    /// `[b, t] u8` on the CPU, 1 at real tokens.
    ///
    /// # Errors
    /// Allocation.
    pub fn mask_tensor(&self) -> Result<Tensor, EvalError> {
        let flags: Vec<u8> = self.is_valid.iter().map(|v| u8::from(*v)).collect();
        Ok(Tensor::f_from_slice(&flags)?.f_reshape([self.b as i64, self.t as i64])?)
    }

    /// The positions of `scope`. `[b, t]`
    #[must_use]
    pub fn positions(&self, scope: Scope) -> Vec<bool> {
        let keep = |(valid, masked): (&bool, &bool)| {
            *valid
                && match scope {
                    Scope::All => true,
                    Scope::Masked => *masked,
                    Scope::Unmasked => !masked,
                }
        };
        self.is_valid
            .iter()
            .zip(&self.is_masked)
            .map(keep)
            .collect()
    }

    /// Positions whose cost counts for a masked-diffusion model: the masked ones. `[b, t]`
    #[must_use]
    pub fn denoising_targets(&self) -> Vec<bool> {
        self.positions(Scope::Masked)
    }

    /// Positions whose cost counts for next-token prediction: real tokens after a real token of
    /// their row. `[b, t]`
    #[must_use]
    pub fn next_token_targets(&self) -> Vec<bool> {
        (0..self.b * self.t)
            .map(|i| i % self.t > 0 && self.is_valid[i] && self.is_valid[i - 1])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_token_targets_do_not_cross_rows_or_padding() {
        let valid = vec![true, true, true, false, true, true];
        let batch = Batch::clean(2, 3, vec![1, 2, 3, 0, 4, 5], valid).unwrap();
        assert_eq!(
            batch.next_token_targets(),
            [false, true, true, false, false, true]
        );
        assert_eq!(batch.positions(Scope::Unmasked), batch.is_valid);
        assert!(Batch::clean(2, 3, vec![1], vec![true]).is_err());
    }
}
