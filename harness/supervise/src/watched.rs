//! A process under watch: it is ended when it holds more memory or takes longer than it may.
//!
//! The watch is a thread of its own, so that a leak at the speed of memory does not wait for
//! whoever is busy elsewhere.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    process::{Child, ExitStatus},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// Time between two looks at a process. At the 10 GB/s of fast memory a process is 100 MB over its
/// limit before it is seen; a look takes a few microseconds.
const EVERY: Duration = Duration::from_millis(10);
/// Time between two looks whether a process that is waited for has ended.
const WAIT: Duration = Duration::from_millis(1);
/// Bytes of `/proc/PID/status` that are read: it has about 1,500.
const STATUS_BYTES: usize = 8192;

/// What a process may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Bytes of memory that cannot be taken from it: what it has written, not the files it has
    /// mapped.
    pub memory: Option<u64>,
    /// Time until its end.
    pub time: Option<Duration>,
}

/// Which limit a process was ended for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It held so many bytes, over the limit.
    Memory { held: u64, limit: u64 },
    /// It took longer than this.
    Time(Duration),
}

/// A process that does not outlive the interest in it.
pub struct Watched {
    child: Arc<Mutex<Child>>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The most bytes it held whenever it was looked.
    most: AtomicU64,
    excess: OnceLock<Excess>,
}

impl Watched {
    pub fn new(child: Child, limits: Limits) -> Watched {
        // The file stays that of this process, whoever gets its number after it.
        let status = File::open(format!("/proc/{}/status", child.id())).ok();
        let watched = Watched {
            child: Arc::new(Mutex::new(child)),
            seen: Arc::default(),
        };
        let (child, seen) = (Arc::downgrade(&watched.child), Arc::clone(&watched.seen));
        thread::spawn(move || watch(&child, &seen, status.as_ref(), limits));
        watched
    }

    /// The process itself, to take its pipes.
    pub fn child(&self) -> MutexGuard<'_, Child> {
        lock(&self.child)
    }

    pub fn kill(&self) {
        // It fails when the process has ended already.
        let _ = self.child().kill();
    }

    /// Wait for its end.
    ///
    /// # Errors
    /// When it is not there to be waited for.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        // Not held while waiting: the watch must get at it.
        loop {
            if let Some(status) = self.child().try_wait()? {
                return Ok(status);
            }
            thread::sleep(WAIT);
        }
    }

    /// Wait for its end, and end it when it takes longer than `time`.
    pub fn wait_for(&self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            match self.child().try_wait() {
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return,
            }
            thread::sleep(WAIT);
        }
        self.kill();
    }

    /// The limit it was ended for, if it was.
    pub fn excess(&self) -> Option<Excess> {
        self.seen.excess.get().copied()
    }

    /// The most bytes it was seen to hold.
    pub fn most_held(&self) -> u64 {
        self.seen.most.load(Relaxed)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child().wait();
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Look until the process has ended, is ended, or nobody is interested any more.
fn watch(child: &Weak<Mutex<Child>>, seen: &Seen, status: Option<&File>, limits: Limits) {
    let start = Instant::now();
    loop {
        thread::sleep(EVERY);
        let held = status.and_then(held);
        if let Some(held) = held {
            seen.most.fetch_max(held, Relaxed);
        }
        let Some(child) = child.upgrade() else {
            return;
        };
        let excess = match (held, limits.memory, limits.time) {
            (Some(held), Some(limit), _) if held > limit => Some(Excess::Memory { held, limit }),
            (_, _, Some(time)) if start.elapsed() > time => Some(Excess::Time(time)),
            _ => None,
        };
        let mut child = lock(&child);
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        if let Some(excess) = excess {
            // Said before it is ended: whoever hears of the end asks for the reason.
            let _ = seen.excess.set(excess);
            let _ = child.kill();
            return;
        }
    }
}

/// Bytes a process holds for itself: anonymous and shared memory, swapped out or not.
fn held(status: &File) -> Option<u64> {
    let mut bytes = [0; STATUS_BYTES];
    let n = status.read_at(&mut bytes, 0).ok()?;
    sum(std::str::from_utf8(bytes.get(..n)?).ok()?)
}

fn sum(status: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let kib = field("RssAnon:")? + field("RssShmem:")? + field("VmSwap:").unwrap_or(0);
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        os::unix::process::ExitStatusExt,
        process::{Command, Stdio},
    };

    fn start(script: &str, limits: Limits) -> Watched {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        Watched::new(command.spawn().unwrap(), limits)
    }

    #[test]
    fn memory_of_its_own_counts_and_mapped_files_do_not() {
        let text = "VmRSS:\t 900 kB\nRssAnon:\t  100 kB\nRssFile:\t 780 kB\nRssShmem:\t 20 kB\nVmSwap:\t 5 kB\n";
        assert_eq!(sum(text), Some(125 << 10));
        assert_eq!(sum("Name: zombie\n"), None);
    }

    #[test]
    fn who_holds_too_much_is_ended() {
        let limit = 64 << 20;
        let limits = Limits {
            memory: Some(limit),
            ..Limits::default()
        };
        // A shell that doubles a text until somebody stops it.
        let greedy = start("x=0123456789abcdef; while :; do x=$x$x; done", limits);
        assert_eq!(greedy.wait().unwrap().signal(), Some(9));
        let Some(Excess::Memory { held, limit: said }) = greedy.excess() else {
            panic!("{:?}", greedy.excess());
        };
        assert!(said == limit && held > limit && greedy.most_held() >= held);
    }

    #[test]
    fn who_takes_too_long_is_ended_and_others_are_not() {
        let limits = Limits {
            time: Some(Duration::from_millis(50)),
            ..Limits::default()
        };
        let slow = start("sleep 60", limits);
        assert_eq!(slow.wait().unwrap().signal(), Some(9));
        assert!(matches!(slow.excess(), Some(Excess::Time(_))));
        let quick = start("exit 3", Limits::default());
        assert_eq!(quick.wait().unwrap().code(), Some(3));
        assert_eq!(quick.excess(), None);
    }
}
