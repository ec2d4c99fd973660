use abi_stable::{
    RMut, StableAbi, sabi_trait,
    std_types::{RBox, ROption, RResult, RSlice, RStr, RString, RVec},
};

use crate::{AbiResult, ErrorCode, PluginError};

/// What a request asks for. An offline judge answers from `payload_json`, an LLM from `messages`.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgeTask(pub u32);

impl JudgeTask {
    /// Explain a latent from its contexts. Payload `{"contexts":[{"tokens":[..],"acts":[..]}]}`,
    /// where tokens that the model did not see have their places in `masked`; answer
    /// `{"explanation": ".."}`.
    pub const EXPLAIN: Self = Self(1);
    /// Score how strongly two texts express a concept, 0 to 100. Payload
    /// `{"concept":"..","text_before":"..","text_after":".."}`; answer
    /// `{"score_without": x, "score_after": y}`.
    pub const CONCEPT_PAIR: Self = Self(2);
    /// Which windows activate a latent. Payload `{"explanation":"..","windows":[".."]}`, where some
    /// tokens were hidden from the model with the same texts in `marked`, those between `[[` and
    /// `]]`; answer `{"active":[indices]}`.
    pub const PREDICT_WINDOWS: Self = Self(3);
}

/// One message of a rendered prompt.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: RString,
    /// The text as it is sent, without any markup of the host.
    pub content: RString,
}

/// A question, both as data and as a prompt.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct JudgeRequest {
    /// Returned with the reply.
    pub id: RString,
    /// What is asked.
    pub task: JudgeTask,
    /// The question's data as JSON.
    pub payload_json: RString,
    /// The question as a prompt.
    pub messages: RVec<Message>,
    /// Most tokens of an answer. A judge that finds an answer cut or unusable may pay for one more,
    /// of at most twice as many.
    pub max_tokens: u32,
    /// Of the sampling; 0 asks for the likeliest answer.
    pub temperature: f64,
}

/// What a judge answers to one request.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct JudgeReply {
    /// The request's id.
    pub id: RString,
    /// The answer: JSON as the task says.
    pub text: RString,
    /// Tokens paid for, those of unusable answers before this one included; 0 offline.
    pub tokens_in: u64,
    /// As `tokens_in`, for what was answered.
    pub tokens_out: u64,
}

/// Who answers: part of every cached reply's key.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct JudgeIdentity {
    /// Model or method with its version, e.g. `lexical-1`.
    pub model: RString,
    /// Whether results may be compared with the paper's judge.
    pub comparable_with_paper: bool,
    /// Whether answering needs the network.
    pub online: bool,
}

/// Takes replies as they come. It lives as long as the call it is given to, and is used by the
/// thread of that call.
#[sabi_trait]
pub trait ReplySink {
    /// Takes the reply to the request at `index`; each index comes once. `false` asks the judge to
    /// send nothing further and to wait for nothing: it returns as soon as it can. Since 1.1.
    #[sabi(last_prefix_field)]
    fn reply(&mut self, index: u64, reply: AbiResult<JudgeReply>) -> bool;
}

/// Borrowed sink.
pub type ReplySinkMut<'a> = ReplySink_TO<'a, RMut<'a, ()>>;

/// Whether a batch is still worked on; a state that is not known here means that it is. Since 1.2.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchState(pub u32);

impl BatchState {
    /// Answers may still come.
    pub const RUNNING: Self = Self(1);
    /// Nothing more will come, for whatever reason: each question has its reply or its error.
    pub const ENDED: Self = Self(2);
}

/// How far a batch is. Since 1.2.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchProgress {
    /// Whether it has ended.
    pub state: BatchState,
    /// Questions with an answer or an error, as far as the server says.
    pub done: u64,
    /// Questions in all.
    pub total: u64,
}

/// What a judge without batches answers.
fn no_batches<T>() -> AbiResult<T> {
    RResult::RErr(PluginError {
        code: ErrorCode::UNSUPPORTED,
        message: "this judge has no batches".into(),
        hint: "ask it one question at a time".into(),
        retry_after_ms: 0,
    })
}

/// Answers questions about texts.
#[sabi_trait]
pub trait Judge: Send {
    /// Who answers.
    fn identity(&self) -> AbiResult<JudgeIdentity>;

    /// Answers every request, in order; one failed request does not fail the others. An error of
    /// the call, and the error `AUTH` or `CONFIG` of a request, would meet every further request,
    /// too: the host ends the run.
    #[sabi(last_prefix_field)]
    fn complete(
        &mut self,
        requests: RSlice<'_, JudgeRequest>,
        max_concurrency: u32,
    ) -> AbiResult<RVec<AbiResult<JudgeReply>>>;

    /// As `complete`, but each reply is handed over the moment it is there, in any order, so that a
    /// judge that is ended early has lost no reply. Since 1.1; without it `complete` answers, and
    /// the replies are handed over together.
    fn complete_each(
        &mut self,
        requests: RSlice<'_, JudgeRequest>,
        max_concurrency: u32,
        mut sink: ReplySinkMut<'_>,
    ) -> AbiResult<()> {
        match self.complete(requests, max_concurrency) {
            RResult::ROk(replies) => {
                for (index, reply) in (0_u64..).zip(replies) {
                    if !sink.reply(index, reply) {
                        break;
                    }
                }
                RResult::ROk(())
            }
            RResult::RErr(error) => RResult::RErr(error),
        }
    }

    /// Hands questions over as one batch that is answered later, and returns the ticket it is asked
    /// for with. The ids of the requests differ, and they carry messages and no payload. `tag` is
    /// the caller's own name of the batch, kept with it; no batch with this tag exists before. An
    /// error other than `NETWORK` says that the server has not taken it. Since 1.2; without it
    /// `UNSUPPORTED`.
    fn submit(
        &mut self,
        _requests: RSlice<'_, JudgeRequest>,
        _tag: RStr<'_>,
    ) -> AbiResult<RString> {
        no_batches()
    }

    /// The ticket of the batch with this tag, where the server has one: for a caller that ended
    /// before it could keep the ticket. Since 1.2; without it `UNSUPPORTED`.
    fn find(&mut self, _tag: RStr<'_>) -> AbiResult<ROption<RString>> {
        no_batches()
    }

    /// How far a batch is. Once it has ended, however it ended, this hands over one reply or error
    /// for each of its requests, which are given as they were submitted; before that it hands over
    /// nothing. An error that may pass leaves the batch as it is. It does not wait. Since 1.2;
    /// without it `UNSUPPORTED`.
    fn poll(
        &mut self,
        _ticket: RStr<'_>,
        _requests: RSlice<'_, JudgeRequest>,
        _sink: ReplySinkMut<'_>,
    ) -> AbiResult<BatchProgress> {
        no_batches()
    }

    /// What the judge has learnt of its server by the server's refusals, and asks otherwise since:
    /// a line each, in the order it was learnt. The host tells it and keeps it with the run. Since
    /// 1.3; without it nothing.
    fn learnt(&self) -> AbiResult<RVec<RString>> {
        RResult::ROk(RVec::new())
    }
}

/// A judge as it crosses the boundary.
pub type JudgeBox = Judge_TO<'static, RBox<()>>;
