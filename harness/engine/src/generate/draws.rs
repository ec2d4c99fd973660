//! The random numbers of a run.
//!
//! A token's draw and an order's draw are pure functions of (seed, item, step, position), with the
//! position counted from the row's first real token: batch size, padding and company change
//! nothing.

use harness_core::rng::Stream;

use super::{GenerateError, TokenGrid};

/// The draws that choose tokens, one for each (item, step, position).
#[derive(Clone, Debug)]
pub(super) struct TokenDraws {
    rows: Vec<Stream>,
    step: Vec<Stream>,
}

impl TokenDraws {
    pub(super) fn new(seed: u64, item_ids: &[u64]) -> Self {
        let rows: Vec<Stream> = streams(seed, item_ids)
            .map(|item| item.label("token"))
            .collect();
        Self {
            step: rows.clone(),
            rows,
        }
    }

    /// Moves to a step; the draws of a step do not depend on the steps before it.
    pub(super) fn at_step(&mut self, step: usize) {
        self.step = self.rows.iter().map(|row| row.item(step as u64)).collect();
    }

    /// The draw of row `r` at a position of that row, in [0, 1).
    pub(super) fn uniform(&self, r: usize, position: usize) -> f64 {
        self.step[r].uniform_at(position as u64)
    }
}

fn streams(seed: u64, item_ids: &[u64]) -> impl Iterator<Item = Stream> + '_ {
    let root = Stream::new(seed, "generate");
    item_ids.iter().map(move |item| root.item(*item))
}

/// Where a recording has draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawLayout {
    /// One for each position that may be revealed, row-major (Dream's `origin`).
    Eligible,
    /// One for each position of the grid, row-major (LLaDA's `random`).
    Everywhere,
}

/// The draws an order reads (`RemaskNeeds::UNIFORM`).
#[derive(Clone, Debug)]
pub enum OrderDraws {
    /// The counter-based generator, keyed by (seed, item, step, position).
    Counter,
    /// Draws recorded elsewhere, in the order in which they were made.
    Recorded {
        /// All draws of the run.
        values: Vec<f32>,
        /// Which positions they belong to.
        layout: DrawLayout,
    },
}

/// [`OrderDraws`] during a run.
#[derive(Debug)]
pub(super) struct OrderSource<'a> {
    rows: Vec<Stream>,
    recorded: Option<(&'a [f32], DrawLayout)>,
    next: usize,
}

impl<'a> OrderSource<'a> {
    pub(super) fn new(draws: &'a OrderDraws, seed: u64, item_ids: &[u64]) -> Self {
        let recorded = match draws {
            OrderDraws::Counter => None,
            OrderDraws::Recorded { values, layout } => Some((values.as_slice(), *layout)),
        };
        let rows = streams(seed, item_ids)
            .map(|item| item.label("order"))
            .collect();
        Self {
            rows,
            recorded,
            next: 0,
        }
    }

    /// The draws of a step. `eligible: [b, t]` → `[b, t] f32`, 0 where there is none
    pub(super) fn step(
        &mut self,
        step: usize,
        grid: &TokenGrid,
        eligible: &[bool],
    ) -> Result<Vec<f32>, GenerateError> {
        let mut out = vec![0.0; eligible.len()];
        let Some((values, layout)) = self.recorded else {
            for (r, row) in out.chunks_mut(grid.t()).enumerate() {
                self.rows[r]
                    .item(step as u64)
                    .fill_uniform_f32(0, &mut row[grid.pad()[r]..]);
            }
            return Ok(out);
        };
        for (slot, is_eligible) in out.iter_mut().zip(eligible) {
            if *is_eligible || layout == DrawLayout::Everywhere {
                *slot = *values.get(self.next).ok_or_else(|| {
                    GenerateError::request(format!(
                        "step {step} needs more than the {} recorded draws",
                        values.len()
                    ))
                })?;
                self.next += 1;
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_item_and_not_its_place() {
        let narrow = TokenGrid::left_padded(&[vec![1; 3]], 4, 0, 0).unwrap();
        let wide = TokenGrid::left_padded(&[vec![1; 5], vec![1; 3]], 4, 0, 0).unwrap();
        let alone = OrderSource::new(&OrderDraws::Counter, 7, &[42])
            .step(3, &narrow, &[true; 7])
            .unwrap();
        let beside = OrderSource::new(&OrderDraws::Counter, 7, &[1, 42])
            .step(3, &wide, &[true; 18])
            .unwrap();
        assert_eq!(alone, beside[11..]);
        let (mut a, mut b) = (TokenDraws::new(7, &[42]), TokenDraws::new(7, &[1, 42]));
        a.at_step(3);
        b.at_step(2);
        assert_ne!(a.uniform(0, 5), b.uniform(1, 5));
        b.at_step(3);
        assert_eq!(a.uniform(0, 5), b.uniform(1, 5));
        assert_ne!(a.uniform(0, 5), a.uniform(0, 6));
    }

    #[test]
    fn recorded_draws_are_dealt_in_order() {
        let grid = TokenGrid::left_padded(&[vec![1]], 2, 0, 0).unwrap();
        let recorded = |layout| OrderDraws::Recorded {
            values: vec![0.1, 0.2, 0.3],
            layout,
        };
        let eligible = [false, true, true];
        let draws = recorded(DrawLayout::Eligible);
        let mut source = OrderSource::new(&draws, 0, &[0]);
        assert_eq!(source.step(0, &grid, &eligible).unwrap(), [0.0, 0.1, 0.2]);
        assert!(source.step(1, &grid, &eligible).is_err());
        let draws = recorded(DrawLayout::Everywhere);
        assert_eq!(
            OrderSource::new(&draws, 0, &[0])
                .step(0, &grid, &eligible)
                .unwrap(),
            [0.1, 0.2, 0.3]
        );
    }
}
