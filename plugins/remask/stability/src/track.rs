//! The stability of every position over the passes of a run.

use harness_sdk::{Error, Features, Result};

use crate::settings::Settings;

/// A position's history.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Stability {
    /// Smoothed stability of the last pass; `None` where that pass had no value.
    pub value: Option<f64>,
    /// Passes in a row, up to the last one, that reached the threshold.
    pub streak: usize,
}

/// Histories of a run's positions.
#[derive(Debug, Default)]
pub(crate) struct Track {
    batch: usize,
    len: usize,
    positions: Vec<Stability>, // [b, t]
    /// Step of the features that came last.
    last: Option<usize>,
    /// Whether no step has used them yet.
    is_fresh: bool,
}

impl Track {
    /// A run over `batch` rows whose first pass is still to come.
    pub(crate) fn begin(batch: usize) -> Self {
        Self {
            batch,
            ..Self::default()
        }
    }

    /// Takes the features of a pass. A position without a value in it starts its history anew.
    ///
    /// # Errors
    /// Features that come out of order or have another shape than those before; a layer that is set
    /// and not encoded.
    pub(crate) fn update(&mut self, features: &Features<'_>, settings: &Settings) -> Result<()> {
        if let Some(last) = self.last
            && features.step <= last
        {
            let step = features.step;
            return Err(Error::invalid(format!(
                "features of step {step} after those of step {last}"
            )));
        }
        self.fit(features)?;
        let layers = chosen(features.layers, settings)?;
        let s = settings.smoothing;
        for (at, position) in self.positions.iter_mut().enumerate() {
            let (row, column) = (at / self.len, at % self.len);
            let seen = mean(layers.iter().map(|&l| features.jaccard_at(l, row, column)));
            let value = match (seen, position.value) {
                (Some(seen), Some(before)) => Some(s * before + (1.0 - s) * seen),
                (seen, _) => seen,
            };
            let is_stable = match (settings.early, value) {
                // In f32, which the statistics are in: 0.9 there is less than 0.9 in f64.
                (Some(early), Some(value)) => value as f32 >= early.threshold,
                _ => false,
            };
            position.value = value;
            position.streak = if is_stable { position.streak + 1 } else { 0 };
        }
        self.last = Some(features.step);
        self.is_fresh = true;
        Ok(())
    }

    /// Histories up to the pass of `step`, `[b, t]`; each pass may be used once.
    ///
    /// # Errors
    /// Features that did not come for this step, or came in another shape.
    pub(crate) fn at(&mut self, step: usize, batch: usize, len: usize) -> Result<&[Stability]> {
        if !self.is_fresh || self.last != Some(step) {
            return Err(Error::invalid(format!(
                "no SAE features came for step {step}, and this order reads them"
            ))
            .hint("give the run SAEs, on a host whose interface is 1.1 or newer"));
        }
        self.is_fresh = false;
        if (batch, len) != (self.batch, self.len) {
            return Err(Error::invalid(format!(
                "step {step} has [{batch}, {len}] positions, its features [{}, {}]",
                self.batch, self.len
            )));
        }
        Ok(&self.positions)
    }

    /// Compares the shape with the run's; the first features say how long rows are.
    fn fit(&mut self, features: &Features<'_>) -> Result<()> {
        let is_first = self.last.is_none();
        if features.batch != self.batch || (!is_first && features.len != self.len) {
            let run = if is_first {
                format!("{} rows", self.batch)
            } else {
                format!("[{}, {}] positions", self.batch, self.len)
            };
            return Err(Error::invalid(format!(
                "features of [{}, {}] positions in a run of {run}",
                features.batch, features.len
            )));
        }
        if is_first {
            self.len = features.len;
            self.positions = vec![Stability::default(); self.batch * self.len];
        }
        Ok(())
    }
}

/// Places in `encoded` of the layers that count.
fn chosen(encoded: &[i64], settings: &Settings) -> Result<Vec<usize>> {
    if encoded.is_empty() {
        return Err(Error::invalid("features of no layer say nothing")
            .hint("give the run the SAEs of at least one layer"));
    }
    let Some(layers) = &settings.layers else {
        return Ok((0..encoded.len()).collect());
    };
    let place = |layer: &i64| {
        encoded.iter().position(|is| is == layer).ok_or_else(|| {
            Error::config(format!(
                "order `{}`: layer {layer} has no SAE in this run, which encodes layers {encoded:?}",
                settings.name
            ))
            .hint("leave `layers` out to take all of them")
        })
    };
    layers.iter().map(place).collect()
}

/// Mean of the values there are, `None` where there are none.
fn mean(values: impl Iterator<Item = Option<f32>>) -> Option<f64> {
    let (sum, n) = values
        .flatten()
        .fold((0.0, 0_u32), |(sum, n), v| (sum + f64::from(v), n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NAN: f32 = f32::NAN;

    fn features<'a>(
        step: usize,
        layers: &'a [i64],
        shape: (usize, usize),
        jaccard: &'a [f32],
    ) -> Features<'a> {
        Features {
            step,
            layers,
            batch: shape.0,
            len: shape.1,
            jaccard,
            top1_same: jaccard,
        }
    }

    fn values(track: &mut Track, step: usize, shape: (usize, usize)) -> Vec<Option<f64>> {
        let at = track.at(step, shape.0, shape.1).unwrap();
        at.iter().map(|position| position.value).collect()
    }

    #[test]
    fn the_mean_is_over_the_chosen_layers_that_have_a_value() {
        // Two layers, one row of four positions.
        let jaccard = [0.25, 0.5, NAN, NAN, 0.75, 1.0, 0.125, NAN];
        for (config, want) in [
            (json!({}), [Some(0.5), Some(0.75), Some(0.125), None]),
            (
                json!({"layers": [6]}),
                [Some(0.75), Some(1.0), Some(0.125), None],
            ),
            (json!({"layers": [2]}), [Some(0.25), Some(0.5), None, None]),
        ] {
            let settings = Settings::new("sae-stability", &config).unwrap();
            let mut track = Track::begin(1);
            let seen = features(0, &[2, 6], (1, 4), &jaccard);
            track.update(&seen, &settings).unwrap();
            assert_eq!(values(&mut track, 0, (1, 4)), want, "{config}");
        }
        let settings = Settings::new("sae-stability", &json!({"layers": [3]})).unwrap();
        let seen = features(0, &[2, 6], (1, 4), &jaccard);
        let error = Track::begin(1).update(&seen, &settings).unwrap_err();
        assert!(error.message().contains("layer 3") && error.message().contains("[2, 6]"));
    }

    #[test]
    fn smoothing_starts_at_the_first_value_and_after_a_gap_anew() {
        let settings = Settings::new("sae-stability", &json!({"smoothing": 0.75})).unwrap();
        let mut track = Track::begin(1);
        // 1, then 0.75·1 + 0.25·0, then 0.75·0.75 + 0.25·0.5; the second position has a gap.
        let steps = [
            ([NAN, NAN], [None, None]),
            ([1.0, 1.0], [Some(1.0), Some(1.0)]),
            ([0.0, NAN], [Some(0.75), None]),
            ([0.5, 0.5], [Some(0.6875), Some(0.5)]),
        ];
        for (step, (jaccard, want)) in steps.into_iter().enumerate() {
            let seen = features(step, &[0], (1, 2), &jaccard);
            track.update(&seen, &settings).unwrap();
            assert_eq!(values(&mut track, step, (1, 2)), want, "step {step}");
        }
    }

    #[test]
    fn a_streak_ends_below_the_threshold_and_where_there_is_no_value() {
        let config = json!({"threshold": 0.5});
        let settings = Settings::new("sae-stability-early", &config).unwrap();
        let mut track = Track::begin(1);
        let passes = [NAN, 0.5, 0.75, 0.25, 1.0, NAN, 0.5];
        let mut streaks = Vec::new();
        for (step, jaccard) in passes.into_iter().enumerate() {
            let jaccard = [jaccard];
            let seen = features(step, &[0], (1, 1), &jaccard);
            track.update(&seen, &settings).unwrap();
            streaks.push(track.at(step, 1, 1).unwrap()[0].streak);
        }
        assert_eq!(streaks, [0, 1, 2, 0, 1, 0, 1]);
    }

    #[test]
    fn features_of_another_shape_or_order_are_refused() {
        let settings = Settings::new("sae-stability", &json!({})).unwrap();
        let mut track = Track::begin(2);
        let six = [0.5; 6];
        let mut take = |seen: &Features<'_>| track.update(seen, &settings).is_ok();
        assert!(!take(&features(0, &[0], (1, 6), &six)), "rows");
        assert!(!take(&features(0, &[], (2, 3), &[])), "layers");
        assert!(take(&features(0, &[0], (2, 3), &six)));
        assert!(!take(&features(0, &[0], (2, 3), &six)), "twice");
        assert!(!take(&features(1, &[0], (2, 2), &six[..4])), "length");
        assert!(take(&features(1, &[0], (2, 3), &six)));
        assert!(track.at(1, 2, 2).is_err(), "of another shape than the step");
    }
}
