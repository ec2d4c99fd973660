use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{StageSummary, Store, StoreError};
use crate::replies::JudgingSummary;
use harness_contract::{
    Supervision,
    protocol::{Counters, Phases},
};

/// Folder of the manifests of all runs.
pub(super) const MANIFESTS: &str = "manifests";

/// What a run did and with what: `OUT/run.json`. Written when the run begins and again when it
/// ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// The command line.
    pub command: Vec<String>,
    /// Version of the harness.
    pub harness: String,
    /// Git revision of the harness, with `-dirty` when files were changed; `None` outside a
    /// repository.
    pub git_revision: Option<String>,
    /// Version of libtorch; empty when no worker was started.
    pub torch: String,
    /// Name of the bench.
    pub bench: String,
    /// Settings of the bench by SAE set and variant, as resolved.
    pub settings: BTreeMap<String, serde_json::Value>,
    /// `cpu` or `cuda:N`; several with a comma between them.
    pub device: String,
    /// `f32` or `bf16`.
    pub dtype: String,
    /// Whether instruction set and thread count were pinned.
    pub reproducible: bool,
    /// Machine the run was started on.
    #[serde(default)]
    pub host: String,
    /// Process that supervised it.
    #[serde(default)]
    pub pid: u32,
    /// Worker processes.
    pub workers: u32,
    /// Threads of each worker.
    pub threads: u32,
    /// Plugins loaded.
    pub plugins: Vec<ManifestPlugin>,
    /// Whether SAEs that say they were made for another model were to be refused (`--strict-saes`).
    #[serde(default)]
    pub strict_saes: bool,
    /// Whose models, text and scorer it ran on, in sentences.
    #[serde(default)]
    pub provenance: Vec<String>,
    /// Text of which the context length cut off most; only where there is some. Of all cells that
    /// are done, whenever that was.
    #[serde(default)]
    pub cut_texts: Vec<ManifestCutText>,
    /// Checkpoints run.
    pub models: Vec<ManifestModel>,
    /// SAEs run.
    pub saes: Vec<ManifestSae>,
    /// Content hashes of the text of activation passes.
    pub data: Vec<String>,
    /// Rows of the data that could not be used, by the files; only where there are some. Of all
    /// cells that are done, whenever that was.
    #[serde(default)]
    pub bad_rows: Vec<ManifestBadRows>,
    /// Cells by outcome.
    pub cells: CellCounts,
    /// What the cells run in this run took together.
    pub counters: Counters,
    /// The same by stage.
    #[serde(default)]
    pub stages: BTreeMap<String, StageSummary>,
    /// What the grid passes of this run took; `None` without any.
    #[serde(default)]
    pub grid: Option<GridSummary>,
    /// What answering questions took in this run; `None` without any.
    #[serde(default)]
    pub decoding: Option<DecodingSummary>,
    /// What passes that read activations took in this run; `None` without any.
    #[serde(default)]
    pub activations: Option<ActivationSummary>,
    /// What asking an online judge took in this run; `None` where none was asked live.
    #[serde(default)]
    pub judging: Option<JudgingSummary>,
    /// What judges have learnt of their servers in this run: fields that these do not take, and
    /// what was sent instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub judge_learnt: Vec<String>,
    /// What supervision of workers took.
    #[serde(default)]
    pub supervision: Supervision,
    /// Seconds since 1970, UTC.
    pub started_unix: u64,
    /// Seconds since 1970, UTC; `None` while it runs or when it was killed.
    pub finished_unix: Option<u64>,
    /// Exit code; `None` while it runs or when it was killed.
    pub exit_code: Option<u8>,
}

impl RunManifest {
    /// Name of its file in a store: `manifests/START-HOST-PROCESS.json`.
    fn file_name(&self) -> String {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '.';
        let host: String = self.host.chars().filter(is_plain).collect();
        format!("{MANIFESTS}/{}-{host}-{}.json", self.started_unix, self.pid)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPlugin {
    pub id: String,
    pub version: String,
    /// SHA-256 of its library.
    pub hash: String,
}

/// A checkpoint of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestModel {
    /// Name in the bench.
    pub name: String,
    /// Its own name: `embedded`, or that of its folder and configuration.
    #[serde(default)]
    pub own_name: String,
    pub model_type: String,
    /// Content hash.
    pub checkpoint: String,
}

/// An SAE of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestSae {
    pub set: String,
    /// Layer, from 0.
    pub layer: u32,
    /// The SAE within its set; empty in manifests from before it was kept.
    #[serde(default)]
    pub sae_id: String,
    /// Active budget; `None` where it has none.
    #[serde(default)]
    pub k: Option<u32>,
    /// Content hash.
    pub hash: String,
}

/// Rows of some files that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestBadRows {
    /// Content hashes of the files, in reading order.
    pub files: Vec<String>,
    /// Their unusable rows, as far as any cell has read.
    pub n_bad_rows: u64,
}

/// Text of which the context length cut off most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManifestCutText {
    /// Content hashes of the files, in reading order.
    pub files: Vec<String>,
    /// Tokens of a row at most.
    pub context_length: u64,
    /// The share of the documents' tokens that is in rows: the smallest that any cell has met.
    pub kept_share: f64,
}

/// What the grid passes of a run took together, from its counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GridSummary {
    /// Batches of text.
    pub batches: u64,
    /// Block passes of a batch, a stacked pass of s splices counted as s: the mean over batches.
    pub block_passes_per_batch: f64,
    /// Rows through the output head.
    pub head_rows: u64,
    /// Tokens whose cost was counted, in clean passes.
    pub counted_tokens: u64,
    /// Rows through SAEs.
    pub sae_rows: u64,
    /// Floating-point operations of blocks, heads and SAEs.
    pub flops: f64,
    /// Seconds of the passes of all workers together: clean, sae, moments, splice, suffix, head,
    /// costs.
    pub seconds: f64,
    /// Seconds of loading models and SAEs and of reading text, which do not grow with the number of
    /// SAEs on a text.
    pub load_seconds: f64,
    /// Seconds by what was done.
    pub phases: Phases,
    /// Matrix-product peak of a worker, FLOP/s, as measured after its first grid with whatever else
    /// the machine did then; `None` where it was not measured.
    pub peak_flops: Option<f64>,
    /// `flops` over what the peak would have done in `seconds`. `None` where that is more than all
    /// of it: the machine was busy when the peak was measured, and the share says nothing.
    pub fraction_of_peak: Option<f64>,
    /// Largest resident memory of a worker, in bytes.
    pub peak_bytes: u64,
}

impl GridSummary {
    /// The summary of counters; `None` when no batch of a grid was run.
    pub fn of(counters: &Counters) -> Option<GridSummary> {
        if counters.denoising_steps > 0 || counters.saes_read > 0 {
            return None;
        }
        let phases = &counters.phases;
        let load_seconds = phases.load + phases.data;
        let seconds = phases.clean
            + phases.sae
            + phases.moments
            + phases.splice
            + phases.suffix
            + phases.head
            + phases.costs;
        let peak_flops = (counters.peak_flops > 0.0).then_some(counters.peak_flops);
        (counters.batches > 0).then(|| GridSummary {
            batches: counters.batches,
            block_passes_per_batch: counters.batch_block_passes as f64 / counters.batches as f64,
            head_rows: counters.head_rows,
            counted_tokens: counters.counted_tokens,
            sae_rows: counters.sae_rows,
            flops: counters.grid_flops,
            seconds,
            load_seconds,
            phases: *phases,
            peak_flops,
            fraction_of_peak: peak_flops
                .filter(|_| seconds > 0.0)
                .map(|peak| counters.grid_flops / (seconds * peak))
                .filter(|share| *share <= 1.0),
            peak_bytes: counters.peak_bytes,
        })
    }
}

/// What answering questions while following their features took together, from its counters.
/// Everything is read off the passes that generate: `block_passes_per_batch` is `steps_per_batch` ×
/// the blocks of the model, with nothing run again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DecodingSummary {
    /// Batches of questions.
    pub batches: u64,
    /// Denoising steps of a batch: the mean over batches.
    pub steps_per_batch: f64,
    /// Block passes of a batch: the mean over batches.
    pub block_passes_per_batch: f64,
    /// Answers generated.
    pub answers: u64,
    /// Rows through SAEs: steps × generated positions × layers.
    pub sae_rows: u64,
    /// Seconds of all workers together.
    pub seconds: f64,
    /// Largest resident memory of a worker, in bytes.
    pub peak_bytes: u64,
}

impl DecodingSummary {
    /// The summary of counters; `None` when no features were followed.
    pub fn of(counters: &Counters) -> Option<DecodingSummary> {
        let batches = counters.batches as f64;
        (counters.denoising_steps > 0).then(|| DecodingSummary {
            batches: counters.batches,
            steps_per_batch: counters.denoising_steps as f64 / batches,
            block_passes_per_batch: counters.batch_block_passes as f64 / batches,
            answers: counters.generations,
            sae_rows: counters.sae_rows,
            seconds: counters.seconds,
            peak_bytes: counters.peak_bytes,
        })
    }
}

/// What passes that read activations took together, from their counters: one pass over a text
/// serves all SAEs of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ActivationSummary {
    /// SAEs whose latents were read.
    pub saes: u64,
    /// Batches of text.
    pub batches: u64,
    /// Block passes of a batch: the mean over batches. It is the deepest layer that is read, plus
    /// 1, whatever the number of SAEs.
    pub block_passes_per_batch: f64,
    /// Rows through SAEs.
    pub sae_rows: u64,
    /// Seconds of the passes of all workers together.
    pub seconds: f64,
    /// Largest resident memory of a worker, in bytes.
    pub peak_bytes: u64,
}

impl ActivationSummary {
    /// The summary of counters; `None` when no activations were read.
    pub fn of(counters: &Counters) -> Option<ActivationSummary> {
        let phases = &counters.phases;
        (counters.saes_read > 0 && counters.batches > 0).then(|| ActivationSummary {
            saes: counters.saes_read,
            batches: counters.batches,
            block_passes_per_batch: counters.batch_block_passes as f64 / counters.batches as f64,
            sae_rows: counters.sae_rows,
            seconds: phases.data + phases.clean + phases.sae + phases.windows,
            peak_bytes: counters.peak_bytes,
        })
    }
}

/// Cells by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellCounts {
    /// Cells of the plan.
    pub planned: u64,
    /// Done before this run.
    pub reused: u64,
    /// Done in this run.
    pub done: u64,
    /// Done by other processes on the same store during this run.
    #[serde(default)]
    pub elsewhere: u64,
    /// Failed in this run.
    pub failed: u64,
    /// With questions to a judge open, or made of such.
    #[serde(default)]
    pub open: u64,
    /// Not run because a cell they read failed.
    pub blocked: u64,
    /// Files that were damaged and are in quarantine.
    pub quarantined: u64,
    /// Second results that differed from the first.
    pub conflicts: u64,
}

impl Store {
    /// Write the manifest of a run: as that of the last run, and under a name of its own that no
    /// other run takes away.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_manifest(&self, manifest: &RunManifest) -> Result<(), StoreError> {
        let encode = |source| StoreError::Output {
            key: "run.json".to_owned(),
            source,
        };
        let mut bytes = serde_json::to_vec_pretty(manifest).map_err(encode)?;
        bytes.push(b'\n');
        self.write_file(&manifest.file_name(), &bytes)?;
        self.write_file("run.json", &bytes).map(|_| ())
    }

    /// The manifest of the last run; `None` when there is none or it cannot be read.
    pub fn read_manifest(&self) -> Option<RunManifest> {
        serde_json::from_slice(&std::fs::read(self.dir().join("run.json")).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;

    #[test]
    fn a_summary_of_grid_passes() {
        assert_eq!(GridSummary::of(&Counters::default()), None);
        let mut counters = Counters {
            batches: 4,
            batch_block_passes: 4 * 520,
            flops: 4e9,
            grid_flops: 3e9,
            peak_flops: 2e9,
            ..Counters::default()
        };
        counters.phases.suffix = 1.5;
        counters.phases.head = 0.5;
        counters.phases.load = 7.0;
        let grid = GridSummary::of(&counters).unwrap();
        assert_eq!(grid.block_passes_per_batch, 520.0);
        assert_eq!((grid.seconds, grid.fraction_of_peak), (2.0, Some(0.75)));
        assert_eq!(grid.load_seconds, 7.0);
    }

    #[test]
    fn a_summary_of_answers() {
        let counters = Counters {
            batches: 4,
            batch_block_passes: 4 * 40 * 8,
            denoising_steps: 4 * 40,
            ..Counters::default()
        };
        let decoding = DecodingSummary::of(&counters).unwrap();
        assert_eq!(decoding.steps_per_batch, 40.0);
        assert_eq!(decoding.block_passes_per_batch, 320.0);
        assert_eq!(GridSummary::of(&counters), None);
        assert_eq!(DecodingSummary::of(&Counters::default()), None);
    }

    #[test]
    fn a_summary_of_activations() {
        let counters = Counters {
            saes_read: 36,
            batches: 4,
            batch_block_passes: 4 * 28,
            ..Counters::default()
        };
        let passes = ActivationSummary::of(&counters).unwrap();
        assert_eq!((passes.saes, passes.block_passes_per_batch), (36, 28.0));
        assert_eq!(GridSummary::of(&counters), None);
        assert_eq!(ActivationSummary::of(&Counters::default()), None);
    }

    #[test]
    fn a_manifest_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Access::Write).unwrap();
        assert_eq!(store.read_manifest(), None);
        let manifest = RunManifest {
            bench: "table2".into(),
            exit_code: Some(0),
            ..RunManifest::default()
        };
        store.write_manifest(&manifest).unwrap();
        assert_eq!(store.read_manifest(), Some(manifest.clone()));
        // A second run takes the place of the last one's, and leaves its own.
        let second = RunManifest {
            pid: 2,
            host: "a/../b c".into(),
            ..manifest
        };
        store.write_manifest(&second).unwrap();
        assert_eq!(store.read_manifest(), Some(second));
        let names: Vec<String> = crate::keys::entries(&dir.path().join(MANIFESTS))
            .unwrap()
            .into_iter()
            .map(|(_, name)| name)
            .collect();
        assert_eq!(names, ["0--0.json", "0-a..bc-2.json"]);
    }
}
