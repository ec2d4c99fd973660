//! Counts what a step asks of the device: operations, and times that the host waits for it.
//!
//! A step is one pass of a denoising, autoregressive, grid or reading loop with all that belongs to
//! it. Of each cell the first few steps are listened to, and the last of these is what is told, so
//! that what is prepared once is not counted and listening costs nothing over a cell.

use std::cell::RefCell;

use harness_contract::protocol::StepCounts;
use harness_kernels::record::{Counting, Operations};

/// Steps of a cell that are listened to.
const LISTENED: u64 = 3;

#[derive(Default)]
struct State {
    /// Steps of the cell begun so far.
    begun: u64,
    /// The step under way.
    counting: Option<Counting>,
    /// What blocks took of it.
    in_blocks: Operations,
    block_passes: u64,
    /// What was done on tensors of the host, which is no device's work.
    on_host: Operations,
    /// The last step that was listened to.
    last: StepCounts,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// A step under way; it ends where this is dropped.
pub struct Step {
    is_outer: bool,
}

/// Begins a step. Within another step it is part of that.
#[must_use]
pub fn step() -> Step {
    STATE.with_borrow_mut(|state| {
        if state.counting.is_some() {
            return Step { is_outer: false };
        }
        state.begun += 1;
        let is_outer = state.begun <= LISTENED;
        if is_outer {
            (state.in_blocks, state.block_passes) = (Operations::default(), 0);
            state.on_host = Operations::default();
            state.counting = Some(Counting::begin());
        }
        Step { is_outer }
    })
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.is_outer {
            return;
        }
        STATE.with_borrow_mut(|state| {
            let Some(counting) = state.counting.take() else {
                return;
            };
            let all = counting.so_far();
            state.last = StepCounts {
                steps: 1,
                block_passes: state.block_passes,
                block_operations: state.in_blocks.operations,
                other_operations: all.operations
                    - state.in_blocks.operations
                    - state.on_host.operations,
                synchronisations: all.reads - state.on_host.reads,
                bytes_to_host: all.bytes - state.on_host.bytes,
                attention: all.attention,
            };
        });
    }
}

/// Runs `work`, which is `n_blocks` blocks of a model over one batch.
pub fn in_blocks<T>(n_blocks: u64, work: impl FnOnce() -> T) -> T {
    apart(work, |state, took| {
        state.block_passes += n_blocks;
        state.in_blocks.operations += took.operations;
    })
}

/// Runs `work` that has tensors of the host alone, wherever the model is: what orders and policies
/// of plugins do.
pub fn on_host<T>(work: impl FnOnce() -> T) -> T {
    apart(work, |state, took| {
        state.on_host.operations += took.operations;
        state.on_host.reads += took.reads;
        state.on_host.bytes += took.bytes;
    })
}

/// Runs `work` and enters what it took, where a step is listened to.
fn apart<T>(work: impl FnOnce() -> T, enter: impl FnOnce(&mut State, Operations)) -> T {
    let so_far = || STATE.with_borrow(|state| state.counting.as_ref().map(Counting::so_far));
    let before = so_far();
    let result = work();
    if let (Some(before), Some(after)) = (before, so_far()) {
        let took = Operations {
            operations: after.operations - before.operations,
            reads: after.reads - before.reads,
            bytes: after.bytes - before.bytes,
            attention: after.attention,
        };
        STATE.with_borrow_mut(|state| enter(state, took));
    }
    result
}

/// What was counted of the cell that ends here; the next one begins.
pub fn take() -> StepCounts {
    STATE.take().last
}

#[cfg(test)]
mod tests {
    use harness_contract::protocol::ATTENTION_KERNELS;
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn the_last_step_listened_to_is_told_without_what_was_prepared_once() {
        take();
        let x = Tensor::rand([2, 2], (Kind::Float, Device::Cpu));
        for i in 0..5 {
            let _step = step();
            if i == 0 {
                let _ = &x * 2.0;
            }
            let _ = in_blocks(4, || {
                let _inner = step();
                (&x + 1.0) * 2.0
            });
            let _ = x.relu();
            on_host(|| x.double_value(&[0, 0]));
            if i > 3 {
                let _ = x.relu();
            }
            assert_eq!(harness_kernels::readback::f32s(&x).unwrap().len(), 4);
        }
        let told = StepCounts {
            steps: 1,
            block_passes: 4,
            block_operations: 2,
            other_operations: 1,
            synchronisations: 1,
            bytes_to_host: 16,
            attention: 0,
        };
        assert_eq!(take(), told);
        {
            let _step = step();
            let q = Tensor::rand([1, 2, 3, 4], (Kind::Float, Device::Cpu));
            let _ = Tensor::scaled_dot_product_attention::<Tensor>(
                &q, &q, &q, None, 0.0, false, None, false,
            );
        }
        // The shim's bits and the names of run.json are two lists.
        let bit = take().attention.trailing_zeros() as usize;
        assert_eq!(ATTENTION_KERNELS[bit], "flash_for_cpu");
        assert_eq!(take(), StepCounts::default());
    }
}
