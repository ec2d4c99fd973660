use std::ops::ControlFlow;

use abi_stable::std_types::{ROption, RResult, RSlice, RStr, RString, RVec};
use harness_abi::{self as abi, AbiResult, JudgeBox, JudgeTask, ReplySinkMut};

use crate::{Error, Result, Value, bridge::Bridge};

/// One message of a rendered prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text as it is sent, without any markup of the host.
    pub content: String,
}

/// One question. An offline judge reads `payload`, an LLM reads `messages`.
#[derive(Clone, Debug)]
pub struct JudgeRequest {
    /// Returned with the reply.
    pub id: String,
    /// What is asked.
    pub task: JudgeTask,
    /// The question's data; see [`JudgeTask`].
    pub payload: Value,
    /// The question as a prompt.
    pub messages: Vec<Message>,
    /// Most tokens of an answer. An answer that is cut or unusable may be paid for once more, with
    /// at most twice as many.
    pub max_tokens: u32,
    /// Of the sampling; 0 asks for the likeliest answer.
    pub temperature: f64,
}

/// What a judge answers to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeReply {
    /// The request's id.
    pub id: String,
    /// The answer: JSON as the task says.
    pub text: String,
    /// Tokens paid for, those of unusable answers before this one included; 0 offline.
    pub tokens_in: u64,
    /// As `tokens_in`, for what was answered.
    pub tokens_out: u64,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeIdentity {
    /// Model or method with its version, e.g. `lexical-1`.
    pub model: String,
    /// Whether results may be compared with the paper's judge.
    pub comparable_with_paper: bool,
    /// Whether answering needs the network.
    pub online: bool,
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchProgress {
    /// Nothing more will come, for whatever reason.
    pub is_ended: bool,
    /// Questions with an answer or an error, as far as the server says.
    pub done: u64,
    /// Questions in all.
    pub total: u64,
}

/// Answers questions about texts.
pub trait Judge: Send + 'static {
    /// A component of this name with its configuration.
    ///
    /// # Errors
    /// A configuration it does not understand.
    fn new(name: &str, config: &Value) -> Result<Self>
    where
        Self: Sized;

    /// Who answers: part of every cached reply's key.
    ///
    /// # Errors
    /// Missing configuration of an online judge.
    fn identity(&self) -> Result<JudgeIdentity>;

    /// Answers every request, in order; a failed one does not fail the others.
    ///
    /// # Errors
    /// Only what concerns all of them, such as wrong credentials or a server that is down: the host
    /// ends the run. `AUTH` and `CONFIG` of one request mean the same.
    fn complete(
        &mut self,
        requests: &[JudgeRequest],
        max_concurrency: usize,
    ) -> Result<Vec<Result<JudgeReply>>>;

    /// As [`Judge::complete`], but each reply is handed to `on_reply` with the index of its request
    /// the moment it is there, in any order and once. After [`ControlFlow::Break`] nothing further
    /// is sent or waited for. Judges that cost money or time answer it themselves, so that nothing
    /// is lost when a run is ended; the default hands over what `complete` returns.
    ///
    /// # Errors
    /// As [`Judge::complete`]; replies that were handed over stay.
    fn complete_each(
        &mut self,
        requests: &[JudgeRequest],
        max_concurrency: usize,
        on_reply: &mut dyn FnMut(usize, Result<JudgeReply>) -> ControlFlow<()>,
    ) -> Result<()> {
        let replies = counted(requests, self.complete(requests, max_concurrency)?)?;
        for (index, reply) in replies.into_iter().enumerate() {
            if on_reply(index, reply).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Hands questions over as one batch that is answered later, and returns the ticket to
    /// [`Judge::poll`] with. The ids of the requests differ, and they carry messages and no
    /// payload. `tag` is the host's own name of the batch: keep it with the batch where the server
    /// can, so that [`Judge::find`] finds it; the host asks only for batches it cannot find.
    ///
    /// # Errors
    /// `UNSUPPORTED` from a judge without batches, which is the default; `NETWORK` where the server
    /// may have taken the batch all the same; anything else says that it has not.
    fn submit(&mut self, requests: &[JudgeRequest], tag: &str) -> Result<String> {
        let _ = (requests, tag);
        Err(no_batches())
    }

    /// The ticket of the batch with this tag, where the server has one: the host may have ended
    /// before it could keep the ticket, and must not pay for a second batch.
    ///
    /// # Errors
    /// As [`Judge::submit`].
    fn find(&mut self, tag: &str) -> Result<Option<String>> {
        let _ = tag;
        Err(no_batches())
    }

    /// How far a batch is, without waiting. Once it has ended, however it ended, `on_reply` gets
    /// one reply or error for each of the requests, which are given as they were submitted; before
    /// that it gets nothing.
    ///
    /// # Errors
    /// As [`Judge::submit`]; the batch stays as it is.
    fn poll(
        &mut self,
        ticket: &str,
        requests: &[JudgeRequest],
        on_reply: &mut dyn FnMut(usize, Result<JudgeReply>) -> ControlFlow<()>,
    ) -> Result<BatchProgress> {
        let _ = (ticket, requests, on_reply);
        Err(no_batches())
    }

    /// What was learnt of the server by its refusals, and is asked otherwise since: a line each, in
    /// the order it was learnt. The host tells it and keeps it with the run.
    fn learnt(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Replies, one for each request.
fn counted(
    requests: &[JudgeRequest],
    replies: Vec<Result<JudgeReply>>,
) -> Result<Vec<Result<JudgeReply>>> {
    if replies.len() == requests.len() {
        return Ok(replies);
    }
    Err(Error::invalid(format!(
        "{} requests got {} replies",
        requests.len(),
        replies.len()
    )))
}

fn no_batches() -> Error {
    Error::unsupported("this judge has no batches").hint("ask it one question at a time")
}

/// Wraps an author's judge for the boundary.
pub fn boxed<T: Judge>(name: &str, config: &Value) -> Result<JudgeBox> {
    let bridge = Bridge::new(name, Box::new(T::new(name, config)?));
    Ok(JudgeBox::from_value(
        bridge,
        abi_stable::sabi_trait::TD_Opaque,
    ))
}

impl<T: Judge> abi::Judge for Bridge<T> {
    fn identity(&self) -> AbiResult<abi::JudgeIdentity> {
        self.with("identity", |judge| {
            let identity = judge.identity()?;
            Ok(abi::JudgeIdentity {
                model: identity.model.into(),
                comparable_with_paper: identity.comparable_with_paper,
                online: identity.online,
            })
        })
    }

    fn complete(
        &mut self,
        requests: RSlice<'_, abi::JudgeRequest>,
        max_concurrency: u32,
    ) -> AbiResult<RVec<AbiResult<abi::JudgeReply>>> {
        self.with_mut("complete", |judge| {
            let requests = requests.iter().map(request).collect::<Result<Vec<_>>>()?;
            let replies = judge.complete(&requests, usize::try_from(max_concurrency)?)?;
            let replies = counted(&requests, replies)?;
            Ok(replies.into_iter().map(reply).collect())
        })
    }

    fn complete_each(
        &mut self,
        requests: RSlice<'_, abi::JudgeRequest>,
        max_concurrency: u32,
        mut sink: ReplySinkMut<'_>,
    ) -> AbiResult<()> {
        self.with_mut("complete_each", |judge| {
            let requests = requests.iter().map(request).collect::<Result<Vec<_>>>()?;
            let mut hand_over = |index: usize, result| match sink.reply(index as u64, reply(result))
            {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            };
            judge.complete_each(&requests, usize::try_from(max_concurrency)?, &mut hand_over)
        })
    }

    fn submit(
        &mut self,
        requests: RSlice<'_, abi::JudgeRequest>,
        tag: RStr<'_>,
    ) -> AbiResult<RString> {
        self.with_mut("submit", |judge| {
            let requests = requests.iter().map(request).collect::<Result<Vec<_>>>()?;
            Ok(judge.submit(&requests, tag.as_str())?.into())
        })
    }

    fn find(&mut self, tag: RStr<'_>) -> AbiResult<ROption<RString>> {
        self.with_mut("find", |judge| {
            let ticket = judge.find(tag.as_str())?;
            Ok(ticket.map(RString::from).into())
        })
    }

    fn poll(
        &mut self,
        ticket: RStr<'_>,
        requests: RSlice<'_, abi::JudgeRequest>,
        mut sink: ReplySinkMut<'_>,
    ) -> AbiResult<abi::BatchProgress> {
        self.with_mut("poll", |judge| {
            let requests = requests.iter().map(request).collect::<Result<Vec<_>>>()?;
            let mut hand_over = |index: usize, result| match sink.reply(index as u64, reply(result))
            {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            };
            let progress = judge.poll(ticket.as_str(), &requests, &mut hand_over)?;
            Ok(abi::BatchProgress {
                state: match progress.is_ended {
                    true => abi::BatchState::ENDED,
                    false => abi::BatchState::RUNNING,
                },
                done: progress.done,
                total: progress.total,
            })
        })
    }

    fn learnt(&self) -> AbiResult<RVec<RString>> {
        self.with("learnt", |judge| {
            Ok(judge.learnt().into_iter().map(RString::from).collect())
        })
    }
}

fn request(raw: &abi::JudgeRequest) -> Result<JudgeRequest> {
    Ok(JudgeRequest {
        id: raw.id.to_string(),
        task: raw.task,
        payload: serde_json::from_str(&raw.payload_json)?,
        messages: raw
            .messages
            .iter()
            .map(|message| Message {
                role: message.role.to_string(),
                content: message.content.to_string(),
            })
            .collect(),
        max_tokens: raw.max_tokens,
        temperature: raw.temperature,
    })
}

fn reply(reply: Result<JudgeReply>) -> AbiResult<abi::JudgeReply> {
    match reply {
        Ok(reply) => RResult::ROk(abi::JudgeReply {
            id: reply.id.into(),
            text: reply.text.into(),
            tokens_in: reply.tokens_in,
            tokens_out: reply.tokens_out,
        }),
        Err(error) => RResult::RErr(error.into_abi()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with the request's id, and fails on every third.
    struct Echo {
        drops_one: bool,
    }

    impl Judge for Echo {
        fn new(_name: &str, config: &Value) -> Result<Self> {
            Ok(Self {
                drops_one: config["drops_one"] == true,
            })
        }

        fn identity(&self) -> Result<JudgeIdentity> {
            Err(Error::unsupported("nobody"))
        }

        fn complete(
            &mut self,
            requests: &[JudgeRequest],
            _max_concurrency: usize,
        ) -> Result<Vec<Result<JudgeReply>>> {
            let answer = |(i, request): (usize, &JudgeRequest)| match i % 3 {
                2 => Err(Error::invalid("no")),
                _ => Ok(JudgeReply {
                    id: request.id.clone(),
                    text: "{}".to_owned(),
                    tokens_in: 1,
                    tokens_out: 2,
                }),
            };
            let replies = requests.iter().enumerate().map(answer);
            Ok(replies.skip(usize::from(self.drops_one)).collect())
        }
    }

    struct Kept {
        seen: Vec<(u64, bool)>,
        most: usize,
    }

    impl abi::ReplySink for Kept {
        fn reply(&mut self, index: u64, reply: AbiResult<abi::JudgeReply>) -> bool {
            self.seen.push((index, reply.is_ok()));
            self.seen.len() < self.most
        }
    }

    fn ask(config: Value, n: usize, most: usize) -> (AbiResult<()>, Vec<(u64, bool)>) {
        let requests: Vec<abi::JudgeRequest> = (0..n)
            .map(|i| abi::JudgeRequest {
                id: i.to_string().into(),
                task: JudgeTask::EXPLAIN,
                payload_json: "{}".into(),
                messages: RVec::new(),
                max_tokens: 1,
                temperature: 0.0,
            })
            .collect();
        let mut kept = Kept {
            seen: Vec::new(),
            most,
        };
        let sink = ReplySinkMut::from_ptr(
            abi_stable::RMut::new(&mut kept),
            abi_stable::sabi_trait::TD_Opaque,
        );
        let mut judge = boxed::<Echo>("echo", &config).unwrap();
        let result = judge.complete_each(RSlice::from_slice(&requests), 4, sink);
        (result, kept.seen)
    }

    #[test]
    fn a_judge_without_a_stream_hands_its_replies_over_one_by_one() {
        let (result, seen) = ask(Value::Object(Default::default()), 4, 9);
        assert!(result.is_ok());
        assert_eq!(seen, [(0, true), (1, true), (2, false), (3, true)]);
    }

    #[test]
    fn a_sink_that_has_enough_gets_no_more() {
        let (result, seen) = ask(Value::Object(Default::default()), 4, 2);
        assert!(result.is_ok());
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn a_judge_without_batches_says_so() {
        let mut judge = boxed::<Echo>("echo", &Value::Object(Default::default())).unwrap();
        let RResult::RErr(error) = judge.submit(RSlice::from_slice(&[]), "tag".into()) else {
            panic!("a batch of a judge that has none");
        };
        assert_eq!(error.code, abi::ErrorCode::UNSUPPORTED);
        assert!(judge.find("tag".into()).is_err());
    }

    #[test]
    fn a_missing_reply_is_an_error_and_nothing_is_handed_over() {
        let (result, seen) = ask(serde_json::json!({"drops_one": true}), 3, 9);
        let RResult::RErr(error) = result else {
            panic!("two replies for three requests");
        };
        assert!(error.message.contains("3 requests got 2 replies"));
        assert!(seen.is_empty());
    }
}
