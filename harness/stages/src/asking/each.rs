//! Questions with what becomes of each.

use harness_contract::{outputs::Outcome, stages::JudgeRef};
use harness_engine::{
    error::CellError,
    plugin::{JudgeIdentity, Question},
};

use super::{Judges, outcome::outcome_of};
use crate::stage::Progress;

/// What became of a question.
pub(crate) struct Reply<T> {
    /// What its answer says.
    pub(crate) value: Option<T>,
    pub(crate) outcome: Outcome,
    /// Why there is no value.
    pub(crate) error: Option<String>,
}

impl Judges {
    /// Asks a judge, and reads its answers; a reply for each question, in their order. Where there
    /// is nothing to ask, the reason stands for the question.
    ///
    /// - `read`: what the answer to a question says, by the question's place
    ///
    /// # Errors
    /// As [`Judges::respondent`] and [`Judges::ask`].
    pub(crate) fn ask_each<T>(
        &mut self,
        judge: &JudgeRef,
        questions: Vec<Result<Question, &'static str>>,
        read: impl Fn(usize, &str) -> Result<T, String>,
        progress: Progress<'_>,
    ) -> Result<(JudgeIdentity, Vec<Reply<T>>), CellError> {
        let mut who = self.respondent(judge)?;
        let mut asked = Vec::new();
        let not_asked: Vec<Option<&str>> = (questions.into_iter())
            .map(|question| question.map(|question| asked.push(question)).err())
            .collect();
        let mut answers = self.ask(&mut who, &asked, progress)?.into_iter();
        let mut reply = |place, not_asked: Option<&str>| match not_asked.map(str::to_owned) {
            Some(why) => Err((Outcome::NotAsked, why)),
            None => match answers.next() {
                Some(Ok(answer)) => {
                    read(place, &answer.text).map_err(|error| (Outcome::Unparsed, error))
                }
                Some(Err(failure)) => Err((
                    outcome_of(&failure, who.identity.online),
                    failure.to_string(),
                )),
                None => Err((Outcome::Failed, "the question got no answer".to_owned())),
            },
        };
        let replies = (not_asked.into_iter().enumerate())
            .map(|(place, not_asked)| match reply(place, not_asked) {
                Ok(value) => Reply {
                    value: Some(value),
                    outcome: Outcome::Answered,
                    error: None,
                },
                Err((outcome, error)) => Reply {
                    value: None,
                    outcome,
                    error: Some(error),
                },
            })
            .collect();
        Ok((who.identity, replies))
    }
}
