use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_openai::{Client, config::OpenAIConfig};
use harness_sdk::{
    BatchProgress, Error, ErrorCode, Judge, JudgeIdentity, JudgeReply, JudgeRequest, Result, Value,
};
use tokio::{runtime::Runtime, task::JoinSet, time::Instant};

use crate::{
    attempt::{self, Try},
    batch::{Batches, OnReply},
    evidence::Evidence,
    failure::{Failure, Verdict},
    form::Form,
    pace::Pace,
    retry::{self, LONGEST},
    settings::Settings,
};

/// Answers paid for one request at most; the interface promises the host no more than two.
const PAID_ANSWERS: u32 = 2;
/// How often a request that waits for its next attempt looks whether the batch is ending.
const LOOK: Duration = Duration::from_millis(100);

/// A chat model behind an OpenAI-compatible server.
pub struct OpenAi {
    settings: Arc<Settings>,
    /// From the first request on.
    line: Option<Line>,
}

/// What stays between calls: connections, and what was learnt of the server's pace.
struct Line {
    runtime: Runtime,
    http: reqwest::Client,
    client: Client<OpenAIConfig>,
    pace: Arc<Mutex<Pace>>,
    evidence: Evidence,
}

/// What became of one request.
enum Outcome {
    /// Its reply, or its own error.
    Done(Result<JudgeReply>),
    /// The server gave no answer in all attempts.
    Outage(Error),
    /// An error that may be its own or everybody's.
    Doubt(Error),
    /// An error that every request would get.
    Stop(Error),
}

impl OpenAi {
    fn with_env(config: &Value, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        Ok(Self {
            settings: Arc::new(Settings::resolve(config, env)?),
            line: None,
        })
    }

    /// The line to the server, with so many requests under way at most.
    fn line(&mut self, most: usize) -> Result<&mut Line> {
        let line = match self.line.take() {
            Some(line) => line,
            None => {
                let pace = Arc::new(Mutex::new(Pace::new(most)));
                let http = attempt::connections(&self.settings)?;
                Line {
                    client: attempt::client(&self.settings, &http, &pace)?,
                    runtime: tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()?,
                    http,
                    pace,
                    evidence: Evidence::default(),
                }
            }
        };
        if let Ok(mut pace) = line.pace.lock() {
            pace.allow(most);
        }
        Ok(self.line.insert(line))
    }
}

impl Judge for OpenAi {
    fn new(_name: &str, config: &Value) -> Result<Self> {
        Self::with_env(config, |name| std::env::var(name).ok())
    }

    fn identity(&self) -> Result<JudgeIdentity> {
        Ok(JudgeIdentity {
            model: self.settings.identity(),
            comparable_with_paper: self.settings.is_papers_judge(),
            online: true,
        })
    }

    fn complete(
        &mut self,
        requests: &[JudgeRequest],
        max_concurrency: usize,
    ) -> Result<Vec<Result<JudgeReply>>> {
        let mut replies: Vec<Result<JudgeReply>> = requests.iter().map(|_| Err(lost())).collect();
        self.complete_each(requests, max_concurrency, &mut |i, reply| {
            replies[i] = reply;
            ControlFlow::Continue(())
        })?;
        Ok(replies)
    }

    fn complete_each(
        &mut self,
        requests: &[JudgeRequest],
        max_concurrency: usize,
        on_reply: OnReply<'_>,
    ) -> Result<()> {
        if requests.is_empty() {
            return Ok(());
        }
        let settings = Arc::clone(&self.settings);
        let line = self.line(max_concurrency)?;
        let run = Run {
            client: &line.client,
            settings: &settings,
            pace: &line.pace,
            evidence: &mut line.evidence,
            ending: Arc::new(AtomicBool::new(false)),
            why: None,
        };
        line.runtime.block_on(run.ask(requests, on_reply))
    }

    fn learnt(&self) -> Vec<String> {
        Form::learnt(&self.settings)
    }

    fn submit(&mut self, requests: &[JudgeRequest], tag: &str) -> Result<String> {
        let settings = Arc::clone(&self.settings);
        let line = self.line(1)?;
        let batches = Batches::new(&line.http, &settings);
        line.runtime.block_on(batches.submit(requests, tag))
    }

    fn find(&mut self, tag: &str) -> Result<Option<String>> {
        let settings = Arc::clone(&self.settings);
        let line = self.line(1)?;
        let batches = Batches::new(&line.http, &settings);
        line.runtime.block_on(batches.find(tag))
    }

    fn poll(
        &mut self,
        ticket: &str,
        requests: &[JudgeRequest],
        on_reply: OnReply<'_>,
    ) -> Result<BatchProgress> {
        let settings = Arc::clone(&self.settings);
        let line = self.line(1)?;
        let batches = Batches::new(&line.http, &settings);
        line.runtime
            .block_on(batches.poll(ticket, requests, on_reply))
    }
}

/// Requests of one call.
struct Run<'a> {
    client: &'a Client<OpenAIConfig>,
    settings: &'a Arc<Settings>,
    pace: &'a Mutex<Pace>,
    evidence: &'a mut Evidence,
    /// Whether nothing further is sent.
    ending: Arc<AtomicBool>,
    why: Option<Error>,
}

impl Run<'_> {
    /// Answers all requests, as many at a time as the pace allows, and hands each reply over when
    /// it is there.
    async fn ask(mut self, requests: &[JudgeRequest], on_reply: OnReply<'_>) -> Result<()> {
        self.evidence.begin_call();
        let mut waiting = requests.iter().enumerate();
        let mut running = JoinSet::new();
        loop {
            while self.why.is_none() && running.len() < self.limit() {
                let Some((i, request)) = waiting.next() else {
                    break;
                };
                let (client, settings) = (self.client.clone(), Arc::clone(self.settings));
                let (ending, request) = (Arc::clone(&self.ending), request.clone());
                let began = self.evidence.begin();
                let patience = Patience {
                    has_answered: self.evidence.has_answered(),
                    attempts: self.evidence.attempts(settings.attempts),
                };
                running.spawn(async move {
                    let asked = answer(&client, &settings, &request, patience, &ending);
                    (i, began, asked.await)
                });
            }
            let Some(finished) = running.join_next().await else {
                // Nothing is under way: what was in doubt is decided, or another question has to
                // tell.
                let settled = self.evidence.settle(waiting.len() == 0);
                for (i, error) in settled.map_err(|error| self.why.take().unwrap_or(error))? {
                    if on_reply(i, Err(error)).is_break() {
                        return Ok(());
                    }
                }
                match self.why.take() {
                    Some(error) => return Err(error),
                    None if waiting.len() == 0 => return Ok(()),
                    None => continue,
                }
            };
            let (i, began, outcome) = finished?;
            let reply = match outcome {
                Outcome::Done(reply) => {
                    self.evidence.heard(reply.is_ok());
                    reply
                }
                Outcome::Outage(error) => {
                    if let Some(error) = self.evidence.outage(began, &error) {
                        self.end(error);
                    }
                    Err(error)
                }
                Outcome::Doubt(error) => match self.evidence.doubt(i, error) {
                    Some(error) => Err(error),
                    None => continue,
                },
                // Every further request would fail alike; those under way may be paid for, so they
                // are waited for.
                Outcome::Stop(error) => {
                    self.end(error);
                    continue;
                }
            };
            if on_reply(i, reply).is_break() {
                // Dropping the set ends the others.
                return Ok(());
            }
        }
    }

    /// Requests that may be under way now.
    fn limit(&self) -> usize {
        let pace = self.pace.lock().map_or(1, |pace| pace.limit());
        pace.min(self.evidence.limit())
    }

    fn end(&mut self, error: Error) {
        self.ending.store(true, Ordering::Relaxed);
        self.why.get_or_insert(error);
    }
}

fn lost() -> Error {
    Error::new(ErrorCode::INTERNAL, "the request was never sent")
}

/// How long a server is tried, from what is known of it.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Whether it has ever answered: where it has not, fewer attempts find out that it will not.
    has_answered: bool,
    /// Attempts at most.
    attempts: u32,
}

/// Answers one request, trying again where that may help, and not once the batch is `ending`.
async fn answer(
    client: &Client<OpenAIConfig>,
    settings: &Settings,
    request: &JudgeRequest,
    patience: Patience,
    ending: &AtomicBool,
) -> Outcome {
    let deadline = Instant::now() + settings.total;
    let mut this = Try {
        max_tokens: request.max_tokens,
        form: Form::of(settings),
        timeout: settings.timeout,
    };
    let (mut attempts, mut answers) = (0, 0);
    let (mut tokens_in, mut tokens_out) = (0, 0);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        this.timeout = settings.timeout.min(left);
        let failure = match attempt::attempt(client, settings, request, this).await {
            Ok(mut reply) => {
                reply.tokens_in += tokens_in;
                reply.tokens_out += tokens_out;
                return Outcome::Done(Ok(reply));
            }
            Err(failure) => failure,
        };
        let mut verdict = failure.verdict();
        if let Some((field, said)) = failure.objection(this.form) {
            match this.form.refused(field, settings, said) {
                // Not an attempt: the same request in a form that the server takes.
                Some(form) => {
                    this.form = form;
                    continue;
                }
                None => verdict = Verdict::Stop,
            }
        }
        attempts += 1;
        if let Some((sent, received)) = failure.paid() {
            answers += 1;
            tokens_in += sent;
            tokens_out += received;
        }
        let asked = failure.retry_after();
        let wait = retry::wait(attempts - 1, settings.backoff, asked, retry::draw());
        let left = deadline.saturating_duration_since(Instant::now());
        let most = failure.most_attempts(patience.attempts, patience.has_answered);
        let is_last = attempts >= most
            || answers >= PAID_ANSWERS
            || asked.is_some_and(|wait| wait > LONGEST)
            || wait >= left
            || ending.load(Ordering::Relaxed);
        if verdict == Verdict::Again && !is_last {
            if failure.is_cut() {
                this.max_tokens = request.max_tokens.saturating_mul(2);
            }
            pause(wait, ending).await;
            continue;
        }
        return ended(failure, verdict, patience.has_answered, settings, attempts);
    }
}

/// What became of a request whose last attempt failed.
fn ended(
    failure: Failure,
    verdict: Verdict,
    has_answered: bool,
    settings: &Settings,
    attempts: u32,
) -> Outcome {
    let (is_outage, is_lost) = (failure.is_outage(), failure.is_lost());
    let error = failure.into_error(settings, attempts);
    match verdict {
        Verdict::Stop => Outcome::Stop(error),
        // Nobody has ever come through to this server: the next question would not either.
        _ if is_lost && !has_answered => Outcome::Stop(error),
        Verdict::Doubt => Outcome::Doubt(error),
        _ if is_outage => Outcome::Outage(error),
        _ => Outcome::Done(Err(error)),
    }
}

/// Waits, and no longer once the batch is ending.
async fn pause(wait: Duration, ending: &AtomicBool) {
    let until = Instant::now() + wait;
    while !ending.load(Ordering::Relaxed) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_batch;
