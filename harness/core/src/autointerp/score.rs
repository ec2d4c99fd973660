//! How well the windows a latent is active in were predicted.

use serde::{Deserialize, Serialize};

use super::Origin;

/// What random windows count as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RandomWindows {
    /// Active where they are.
    #[default]
    Checked,
    /// Inactive, whatever they are, as in the authors' code.
    PaperCode,
}

impl RandomWindows {
    pub const fn name(self) -> &'static str {
        match self {
            RandomWindows::Checked => "checked",
            RandomWindows::PaperCode => "paper_code",
        }
    }
}

/// Whether a window counts as one the latent is active in.
///
/// - `is_active`: whether it is
pub fn is_positive(origin: Origin, is_active: bool, random: RandomWindows) -> bool {
    let is_unchecked = origin == Origin::Random && random == RandomWindows::PaperCode;
    is_active && !is_unchecked
}

/// Windows on which a prediction and the truth agree; `None` for a place that is none.
///
/// - `predicted`: places of the windows predicted to be active
/// - `active`: `[n]`, whether they are
pub fn n_correct(predicted: &[u32], active: &[bool]) -> Option<u64> {
    let mut is_predicted = vec![false; active.len()];
    for place in predicted {
        *is_predicted.get_mut(*place as usize)? = true;
    }
    let agree = is_predicted.iter().zip(active).filter(|(p, a)| p == a);
    Some(agree.count() as u64)
}

/// Share of windows on which a prediction and the truth agree: the score of a latent. `None`
/// without windows, or for a place that is none.
pub fn accuracy(predicted: &[u32], active: &[bool]) -> Option<f64> {
    let agree = n_correct(predicted, active)?;
    (!active.is_empty()).then(|| agree as f64 / active.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_counts_both_kinds_of_agreement() {
        let active = [true, false, true, false];
        assert_eq!(accuracy(&[0, 2], &active), Some(1.0));
        assert_eq!(accuracy(&[], &active), Some(0.5));
        assert_eq!(accuracy(&[1, 3], &active), Some(0.0));
        assert_eq!(accuracy(&[0, 0, 1], &active), Some(0.5));
        assert_eq!(accuracy(&[4], &active), None);
        assert_eq!(accuracy(&[], &[]), None);
    }

    #[test]
    fn the_authors_count_random_windows_as_inactive() {
        use RandomWindows::{Checked, PaperCode};
        assert!(is_positive(Origin::Random, true, Checked));
        assert!(!is_positive(Origin::Random, true, PaperCode));
        assert!(is_positive(Origin::Top, true, PaperCode));
        assert!(!is_positive(Origin::Weighted, false, Checked));
    }
}
