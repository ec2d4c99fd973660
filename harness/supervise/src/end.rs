//! How a worker ended, in words.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use harness_contract::{exit, sanitize::sanitize};

use crate::{error::Error, libtorch};

/// Lines of standard error kept.
const KEPT_LINES: usize = 12;
/// Time the last lines get to come once their process has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Bytes of one line kept.
const KEPT_BYTES: u64 = 4096;

/// The last lines of a worker's standard error.
pub struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl Tail {
    /// Keep the last lines of a stream, reading it to its end on a thread of its own.
    pub fn of(stream: impl Read + Send + 'static) -> Tail {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            loop {
                let mut line = Vec::new();
                match (&mut stream).take(KEPT_BYTES).read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
                let line = sanitize(String::from_utf8_lossy(&line).trim_end());
                if let Ok(mut kept) = kept.lock()
                    && !line.is_empty()
                {
                    kept.push_back(line);
                    if kept.len() > KEPT_LINES {
                        kept.pop_front();
                    }
                }
            }
        });
        Tail { lines, reader }
    }

    /// The lines, once the process has ended.
    pub fn finish(self) -> String {
        let start = Instant::now();
        // A process that the dead one has started may hold the stream open for ever.
        while !self.reader.is_finished() && start.elapsed() < LAST_WORDS {
            thread::sleep(Duration::from_millis(1));
        }
        self.lines.lock().map_or_else(
            |_| String::new(),
            |lines| lines.iter().cloned().collect::<Vec<_>>().join("\n"),
        )
    }
}

/// The signal that ends a process whatever it does.
pub const SIGKILL: i32 = 9;

/// What an exit status says, such as `was killed by signal 11 (SIGSEGV: a bad memory access)`.
pub fn describe(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        let code = status
            .code()
            .map_or_else(|| "unknown".to_owned(), |code| code.to_string());
        return format!("ended with exit code {code}");
    };
    let name = match signal {
        4 => " (SIGILL: an instruction this processor does not have)",
        6 => " (SIGABRT: it aborted)",
        7 => " (SIGBUS: a file that shrank, or a full disk, under a memory map)",
        8 => " (SIGFPE: an arithmetic fault)",
        SIGKILL => " (SIGKILL: often the system, out of memory)",
        11 => " (SIGSEGV: a bad memory access)",
        15 => " (SIGTERM)",
        _ => "",
    };
    format!("was killed by signal {signal}{name}")
}

/// Whether it was ended by a request: Ctrl-C (SIGINT), a closed terminal (SIGHUP), a scheduler
/// (SIGTERM, SIGUSR1).
pub fn was_asked(status: ExitStatus) -> bool {
    matches!(status.signal(), Some(1 | 2 | 10 | 15))
}

/// The message about a worker that ended unasked, with what it said last.
pub fn death(status: ExitStatus, stderr: &str) -> String {
    let mut message = format!("the worker {}", describe(status));
    if !stderr.is_empty() {
        message.push_str("; its last words:\n  ");
        message.push_str(&stderr.replace('\n', "\n  "));
    }
    message
}

/// A worker that ended before it said anything: mostly a libtorch that is not found.
pub fn never_spoke(status: ExitStatus, stderr: &str) -> Error {
    let is_linker = status.code() == Some(127)
        || ["error while loading shared", "symbol lookup error"]
            .iter()
            .any(|words| stderr.contains(words));
    let message = death(status, stderr);
    if is_linker {
        let cure = libtorch::cure();
        return Error::new(exit::DEVICE, message).hint(match libtorch::find() {
            Ok(found) => format!("it was started with {found}. {cure}"),
            Err(_) => cure,
        });
    }
    Error::new(exit::UNEXPECTED, message)
        .hint("build host, worker and plugins together: `cargo xtask build`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_are_told_with_signal_and_last_words() {
        let status = ExitStatus::from_raw(6);
        let text = death(status, "terminate called\nboom");
        assert!(text.contains("signal 6 (SIGABRT"), "{text}");
        assert!(!was_asked(status) && was_asked(ExitStatus::from_raw(2)));
        assert!(text.ends_with("its last words:\n  terminate called\n  boom"));
        assert_eq!(
            death(ExitStatus::from_raw(3 << 8), ""),
            "the worker ended with exit code 3"
        );
    }

    #[test]
    fn a_missing_libtorch_names_its_cure() {
        let failure = never_spoke(
            ExitStatus::from_raw(127 << 8),
            "error while loading shared libraries: libtorch_cpu.so",
        );
        assert!(failure.hint.contains("cargo xtask setup"));
        assert_eq!(failure.code, exit::DEVICE);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let text: String = (0..100).map(|i| format!("line {i}\n")).collect();
        let kept = Tail::of(std::io::Cursor::new(text)).finish();
        assert_eq!(kept.lines().count(), KEPT_LINES);
        assert!(kept.ends_with("line 99"));
    }
}
