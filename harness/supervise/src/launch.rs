//! The command that starts a worker.

use std::{
    env,
    ffi::OsString,
    path::PathBuf,
    process::{Command, Stdio},
};

use harness_contract::exit;

use crate::{
    error::Error,
    installation,
    libtorch::{self, LIBRARY_PATH, Libtorch},
    watched::{Limits, Watched},
};

/// Settings of the numeric libraries under which results hold on any x86-64 machine with AVX2: ATen
/// and oneDNN take their AVX2 code everywhere. MKL keeps an AVX2 promise on Intel's processors
/// only; `COMPATIBLE` is the branch it takes on all of them.
const PINNED: [(&str, &str); 4] = [
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    ("MKL_CBWR", "COMPATIBLE"),
    ("MKL_DYNAMIC", "FALSE"),
];

/// Large tensors come and go with every operation: the allocator keeps their pages, on huge pages
/// where the system offers them, instead of asking for new ones each time. What the user sets wins.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "8589934592"),
    ("MALLOC_TRIM_THRESHOLD_", "17179869184"),
    ("THP_MEM_ALLOC_ENABLE", "1"),
];

/// Where pip puts NVRTC, from the folder that holds the torch package. Kernels of the harness are
/// compiled by it, and what torch has loaded for itself is not found by its name.
const NVRTC: &str = "nvidia/cu13/lib";

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
    /// When there is no `harness-worker` beside this executable, or no libtorch for it.
    pub fn new(threads: u32, reproducible: bool) -> Result<Launch, Error> {
        let executable = installation::executable()?;
        let program = executable.with_file_name("harness-worker");
        if !program.is_file() {
            let message = format!("there is no {}", program.display());
            return Err(Error::new(exit::UNEXPECTED, message)
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
        let folders = library_folders(&libtorch::find()?);
        if !folders.is_empty() {
            environment.push((LIBRARY_PATH, library_path(folders)?));
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
    pub fn start(&self, mode: &str) -> Result<Watched, Error> {
        let child = Command::new(&self.program)
            .arg(mode)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let message = format!("cannot start {}: {error}", self.program.display());
                Error::new(exit::UNEXPECTED, message)
                    .hint("build it again with `cargo xtask build`")
            })?;
        Ok(Watched::new(child, self.limits))
    }
}

/// The folders of libraries that a libtorch brings: its own, where the worker does not find it by
/// itself, and that of NVRTC, where it is installed beside the torch package.
fn library_folders(libtorch: &Libtorch) -> Vec<PathBuf> {
    let package = libtorch.folder.canonicalize().ok();
    let nvrtc = package.and_then(|package| Some(package.parent()?.join(NVRTC)));
    let nvrtc = nvrtc.filter(|folder| folder.is_dir());
    libtorch.lib.clone().into_iter().chain(nvrtc).collect()
}

/// The folders in which a worker looks for libraries first: these, then the user's.
fn library_path(folders: Vec<PathBuf>) -> Result<OsString, Error> {
    let users = env::var_os(LIBRARY_PATH).unwrap_or_default();
    let users = env::split_paths(&users).filter(|dir| !dir.as_os_str().is_empty());
    env::join_paths(folders.iter().cloned().chain(users)).map_err(|_| {
        let named: Vec<_> = folders
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        let message = format!(
            "{} cannot be put on {LIBRARY_PATH}, whose folders are parted by colons",
            named.join(" and ")
        );
        Error::new(exit::DEVICE, message).hint("give the folder a name without a colon")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::libtorch::Origin;

    #[test]
    fn nvrtc_is_found_beside_the_torch_package() {
        let packages = tempfile::tempdir().unwrap();
        let packages = packages.path().canonicalize().unwrap();
        let torch = packages.join("torch");
        fs::create_dir_all(torch.join("lib")).unwrap();
        let given = Libtorch {
            lib: Some(torch.join("lib")),
            folder: torch.clone(),
            version: None,
            origin: Origin::Python,
        };
        assert_eq!(library_folders(&given), [torch.join("lib")]);
        let nvrtc = packages.join("nvidia/cu13/lib");
        fs::create_dir_all(&nvrtc).unwrap();
        assert_eq!(library_folders(&given), [torch.join("lib"), nvrtc.clone()]);
        // A worker finds the linked one by itself, whose folder is a link to the package.
        let link = packages.join(".libtorch");
        std::os::unix::fs::symlink(&torch, &link).unwrap();
        let linked = Libtorch {
            lib: None,
            folder: link,
            version: None,
            origin: Origin::Linked,
        };
        assert_eq!(library_folders(&linked), std::slice::from_ref(&nvrtc));
        let joined = library_path(vec![torch.join("lib"), nvrtc.clone()]).unwrap();
        let joined: Vec<PathBuf> = env::split_paths(&joined).collect();
        assert_eq!(joined[..2], [torch.join("lib"), nvrtc]);
        let error = library_path(vec![PathBuf::from("with:colon")]).unwrap_err();
        assert!(error.to_string().contains("with:colon"), "{error}");
    }
}
