//! The text of a pass.

use std::{collections::BTreeMap, ops::Range, path::PathBuf};

use harness_contract::stages::{FixedMasks, ShardRef};
use harness_core::{autointerp::Places, corruption::mask_row_at};
use harness_engine::{
    error::CellError,
    eval::{Batch, Scope},
    plugin::ModelInfo,
    text::TextCodec,
};

use crate::rows::{FileRows, GridRows, ShardCounts};

pub(super) struct TextRow {
    /// Its place in the stream, the key of its masks.
    item: u64,
    /// Token ids of the text.
    pub(super) ids: Vec<u32>,
    /// Its document's labels, as places in [`Text::labels`].
    pub(super) labels: Vec<u32>,
}

/// Rows of text with what is needed to mask them.
pub(super) struct Text {
    pub(super) rows: Vec<TextRow>,
    /// Names of the labels, in the order they were met in.
    pub(super) labels: Vec<String>,
    pub(super) counts: ShardCounts,
    masks: Option<FixedMasks>,
    /// 0 where nothing is masked.
    mask_token_id: u32,
}

/// What a token is to the SAEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A special token, which never counts.
    Special,
    /// Text.
    Visible,
    Masked,
}

impl Token {
    /// Whether activations on it count.
    fn counts(self, scope: Scope) -> bool {
        match scope {
            Scope::All => self != Token::Special,
            Scope::Masked => self == Token::Masked,
            Scope::Unmasked => self == Token::Visible,
        }
    }
}

/// Rows of a batch, without padding.
pub(super) struct BatchRows {
    /// Place of the first among the rows of the text.
    pub(super) first: u64,
    /// `[b]`: tokens of each.
    pub(super) lens: Vec<usize>,
    /// `[n_valid]`: row after row.
    pub(super) tokens: Vec<Token>,
}

impl BatchRows {
    /// `[n_valid]`: tokens whose activations count, and how many of these are masked.
    pub(super) fn counted(&self, scope: Scope) -> (Vec<bool>, u64) {
        let counts: Vec<bool> = self
            .tokens
            .iter()
            .map(|token| token.counts(scope))
            .collect();
        let both = self.tokens.iter().zip(&counts);
        let n_masked = both.filter(|(token, counts)| **counts && **token == Token::Masked);
        let n_masked = n_masked.count() as u64;
        (counts, n_masked)
    }
}

impl Text {
    /// Reads all rows of a shard.
    ///
    /// # Errors
    /// Files that cannot be read or hold too little; masks for a model without a mask token; labels
    /// that are none.
    pub(super) fn read(
        files: &[PathBuf],
        shard: &ShardRef,
        label_field: Option<&str>,
        masks: Option<FixedMasks>,
        info: &ModelInfo,
        codec: &TextCodec,
    ) -> Result<Text, CellError> {
        let mask_token_id = match (masks, info.mask_token_id) {
            (None, _) => 0,
            (Some(_), Some(id)) => u32::try_from(id)
                .map_err(|_| CellError::Invalid(format!("the mask token has id {id}")))?,
            (Some(_), None) => {
                return Err(CellError::Config(
                    "the bench masks tokens, and the model has no mask token; read clean text, without --mask-rate"
                        .to_owned(),
                ));
            }
        };
        let mut source = FileRows::labelled(files, codec, shard, label_field)?;
        let mut rows = Vec::new();
        let mut places: BTreeMap<String, u32> = BTreeMap::new();
        let mut labels = Vec::new();
        while let Some(row) = source.next_row()? {
            let mut own = Vec::new();
            for label in source.labels() {
                let place = places.entry(label.clone()).or_insert_with(|| {
                    labels.push(label.clone());
                    labels.len() as u32 - 1
                });
                own.push(*place);
            }
            rows.push(TextRow {
                item: row.item,
                ids: row.ids,
                labels: own,
            });
        }
        if rows.is_empty() {
            return Err(CellError::BadInput(
                "the data files hold no text to find windows in; give others with --data"
                    .to_owned(),
            ));
        }
        if let Some(field) = label_field.filter(|_| labels.is_empty()) {
            return Err(CellError::BadInput(format!(
                "no document has a label at {field}; name the field with --set label_field=/NAME, or go without labels with --set label_field=none"
            )));
        }
        Ok(Text {
            rows,
            labels,
            counts: source.counts(),
            masks,
            mask_token_id,
        })
    }

    /// Places with a window.
    pub(super) fn places(&self, buffer: u32) -> Places {
        Places::new(self.rows.iter().map(|row| row.ids.len()), buffer)
    }

    /// `[t]`: which tokens of a row are masked.
    pub(super) fn is_masked(&self, row: &TextRow) -> Vec<bool> {
        match self.masks {
            Some(masks) => mask_row_at(masks.seed, row.item, masks.rate, row.ids.len()),
            None => vec![false; row.ids.len()],
        }
    }

    /// `[t]`: token ids as the model reads them.
    pub(super) fn input_ids(&self, row: &TextRow, is_masked: &[bool]) -> Vec<u32> {
        let read = |(id, masked): (&u32, &bool)| if *masked { self.mask_token_id } else { *id };
        row.ids.iter().zip(is_masked).map(read).collect()
    }

    /// Some rows, padded on the right.
    pub(super) fn batch(
        &self,
        range: Range<usize>,
        info: &ModelInfo,
        codec: &TextCodec,
    ) -> Result<(Batch, BatchRows), CellError> {
        let rows = &self.rows[range.clone()];
        let b = rows.len();
        let t = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let mut input_ids = vec![info.pad_token_id.unwrap_or(0); b * t];
        let (mut is_valid, mut is_masked) = (vec![false; b * t], vec![false; b * t]);
        let mut out = BatchRows {
            first: range.start as u64,
            lens: rows.iter().map(|row| row.ids.len()).collect(),
            tokens: Vec::new(),
        };
        for (r, row) in rows.iter().enumerate() {
            let masked = self.is_masked(row);
            for (i, (id, masked)) in self
                .input_ids(row, &masked)
                .into_iter()
                .zip(masked)
                .enumerate()
            {
                let at = r * t + i;
                input_ids[at] = i64::from(id);
                is_valid[at] = true;
                is_masked[at] = masked;
                // A mask token that stands in the text is read as any other.
                let is_mask = masked || Some(i64::from(id)) == info.mask_token_id;
                out.tokens.push(if is_mask {
                    Token::Masked
                } else if codec.is_special(id) {
                    Token::Special
                } else {
                    Token::Visible
                });
            }
        }
        let batch = Batch {
            b,
            t,
            target_ids: input_ids.clone(),
            input_ids,
            is_valid,
            is_masked,
        };
        Ok((batch.checked()?, out))
    }
}
