//! A pass one row at a time that keeps every activation.

use super::*;

/// Everything that a pass one row at a time sees of an SAE.
pub(super) struct Everything {
    /// `[d_sae][n_rows]`.
    pub(super) rows: Vec<Vec<ActRow>>,
    /// `[n_rows][t]`: what the model reads.
    pub(super) tokens: Vec<Vec<String>>,
    pub(super) is_masked: Vec<Vec<bool>>,
    pub(super) n_tokens: u64,
}

/// Keeps every activation of an SAE.
pub(super) fn everything(dir: &Path, params: &WindowsParams) -> Everything {
    let registry = Registry::load(&[root().join("plugins")]).unwrap();
    let folder = root().join("benchmarks/zoo/dream");
    let codec = TextCodec::load(&folder).unwrap();
    let mut model = registry.model("Dream", &json!({})).unwrap();
    let options = LoadOptions {
        device: tch::Device::Cpu,
        kind: Kind::Float,
        allow_nan: false,
    };
    let info = model.load(&folder, options).unwrap();
    let sae = registry.sae("topk", &json!({})).unwrap();
    let layer = params.sae.layer;
    let sae = sae
        .load(&sae_dir(&params.sae.set, layer), options.device, false)
        .unwrap();
    let d_sae = sae.info().d_sae;
    let mut out = Everything {
        rows: vec![Vec::new(); d_sae],
        tokens: Vec::new(),
        is_masked: Vec::new(),
        n_tokens: 0,
    };
    let text = std::fs::read_to_string(documents(dir)).unwrap();
    for (item, line) in (0..).zip(text.lines()) {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let mut ids = codec.encode(row["text"].as_str().unwrap(), true).unwrap();
        ids.truncate(params.text.context_length as usize);
        let mask = match params.masks {
            Some(masks) => mask_row_at(masks.seed, item, masks.rate, ids.len()),
            None => vec![false; ids.len()],
        };
        // Windows show the text, what was hidden included.
        out.tokens.push(codec.pieces(&ids, 0..ids.len()).unwrap());
        for (id, _) in ids.iter_mut().zip(&mask).filter(|(_, masked)| **masked) {
            *id = info.mask_token_id.unwrap() as u32;
        }
        let t = ids.len() as i64;
        let tokens: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        let ones = Tensor::ones([1, t], (Kind::Uint8, options.device));
        let mut pass = model.begin(&ones, CacheMode::OFF).unwrap();
        let mut resid = pass
            .embed(&Tensor::from_slice(&tokens).view([1, t]), 0)
            .unwrap();
        pass.blocks(0, layer as usize + 1, &mut resid).unwrap();
        let encoded = sae.encode(&resid.view([t, info.d_model as i64])).unwrap();
        let acts: Vec<Vec<f32>> = (&encoded.acts).try_into().unwrap();
        let latents: Vec<Vec<i64>> = (&encoded.latents).try_into().unwrap();
        let mut rows = vec![Vec::new(); d_sae];
        for position in 0..ids.len() {
            let counts = match (params.positions, params.sae.policy) {
                (Positions::Policy, Policy::Mask) => mask[position],
                (Positions::Policy, Policy::Unmask) => !mask[position],
                _ => true,
            };
            let is_special = !mask[position] && codec.is_special(ids[position]);
            if !counts || is_special {
                continue;
            }
            out.n_tokens += 1;
            for (act, latent) in acts[position].iter().zip(&latents[position]) {
                if *act > 0.0 {
                    rows[*latent as usize].push((position as u32, *act));
                }
            }
        }
        for (latent, acts) in rows.into_iter().enumerate() {
            let len = ids.len();
            out.rows[latent].push(ActRow { len, acts });
        }
        out.is_masked.push(mask);
    }
    out
}

impl Everything {
    pub(super) fn n_active(&self, latent: u32) -> u64 {
        let rows = &self.rows[latent as usize];
        rows.iter().map(|row| row.acts.len() as u64).sum()
    }

    pub(super) fn split(&self, params: &WindowsParams, latent: u32) -> Option<Split> {
        let rows = &self.rows[latent as usize];
        reference::windows(latent, params.seed, &params.rules, rows)
    }

    /// Latents of the sample, with those passed over because they had too few windows.
    pub(super) fn sample(&self, params: &WindowsParams, n: usize) -> (Vec<u32>, u64) {
        let d_sae = self.rows.len();
        let (mut chosen, mut n_few) = (Vec::new(), 0);
        for latent in Stream::new(params.seed, "latents").sample_indices(d_sae, d_sae) {
            let latent = latent as u32;
            if chosen.len() == n {
                break;
            }
            if self.n_active(latent) >= u64::from(params.dead_threshold) {
                match self.split(params, latent) {
                    Some(_) => chosen.push(latent),
                    None => n_few += 1,
                }
            }
        }
        (chosen, n_few)
    }

    pub(super) fn check(&self, params: &WindowsParams, found: &LatentWindows) {
        let want = self.split(params, found.latent);
        assert_eq!(found.n_active, self.n_active(found.latent));
        assert_eq!(found.density, found.n_active as f64 / self.n_tokens as f64);
        let Some(want) = want.filter(|_| found.state == LatentState::Alive) else {
            assert!(found.shown.is_empty() && found.scored.is_empty());
            return;
        };
        assert_eq!(found.threshold, want.threshold);
        let scored = found.scored.iter().map(|scored| &scored.window);
        let windows: Vec<&Window> = found.shown.iter().chain(scored).collect();
        let wanted: Vec<_> = want.shown.iter().chain(&want.scored).collect();
        assert_eq!(windows.len(), wanted.len());
        for (window, want) in windows.iter().zip(wanted) {
            let place = |row, position, acts| (row, position, acts);
            assert_eq!(
                (
                    window.origin,
                    place(window.row, window.position, &window.acts)
                ),
                (want.origin, place(want.row, want.position, &want.acts))
            );
            let start = (window.position - params.rules.buffer) as usize;
            let range = start..start + params.rules.width();
            assert_eq!(
                window.tokens,
                self.tokens[window.row as usize][range.clone()]
            );
            let is_masked = &self.is_masked[window.row as usize][range];
            let masked: Vec<u32> = (0..)
                .zip(is_masked)
                .filter_map(|(i, masked)| masked.then_some(i))
                .collect();
            assert_eq!(window.masked, masked);
        }
        for scored in &found.scored {
            let largest = scored.window.acts.iter().copied().fold(0.0, f32::max);
            assert_eq!(scored.active, largest > found.threshold);
        }
    }
}
