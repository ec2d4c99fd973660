//! Stage `features`: one activation pass over held-out text, and the latents worth steering.
//!
//! The text is clean, as in the authors' code (PROTOCOL §5); special tokens do not count. A latent is a candidate
//! when it fires at least [`MIN_ACTIVE`] times and on at most [`MAX_DENSITY`] of the tokens. Candidates are ranked by
//! the coherence of the texts they are strongest in, which needs no judge, so that another judge never
//! generates again:
//!
//! ```text
//! coherence = mean over pairs of windows of cos(u_i, u_j),   u = unit vector of idf² of the row's distinct tokens
//! ```
//! A latent of a subject is strongest in texts that share its rare words; one of grammar or position is strongest in
//! texts that share nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use harness_plan::{
    outputs::{Context, Feature, FeaturesOutput},
    stages::{FeatureChoice, FeaturesParams},
};
use tch::{Kind, Tensor};

use super::{
    CellError,
    session::{Progress, Session},
    windows::{BUFFER, LatentActivity, Peak},
};
use crate::{
    data::{DataOptions, Documents, PackPolicy, Packer, TokenRow, batches},
    plugin::{CacheMode, Sae},
    text::TextCodec,
};

/// Activations below which a latent is dead (PROTOCOL §5).
pub(super) const MIN_ACTIVE: u64 = 15;
/// Density above which a latent is too common to stand for a concept.
pub(super) const MAX_DENSITY: f64 = 0.1;
/// Tokens of a batch, padding included.
const BATCH_TOKENS: usize = 4096;
/// Largest residuals kept for the next SAE of the same layer.
const KEEP_BYTES: usize = 1 << 30;

/// The residuals of a corpus at one layer, kept for the other SAEs of the layer.
pub(super) struct KeptResiduals {
    key: String,
    rows: Rc<Vec<TokenRow>>,
    /// One `[n, d_model] f32` for each batch: the valid positions.
    resid: Vec<Tensor>,
}

impl Session {
    /// Selects features of one SAE.
    pub(super) fn features(
        &mut self,
        params: &FeaturesParams,
        progress: Progress<'_>,
    ) -> Result<FeaturesOutput, CellError> {
        let key = serde_json::json!([
            params.model,
            params.corpus,
            params.sae.layer,
            params.numerics
        ])
        .to_string();
        let layer = params.sae.layer as usize;
        let (info, codec) = {
            let loaded = self.studied(&params.model)?;
            (loaded.info.clone(), Rc::clone(&loaded.codec))
        };
        let sae = self.sae(&params.sae, info.d_model)?;
        check_listed(&params.choice, sae.info().d_sae)?;
        let mut pass = Activity::new(sae.info().d_sae, &codec);

        if let Some(kept) = self.kept.take_if(|kept| kept.key == key) {
            let result = pass.run_kept(&kept, &sae);
            let rows = Rc::clone(&kept.rows);
            self.kept = Some(kept);
            result?;
            return Ok(pass.finish(&rows, params));
        }
        self.kept = None;

        let rows = Rc::new(self.read_rows(params, &codec)?);
        let tokens: usize = rows.iter().map(|row| row.ids.len()).sum();
        let keep = tokens * info.d_model * 4 <= KEEP_BYTES;
        let mut resid_kept = Vec::new();
        let context = params.corpus.context_length.max(1) as usize;
        let batch_size = (BATCH_TOKENS / context).max(1);
        let pad = info.pad_token_id.unwrap_or(0);
        let (mut first_row, total) = (0, rows.len());
        for batch in batches(&rows, batch_size, pad) {
            let shape = [batch.rows as i64, batch.len as i64];
            let tokens = Tensor::from_slice(&batch.ids).reshape(shape);
            let mask = Tensor::from_slice(&batch.attention_mask).reshape(shape);
            let model = &mut self.studied(&params.model)?.model;
            let device = model.options()?.device;
            let mut forward = model.begin(&mask, CacheMode::OFF)?;
            let mut resid = forward.embed(&tokens, 0)?; // [b, t, d]
            forward.blocks(0, layer + 1, &mut resid)?;
            let valid = mask.to_device(device).ne(0).reshape([-1]);
            let resid = resid
                .reshape([-1, info.d_model as i64])
                .index(&[Some(valid)])
                .to_kind(Kind::Float); // [n, d]
            pass.take(
                &rows[first_row..first_row + batch.rows],
                first_row,
                &resid,
                &sae,
            )?;
            if keep {
                resid_kept.push(resid);
            }
            first_row += batch.rows;
            progress(first_row as u64, total as u64, "rows")?;
        }
        if keep {
            self.kept = Some(KeptResiduals {
                key,
                rows: Rc::clone(&rows),
                resid: resid_kept,
            });
        }
        Ok(pass.finish(&rows, params))
    }

    /// Rows of the corpus up to its budget of tokens; the last row is cut at the budget.
    fn read_rows(
        &self,
        params: &FeaturesParams,
        codec: &TextCodec,
    ) -> Result<Vec<TokenRow>, CellError> {
        let files = params
            .corpus
            .files
            .iter()
            .map(|hash| super::assets::source(&self.init.sources.files, "data file", hash))
            .map(|path| path.map(std::path::Path::to_path_buf))
            .collect::<Result<Vec<_>, _>>()?;
        let documents = Documents::open(&files, DataOptions::default())?;
        let context = params.corpus.context_length as usize;
        let packer = Packer::new(documents, codec, PackPolicy::Truncate, context)?;
        let budget = params.corpus.budget_tokens;
        let (mut rows, mut seen) = (Vec::new(), 0_u64);
        for row in packer {
            if seen >= budget {
                break;
            }
            let mut row = row?;
            let room = usize::try_from(budget - seen).unwrap_or(usize::MAX);
            row.ids.truncate(room);
            seen += row.ids.len() as u64;
            rows.push(row);
        }
        if rows.is_empty() {
            return Err(CellError::Invalid(
                "the data files hold no text to find features in".to_owned(),
            ));
        }
        Ok(rows)
    }
}

/// Listed latents are those of the SAE.
fn check_listed(choice: &FeatureChoice, d_sae: usize) -> Result<(), CellError> {
    let FeatureChoice::Listed { latents } = choice else {
        return Ok(());
    };
    match latents.iter().find(|latent| **latent as usize >= d_sae) {
        Some(out) => Err(CellError::Config(format!(
            "latent {out} out of range: the SAE has {d_sae} latents, 0 to {}",
            d_sae - 1
        ))),
        None => Ok(()),
    }
}

/// Activity of every latent over a pass.
struct Activity<'a> {
    codec: &'a TextCodec,
    latents: Vec<LatentActivity>,
    /// Activations of `(row, position)` are looked up again for the windows: per row, its active latents.
    active: Vec<Vec<(u32, u32, f32)>>,
    tokens: u64,
}

impl<'a> Activity<'a> {
    fn new(d_sae: usize, codec: &'a TextCodec) -> Self {
        Self {
            codec,
            latents: vec![LatentActivity::default(); d_sae],
            active: Vec::new(),
            tokens: 0,
        }
    }

    fn run_kept(&mut self, kept: &KeptResiduals, sae: &Sae) -> Result<(), CellError> {
        let mut first = 0;
        for resid in &kept.resid {
            let (mut last, mut n) = (first, 0);
            while n < resid.size()[0] {
                n += kept.rows[last].ids.len() as i64;
                last += 1;
            }
            self.take(&kept.rows[first..last], first, resid, sae)?;
            first = last;
        }
        Ok(())
    }

    /// Takes in `rows` whose valid positions have the residuals `resid: [n, d_model] f32`.
    fn take(
        &mut self,
        rows: &[TokenRow],
        first_row: usize,
        resid: &Tensor,
        sae: &Sae,
    ) -> Result<(), CellError> {
        let encoded = sae.encode(resid)?;
        let w = encoded.acts.size()[1] as usize;
        let acts = to_vec_f32(&encoded.acts)?;
        let latents = to_vec_i64(&encoded.latents)?;
        let mut n = 0;
        for (i, row) in rows.iter().enumerate() {
            let mut active = Vec::new();
            for (position, &id) in row.ids.iter().enumerate() {
                let slots = n * w..(n + 1) * w;
                n += 1;
                if self.codec.is_special(id) {
                    continue;
                }
                self.tokens += 1;
                for (&act, &latent) in acts[slots.clone()].iter().zip(&latents[slots]) {
                    let Some(activity) = usize::try_from(latent)
                        .ok()
                        .and_then(|latent| self.latents.get_mut(latent))
                    else {
                        continue;
                    };
                    if act > 0.0 {
                        activity.push(Peak {
                            act,
                            row: first_row + i,
                            position,
                        });
                        active.push((position as u32, latent as u32, act));
                    }
                }
            }
            self.active.push(active);
        }
        Ok(())
    }

    fn finish(&self, rows: &[TokenRow], params: &FeaturesParams) -> FeaturesOutput {
        let features = match &params.choice {
            FeatureChoice::Coherent { n } => self.coherent(rows, *n as usize),
            FeatureChoice::Listed { latents } => latents
                .iter()
                .map(|latent| self.feature(*latent as usize, rows))
                .collect(),
        };
        FeaturesOutput {
            features,
            tokens: self.tokens,
            documents: rows.iter().map(|row| row.documents).sum(),
            n_dead: self
                .latents
                .iter()
                .filter(|activity| activity.n_active == 0)
                .count() as u64,
        }
    }

    /// The `n` most coherent, best first.
    fn coherent(&self, rows: &[TokenRow], n: usize) -> Vec<Feature> {
        let rarity = Rarity::of(rows, self.codec);
        let mut ranked: Vec<(f64, usize)> = self
            .latents
            .iter()
            .enumerate()
            .filter(|(_, activity)| {
                activity.n_active >= MIN_ACTIVE && self.density(activity) <= MAX_DENSITY
            })
            .filter_map(|(latent, activity)| {
                Some((rarity.coherence(&activity.windows(), rows)?, latent))
            })
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        ranked
            .iter()
            .take(n)
            .map(|&(_, latent)| self.feature(latent, rows))
            .collect()
    }

    fn density(&self, activity: &LatentActivity) -> f64 {
        activity.n_active as f64 / self.tokens.max(1) as f64
    }

    fn feature(&self, latent: usize, rows: &[TokenRow]) -> Feature {
        let activity = &self.latents[latent];
        let contexts = activity
            .windows()
            .into_iter()
            .map(|peak| {
                let ids = &rows[peak.row].ids;
                let start = peak.position.saturating_sub(BUFFER);
                let end = (peak.position + BUFFER + 1).min(ids.len());
                let mut acts = vec![0.0; end - start];
                for &(position, active, act) in &self.active[peak.row] {
                    let position = position as usize;
                    if active as usize == latent && (start..end).contains(&position) {
                        acts[position - start] = f64::from(act);
                    }
                }
                // A token that is part of a character decodes to a replacement character, as it should.
                let tokens = ids[start..end]
                    .iter()
                    .map(|&id| self.codec.decode(&[id], false).unwrap_or_default())
                    .collect();
                Context { tokens, acts }
            })
            .collect();
        Feature {
            latent: latent as u32,
            density: self.density(activity),
            max_act: activity.max_act(),
            contexts,
        }
    }
}

/// How rare each token is: idf = ln(rows / rows that hold it).
struct Rarity {
    idf: HashMap<u32, f64>,
}

impl Rarity {
    fn of(rows: &[TokenRow], codec: &TextCodec) -> Self {
        let mut holding: HashMap<u32, u64> = HashMap::new();
        for row in rows {
            for &id in distinct(&row.ids)
                .iter()
                .filter(|&&id| !codec.is_special(id))
            {
                *holding.entry(id).or_default() += 1;
            }
        }
        let n = rows.len() as f64;
        Self {
            idf: holding
                .into_iter()
                .map(|(id, count)| (id, (n / count as f64).ln()))
                .collect(),
        }
    }

    /// Mean cosine of idf² over pairs of windows in different rows; `None` for fewer than two rows.
    fn coherence(&self, windows: &[Peak], rows: &[TokenRow]) -> Option<f64> {
        let mut held: Vec<usize> = windows.iter().map(|peak| peak.row).collect();
        held.sort_unstable();
        held.dedup();
        if held.len() < 2 {
            return None;
        }
        // |sum of unit vectors|^2 = n + 2 · sum over pairs of their cosines.
        let mut sum: BTreeMap<u32, f64> = BTreeMap::new();
        for &row in &held {
            let weights: Vec<(u32, f64)> = distinct(&rows[row].ids)
                .into_iter()
                .filter_map(|id| Some((id, self.idf.get(&id)?.powi(2))))
                .collect();
            let norm = weights
                .iter()
                .map(|(_, weight)| weight * weight)
                .sum::<f64>()
                .sqrt();
            if norm > 0.0 {
                for (id, weight) in weights {
                    *sum.entry(id).or_default() += weight / norm;
                }
            }
        }
        let n = held.len() as f64;
        let squared: f64 = sum.values().map(|value| value * value).sum();
        Some((squared - n) / (n * (n - 1.0)))
    }
}

fn distinct(ids: &[u32]) -> Vec<u32> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn to_vec_f32(tensor: &Tensor) -> Result<Vec<f32>, CellError> {
    Ok(Vec::try_from(
        &tensor.to_device(tch::Device::Cpu).reshape([-1]),
    )?)
}

fn to_vec_i64(tensor: &Tensor) -> Result<Vec<i64>, CellError> {
    Ok(Vec::try_from(
        &tensor.to_device(tch::Device::Cpu).reshape([-1]),
    )?)
}
