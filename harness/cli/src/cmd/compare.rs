//! `harness compare`: two tables of results, whatever the order of their rows and columns.

use std::path::PathBuf;

use clap::Args;
use harness_plan::{
    compare::{CompareOptions, CsvTable, compare, report_markdown, report_text},
    exit,
};

use crate::{failure::Failure, output};

/// Compare two tables of results; exit code 10 when they differ.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  harness compare results/golden/table2.csv results/runs/table2/table2.csv --rtol 1e-6"
)]
pub struct CompareArgs {
    /// The first CSV file
    left: PathBuf,
    /// The second CSV file
    right: PathBuf,
    /// Allowed difference, relative to the second file's value
    #[arg(long, default_value = "0", value_name = "X", value_parser = tolerance)]
    rtol: f64,
    /// Allowed absolute difference
    #[arg(long, default_value = "0", value_name = "X", value_parser = tolerance)]
    atol: f64,
    /// Columns that name a row [default: those that name rows in the harness's tables]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    key: Vec<String>,
    /// Columns that are not compared, such as times
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    ignore: Vec<String>,
    /// Report as Markdown
    #[arg(long)]
    md: bool,
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x >= 0.0 && x.is_finite() => Ok(x),
        _ => Err("must be a number of 0 or more".to_owned()),
    }
}

pub fn run(args: &CompareArgs) -> Result<u8, Failure> {
    let read = |path: &PathBuf| {
        CsvTable::read(path).map_err(|error| Failure::new(error.exit_code(), error.to_string()))
    };
    let options = CompareOptions {
        rtol: args.rtol,
        atol: args.atol,
        key: args.key.clone(),
        ignore: args.ignore.clone(),
    };
    let comparison = compare(&read(&args.left)?, &read(&args.right)?, &options)
        .map_err(|error| Failure::new(error.exit_code(), error.to_string()))?;
    output::result(&if args.md {
        report_markdown(&comparison)
    } else {
        report_text(&comparison)
    })?;
    Ok(if comparison.is_equal() {
        exit::OK
    } else {
        exit::DIFFERENT
    })
}
