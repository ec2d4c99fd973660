//! The line protocol between `harness` and `harness-worker`: one JSON object a line on the worker's
//! standard input and output.
//!
//! ```text
//! worker → hello          host → init          worker → ready | fatal
//! host → run              worker → progress*   worker → done | open | failed  (repeat)
//! host → shutdown         worker ends
//! ```
//! The worker writes results to the store itself; `done` and `open` mean that the cell file is in
//! place.

mod counters;

pub use counters::{ATTENTION_KERNELS, Counters, Phases, StepCounts};

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    cell::Cell,
    exit,
    judging::{Budget, JudgeMode, Price},
    plugin::PluginChoice,
    stages::Dtype,
};

/// Version of this protocol. Host and worker of different versions do not work together.
pub const PROTOCOL_VERSION: u32 = 7;
/// Version of libtorch that workers are built for.
pub const TORCH_VERSION: &str = "2.11.0";

/// Longest line that is read, in bytes.
pub const MAX_LINE_BYTES: usize = 64 << 20;

/// Where contents lie on this machine. Never hashed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// Checkpoint hash → model folder.
    #[serde(serialize_with = "crate::wire::paths")]
    pub models: BTreeMap<String, PathBuf>,
    /// SAE hash → folder of one SAE.
    #[serde(serialize_with = "crate::wire::paths")]
    pub saes: BTreeMap<String, PathBuf>,
    /// Content hash → file (text for activation passes).
    #[serde(serialize_with = "crate::wire::paths")]
    pub files: BTreeMap<String, PathBuf>,
}

/// What the host says.
#[expect(
    clippy::large_enum_variant,
    reason = "a worker gets one `Init` in its life, and no `ToWorker` is kept"
)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToWorker {
    /// First message: what the worker needs for every cell.
    Init(Init),
    /// Run cells of one group (see [`Cell::group`]); each ends in its own `done` or `failed`.
    Run {
        /// The cells, at least one.
        cells: Vec<Cell>,
    },
    /// End.
    Shutdown {},
}

/// What the worker needs for every cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Init {
    /// Plugins that are opened.
    pub plugins: PluginChoice,
    /// Where contents lie.
    pub sources: Sources,
    #[serde(serialize_with = "crate::wire::paths")]
    pub store: PathBuf,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Number format of model passes.
    pub dtype: Dtype,
    /// Threads of the tensor library.
    pub threads: u32,
    /// Pinned instruction set and thread count.
    pub reproducible: bool,
    /// Weights may hold NaN and infinity.
    pub allow_nan: bool,
    /// Rows of a batch; the stage's own choice when absent. It changes results by rounding at most.
    pub batch: Option<u32>,
    /// Bytes this worker may use; a fixed allowance beside weights when absent, as on a device.
    pub memory: Option<u64>,
    /// How judges are asked.
    pub judging: Judging,
    /// Where the worker says which plugin's method it runs, see [`crate::call_marker`].
    #[serde(serialize_with = "crate::wire::paths")]
    pub call_marker: Option<PathBuf>,
}

/// How judges are asked. Results do not depend on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judging {
    /// Folder of kept replies.
    #[serde(serialize_with = "crate::wire::paths")]
    pub replies: PathBuf,
    /// Names the run: what its workers spend counts together.
    pub run: String,
    /// What the run may spend.
    pub budget: Budget,
    /// What tokens cost; that of the list when absent.
    pub price: Option<Price>,
    /// Questions under way at once, at most: 1 to [`MOST_CONCURRENCY`].
    pub concurrency: u32,
    /// One by one or in batches.
    pub mode: JudgeMode,
}

/// Questions under way at once, unless said otherwise.
pub const DEFAULT_CONCURRENCY: u32 = 16;
/// Questions that may be under way at once.
pub const MOST_CONCURRENCY: u32 = 1024;

impl Default for Judging {
    fn default() -> Judging {
        Judging {
            replies: PathBuf::new(),
            run: String::new(),
            budget: Budget::default(),
            price: None,
            concurrency: DEFAULT_CONCURRENCY,
            mode: JudgeMode::Live,
        }
    }
}

/// What the worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromWorker {
    /// First message.
    Hello(Hello),
    /// Libraries are loaded; cells can be sent.
    Ready {
        /// Plugins that were refused, with the reason.
        refused: Vec<Refused>,
    },
    /// A cell is under way.
    Progress {
        /// The cell.
        key: String,
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
        /// What a unit is, e.g. `rows`.
        unit: String,
    },
    /// A cell is done and in the store.
    Done {
        /// The cell.
        key: String,
        counters: Counters,
    },
    /// A cell has a value, in which something is missing for a reason outside: it is run again.
    Open {
        /// Why, with the cell.
        failure: Failure,
        counters: Counters,
    },
    /// A cell failed; the worker goes on.
    Failed(Failure),
    /// The worker cannot go on and ends.
    Fatal(Failure),
    /// What a judge has learnt of its server.
    Learnt {
        /// A line each.
        what: Vec<String>,
    },
    /// Something to show.
    Log {
        /// How important it is.
        level: LogLevel,
        /// The text, one line.
        message: String,
    },
}

/// Versions of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the worker.
    pub protocol: u32,
    /// Version of the harness.
    pub harness: String,
    /// Version of the plugin interface, `major.minor`.
    pub abi: String,
    /// Version of libtorch.
    pub torch: String,
    pub pid: u32,
}

/// A plugin that was not loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Its manifest or library.
    #[serde(serialize_with = "crate::wire::shown")]
    pub path: PathBuf,
    pub reason: String,
}

/// A failure that is not a bug of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
#[error("{message}")]
pub struct Failure {
    /// The cell, if one was under way.
    pub key: Option<String>,
    /// The plugin that caused it, if one did.
    pub plugin: Option<String>,
    /// What happened, for a person.
    pub message: String,
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// Kind and name of the plugin's component, if one was at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The signal that ended the worker, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The last lines of the worker's log, if it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

impl Failure {
    /// A failure of which no more is known.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure {
            key: None,
            plugin: None,
            message: message.into(),
            kind,
            component: None,
            method: None,
            signal: None,
            log: None,
        }
    }

    /// The same, of a cell.
    #[must_use]
    pub fn of_cell(self, key: &str) -> Failure {
        Failure {
            key: Some(key.to_owned()),
            ..self
        }
    }

    /// What happened, for a person, with the plugin unless the message names it.
    #[must_use]
    pub fn headline(&self) -> String {
        match &self.plugin {
            Some(plugin) if !self.message.contains(plugin.as_str()) => {
                format!("plugin `{plugin}`: {}", self.message)
            }
            _ => self.message.clone(),
        }
    }

    /// All that is known, for a person: [`Failure::headline`] and the worker's last words.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = self.headline();
        if let Some(log) = &self.log {
            text.push_str("; the worker's last words:\n  ");
            text.push_str(&log.replace('\n', "\n  "));
        }
        text
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A plugin returned an error, panicked or answered nonsense.
    Plugin,
    /// A plugin needed for the plan was refused.
    PluginRefused,
    /// A checkpoint, an SAE or a data file is damaged or does not fit.
    BadInput,
    /// The device is missing or unusable.
    Device,
    /// Out of memory on the device.
    OutOfMemory,
    /// The judge cannot be asked: key, money, model, address, a field of every question, a server
    /// that is down.
    JudgeAuth,
    /// Questions to the judge have no answer for reasons outside.
    JudgeUnanswered,
    /// The judge's budget is used up.
    JudgeBudget,
    /// A recording that replay needs is missing.
    JudgeMissing,
    /// A setting of the run is wrong.
    Config,
    /// Results cannot be written.
    CannotWrite,
    /// Stopped on request.
    Interrupted,
    /// The worker process died.
    WorkerDied,
    /// Took longer than allowed.
    TimedOut,
    /// Its worker held more memory than one may.
    TooMuchMemory,
    /// Anything else.
    Internal,
}

impl FailureKind {
    /// Exit code when the whole run ends for this reason.
    pub const fn exit_code(self) -> u8 {
        match self {
            FailureKind::Plugin
            | FailureKind::JudgeUnanswered
            | FailureKind::WorkerDied
            | FailureKind::TimedOut
            | FailureKind::TooMuchMemory => exit::PARTIAL,
            FailureKind::PluginRefused => exit::PLUGIN_REFUSED,
            FailureKind::BadInput => exit::BAD_INPUT,
            FailureKind::Device | FailureKind::OutOfMemory => exit::DEVICE,
            FailureKind::JudgeAuth | FailureKind::JudgeMissing => exit::JUDGE_AUTH,
            FailureKind::Config => exit::CONFIG,
            FailureKind::JudgeBudget => exit::JUDGE_BUDGET,
            FailureKind::CannotWrite => exit::CANNOT_WRITE,
            FailureKind::Interrupted => exit::INTERRUPTED,
            FailureKind::Internal => exit::UNEXPECTED,
        }
    }

    /// Whether the rest of the run is pointless: every further cell would fail the same way.
    pub const fn stops_run(self) -> bool {
        matches!(
            self,
            FailureKind::JudgeAuth
                | FailureKind::JudgeBudget
                | FailureKind::JudgeMissing
                | FailureKind::Config
                | FailureKind::CannotWrite
                | FailureKind::Interrupted
                | FailureKind::PluginRefused
                | FailureKind::Device
        )
    }
}

/// Importance of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Of interest to somebody looking for a fault.
    Debug,
    /// Of interest to everybody.
    Info,
    /// Something is not as it should be.
    Warn,
}

/// Why a message could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    #[error("the pipe to the other process broke: {0}")]
    Io(#[from] io::Error),
    /// A message cannot be put into a line: a path in it is not UTF-8.
    #[error("{0}")]
    Unsendable(String),
    /// A line is not a message of this protocol.
    #[error("not a message of protocol {PROTOCOL_VERSION}: {source}; the line begins `{start}`")]
    Json {
        /// What is wrong with it.
        source: serde_json::Error,
        /// Its first 80 characters.
        start: String,
    },
    /// A line is too long.
    #[error("a message is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
}

/// Write one message as a line and flush it.
///
/// # Errors
/// When it cannot be written, or has no form as a line.
pub fn write_message<T: Serialize>(out: &mut impl Write, message: &T) -> Result<(), ProtocolError> {
    let mut line = serde_json::to_vec(message)
        .map_err(|error| ProtocolError::Unsendable(error.to_string()))?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()?;
    Ok(())
}

/// Read one message; `None` at the end of the stream. Blank lines are passed over.
///
/// # Errors
/// When the pipe breaks, or a line is not a message or too long.
pub fn read_message<T: DeserializeOwned>(
    input: &mut impl BufRead,
) -> Result<Option<T>, ProtocolError> {
    loop {
        let mut line = Vec::new();
        let n =
            io::Read::take(&mut *input, MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
        if n == 0 {
            return Ok(None);
        }
        if n > MAX_LINE_BYTES {
            return Err(ProtocolError::TooLong);
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        return serde_json::from_slice(&line)
            .map(Some)
            .map_err(|source| ProtocolError::Json {
                source,
                start: String::from_utf8_lossy(&line)
                    .trim_end()
                    .chars()
                    .take(80)
                    .collect(),
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::ScoreParams;

    #[test]
    fn messages_survive_the_pipe() {
        let cell = Cell::new(
            ScoreParams {
                lambda: 0.3,
                ..ScoreParams::default()
            },
            vec![],
        )
        .unwrap();
        let sent = [
            ToWorker::Init(Init {
                plugins: PluginChoice::of(&["plugins".into()]),
                sources: Sources::default(),
                store: "out".into(),
                device: "cpu".into(),
                dtype: Dtype::F32,
                threads: 2,
                reproducible: true,
                allow_nan: false,
                batch: Some(16),
                memory: None,
                judging: Judging {
                    replies: "out/replies".into(),
                    run: "1-2".into(),
                    budget: Budget {
                        max_calls: Some(3),
                        max_usd: Some(0.5),
                    },
                    price: None,
                    concurrency: 64,
                    mode: JudgeMode::Batch,
                },
                call_marker: Some("calls".into()),
            }),
            ToWorker::Run { cells: vec![cell] },
            ToWorker::Shutdown {},
        ];
        let mut pipe = Vec::new();
        for message in &sent {
            write_message(&mut pipe, message).unwrap();
        }
        assert_eq!(pipe.iter().filter(|&&b| b == b'\n').count(), sent.len());
        let mut input = pipe.as_slice();
        for message in &sent {
            assert_eq!(
                read_message::<ToWorker>(&mut input).unwrap().as_ref(),
                Some(message)
            );
        }
        assert!(read_message::<ToWorker>(&mut input).unwrap().is_none());
    }

    #[test]
    fn a_line_that_is_no_message_is_named() {
        let error = read_message::<FromWorker>(&mut "\n\nhello there\n".as_bytes()).unwrap_err();
        assert!(error.to_string().contains("hello there"), "{error}");
        let error =
            read_message::<FromWorker>(&mut "{\"type\":\"ready\",\"refusd\":[]}\n".as_bytes())
                .unwrap_err();
        assert!(error.to_string().contains("refusd"), "{error}");
    }

    #[test]
    fn failures_end_runs_with_their_code() {
        assert_eq!(FailureKind::JudgeAuth.exit_code(), 30);
        assert_eq!(FailureKind::JudgeMissing.exit_code(), 30);
        assert_eq!(FailureKind::JudgeBudget.exit_code(), 31);
        assert_eq!(FailureKind::Plugin.exit_code(), 5);
        assert_eq!(FailureKind::TooMuchMemory.exit_code(), 5);
        assert!(FailureKind::CannotWrite.stops_run() && !FailureKind::Plugin.stops_run());
        assert!(!FailureKind::TooMuchMemory.stops_run());
    }

    #[test]
    fn failures_of_earlier_versions_are_read_and_new_fields_left_out_when_empty() {
        let old = r#"{"key":"k","plugin":"p","message":"broke","kind":"worker_died"}"#;
        let failure: Failure = serde_json::from_str(old).unwrap();
        assert_eq!(serde_json::to_string(&failure).unwrap(), old);
        assert_eq!(failure.told(), "plugin `p`: broke");
        let log = Some("one\ntwo".to_owned());
        let told = Failure { log, ..failure }.told();
        assert!(told.ends_with("last words:\n  one\n  two"), "{told}");
    }
}
