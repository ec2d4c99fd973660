//! One policy's pool: rows of residuals of every layer, filled to the brim, then handed out in
//! shuffled batches.
//!
//! The rows lie in memory, or in files that have no name, so that a killed run leaves nothing
//! behind. What is handed out is the same bits either way.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use harness_engine::error::CellError;
use tch::{Device, Kind, Tensor};

/// Rows that are read at a time for a sum over all of them.
const CHUNK: usize = 4096;

/// Where in the stream a pool begins: a pass, and the first of the policy's rows in it that is not
/// yet used.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub(crate) struct Place {
    pub pass: u64,
    pub row: usize,
}

/// Where rows are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// On the device they come from.
    Memory,
    /// In files in this folder.
    Files(PathBuf),
}

/// Rows gathered so far. All layers hold the same positions.
#[derive(Debug)]
pub(crate) struct Pool {
    capacity: usize,
    have: usize,
    keep: Keep,
    /// Per layer; empty until the first rows come.
    layers: Vec<Layer>,
    /// Where the pool begins.
    pub start: Place,
}

/// Room for the rows of one layer.
#[derive(Debug)]
enum Layer {
    /// `[capacity, d_model]`.
    Memory(Tensor),
    File {
        file: File,
        d_model: usize,
        kind: Kind,
    },
}

impl Pool {
    pub(crate) fn new(capacity: usize, start: Place, keep: Keep) -> Self {
        Self {
            capacity,
            have: 0,
            keep,
            layers: Vec::new(),
            start,
        }
    }

    /// Rows gathered so far.
    pub(crate) fn have(&self) -> usize {
        self.have
    }

    /// Whether the rows of a pass belong to this pool or a later one.
    pub(crate) fn wants(&self, pass: u64) -> bool {
        pass >= self.start.pass
    }

    /// Takes rows of a pass from `from` on, per layer `[n, d_model]`; gives the place after the
    /// last one taken.
    pub(crate) fn add(&mut self, rows: &[Tensor], from: Place) -> Result<Place, CellError> {
        let n = rows.first().map_or(0, |r| r.size()[0] as usize);
        let take = (self.capacity - self.have).min(n.saturating_sub(from.row));
        if take > 0 {
            if self.layers.is_empty() {
                let made: Result<_, CellError> = rows
                    .iter()
                    .map(|rows| Layer::new(rows, self.capacity, &self.keep))
                    .collect();
                self.layers = made?;
            }
            for (layer, rows) in self.layers.iter_mut().zip(rows) {
                let rows = rows.f_narrow(0, from.row as i64, take as i64)?;
                layer.write(self.have, &rows)?;
            }
            self.have += take;
        }
        Ok(Place {
            pass: from.pass,
            row: from.row + take,
        })
    }

    pub(crate) fn is_full(&self) -> bool {
        self.have == self.capacity
    }

    /// Empties the pool; it begins at `next` and takes `capacity` rows, no more than it was made
    /// for.
    pub(crate) fn restart(&mut self, next: Place, capacity: usize) {
        self.have = 0;
        self.start = next;
        self.capacity = capacity;
    }

    /// Rows of a full pool.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The rows at `indices` of a layer, by index: `[m, d_model] f32`.
    pub(crate) fn pick(&self, layer: usize, indices: &[i64]) -> Result<Tensor, CellError> {
        let rows = match &self.layers[layer] {
            Layer::Memory(all) => {
                let indices = Tensor::f_from_slice(indices)?.f_to_device(all.device())?;
                all.f_index_select(0, &indices)?
            }
            Layer::File {
                file,
                d_model,
                kind,
            } => {
                let row = d_model * kind.elt_size_in_bytes();
                let mut bytes = vec![0; indices.len() * row];
                for (to, index) in bytes.chunks_exact_mut(row).zip(indices) {
                    read(file, to, *index as u64 * row as u64)?;
                }
                let shape = [indices.len() as i64, *d_model as i64];
                Tensor::f_from_data_size(&bytes, &shape, *kind)?
            }
        };
        Ok(rows.f_to_kind(Kind::Float)?)
    }

    /// `sqrt(mean |x|^2)` of a layer's rows, in f64.
    pub(crate) fn scale(&self, layer: usize) -> Result<f64, CellError> {
        let mut sum = 0.0;
        for start in (0..self.have).step_by(CHUNK) {
            let end = (start + CHUNK).min(self.have);
            let rows: Vec<i64> = (start as i64..end as i64).collect();
            sum += self
                .pick(layer, &rows)?
                .f_square()?
                .f_sum(Kind::Double)?
                .f_double_value(&[])?;
        }
        Ok((sum / self.have as f64).sqrt())
    }
}

impl Layer {
    fn new(rows: &Tensor, capacity: usize, keep: &Keep) -> Result<Self, CellError> {
        let d_model = rows.size()[1];
        match keep {
            Keep::Memory => {
                let options = (rows.kind(), rows.device());
                Ok(Self::Memory(Tensor::f_empty(
                    [capacity as i64, d_model],
                    options,
                )?))
            }
            Keep::Files(folder) => Ok(Self::File {
                file: tempfile::tempfile_in(folder).map_err(|error| store(folder, &error))?,
                d_model: d_model as usize,
                kind: rows.kind(),
            }),
        }
    }

    /// Puts `rows: [m, d_model]` at row `at`.
    fn write(&mut self, at: usize, rows: &Tensor) -> Result<(), CellError> {
        match self {
            Self::Memory(all) => {
                let mut to = all.f_narrow(0, at as i64, rows.size()[0])?;
                to.f_copy_(rows)?;
                Ok(())
            }
            Self::File {
                file,
                d_model,
                kind,
            } => {
                let rows = rows.f_to_device(Device::Cpu)?.f_contiguous()?;
                let size = kind.elt_size_in_bytes();
                let mut bytes = vec![0; rows.numel() * size];
                rows.f_copy_data_u8(&mut bytes, rows.numel())?;
                let offset = (at * *d_model * size) as u64;
                file.write_all_at(&bytes, offset).map_err(|error| {
                    CellError::Store(format!(
                        "the file that holds a pool's rows cannot be written: {error}"
                    ))
                })
            }
        }
    }
}

fn read(file: &File, to: &mut [u8], offset: u64) -> Result<(), CellError> {
    file.read_exact_at(to, offset).map_err(|error| {
        CellError::Store(format!(
            "the file that holds a pool's rows cannot be read: {error}"
        ))
    })
}

fn store(folder: &Path, error: &std::io::Error) -> CellError {
    let folder = folder.display();
    CellError::Store(format!("{folder}: cannot keep a pool's rows here: {error}"))
}
