//! Stage `rollout`: continuations of prompts, to measure on.

use std::{path::PathBuf, rc::Rc};

use harness_contract::{
    outputs::{Rollout, RolloutOutput},
    stages::{MAX_BAD_ROWS, RolloutParams},
};
use harness_engine::{
    data::{DataOptions, Documents},
    error::CellError,
    plugin::ModelInfo,
    prompt::{check_length, has_text},
    text::{ChatMessage, TextCodec},
};

use crate::{
    rows::{GridRow, GridRows, ShardCounts},
    stage::{Inputs, Progress},
    texts::{Row, texts},
    worker::Worker,
};

/// Continues the first prompts of the files, each up to its first end token.
pub(crate) fn rollout(
    worker: &mut Worker,
    params: &RolloutParams,
    _: &Inputs<'_>,
    progress: Progress<'_>,
) -> Result<RolloutOutput, CellError> {
    let loaded = worker.subject_model(&params.model)?;
    let (codec, info) = (Rc::clone(&loaded.codec), loaded.info.clone());
    let files = worker.assets.files(&params.files)?;
    let prompts = Prompts::read(&files, params, &info, &codec)?;
    worker.notes.add(prompts.bad_rows_note.clone());
    if prompts.n_without_text > 0 {
        worker.notes.add([format!(
            "{} prompts hold special tokens alone and are passed over",
            prompts.n_without_text
        )]);
    }
    let rows: Vec<Row> = (0_u32..)
        .zip(&prompts.ids)
        .map(|(prompt, ids)| Row {
            latent: None,
            prefix: prompt,
            prompt: ids.iter().map(|id| i64::from(*id)).collect(),
        })
        .collect();
    let (model, generation) = (&params.model, &params.generation);
    let texts = texts(worker, model, generation, &codec, &rows, None, progress)?;
    let eos = &info.eos_token_ids;
    let rollouts: Vec<Rollout> = (prompts.ids.into_iter().zip(texts.texts))
        .map(|(prompt_ids, text)| {
            let ids = text
                .tokens
                .iter()
                .take_while(|id| !eos.contains(id))
                .map(|id| u32::try_from(*id))
                .collect::<Result<Vec<u32>, _>>()
                .map_err(|_| CellError::Invalid("a generated token id is negative".to_owned()))?;
            Ok(Rollout {
                prompt_ids,
                ids,
                text: text.text,
            })
        })
        .collect::<Result<_, CellError>>()?;
    Ok(RolloutOutput {
        rollouts,
        n_bad_rows: prompts.n_bad_rows,
        n_without_text: prompts.n_without_text,
        n_cut: prompts.n_cut,
    })
}

/// The prompts of a cell, and what was passed over on the way to them.
struct Prompts {
    ids: Vec<Vec<u32>>,
    n_bad_rows: u64,
    bad_rows_note: Option<String>,
    n_without_text: u64,
    n_cut: u64,
}

impl Prompts {
    fn read(
        files: &[PathBuf],
        params: &RolloutParams,
        info: &ModelInfo,
        codec: &TextCodec,
    ) -> Result<Self, CellError> {
        let options = DataOptions {
            field: params.text_field.clone(),
            naming: "--set prompt_field=",
            max_bad_rows: params.max_bad_rows.unwrap_or(MAX_BAD_ROWS),
            ..DataOptions::default()
        };
        let mut documents = Documents::open(files, options)?;
        let most = params.prompt_tokens as usize;
        let mut prompts: Vec<Vec<u32>> = Vec::new();
        let (mut n_without_text, mut n_cut) = (0, 0);
        while prompts.len() < params.n_prompts as usize {
            let Some(document) = documents.next().transpose()? else {
                return Err(CellError::BadInput(format!(
                    "the data hold {} prompts, and the bench reads {}; give more with --data, or set n_prompts lower",
                    prompts.len(),
                    params.n_prompts
                )));
            };
            let mut ids = if params.chat {
                let messages = [ChatMessage::user(document.text.as_str())];
                codec.encode(&codec.render_chat(&messages, true)?, false)?
            } else {
                codec.encode(&document.text, true)?
            };
            if params.chat && ids.len() > most {
                // Cutting its end would cut the turn of the assistant.
                return Err(CellError::BadInput(format!(
                    "prompt {} has {} tokens, and prompt_tokens is {most}",
                    document.item,
                    ids.len(),
                )));
            }
            n_cut += u64::from(ids.len() > most);
            ids.truncate(most);
            if !has_text(codec, info, &ids) {
                n_without_text += 1;
                continue;
            }
            check_length(info, ids.len(), params.generation.max_new_tokens as usize)?;
            prompts.push(ids);
        }
        documents.check_bad_rows()?;
        Ok(Self {
            ids: prompts,
            n_bad_rows: documents.counts().bad_rows,
            bad_rows_note: documents.counts().bad_rows_note(),
            n_without_text,
            n_cut,
        })
    }
}

/// Continuations of prompts; those without a token are passed over and counted.
pub(super) struct RolloutRows {
    rollouts: RolloutOutput,
    next: usize,
    counts: ShardCounts,
}

impl RolloutRows {
    pub(super) fn new(rollouts: RolloutOutput) -> Self {
        Self {
            rollouts,
            next: 0,
            counts: ShardCounts::default(),
        }
    }
}

impl GridRows for RolloutRows {
    fn next_row(&mut self) -> Result<Option<GridRow>, CellError> {
        while let Some(rollout) = self.rollouts.rollouts.get(self.next) {
            let item = self.next as u64;
            self.next += 1;
            if rollout.ids.is_empty() {
                self.counts.too_short += 1;
                continue;
            }
            let ids: Vec<u32> = [&rollout.prompt_ids[..], &rollout.ids[..]].concat();
            self.counts.rows += 1;
            self.counts.tokens += ids.len() as u64;
            return Ok(Some(GridRow {
                item,
                ordinal: self.counts.rows - 1,
                ids,
                n_visible: rollout.prompt_ids.len(),
            }));
        }
        Ok(None)
    }

    fn counts(&self) -> ShardCounts {
        self.counts.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_continuations_are_counted() {
        let rollout = |ids: Vec<u32>| Rollout {
            prompt_ids: vec![1, 2],
            ids,
            text: String::new(),
        };
        let output = RolloutOutput {
            rollouts: vec![rollout(vec![]), rollout(vec![5])],
            ..RolloutOutput::default()
        };
        let mut rows = RolloutRows::new(output);
        let first = rows.next_row().unwrap().unwrap();
        assert_eq!(
            (first.item, first.ids, first.n_visible),
            (1, vec![1, 2, 5], 2)
        );
        assert!(rows.next_row().unwrap().is_none());
        assert_eq!((rows.counts().rows, rows.counts().too_short), (1, 1));
    }
}
