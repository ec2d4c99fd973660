//! What a cell is given and what becomes of it.

use harness_contract::{cell::Cell, protocol::Counters, stages::StageParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::CellError;

/// Told how far a cell is: done, total, unit. An error stops the cell.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64, &str) -> Result<(), CellError>;

/// What becomes of a cell.
pub(super) type CellResult = Result<(Value, Counters), CellError>;

/// A cell with the outputs of its inputs.
pub(super) struct Inputs<'a> {
    pub(super) cell: &'a Cell,
    pub(super) values: &'a [Value],
}

impl Inputs<'_> {
    pub(super) fn get<T: DeserializeOwned>(&self, i: usize) -> Result<T, CellError> {
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
pub(super) fn params_of<P: StageParams + Clone>(cell: &Cell) -> Result<P, CellError> {
    let params = cell.params_of::<P>().cloned();
    params.ok_or_else(|| CellError::Invalid(format!("{} cells run by themselves", cell.stage())))
}

/// An output as it is stored. JSON has no NaN and no infinity: what would not read back is no
/// result.
pub(super) fn json<T: Serialize + DeserializeOwned>(output: &T) -> Result<Value, CellError> {
    let value = serde_json::to_value(output)
        .map_err(|error| CellError::Invalid(format!("the output has no JSON form: {error}")))?;
    match T::deserialize(&value) {
        Ok(_) => Ok(value),
        Err(_) => Err(CellError::NotFinite),
    }
}
