//! The rows a grid is measured on, and those of a shard of a stream of text.

use std::path::PathBuf;

use harness_contract::stages::{Corruption, DocumentPolicy, MAX_BAD_ROWS, ShardRef};
use harness_core::corruption::mask_row;
use harness_engine::{
    data::{DataOptions, Documents, LabelledDocuments, PackPolicy, Packer, TokenRow},
    error::CellError,
    eval::Batch,
    text::TextCodec,
};

/// One row to measure on.
pub(crate) struct GridRow {
    /// Its place in the stream, the key of its masks.
    pub(crate) item: u64,
    /// Its place in the shard, which decides its resampling unit.
    pub(crate) ordinal: u64,
    /// Token ids.
    pub(crate) ids: Vec<u32>,
    /// Tokens in front that stay visible and are no targets.
    pub(crate) n_visible: usize,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardCounts {
    pub(crate) rows: u64,
    pub(crate) tokens: u64,
    pub(crate) bad_rows: u64,
    pub(crate) too_short: u64,
    pub(crate) ended_short: bool,
    /// The share of the documents' tokens that is in rows, where the context length cuts off most
    /// of them.
    pub(crate) text_kept: Option<f64>,
    /// What a person should know of the files: bad rows, cut documents.
    pub(crate) notes: Vec<String>,
}

/// A source of rows.
pub(crate) trait GridRows {
    /// The next row; `None` after the last.
    fn next_row(&mut self) -> Result<Option<GridRow>, CellError>;
    /// What has been read.
    fn counts(&self) -> ShardCounts;
}

/// A context length that keeps less than this share of the documents is told.
const MUCH_CUT: f64 = 0.5;

/// Rows of a shard of files.
pub(crate) struct FileRows<'a> {
    packer: Packer<'a, LabelledDocuments>,
    shard: &'a ShardRef,
    /// Tokens of the stream before the next row.
    before: u64,
    counts: ShardCounts,
}

impl<'a> FileRows<'a> {
    pub(crate) fn open(
        files: &[PathBuf],
        codec: &'a TextCodec,
        shard: &'a ShardRef,
    ) -> Result<Self, CellError> {
        Self::labelled(files, codec, shard, None)
    }

    /// As [`FileRows::open`], with the labels of each row's document at a JSON pointer.
    pub(crate) fn labelled(
        files: &[PathBuf],
        codec: &'a TextCodec,
        shard: &'a ShardRef,
        label_field: Option<&str>,
    ) -> Result<Self, CellError> {
        if label_field.is_some() && shard.documents == DocumentPolicy::Pack {
            return Err(CellError::Config(
                "labels belong to documents, and packed rows hold several; read one document a row with --set documents=truncate"
                    .to_owned(),
            ));
        }
        let options = DataOptions {
            field: shard.text_field.clone(),
            max_bad_rows: shard.max_bad_rows.unwrap_or(MAX_BAD_ROWS),
            ..DataOptions::default()
        };
        let policy = match shard.documents {
            DocumentPolicy::Truncate => PackPolicy::Truncate,
            DocumentPolicy::Pack => PackPolicy::Pack,
        };
        let documents = LabelledDocuments::new(Documents::open(files, options)?, label_field)?;
        Ok(Self {
            packer: Packer::new(documents, codec, policy, shard.context_length as usize)?,
            shard,
            before: 0,
            counts: ShardCounts::default(),
        })
    }

    /// Labels of the document of the last row.
    pub(crate) fn labels(&self) -> &[String] {
        self.packer.documents().labels()
    }

    fn ended(&mut self, early: bool) -> Result<Option<GridRow>, CellError> {
        let documents = self.packer.documents().documents();
        documents.check_bad_rows()?;
        self.counts.bad_rows = documents.counts().bad_rows;
        self.counts.notes.extend(documents.counts().bad_rows_note());
        self.counts.text_kept = self.packer.kept_share().filter(|share| *share < MUCH_CUT);
        let cut = self.counts.text_kept.map(|share| {
            format!(
                "context length {} keeps {:.0} % of the text of these documents; the rest is cut off (a larger --context-length keeps more)",
                self.shard.context_length,
                100.0 * share
            )
        });
        self.counts.notes.extend(cut.clone());
        self.counts.too_short = self.packer.too_short();
        self.counts.ended_short = early;
        if early && !self.shard.allow_short {
            return Err(CellError::BadInput(format!(
                "the data end after {} tokens, and the bench reads {}; give more text with --data, fewer with \
                 --budget-tokens, or --allow-short to take what is there{}",
                self.before,
                self.shard.first_token + self.shard.tokens,
                cut.map_or_else(String::new, |cut| format!("; {cut}"))
            )));
        }
        Ok(None)
    }
}

impl GridRows for FileRows<'_> {
    fn next_row(&mut self) -> Result<Option<GridRow>, CellError> {
        let end = self.shard.first_token + self.shard.tokens;
        loop {
            if self.before >= end {
                return self.ended(false);
            }
            let Some(row) = self.packer.next().transpose()? else {
                return self.ended(true);
            };
            let before = self.before;
            self.before += row.ids.len() as u64;
            if before < self.shard.first_token {
                continue;
            }
            let TokenRow { item, ids, .. } = row;
            self.counts.rows += 1;
            self.counts.tokens += ids.len() as u64;
            return Ok(Some(GridRow {
                item,
                ordinal: self.counts.rows - 1,
                ids,
                n_visible: 0,
            }));
        }
    }

    fn counts(&self) -> ShardCounts {
        self.counts.clone()
    }
}

/// Rows side by side, corrupted.
pub(crate) struct GridBatch {
    pub(crate) batch: Batch,
    /// `[b]`: each row's place in the shard.
    pub(crate) ordinals: Vec<u64>,
    /// `[b]`: each row's mask rate; 1 where nothing is masked.
    pub(crate) rates: Vec<f64>,
    /// `[b, t]`: tokens whose cost counts.
    pub(crate) counted: Vec<bool>,
}

impl GridBatch {
    /// `rows` padded on the right; masked by `corruption`, or clean for next-token prediction.
    pub(crate) fn new(
        rows: &[GridRow],
        corruption: Option<&Corruption>,
        mask_token_id: Option<i64>,
        pad_token_id: i64,
    ) -> Result<Self, CellError> {
        let t = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let b = rows.len();
        let mut target_ids = vec![pad_token_id; b * t];
        let (mut is_valid, mut is_masked) = (vec![false; b * t], vec![false; b * t]);
        let mut rates = vec![1.0; b];
        for (r, row) in rows.iter().enumerate() {
            let at = r * t..r * t + row.ids.len();
            for (i, id) in at.clone().zip(&row.ids) {
                target_ids[i] = i64::from(*id);
                is_valid[i] = true;
            }
            if let Some(corruption) = corruption {
                let may: Vec<bool> = (0..row.ids.len()).map(|i| i >= row.n_visible).collect();
                let mask = mask_row(
                    corruption.seed,
                    row.item,
                    corruption.t_min,
                    corruption.t_max,
                    &may,
                );
                is_masked[at].copy_from_slice(&mask.is_masked);
                rates[r] = mask.rate;
            }
        }
        let mut input_ids = target_ids.clone();
        if corruption.is_some() {
            let mask = mask_token_id.ok_or_else(|| {
                CellError::Invalid(
                    "the bench masks tokens, and the model has no mask token".to_owned(),
                )
            })?;
            for (id, masked) in input_ids.iter_mut().zip(&is_masked) {
                if *masked {
                    *id = mask;
                }
            }
        }
        let batch = Batch {
            b,
            t,
            input_ids,
            target_ids,
            is_valid,
            is_masked,
        }
        .checked()?;
        let mut counted = match corruption {
            Some(_) => batch.denoising_targets(),
            None => batch.next_token_targets(),
        };
        for (r, row) in rows.iter().enumerate() {
            counted[r * t..r * t + row.n_visible.min(t)].fill(false);
        }
        Ok(Self {
            batch,
            ordinals: rows.iter().map(|row| row.ordinal).collect(),
            rates,
            counted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(item: u64, n: u32, n_visible: usize) -> GridRow {
        GridRow {
            item,
            ordinal: item,
            ids: (0..n).collect(),
            n_visible,
        }
    }

    #[test]
    fn prompts_stay_visible_and_are_no_targets() {
        let corruption = Corruption {
            t_min: 1.0,
            t_max: 1.0,
            seed: 0,
        };
        let rows = [row(0, 6, 4), row(1, 3, 0)];
        let batch = GridBatch::new(&rows, Some(&corruption), Some(99), 0).unwrap();
        let want = [4, 5, 7, 8];
        let masked: Vec<usize> = (0..12).filter(|i| batch.batch.is_masked[*i]).collect();
        assert_eq!(masked, want);
        assert_eq!(batch.counted, batch.batch.is_masked);
        assert_eq!(batch.batch.input_ids[4], 99);
        assert_eq!(batch.batch.target_ids[4], 4);

        let clean = GridBatch::new(&rows, None, None, 0).unwrap();
        assert_eq!(clean.batch.input_ids, clean.batch.target_ids);
        let counted: Vec<usize> = (0..12).filter(|i| clean.counted[*i]).collect();
        assert_eq!(counted, [4, 5, 7, 8]);
        assert!(GridBatch::new(&rows, Some(&corruption), None, 0).is_err());
    }
}
