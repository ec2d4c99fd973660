use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::ReplyRequest;
use harness_contract::canonical::{canonical_json, sha256_hex};

/// One request with its reply as it lies on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptReply {
    /// `REPLY_SCHEMA`.
    pub schema: u32,
    pub request: ReplyRequest,
    /// The answer: JSON as the task says.
    pub text: String,
    /// Tokens paid for, sent.
    pub tokens_in: u64,
    /// Tokens paid for, received.
    pub tokens_out: u64,
    /// What they cost in USD; `None` where no price is known.
    pub usd: Option<f64>,
    /// Whether the judge said that it may be compared with the paper's.
    pub comparable_with_paper: bool,
    /// Seconds since 1970, UTC.
    pub received_unix: u64,
}

/// Why a kept reply cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyDamage {
    /// Not JSON, or not a reply.
    #[error("not a whole kept reply: {0}")]
    Unreadable(String),
    /// The checksum does not match: edited or damaged.
    #[error("its checksum does not match its content: it was edited or damaged")]
    Checksum,
    /// The request is not the one its name says.
    #[error("its name does not match its request")]
    Key,
}

impl KeptReply {
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
    pub fn from_bytes(key: &str, bytes: &[u8]) -> Result<KeptReply, ReplyDamage> {
        let unreadable = |error: serde_json::Error| ReplyDamage::Unreadable(error.to_string());
        let file: Value = serde_json::from_slice(bytes).map_err(unreadable)?;
        let record = (file.get("record"))
            .ok_or_else(|| ReplyDamage::Unreadable("it has no `record`".to_owned()))?;
        let checksum = sha256_hex(canonical_json(record).as_bytes());
        if file.get("checksum").and_then(Value::as_str) != Some(checksum.as_str()) {
            return Err(ReplyDamage::Checksum);
        }
        let reply = KeptReply::deserialize(record).map_err(unreadable)?;
        if reply.request.key().map_err(unreadable)? != key {
            return Err(ReplyDamage::Key);
        }
        Ok(reply)
    }
}
