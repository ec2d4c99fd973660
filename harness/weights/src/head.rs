//! The output head of a model whose configuration ties it to the embedding.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use serde_json::{Map, Value};

use crate::{InputError, Result, StoredTensor, WeightFile, Weights, folder::read_config};

/// Names of the embedding and of the head, in the layouts of the families that are read.
const NAMES: [(&str, &str); 4] = [
    ("model.embed_tokens.weight", "lm_head.weight"),
    ("transformer.wte.weight", "lm_head.weight"),
    ("wte.weight", "lm_head.weight"),
    (
        "model.transformer.wte.weight",
        "model.transformer.ff_out.weight",
    ),
];
/// Families that tie the head where their configuration says nothing.
const TIED_BY_DEFAULT: [&str; 2] = ["gpt2", "llada"];
/// Bytes compared at a time.
const CHUNK: usize = 1 << 20;

/// How the files of a checkpoint hold an output head beside the embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredHead {
    /// One of the two is not stored.
    Alone,
    /// Both are, with the same bytes.
    Same,
    /// Both are, and they differ.
    Different,
}

/// Compares a stored head with the stored embedding, as far as the first difference.
///
/// # Errors
/// A file that cannot be read.
pub fn stored_head(files: &[WeightFile], embedding: &str, head: &str) -> Result<StoredHead> {
    let find = |name| {
        files
            .iter()
            .find_map(|file| Some((file, file.tensor(name)?)))
    };
    let (Some(embedding), Some(head)) = (find(embedding), find(head)) else {
        return Ok(StoredHead::Alone);
    };
    let is_alike = embedding.1.dtype == head.1.dtype && embedding.1.shape == head.1.shape;
    Ok(match is_alike && same_bytes(embedding, head)? {
        true => StoredHead::Same,
        false => StoredHead::Different,
    })
}

/// A warning for a checkpoint whose configuration ties the head and whose files hold another one.
///
/// # Errors
/// A file that cannot be read.
pub fn untied_head(dir: &Path, weights: &Weights) -> Result<Option<String>> {
    let Some(config) = read_config(dir)? else {
        return Ok(None);
    };
    let Some(key) = tied_by(&config) else {
        return Ok(None);
    };
    for (embedding, head) in NAMES {
        if stored_head(&weights.files, embedding, head)? == StoredHead::Different {
            return Ok(Some(format!(
                "{}: {key} says that the output head is the embedding, but another head \
                 ({head}) is stored: the stored one is used, as in transformers 5; set {key} to \
                 false to say so",
                dir.join("config.json").display()
            )));
        }
    }
    Ok(None)
}

/// The setting by which a configuration ties the head, if it does.
fn tied_by(config: &Map<String, Value>) -> Option<&'static str> {
    let family = config.get("model_type").and_then(Value::as_str)?;
    let key = match family {
        "llada" => "weight_tying",
        _ => "tie_word_embeddings",
    };
    let is_tied = config.get(key).and_then(Value::as_bool);
    is_tied
        .unwrap_or(TIED_BY_DEFAULT.contains(&family))
        .then_some(key)
}

fn same_bytes(a: (&WeightFile, &StoredTensor), b: (&WeightFile, &StoredTensor)) -> Result<bool> {
    let open = |(file, tensor): (&WeightFile, &StoredTensor)| {
        let io = InputError::io(&file.path);
        let mut reader = BufReader::with_capacity(CHUNK, File::open(&file.path).map_err(&io)?);
        let start = file.data + tensor.span.0;
        reader.seek(SeekFrom::Start(start)).map_err(&io)?;
        Ok((reader, io))
    };
    let ((mut a_bytes, a_io), (mut b_bytes, b_io)) = (open(a)?, open(b)?);
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut rest = usize::try_from(a.1.span.1 - a.1.span.0).unwrap_or(usize::MAX);
    while rest > 0 {
        let n = rest.min(CHUNK);
        a_bytes.read_exact(&mut left[..n]).map_err(&a_io)?;
        b_bytes.read_exact(&mut right[..n]).map_err(&b_io)?;
        if left[..n] != right[..n] {
            return Ok(false);
        }
        rest -= n;
    }
    Ok(true)
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
