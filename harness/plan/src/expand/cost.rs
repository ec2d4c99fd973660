use std::ops::AddAssign;

use serde::Serialize;

/// What cells take, estimated from configurations alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Cells.
    pub cells: u64,
    /// One block run on one row of a batch, once.
    pub block_passes: u64,
    /// Positions through an output head.
    pub head_rows: u64,
    /// Texts generated.
    pub generations: u64,
    /// Questions to the judge (fewer when replies are kept).
    pub judge_calls: u64,
    /// Tokens of these questions, about.
    pub judge_tokens_in: u64,
    /// Tokens of their answers, at most.
    pub judge_tokens_out: u64,
    /// Floating-point operations of blocks, heads and SAEs.
    pub flops: f64,
}

impl Cost {
    /// Of a cell whose work is counted elsewhere, with its group or not at all.
    pub fn of_cell() -> Cost {
        Cost {
            cells: 1,
            ..Cost::default()
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.cells += other.cells;
        self.block_passes += other.block_passes;
        self.head_rows += other.head_rows;
        self.generations += other.generations;
        self.judge_calls += other.judge_calls;
        self.judge_tokens_in += other.judge_tokens_in;
        self.judge_tokens_out += other.judge_tokens_out;
        self.flops += other.flops;
    }
}
