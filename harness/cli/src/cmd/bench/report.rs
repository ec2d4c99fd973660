//! What is left behind and said at the end of a run: its manifest, its failures, its exit code.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use harness_contract::{exit, plugin::Discovery, protocol::FailureKind, stages::PluginRef};
use harness_plan::{
    expand::{Plan, PlannedRow, ResolvedBench},
    sources::TextFiles,
};
use harness_store::{
    ActivationSummary, CellCounts, DecodingSummary, GridSummary, ManifestCutText, ManifestModel,
    ManifestPlugin, ManifestSae, RunManifest, Store, replies::JudgingSummary,
};
use serde_json::Value;

use super::{
    describe::{self, bytes, count, flops},
    run::Outcome,
};

use crate::{args::ComputeArgs, output, root::Root};

/// Causes of failures that are listed.
const LISTED: usize = 20;

/// The manifest of a run that begins.
pub fn manifest(
    plan: &Plan,
    bench: &ResolvedBench,
    plugins: &Discovery,
    root: &Root,
    compute: &ComputeArgs,
    devices: &[String],
    workers: u32,
) -> RunManifest {
    let mut settings = BTreeMap::new();
    for (i, row) in bench.rows.iter().enumerate() {
        let set = &row.row.sae;
        let name = match &row.group {
            Some(group) => format!("{set} {group} {i}"),
            None => format!("{set}{}", row.kind.of_model(&row.row.model)),
        };
        let value = serde_json::to_value(&row.settings).unwrap_or(Value::Null);
        settings.insert(name, value);
    }
    let used = used_plugins(plan);
    let plugins = plugins
        .found
        .iter()
        .filter(|plugin| used.contains(&plugin.hash))
        .map(|plugin| ManifestPlugin {
            id: plugin.manifest.id.clone(),
            version: plugin.manifest.version.clone(),
            hash: plugin.hash.clone(),
        })
        .collect();
    let checkpoint_of = |dir: &Path| {
        let dir = dir.canonicalize().ok()?;
        let found = plan.sources.models.iter().find(|(_, path)| **path == dir);
        Some(found?.0.clone())
    };
    let models = bench
        .models
        .iter()
        .map(|model| ManifestModel {
            name: model.name.clone(),
            own_name: model.own_name(),
            model_type: model.folder.checkpoint.model_type.clone(),
            checkpoint: checkpoint_of(&model.folder.checkpoint.dir).unwrap_or_default(),
        })
        .collect();
    RunManifest {
        command: env::args_os()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        harness: env!("CARGO_PKG_VERSION").to_owned(),
        git_revision: git_revision(&root.dir),
        bench: plan.bench.clone(),
        settings,
        device: devices.join(","),
        dtype: compute.dtype.name().to_owned(),
        reproducible: compute.reproducible,
        host: host(),
        pid: std::process::id(),
        workers,
        threads: compute.threads(workers),
        plugins,
        provenance: plan.provenance.clone(),
        models,
        saes: saes(plan),
        strict_saes: bench.strict_saes,
        data: plan.sources.files.keys().cloned().collect(),
        started_unix: now(),
        ..RunManifest::default()
    }
}

/// This machine's name; empty where the system does not say.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.unwrap_or_default().trim().to_owned()
}

/// Hashes of the plugins that take part in any cell.
fn used_plugins(plan: &Plan) -> BTreeSet<String> {
    fn collect(value: &Value, hashes: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                if let Ok(plugin) = serde_json::from_value::<PluginRef>(value.clone()) {
                    hashes.insert(plugin.hash);
                } else {
                    object.values().for_each(|value| collect(value, hashes));
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, hashes)),
            _ => {}
        }
    }
    let mut hashes = BTreeSet::new();
    for params in (plan.cells.iter()).filter_map(|cell| cell.params.to_value().ok()) {
        collect(&params, &mut hashes);
    }
    hashes
}

fn saes(plan: &Plan) -> Vec<ManifestSae> {
    let of = |row: &PlannedRow| ManifestSae {
        set: row.sae.set.clone(),
        layer: row.sae.layer,
        sae_id: row.sae.id.clone(),
        k: row.sae.k,
        hash: row.sae_hash.clone(),
    };
    let mut saes: Vec<ManifestSae> = plan.rows.iter().map(of).collect();
    let key = |sae: &ManifestSae| (sae.set.clone(), sae.layer, sae.k, sae.sae_id.clone());
    saes.sort_by_cached_key(key);
    saes.dedup();
    saes
}

/// Enter into a manifest how its run ended.
pub fn finish(manifest: &mut RunManifest, outcome: &Outcome, counts: CellCounts, code: u8) {
    manifest.torch.clone_from(&outcome.torch);
    manifest.cells = counts;
    manifest.counters = outcome.counters;
    manifest.stages.clone_from(&outcome.stages);
    manifest.grid = GridSummary::of(&outcome.counters);
    manifest.decoding = DecodingSummary::of(&outcome.counters);
    manifest.activations = ActivationSummary::of(&outcome.counters);
    manifest.judging = JudgingSummary::of(&outcome.counters);
    manifest.judge_learnt = outcome.learnt.iter().cloned().collect();
    manifest.supervision = outcome.supervision;
    manifest.finished_unix = Some(now());
    manifest.exit_code = Some(code);
}

/// What the context length cut off the text, in a line for each text, which is named where there
/// are several. `files` are by their content hashes.
pub fn cut_lines(texts: &[ManifestCutText], files: &BTreeMap<String, PathBuf>) -> Vec<String> {
    let is_one = texts.windows(2).all(|pair| pair[0].files == pair[1].files);
    let line = |text: &ManifestCutText| {
        let files: Vec<PathBuf> = (text.files.iter())
            .filter_map(|hash| files.get(hash).cloned())
            .collect();
        let documents = match is_one {
            true => "these documents".to_owned(),
            false => format!("the documents in {}", TextFiles::names(&files)),
        };
        output::sanitize(&format!(
            "Context length {} keeps {:.0} % of the text of {documents}; the rest was cut off.",
            text.context_length,
            100.0 * text.kept_share
        ))
    };
    texts.iter().map(line).collect()
}

/// What the grid passes of a run took, in one line.
pub fn grid_line(grid: &GridSummary) -> String {
    let mut text = format!(
        "{} batches, {:.0} block passes a batch, {} head rows for {} counted tokens, {} in {:.1} s of work",
        count(grid.batches),
        grid.block_passes_per_batch,
        count(grid.head_rows),
        count(grid.counted_tokens),
        flops(grid.flops),
        grid.seconds,
    );
    let peak = grid
        .peak_flops
        .map(|peak| format!("{:.1} GFLOP/s", peak / 1e9));
    match (grid.fraction_of_peak, peak) {
        (Some(share), Some(peak)) => text.push_str(&format!(
            ", {:.0} % of the {peak} that matrix products reached after the first grid",
            100.0 * share
        )),
        (None, Some(peak)) => text.push_str(&format!(
            ", more than the {peak} that matrix products reached after the first grid, on a busy machine: no share of the peak"
        )),
        (_, None) => {}
    }
    let phases = &grid.phases;
    let parts = [
        ("blocks", phases.clean + phases.suffix),
        ("SAEs", phases.sae),
        ("head and costs", phases.head + phases.costs),
        ("splices and moments", phases.splice + phases.moments),
    ];
    if grid.seconds > 0.0 {
        let shares: Vec<String> = parts
            .iter()
            .map(|(what, seconds)| format!("{what} {:.0} %", 100.0 * seconds / grid.seconds))
            .collect();
        text.push_str(&format!(
            " ({}; {:.1} s more for loading)",
            shares.join(", "),
            grid.load_seconds
        ));
    }
    if grid.peak_bytes > 0 {
        text.push_str(&format!(", at most {} of memory", bytes(grid.peak_bytes)));
    }
    text
}

/// What answering questions took, in one line.
pub fn decoding_line(decoding: &DecodingSummary) -> String {
    format!(
        "{} answers in {} batches of {:.0} steps, {:.0} block passes a batch, {} rows through SAEs, {:.1} s of work, at most {} of memory",
        count(decoding.answers),
        count(decoding.batches),
        decoding.steps_per_batch,
        decoding.block_passes_per_batch,
        count(decoding.sae_rows),
        decoding.seconds,
        bytes(decoding.peak_bytes)
    )
}

/// What passes that read activations took, in one line.
pub fn activations_line(passes: &ActivationSummary) -> String {
    format!(
        "{} SAEs read in {} batches of text, {:.1} block passes a batch, {} rows through SAEs, {:.1} s of work, at most {} of memory",
        count(passes.saes),
        count(passes.batches),
        passes.block_passes_per_batch,
        count(passes.sae_rows),
        passes.seconds,
        bytes(passes.peak_bytes)
    )
}

/// Tell which cells failed and why, and how many could not be run for it.
pub fn tell_failures(plan: &Plan, outcome: &Outcome, store: &Store) {
    if outcome.failed.is_empty() {
        return;
    }
    let blocked = plan.blocked(|key| outcome.failed.contains_key(key)).len();
    let mut text = match outcome.failed.len() {
        1 => "1 cell failed".to_owned(),
        n => format!("{n} cells failed"),
    };
    if blocked > 0 {
        text.push_str(&format!(", {blocked} more need them and were not run"));
    }
    text.push_str(&format!(
        "; the others are kept in {}",
        store.dir().display()
    ));
    let causes = causes(plan, outcome);
    for (message, cells) in causes.iter().take(LISTED) {
        let which = match cells.as_slice() {
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
            [] => String::new(),
        };
        text.push_str(&format!("\n  {which}: {}", message.replace('\n', "\n    ")));
    }
    if causes.len() > LISTED {
        text.push_str(&format!("\n  and {} other causes", causes.len() - LISTED));
    }
    output::talk(&format!("{} {text}", output::red("error:")));
    output::talk(&format!(
        "{} the same command runs the failed cells again",
        output::bold("hint:")
    ));
}

/// Tell which questions to judges have no answer, and that they are asked again.
pub fn tell_open(plan: &Plan, outcome: &Outcome) {
    let mut causes: Vec<String> = Vec::new();
    let asking = (plan.cells.iter()).filter(|cell| cell.stage().asks_judge());
    for cell in asking {
        if let Some(failure) = outcome.open.get(&cell.key) {
            causes.push(format!(
                "{}: {}",
                describe::cell(plan, cell),
                describe::failure(failure)
            ));
        }
    }
    if causes.is_empty() {
        return;
    }
    let n = causes.len();
    let mut text = match n {
        1 => "1 cell has questions open".to_owned(),
        n => format!("{n} cells have questions open"),
    };
    text.push_str(": their values are missing in the tables");
    for cause in causes.iter().take(LISTED) {
        text.push_str(&format!("\n  {}", cause.replace('\n', "\n    ")));
    }
    if n > LISTED {
        text.push_str(&format!("\n  and {} other cells", n - LISTED));
    }
    output::talk(&format!("{} {text}", output::bold("warning:")));
    output::talk(&format!(
        "{} the same command asks these questions again, and no others",
        output::bold("hint:")
    ));
}

/// What went wrong, with the cells it went wrong for, in the order of the plan.
fn causes(plan: &Plan, outcome: &Outcome) -> Vec<(String, Vec<String>)> {
    let mut causes: Vec<(String, Vec<String>)> = Vec::new();
    for cell in &plan.cells {
        let Some(failure) = outcome.failed.get(&cell.key) else {
            continue;
        };
        let message = describe::failure(failure);
        let what = describe::cell(plan, cell);
        match causes.iter_mut().find(|(known, _)| *known == message) {
            Some((_, cells)) => cells.push(what),
            None => causes.push((message, vec![what])),
        }
    }
    causes
}

/// The exit code of a run that went through all its cells. When nothing could be done for one and
/// the same reason, it is that reason's.
pub fn exit_code(outcome: &Outcome) -> u8 {
    let kinds: Vec<FailureKind> = outcome
        .failed
        .values()
        .map(|failure| failure.kind)
        .collect();
    match kinds.first() {
        None if !outcome.open.is_empty() => exit::PARTIAL,
        None => exit::OK,
        // What is done stays; whoever has more memory, or takes smaller batches, can go on.
        Some(FailureKind::OutOfMemory)
            if kinds.iter().all(|kind| *kind == FailureKind::OutOfMemory) =>
        {
            exit::DEVICE
        }
        Some(first) if outcome.n_done == 0 && kinds.iter().all(|kind| kind == first) => {
            first.exit_code()
        }
        Some(_) => exit::PARTIAL,
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// The revision of the repository, with `-dirty` when tracked files were changed.
fn git_revision(root: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(root)
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let revision = git(&["rev-parse", "HEAD"]).filter(|revision| !revision.is_empty())?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changes.is_empty() {
        revision
    } else {
        format!("{revision}-dirty")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_cut_off_are_named_where_there_are_several() {
        let files: BTreeMap<String, PathBuf> = ["a", "b"]
            .map(|hash| (hash.to_owned(), PathBuf::from(format!("text/{hash}.jsonl"))))
            .into();
        let cut = |hash: &str, context_length| ManifestCutText {
            files: vec![hash.to_owned()],
            context_length,
            kept_share: 0.25,
        };
        let lines = cut_lines(&[cut("a", 32), cut("a", 64)], &files);
        assert!(
            lines
                .iter()
                .all(|line| line.contains("of these documents;")),
            "{lines:?}"
        );
        let lines = cut_lines(&[cut("a", 32), cut("b", 32)], &files);
        for (line, name) in lines.iter().zip(["a.jsonl", "b.jsonl"]) {
            assert!(
                line.contains(&format!("the documents in {name};")),
                "{line}"
            );
        }
    }
}
