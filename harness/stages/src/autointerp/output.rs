//! What a pass found of one SAE, as its cell keeps it.

use std::collections::BTreeSet;

use harness_contract::{
    outputs::{
        Chosen, LabelLatent, LatentState, LatentWindows, ScoredWindow, Window, WindowsOutput,
    },
    stages::{LatentChoice, WindowsParams},
};
use harness_core::autointerp::{ActWindow, Activity, LabelCounts, best_latent};
use harness_engine::{error::CellError, text::TextCodec};

use super::text::Text;

pub(super) struct Outputs<'a> {
    text: &'a Text,
    codec: &'a TextCodec,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(text: &'a Text, codec: &'a TextCodec) -> Self {
        Self { text, codec }
    }

    /// The output of one SAE; `promoted` and `suppressed` are left empty.
    ///
    /// - `candidates`: latents in the order they are looked at
    /// - `n_masked`: positions that counted and were masked
    ///
    /// # Errors
    /// A token that cannot be decoded.
    pub(super) fn output(
        &mut self,
        params: &WindowsParams,
        candidates: &[u32],
        activity: &Activity,
        n_masked: u64,
    ) -> Result<WindowsOutput, CellError> {
        let dead = u64::from(params.dead_threshold);
        let (mut chosen, mut n_few) = (Vec::new(), 0);
        match &params.latents {
            LatentChoice::Sample { n } => {
                for &latent in candidates {
                    if chosen.len() == *n as usize {
                        break;
                    }
                    match state(activity, latent, dead) {
                        LatentState::Alive => chosen.push((latent, Chosen::Sample)),
                        LatentState::FewWindows => n_few += 1,
                        LatentState::Dead => {}
                    }
                }
            }
            LatentChoice::Listed { .. } => {
                chosen.extend(candidates.iter().map(|latent| (*latent, Chosen::List)));
            }
        }
        let labels = match activity.labels() {
            Some(counts) => self.labels(activity, counts, dead),
            None => Vec::new(),
        };
        let mut seen: BTreeSet<u32> = chosen.iter().map(|(latent, _)| *latent).collect();
        for label in &labels {
            if seen.insert(label.latent) {
                chosen.push((label.latent, Chosen::Label));
            }
        }
        let latents = chosen
            .into_iter()
            .map(|(latent, chosen)| self.latent(activity, latent, chosen, dead))
            .collect::<Result<_, _>>()?;
        let counts = &self.text.counts;
        Ok(WindowsOutput {
            latents,
            labels,
            d_sae: activity.n_active().len() as u64,
            n_dead: activity.n_active().iter().filter(|n| **n < dead).count() as u64,
            n_few,
            n_rows: counts.rows,
            n_tokens: activity.n_tokens(),
            n_masked,
            n_bad_rows: counts.bad_rows,
            ended_short: counts.ended_short,
            text_kept: counts.text_kept,
        })
    }

    fn latent(
        &mut self,
        activity: &Activity,
        latent: u32,
        chosen: Chosen,
        dead: u64,
    ) -> Result<LatentWindows, CellError> {
        let tracker = activity
            .tracker(latent)
            .ok_or_else(|| CellError::Invalid(format!("latent {latent} was not followed")))?;
        let state = state(activity, latent, dead);
        let mut out = LatentWindows {
            latent,
            chosen,
            state,
            n_active: tracker.n_active(),
            density: tracker.n_active() as f64 / activity.n_tokens().max(1) as f64,
            max_act: tracker.max_act(),
            threshold: 0.0,
            shown: Vec::new(),
            scored: Vec::new(),
            histogram: tracker.histogram().bins(),
            promoted: Vec::new(),
            suppressed: Vec::new(),
        };
        if state != LatentState::Alive {
            return Ok(out);
        }
        if let Some(split) = tracker.windows() {
            out.threshold = split.threshold;
            for window in &split.shown {
                out.shown.push(self.window(window)?);
            }
            for window in &split.scored {
                out.scored.push(ScoredWindow {
                    window: self.window(window)?,
                    active: window.is_active(split.threshold),
                });
            }
        }
        Ok(out)
    }

    /// A window with the texts of its tokens, hidden ones included.
    ///
    /// # Errors
    /// A token that cannot be decoded.
    pub(super) fn window(&mut self, window: &ActWindow) -> Result<Window, CellError> {
        let row = &self.text.rows[window.row as usize];
        let is_masked = self.text.is_masked(row);
        let start = window.position as usize - window.acts.len() / 2;
        let range = start..start + window.acts.len();
        let tokens = self.codec.pieces(&row.ids, range.clone())?;
        Ok(Window {
            origin: window.origin,
            row: window.row,
            position: window.position,
            tokens,
            acts: window.acts.clone(),
            masked: (0..)
                .zip(&is_masked[range])
                .filter_map(|(place, masked)| masked.then_some(place))
                .collect(),
        })
    }

    /// The latent that goes best with each label, by name.
    fn labels(&self, activity: &Activity, counts: &LabelCounts, dead: u64) -> Vec<LabelLatent> {
        let alive: Vec<(usize, u32)> = activity
            .trackers()
            .iter()
            .enumerate()
            .map(|(slot, tracker)| (slot, tracker.latent()))
            .filter(|(_, latent)| state(activity, *latent, dead) == LatentState::Alive)
            .collect();
        let mut out: Vec<LabelLatent> = (self.text.labels.iter().enumerate())
            .filter_map(|(place, label)| {
                let (both, n_documents) = (&counts.both[place], counts.labelled[place]);
                let latents = alive
                    .iter()
                    .map(|(slot, latent)| (*latent, both[*slot], counts.fired[*slot]));
                let (latent, agreement) = best_latent(latents, n_documents)?;
                Some(LabelLatent {
                    label: label.clone(),
                    n_documents,
                    latent,
                    precision: agreement.precision,
                    recall: agreement.recall,
                    f1: agreement.f1,
                })
            })
            .collect();
        out.sort_by(|a, b| a.label.cmp(&b.label));
        out
    }
}

/// Whether a latent that is followed has windows.
fn state(activity: &Activity, latent: u32, dead: u64) -> LatentState {
    match activity.tracker(latent) {
        Some(tracker) if tracker.n_active() >= dead && tracker.has_windows() => LatentState::Alive,
        Some(tracker) if tracker.n_active() >= dead => LatentState::FewWindows,
        _ => LatentState::Dead,
    }
}
