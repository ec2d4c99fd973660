//! What one pass remembers of one SAE.

use harness_core::autointerp::{LatentTracker, Places, WindowRules};

use super::text::{BatchRows, Token};
use crate::eval::Scope;

/// Not followed.
const NONE: u32 = u32::MAX;

/// Active latents of the real rows of a batch, on the host.
pub(super) struct Codes {
    /// Width of a row.
    pub(super) w: usize,
    /// `[n_valid, w]`, descending in each row, 0 after the last.
    pub(super) acts: Vec<f32>,
    /// `[n_valid, w]`.
    pub(super) latents: Vec<i64>,
}

/// Activations that cannot be: of no latent, or not finite.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("activation {act} of latent {latent} at position {position} of row {row}; the SAE has {d_sae} latents, 0 to {}", d_sae - 1)]
pub(super) struct BadCode {
    act: f32,
    latent: i64,
    row: u64,
    position: usize,
    d_sae: usize,
}

/// Documents by label: what is needed to tell which latent goes with which.
pub(super) struct LabelCounts {
    /// `[n_labels]`: documents with the label.
    pub(super) labelled: Vec<u64>,
    /// `[n_followed]`: documents the latent fires in.
    pub(super) fired: Vec<u64>,
    /// `[n_labels][n_followed]`: documents with both.
    pub(super) both: Vec<Vec<u64>>,
}

/// Activity of one SAE's latents over a text.
pub(super) struct Activity {
    scope: Scope,
    /// `[d_sae]`: place of its tracker, or [`NONE`].
    slot_of: Vec<u32>,
    pub(super) trackers: Vec<LatentTracker>,
    /// `[d_sae]`: positions on which each is active.
    pub(super) n_active: Vec<u64>,
    /// Positions that counted, and those of them that were masked.
    pub(super) n_tokens: u64,
    pub(super) n_masked: u64,
    pub(super) labels: Option<LabelCounts>,
    row: RowCodes,
}

/// The activations of one row, by follower. Kept for its memory.
#[derive(Default)]
struct RowCodes {
    /// `[n_followed]`: activations of each; while they are put in order, where its next one goes.
    ends: Vec<u32>,
    /// Followers with one or more, as they were met.
    touched: Vec<u32>,
    /// Follower, position, activation, as they were met.
    found: Vec<(u32, u32, f32)>,
    /// Position and activation, follower after follower in the order of `touched`.
    sorted: Vec<(u32, f32)>,
}

impl Activity {
    /// Nothing seen yet.
    ///
    /// - `followed`: latents that get a tracker, below `d_sae`, each once
    /// - `n_labels`: labels of the text; `None` counts none
    pub(super) fn new(
        d_sae: usize,
        followed: &[u32],
        scope: Scope,
        rules: WindowRules,
        seed: u64,
        places: &Places,
        n_labels: Option<usize>,
    ) -> Activity {
        let mut slot_of = vec![NONE; d_sae];
        for (slot, latent) in (0..).zip(followed) {
            slot_of[*latent as usize] = slot;
        }
        let n = followed.len();
        Activity {
            scope,
            slot_of,
            trackers: followed
                .iter()
                .map(|latent| LatentTracker::new(*latent, seed, rules, places))
                .collect(),
            n_active: vec![0; d_sae],
            n_tokens: 0,
            n_masked: 0,
            labels: n_labels.map(|n_labels| LabelCounts {
                labelled: vec![0; n_labels],
                fired: vec![0; n],
                both: vec![vec![0; n]; n_labels],
            }),
            row: RowCodes {
                ends: vec![0; n],
                ..RowCodes::default()
            },
        }
    }

    /// The tracker of a latent that is followed.
    pub(super) fn tracker(&self, latent: u32) -> Option<&LatentTracker> {
        let slot = *self.slot_of.get(latent as usize)?;
        self.trackers.get(slot as usize)
    }

    /// Takes in the rows of a batch. Batches come in the order of the text.
    ///
    /// - `labels`: of each row's document
    ///
    /// # Errors
    /// Latents that are none, activations that are not finite.
    pub(super) fn take(
        &mut self,
        rows: &BatchRows,
        labels: &[&[u32]],
        codes: &Codes,
    ) -> Result<(), BadCode> {
        let mut start = 0;
        for (r, &len) in rows.lens.iter().enumerate() {
            let row = rows.first + r as u64;
            let tokens = &rows.tokens[start..start + len];
            let slots = start * codes.w..(start + len) * codes.w;
            self.find(
                row,
                tokens,
                codes.w,
                &codes.acts[slots.clone()],
                &codes.latents[slots],
            )?;
            self.hand_out(row, len, labels.get(r).copied().unwrap_or(&[]));
            start += len;
        }
        Ok(())
    }

    /// Counts the activations of a row and gathers those of followed latents.
    fn find(
        &mut self,
        row: u64,
        tokens: &[Token],
        w: usize,
        acts: &[f32],
        latents: &[i64],
    ) -> Result<(), BadCode> {
        let d_sae = self.n_active.len();
        let own = &mut self.row;
        own.found.clear();
        own.touched.clear();
        let codes = acts.chunks_exact(w).zip(latents.chunks_exact(w));
        for (position, (token, (acts, latents))) in tokens.iter().zip(codes).enumerate() {
            if !token.counts(self.scope) {
                continue;
            }
            self.n_tokens += 1;
            self.n_masked += u64::from(*token == Token::Masked);
            for (&act, &latent) in acts.iter().zip(latents) {
                if act <= 0.0 {
                    break;
                }
                let known = usize::try_from(latent)
                    .ok()
                    .filter(|latent| *latent < d_sae && act.is_finite());
                let Some(known) = known else {
                    return Err(BadCode {
                        act,
                        latent,
                        row,
                        position,
                        d_sae,
                    });
                };
                self.n_active[known] += 1;
                let slot = self.slot_of[known];
                if slot != NONE {
                    let count = &mut own.ends[slot as usize];
                    if *count == 0 {
                        own.touched.push(slot);
                    }
                    *count += 1;
                    own.found.push((slot, position as u32, act));
                }
            }
        }
        Ok(())
    }

    /// Gives the gathered activations of a row to their trackers: a counting sort, which keeps the order of positions.
    fn hand_out(&mut self, row: u64, len: usize, labels: &[u32]) {
        let RowCodes {
            ends,
            touched,
            found,
            sorted,
        } = &mut self.row;
        let mut start = 0;
        for slot in touched.iter() {
            start += std::mem::replace(&mut ends[*slot as usize], start);
        }
        sorted.clear();
        sorted.resize(found.len(), (0, 0.0));
        for &(slot, position, act) in found.iter() {
            let end = &mut ends[slot as usize];
            sorted[*end as usize] = (position, act);
            *end += 1;
        }
        let mut from = 0;
        for slot in touched.iter() {
            let to = std::mem::take(&mut ends[*slot as usize]) as usize;
            self.trackers[*slot as usize].push_row(row, len, &sorted[from..to]);
            from = to;
        }
        if let Some(counts) = &mut self.labels {
            for slot in touched.iter() {
                counts.fired[*slot as usize] += 1;
            }
            for label in labels {
                counts.labelled[*label as usize] += 1;
                let both = &mut counts.both[*label as usize];
                for slot in touched.iter() {
                    both[*slot as usize] += 1;
                }
            }
        }
    }
}
