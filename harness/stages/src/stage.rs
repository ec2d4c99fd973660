//! What a stage is to the executor.

use harness_contract::{cell::Cell, protocol::Counters, stages::StageParams};
use harness_engine::error::CellError;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::worker::Worker;

/// Told how far a cell is: done, total, unit. An error stops the cell.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64, u64, &str) -> Result<(), CellError>;

/// What becomes of a cell.
pub(crate) type CellResult = Result<(Value, Counters), CellError>;

/// A cell with the outputs of its inputs.
pub(crate) type CellWithInputs<'a> = (&'a Cell, Vec<Value>);

/// The worker's side of a stage.
pub(crate) trait Stage {
    type Params: StageParams;
    /// A cell with what is loaded for it.
    type Member;
    type Output: Serialize + DeserializeOwned;

    /// Whether cells of a group share a pass: they are run together, and the stage counts their
    /// work. Cells of other stages run one by one, and their work is what the models have counted.
    fn shares_pass(&self) -> bool {
        true
    }

    /// Prepares a cell by itself. The SAEs of its group, or its own, are the only ones loaded.
    ///
    /// # Errors
    /// What fails this cell alone.
    fn prepare(
        &self,
        worker: &mut Worker,
        params: &Self::Params,
    ) -> Result<Self::Member, CellError>;

    /// Runs prepared cells of one group on the inputs of the first; one output for each member, in
    /// their order.
    ///
    /// # Errors
    /// What fails all of them, unless it may be the fault of one
    /// ([`CellError::may_be_of_one`]).
    fn run(
        &self,
        worker: &mut Worker,
        members: &[Self::Member],
        inputs: &Inputs<'_>,
        progress: Progress<'_>,
    ) -> Result<Vec<Self::Output>, CellError>;
}

/// A stage whose cells share nothing, made from the function that runs one.
pub(crate) struct PerCell<P, O>(
    pub(crate) fn(&mut Worker, &P, &Inputs<'_>, Progress<'_>) -> Result<O, CellError>,
);

impl<P: StageParams + Clone, O: Serialize + DeserializeOwned> Stage for PerCell<P, O> {
    type Params = P;
    type Member = P;
    type Output = O;

    fn shares_pass(&self) -> bool {
        false
    }

    fn prepare(&self, _: &mut Worker, params: &P) -> Result<P, CellError> {
        Ok(params.clone())
    }

    fn run(
        &self,
        worker: &mut Worker,
        members: &[P],
        inputs: &Inputs<'_>,
        progress: Progress<'_>,
    ) -> Result<Vec<O>, CellError> {
        (members.iter())
            .map(|params| self.0(worker, params, inputs, &mut *progress))
            .collect()
    }
}

/// The outputs of a cell's inputs.
pub(crate) struct Inputs<'a> {
    pub(crate) cell: &'a Cell,
    pub(crate) values: &'a [Value],
}

impl Inputs<'_> {
    pub(crate) fn get<T: DeserializeOwned>(&self, i: usize) -> Result<T, CellError> {
        let missing = || {
            CellError::Invalid(format!(
                "a {} cell reads input {i}, it has {}",
                self.cell.stage(),
                self.cell.inputs.len()
            ))
        };
        let (value, key) = self
            .values
            .get(i)
            .zip(self.cell.inputs.get(i))
            .ok_or_else(missing)?;
        T::deserialize(value).map_err(|source| CellError::Input {
            key: key.clone(),
            source,
        })
    }
}

/// The parameters of a cell of one stage.
///
/// # Errors
/// A cell of another stage.
pub(crate) fn params_of<P: StageParams>(cell: &Cell) -> Result<&P, CellError> {
    let wrong = || CellError::Invalid(format!("a {} cell among others", cell.stage()));
    cell.params_of().ok_or_else(wrong)
}

/// An output as it is stored. JSON has no NaN and no infinity: what would not read back is no
/// result.
pub(crate) fn json<T: Serialize + DeserializeOwned>(output: &T) -> Result<Value, CellError> {
    let value = serde_json::to_value(output)
        .map_err(|error| CellError::Invalid(format!("the output has no JSON form: {error}")))?;
    match T::deserialize(&value) {
        Ok(_) => Ok(value),
        Err(_) => Err(CellError::NotFinite),
    }
}
