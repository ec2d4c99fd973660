//! `harness compare`: two tables of results, whatever the order of their rows and columns.

use std::path::PathBuf;

use clap::Args;
use harness_benches::{KINDS, key_columns, paper_names};
use harness_contract::exit;
use harness_plan::bench::{Catalogue, help};
use harness_present::compare::{
    CompareError, CompareOptions, CsvTable, compare, report_markdown, report_text,
};

use crate::{failure::Failure, output, root::Root};

const OWN_FILES: &str =
    "harness compare results/golden/table2.csv results/runs/table2/table2.csv --rtol 1e-6";

/// Compare two tables of results; exit code 10 when they differ.
#[derive(Args, Debug)]
#[command(after_help = help::examples(&[OWN_FILES], "harness compare", KINDS))]
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
    /// The second file names models and SAE sets as the paper does: those of this bench are
    /// translated
    #[arg(long, value_name = "BENCH")]
    paper: Option<String>,
    /// Columns that the second file names otherwise
    #[arg(long, value_name = "FIRST=SECOND,…", value_delimiter = ',', value_parser = renamed)]
    columns: Vec<(String, String)>,
    /// Compare the columns and rows that are in both files; what is left out is told
    #[arg(long)]
    common: bool,
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

fn renamed(text: &str) -> Result<(String, String), String> {
    let pair = text
        .split_once('=')
        .filter(|(a, b)| !a.is_empty() && !b.is_empty());
    let (ours, theirs) = pair.ok_or("must be FIRST=SECOND")?;
    Ok((ours.to_owned(), theirs.to_owned()))
}

pub fn run(args: &CompareArgs) -> Result<u8, Failure> {
    let read = |path: &PathBuf| {
        CsvTable::read(path).map_err(|error| Failure::new(error.exit_code(), error.to_string()))
    };
    let options = CompareOptions {
        rtol: args.rtol,
        atol: args.atol,
        key: args.key.clone(),
        known_keys: key_columns(),
        ignore: args.ignore.clone(),
    };
    let failure = |error: CompareError| Failure::new(error.exit_code(), error.to_string());
    let (mut left, mut right) = (read(&args.left)?, read(&args.right)?);
    for (ours, theirs) in &args.columns {
        left.rename(ours, theirs).map_err(failure)?;
    }
    if let Some(bench) = &args.paper {
        let spec = Catalogue::open(&Root::find()?.tables(), KINDS)?.load(bench)?;
        left.use_names(&paper_names(&spec)).map_err(failure)?;
    }
    if args.common {
        let dropped = [left.keep_columns_of(&right), right.keep_columns_of(&left)].concat();
        if !dropped.is_empty() {
            output::talk(&format!(
                "columns of one file alone: {}",
                dropped.join(", ")
            ));
        }
    }
    let mut comparison = compare(&left, &right, &options).map_err(failure)?;
    if args.common {
        let n = comparison.keep_common_rows();
        if comparison.rows == 0 {
            let message = "the files have no row in common".to_owned();
            let hint = format!("rows are named by {}", comparison.key.join(", "));
            return Err(Failure::new(exit::NOTHING, message).hint(hint));
        }
        if n > 0 {
            output::talk(&format!("rows of one file alone: {n}"));
        }
    }
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
