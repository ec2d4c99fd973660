//! Recorded sequences of a run, state by state.

use harness_engine::generate::Generated;
use serde_json::Value;

use super::compare;
use super::fixture::{Array, Tensors};
use super::forward::Failed;
use super::report::Recorder;
use super::settings::RunSpec;
use super::watch::Watch;

/// The recorded sequences of one run.
pub(super) struct Sequences<'a> {
    pub label: &'a str,
    pub spec: &'a RunSpec<'a>,
    pub tensors: &'a Tensors,
    pub mask_id: Option<i64>,
}

impl Sequences<'_> {
    /// Compares tokens, states, steps and counts; padding is not looked at.
    pub fn compare(
        &self,
        record: &mut Recorder<'_>,
        generated: &Generated,
        watch: &Watch,
    ) -> Result<(), Failed> {
        let grid = &generated.tokens;
        let (b, t) = (grid.b(), grid.t());
        let valid: Vec<bool> = (0..b * t).map(|i| grid.is_valid(i)).collect();
        if let Some(want) = self.recorded("tokens")? {
            let got = Array::new(&[b, t], grid.tokens().to_vec());
            record.compared(
                &self.name("tokens"),
                compare::integers(&got, &want, Some(&valid)),
            );
        }
        let (Some(states), Some(steps)) = (self.recorded("states")?, self.recorded("decode_step")?)
        else {
            return Ok(());
        };
        let data = watch
            .states
            .iter()
            .flat_map(|grid| grid.tokens().iter().copied())
            .collect();
        let got = Array::new(&[watch.states.len(), b, t], data);
        let decode_step = Array::new(&[b, t], generated.decode_step.clone());
        let keep: Vec<bool> = (0..got.shape[0])
            .flat_map(|_| valid.iter().copied())
            .collect();
        record.compared(
            &self.name("states"),
            compare::integers(&got, &states, Some(&keep)),
        );
        record.compared(
            &self.name("decode_step"),
            compare::integers(&decode_step, &steps, Some(&valid)),
        );
        self.counts(record, generated, watch)
    }

    /// Fills per step and row, and masks that are left.
    fn counts(
        &self,
        record: &mut Recorder<'_>,
        generated: &Generated,
        watch: &Watch,
    ) -> Result<(), Failed> {
        let (grid, mask) = (&generated.tokens, self.mask_id);
        let (b, t) = (grid.b(), grid.t());
        if let Some(want) = self.spec.about.get("masks_left") {
            let left = (0..b * t)
                .filter(|i| grid.is_valid(*i) && Some(grid.tokens()[*i]) == mask)
                .count();
            record.compared(
                &self.name("masks_left"),
                compare::number(Some(left as f64), want.as_f64()),
            );
        }
        let Some(want) = self.spec.about["new_per_step"].as_array() else {
            return Ok(());
        };
        let mut got = Vec::new();
        for (flags, after) in watch.revealed.iter().zip(watch.states.iter().skip(1)) {
            for row in 0..b {
                let filled = (row * t..(row + 1) * t)
                    .filter(|i| flags[*i] && Some(after.tokens()[*i]) != mask);
                got.push(filled.count() as i64);
            }
        }
        let want: Vec<i64> = want
            .iter()
            .filter_map(Value::as_array)
            .flatten()
            .filter_map(Value::as_i64)
            .collect();
        let (got, want) = (Array::column(got), Array::column(want));
        record.compared(
            &self.name("new_per_step"),
            compare::integers(&got, &want, None),
        );
        Ok(())
    }

    fn recorded(&self, what: &str) -> Result<Option<Array<i64>>, Failed> {
        let key = format!("{}.{what}", self.spec.name);
        Ok(if self.tensors.has(&key) {
            Some(self.tensors.integers(&key)?)
        } else {
            None
        })
    }

    fn name(&self, what: &str) -> String {
        format!("{}.{what}", self.label)
    }
}
