//! The pictures of a bench, written beside its tables.

use harness_benches::{Results, WriteFigureError, write_figures};
use harness_plan::expand::Plan;
use harness_store::Store;

use crate::{failure::Failure, output, png};

/// Write the pictures of a bench as SVG, and as PNG too where `with_png` says so, and tell which.
///
/// # Errors
/// When a file cannot be written, or there is no font for a PNG. A picture without values is told
/// and left out.
pub fn write(
    plan: &Plan,
    results: &dyn Results,
    store: &Store,
    with_png: bool,
) -> Result<(), Failure> {
    let files = match write_figures(plan, results, store) {
        Ok(files) => files,
        Err(WriteFigureError::Store(error)) => return Err(error.into()),
        Err(error) => {
            output::warn(&format!("{error}"));
            return Ok(());
        }
    };
    for file in &files {
        output::talk(&format!("wrote {}", file.display()));
    }
    if with_png {
        for file in png::write_all(&files, png::fonts())? {
            output::talk(&format!("wrote {}", file.display()));
        }
    }
    Ok(())
}
