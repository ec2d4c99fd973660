//! Options of `harness bench`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use harness_benches::KINDS;
use harness_contract::{
    config::{ConfigError, Problem},
    exit,
};
use harness_core::suggest;
use harness_plan::{
    bench::{
        BenchSpec, LIMITED, Overrides, Profile, RowKind, TextInput,
        help::{self, BUDGET, benches_of},
    },
    expand::{EMBEDDED, NO_SCORER},
};
use harness_supervise::memory;

use super::{
    forecast::ForecastArgs, format::Format, judging::JudgingArgs, setting_args::SettingArgs,
    shard_args::ShardArgs,
};
use crate::{
    args::{ComputeArgs, PluginDirs, device, named_dir},
    failure::Failure,
};

const JUDGING: &str = "Judges that cost money";
const COMPUTE: &str = "Compute";
const OUTPUT: &str = "Output";
const FORECAST: &str = "Predictions, with --dry-run";
const SHARDS: &str = "Several machines, see `harness run-cells --help` and `harness slurm --help`";

const ABOUT_RUNS: &str = "\
`all` runs every bench into results/runs/NAME (or OUT/NAME), goes on after one whose cells failed, and ends with a summary. Options
go to the benches that have them. One folder of replies and one budget serve all judges.
--dry-run predicts cells, floating-point operations, device time, memory, judge calls and dollars by stage and model. A model's folder may
hold nothing but config.json, an SAE's nothing but cfg.json; SAE sets and text that are not given are assumed, and it says so.

Finished cells are kept under --out; the same command continues where it was stopped, and does nothing when all is done.";

const EXAMPLES: [&str; 3] = [
    "harness bench table2 --plugins ./plugins",
    "harness bench all --plugins ./plugins --out paper",
    "harness bench all --plugins ./plugins --dry-run --model dream=/configs/Dream-7B --dtype bf16 --device cuda:0 --peak-flops 989T",
];

/// What is shown below the options.
fn kinds_and_examples() -> String {
    let kinds = help::summaries(KINDS);
    let examples = help::examples(&EXAMPLES, "harness bench", KINDS);
    format!(
        "A bench is of one kind. An option that its kind does not have is an error.\n\
         {kinds}\n{ABOUT_RUNS}\n\n{examples}"
    )
}

/// The heading of the options of the first kind that reads such a text.
fn heading_of(input: TextInput) -> String {
    help::heading(KINDS, |kind| kind.reads(input)).unwrap_or_default()
}

/// Run a bench and print its table beside the paper's.
#[derive(Args, Debug)]
#[command(after_help = kinds_and_examples())]
pub struct BenchArgs {
    /// A table of `harness list tables`, the path of a bench file, or `all`: every bench, one after
    /// the other
    pub table: String,
    #[command(flatten)]
    pub plugins: PluginDirs,
    /// Folder of a model of the bench [default: the embedded one]. With --saes of the same name, a
    /// name that the bench does not have makes a row of its own
    #[arg(long, value_name = "NAME=DIR", value_parser = named_dir)]
    model: Vec<(String, PathBuf)>,
    /// Folder of an SAE set of the bench, or of one SAE [default: the embedded one]. Layers are
    /// read from configurations, or from folders such as resid_post_layer_L/trainer_i, layers.L,
    /// h.L or blocks.L.hook_resid_post
    #[arg(long, value_name = "NAME=DIR", value_parser = named_dir)]
    saes: Vec<(String, PathBuf)>,
    /// Refuse SAEs that say they were made for another model, instead of warning
    #[arg(long)]
    pub strict_saes: bool,
    /// Text of the passes: jsonl, json, csv or plain text (also .gz, .zst), parquet, a folder of
    /// them, or `embedded` for the embedded models' own [default: `embedded`, for embedded models
    /// alone]
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = BUDGET)]
    pub data: Vec<PathBuf>,
    #[command(flatten)]
    pub settings: SettingArgs,
    /// Budgets: zoo (scaled) or real (the paper's) [default: by the size of each model]
    #[arg(long, value_name = "NAME", help_heading = BUDGET)]
    profile: Option<ProfileName>,
    /// Any other setting of a bench file
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, help_heading = BUDGET)]
    set: Vec<(String, String)>,

    /// Prompts that are continued, jsonl with a field `prompt`, or `embedded` [default: the files
    /// of --data]
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = heading_of(TextInput::Prompts))]
    pub prompts: Vec<PathBuf>,

    /// Questions with worked answers that end in `#### N`: jsonl (also .gz, .zst) or parquet with
    /// fields `question` and `answer`, or `embedded`
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = heading_of(TextInput::Questions))]
    pub questions: Vec<PathBuf>,

    #[command(flatten, next_help_heading = JUDGING)]
    pub judging: JudgingArgs,
    #[command(flatten, next_help_heading = COMPUTE)]
    pub compute: ComputeArgs,
    /// Devices that share the cells, such as cuda:0,cuda:1: a worker for each, of one kind
    /// [default: --device]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = device, conflicts_with = "device", help_heading = COMPUTE)]
    devices: Vec<String>,
    /// Go on with weights that hold NaN or infinity; their cells are kept apart from others
    #[arg(long, help_heading = COMPUTE)]
    pub allow_nan: bool,
    /// Rows of a model pass; changes speed and memory, not results [default: by the bench or the
    /// engine]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..), help_heading = COMPUTE)]
    pub batch: Option<u32>,
    /// Memory of all workers of a grid bench together, such as 16G [default: most of what is free;
    /// on a device weights, SAEs and 16G more]
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = COMPUTE)]
    pub memory: Option<u64>,
    /// Worker processes, spread over the devices; changes speed, not results [default: one a
    /// device; on the CPU one a core for small models, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256), help_heading = COMPUTE)]
    pub workers: Option<u32>,
    /// Seconds without a sign of life, be it a step or the call of a plugin's method, after which a
    /// cell counts as hanging and fails
    #[arg(long, alias = "timeout", default_value_t = 1800, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), help_heading = COMPUTE)]
    pub cell_timeout: u64,
    /// Memory of one worker, such as 16G, over which its cell fails; files it has mapped do not
    /// count [default: its share of what is free]
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = COMPUTE)]
    worker_memory: Option<u64>,
    /// Seconds without a sign of life after which a process on another machine that shares the
    /// store counts as dead, and its cells as nobody's
    #[arg(long, default_value_t = 90, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(10..), help_heading = COMPUTE)]
    pub claim_timeout: u64,

    /// Folder of results [default: results/runs/TABLE, for figures that of their table]
    #[arg(long, value_name = "DIR", help_heading = OUTPUT)]
    pub out: Option<PathBuf>,
    /// Say what would be done and what it takes; load nothing, write nothing
    #[arg(long, help_heading = OUTPUT)]
    pub dry_run: bool,
    /// End with code 5 when a stored result was found damaged, although it was computed again
    #[arg(long, help_heading = OUTPUT)]
    pub strict: bool,
    /// What is printed: table, md or csv
    #[arg(long, default_value = "table", value_name = "FORMAT", help_heading = OUTPUT)]
    pub format: Format,
    /// Write figures as PNG too
    #[arg(long, help_heading = OUTPUT)]
    pub png: bool,
    #[command(flatten, next_help_heading = FORECAST)]
    pub forecast: ForecastArgs,
    #[command(flatten, next_help_heading = SHARDS)]
    pub shards: ShardArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProfileName {
    Zoo,
    Real,
}

impl BenchArgs {
    /// Settings of the command line, checked as those of a bench file are, for the kinds of rows
    /// the bench has. Wrong values, and options that a bench of this kind does not have, are its
    /// problems.
    pub fn overrides(&self, spec: &BenchSpec) -> Overrides {
        let kinds = spec.kinds();
        let mut overrides = self.read(&kinds, |_| true);
        overrides.problems.extend(self.misplaced(&kinds));
        overrides
    }

    /// Of one bench of many: settings that no row of it has are left to the others, as are rows of
    /// other benches. Wrong values are its problems.
    pub fn overrides_among(&self, spec: &BenchSpec) -> Overrides {
        let kinds = spec.kinds();
        let runs = kinds.iter().any(|kind| kind.is_run());
        let applies = |key: &str| match key {
            "rows" => true,
            "layers" => runs,
            "limit" => kinds.iter().any(|kind| kind.has(LIMITED)),
            _ => kinds.iter().any(|kind| kind.has(key)),
        };
        let mut overrides = self.read(&kinds, applies);
        if let Some(rows) = &mut overrides.rows {
            rows.retain(|name| spec.rows.iter().any(|row| row.is_called(name)));
        }
        overrides
    }

    /// Checks what is said to many benches: each value is one that some bench takes.
    ///
    /// # Errors
    /// All wrong values, and names that no bench has, in one message.
    pub fn check_among(&self, specs: &[BenchSpec]) -> Result<(), Failure> {
        let mut said = self.read(KINDS, |_| true);
        let mut problems = std::mem::take(&mut said.problems);
        let mut unknown = |option: &str, name: &str, known: Vec<&str>| {
            if !known.contains(&name) {
                let hint = suggest::hint(name, known);
                let message = format!("no bench has `{name}`");
                problems.push(Problem::new(format!("{option} {name}"), message, hint));
            }
        };
        let of = |names: fn(&BenchSpec) -> Vec<&str>| -> Vec<&str> {
            let mut all: Vec<&str> = specs.iter().flat_map(names).collect();
            let words = [EMBEDDED, NO_SCORER];
            all.extend((said.settings.text("scorer")).filter(|name| !words.contains(name)));
            all
        };
        for (name, _) in &self.model {
            unknown("--model", name, of(BenchSpec::models));
        }
        for (name, _) in &self.saes {
            unknown("--saes", name, of(BenchSpec::sae_sets));
        }
        for name in said.rows.iter().flatten() {
            let mut rows = specs.iter().flat_map(|spec| &spec.rows);
            if !rows.any(|row| row.is_called(name)) {
                unknown("--rows", name, of(BenchSpec::sae_sets));
            }
        }
        Ok(ConfigError::check(problems)?)
    }

    /// The settings whose key `applies`.
    fn read(&self, kinds: &[RowKind], applies: impl Fn(&str) -> bool) -> Overrides {
        let free = self
            .set
            .iter()
            .map(|(key, value)| ("--set", key.as_str(), value.as_str()));
        let options: Vec<(&str, &str, &str)> = (self.settings.given().chain(free))
            .filter(|(_, key, _)| applies(key))
            .collect();
        Overrides::from_options(kinds, KINDS, &options)
    }

    /// Options that are no settings and that rows of these kinds have no use for.
    fn misplaced(&self, kinds: &[RowKind]) -> Vec<Problem> {
        let has = |setting: &str| kinds.iter().any(|kind| kind.has(setting));
        let reads = |input: TextInput| kinds.iter().any(|kind| kind.reads(input));
        let runs = kinds.iter().any(|kind| kind.is_run());
        let names: Vec<String> = kinds.iter().map(|kind| kind.a_name()).collect();
        let mut problems = Vec::new();
        let mut refuse = |is_given: bool, option: &str, of: &str| {
            if is_given {
                let message = format!("is for {of}, and this is {} bench", names.join(" and "));
                problems.push(Problem::new(option, message, ""));
            }
        };
        for (input, files) in [
            (TextInput::Prompts, &self.prompts),
            (TextInput::Questions, &self.questions),
        ] {
            let is_misplaced = !files.is_empty() && !reads(input);
            let of = benches_of(KINDS, |kind| kind.reads(input));
            refuse(is_misplaced, input.option(), &of);
        }
        let text = !self.data.is_empty() && reads(TextInput::Questions);
        refuse(
            text,
            "--data",
            "benches that read text; questions are given with --questions",
        );
        let with = |setting: &str| benches_of(KINDS, |kind| kind.has(setting));
        let memory = self.memory.is_some() && !has("measures");
        refuse(memory, "--memory", &with("measures"));
        if !has("judge") {
            for option in self.judging.given() {
                refuse(true, option, &with("judge"));
            }
        }
        if !runs {
            let of = "benches that run models";
            refuse(!self.data.is_empty(), "--data", of);
            refuse(!self.model.is_empty(), "--model", of);
            refuse(self.batch.is_some(), "--batch", of);
            refuse(self.workers.is_some(), "--workers", of);
            refuse(self.worker_memory.is_some(), "--worker-memory", of);
            refuse(!self.devices.is_empty(), "--devices", of);
            refuse(self.profile.is_some(), "--profile", of);
            refuse(self.png, "--png", "figures");
            for option in self.shards.given() {
                refuse(true, option, of);
            }
        }
        problems
    }

    /// Memory over which one of so many workers is ended; `None` where nobody knows what is free.
    pub fn worker_memory(&self, workers: u32) -> Option<u64> {
        let share = |bytes: u64| bytes / u64::from(workers.max(1));
        self.worker_memory.or_else(|| {
            // Who names the memory of all may have it.
            let usual = memory::most().max(self.memory.unwrap_or(0));
            Some(share(usual)).filter(|bytes| *bytes > 0)
        })
    }

    /// Model folders by name.
    ///
    /// # Errors
    /// When one name is given twice.
    pub fn models(&self) -> Result<BTreeMap<String, PathBuf>, Failure> {
        let named_by_settings = self.settings.models.iter().cloned();
        let all: Vec<_> = self
            .model
            .iter()
            .cloned()
            .chain(named_by_settings)
            .collect();
        unique("--model", &all)
    }

    /// Folders of SAE sets by name.
    ///
    /// # Errors
    /// When one name is given twice.
    pub fn sae_sets(&self) -> Result<BTreeMap<String, PathBuf>, Failure> {
        unique("--saes", &self.saes)
    }

    /// Devices that share the cells, at least one.
    ///
    /// # Errors
    /// When one is named twice, they are of two kinds, or there are fewer workers than devices.
    pub fn devices(&self) -> Result<Vec<String>, Failure> {
        if self.devices.is_empty() {
            return Ok(vec![self.compute.device.clone()]);
        }
        let refuse = |message: String, hint: &str| {
            let message = format!("--devices {}: {message}", self.devices.join(","));
            Err(Failure::new(exit::USAGE, message).hint(hint))
        };
        let is_cpu = |device: &&String| *device == "cpu";
        let n_cpu = self.devices.iter().filter(is_cpu).count();
        if n_cpu > 0 && n_cpu < self.devices.len() {
            return refuse(
                "a CPU and a GPU round differently".to_owned(),
                "which cell was computed where would show in the results: name devices of one kind",
            );
        }
        let distinct: BTreeSet<&String> = self.devices.iter().collect();
        if distinct.len() < self.devices.len() {
            let hint = "--workers N starts several workers, spread over the devices";
            return refuse("one is named twice".to_owned(), hint);
        }
        match self.workers {
            Some(n) if (n as usize) < self.devices.len() => {
                let hint = "name fewer devices, or more workers";
                refuse(format!("{n} workers cannot use them all"), hint)
            }
            _ => Ok(self.devices.clone()),
        }
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

/// A size in bytes with an optional unit of 1024: `800M`, `16G`.
fn size(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches("ib").trim_end_matches('b');
    let (number, shift) = match digits.chars().last() {
        Some('k') => (&digits[..digits.len() - 1], 10),
        Some('m') => (&digits[..digits.len() - 1], 20),
        Some('g') => (&digits[..digits.len() - 1], 30),
        Some('t') => (&digits[..digits.len() - 1], 40),
        _ => (digits, 0),
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(1 << shift))
        .filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "must be a size such as 800M or 16G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_in_units_of_1024() {
        assert_eq!(size("16G"), Ok(16 << 30));
        assert_eq!(size("800MiB"), Ok(800 << 20));
        assert_eq!(size("4096"), Ok(4096));
        assert!(size("0").is_err() && size("much").is_err() && size("-1G").is_err());
    }
}
