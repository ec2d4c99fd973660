use serde::{Deserialize, Serialize};

use harness_contract::protocol::{ATTENTION_KERNELS, Counters, StepCounts};

/// What the cells of a stage took in a run, to be held against what a dry run predicts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// What single steps took of the device.
    pub steps: StepCounts,
    /// Operations of a block over a batch; `None` where no step was listened to.
    pub operations_per_block_pass: Option<f64>,
    /// Operations of a step outside the blocks.
    pub operations_outside_blocks_per_step: Option<f64>,
    /// Times in a step that the host waits for a tensor.
    pub host_synchronisations_per_step: Option<f64>,
    /// Bytes of a step that come to the host.
    pub bytes_to_host_per_step: Option<f64>,
    /// Attention kernels of libtorch that ran in these steps.
    pub attention_kernels: Vec<String>,
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
        self.steps.add(&counters.steps);
        let mean = |sum: u64, of: u64| (of > 0).then(|| sum as f64 / of as f64);
        let steps = &self.steps;
        self.operations_per_block_pass = mean(steps.block_operations, steps.block_passes);
        self.operations_outside_blocks_per_step = mean(steps.other_operations, steps.steps);
        self.host_synchronisations_per_step = mean(steps.synchronisations, steps.steps);
        self.bytes_to_host_per_step = mean(steps.bytes_to_host, steps.steps);
        self.attention_kernels = (ATTENTION_KERNELS.iter().enumerate())
            .filter(|(bit, _)| steps.attention >> bit & 1 == 1)
            .map(|(_, name)| (*name).to_owned())
            .collect();
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
        assert_eq!(stage.operations_per_block_pass, None);
        for (n_blocks, bytes_to_host) in [(4, 100), (8, 300)] {
            let steps = StepCounts {
                steps: 1,
                block_passes: n_blocks,
                block_operations: 15 * n_blocks,
                other_operations: 20,
                synchronisations: 1,
                bytes_to_host,
                attention: n_blocks,
            };
            stage.add(&Counters {
                steps,
                ..Counters::default()
            });
        }
        assert_eq!(stage.operations_per_block_pass, Some(15.0));
        assert_eq!(stage.operations_outside_blocks_per_step, Some(20.0));
        assert_eq!(stage.host_synchronisations_per_step, Some(1.0));
        assert_eq!(stage.bytes_to_host_per_step, Some(200.0));
        assert_eq!(stage.attention_kernels, ["cudnn", "math"]);
    }
}
