use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A unit this many times larger than a chunk is torn.
const TOO_LARGE: f64 = 2.0;

/// Cells that are best run by one process, with the seconds that each takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Model, by name.
    pub model: String,
    /// Keys and seconds, in the order of the plan.
    pub cells: Vec<(String, f64)>,
}

impl Unit {
    fn seconds(&self) -> f64 {
        self.cells.iter().map(|(_, seconds)| seconds).sum()
    }

    /// The unit in pieces of about so many seconds, where it is much larger.
    fn pieces(self, seconds: f64) -> Vec<Unit> {
        if self.seconds() <= TOO_LARGE * seconds {
            return vec![self];
        }
        let mut pieces: Vec<Unit> = Vec::new();
        for cell in self.cells {
            match pieces.last_mut() {
                Some(last) if fits(last.seconds(), cell.1, seconds) => last.cells.push(cell),
                _ => pieces.push(Unit {
                    model: self.model.clone(),
                    cells: vec![cell],
                }),
            }
        }
        pieces
    }
}

/// Cells that one process is to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// Models they are about, by name.
    pub models: Vec<String>,
    /// What they take together, about; what they read and nobody has done not counted.
    pub seconds: f64,
    /// Their keys.
    pub cells: Vec<String>,
}

impl Chunk {
    fn take(&mut self, unit: Unit) {
        self.seconds += unit.seconds();
        if !self.models.contains(&unit.model) {
            self.models.push(unit.model);
        }
        self.cells
            .extend(unit.cells.into_iter().map(|(key, _)| key));
    }

    fn join(&mut self, next: Chunk) {
        self.seconds += next.seconds;
        let new = |model: &String| !self.models.contains(model);
        let models: Vec<String> = next.models.into_iter().filter(new).collect();
        self.models.extend(models);
        self.cells.extend(next.cells);
    }
}

/// Cut units into chunks of about so many seconds, `most` at most (and one at least, where there is
/// a cell). Every cell is in one chunk. A chunk is of one model, and a unit in one chunk unless it
/// is more than twice as large, as long as there are not too many chunks: then neighbours are
/// joined.
pub fn cut(units: Vec<Unit>, seconds: f64, most: usize) -> Vec<Chunk> {
    let mut order: Vec<String> = Vec::new();
    let mut of_model: BTreeMap<String, Vec<Unit>> = BTreeMap::new();
    for unit in units.into_iter().filter(|unit| !unit.cells.is_empty()) {
        if !order.contains(&unit.model) {
            order.push(unit.model.clone());
        }
        of_model.entry(unit.model.clone()).or_default().push(unit);
    }
    let mut chunks = Vec::new();
    for model in order {
        let mut chunk = Chunk::default();
        let units = of_model.remove(&model).unwrap_or_default();
        for piece in units.into_iter().flat_map(|unit| unit.pieces(seconds)) {
            if !chunk.cells.is_empty() && !fits(chunk.seconds, piece.seconds(), seconds) {
                chunks.push(std::mem::take(&mut chunk));
            }
            chunk.take(piece);
        }
        chunks.push(chunk);
    }
    join_neighbours(&mut chunks, most.max(1));
    chunks
}

/// Whether something is nearer to the size wanted with a part than without it.
fn fits(so_far: f64, part: f64, wanted: f64) -> bool {
    so_far + part / 2.0 <= wanted
}

/// Join the two neighbours that are smallest together until there are few enough.
fn join_neighbours(chunks: &mut Vec<Chunk>, most: usize) {
    while chunks.len() > most {
        let together = |i: &usize| chunks[*i].seconds + chunks[*i + 1].seconds;
        let smallest = (0..chunks.len() - 1).min_by(|a, b| together(a).total_cmp(&together(b)));
        let Some(i) = smallest else { return };
        let next = chunks.remove(i + 1);
        chunks[i].join(next);
    }
}
