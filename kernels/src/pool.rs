//! Work of one call spread over at most as many threads as torch was given.

use std::sync::{Mutex, PoisonError};

/// Numbers a thread should have to itself before starting it (some 20 µs) is worth it.
const ELEMENTS_PER_THREAD: usize = 1 << 17;

/// Runs `work` on every task, results in the order of the tasks.
///
/// `elements` says how large the whole is; small work stays on the calling thread. What a task computes must not
/// depend on the number of threads, so callers cut their work into blocks of a fixed size.
pub(crate) fn run<T: Send, R: Send>(
    tasks: Vec<T>,
    elements: usize,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    let threads = threads.min(elements / ELEMENTS_PER_THREAD).min(tasks.len());
    if threads <= 1 {
        return tasks.into_iter().map(work).collect();
    }
    let count = tasks.len();
    let queue = Mutex::new(tasks.into_iter().enumerate());
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let drain = || {
        let mut done = Vec::with_capacity(count.div_ceil(threads));
        while let Some((index, task)) = take() {
            done.push((index, work(task)));
        }
        done
    };
    let mut parts = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(drain)).collect();
        let mut parts = drain();
        for other in others {
            match other.join() {
                Ok(part) => parts.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        parts
    });
    parts.sort_unstable_by_key(|&(index, _)| index);
    parts.into_iter().map(|(_, result)| result).collect()
}
