//! Work of one call spread over torch's threads.

use std::{
    any::Any,
    os::raw::c_void,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Mutex, OnceLock, PoisonError},
    thread,
};

/// Numbers a thread should have to itself before waking it is worth it, as in libtorch.
const ELEMENTS_PER_THREAD: usize = 1 << 15;

/// Runs `work` on every task, results in the order of the tasks.
///
/// `elements` says how large the whole is; small work stays on the calling thread. What a task
/// computes must not depend on the number of threads, so callers cut their work into blocks of a
/// fixed size.
pub(crate) fn run<T: Send, R: Send>(
    tasks: Vec<T>,
    elements: usize,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    if threads <= 1 || tasks.len() <= 1 || elements < 2 * ELEMENTS_PER_THREAD {
        return tasks.into_iter().map(work).collect();
    }
    let parts = Mutex::new(Vec::with_capacity(tasks.len()));
    let queue = Mutex::new(tasks.into_iter().enumerate());
    let take = || lock(&queue).next();
    on_threads(threads, &|| {
        let mut done = Vec::new();
        while let Some((index, task)) = take() {
            done.push((index, work(task)));
        }
        lock(&parts).append(&mut done);
    });
    let mut parts = parts.into_inner().unwrap_or_else(PoisonError::into_inner);
    parts.sort_unstable_by_key(|&(index, _)| index);
    parts.into_iter().map(|(_, result)| result).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on so many threads at once, of which the calling one is one; a panic of any of them
/// is the caller's.
///
/// The threads are those of torch's own operations where its OpenMP is GNU's: they are awake from
/// the operation before, while threads of our own would share the processors with them.
fn on_threads(threads: usize, work: &(dyn Fn() + Sync)) {
    let team = Team {
        work,
        panic: Mutex::new(None),
    };
    match gnu_parallel() {
        // SAFETY: `member` takes the team's address, which lives until all threads are done: GNU's
        // OpenMP returns only then.
        Some(parallel) => unsafe {
            parallel(
                member,
                (&raw const team).cast_mut().cast(),
                threads as u32,
                0,
            );
        },
        None => thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| team.join());
            }
            team.join();
        }),
    }
    let panic = team.panic.into_inner();
    if let Some(panic) = panic.unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(panic);
    }
}

struct Team<'a> {
    work: &'a (dyn Fn() + Sync),
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Team<'_> {
    fn join(&self) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(self.work)) {
            *lock(&self.panic) = Some(panic);
        }
    }
}

/// What each thread of a team runs.
extern "C" fn member(team: *mut c_void) {
    // SAFETY: `on_threads` passes the address of a team that outlives the call, and a shared one.
    unsafe { &*team.cast_const().cast::<Team>() }.join();
}

/// `GOMP_parallel(function, data, threads, flags)`.
type GnuParallel = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void, u32, u32);

/// The function by which GNU's OpenMP runs a team, if the process has it.
fn gnu_parallel() -> Option<GnuParallel> {
    static FOUND: OnceLock<Option<GnuParallel>> = OnceLock::new();
    *FOUND.get_or_init(find_gnu_parallel)
}

#[cfg(target_os = "linux")]
fn find_gnu_parallel() -> Option<GnuParallel> {
    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, name: *const std::os::raw::c_char) -> *mut c_void;
    }
    // SAFETY: the null handle means all libraries of the process, and the name ends with a zero.
    // The symbol is that of libgomp, whose signature has not changed since GCC 4.9.
    unsafe {
        let symbol = dlsym(std::ptr::null_mut(), c"GOMP_parallel".as_ptr());
        (!symbol.is_null()).then(|| std::mem::transmute::<*mut c_void, GnuParallel>(symbol))
    }
}

#[cfg(not(target_os = "linux"))]
fn find_gnu_parallel() -> Option<GnuParallel> {
    None
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_team_is_as_large_as_asked_for_and_works_together() {
        let seen = Mutex::new(HashSet::new());
        on_threads(3, &|| {
            lock(&seen).insert(thread::current().id());
        });
        assert_eq!(lock(&seen).len(), 3);
        assert!(cfg!(not(target_os = "linux")) || gnu_parallel().is_some());
    }

    #[test]
    fn results_come_in_the_order_of_the_tasks() {
        let squares = run((0..1000usize).collect(), 1 << 20, |i| i * i);
        assert_eq!(squares, (0..1000).map(|i| i * i).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_on_any_thread_reaches_the_caller() {
        let run = || on_threads(2, &|| panic!("of a task"));
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"of a task"));
    }
}
