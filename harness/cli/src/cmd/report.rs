//! `harness report`: what a run found, to look at.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use harness_benches::autointerp::report::{
    self, Counts, MAX_PAGE_BYTES, Page, ReportError, Run, Selection, Steering,
};
use harness_contract::{exit, files::replace_file};

use crate::{failure::Failure, output};

/// Examples of each SAE set when no number is given.
const EXAMPLES: &str = "10";

/// Pages and examples made from a run
#[derive(Args, Debug)]
pub struct ReportArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Latents with their explanations, scores and texts: a page for each SAE set
    Features(FeaturesArgs),
}

/// Latents of an auto-interpretation run: explanation, score, density, strongest contexts,
/// activations, promoted and suppressed tokens. One self-contained HTML file for each SAE set, with
/// an index; no page loads anything.
#[derive(Args, Debug)]
#[command(
    after_help = "A page is searched with `/`, walked with the arrow keys or j and k, and tells its other keys with `?`. Its address says what is \
    open (`#latent=LAYER.K.LATENT`), so it can be sent to someone. A set whose data exceed 64 MB gets a page for each layer.\n\nExamples:\n  \
    Pages of a run, beside its results:\n    harness report features results/runs/autointerp\n\n  \
    One SAE set as one judge explained it, with steered texts:\n    harness report features results/runs/autointerp --set dream-mask \\\n      \
    --judge lexical --steering results/runs/table2\n\n  \
    The ten best-scored latents of each set, as in the paper's Appendix E:\n    harness report features results/runs/autointerp --examples --out -"
)]
struct FeaturesArgs {
    /// Folder of an auto-interpretation run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Folder the files go to; `-` prints examples instead [default: RUN/pages]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One SAE set
    #[arg(long, value_name = "NAME")]
    set: Option<String>,
    /// Whose explanations, when several judges explained: an identity as in autointerp.csv, a
    /// component or a model
    #[arg(long, value_name = "NAME")]
    judge: Option<String>,
    /// Folder of a steering run whose texts are shown beside the latents
    #[arg(long, value_name = "RUN", conflicts_with = "examples")]
    steering: Option<PathBuf>,
    /// Markdown with the N best-scored latents of each set in place of pages [default: 10]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = EXAMPLES,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    examples: Option<u32>,
}

pub fn run(args: &ReportArgs) -> Result<u8, Failure> {
    match &args.what {
        What::Features(args) => features(args),
    }
}

fn features(args: &FeaturesArgs) -> Result<u8, Failure> {
    let to_stdout = args.out.as_deref() == Some(Path::new("-"));
    if to_stdout && args.examples.is_none() {
        let message = "--out -: pages are files, only examples can be printed";
        return Err(Failure::new(exit::USAGE, message).hint("add --examples, or name a folder"));
    }
    let selection = Selection {
        set: args.set.clone(),
        judge: args.judge.clone(),
    };
    let run = Run::read(&args.run, &selection)?;
    warn_of(&run.counts, run.saes.len());
    let out = args.out.clone().unwrap_or_else(|| args.run.join("pages"));
    match args.examples {
        Some(n) => examples(&run, n as usize, (!to_stdout).then_some(out.as_path())),
        None => pages(&run, args.steering.as_deref(), &out),
    }
}

fn examples(run: &Run, n: usize, out: Option<&Path>) -> Result<u8, Failure> {
    let files = report::examples(run, n)?;
    let Some(out) = out else {
        let texts: Vec<&str> = files.iter().map(|file| file.markdown.as_str()).collect();
        output::result(&texts.join("\n"))?;
        return Ok(exit::OK);
    };
    let mut rows = Vec::new();
    for file in files {
        let path = write(out, &file.file_name, &file.markdown)?;
        rows.push(vec![path, format!("{} examples", file.n)]);
    }
    output::result(&output::columns(&rows))?;
    Ok(exit::OK)
}

fn pages(run: &Run, steering: Option<&Path>, out: &Path) -> Result<u8, Failure> {
    let steering = steering.map(Steering::read).transpose()?;
    let mut listed: Vec<Page> = Vec::new();
    let mut rows = Vec::new();
    for made in report::pages(run, steering.as_ref(), MAX_PAGE_BYTES) {
        for mut page in made? {
            let path = write(out, &page.file_name, &page.html)?;
            rows.push(vec![path, said(&page), size(page.html.len())]);
            page.html = String::new();
            listed.push(page);
        }
    }
    let index = Page::index(&listed, &run.provenance);
    let path = write(out, "index.html", &index)?;
    rows.push(vec![path, "all of them".to_owned(), size(index.len())]);
    output::result(&output::columns(&rows))?;
    if steering.is_some() && listed.iter().all(|page| page.n_steered == 0) {
        output::warn(
            "the steering run has none of these latents: its features were chosen another way",
        );
    }
    Ok(exit::OK)
}

/// A page in a few words.
fn said(page: &Page) -> String {
    let mut text = format!(
        "{} latents, {} explained, {} scored",
        page.n_latents, page.n_explained, page.n_scored
    );
    if page.n_steered > 0 {
        text.push_str(&format!(", {} steered", page.n_steered));
    }
    text
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Write a file and say where.
fn write(out: &Path, name: &str, text: &str) -> Result<String, Failure> {
    let path = out.join(name);
    replace_file(&path, text.as_bytes()).map_err(|error| {
        let message = format!("cannot write {}: {error}", path.display());
        Failure::new(exit::CANNOT_WRITE, message).hint("choose another folder with --out")
    })?;
    Ok(path.display().to_string())
}

/// What is not in the report is said.
fn warn_of(counts: &Counts, n_saes: usize) {
    let of = |n: u64, what: &str| {
        if n > 0 {
            output::warn(&format!("{n} {what}"));
        }
    };
    let all = format!("of {n_saes} SAEs");
    of(
        counts.n_unexplained,
        &format!("{all} have no explanations yet"),
    );
    of(
        counts.n_unpredicted,
        &format!("{all} have no predictions yet"),
    );
    of(
        counts.n_failed,
        "cells failed; the bench's command goes on with them",
    );
    of(
        counts.n_damaged,
        "cell files are damaged and were passed over",
    );
    of(
        counts.n_older,
        "windows of earlier settings were passed over; each SAE is shown as it was looked at last",
    );
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Failure {
        let failure = Failure::new(error.exit_code(), error.to_string());
        match error.hint() {
            hint if hint.is_empty() => failure,
            hint => failure.hint(hint),
        }
    }
}
