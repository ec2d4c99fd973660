//! The questions of a decoding cell: read from files, sampled, and put as its preset says.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use harness_contract::stages::{MAX_BAD_ROWS, QuestionsRef};
use harness_core::task::{
    answer::gold,
    preset::{Preset, Rendered},
    question::{Question, choose},
};
use harness_engine::{
    data::{DataOptions, Documents},
    error::CellError,
    text::{ChatMessage, TextCodec},
};

/// The questions of a part of a sample.
pub(super) struct Questions {
    /// In the order of the sample.
    pub(super) questions: Vec<Question>,
    /// Rows of the files that hold none.
    pub(super) n_bad_rows: u64,
    /// What a person should know of the files.
    pub(super) notes: Vec<String>,
}

impl Questions {
    /// Reads the part. The files are read twice, once to count, and only the part is held.
    ///
    /// # Errors
    /// Files that cannot be read; fewer questions than the sample takes; no row with an answer,
    /// which is a wrong field; more questions without a gold answer than are allowed.
    pub(super) fn read(files: &[PathBuf], part: &QuestionsRef) -> Result<Self, CellError> {
        let open = |field: &str, naming: &'static str, max_bad_rows: f64| {
            let options = DataOptions {
                field: field.to_owned(),
                naming,
                max_bad_rows,
                ..DataOptions::default()
            };
            Documents::open(files, options)
        };
        let most_bad = part.max_bad_rows.unwrap_or(MAX_BAD_ROWS);
        let question = "--set question_field=";
        let mut all = open(&part.question_field, question, most_bad)?;
        let mut n_total = 0_usize;
        for document in all.by_ref() {
            document?;
            n_total += 1;
        }
        let end = part.first as usize + part.count as usize;
        if end > n_total {
            return Err(CellError::BadInput(format!(
                "the data hold {n_total} questions, and the bench asks {end} or more; give more with --questions, or ask fewer \
                 with --set n_questions={n_total}"
            )));
        }
        let chosen = choose(n_total, end, part.seed);
        let wanted: BTreeMap<u64, usize> = (chosen[part.first as usize..].iter().copied())
            .zip(0..)
            .collect();
        let mut found: Vec<Option<Question>> = (0..wanted.len()).map(|_| None).collect();
        let mut asked = open(&part.question_field, question, most_bad)?;
        // A row without an answer is a question that is not scored; `unread` judges how many are.
        let mut answers = Answers::new(open(&part.answer_field, "--set answer_field=", 1.0)?);
        let mut unread = Unread::default();
        while let Some(document) = asked.next().transpose()? {
            let answer = answers.of_row(asked.counts().rows)?;
            let gold = answer.as_deref().and_then(gold);
            if gold.is_none() {
                unread.add(asked.place());
            }
            if let Some(place) = wanted.get(&document.item) {
                found[*place] = Some(Question {
                    index: document.item,
                    question: document.text,
                    gold,
                });
            }
        }
        answers.check_field(&part.answer_field)?;
        unread.judge(n_total, part.max_bad_rows)?;
        let questions = found
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                CellError::BadInput("the questions changed while they were read".to_owned())
            })?;
        Ok(Self {
            questions,
            n_bad_rows: asked.counts().bad_rows,
            notes: (asked.counts().bad_rows_note().into_iter())
                .chain(unread.note())
                .collect(),
        })
    }
}

/// Questions whose gold answer is missing or no number.
#[derive(Default)]
struct Unread {
    n: u64,
    /// Where the first are.
    places: Vec<String>,
}

/// Places of questions without a gold answer that are named.
const NAMED_PLACES: usize = 10;

impl Unread {
    fn add(&mut self, place: Option<(&Path, u64)>) {
        self.n += 1;
        if self.places.len() < NAMED_PLACES {
            let named = place.map(|(path, line)| format!("{}:{line}", path.display()));
            self.places.extend(named);
        }
    }

    /// Nobody asks for a run that scores fewer questions than it answers, so that not one is too
    /// few to say so, unless a share is allowed.
    fn judge(&self, n_questions: usize, allowed: Option<f64>) -> Result<(), CellError> {
        let most = (allowed.unwrap_or(0.0) * n_questions as f64).floor() as u64;
        if self.n <= most {
            return Ok(());
        }
        Err(CellError::BadInput(format!(
            "{} of {n_questions} questions have no gold answer that can be read (`#### N` at the end of a worked answer), {most} are allowed: {} (hint: \
             mend them, or leave them unscored with --max-bad-rows SHARE)",
            self.n,
            self.named()
        )))
    }

    fn note(&self) -> Option<String> {
        (self.n > 0).then(|| {
            format!(
                "{} questions have no gold answer that can be read and are not scored: {}",
                self.n,
                self.named()
            )
        })
    }

    fn named(&self) -> String {
        let more = self.n - self.places.len() as u64;
        let rest = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        self.places.join(", ") + &rest
    }
}

/// The answers of the rows, read beside the questions. Rows are the same in both streams, whatever
/// the format.
struct Answers {
    documents: Documents,
    /// The number of the last row that has an answer, with it.
    next: Option<(u64, String)>,
    /// Whether any row had one.
    is_any: bool,
}

impl Answers {
    fn new(documents: Documents) -> Self {
        Self {
            documents,
            next: None,
            is_any: false,
        }
    }

    /// A row without an answer is not scored; a file without any would score nothing after all its
    /// questions were answered.
    fn check_field(&self, field: &str) -> Result<(), CellError> {
        if self.is_any {
            return Ok(());
        }
        let first = (self.documents.counts().examples.first())
            .map_or_else(String::new, |row| format!(": {row}"));
        Err(CellError::BadInput(format!(
            "no question has an answer in field `{field}`{first}; name the field with --set answer_field=NAME"
        )))
    }

    /// The answer of a row, counted from 1; rows are asked for in ascending order.
    fn of_row(&mut self, row: u64) -> Result<Option<String>, CellError> {
        loop {
            match self.next.take() {
                Some((at, text)) if at == row => return Ok(Some(text)),
                Some(later) if later.0 > row => {
                    self.next = Some(later);
                    return Ok(None);
                }
                _ => {}
            }
            match self.documents.next().transpose()? {
                Some(document) => {
                    self.is_any = true;
                    self.next = Some((self.documents.counts().rows, document.text));
                }
                None => return Ok(None),
            }
        }
    }
}

/// Token ids of a question as the preset puts it.
///
/// # Errors
/// A chat preset for a checkpoint without a chat template; text the tokenizer refuses; more than
/// `most` tokens.
pub(super) fn prompt(
    codec: &TextCodec,
    preset: &Preset,
    question: &Question,
    most: u32,
) -> Result<Vec<i64>, CellError> {
    let ids = match preset.render(&question.question) {
        Rendered::Plain(text) => codec.encode(&text, true)?,
        Rendered::Chat(turns) => {
            let messages: Vec<ChatMessage> = turns
                .into_iter()
                .map(|turn| ChatMessage {
                    role: turn.role.name().to_owned(),
                    content: turn.content,
                })
                .collect();
            codec.encode(&codec.render_chat(&messages, true)?, false)?
        }
    };
    // Cutting it would cut the question, or the turn of the assistant.
    if ids.len() > most as usize {
        return Err(CellError::BadInput(format!(
            "question {} has {} tokens as preset {} puts it, and prompt_tokens is {most}; raise it with --set prompt_tokens=N",
            question.index,
            ids.len(),
            preset.id()
        )));
    }
    Ok(ids.into_iter().map(i64::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(first: u32, count: u32) -> QuestionsRef {
        QuestionsRef {
            files: Vec::new(),
            question_field: "question".into(),
            answer_field: "answer".into(),
            max_bad_rows: Some(0.5),
            seed: 3,
            first,
            count,
        }
    }

    fn file(rows: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("questions.jsonl");
        std::fs::write(&path, rows.join("\n")).unwrap();
        (dir, path)
    }

    #[test]
    fn parts_tile_a_sample_and_answers_stay_with_their_questions() {
        let rows: Vec<String> = (0..12)
            .map(|i| match i {
                4 => format!(r#"{{"question": "q{i}"}}"#),
                7 => format!(r#"{{"question": "q{i}", "answer": "nothing to read"}}"#),
                _ => format!(r###"{{"question": "q{i}", "answer": "so\n#### {i}"}}"###),
            })
            .collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let (_dir, path) = file(&rows);
        let read = |first, count| {
            let read = Questions::read(std::slice::from_ref(&path), &part(first, count)).unwrap();
            assert_eq!(read.n_bad_rows, 0);
            read.questions
        };
        let whole = read(0, 12);
        assert_eq!([read(0, 5), read(5, 5), read(10, 2)].concat(), whole);
        let mut seen: Vec<u64> = whole.iter().map(|q| q.index).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..12).collect::<Vec<_>>());
        for question in whole {
            assert_eq!(question.question, format!("q{}", question.index));
            let gold = question.gold.map(|gold| gold.to_string());
            let want = (![4, 7].contains(&question.index)).then(|| question.index.to_string());
            assert_eq!(gold, want);
        }
    }

    #[test]
    fn a_wrong_answer_field_is_said_before_anything_is_answered() {
        let (_dir, path) = file(&[r#"{"question": "q", "solution": "1"}"#; 3]);
        let Err(error) = Questions::read(std::slice::from_ref(&path), &part(0, 2)) else {
            panic!("answers from nowhere");
        };
        let message = error.to_string();
        for part in ["field `answer`", "questions.jsonl:1", "answer_field=NAME"] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
    }

    #[test]
    fn too_few_questions_are_said_with_their_number() {
        let (_dir, path) = file(&[r#"{"question": "q", "answer": "1"}"#]);
        let Err(error) = Questions::read(&[path], &part(0, 2)) else {
            panic!("two of one question");
        };
        let message = error.to_string();
        assert!(
            message.contains("hold 1 questions") && message.contains("n_questions=1"),
            "{message}"
        );
    }
}
