use serde::{Deserialize, Serialize};

/// Which windows stand for a latent. A window is a position with `buffer` tokens on either side;
/// positions nearer than that to an end of their row have none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRules {
    /// Tokens on either side.
    pub buffer: u32,
    /// Windows around the largest activations; two of one row are more than `buffer` positions
    /// apart.
    pub n_top: u32,
    /// Of them, drawn to explain the latent; the others are predicted.
    pub n_top_shown: u32,
    /// Windows drawn without replacement from the activations below the smallest of the top, with
    /// probability in proportion to `act^weight_power`.
    pub n_weighted: u32,
    /// Of them, drawn to explain the latent; the others are predicted.
    pub n_weighted_shown: u32,
    /// Windows at positions drawn uniformly, to be predicted.
    pub n_random: u32,
    /// A token is active when its activation is above this share of the largest activation in the
    /// top windows; a window when one of its tokens is.
    pub act_threshold: f64,
    /// Power of the activation in the weights of `n_weighted`.
    pub weight_power: f64,
}

/// How a window was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Around one of the largest activations.
    Top,
    /// Drawn in proportion to activation.
    Weighted,
    /// Drawn uniformly.
    Random,
}

/// Rules that cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{shown} of {of} {what} windows cannot be shown")]
pub struct RulesError {
    shown: u32,
    of: u32,
    what: &'static str,
}

impl Default for WindowRules {
    /// The protocol's: 21 tokens, 12 largest and 7 drawn, of which 10 and 5 are shown; with 10
    /// random ones 14 are predicted.
    fn default() -> Self {
        WindowRules {
            buffer: 10,
            n_top: 12,
            n_top_shown: 10,
            n_weighted: 7,
            n_weighted_shown: 5,
            n_random: 10,
            act_threshold: 0.01,
            weight_power: 1.0,
        }
    }
}

impl WindowRules {
    /// Windows around the `n_top` largest activations, all shown, and no others.
    pub fn peaks(buffer: u32, n_top: u32) -> WindowRules {
        WindowRules {
            buffer,
            n_top,
            n_top_shown: n_top,
            n_weighted: 0,
            n_weighted_shown: 0,
            n_random: 0,
            ..WindowRules::default()
        }
    }

    /// The rules, when no more windows are shown than there are.
    ///
    /// # Errors
    /// [`RulesError`] with both numbers.
    pub fn checked(self) -> Result<Self, RulesError> {
        let parts = [
            (self.n_top_shown, self.n_top, "top"),
            (self.n_weighted_shown, self.n_weighted, "weighted"),
        ];
        match parts.into_iter().find(|(shown, of, _)| shown > of) {
            Some((shown, of, what)) => Err(RulesError { shown, of, what }),
            None => Ok(self),
        }
    }

    /// Tokens of a window.
    pub const fn width(&self) -> usize {
        2 * self.buffer as usize + 1
    }

    /// Windows that are predicted.
    pub const fn n_scored(&self) -> u32 {
        self.n_top - self.n_top_shown + self.n_weighted - self.n_weighted_shown + self.n_random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocols_windows_are_14_of_21_tokens() {
        let rules = WindowRules::default().checked().unwrap();
        assert_eq!((rules.width(), rules.n_scored()), (21, 14));
        let more = WindowRules {
            n_top_shown: 13,
            ..rules
        };
        assert_eq!(
            more.checked().unwrap_err().to_string(),
            "13 of 12 top windows cannot be shown"
        );
    }
}
