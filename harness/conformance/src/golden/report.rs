//! One record per check.

use serde::{Serialize, Serializer};

use super::compare::{Compared, Tolerance};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Every value is within tolerance.
    Pass,
    /// A value is not, or the check could not be carried out.
    Fail,
    /// Not run, for the reason given.
    Skip,
}

/// One check: a tensor, a scalar or a list of a fixture against what the project computes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckRecord {
    /// Family of the fixture (`units` for sampler and schedule arithmetic).
    pub family: String,
    /// Case and tensor, such as `forward/len24.logits`.
    pub check: String,
    /// Values compared.
    pub n: u64,
    /// Largest absolute difference; `null` when a value is not finite or nothing was compared.
    #[serde(serialize_with = "finite")]
    pub max_abs: Option<f64>,
    /// `|got - want| <= atol + rtol * |want|`.
    pub atol: f64,
    /// See `atol`.
    pub rtol: f64,
    pub status: Status,
    /// Empty for a pass; else where and why.
    pub reason: String,
}

fn finite<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(v) if v.is_finite() => serializer.serialize_f64(*v),
        _ => serializer.serialize_none(),
    }
}

/// Counts of a whole run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Checks within tolerance.
    pub pass: u64,
    /// Checks that were not, or could not be carried out.
    pub fail: u64,
    /// Checks not run.
    pub skip: u64,
    /// Values compared by the checks that passed.
    pub values: u64,
}

/// Makes records for one family and hands each to the caller at once.
pub(super) struct Recorder<'a> {
    family: String,
    sink: &'a mut dyn FnMut(&CheckRecord),
    summary: &'a mut Summary,
}

impl<'a> Recorder<'a> {
    pub fn new(
        family: &str,
        sink: &'a mut dyn FnMut(&CheckRecord),
        summary: &'a mut Summary,
    ) -> Self {
        Self {
            family: family.to_owned(),
            sink,
            summary,
        }
    }

    /// Records the outcome of a comparison.
    pub fn compared(&mut self, check: &str, outcome: Compared) {
        let status = match outcome.reason.is_empty() {
            true => Status::Pass,
            false => Status::Fail,
        };
        self.push(check, status, outcome);
    }

    /// Records a check that could not be carried out: that is a failure.
    pub fn failed(&mut self, check: &str, reason: impl std::fmt::Display) {
        let outcome = Compared::fail(Tolerance::EXACT, reason.to_string());
        self.push(check, Status::Fail, outcome);
    }

    /// Records a check that was not run.
    pub fn skipped(&mut self, check: &str, reason: &str) {
        let outcome = Compared::fail(Tolerance::EXACT, reason.to_owned());
        self.push(check, Status::Skip, outcome);
    }

    /// Runs `body`; its error is a failure named `check`.
    pub fn attempt<E: std::fmt::Display>(
        &mut self,
        check: &str,
        body: impl FnOnce(&mut Self) -> Result<(), E>,
    ) {
        if let Err(error) = body(self) {
            self.failed(check, error);
        }
    }

    fn push(&mut self, check: &str, status: Status, outcome: Compared) {
        match status {
            Status::Pass => {
                self.summary.pass += 1;
                self.summary.values += outcome.n;
            }
            Status::Fail => self.summary.fail += 1,
            Status::Skip => self.summary.skip += 1,
        }
        let record = CheckRecord {
            family: self.family.clone(),
            check: check.to_owned(),
            n: outcome.n,
            max_abs: outcome.max_abs,
            atol: outcome.tolerance.atol,
            rtol: outcome.tolerance.rtol,
            status,
            reason: outcome.reason,
        };
        (self.sink)(&record);
    }
}
