use serde::{Deserialize, Serialize};

/// What a cell took. Kept beside its output, never hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Counters {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Rows × blocks run.
    pub block_passes: u64,
    /// Rows through the output head.
    pub head_rows: u64,
    /// Texts generated.
    pub generations: u64,
    /// Questions sent to the judge, kept replies not counted.
    pub judge_calls: u64,
    /// Questions answered from kept replies.
    pub judge_kept: u64,
    /// Questions that the judge's model declined to answer.
    pub judge_refused: u64,
    /// Questions that it answered, and not with what was asked for.
    pub judge_unusable: u64,
    /// Questions that a filter of content turned away.
    pub judge_filtered: u64,
    /// Questions that are longer than it takes.
    pub judge_too_long: u64,
    /// Questions that a limit of its server kept from being answered.
    pub judge_rate_limited: u64,
    /// Questions that its server gave no answer to.
    pub judge_no_answer: u64,
    /// Questions that failed in another way.
    pub judge_failed: u64,
    /// Tokens paid for, sent and received.
    pub judge_tokens: u64,
    /// USD paid for them; 0 where no price is known.
    pub judge_usd: f64,
    /// Seconds of asking live, up to the last reply on the disk.
    pub judge_seconds: f64,
    /// Of these what the harness took itself, see `harness_store::replies::JudgingSummary`; 0
    /// where it cannot be measured.
    pub judge_own_seconds: f64,
    /// Rows through SAEs.
    pub sae_rows: u64,
    /// Batches of grid passes, or of answers.
    pub batches: u64,
    /// Block passes of batches, a stacked pass of s splices counted as s: divided by `batches`, the
    /// passes of one batch.
    pub batch_block_passes: u64,
    /// Cells that were run again in batches of half the rows, for want of memory.
    pub halved_cells: u64,
    /// SAEs whose latents were read off passes over text.
    pub saes_read: u64,
    /// Steps of denoising batches whose features were followed: divided by `batches`, the steps of
    /// one batch.
    pub denoising_steps: u64,
    /// Tokens whose cost was counted in clean grid passes.
    pub counted_tokens: u64,
    /// Floating-point operations of blocks, heads and SAEs.
    pub flops: f64,
    /// Of these the ones of grid passes.
    pub grid_flops: f64,
    /// Seconds of grid passes by what was done.
    pub phases: Phases,
    /// Measured matrix-product peak of the worker, FLOP/s; 0 where it was not measured.
    pub peak_flops: f64,
    /// What single steps took of the device, for cells in which steps were listened to.
    pub steps: StepCounts,
    /// Largest resident memory of the worker so far, in bytes.
    pub peak_bytes: u64,
}

/// What one step asks of the device, summed over the cells in which a step was listened to. A step
/// is one pass of a denoising, autoregressive, grid or reading loop with all that belongs to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StepCounts {
    /// Steps listened to, one a cell.
    pub steps: u64,
    /// Blocks that ran in them, each over its whole batch.
    pub block_passes: u64,
    /// Operations in these blocks: a kernel of libtorch or of ours is one, views and allocations
    /// are none.
    pub block_operations: u64,
    /// Operations outside blocks.
    pub other_operations: u64,
    /// Times the host waited for a tensor.
    pub synchronisations: u64,
    /// Bytes that came to the host.
    pub bytes_to_host: u64,
    /// A bit for each kernel of [`ATTENTION_KERNELS`] that ran.
    pub attention: u64,
}

/// libtorch's attention kernels by their bits in [`StepCounts::attention`]. Which of them runs is
/// libtorch's choice; with a mask it may be `math`, the slow one of plain products.
pub const ATTENTION_KERNELS: [&str; 5] = ["flash", "efficient", "cudnn", "math", "flash_for_cpu"];

impl StepCounts {
    /// The sum of both.
    pub fn add(&mut self, other: &StepCounts) {
        self.steps += other.steps;
        self.block_passes += other.block_passes;
        self.block_operations += other.block_operations;
        self.other_operations += other.other_operations;
        self.synchronisations += other.synchronisations;
        self.bytes_to_host += other.bytes_to_host;
        self.attention |= other.attention;
    }
}

/// Seconds of grid passes by what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Phases {
    /// Loading the model and SAEs.
    pub load: f64,
    /// Reading and tokenising text.
    pub data: f64,
    /// Blocks of the clean pass.
    pub clean: f64,
    /// SAEs: encode and decode.
    pub sae: f64,
    /// Moments of residuals and reconstructions.
    pub moments: f64,
    /// Putting reconstructions into residuals.
    pub splice: f64,
    /// Blocks above the splices.
    pub suffix: f64,
    /// The output head.
    pub head: f64,
    /// Costs and divergences from logits.
    pub costs: f64,
    /// Windows of latents from activations.
    pub windows: f64,
}

impl Phases {
    /// The sum of both.
    pub fn add(&mut self, other: &Phases) {
        let pairs = [
            (&mut self.load, other.load),
            (&mut self.data, other.data),
            (&mut self.clean, other.clean),
            (&mut self.sae, other.sae),
            (&mut self.moments, other.moments),
            (&mut self.splice, other.splice),
            (&mut self.suffix, other.suffix),
            (&mut self.head, other.head),
            (&mut self.costs, other.costs),
            (&mut self.windows, other.windows),
        ];
        for (sum, value) in pairs {
            *sum += value;
        }
    }
}

impl Counters {
    /// Add the work of another cell; peaks are the largest of both.
    pub fn add(&mut self, other: &Counters) {
        self.seconds += other.seconds;
        self.block_passes += other.block_passes;
        self.head_rows += other.head_rows;
        self.generations += other.generations;
        self.judge_calls += other.judge_calls;
        self.judge_kept += other.judge_kept;
        self.judge_refused += other.judge_refused;
        self.judge_unusable += other.judge_unusable;
        self.judge_filtered += other.judge_filtered;
        self.judge_too_long += other.judge_too_long;
        self.judge_rate_limited += other.judge_rate_limited;
        self.judge_no_answer += other.judge_no_answer;
        self.judge_failed += other.judge_failed;
        self.judge_tokens += other.judge_tokens;
        self.judge_usd += other.judge_usd;
        self.judge_seconds += other.judge_seconds;
        self.judge_own_seconds += other.judge_own_seconds;
        self.sae_rows += other.sae_rows;
        self.batches += other.batches;
        self.batch_block_passes += other.batch_block_passes;
        self.halved_cells += other.halved_cells;
        self.saes_read += other.saes_read;
        self.denoising_steps += other.denoising_steps;
        self.counted_tokens += other.counted_tokens;
        self.flops += other.flops;
        self.grid_flops += other.grid_flops;
        self.phases.add(&other.phases);
        self.steps.add(&other.steps);
        self.peak_flops = self.peak_flops.max(other.peak_flops);
        self.peak_bytes = self.peak_bytes.max(other.peak_bytes);
    }
}
