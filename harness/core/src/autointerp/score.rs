use serde::{Deserialize, Serialize};

/// What counts as true of windows at positions drawn at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RandomWindows {
    /// Whether the latent is active in them.
    Checked,
    /// That it is not, unchecked, as the authors' code has it (PROTOCOL §10, 6).
    PaperCode,
}

impl RandomWindows {
    /// `checked` or `paper_code`.
    pub const fn name(self) -> &'static str {
        match self {
            RandomWindows::Checked => "checked",
            RandomWindows::PaperCode => "paper_code",
        }
    }

    /// What counts as true of a window that is (or is not) at a random position and in which the latent is (or is not) active.
    pub const fn label(self, is_random: bool, is_active: bool) -> bool {
        match self {
            RandomWindows::Checked => is_active,
            RandomWindows::PaperCode => is_active && !is_random,
        }
    }
}

/// Windows that were predicted rightly: those for which being among `predicted` equals `active`. `None` when a prediction names a window
/// that is not there.
///
/// - `predicted`: places of windows, in any order
/// - `active`: `[n]`, what is true of each window
pub fn n_correct(predicted: &[u32], active: &[bool]) -> Option<u64> {
    let mut named = vec![false; active.len()];
    for place in predicted {
        *named.get_mut(*place as usize)? = true;
    }
    Some(named.iter().zip(active).filter(|(a, b)| a == b).count() as u64)
}

/// Share of the windows that were predicted rightly: the score of a latent (PROTOCOL §5). `None` without windows, or when a prediction
/// names one that is not there.
pub fn accuracy(predicted: &[u32], active: &[bool]) -> Option<f64> {
    let correct = n_correct(predicted, active)?;
    (!active.is_empty()).then(|| correct as f64 / active.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_the_share_of_windows_predicted_rightly() {
        let active = [true, false, true, false];
        assert_eq!(accuracy(&[0, 2], &active), Some(1.0));
        assert_eq!(accuracy(&[2, 0, 2], &active), Some(1.0));
        assert_eq!(accuracy(&[1, 3], &active), Some(0.0));
        assert_eq!(accuracy(&[], &active), Some(0.5));
        assert_eq!((accuracy(&[4], &active), accuracy(&[], &[])), (None, None));
    }

    #[test]
    fn the_authors_code_takes_random_windows_for_inactive() {
        assert!(RandomWindows::Checked.label(true, true));
        assert!(!RandomWindows::PaperCode.label(true, true));
        assert!(RandomWindows::PaperCode.label(false, true));
        assert!(!RandomWindows::Checked.label(true, false));
    }
}
