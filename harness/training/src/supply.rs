//! How much a text gives, counted with the same rows and masks that training will see.

use harness_core::policy::Policy;
use harness_engine::{data::TokenBatch, error::CellError};

use crate::{
    passes::{Rows, masked_positions, positions},
    settings::Settings,
};

/// Activations that a text gives each policy, as far as they are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Supply {
    wanted: u64,
    batch: u64,
    found: Vec<(Policy, u64)>,
    /// Tokens and rows that were read for it.
    tokens: u64,
    rows: u64,
    /// Whether nothing more is counted.
    is_at_end: bool,
}

impl Supply {
    /// Counts the text until it is enough for every policy, or ends. `on_pass`
    /// is called with the count after each pass's rows, and may end it with an error.
    ///
    /// # Errors
    /// Those of the text and of `on_pass`.
    pub(crate) fn count(
        rows: &mut Rows<'_>,
        settings: &Settings,
        model_batch: usize,
        on_pass: &mut dyn FnMut(&Supply) -> Result<(), CellError>,
    ) -> Result<Supply, CellError> {
        let mut supply = Supply {
            wanted: settings.rows(),
            batch: settings.batch as u64,
            found: settings.policies.iter().map(|p| (*p, 0)).collect(),
            tokens: 0,
            rows: 0,
            is_at_end: false,
        };
        for pass in 0.. {
            let taken = rows.take(model_batch)?;
            if taken.is_empty() {
                break;
            }
            supply.add(&TokenBatch::collate(&taken, 0), settings, pass);
            (supply.tokens, supply.rows) = (rows.tokens, rows.next);
            on_pass(&supply)?;
            if supply.is_enough() {
                break;
            }
        }
        Ok(supply)
    }

    fn add(&mut self, batch: &TokenBatch, settings: &Settings, pass: u64) {
        let unmasked = vec![false; batch.rows * batch.len];
        let is_masked = self
            .found
            .iter()
            .any(|(policy, _)| *policy != Policy::Clean);
        let masked = match is_masked {
            true => masked_positions(batch, settings, pass),
            false => unmasked.clone(),
        };
        for (policy, n) in &mut self.found {
            let masked = match policy {
                Policy::Clean => &unmasked,
                Policy::Mask | Policy::Unmask => &masked,
            };
            *n += positions(batch, masked, *policy).len() as u64;
        }
    }

    /// The same, known to be all that is counted.
    pub(crate) fn at_its_end(self) -> Supply {
        Supply {
            is_at_end: true,
            ..self
        }
    }

    /// Whether nothing more is counted.
    pub(crate) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Whether every policy gets what it needs.
    pub(crate) fn is_enough(&self) -> bool {
        self.found.iter().all(|(_, n)| *n >= self.wanted)
    }

    /// Tokens read so far, and about how many are needed.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let least = self.found.iter().map(|(_, n)| *n).min().unwrap_or(0);
        let share = least as f64 / self.wanted.max(1) as f64;
        let needed = self.tokens as f64 / share.max(1e-9);
        (self.tokens, needed as u64)
    }

    /// What is missing, what became of the run, and what can be done about it.
    pub(crate) fn shortage(&self, outcome: &str) -> CellError {
        let each: Vec<String> = (self.found.iter())
            .map(|(policy, n)| {
                let most = self.wanted;
                format!("{} of the {most} activations of {policy}", n.min(&most))
            })
            .collect();
        let least = self.found.iter().map(|(_, n)| *n).min().unwrap_or(0);
        let most = least / self.batch * self.batch;
        let fewer = match most {
            0 => String::new(),
            most => format!(", at most --tokens {most}"),
        };
        let masks = match self.found.iter().all(|(p, _)| *p == Policy::Clean) {
            true => "",
            false => " with other masks",
        };
        CellError::BadInput(format!(
            "the text ends after {} tokens in {} rows: they give {}; {outcome} (hint: more --data{fewer}, or \
             --allow-short to read it again{masks})",
            self.tokens,
            self.rows,
            each.join(" and "),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supply(found: &[(Policy, u64)]) -> Supply {
        Supply {
            wanted: 1000,
            batch: 100,
            found: found.to_vec(),
            tokens: 2000,
            rows: 20,
            is_at_end: true,
        }
    }

    #[test]
    fn exactly_enough_is_enough() {
        assert!(supply(&[(Policy::Mask, 1000), (Policy::Unmask, 1001)]).is_enough());
        assert!(!supply(&[(Policy::Mask, 999), (Policy::Unmask, 5000)]).is_enough());
        assert_eq!(supply(&[(Policy::Clean, 500)]).progress(), (2000, 4000));
    }

    #[test]
    fn a_shortage_says_how_much_there_is_and_what_to_do() {
        let masked =
            supply(&[(Policy::Mask, 555), (Policy::Unmask, 1300)]).shortage("nothing was trained");
        assert_eq!(
            masked.to_string(),
            "the text ends after 2000 tokens in 20 rows: they give 555 of the 1000 activations of mask and 1000 of the \
             1000 activations of unmask; nothing was trained (hint: more --data, at most --tokens 500, or \
             --allow-short to read it again with other masks)"
        );
        let clean = supply(&[(Policy::Clean, 12)])
            .shortage("it is kept")
            .to_string();
        assert!(
            !clean.contains("mask") && !clean.contains("--tokens"),
            "{clean}"
        );
    }
}
