use std::collections::BTreeMap;

use harness_contract::outputs::{
    Chosen, ExplainOutput, ExplanationLine, LatentState, LatentWindows, Outcome, PredictOutput,
    ScoredWindow, WindowsOutput,
};
use harness_core::{
    autointerp::{RandomWindows, accuracy, is_positive, n_correct},
    record::Status,
    stats::{Bootstrap, Estimate, Moments},
};
use harness_plan::expand::{Plan, PlannedRow};
use harness_store::{Lookup, Store, StoreError};

use super::rows::{AutointerpRow, LabelRow, LatentRow};
use super::work::AutointerpWork;

/// Rows of the autointerp bench.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AutointerpTables {
    /// One for each SAE.
    pub saes: Vec<AutointerpRow>,
    /// One for each latent.
    pub latents: Vec<LatentRow>,
    /// One for each label and SAE.
    pub labels: Vec<LabelRow>,
    /// One for each explained latent that was chosen, best score first within an SAE.
    pub explanations: Vec<ExplanationLine>,
    /// Lines or rows of the data files that could not be used.
    pub n_bad_rows: u64,
    /// SAEs whose text ended before the budget did.
    pub n_ended_short: u64,
}

/// What is there of one SAE.
struct Left {
    windows: Option<WindowsOutput>,
    explain: Option<ExplainOutput>,
    predict: Option<PredictOutput>,
    has_failed: bool,
    /// Questions are open.
    is_open: bool,
}

/// The tables of a plan's rows; an SAE without any cell done has a row all the same, empty and with
/// a status.
///
/// # Errors
/// When the store cannot be read, or an output is not what its stage leaves.
pub fn derive(plan: &Plan, store: &Store) -> Result<AutointerpTables, StoreError> {
    let mut tables = AutointerpTables::default();
    for row in &plan.rows {
        if let Some(work) = row.work::<AutointerpWork>() {
            let left = Left::read(work, store)?;
            tables.add(row, work, &left);
        }
    }
    Ok(tables)
}

impl Left {
    fn read(work: &AutointerpWork, store: &Store) -> Result<Left, StoreError> {
        let mut has_failed = false;
        for key in [&work.windows, &work.explain, &work.predict] {
            has_failed |= matches!(store.lookup(key)?, Lookup::Failed(_));
        }
        let explain = store.available::<ExplainOutput>(&work.explain)?;
        let predict = store.available::<PredictOutput>(&work.predict)?;
        let is_whole = |done: [Option<bool>; 2]| done.into_iter().flatten().all(|is| is);
        Ok(Left {
            windows: (store.available(&work.windows)?).map(|there| there.output),
            is_open: !is_whole([
                explain.as_ref().map(|there| there.is_whole),
                predict.as_ref().map(|there| there.is_whole),
            ]),
            explain: explain.map(|there| there.output),
            predict: predict.map(|there| there.output),
            has_failed,
        })
    }

    fn status(&self) -> Status {
        match (&self.predict, self.has_failed) {
            (Some(_), _) if self.is_open => Status::Partial,
            (Some(_), _) => Status::Ok,
            (None, true) => Status::Failed,
            (None, false) => Status::Missing,
        }
    }

    fn judge(&self) -> String {
        let predicted = self.predict.as_ref().map(|predict| &predict.judge);
        let explained = self.explain.as_ref().map(|explain| &explain.judge);
        predicted.or(explained).cloned().unwrap_or_default()
    }
}

impl AutointerpTables {
    fn add(&mut self, row: &PlannedRow, work: &AutointerpWork, left: &Left) {
        let set = &work.settings;
        let latents: Vec<LatentRow> = (left.windows.iter())
            .flat_map(|windows| &windows.latents)
            .map(|latent| latent_row(row, set.random_windows, latent, left))
            .collect();
        let of_label = |latent: &&LatentRow| latent.chosen == chosen_name(Chosen::Label);
        let chosen: Vec<&LatentRow> = latents.iter().filter(|l| !of_label(l)).collect();
        self.saes.push(sae_row(row, work, left, &chosen));
        self.explanations.extend(explanations(row, &chosen));
        if let Some(windows) = &left.windows {
            self.n_bad_rows = self.n_bad_rows.max(windows.n_bad_rows);
            self.n_ended_short += u64::from(windows.ended_short);
            self.labels.extend(label_rows(row, windows, &latents));
        }
        self.latents.extend(latents);
    }
}

fn latent_row(
    row: &PlannedRow,
    random: RandomWindows,
    latent: &LatentWindows,
    left: &Left,
) -> LatentRow {
    let explained = (left.explain.iter())
        .flat_map(|explain| &explain.explanations)
        .find(|explained| explained.latent == latent.latent);
    let prediction = (left.predict.iter())
        .flat_map(|predict| &predict.predictions)
        .find(|prediction| prediction.latent == latent.latent);
    let active: Vec<bool> = (latent.scored.iter())
        .map(|scored| is_active(scored, random))
        .collect();
    let predicted = prediction.and_then(|p| p.predicted.clone());
    let correct = predicted.as_ref().and_then(|p| n_correct(p, &active));
    // A latent that was not explained was not predicted either: the first question says why.
    let asked = [
        explained.map(|e| (e.outcome, &e.error)),
        prediction.map(|p| (p.outcome, &p.error)),
    ];
    let unanswered = (asked.into_iter().flatten())
        .find(|(outcome, _)| !matches!(outcome, Outcome::Answered | Outcome::NotAsked));
    let outcome = match (latent.state, unanswered, correct) {
        (LatentState::Dead, ..) => "dead",
        (LatentState::FewWindows, ..) => "few_windows",
        (_, Some((outcome, _)), _) => outcome.name(),
        (_, None, Some(_)) => "scored",
        (_, None, None) => "missing",
    };
    LatentRow {
        model: row.model.clone(),
        sae: row.sae.clone(),
        latent: latent.latent,
        chosen: chosen_name(latent.chosen).to_owned(),
        explanation: explained.and_then(|e| e.explanation.clone()),
        autointerp_score: predicted.as_ref().and_then(|p| accuracy(p, &active)),
        n_windows: active.len() as u64,
        n_correct: correct,
        predicted,
        active: (0_u32..)
            .zip(&active)
            .filter_map(|(place, is_active)| is_active.then_some(place))
            .collect(),
        n_active: latent.n_active,
        density: latent.density,
        max_act: f64::from(latent.max_act),
        outcome: outcome.to_owned(),
        error: unanswered.and_then(|(_, error)| error.clone()),
        judge: left.judge(),
    }
}

/// What counts as true of a window.
pub(super) fn is_active(scored: &ScoredWindow, random: RandomWindows) -> bool {
    is_positive(scored.window.origin, scored.active, random)
}

fn sae_row(
    row: &PlannedRow,
    work: &AutointerpWork,
    left: &Left,
    chosen: &[&LatentRow],
) -> AutointerpRow {
    let set = &work.settings;
    let scores: Vec<f64> = chosen.iter().filter_map(|l| l.autointerp_score).collect();
    let moments = Moments::of(&scores);
    let bootstrap = Bootstrap {
        resamples: set.resamples,
        seed: set.seed,
    };
    let is_there = left.predict.is_some();
    let count = |is_counted: &dyn Fn(&str) -> bool| {
        let n = chosen.iter().filter(|l| is_counted(&l.outcome)).count();
        is_there.then_some(n as u64)
    };
    let with = |outcome: &str| count(&|is| is == outcome);
    let n_not_asked = count(&|outcome| ["dead", "few_windows"].contains(&outcome));
    let n_asked = n_not_asked.map(|n| chosen.len() as u64 - n);
    let n_open = count(&|is| Outcome::of_name(is).is_some_and(Outcome::is_open));
    // What no answer says anything of counts as nothing.
    let n_counted = (n_asked.zip(n_open)).map(|(asked, open)| asked - open);
    AutointerpRow {
        model: row.model.clone(),
        sae: row.sae.clone(),
        score: Estimate {
            value: moments.mean(),
            n: is_there.then_some(scores.len() as u64),
            ..Estimate::of_mean(&scores, bootstrap)
        },
        std_dev: moments.std_dev(),
        n_dead: left.windows.as_ref().map(|windows| windows.n_dead),
        n_unparsed: with("unparsed"),
        n_refused: with("refused"),
        n_failed: with("failed")
            .zip(n_open)
            .map(|(failed, open)| failed + open),
        judge: left.judge(),
        score_unanswered_counted: n_counted
            .filter(|n| *n > 0)
            .map(|n| scores.iter().sum::<f64>() / n as f64),
        n_asked,
        n_not_asked,
        random_windows: set.random_windows.name().to_owned(),
        comparable_with_paper: left.predict.as_ref().map(|p| p.comparable_with_paper),
        status: left.status(),
    }
}

/// Explained latents of one SAE, best score first; those without a score come last.
fn explanations(row: &PlannedRow, chosen: &[&LatentRow]) -> Vec<ExplanationLine> {
    let mut lines: Vec<ExplanationLine> = chosen
        .iter()
        .filter_map(|latent| {
            Some(ExplanationLine {
                sae_hash: row.sae_hash.clone(),
                model: latent.model.clone(),
                sae: latent.sae.set.clone(),
                sae_id: latent.sae.id.clone(),
                layer: latent.sae.layer,
                k: latent.sae.k,
                latent: latent.latent,
                explanation: latent.explanation.clone()?,
                autointerp_score: latent.autointerp_score,
                judge: latent.judge.clone(),
            })
        })
        .collect();
    lines.sort_by(ExplanationLine::best_first);
    lines
}

fn label_rows(row: &PlannedRow, windows: &WindowsOutput, latents: &[LatentRow]) -> Vec<LabelRow> {
    let by_latent: BTreeMap<u32, &LatentRow> = latents.iter().map(|l| (l.latent, l)).collect();
    (windows.labels.iter())
        .map(|label| {
            let latent = by_latent.get(&label.latent);
            let none = latent.and_then(|l| {
                let inactive = l.n_windows - l.active.len() as u64;
                (l.n_windows > 0).then(|| inactive as f64 / l.n_windows as f64)
            });
            LabelRow {
                model: row.model.clone(),
                sae: row.sae.clone(),
                label: label.label.clone(),
                n_documents: label.n_documents,
                latent: label.latent,
                precision: label.precision,
                recall: label.recall,
                f1: label.f1,
                explanation: latent.and_then(|l| l.explanation.clone()),
                autointerp_score: latent.and_then(|l| l.autointerp_score),
                none_score: none,
            }
        })
        .collect()
}

const fn chosen_name(chosen: Chosen) -> &'static str {
    match chosen {
        Chosen::Sample => "sample",
        Chosen::List => "list",
        Chosen::Label => "label",
    }
}
