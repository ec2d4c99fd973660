//! Weighted sums of table rows, one sum a bag, on a CPU.
//!
//! A sum runs over its bag in order with fused multiply-adds in f32, whatever form is taken, so
//! every form, level and number of threads gives the same bits. Three forms: `Direct` walks bag by
//! bag through the table; `Libtorch` does the same in its embedding bag, which is faster for f32
//! (bf16 it would round); `Packed` first copies a strip of the table's columns together, so that
//! the rows a bag jumps between lie in the second- and third-level cache, and does all bags for
//! that strip. Packing reads the table once more than the bags need, so it pays where bags read the
//! table several times over and the table is larger than the caches.

use crate::{
    host::Element,
    pool,
    simd::{Level, levels},
};

/// Columns summed in registers at a time.
const LANES: usize = 64;
/// Bags of a task.
const BLOCK: usize = 32;
/// Bytes of a table that stay in the caches as they are.
const CACHED: usize = 8 << 20;

/// How `sum` walks through the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Bag by bag.
    Direct,
    /// libtorch's embedding bag, for f32 tables.
    Libtorch,
    /// Strip of columns by strip of columns, each copied together first.
    Packed,
}

impl Form {
    /// The form for `entries` reads of rows from a table of `rows` rows of `d` numbers of `size`
    /// bytes.
    ///
    /// Measured with `harness-perf kernels`: a table of more than 8 MiB is packed where its rows
    /// are read more than five times each on average. Without fused multiply-adds libtorch's bits
    /// are not ours, so it is left out there.
    #[must_use]
    pub fn choose(entries: usize, rows: usize, d: usize, size: usize) -> Self {
        if rows * d * size > CACHED && entries > 5 * rows {
            Self::Packed
        } else if size == 4 && Level::best() > Level::Portable {
            Self::Libtorch
        } else {
            Self::Direct
        }
    }
}

/// Bags of `(row, weight)`: bag `i` is `starts[i]..starts[i + 1]`.
pub(crate) struct Bags {
    pub starts: Vec<usize>,
    pub rows: Vec<u32>,
    pub weights: Vec<f32>,
}

impl Bags {
    /// The used slots of `latents: [n, w]`, every latent below the number of rows of the table; -1
    /// is unused.
    pub(crate) fn from_slots(acts: &[f32], latents: &[i64], w: usize) -> Self {
        let mut bags = Self {
            starts: Vec::with_capacity(latents.len() / w.max(1) + 1),
            rows: Vec::with_capacity(latents.len()),
            weights: Vec::with_capacity(latents.len()),
        };
        bags.starts.push(0);
        for (acts, latents) in acts.chunks_exact(w).zip(latents.chunks_exact(w)) {
            for (&act, &latent) in acts.iter().zip(latents) {
                if latent >= 0 {
                    bags.rows.push(latent as u32);
                    bags.weights.push(act);
                }
            }
            bags.starts.push(bags.rows.len());
        }
        bags
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Rows and weights of bag `i`.
    fn bag(&self, i: usize) -> (&[u32], &[f32]) {
        let range = self.starts[i]..self.starts[i + 1];
        (&self.rows[range.clone()], &self.weights[range])
    }
}

/// `out[i] = Σ weight · table[row]` over bag `i`: `table: [rows, d]`, `out: [bags, d]`; ours, never
/// libtorch's.
pub(crate) fn sum<T: Element>(bags: &Bags, table: &[T], d: usize, form: Form, out: &mut [f32]) {
    match form {
        Form::Direct | Form::Libtorch => direct(bags, table, d, out),
        Form::Packed => packed(bags, table, d, out),
    }
}

fn direct<T: Element>(bags: &Bags, table: &[T], d: usize, out: &mut [f32]) {
    let level = Level::current();
    let work = bags.rows.len() * d + out.len();
    let tasks: Vec<_> = out.chunks_mut(BLOCK * d).enumerate().collect();
    pool::run(tasks, work, |(block, out)| {
        for (i, out) in out.chunks_exact_mut(d).enumerate() {
            let (rows, weights) = bags.bag(block * BLOCK + i);
            out.fill(0.0);
            add_whole_rows(level, table, rows, weights, out);
        }
    });
}

/// Where threads write columns of their own of one matrix.
struct Columns(*mut f32);

// SAFETY: the pointer is used by `packed` only, where every task writes other columns.
unsafe impl Sync for Columns {}

impl Columns {
    /// Columns `from..from + width` of row `i`.
    ///
    /// # Safety
    /// The range lies within the matrix, and nobody else uses these columns meanwhile.
    #[expect(clippy::mut_from_ref, reason = "threads write columns of their own")]
    unsafe fn of_row(&self, i: usize, d: usize, from: usize, width: usize) -> &mut [f32] {
        // SAFETY: guaranteed by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(i * d + from), width) }
    }
}

fn packed<T: Element>(bags: &Bags, table: &[T], d: usize, out: &mut [f32]) {
    let level = Level::current();
    let work = bags.rows.len() * d + out.len();
    debug_assert_eq!(out.len(), bags.len() * d);
    let columns = Columns(out.as_mut_ptr());
    pool::run((0..d).step_by(LANES).collect(), work, |from| {
        let width = LANES.min(d - from);
        let mut strip = Vec::with_capacity(table.len() / d * width);
        for row in table.chunks_exact(d) {
            strip.extend_from_slice(&row[from..from + width]);
        }
        for i in 0..bags.len() {
            let (rows, weights) = bags.bag(i);
            // SAFETY: `out` holds `bags.len()` rows of `d` numbers and is borrowed exclusively by
            // this function; a task has the columns of its own strip.
            let out = unsafe { columns.of_row(i, d, from, width) };
            add_rows(level, &strip, rows, weights, out);
        }
    });
}

levels! {
    /// Adds weighted rows of `table: [.., d]` to `out: [d]`, which stays in the first-level cache
    /// meanwhile.
    fn add_whole_rows<T: Element>(table: &[T], rows: &[u32], weights: &[f32], out: &mut [f32]) = add_whole_rows_body;
}

levels! {
    /// Sums weighted rows of `strip: [.., out.len()]` into `out`, at most [`LANES`] numbers.
    fn add_rows<T: Element>(strip: &[T], rows: &[u32], weights: &[f32], out: &mut [f32]) = add_rows_body;
}

#[inline(always)]
fn add_whole_rows_body<T: Element>(table: &[T], rows: &[u32], weights: &[f32], out: &mut [f32]) {
    let d = out.len();
    for (&row, &weight) in rows.iter().zip(weights) {
        for (sum, v) in out.iter_mut().zip(&table[row as usize * d..][..d]) {
            *sum = v.f32().mul_add(weight, *sum);
        }
    }
}

#[inline(always)]
fn add_rows_body<T: Element>(strip: &[T], rows: &[u32], weights: &[f32], out: &mut [f32]) {
    let mut sums = [0.0f32; LANES];
    let width = out.len();
    if width == LANES {
        for (&row, &weight) in rows.iter().zip(weights) {
            sums = add(sums, &strip[row as usize * LANES..][..LANES], weight);
        }
    } else {
        for (&row, &weight) in rows.iter().zip(weights) {
            for (sum, v) in sums.iter_mut().zip(&strip[row as usize * width..][..width]) {
                *sum = v.f32().mul_add(weight, *sum);
            }
        }
    }
    out.copy_from_slice(&sums[..width]);
}

/// By value, so that the sums stay in registers.
#[inline(always)]
fn add<T: Element>(mut sums: [f32; LANES], row: &[T], weight: f32) -> [f32; LANES] {
    for (sum, v) in sums.iter_mut().zip(row) {
        *sum = v.f32().mul_add(weight, *sum);
    }
    sums
}
