//! Options of `harness bench`.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, ValueEnum};
use harness_plan::{
    bench::{Overrides, Profile},
    exit,
    table::Style,
};

use crate::{
    args::{ComputeArgs, PluginDirs, named_dir},
    failure::Failure,
};

/// Run a bench and print its table beside the paper's.
///
/// Finished cells are kept under --out; the same command continues where it was stopped, and does nothing when all is
/// done.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  harness bench table2 --plugins ./plugins\n  harness bench table2 --plugins ./plugins --dry-run --model dream=/models/Dream-7B --saes dream-mask=/saes/dream-mask --data text.jsonl.gz"
)]
pub struct BenchArgs {
    /// A table of `harness list tables`, or the path of a bench file
    pub table: String,
    #[command(flatten)]
    pub plugins: PluginDirs,
    /// Folder of a model of the bench [default: the embedded one]
    #[arg(long, value_name = "NAME=DIR", value_parser = named_dir)]
    model: Vec<(String, PathBuf)>,
    /// Folder of an SAE set of the bench [default: the embedded one]
    #[arg(long, value_name = "NAME=DIR", value_parser = named_dir)]
    saes: Vec<(String, PathBuf)>,
    /// Text of the activation passes: jsonl with a field `text` or plain text, each also as .gz or .zst; or parquet with a column `text`
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// Only these layers, such as 1,5
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    layers: Option<String>,
    /// These active budgets instead of the bench's, such as 50,80
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    k: Option<String>,
    /// At most so many features for each SAE
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    limit: Option<String>,
    /// Tokens of each activation pass
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    budget_tokens: Option<String>,
    /// Seed of all draws
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    seed: Option<String>,
    /// Strength of steering
    #[arg(long, value_name = "ALPHA", allow_hyphen_values = true)]
    amp_factor: Option<String>,
    /// Features selected for each SAE
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    n_features: Option<String>,
    /// Prefixes for each feature
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    n_prefix: Option<String>,
    /// Denoising steps
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    dlm_steps: Option<String>,
    /// Tokens after each prefix
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    max_new_tokens: Option<String>,
    /// Judge of explanations and concepts: lexical, openai, or a plugin's
    #[arg(long, value_name = "NAME")]
    judge: Option<String>,
    /// Model behind an online judge
    #[arg(long, value_name = "NAME")]
    judge_model: Option<String>,
    /// Any other setting of a bench file
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Budgets: zoo (scaled) or real (the paper's) [default: by the size of each model]
    #[arg(long, value_name = "NAME")]
    profile: Option<ProfileName>,
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Rows of a model pass; changes speed and memory, not results [default: by the engine]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Worker processes; changes speed, not results [default: one a core for small models, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: Option<u32>,
    /// Seconds of silence after which a worker counts as hanging and its cell as failed
    #[arg(long, default_value_t = 1800, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// Folder of results [default: results/runs/TABLE]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Say what would be done and what it takes; load nothing, write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// End with code 5 when a stored result was found damaged, although it was computed again
    #[arg(long)]
    pub strict: bool,
    /// What is printed: table, md or csv
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    pub format: Format,
}

/// What is printed when a bench ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns, with the paper's numbers.
    Table,
    /// The same as Markdown.
    Md,
    /// The CSV file.
    Csv,
}

impl Format {
    /// The style of a text table; `None` for CSV.
    pub fn style(self) -> Option<Style> {
        match self {
            Format::Table => Some(Style::Plain),
            Format::Md => Some(Style::Markdown),
            Format::Csv => None,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProfileName {
    Zoo,
    Real,
}

impl BenchArgs {
    /// Settings of the command line, checked as those of a bench file are.
    ///
    /// # Errors
    /// All wrong values in one message.
    pub fn overrides(&self) -> Result<Overrides, Failure> {
        let named = [
            ("--layers", "layers", &self.layers),
            ("--k", "k", &self.k),
            ("--limit", "limit", &self.limit),
            ("--budget-tokens", "budget_tokens", &self.budget_tokens),
            ("--seed", "seed", &self.seed),
            ("--amp-factor", "amp_factor", &self.amp_factor),
            ("--n-features", "n_features", &self.n_features),
            ("--n-prefix", "n_prefix", &self.n_prefix),
            ("--dlm-steps", "dlm_steps", &self.dlm_steps),
            ("--max-new-tokens", "max_new_tokens", &self.max_new_tokens),
            ("--judge", "judge", &self.judge),
            ("--judge-model", "judge_model", &self.judge_model),
        ];
        let named = named
            .iter()
            .filter_map(|(option, key, value)| Some((*option, *key, value.as_deref()?)));
        let free = self
            .set
            .iter()
            .map(|(key, value)| ("--set", key.as_str(), value.as_str()));
        let options: Vec<(&str, &str, &str)> = named.chain(free).collect();
        Ok(Overrides::from_options(&options)?)
    }

    /// Model folders by name.
    ///
    /// # Errors
    /// When one name is given twice.
    pub fn models(&self) -> Result<BTreeMap<String, PathBuf>, Failure> {
        unique("--model", &self.model)
    }

    /// Folders of SAE sets by name.
    ///
    /// # Errors
    /// When one name is given twice.
    pub fn sae_sets(&self) -> Result<BTreeMap<String, PathBuf>, Failure> {
        unique("--saes", &self.saes)
    }

    /// The profile asked for.
    pub fn profile(&self) -> Option<Profile> {
        self.profile.map(|name| match name {
            ProfileName::Zoo => Profile::Zoo,
            ProfileName::Real => Profile::Real,
        })
    }
}

fn unique(option: &str, pairs: &[(String, PathBuf)]) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut folders = BTreeMap::new();
    for (name, dir) in pairs {
        if let Some(first) = folders.insert(name.clone(), dir.clone()) {
            let message = format!(
                "{option} {name} is given twice: {} and {}",
                first.display(),
                dir.display()
            );
            return Err(Failure::new(exit::USAGE, message));
        }
    }
    Ok(folders)
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".to_owned()),
    }
}
