//! Token batches: packed rows for next-token training, masked rows for diffusion, chat rows for
//! fine-tuning.

use anyhow::{Result, anyhow};
use harness_data::{Draws, Split, chat_tasks, documents};
use tch::Tensor;
use tokenizers::Tokenizer;

use crate::chat;

/// Ids that frame texts.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// In front of every document, where the family has one.
    pub bos: Option<i64>,
    /// After every document, and the filling of short rows.
    pub eos: i64,
    /// The mask token of the diffusion families.
    pub mask: Option<i64>,
}

impl Frame {
    /// What stands where a token is masked; families without masks are never asked to fill any.
    fn hidden(&self) -> i64 {
        self.mask.unwrap_or(self.eos)
    }
}

/// Tokenised documents of one split.
pub struct Corpus {
    documents: Vec<Vec<i64>>,
    frame: Frame,
}

/// What a masked row looks like to the model and what it should say.
pub struct MaskedBatch {
    /// [b, t] ids with masks.
    pub noisy: Tensor,
    /// `[m]` flat positions (row * t + column) of the masks.
    pub masked: Tensor,
    /// `[m]` the ids under them.
    pub targets: Tensor,
    /// `[m]` weight of each: 1 / mask rate of its row.
    pub weights: Tensor,
    /// b * t.
    pub n_positions: i64,
}

/// Rows and columns of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub rows: usize,
    /// Tokens of a row.
    pub len: usize,
}

impl Corpus {
    /// Tokenises the first `n` documents of a split and seed.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    pub fn new(
        tokenizer: &Tokenizer,
        frame: Frame,
        split: Split,
        seed: u64,
        n: u64,
    ) -> Result<Self> {
        let documents = documents(split, seed, n, None)
            .map(|document| encode(tokenizer, &document.text))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { documents, frame })
    }

    /// All tokens with their frames, in order.
    pub fn tokens(&self) -> impl Iterator<Item = i64> {
        self.documents.iter().flat_map(|d| {
            self.frame
                .bos
                .into_iter()
                .chain(d.iter().copied())
                .chain([self.frame.eos])
        })
    }

    /// A row that begins with a document. `packed`: more documents follow its end, else the
    /// end-of-text token does.
    fn row(&self, draws: &mut Draws, len: usize, packed: bool) -> Vec<i64> {
        let mut row = Vec::with_capacity(len + 256);
        loop {
            row.extend(self.frame.bos);
            row.extend_from_slice(&self.documents[draws.below(self.documents.len())]);
            row.push(self.frame.eos);
            if row.len() >= len || !packed {
                break;
            }
        }
        row.resize(len, self.frame.eos);
        row
    }

    /// Packed rows. [rows, len]
    pub fn packed(&self, draws: &mut Draws, shape: Shape) -> Tensor {
        let ids: Vec<i64> = (0..shape.rows)
            .flat_map(|_| self.row(draws, shape.len, true))
            .collect();
        Tensor::from_slice(&ids).view([shape.rows as i64, shape.len as i64])
    }

    /// Masked rows at rates spread evenly over (0, 1]: half of them packed, half a document and its
    /// end; a quarter keep their first 3 to 10 tokens, as a prompt is kept in generation.
    pub fn masked(&self, draws: &mut Draws, shape: Shape) -> MaskedBatch {
        let rows = (0..shape.rows)
            .map(|_| {
                let packed = draws.chance(0.5);
                let row = self.row(draws, shape.len, packed);
                let kept = if draws.chance(0.25) {
                    3 + draws.below(8)
                } else {
                    0
                };
                Row::kept(row, kept)
            })
            .collect();
        let rates = spread(draws, shape.rows);
        mask_rows(draws, rows, &rates, self.frame.hidden())
    }

    /// Packed rows at one mask rate, or at rates spread over (0, 1].
    pub fn masked_for_evaluation(
        &self,
        draws: &mut Draws,
        shape: Shape,
        rate: Option<f64>,
    ) -> MaskedBatch {
        let rows = (0..shape.rows)
            .map(|_| Row::kept(self.row(draws, shape.len, true), 0))
            .collect();
        let rates = rate.map_or_else(|| spread(draws, shape.rows), |t| vec![t; shape.rows]);
        mask_rows(draws, rows, &rates, self.frame.hidden())
    }
}

/// A row of ids, and which of them may be masked.
struct Row {
    ids: Vec<i64>,
    maskable: Vec<bool>,
}

impl Row {
    /// A row whose first `kept` ids are never masked.
    fn kept(ids: Vec<i64>, kept: usize) -> Self {
        let maskable = (0..ids.len()).map(|column| column >= kept).collect();
        Self { ids, maskable }
    }
}

/// Chat tasks as token rows: prompt length and all ids.
pub struct ChatCorpus {
    problems: Vec<(usize, Vec<i64>)>,
    others: Vec<(usize, Vec<i64>)>,
    /// The sums of the problems' answers: `13 + 12 =` and ` 25. `.
    sums: Vec<(Vec<i64>, Vec<i64>)>,
    /// Share of the rows that are word problems.
    share: f64,
    frame: Frame,
}

impl ChatCorpus {
    /// Renders and tokenises the first `n` tasks of a split and seed; those longer than `longest`
    /// tokens are left out.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    pub fn new(
        tokenizer: &Tokenizer,
        frame: Frame,
        source: (Split, u64, u64),
        longest: usize,
    ) -> Result<Self> {
        let (split, seed, n) = source;
        let (mut problems, mut others, mut sums) = (Vec::new(), Vec::new(), Vec::new());
        for task in chat_tasks(split, seed, n) {
            let prompt = encode(tokenizer, &chat::prompt(&task.prompt))?;
            let reply = encode(tokenizer, &chat::reply(&task.response))?;
            for sum in task.response.split(". ") {
                if let Some((terms, total)) = sum.split_once(" = ") {
                    sums.push((
                        encode(tokenizer, &format!("{terms} ="))?,
                        encode(tokenizer, &format!(" {total}. "))?,
                    ));
                }
            }
            if prompt.len() + reply.len() < longest {
                let rows = match task.answer {
                    Some(_) => &mut problems,
                    None => &mut others,
                };
                rows.push((prompt.len(), [prompt, reply].concat()));
            }
        }
        let share = problems.len() as f64 / (problems.len() + others.len()).max(1) as f64;
        Ok(Self {
            problems,
            others,
            sums,
            share,
            frame,
        })
    }

    /// The same with another share of word problems than the generator's.
    #[must_use]
    pub fn with_problems(self, share: f64) -> Self {
        Self { share, ..self }
    }

    /// Rows whose replies (and the end-of-text tokens that fill them up) are masked; prompts stay.
    pub fn masked(&self, draws: &mut Draws, shape: Shape) -> MaskedBatch {
        let mut rows = Vec::with_capacity(shape.rows);
        while rows.len() < shape.rows {
            let source = match draws.chance(self.share) {
                true => &self.problems,
                false => &self.others,
            };
            let (prompt, ids) = &source[draws.below(source.len())];
            if ids.len() <= shape.len {
                let mut row = ids.clone();
                row.resize(shape.len, self.frame.eos);
                rows.push(Row::kept(row, *prompt));
            }
        }
        let rates = spread(draws, shape.rows);
        mask_rows(draws, rows, &rates, self.frame.hidden())
    }

    /// Rows of sums whose results are masked and whose terms stay: many more of them fit into a row
    /// than problems do.
    pub fn masked_sums(&self, draws: &mut Draws, shape: Shape) -> MaskedBatch {
        let rows = (0..shape.rows)
            .map(|_| {
                let (mut ids, mut maskable) = (Vec::new(), Vec::new());
                while ids.len() < shape.len {
                    let (terms, total) = &self.sums[draws.below(self.sums.len())];
                    ids.extend_from_slice(terms);
                    maskable.resize(ids.len(), false);
                    ids.extend_from_slice(total);
                    maskable.resize(ids.len(), true);
                }
                ids.truncate(shape.len);
                maskable.truncate(shape.len);
                Row { ids, maskable }
            })
            .collect();
        let rates = spread(draws, shape.rows);
        mask_rows(draws, rows, &rates, self.frame.hidden())
    }
}

/// One rate from each of `n` equal parts of (0, 1], in random order. Below 0.02 a row would have no
/// mask at all.
fn spread(draws: &mut Draws, n: usize) -> Vec<f64> {
    let mut rates: Vec<f64> = (0..n)
        .map(|i| ((i as f64 + draws.unit()) / n as f64).max(0.02))
        .collect();
    for i in (1..n).rev() {
        rates.swap(i, draws.below(i + 1));
    }
    rates
}

fn mask_rows(draws: &mut Draws, rows: Vec<Row>, rates: &[f64], mask: i64) -> MaskedBatch {
    let (b, t) = (rows.len(), rows[0].ids.len());
    let mut noisy = Vec::with_capacity(b * t);
    let (mut masked, mut targets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for (row, &rate) in rows.into_iter().zip(rates) {
        for (id, maskable) in row.ids.into_iter().zip(row.maskable) {
            if maskable && draws.chance(rate) {
                masked.push(noisy.len() as i64);
                targets.push(id);
                weights.push((1.0 / rate) as f32);
                noisy.push(mask);
            } else {
                noisy.push(id);
            }
        }
    }
    MaskedBatch {
        noisy: Tensor::from_slice(&noisy).view([b as i64, t as i64]),
        masked: Tensor::from_slice(&masked),
        targets: Tensor::from_slice(&targets),
        weights: Tensor::from_slice(&weights),
        n_positions: (b * t) as i64,
    }
}

/// Ids of a text without special tokens.
///
/// # Errors
/// What the tokenizer refuses.
pub fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<i64>> {
    let encoding = tokenizer
        .encode(text, false)
        .map_err(|e| anyhow!("cannot tokenise {text:?}: {e}"))?;
    Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_spread_and_masks_follow_them() {
        let mut draws = Draws::new("test", 0, 0);
        let rates = spread(&mut draws, 100);
        let mean = rates.iter().sum::<f64>() / 100.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let rows = (0..40).map(|_| Row::kept((0..50).collect(), 5)).collect();
        let batch = mask_rows(&mut draws, rows, &[0.5; 40], 99);
        let masked = Vec::<i64>::try_from(&batch.masked).unwrap();
        let targets = Vec::<i64>::try_from(&batch.targets).unwrap();
        assert!(
            masked
                .iter()
                .zip(&targets)
                .all(|(m, t)| m % 50 == *t && m % 50 >= 5)
        );
        // 1800 positions at one half: standard deviation 21.
        assert!((770..1030).contains(&masked.len()), "{}", masked.len());
        let flat = Vec::<i64>::try_from(batch.noisy.view([-1])).unwrap();
        assert!(
            flat.iter()
                .enumerate()
                .all(|(i, &id)| (id == 99) == masked.contains(&(i as i64)))
        );
    }

    #[test]
    fn results_of_sums_are_masked_and_their_terms_stay() {
        let corpus = ChatCorpus {
            problems: Vec::new(),
            others: Vec::new(),
            sums: vec![(vec![1, 2, 1], vec![3, 4]), (vec![2, 1], vec![4])],
            share: 0.0,
            frame: Frame {
                bos: None,
                eos: 0,
                mask: Some(9),
            },
        };
        let shape = Shape { rows: 6, len: 20 };
        let batch = corpus.masked_sums(&mut Draws::new("test", 0, 0), shape);
        assert_eq!(batch.noisy.size(), [6, 20]);
        let targets = Vec::<i64>::try_from(&batch.targets).unwrap();
        assert!(!targets.is_empty() && targets.iter().all(|id| [3, 4].contains(id)));
        let noisy = Vec::<i64>::try_from(batch.noisy.view([-1])).unwrap();
        let n_masked = noisy.iter().filter(|id| **id == 9).count();
        assert_eq!(n_masked, targets.len());
        // Of both kinds of sums at least half of the ids are terms.
        let n_terms = noisy.iter().filter(|id| [1, 2].contains(*id)).count();
        assert!(2 * n_terms >= noisy.len(), "{noisy:?}");
    }
}
