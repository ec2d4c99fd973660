use std::sync::Arc;

use async_openai::{Client, config::OpenAIConfig};
use harness_sdk::{
    Error, ErrorCode, Judge, JudgeIdentity, JudgeReply, JudgeRequest, Result, Value,
};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    attempt,
    failure::Verdict,
    retry::{self, LONGEST},
    settings::Settings,
};

/// A chat model behind an OpenAI-compatible server.
pub struct OpenAi {
    settings: Arc<Settings>,
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
        })
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
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let client = attempt::client(&self.settings)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(run(
            &client,
            &self.settings,
            requests,
            max_concurrency.max(1),
        ))
    }
}

/// Answers all requests, at most `max_concurrency` at a time; the replies are in their order.
async fn run(
    client: &Client<OpenAIConfig>,
    settings: &Arc<Settings>,
    requests: &[JudgeRequest],
    max_concurrency: usize,
) -> Result<Vec<Result<JudgeReply>>> {
    let slots = Arc::new(Semaphore::new(max_concurrency.min(Semaphore::MAX_PERMITS)));
    let mut running = JoinSet::new();
    for (i, request) in requests.iter().enumerate() {
        let (client, settings) = (client.clone(), Arc::clone(settings));
        let (slots, request) = (Arc::clone(&slots), request.clone());
        running.spawn(async move {
            let Ok(_slot) = slots.acquire().await else {
                return (i, Outcome::Stop(lost()));
            };
            (i, answer(&client, &settings, &request).await)
        });
    }
    let mut replies: Vec<Result<JudgeReply>> = requests.iter().map(|_| Err(lost())).collect();
    while let Some(finished) = running.join_next().await {
        match finished? {
            (i, Outcome::Done(reply)) => replies[i] = reply,
            // Dropping the set ends the others: each would cost an attempt and fail alike.
            (_, Outcome::Stop(error)) => return Err(error),
        }
    }
    Ok(replies)
}

fn lost() -> Error {
    Error::new(ErrorCode::INTERNAL, "the request was never sent")
}

/// Answers one request, trying again where that may help.
async fn answer(
    client: &Client<OpenAIConfig>,
    settings: &Settings,
    request: &JudgeRequest,
) -> Outcome {
    let mut max_tokens = request.max_tokens;
    for attempt in 0.. {
        let failure = match attempt::attempt(client, settings, request, max_tokens).await {
            Ok(reply) => return Outcome::Done(Ok(reply)),
            Err(failure) => failure,
        };
        let verdict = failure.verdict();
        let asked = failure.retry_after();
        let is_last = attempt + 1 >= settings.attempts || asked.is_some_and(|wait| wait > LONGEST);
        match verdict {
            Verdict::Stop => return Outcome::Stop(failure.into_error(settings, attempt + 1)),
            Verdict::Again if !is_last => {}
            _ => return Outcome::Done(Err(failure.into_error(settings, attempt + 1))),
        }
        if failure.is_cut() {
            max_tokens = request.max_tokens.saturating_mul(2);
        }
        tokio::time::sleep(retry::wait(attempt, settings.backoff, asked, retry::draw())).await;
    }
    Outcome::Done(Err(lost()))
}

#[cfg(test)]
mod tests;
