use std::{
    collections::BTreeSet,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Asking, Replies, RepliesError, ReplyRequest, Worst};
use harness_contract::files::replace_file;
use harness_contract::judging::Price;

/// Version of the layout of batch files.
pub const BATCH_SCHEMA: u32 = 1;
/// Requests of a batch at most, as OpenAI documents it.
const MOST_REQUESTS: usize = 50_000;
/// Bytes of a batch's file at most, as OpenAI documents it.
const MOST_BYTES: usize = 200_000_000;
/// Bytes of a line besides its messages: names, model, the schema of the answer.
const LINE_BYTES: usize = 2048;
/// Folder of batches among replies.
const FOLDER: &str = "batches";

/// Questions that are, or are about to be, under way in one batch.
///
/// It lies in `REPLIES/batches/TAG.json` from before it is submitted until all its replies are
/// kept, and its ticket beside it in `TAG.ticket` once it is known. A process that ends in between
/// leaves enough to find the batch again: the server knows it by its tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// [`BATCH_SCHEMA`].
    pub schema: u32,
    /// The name by which the server knows it too.
    pub tag: String,
    /// The run whose money it costs.
    pub run: String,
    /// What its tokens cost: the price of a batch.
    pub price: Option<Price>,
    /// Seconds since 1970, UTC.
    pub created_unix: u64,
    /// What is asked, in the order of submission.
    pub requests: Vec<ReplyRequest>,
}

impl Batch {
    /// Names of its replies, in order.
    ///
    /// # Errors
    /// When a request has no JSON form.
    pub fn keys(&self) -> Result<Vec<String>, serde_json::Error> {
        self.requests.iter().map(ReplyRequest::key).collect()
    }

    /// What it costs in the worst case, USD; 0 where no price is known.
    pub fn worst_usd(&self) -> f64 {
        let worst = |request| Worst::in_batch(request).usd(self.price);
        self.requests.iter().map(worst).sum()
    }
}

/// Requests as batches that a server takes: at most 50,000 and 200 MB each.
pub fn batches_of(requests: &[ReplyRequest]) -> Vec<Range<usize>> {
    let bytes = |request: &ReplyRequest| {
        LINE_BYTES + serde_json::to_string(&request.messages).map_or(0, |text| text.len())
    };
    split(requests.iter().map(bytes), MOST_REQUESTS, MOST_BYTES)
}

fn split(sizes: impl Iterator<Item = usize>, most: usize, most_bytes: usize) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut total = 0;
    for (i, bytes) in sizes.enumerate() {
        match ranges.last_mut() {
            Some(range) if range.len() < most && total + bytes <= most_bytes => {
                range.end += 1;
                total += bytes;
            }
            _ => {
                ranges.push(i..i + 1);
                total = bytes;
            }
        }
    }
    ranges
}

impl Replies {
    /// Batches that are under way, or were about to be when their process ended.
    ///
    /// # Errors
    /// When one cannot be read: it may have been paid for, so it is not passed over.
    pub fn batches(&self) -> Result<Vec<Batch>, RepliesError> {
        let dir = self.dir().join(FOLDER);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(RepliesError::CannotRead { path: dir, source }),
        };
        let paths: BTreeSet<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let is_hidden =
            |path: &Path| (path.file_name()).is_some_and(|n| n.to_string_lossy().starts_with('.'));
        let mut batches = Vec::new();
        for path in paths {
            if path.extension().is_none_or(|ext| ext != "json") || is_hidden(&path) {
                continue;
            }
            let batch = match fs::read(&path) {
                Ok(bytes) => serde_json::from_slice::<Batch>(&bytes).map_err(io::Error::other),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => Err(error),
            };
            match batch {
                Ok(batch) if batch.schema == BATCH_SCHEMA => batches.push(batch),
                Ok(batch) => {
                    let what = format!("layout {} of batches is not known here", batch.schema);
                    let source = io::Error::other(what);
                    return Err(RepliesError::CannotRead { path, source });
                }
                Err(source) => return Err(RepliesError::CannotRead { path, source }),
            }
        }
        Ok(batches)
    }

    /// The ticket of a batch; `None` where the process that submitted it ended before it was kept.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn ticket(&self, tag: &str) -> Result<Option<String>, RepliesError> {
        let path = self.ticket_path(tag);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|ticket| !ticket.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RepliesError::CannotRead { path, source }),
        }
    }

    /// Whether nobody has closed the batch yet.
    pub fn is_open(&self, tag: &str) -> bool {
        self.batch_path(tag).exists()
    }

    /// Announces a batch that is about to be submitted, and reserves its worst case.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn announce(&self, asking: &Asking, batch: &Batch) -> Result<(), RepliesError> {
        let calls = i64::try_from(batch.requests.len()).unwrap_or(i64::MAX);
        // A process that ends between the two leaves more reserved than is under way, never less.
        self.adjust(asking, &batch.run, calls, batch.worst_usd())?;
        let path = self.batch_path(&batch.tag);
        let written = serde_json::to_vec(batch).map_err(io::Error::other);
        let written = written.and_then(|bytes| replace_file(&path, &bytes));
        written.map_err(|source| RepliesError::CannotWrite { path, source })
    }

    /// Keeps the ticket of an announced batch.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_ticket(&self, tag: &str, ticket: &str) -> Result<(), RepliesError> {
        let path = self.ticket_path(tag);
        replace_file(&path, format!("{ticket}\n").as_bytes())
            .map_err(|source| RepliesError::CannotWrite { path, source })
    }

    /// Closes a batch whose replies are kept, and gives back what was reserved and not `paid`, in
    /// USD.
    ///
    /// # Errors
    /// When a file cannot be removed or the ledger not be written.
    pub fn close(&self, asking: &Asking, batch: &Batch, paid: f64) -> Result<(), RepliesError> {
        self.remove(batch)?;
        self.adjust(asking, &batch.run, 0, paid - batch.worst_usd())
    }

    /// Takes back a batch that never came to the server.
    ///
    /// # Errors
    /// As [`Replies::close`].
    pub fn withdraw(&self, asking: &Asking, batch: &Batch) -> Result<(), RepliesError> {
        self.remove(batch)?;
        let calls = i64::try_from(batch.requests.len()).unwrap_or(i64::MAX);
        self.adjust(asking, &batch.run, -calls, -batch.worst_usd())
    }

    /// Closes batches whose replies are all kept, and removes half-written files: their process
    /// ended before it could.
    ///
    /// # Errors
    /// When a file cannot be read or removed or the ledger not be written.
    pub fn sweep(&self, asking: &Asking) -> Result<(), RepliesError> {
        // Files of batches are written with the right to ask, so nobody is writing these.
        for entry in fs::read_dir(self.dir().join(FOLDER))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') && name.ends_with(".tmp") {
                let path = entry.path();
                fs::remove_file(&path)
                    .map_err(|source| RepliesError::CannotWrite { path, source })?;
            }
        }
        for batch in self.batches()? {
            let mut paid = 0.0;
            let mut is_whole = true;
            for request in &batch.requests {
                let key = request.key().map_err(|error| RepliesError::CannotRead {
                    path: self.batch_path(&batch.tag),
                    source: io::Error::other(error),
                })?;
                match self.get(&key)? {
                    Some(kept) => paid += kept.usd.unwrap_or(0.0),
                    None => {
                        is_whole = false;
                        break;
                    }
                }
            }
            if is_whole {
                self.close(asking, &batch, paid)?;
            }
        }
        Ok(())
    }

    /// Whether there may be batches under way.
    pub fn has_batches(&self) -> bool {
        fs::read_dir(self.dir().join(FOLDER)).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Files go before money is given back: a process that ends in between must not give it back
    /// twice. The ticket goes first, so that no ticket stays without its batch.
    fn remove(&self, batch: &Batch) -> Result<(), RepliesError> {
        for path in [self.ticket_path(&batch.tag), self.batch_path(&batch.tag)] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(RepliesError::CannotWrite { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where an announced batch lies.
    pub fn batch_path(&self, tag: &str) -> PathBuf {
        self.dir().join(FOLDER).join(format!("{tag}.json"))
    }

    fn ticket_path(&self, tag: &str) -> PathBuf {
        self.dir().join(FOLDER).join(format!("{tag}.ticket"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replies::{KeptReply, REPLY_SCHEMA, ReplyMessage};
    use harness_contract::judging::Spent;

    fn batch(tag: &str) -> Batch {
        let request = |words: &str| ReplyRequest {
            judge: "gpt-4o-mini".into(),
            task: "explain".into(),
            messages: vec![ReplyMessage {
                role: "user".into(),
                content: words.into(),
            }],
            max_tokens: 100,
            temperature: 0.0,
        };
        Batch {
            schema: BATCH_SCHEMA,
            tag: tag.into(),
            run: "r".into(),
            price: Price::known("gpt-4o-mini").map(Price::in_batch),
            created_unix: 7,
            requests: vec![request("a"), request("b")],
        }
    }

    #[test]
    fn requests_are_split_at_both_limits() {
        let sizes = [1, 1, 1, 5, 9, 1, 1, 30, 1];
        assert_eq!(
            split(sizes.into_iter(), 3, 10),
            [0..3, 3..4, 4..6, 6..7, 7..8, 8..9]
        );
        assert!(split(std::iter::empty(), 3, 10).is_empty());
        let many = vec![batch("t").requests[0].clone(); 50_001];
        assert_eq!(batches_of(&many), [0..50_000, 50_000..50_001]);
        let mut large = batch("t").requests[0].clone();
        large.messages[0].content = "\n".repeat(40_000_000);
        // Escaped, each line of these is 80 MB.
        assert_eq!(
            batches_of(&[large.clone(), large.clone(), large]),
            [0..2, 2..3]
        );
    }

    #[test]
    fn a_batch_is_reserved_kept_and_given_back_once() {
        let dir = tempfile::tempdir().unwrap();
        let replies = Replies::new(dir.path());
        let asking = replies.try_asking().unwrap().unwrap();
        assert!(replies.batches().unwrap().is_empty());
        let (one, two) = (batch("one"), batch("two"));
        // 145 bytes at most of prompt and 100 tokens of answer, at half of 0.15 and 0.60 USD a
        // million.
        let worst = 2.0 * (145.0 * 0.075 + 100.0 * 0.3) / 1e6;
        assert!(
            (one.worst_usd() - worst).abs() < 1e-12,
            "{}",
            one.worst_usd()
        );
        replies.announce(&asking, &one).unwrap();
        replies.announce(&asking, &two).unwrap();
        assert_eq!(replies.spent("r").unwrap().calls, 4);
        assert_eq!(replies.batches().unwrap(), [one.clone(), two.clone()]);
        assert_eq!(replies.ticket("one").unwrap(), None);
        replies.keep_ticket("one", "batch_1").unwrap();
        assert_eq!(replies.ticket("one").unwrap().as_deref(), Some("batch_1"));
        replies.close(&asking, &one, 1e-6).unwrap();
        replies.withdraw(&asking, &two).unwrap();
        assert!(!replies.is_open("one") && replies.batches().unwrap().is_empty());
        let Spent { calls, usd } = replies.spent("r").unwrap();
        assert!(calls == 2 && (usd - 1e-6).abs() < 1e-12, "{calls} {usd}");
    }

    #[test]
    fn a_batch_with_all_its_replies_is_closed_at_what_they_cost() {
        let dir = tempfile::tempdir().unwrap();
        let replies = Replies::new(dir.path());
        let asking = replies.try_asking().unwrap().unwrap();
        let batch = batch("one");
        assert!(!replies.has_batches());
        replies.announce(&asking, &batch).unwrap();
        fs::write(dir.path().join("batches/.x.tmp"), "half").unwrap();
        for request in &batch.requests {
            replies.sweep(&asking).unwrap();
            assert!(!dir.path().join("batches/.x.tmp").exists());
            assert!(replies.is_open("one") && replies.has_batches());
            let kept = KeptReply {
                schema: REPLY_SCHEMA,
                request: request.clone(),
                text: "{}".into(),
                tokens_in: 1,
                tokens_out: 1,
                usd: Some(2e-6),
                comparable_with_paper: false,
                received_unix: 0,
            };
            replies.put(&request.key().unwrap(), &kept).unwrap();
        }
        replies.sweep(&asking).unwrap();
        assert!(!replies.is_open("one") && !replies.has_batches());
        let Spent { calls, usd } = replies.spent("r").unwrap();
        assert!(calls == 2 && (usd - 4e-6).abs() < 1e-12, "{calls} {usd}");
    }

    #[test]
    fn a_damaged_batch_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let replies = Replies::new(dir.path());
        fs::create_dir(dir.path().join(FOLDER)).unwrap();
        fs::write(dir.path().join("batches/x.json"), "{").unwrap();
        let error = replies.batches().unwrap_err().to_string();
        assert!(error.contains("x.json"), "{error}");
    }
}
