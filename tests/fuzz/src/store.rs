//! What runs leave behind and read again, and the lines between host and worker. Checksums and keys
//! are put right, so that what lies behind them is reached.

use harness_contract::{
    canonical::{canonical_json, hash_of, sha256_hex},
    protocol::{FromWorker, ToWorker, read_message, write_message},
};
use harness_store::{
    CellRecord, RunManifest,
    replies::{Batch, KeptReply, Ledger, REPLY_SCHEMA, batches_of},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// A file whose checksum fits.
fn sealed(record: &Value) -> Vec<u8> {
    let record = canonical_json(record);
    let checksum = sha256_hex(record.as_bytes());
    format!("{{\"checksum\":\"{checksum}\",\"record\":{record}}}\n").into_bytes()
}

/// A cell file that is read is written again as it was.
pub fn cell(data: &[u8]) {
    let _ = CellRecord::from_bytes("key", data);
    let Ok(mut record) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    if !record.is_object() {
        return;
    }
    let of = |field: &str| record.get(field).cloned().unwrap_or_default();
    let content = json!({"stage": of("stage"), "version": of("version"), "params": of("params"), "inputs": of("inputs")});
    let key = hash_of(&content).expect("JSON has a hash");
    record["key"] = key.clone().into();
    let bytes = sealed(&record);
    if let Ok(read) = CellRecord::from_bytes(&key, &bytes) {
        let again = read.to_bytes().expect("a record that was read is written");
        assert_eq!(CellRecord::from_bytes(&key, &again).as_ref(), Ok(&read));
        assert!(CellRecord::from_bytes("another", &again).is_err());
    }
}

/// A kept reply that is read is written again as it was.
pub fn reply(data: &[u8]) {
    let _ = KeptReply::from_bytes("key", data);
    let Ok(record) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let request = record.get("request").cloned().unwrap_or_default();
    let key = hash_of(&json!({"schema": REPLY_SCHEMA, "request": request}));
    let key = key.expect("JSON has a hash");
    if let Ok(read) = KeptReply::from_bytes(&key, &sealed(&record)) {
        let again = read.to_bytes().expect("a reply that was read is written");
        assert_eq!(KeptReply::from_bytes(&key, &again).as_ref(), Ok(&read));
        let _ = (read.request.most_tokens_in(), read.request.first_words());
    }
}

/// Reads, prints and reads again.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    data: &[u8],
) -> Option<T> {
    let read: T = serde_json::from_slice(data).ok()?;
    let printed = serde_json::to_vec(&read).expect("what was read is printed");
    let again: T = serde_json::from_slice(&printed).expect("what was printed is read");
    assert_eq!(read, again);
    Some(read)
}

/// Announced batches and the ledger.
pub fn batch(data: &[u8]) {
    round_trip::<Ledger>(data);
    if let Some(batch) = round_trip::<Batch>(data) {
        assert_eq!(
            batch.keys().map(|keys| keys.len()).ok(),
            Some(batch.requests.len())
        );
        let _ = batch.worst_usd();
        let ranges = batches_of(&batch.requests);
        let covered: usize = ranges.iter().map(ExactSizeIterator::len).sum();
        assert_eq!(covered, batch.requests.len());
    }
}

/// `run.json`.
pub fn run_manifest(data: &[u8]) {
    round_trip::<RunManifest>(data);
}

/// Messages survive the pipe, in both directions.
pub fn protocol(data: &[u8]) {
    messages::<ToWorker>(data);
    messages::<FromWorker>(data);
}

fn messages<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let mut input = data;
    loop {
        match read_message::<T>(&mut input) {
            Ok(Some(message)) => {
                let mut line = Vec::new();
                write_message(&mut line, &message).expect("memory takes every message");
                let again = read_message::<T>(&mut line.as_slice());
                assert_eq!(again.expect("what was written is read"), Some(message));
            }
            Ok(None) => return,
            // The next line is a message of its own.
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// Inputs to begin with.
pub mod seeds {
    use harness_contract::{
        cell::Cell,
        judging::Spent,
        protocol::{
            Counters, Failure, FailureKind, FromWorker, Hello, Init, Judging, LogLevel, Refused,
            Sources, ToWorker, write_message,
        },
        stages::{Dtype, ScoreParams},
    };
    use harness_store::{
        CellRecord, Provenance, RunManifest,
        replies::{
            BATCH_SCHEMA, Batch, KeptReply, Ledger, REPLY_SCHEMA, ReplyMessage, ReplyRequest,
        },
    };
    use serde_json::json;

    fn cell_of() -> Cell {
        Cell::new(
            ScoreParams {
                lambda: 0.3,
                ..ScoreParams::default()
            },
            vec!["a".into()],
        )
        .unwrap()
    }

    fn record(result: Result<serde_json::Value, Failure>) -> Vec<u8> {
        let record = CellRecord::new(&cell_of(), result, Provenance::default());
        serde_json::to_vec(&record.unwrap()).unwrap()
    }

    pub fn cell() -> Vec<Vec<u8>> {
        let failure = Failure::new(FailureKind::Plugin, "it broke").of_cell("k");
        let whole = CellRecord::new(&cell_of(), Ok(json!(1)), Provenance::default()).unwrap();
        vec![
            record(Ok(json!({"value": 0.1, "n": [1, null, -0.0, 1e300]}))),
            record(Err(failure)),
            whole.to_bytes().unwrap(),
        ]
    }

    fn request() -> ReplyRequest {
        ReplyRequest {
            judge: "gpt-4o-mini".into(),
            task: "explain".into(),
            messages: vec![ReplyMessage {
                role: "user".into(),
                content: "what  is\nthis".into(),
            }],
            max_tokens: 96,
            temperature: 0.5,
        }
    }

    pub fn reply() -> Vec<Vec<u8>> {
        let reply = KeptReply {
            schema: REPLY_SCHEMA,
            request: request(),
            text: r#"{"explanation":"boats"}"#.into(),
            tokens_in: 7,
            tokens_out: 3,
            usd: Some(0.25),
            comparable_with_paper: true,
            received_unix: 5,
        };
        vec![
            serde_json::to_vec(&reply).unwrap(),
            reply.to_bytes().unwrap(),
        ]
    }

    pub fn batch() -> Vec<Vec<u8>> {
        let batch = Batch {
            schema: BATCH_SCHEMA,
            tag: "tag".into(),
            run: "run".into(),
            price: None,
            created_unix: 5,
            requests: vec![request()],
        };
        let mut ledger = Ledger::default();
        let spent = Spent { calls: 2, usd: 0.5 };
        ledger.runs.insert("run".into(), spent);
        vec![
            serde_json::to_vec(&batch).unwrap(),
            serde_json::to_vec(&ledger).unwrap(),
        ]
    }

    pub fn run_manifest() -> Vec<Vec<u8>> {
        let manifest = RunManifest {
            command: vec!["harness".into(), "bench".into()],
            ..RunManifest::default()
        };
        vec![serde_json::to_vec(&manifest).unwrap()]
    }

    pub fn protocol() -> Vec<Vec<u8>> {
        let mut to = Vec::new();
        let init = Init {
            plugins: harness_contract::plugin::PluginChoice::of(&["plugins".into()]),
            sources: Sources::default(),
            store: "out".into(),
            device: "cpu".into(),
            dtype: Dtype::F32,
            threads: 2,
            reproducible: true,
            allow_nan: false,
            batch: Some(16),
            memory: None,
            judging: Judging::default(),
            call_marker: None,
        };
        write_message(&mut to, &ToWorker::Init(init)).unwrap();
        let cells = vec![cell_of()];
        write_message(&mut to, &ToWorker::Run { cells }).unwrap();
        write_message(&mut to, &ToWorker::Shutdown {}).unwrap();
        let mut from = Vec::new();
        let hello = Hello {
            protocol: 5,
            harness: "0.1.0".into(),
            abi: "1.0".into(),
            torch: "2.11.0".into(),
            pid: 7,
        };
        let refused = vec![Refused {
            path: "p".into(),
            reason: "r".into(),
        }];
        for message in [
            FromWorker::Hello(hello),
            FromWorker::Ready { refused },
            FromWorker::Done {
                key: "k".into(),
                counters: Counters::default(),
            },
            FromWorker::Failed(Failure::new(FailureKind::Device, "no device")),
            FromWorker::Log {
                level: LogLevel::Warn,
                message: "m".into(),
            },
        ] {
            write_message(&mut from, &message).unwrap();
        }
        vec![to, from, b"\n\n{}\nnot json\n".to_vec()]
    }
}
