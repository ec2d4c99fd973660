//! Which cells belong together: windows of an SAE, who explained them, what was predicted from
//! that.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::{
    ReportError,
    cells::{Head, Scan, output},
};
use harness_contract::{
    outputs::{ExplainOutput, PredictOutput},
    stages::{JudgeRef, PredictParams, SaeRef, Stage, WindowsParams},
};
use harness_store::{Access, ManifestSae, RunManifest, Store};

/// What of a run is reported.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// One SAE set, by name; all when `None`.
    pub set: Option<String>,
    /// A judge: its identity, its component's name or its model's; needed when several judged.
    pub judge: Option<String>,
}

/// An auto-interpretation run, joined.
#[derive(Debug)]
pub struct Run {
    /// The folder of results.
    pub dir: PathBuf,
    /// SAEs with windows, by model, set, layer, k and name.
    pub saes: Vec<SaeCells>,
    /// What is not in `saes`, or not whole.
    pub counts: Counts,
    /// Whose models and text the last run in the folder was on, in sentences.
    pub provenance: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct SaeCells {
    /// Parameters of the windows: model, SAE, text, rules.
    pub params: WindowsParams,
    /// Key of the windows.
    pub windows: String,
    /// The SAE within its set, as the manifests of the folder say; empty where they do not know it.
    pub sae_id: String,
    /// The judge's cells; `None` while nobody has explained the windows.
    pub judged: Option<Judged>,
}

/// What one judge made of an SAE's windows.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Identity of the judge, e.g. `lexical-1`.
    pub judge: String,
    /// Whether it may be compared with the paper's judge; `None` before it has predicted.
    pub comparable_with_paper: Option<bool>,
    /// Key of the explanations.
    pub explain: String,
    /// Key of the predictions; `None` while they are not done.
    pub predict: Option<String>,
    component: Option<JudgeRef>,
    finished: u64,
}

/// What a report passes over or lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// SAEs whose windows nobody has explained.
    pub n_unexplained: u64,
    /// SAEs explained, without predictions.
    pub n_unpredicted: u64,
    /// Failed cells of the bench's stages.
    pub n_failed: u64,
    /// Damaged cell files.
    pub n_damaged: u64,
    /// Windows of SAEs that were looked at again later, with other settings.
    pub n_older: u64,
}

impl SaeCells {
    /// Name for messages: `dream-mask layer 2 k 8`.
    pub fn name(&self) -> String {
        self.params.sae.name()
    }

    /// What SAEs of one page agree in: model and set.
    pub(super) fn set_key(&self) -> (&str, &str) {
        (&self.params.model.name, &self.params.sae.set)
    }
}

impl Run {
    /// Read a folder of results and join its cells.
    ///
    /// # Errors
    /// When the folder or a cell cannot be read, holds no auto-interpretation, has no such set or
    /// judge, or several judges explained the same windows and none is named.
    pub fn read(dir: &Path, selection: &Selection) -> Result<Run, ReportError> {
        let scan = Scan::read(dir)?;
        let (mut saes, n_older) = latest_windows(&scan);
        if saes.is_empty() {
            return Err(ReportError::Nothing {
                path: dir.to_owned(),
                what: "auto-interpretation",
                found: scan.stages(),
            });
        }
        if let Some(name) = &selection.set {
            let known: BTreeSet<String> = saes.iter().map(|s| s.params.sae.set.clone()).collect();
            saes.retain(|sae| sae.params.sae.set == *name);
            if saes.is_empty() {
                return Err(ReportError::NoSet {
                    name: name.clone(),
                    known: known.into_iter().collect(),
                });
            }
        }
        let mut judged = judged_by_windows(&scan)?;
        let mut known = BTreeSet::new();
        for sae in &mut saes {
            let candidates = judged.remove(&sae.windows).unwrap_or_default();
            known.extend(candidates.iter().map(|judged| judged.judge.clone()));
            sae.judged = choose(sae, candidates, selection.judge.as_deref())?;
        }
        if let Some(name) = &selection.judge
            && saes.iter().all(|sae| sae.judged.is_none())
        {
            return Err(ReportError::NoJudge {
                name: name.clone(),
                known: known.into_iter().collect(),
            });
        }
        let count = |is: fn(&SaeCells) -> bool| saes.iter().filter(|sae| is(sae)).count() as u64;
        let stages = [Stage::Windows, Stage::Explain, Stage::Predict].map(Stage::name);
        let counts = Counts {
            n_unexplained: count(|sae| sae.judged.is_none()),
            n_unpredicted: count(|sae| sae.judged.as_ref().is_some_and(|j| j.predict.is_none())),
            n_failed: scan.n_failed(&stages),
            n_damaged: scan.n_damaged,
            n_older,
        };
        Ok(Run {
            dir: dir.to_owned(),
            saes,
            counts,
            provenance: Store::open(dir, Access::Read)?
                .read_manifest()
                .map_or_else(Vec::new, |manifest| manifest.provenance),
        })
    }
}

/// Names of SAEs within their sets, by what cells know of them.
struct Ids {
    saes: Vec<ManifestSae>,
}

impl Ids {
    /// The name of an SAE: by its content, else that of the only SAE of its set, layer and k, which
    /// is this one in an earlier state.
    fn of(&self, sae: &SaeRef) -> String {
        let by_content = self.saes.iter().find(|known| known.hash == sae.hash);
        let is_there = |known: &&ManifestSae| {
            (&known.set, known.layer, known.k) == (&sae.set, sae.layer, sae.k)
        };
        let mut names: Vec<&str> = (self.saes.iter().filter(is_there))
            .map(|known| known.sae_id.as_str())
            .collect();
        names.dedup();
        let only = match names[..] {
            [only] => Some(only),
            _ => None,
        };
        by_content
            .map(|known| known.sae_id.as_str())
            .or(only)
            .unwrap_or_default()
            .to_owned()
    }
}

/// The SAEs of all runs in a folder of results; none where no manifest can be read.
fn ids(dir: &Path) -> Ids {
    let read = |path: PathBuf| {
        let bytes = fs::read(path).ok()?;
        let manifest: RunManifest = serde_json::from_slice(&bytes).ok()?;
        Some(manifest.saes)
    };
    let earlier = fs::read_dir(dir.join("manifests")).into_iter().flatten();
    let paths = earlier.flatten().map(|entry| entry.path());
    let mut saes: Vec<ManifestSae> = (paths.chain([dir.join("run.json")]))
        .filter_map(read)
        .flatten()
        .filter(|sae| !sae.sae_id.is_empty())
        .collect();
    let key = |sae: &ManifestSae| (sae.set.clone(), sae.sae_id.clone(), sae.hash.clone());
    saes.sort_by_cached_key(key);
    saes.dedup();
    Ids { saes }
}

/// The windows finished last for each model, set, layer, k and SAE, and how many others there are:
/// a folder of results keeps those of earlier settings.
fn latest_windows(scan: &Scan) -> (Vec<SaeCells>, u64) {
    let ids = ids(&scan.dir);
    let mut latest: BTreeMap<_, (u64, SaeCells)> = BTreeMap::new();
    let mut n = 0;
    for head in scan.done(Stage::Windows.name()) {
        let Some(params) = head.params::<WindowsParams>() else {
            continue;
        };
        n += 1;
        let sae = &params.sae;
        let sae_id = ids.of(sae);
        let id = (
            params.model.name.clone(),
            sae.set.clone(),
            sae.layer,
            sae.k,
            sae_id.clone(),
        );
        let finished = head.provenance.finished_unix;
        if latest.get(&id).is_none_or(|(time, _)| *time <= finished) {
            let cells = SaeCells {
                params,
                windows: head.key.clone(),
                sae_id,
                judged: None,
            };
            latest.insert(id, (finished, cells));
        }
    }
    let n_older = n - latest.len() as u64;
    (
        latest.into_values().map(|(_, cells)| cells).collect(),
        n_older,
    )
}

/// Explanations by the windows they are of, each with the predictions made from it.
fn judged_by_windows(scan: &Scan) -> Result<BTreeMap<String, Vec<Judged>>, ReportError> {
    let windows: BTreeSet<&str> = scan
        .done(Stage::Windows.name())
        .map(|head| head.key.as_str())
        .collect();
    let mut predictions: BTreeMap<&str, Vec<&Head>> = BTreeMap::new();
    for head in scan.done(Stage::Predict.name()) {
        if let [_, explain] = head.inputs.as_slice() {
            predictions.entry(explain).or_default().push(head);
        }
    }
    let mut found: BTreeMap<String, Vec<Judged>> = BTreeMap::new();
    for head in scan.done(Stage::Explain.name()) {
        // An explanation of another bench reads a cell of another stage.
        let [input] = head.inputs.as_slice() else {
            continue;
        };
        if !windows.contains(input.as_str()) {
            continue;
        }
        let of = found.entry(input.clone()).or_default();
        let made = predictions.remove(head.key.as_str()).unwrap_or_default();
        for predict in &made {
            let output: PredictOutput = output(&scan.dir, &predict.key)?;
            of.push(Judged {
                judge: output.judge,
                comparable_with_paper: Some(output.comparable_with_paper),
                explain: head.key.clone(),
                predict: Some(predict.key.clone()),
                component: predict.params::<PredictParams>().map(|params| params.judge),
                finished: predict.provenance.finished_unix,
            });
        }
        if made.is_empty() {
            let output: ExplainOutput = output(&scan.dir, &head.key)?;
            of.push(Judged {
                judge: output.judge,
                comparable_with_paper: None,
                explain: head.key.clone(),
                predict: None,
                component: head
                    .params
                    .pointer("/asked/judge")
                    .and_then(|judge| serde_json::from_value(judge.clone()).ok()),
                finished: head.provenance.finished_unix,
            });
        }
    }
    Ok(found)
}

/// The cells of the named judge, or of the only one. Of one judge's several, those with predictions
/// go first, then the latest.
fn choose(
    sae: &SaeCells,
    mut candidates: Vec<Judged>,
    name: Option<&str>,
) -> Result<Option<Judged>, ReportError> {
    if let Some(name) = name {
        candidates.retain(|judged| judged.is_called(name));
    }
    let judges: BTreeSet<String> = candidates.iter().map(|j| j.judge.clone()).collect();
    if judges.len() > 1 {
        return Err(ReportError::SeveralJudges {
            sae: sae.name(),
            judges: judges.into_iter().collect(),
        });
    }
    Ok(candidates
        .into_iter()
        .max_by_key(|judged| (judged.predict.is_some(), judged.finished)))
}

impl Judged {
    fn is_called(&self, name: &str) -> bool {
        self.judge == name
            || self.component.as_ref().is_some_and(|component| {
                component.component.name == name || component.model.as_deref() == Some(name)
            })
    }
}
