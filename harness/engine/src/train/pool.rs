//! One policy's pool: rows of residuals of every layer, filled to the brim, then handed out in shuffled batches.

use tch::Tensor;

use crate::run::CellError;

/// Where in the stream a pool begins: a pass, and the first of the policy's rows in it that is not yet used.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub(super) struct Place {
    pub pass: u64,
    pub row: usize,
}

/// Rows gathered so far. All layers hold the same positions.
#[derive(Debug)]
pub(super) struct Pool {
    capacity: usize,
    have: usize,
    /// Per layer, the pieces that passes brought.
    parts: Vec<Vec<Tensor>>,
    /// Where the pool begins.
    pub start: Place,
}

impl Pool {
    pub(super) fn new(layers: usize, capacity: usize, start: Place) -> Self {
        Self {
            capacity,
            have: 0,
            parts: (0..layers).map(|_| Vec::new()).collect(),
            start,
        }
    }

    /// Whether the rows of a pass belong to this pool or a later one.
    pub(super) fn wants(&self, pass: u64) -> bool {
        pass >= self.start.pass
    }

    /// Takes rows of a pass from `from` on, per layer `[n, d_model]`; gives the place after the last one taken.
    pub(super) fn add(&mut self, rows: &[Tensor], from: Place) -> Result<Place, CellError> {
        let n = rows.first().map_or(0, |r| r.size()[0] as usize);
        let take = (self.capacity - self.have).min(n.saturating_sub(from.row));
        if take > 0 {
            for (parts, rows) in self.parts.iter_mut().zip(rows) {
                // A copy: a view would keep the whole pass alive.
                parts.push(
                    rows.f_narrow(0, from.row as i64, take as i64)?
                        .f_detach_copy()?,
                );
            }
            self.have += take;
        }
        Ok(Place {
            pass: from.pass,
            row: from.row + take,
        })
    }

    pub(super) fn is_full(&self) -> bool {
        self.have == self.capacity
    }

    /// The rows of every layer, `[capacity, d_model]`; the pool is empty and starts at `next`.
    pub(super) fn take(&mut self, next: Place) -> Result<Vec<Tensor>, CellError> {
        let mut all = Vec::with_capacity(self.parts.len());
        for parts in &mut self.parts {
            all.push(Tensor::f_cat(parts, 0)?);
            parts.clear();
        }
        self.have = 0;
        self.start = next;
        Ok(all)
    }
}
