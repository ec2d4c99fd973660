use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use harness_contract::{
    canonical::{canonical_json, hash_of, sha256_hex},
    cell::Cell,
    protocol::{Counters, Failure},
};

/// Version of the layout of cell files. A store written by a newer version can be read and not
/// written.
pub const STORE_SCHEMA: u32 = 1;

/// A finished or failed cell as it lies on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellRecord {
    /// [`STORE_SCHEMA`].
    pub schema: u32,
    pub key: String,
    /// Name of the stage, which another version may have and this one not.
    pub stage: String,
    /// Version of the stage.
    pub version: u32,
    pub params: Value,
    /// Keys of the cells it has read.
    pub inputs: Vec<String>,
    /// What it computed; `None` when it failed. Beside a failure it is what there is so far: the
    /// cell is open, and run again.
    pub output: Option<Value>,
    /// Why it failed, or is open; `None` when it is done.
    pub failure: Option<Failure>,
    /// How it came about. Not part of the value.
    pub provenance: Provenance,
}

/// How a result came about: nothing here may change the value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    pub counters: Counters,
    /// Device, e.g. `cpu`.
    pub device: String,
    /// Threads of the tensor library.
    pub threads: u32,
    /// Version of the harness.
    pub harness: String,
    /// Version of libtorch; empty when none was used.
    pub torch: String,
    /// Seconds since 1970, UTC.
    pub finished_unix: u64,
}

/// Why a cell file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Not JSON, or not a cell.
    #[error("not a whole cell file: {0}")]
    Unreadable(String),
    /// The checksum does not match: edited or damaged.
    #[error("its checksum does not match its content: it was edited or damaged")]
    Checksum,
    /// The key does not match stage, parameters and inputs, or the file's name.
    #[error("its key does not match its content")]
    Key,
    /// Written by a newer version.
    #[error("written with schema {found}, this version reads up to {STORE_SCHEMA}")]
    Newer {
        /// Its schema.
        found: u64,
    },
}

impl CellRecord {
    /// The record of a cell with its output or its failure.
    ///
    /// # Errors
    /// When the cell's parameters have no JSON form.
    pub fn new(
        cell: &Cell,
        result: Result<Value, Failure>,
        provenance: Provenance,
    ) -> Result<CellRecord, serde_json::Error> {
        let (output, failure) = match result {
            Ok(output) => (Some(output), None),
            Err(failure) => (None, Some(failure)),
        };
        Ok(CellRecord {
            schema: STORE_SCHEMA,
            key: cell.key.clone(),
            stage: cell.stage().name().to_owned(),
            version: cell.stage().version(),
            params: cell.params.to_value()?,
            inputs: cell.inputs.clone(),
            output,
            failure,
            provenance,
        })
    }

    /// Whether it is open: part of its output is there, and a run asks for the rest.
    pub const fn is_open(&self) -> bool {
        self.output.is_some() && self.failure.is_some()
    }

    /// The file's content: the checksum, then the record it covers.
    ///
    /// # Errors
    /// When the record has no JSON form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let record = canonical_json(&serde_json::to_value(self)?);
        let checksum = sha256_hex(record.as_bytes());
        Ok(format!("{{\"checksum\":\"{checksum}\",\"record\":{record}}}\n").into_bytes())
    }

    /// Read and check a file's content; `key` is the key its name says.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn from_bytes(key: &str, bytes: &[u8]) -> Result<CellRecord, Damage> {
        let unreadable = |error: serde_json::Error| Damage::Unreadable(error.to_string());
        let file: Value = serde_json::from_slice(bytes).map_err(unreadable)?;
        let record = file
            .get("record")
            .ok_or(Damage::Unreadable("it has no `record`".to_owned()))?;
        if let Some(found) = record
            .get("schema")
            .and_then(Value::as_u64)
            .filter(|s| *s > u64::from(STORE_SCHEMA))
        {
            return Err(Damage::Newer { found });
        }
        let checksum = sha256_hex(canonical_json(record).as_bytes());
        if file.get("checksum").and_then(Value::as_str) != Some(checksum.as_str()) {
            return Err(Damage::Checksum);
        }
        let record = CellRecord::deserialize(record).map_err(unreadable)?;
        if record.key != key || record.key != record.expected_key().map_err(unreadable)? {
            return Err(Damage::Key);
        }
        if record.output.is_none() && record.failure.is_none() {
            return Err(Damage::Unreadable(
                "it holds neither an output nor a failure".to_owned(),
            ));
        }
        Ok(record)
    }

    fn expected_key(&self) -> Result<String, serde_json::Error> {
        hash_of(&json!({
            "stage": self.stage,
            "version": self.version,
            "params": self.params,
            "inputs": self.inputs,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_contract::stages::ScoreParams;

    fn record() -> CellRecord {
        let cell = Cell::new(
            ScoreParams {
                lambda: 0.3,
                ..ScoreParams::default()
            },
            vec!["a".into()],
        )
        .unwrap();
        CellRecord::new(
            &cell,
            Ok(json!({"value": 0.1, "n": [1, null]})),
            Provenance::default(),
        )
        .unwrap()
    }

    #[test]
    fn a_record_reads_back() {
        let record = record();
        assert_eq!(
            CellRecord::from_bytes(&record.key, &record.to_bytes().unwrap()).unwrap(),
            record
        );
    }

    #[test]
    fn damage_is_told_apart() {
        let record = record();
        let text = String::from_utf8(record.to_bytes().unwrap()).unwrap();
        let read = |text: &str| CellRecord::from_bytes(&record.key, text.as_bytes()).unwrap_err();
        assert!(matches!(
            read(&text[..text.len() / 2]),
            Damage::Unreadable(_)
        ));
        assert!(matches!(read(""), Damage::Unreadable(_)));
        assert!(matches!(read("[]"), Damage::Unreadable(_)));
        assert_eq!(read(&text.replace("0.1", "0.2")), Damage::Checksum);
        assert_eq!(
            read(&text.replace("\"schema\":1", "\"schema\":2")),
            Damage::Newer { found: 2 }
        );
        assert_eq!(
            CellRecord::from_bytes("other", text.as_bytes()).unwrap_err(),
            Damage::Key
        );
        // A record whose checksum is right but whose parameters are not those of its key.
        let mut moved = record.clone();
        moved.params = json!({"lambda": 0.4});
        let bytes = moved.to_bytes().unwrap();
        assert_eq!(
            CellRecord::from_bytes(&record.key, &bytes).unwrap_err(),
            Damage::Key
        );
    }
}
