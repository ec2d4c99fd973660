use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use harness_contract::exit;
use harness_core::suggest;

/// The column that tells an SAE from others of its set, layer and k. Files from before it was kept,
/// and the paper's, do not have it.
pub(super) const SAE_ID: &str = "sae_id";

/// Columns of a table. Those of this project have up to 20, and each is looked up by its name in
/// all.
const MAX_COLUMNS: usize = 4096;

/// A CSV file in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvTable {
    /// Its name in messages.
    pub name: String,
    pub columns: Vec<String>,
    /// Its rows, each as long as `columns`.
    pub rows: Vec<Vec<String>>,
}

/// Why two files cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A file is not a table.
    #[error("{name}: {message}")]
    NotATable {
        /// The file.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// The files have different columns.
    #[error(
        "the files have different columns: {}",
        describe_columns(left_only, right_only)
    )]
    Columns {
        /// Columns of the first file alone.
        left_only: Vec<String>,
        /// Columns of the second file alone.
        right_only: Vec<String>,
    },
    /// A column that was asked for is not there.
    #[error("there is no column `{column}`; {hint}")]
    NoColumn {
        column: String,
        /// The nearest ones.
        hint: String,
    },
    /// No column is known to name rows.
    #[error("no column is known to name a row; say which with --key (there is {columns})")]
    NoKey { columns: String },
    /// Two rows are told apart by their SAE alone, and the other file does not say which it has.
    #[error(
        "{name}: rows {first} and {second} are of two SAEs of {key}, and the other file has no column `sae_id` to tell them apart: make it again with this version, or compare rows of one SAE"
    )]
    NeedsSaeId {
        /// The file.
        name: String,
        /// The key without the SAE.
        key: String,
        /// Row number, the header being row 1.
        first: usize,
        /// Row number, the header being row 1.
        second: usize,
    },
    /// Two rows have one key.
    #[error("{name}: rows {first} and {second} have the same key {key}")]
    DuplicateKey {
        /// The file.
        name: String,
        key: String,
        /// Row number, the header being row 1.
        first: usize,
        /// Row number, the header being row 1.
        second: usize,
    },
}

fn describe_columns(left_only: &[String], right_only: &[String]) -> String {
    let part =
        |which: &str, columns: &[String]| format!("only the {which} has {}", columns.join(", "));
    match (left_only.is_empty(), right_only.is_empty()) {
        (false, false) => format!(
            "{}; {}",
            part("first", left_only),
            part("second", right_only)
        ),
        (false, true) => part("first", left_only),
        _ => part("second", right_only),
    }
}

impl CompareError {
    /// Exit code of a comparison that ends for this reason.
    pub const fn exit_code(&self) -> u8 {
        match self {
            CompareError::Io { .. } => exit::BAD_INPUT,
            _ => exit::CONFIG,
        }
    }
}

impl CsvTable {
    /// Read a file.
    ///
    /// # Errors
    /// When it cannot be read or is not a table.
    pub fn read(path: &Path) -> Result<CsvTable, CompareError> {
        let bytes = fs::read(path).map_err(|source| CompareError::Io {
            path: path.to_owned(),
            source,
        })?;
        CsvTable::parse(&path.display().to_string(), &bytes)
    }

    /// Read the content of a file: UTF-8 with or without a byte order mark, lines ended by LF or
    /// CRLF.
    ///
    /// # Errors
    /// When it is not a table.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<CsvTable, CompareError> {
        let bad = |message: String| CompareError::NotATable {
            name: name.to_owned(),
            message,
        };
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(bytes);
        let mut records = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| bad(error.to_string()))?;
            records.push(record.iter().map(str::to_owned).collect::<Vec<_>>());
        }
        if records.is_empty() {
            return Err(bad("it is empty".to_owned()));
        }
        let n_columns = records[0].len();
        if n_columns > MAX_COLUMNS {
            return Err(bad(format!(
                "it has {n_columns} columns, the limit is {MAX_COLUMNS}"
            )));
        }
        let columns: Vec<String> = records
            .remove(0)
            .iter()
            .map(|c| c.trim().to_owned())
            .collect();
        let mut sorted = columns.clone();
        sorted.sort();
        if let Some(twice) = sorted.windows(2).find(|w| w[0] == w[1]) {
            return Err(bad(format!("it has two columns `{}`", twice[0])));
        }
        Ok(CsvTable {
            name: name.to_owned(),
            columns,
            rows: records,
        })
    }

    /// Place of a column.
    ///
    /// # Errors
    /// When there is none.
    pub fn column(&self, name: &str) -> Result<usize, CompareError> {
        self.columns
            .iter()
            .position(|c| c == name)
            .ok_or_else(|| CompareError::NoColumn {
                column: name.to_owned(),
                hint: suggest::hint(name, self.columns.iter().map(String::as_str)),
            })
    }

    /// The columns that name a row: those given, or those known to.
    pub(super) fn key_columns(
        &self,
        given: &[String],
        known: &BTreeSet<&str>,
    ) -> Result<Vec<String>, CompareError> {
        if !given.is_empty() {
            for name in given {
                self.column(name)?;
            }
            return Ok(given.to_vec());
        }
        let found: Vec<String> = self
            .columns
            .iter()
            .filter(|c| known.contains(c.as_str()))
            .cloned()
            .collect();
        if found.is_empty() {
            return Err(self.no_key());
        }
        Ok(found)
    }

    /// That nothing is known to name a row of this table.
    pub(super) fn no_key(&self) -> CompareError {
        CompareError::NoKey {
            columns: self.columns.join(", "),
        }
    }

    /// Rows by key, in the text of the keys with numbers in one form.
    pub(super) fn by_key(
        &self,
        key: &[String],
    ) -> Result<BTreeMap<Vec<KeyPart>, usize>, CompareError> {
        let places = key
            .iter()
            .map(|k| self.column(k))
            .collect::<Result<Vec<_>, _>>()?;
        let mut rows = BTreeMap::new();
        for (i, row) in self.rows.iter().enumerate() {
            let parts: Vec<KeyPart> = places.iter().map(|&p| KeyPart::of(&row[p])).collect();
            if let Some(first) = rows.insert(parts, i) {
                let named: Vec<String> = key
                    .iter()
                    .zip(&places)
                    .map(|(k, &p)| format!("{k}={}", row[p].trim()))
                    .collect();
                return Err(CompareError::DuplicateKey {
                    name: self.name.clone(),
                    key: named.join(" "),
                    first: first + 2,
                    second: i + 2,
                });
            }
        }
        Ok(rows)
    }
}

/// A field of a key. Whole numbers sort as numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyPart {
    Whole(i64),
    Text(String),
}

impl KeyPart {
    fn of(text: &str) -> KeyPart {
        let text = text.trim();
        if let Ok(n) = text.parse() {
            return KeyPart::Whole(n);
        }
        match text.parse::<f64>() {
            // 2.0 and 2 name the same row.
            Ok(x) if x.fract() == 0.0 && x.abs() < 9e15 => KeyPart::Whole(x as i64),
            Ok(x) => KeyPart::Text(x.to_string()),
            Err(_) => KeyPart::Text(text.to_owned()),
        }
    }
}
