//! The command that starts a worker.

use std::{
    env,
    ffi::OsString,
    path::PathBuf,
    process::{Command, Stdio},
};

use harness_plan::exit;

use super::{Limits, Watched, libtorch};
use crate::{failure::Failure, root};

/// Settings of the numeric libraries under which results hold on any x86-64 machine with AVX2: ATen and oneDNN take
/// their AVX2 code everywhere. MKL keeps an AVX2 promise on Intel's processors only; `COMPATIBLE` is the branch it takes
/// on all of them.
const PINNED: [(&str, &str); 4] = [
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    ("MKL_CBWR", "COMPATIBLE"),
    ("MKL_DYNAMIC", "FALSE"),
];

/// Large tensors come and go with every operation: the allocator keeps their pages, on huge pages where the system offers
/// them, instead of asking for new ones each time. What the user sets wins.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "8589934592"),
    ("MALLOC_TRIM_THRESHOLD_", "17179869184"),
    ("THP_MEM_ALLOC_ENABLE", "1"),
];

/// How workers are started.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    limits: Limits,
}

impl Launch {
    /// Workers with this many threads; `reproducible` pins the instruction set.
    ///
    /// # Errors
    /// When there is no `harness-worker` beside this executable.
    pub fn new(threads: u32, reproducible: bool) -> Result<Launch, Failure> {
        let executable = root::executable()?;
        let program = executable.with_file_name("harness-worker");
        if !program.is_file() {
            let message = format!("there is no {}", program.display());
            return Err(Failure::new(exit::UNEXPECTED, message)
                .hint("build it together with the plugins: `cargo xtask build`"));
        }
        let threads = OsString::from(threads.to_string());
        let mut environment = vec![
            ("OMP_NUM_THREADS", threads.clone()),
            ("MKL_NUM_THREADS", threads),
        ];
        let unset = ALLOCATOR
            .iter()
            .filter(|(name, _)| env::var_os(name).is_none());
        environment.extend(unset.map(|(name, value)| (*name, OsString::from(value))));
        if reproducible {
            environment.extend(PINNED.map(|(name, value)| (name, OsString::from(value))));
        }
        if let Some(lib) = libtorch::find()?.lib {
            let old = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
            let folders = std::iter::once(lib).chain(env::split_paths(&old));
            // A folder with a colon in its name cannot be put on the path; the worker then uses the linked libtorch.
            if let Ok(path) = env::join_paths(folders.filter(|dir| !dir.as_os_str().is_empty())) {
                environment.push(("LD_LIBRARY_PATH", path));
            }
        }
        Ok(Launch {
            program,
            environment,
            limits: Limits::default(),
        })
    }

    /// The same, for workers that may take no more than this.
    #[must_use]
    pub fn limited(self, limits: Limits) -> Launch {
        Launch { limits, ..self }
    }

    /// Start a worker in a mode (`serve` or `job`), with pipes on all its streams.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&self, mode: &str) -> Result<Watched, Failure> {
        let child = Command::new(&self.program)
            .arg(mode)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let message = format!("cannot start {}: {error}", self.program.display());
                Failure::new(exit::UNEXPECTED, message)
                    .hint("build it again with `cargo xtask build`")
            })?;
        Ok(Watched::new(child, self.limits))
    }
}
