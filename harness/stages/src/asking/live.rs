use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use harness_contract::judging::{Price, Spent};
use harness_engine::{
    error::CellError,
    plugin::{Answer, Judge, PluginFailure, Question},
};
use harness_store::replies::{Asking, Worst};

use super::{
    Judges, clock::Clock, question_batch::QuestionBatch, reply::UNIT, reply_writer::ReplyWriter,
    unanswered::no_judge, used_up,
};
use crate::stage::Progress;

/// How often it is said how many answers there are.
const SAY: Duration = Duration::from_millis(50);

impl Judges {
    /// Sends the open questions as far as the budget goes, and keeps their replies; `prepared` is
    /// the time that keys and a look at kept replies took.
    pub(super) fn ask_live(
        &mut self,
        judge: &mut Judge,
        questions: &mut QuestionBatch<'_>,
        asking: &Asking,
        prepared: Duration,
        progress: Progress<'_>,
    ) -> Result<(), CellError> {
        let mut clock = Clock::start(prepared);
        let asked = self.pay_for(judge, questions, asking, &mut clock, progress);
        let (seconds, own_seconds) = clock.stop();
        self.counters.judge_seconds += seconds;
        self.counters.judge_own_seconds += own_seconds;
        asked
    }

    fn pay_for(
        &mut self,
        judge: &mut Judge,
        questions: &mut QuestionBatch<'_>,
        asking: &Asking,
        clock: &mut Clock,
        progress: Progress<'_>,
    ) -> Result<(), CellError> {
        let price = self.price(questions.identity)?;
        let judging = self.judging.clone();
        loop {
            let open = questions.open();
            let Some(&next) = open.first() else {
                return Ok(());
            };
            let worst_usd = |at: &usize| Worst::of(&questions.requests[*at]).usd(price);
            let before = questions.replies.spent(&judging.run)?;
            let n = judging.budget.fitting(before, open.iter().map(worst_usd));
            if n == 0 {
                let why = judging.budget.exceeded(before, worst_usd(&next));
                return Err(used_up(&why, questions.replies));
            }
            let batch = &open[..n];
            let reserved: f64 = batch.iter().map(worst_usd).sum();
            let mut after = Spent {
                calls: before.calls + n as u64,
                usd: before.usd + reserved,
            };
            questions.replies.enter(asking, &judging.run, after)?;
            let mut paid = 0.0;
            let sent = self.send(judge, questions, batch, price, &mut paid, clock, progress);
            // Questions that failed may have been billed all the same: they keep what was reserved
            // for them.
            let unsettled = batch.iter().filter(|at| questions.may_be_billed(**at));
            paid += unsettled
                .map(|at| Worst::of(&questions.requests[*at]).usd(price))
                .sum::<f64>();
            after.usd = before.usd + paid;
            questions.replies.enter(asking, &judging.run, after)?;
            sent?;
        }
    }

    /// Sends questions; `paid` is what their replies cost in USD.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of `pay_for`, which owns them all"
    )]
    fn send(
        &mut self,
        judge: &mut Judge,
        questions: &mut QuestionBatch<'_>,
        batch: &[usize],
        price: Option<Price>,
        paid: &mut f64,
        clock: &mut Clock,
        progress: Progress<'_>,
    ) -> Result<(), CellError> {
        let sent: Vec<Question> = batch.iter().map(|at| questions.all[*at].clone()).collect();
        let total = questions.all.len() as u64;
        let mut n_done = total - questions.open().len() as u64;
        let mut said = Instant::now();
        let mut stopped = None;
        let concurrency = self.concurrency();
        let counters = &mut self.counters;
        counters.judge_calls += batch.len() as u64;
        let mut writer =
            ReplyWriter::open(questions.replies, questions.identity, price, batch.len());
        let mut on_answer = |i: usize, answer: Result<Answer, PluginFailure>| {
            let at = batch[i];
            match answer {
                Ok(answer) => {
                    writer.put(at, &questions.keys[at], &questions.requests[at], answer)?
                }
                Err(failure) => {
                    questions.answers[at] = Some(Err(failure));
                    n_done += 1;
                }
            }
            for (at, answer) in writer.kept(counters)? {
                questions.answers[at] = Some(Ok(answer));
                n_done += 1;
            }
            if said.elapsed() >= SAY {
                said = Instant::now();
                progress(n_done, total, UNIT)?;
            }
            Ok(())
        };
        let asked = clock.under_way(|| {
            judge.ask_each(
                &sent,
                concurrency,
                &mut |i, answer| match on_answer(i, answer) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        stopped = Some(error);
                        ControlFlow::Break(())
                    }
                },
            )
        });
        let (answers, cost) = writer.close(counters)?;
        *paid += cost;
        for (at, answer) in answers {
            questions.answers[at] = Some(Ok(answer));
        }
        for at in batch {
            if let Some(Err(failure)) = &questions.answers[*at] {
                self.count_failure(failure);
            }
        }
        if let Some(error) = stopped {
            return Err(error);
        }
        progress(total - questions.open().len() as u64, total, UNIT)?;
        asked.map_err(no_judge)
    }
}
