//! The libtorch of workers, and the torch of the Python in reach.

use std::{
    env,
    path::{Path, PathBuf},
};

use harness_plan::{
    exit,
    jobs::{LibtorchReport, Problem, PythonTorch},
    protocol::TORCH_VERSION,
};

use crate::worker::libtorch::{self, Libtorch, Origin};

/// Where the system looks for libraries first.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// What is known of the libtorch that workers are started with, and what is wrong with it.
///
/// - `loaded`: the folder that a worker has loaded it from, where one has started.
pub fn report(loaded: Option<&str>, why_missing: &str) -> (LibtorchReport, Vec<Problem>) {
    let named = libtorch::named();
    let loaded = loaded.map(PathBuf::from);
    let lib = loaded.clone().or_else(|| named.lib.clone());
    // The files that say the version lie above the libraries.
    let above = |lib: &PathBuf| lib.parent().map(Path::to_path_buf);
    let folder = lib.as_ref().and_then(above).or(named.folder.clone());
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
        origin: origin(&named, loaded.as_deref()),
        has_cuda: lib.map(|lib| lib.join("libtorch_cuda.so").exists()),
        cuda: of_folder(libtorch::cuda),
        python,
        reason,
    };
    let problems = problems(&report, &named, loaded.as_deref(), folder.as_deref());
    (report, problems)
}

/// Who chose the libtorch: what a worker has loaded is the truth, where one has started.
fn origin(named: &Libtorch, loaded: Option<&Path>) -> String {
    let Some(loaded) = loaded else {
        return named.origin.to_string();
    };
    let is_loaded = |lib: &Path| lib.canonicalize().is_ok_and(|lib| lib == loaded);
    if named.lib.as_deref().is_some_and(is_loaded) {
        return named.origin.to_string();
    }
    let path = env::var_os(LIBRARY_PATH).unwrap_or_default();
    match env::split_paths(&path).any(|dir| is_loaded(&dir)) {
        true => LIBRARY_PATH.to_owned(),
        false => Origin::Linked.to_string(),
    }
}

fn problems(
    report: &LibtorchReport,
    named: &Libtorch,
    loaded: Option<&Path>,
    folder: Option<&Path>,
) -> Vec<Problem> {
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
    if let (Origin::Variable(name), None) = (named.origin, &named.lib) {
        let what = match &named.folder {
            Some(folder) => format!("{name} names {}, where no `lib` is", folder.display()),
            None => format!("{name} is set, and the Python in reach has no torch"),
        };
        let cure = format!("unset {name}, or name a libtorch {TORCH_VERSION}");
        add(exit::OK, format!("{what}; it is passed over"), cure);
    }
    let is_other = |torch: &&PythonTorch| {
        !torch.is_usable && named.folder.as_deref() != Some(Path::new(&torch.folder))
    };
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
