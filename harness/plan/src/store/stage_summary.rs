use serde::{Deserialize, Serialize};

use crate::protocol::Counters;

/// What the cells of a stage took in a run, to be held against what a dry run predicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    /// Cells done.
    pub cells: u64,
    /// Seconds of all workers together.
    pub seconds: f64,
    /// Rows × blocks.
    pub block_passes: u64,
    /// Rows through output heads.
    pub head_rows: u64,
    /// Texts generated.
    pub generations: u64,
    /// Questions asked of a judge, those answered from kept replies included.
    pub judge_calls: u64,
    /// Floating-point operations of blocks, heads and SAEs.
    pub flops: f64,
    /// `flops / seconds`; `None` where nothing was computed.
    pub flops_per_second: Option<f64>,
}

impl StageSummary {
    /// A cell more. Work that cells share is counted with the first of them.
    pub fn add(&mut self, counters: &Counters) {
        self.cells += 1;
        self.seconds += counters.seconds;
        self.block_passes += counters.block_passes;
        self.head_rows += counters.head_rows;
        self.generations += counters.generations;
        self.judge_calls += counters.judge_calls + counters.judge_kept;
        self.flops += counters.flops;
        let has_rate = self.flops > 0.0 && self.seconds > 0.0;
        self.flops_per_second = has_rate.then(|| self.flops / self.seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_add_up_and_a_rate_needs_work() {
        let mut stage = StageSummary::default();
        stage.add(&Counters::default());
        assert_eq!((stage.cells, stage.flops_per_second), (1, None));
        stage.add(&Counters {
            seconds: 2.0,
            flops: 3e9,
            judge_calls: 1,
            judge_kept: 2,
            ..Counters::default()
        });
        assert_eq!((stage.cells, stage.judge_calls), (2, 3));
        assert_eq!(stage.flops_per_second, Some(1.5e9));
    }
}
