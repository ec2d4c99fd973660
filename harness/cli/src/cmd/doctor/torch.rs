//! The libtorch of workers, and the torch of the Python in reach.

use std::{
    env,
    path::{Path, PathBuf},
};

use harness_contract::{
    exit,
    jobs::{LibtorchReport, Problem, PythonTorch},
    protocol::TORCH_VERSION,
};
use harness_supervise::libtorch::{self, LIBRARY_PATH, Libtorch, Origin};

/// What is known of the libtorch that workers are started with, and what is wrong with it.
///
/// - `loaded`: the folder that a worker has loaded it from, where one has started.
pub fn report(loaded: Option<&str>, why_missing: &str) -> (LibtorchReport, Vec<Problem>) {
    // Where there is none the worker did not start, which has been told.
    let first = libtorch::first().ok();
    let loaded = loaded.map(PathBuf::from);
    let lib = loaded.clone().or_else(|| first.as_ref()?.lib.clone());
    // The files that say the version lie above the libraries.
    let above = |lib: &PathBuf| lib.parent().map(Path::to_path_buf);
    let of_first = first.as_ref().map(|first| first.folder.clone());
    let folder = loaded.as_ref().and_then(above).or(of_first);
    let python = python_torch();
    let of_folder = |read: fn(&Path) -> Option<String>| folder.as_deref().and_then(read);
    let version = of_folder(libtorch::build);
    let reason = match (&loaded, &version) {
        (None, _) => Some(why_missing.to_owned()),
        (_, None) => Some("no file beside it says its version".to_owned()),
        _ => None,
    };
    let report = LibtorchReport {
        version,
        needed: TORCH_VERSION.to_owned(),
        folder: lib.as_ref().map(|lib| lib.display().to_string()),
        origin: origin(first.as_ref(), loaded.as_deref()),
        has_cuda: lib.map(|lib| lib.join("libtorch_cuda.so").exists()),
        cuda: of_folder(libtorch::cuda),
        python,
        reason,
    };
    let problems = problems(&report, loaded.as_deref(), folder.as_deref());
    (report, problems)
}

/// Where the libtorch was found: what a worker has loaded is the truth, where one has started.
fn origin(first: Option<&Libtorch>, loaded: Option<&Path>) -> String {
    let of_first = || first.map_or("not found".to_owned(), |first| first.origin.to_string());
    let Some(loaded) = loaded else {
        return of_first();
    };
    let is_loaded = |lib: &Path| lib.canonicalize().is_ok_and(|lib| lib == loaded);
    let lib = first.and_then(|first| first.lib.as_deref());
    let path = env::var_os(LIBRARY_PATH).unwrap_or_default();
    match lib.is_none_or(is_loaded) {
        true => of_first(),
        false if env::split_paths(&path).any(|dir| is_loaded(&dir)) => {
            Origin::LibraryPath.to_string()
        }
        false => Origin::Linked.to_string(),
    }
}

fn problems(report: &LibtorchReport, loaded: Option<&Path>, folder: Option<&Path>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |exit_code, what: String, cure: String| {
        problems.push(Problem {
            what,
            cure,
            exit_code,
        });
    };
    // A named one of another version ends the start of the worker, which has been told.
    let of_loaded = loaded.and(folder).and_then(libtorch::version);
    if let (Some(found), Some(loaded)) = (of_loaded, loaded)
        && found != TORCH_VERSION
    {
        add(
            exit::DEVICE,
            format!(
                "the worker has loaded libtorch {found} from {} ({}), this build needs {TORCH_VERSION}",
                loaded.display(),
                report.origin
            ),
            format!("take that folder from {LIBRARY_PATH}, or name a libtorch {TORCH_VERSION}"),
        );
    }
    let is_other =
        |torch: &&PythonTorch| !torch.is_usable && folder != Some(Path::new(&torch.folder));
    if let Some(torch) = report.python.as_ref().filter(is_other) {
        add(
            exit::OK,
            format!(
                "the Python in reach has torch {} in {}, this build needs {TORCH_VERSION} and does not use it",
                torch.version.as_deref().unwrap_or("of an unknown version"),
                torch.folder
            ),
            format!(
                "to use that Python's libtorch, and its CUDA, install the right one: \
                 `python3 -m pip install torch=={TORCH_VERSION}`"
            ),
        );
    }
    problems
}

fn python_torch() -> Option<PythonTorch> {
    let folder = libtorch::python_torch()?;
    Some(PythonTorch {
        version: libtorch::build(&folder),
        is_usable: libtorch::version(&folder).as_deref() == Some(TORCH_VERSION),
        folder: folder.display().to_string(),
    })
}
