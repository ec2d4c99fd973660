//! Keeps the replies of paid questions.

use std::collections::BTreeMap;

use harness_contract::{judging::Price, protocol::Counters};
use harness_engine::{
    error::CellError,
    plugin::{Answer, JudgeIdentity},
};
use harness_store::replies::{Keeper, KeptReply, REPLY_SCHEMA, Replies, ReplyRequest};

use super::reply::now;

/// Threads that wait for the disk.
const KEEPERS: usize = 8;

/// Writes replies, each of which counts when it is on the disk.
pub(super) struct ReplyWriter {
    keeper: Keeper,
    price: Option<Price>,
    comparable_with_paper: bool,
    /// Replies that are written and not yet safe, by the number they were taken under.
    written: BTreeMap<usize, (Answer, f64)>,
    /// What the safe ones cost, USD.
    paid: f64,
}

impl ReplyWriter {
    pub(super) fn open(
        replies: &Replies,
        identity: &JudgeIdentity,
        price: Option<Price>,
        n: usize,
    ) -> Self {
        Self {
            keeper: Keeper::new(replies, n.min(KEEPERS)),
            price,
            comparable_with_paper: identity.comparable_with_paper,
            written: BTreeMap::new(),
            paid: 0.0,
        }
    }

    /// Writes a reply under a number.
    pub(super) fn put(
        &mut self,
        number: usize,
        key: &str,
        request: &ReplyRequest,
        answer: Answer,
    ) -> Result<(), CellError> {
        let usd = (self.price).map(|price| price.usd(answer.tokens_in, answer.tokens_out));
        let kept = KeptReply {
            schema: REPLY_SCHEMA,
            request: request.clone(),
            text: answer.text.clone(),
            tokens_in: answer.tokens_in,
            tokens_out: answer.tokens_out,
            usd,
            comparable_with_paper: self.comparable_with_paper,
            received_unix: now(),
        };
        self.keeper.put(number, key, &kept)?;
        self.written.insert(number, (answer, usd.unwrap_or(0.0)));
        Ok(())
    }

    /// Replies that have become safe, by their numbers.
    pub(super) fn kept(
        &mut self,
        counters: &mut Counters,
    ) -> Result<Vec<(usize, Answer)>, CellError> {
        let numbers = self.keeper.kept()?;
        Ok(count(&mut self.written, &mut self.paid, numbers, counters))
    }

    /// Waits for all of them: those that [`ReplyWriter::kept`] has not told, and what all cost in
    /// USD.
    pub(super) fn close(
        mut self,
        counters: &mut Counters,
    ) -> Result<(Vec<(usize, Answer)>, f64), CellError> {
        let numbers = self.keeper.finish()?;
        let answers = count(&mut self.written, &mut self.paid, numbers, counters);
        Ok((answers, self.paid))
    }
}

fn count(
    written: &mut BTreeMap<usize, (Answer, f64)>,
    paid: &mut f64,
    numbers: Vec<usize>,
    counters: &mut Counters,
) -> Vec<(usize, Answer)> {
    let mut answers = Vec::new();
    for number in numbers {
        let Some((answer, usd)) = written.remove(&number) else {
            continue;
        };
        *paid += usd;
        counters.judge_usd += usd;
        counters.judge_tokens += answer.tokens_in + answer.tokens_out;
        answers.push((number, answer));
    }
    answers
}
