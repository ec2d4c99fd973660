//! The active latents of one SAE, handed to the trackers of those that are followed.

use super::{LatentTracker, Places, WindowRules};

/// Not followed.
const NONE: u32 = u32::MAX;

/// Active latents of one row of text, as an SAE gives them.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    /// Width: latents of a position at most.
    pub w: usize,
    /// `[t, w]`: descending at each position, 0 after the last.
    pub acts: &'a [f32],
    /// `[t, w]`.
    pub latents: &'a [i64],
}

/// An activation that cannot be: of no latent, or not finite.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "activation {act} of latent {latent} at position {position} of row {row}; the SAE has {d_sae} latents, 0 to {}, and \
     activations are finite",
    d_sae - 1
)]
pub struct BadCode {
    act: f32,
    latent: i64,
    row: u64,
    position: usize,
    d_sae: usize,
}

/// Documents by label: what is needed to tell which latent goes with which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelCounts {
    /// `[n_labels]`: documents with the label.
    pub labelled: Vec<u64>,
    /// `[n_followed]`: documents the latent fires in.
    pub fired: Vec<u64>,
    /// `[n_labels][n_followed]`: documents with both.
    pub both: Vec<Vec<u64>>,
}

/// Activity of one SAE's latents over a text: how often each is active, and a tracker for each that
/// is followed.
#[derive(Clone, Debug)]
pub struct Activity {
    /// `[d_sae]`: place of its tracker, or [`NONE`].
    slot_of: Vec<u32>,
    trackers: Vec<LatentTracker>,
    n_active: Vec<u64>,
    n_tokens: u64,
    labels: Option<LabelCounts>,
    row: RowCodes,
}

/// The activations of one row, by follower. Kept for its memory.
#[derive(Clone, Debug, Default)]
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
    /// - `followed`: latents that get a tracker, each once; those at and after `d_sae` get none
    /// - `n_labels`: labels of the text; `None` counts none
    pub fn new(
        d_sae: usize,
        followed: &[u32],
        rules: WindowRules,
        seed: u64,
        places: &Places,
        n_labels: Option<usize>,
    ) -> Activity {
        let mut slot_of = vec![NONE; d_sae];
        let mut trackers = Vec::with_capacity(followed.len());
        for &latent in followed {
            if let Some(slot) = slot_of.get_mut(latent as usize) {
                *slot = trackers.len() as u32;
                trackers.push(LatentTracker::new(latent, seed, rules, places));
            }
        }
        let n = trackers.len();
        Activity {
            slot_of,
            trackers,
            n_active: vec![0; d_sae],
            n_tokens: 0,
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

    /// Trackers of the latents that are followed, in their order.
    pub fn trackers(&self) -> &[LatentTracker] {
        &self.trackers
    }

    /// The tracker of a latent that is followed.
    pub fn tracker(&self, latent: u32) -> Option<&LatentTracker> {
        let slot = *self.slot_of.get(latent as usize)?;
        self.trackers.get(slot as usize)
    }

    /// `[d_sae]`: positions on which each latent is active.
    pub fn n_active(&self) -> &[u64] {
        &self.n_active
    }

    /// Positions that counted.
    pub fn n_tokens(&self) -> u64 {
        self.n_tokens
    }

    /// Documents by label, where they were asked for.
    pub fn labels(&self) -> Option<&LabelCounts> {
        self.labels.as_ref()
    }

    /// Takes in a row. Rows come in ascending order.
    ///
    /// - `counts`: `[t]`, positions whose activations count
    /// - `labels`: of the row's document, each once and below `n_labels`
    ///
    /// # Errors
    /// Latents that are none, activations that are not finite.
    pub fn push_row(
        &mut self,
        row: u64,
        counts: &[bool],
        codes: Codes<'_>,
        labels: &[u32],
    ) -> Result<(), BadCode> {
        self.find(row, counts, codes)?;
        self.hand_out(row, counts.len(), labels);
        Ok(())
    }

    /// Counts the activations of a row and gathers those of followed latents.
    fn find(&mut self, row: u64, counts: &[bool], codes: Codes<'_>) -> Result<(), BadCode> {
        let d_sae = self.n_active.len();
        let own = &mut self.row;
        own.found.clear();
        own.touched.clear();
        let w = codes.w.max(1);
        let by_position = codes
            .acts
            .chunks_exact(w)
            .zip(codes.latents.chunks_exact(w));
        for (position, (counts, (acts, latents))) in counts.iter().zip(by_position).enumerate() {
            if !counts {
                continue;
            }
            self.n_tokens += 1;
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

    /// Gives the gathered activations of a row to their trackers: a counting sort, which keeps the
    /// order of positions.
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
                let known = counts.labelled.get_mut(*label as usize);
                let Some((labelled, both)) = known.zip(counts.both.get_mut(*label as usize)) else {
                    continue;
                };
                *labelled += 1;
                for slot in touched.iter() {
                    both[*slot as usize] += 1;
                }
            }
        }
    }
}
