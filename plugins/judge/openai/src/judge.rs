use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_openai::{Client, config::OpenAIConfig};
use harness_sdk::{
    BatchProgress, Error, ErrorCode, Judge, JudgeIdentity, JudgeReply, JudgeRequest, Result, Value,
};
use tokio::{runtime::Runtime, task::JoinSet, time::Instant};

use crate::{
    attempt::{self, Try},
    batch::Batches,
    failure::Verdict,
    pace::Pace,
    retry::{self, LONGEST},
    settings::Settings,
    shape::Shape,
};

/// Answers paid for one request at most; the interface promises the host no more than two.
const PAID_ANSWERS: u32 = 2;

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
}

/// What became of one request: its reply, its own error, or an error that every request would get.
enum Outcome {
    Done(Result<JudgeReply>),
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
    fn line(&mut self, most: usize) -> Result<&Line> {
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
        let run = run(&line.client, &settings, requests, &line.pace, on_reply);
        line.runtime.block_on(run)
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

/// Takes a reply to the request with a number; a break ends it.
pub type OnReply<'a> = &'a mut dyn FnMut(usize, Result<JudgeReply>) -> ControlFlow<()>;

/// Answers all requests, as many at a time as the pace allows, and hands each reply over when it is there.
async fn run(
    client: &Client<OpenAIConfig>,
    settings: &Arc<Settings>,
    requests: &[JudgeRequest],
    pace: &Mutex<Pace>,
    on_reply: OnReply<'_>,
) -> Result<()> {
    let mut waiting = requests.iter().enumerate();
    let mut running = JoinSet::new();
    let ending = Arc::new(AtomicBool::new(false));
    let mut why = None;
    loop {
        let limit = pace.lock().map_or(1, |pace| pace.limit());
        while why.is_none() && running.len() < limit {
            let Some((i, request)) = waiting.next() else {
                break;
            };
            let (client, settings) = (client.clone(), Arc::clone(settings));
            let (ending, request) = (Arc::clone(&ending), request.clone());
            running.spawn(async move { (i, answer(&client, &settings, &request, &ending).await) });
        }
        match running.join_next().await {
            None => return why.map_or(Ok(()), Err),
            Some(finished) => match finished? {
                (i, Outcome::Done(reply)) => {
                    if on_reply(i, reply).is_break() {
                        // Dropping the set ends the others.
                        return Ok(());
                    }
                }
                // Every further request would fail alike; those under way may be paid for, so they are waited for.
                (_, Outcome::Stop(error)) => {
                    ending.store(true, Ordering::Relaxed);
                    why.get_or_insert(error);
                }
            },
        }
    }
}

fn lost() -> Error {
    Error::new(ErrorCode::INTERNAL, "the request was never sent")
}

/// Answers one request, trying again where that may help, and not once the batch is `ending`.
async fn answer(
    client: &Client<OpenAIConfig>,
    settings: &Settings,
    request: &JudgeRequest,
    ending: &AtomicBool,
) -> Outcome {
    let deadline = Instant::now() + settings.total;
    let mut this = Try {
        max_tokens: request.max_tokens,
        shape: Shape::of(settings),
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
        // Not an attempt: the same request in a form that the server takes.
        if failure.is_objection()
            && let Some(shape) = this.shape.refused(settings)
        {
            this.shape = shape;
            continue;
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
        let is_last = attempts >= settings.attempts
            || answers >= PAID_ANSWERS
            || asked.is_some_and(|wait| wait > LONGEST)
            || wait >= left
            || ending.load(Ordering::Relaxed);
        match failure.verdict() {
            Verdict::Stop => return Outcome::Stop(failure.into_error(settings, attempts)),
            Verdict::Again if !is_last => {}
            _ => return Outcome::Done(Err(failure.into_error(settings, attempts))),
        }
        if failure.is_cut() {
            this.max_tokens = request.max_tokens.saturating_mul(2);
        }
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_batch;
