//! What the fates of questions tell about the server: whether what failed one would fail all.

use harness_sdk::Error;

/// Questions in a row, with no answer to another in the meantime, after which a server that has
/// answered before is taken to be down.
const OUTAGES: u32 = 3;
/// The same for a server that has never answered.
const FIRST_OUTAGES: u32 = 2;
/// Attempts at a question after one that got no answer in all of its own.
const SECOND_ATTEMPTS: u32 = 2;
/// Questions that meet an error which may be everybody's, before any has been answered, after which
/// it is taken to be everybody's.
const DOUBTS: usize = 2;

/// What is known of a server from the questions so far.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Questions of which an end is known.
    n_heard: u64,
    /// Of them, answered.
    n_answered: u64,
    /// Outages since the last answer.
    n_outages: u32,
    /// Errors of questions that may be everybody's, while nothing has been answered.
    doubts: Vec<(usize, Error)>,
    /// Of these and earlier ones, in other calls.
    n_doubted: usize,
}

/// Answers there were when a question was sent.
#[derive(Clone, Copy, Debug)]
pub struct Began(u64);

impl Evidence {
    /// Whether the server has ever answered.
    pub fn has_answered(&self) -> bool {
        self.n_answered > 0
    }

    /// Requests that may be under way: the first goes alone, for what concerns all is found out by
    /// one, and what may concern all by another.
    pub fn limit(&self) -> usize {
        let is_calm = self.n_heard > 0 && self.n_outages == 0 && self.n_doubted == 0;
        match self.has_answered() || is_calm {
            true => usize::MAX,
            false if self.n_doubted >= DOUBTS => 0,
            false => 1,
        }
    }

    /// Attempts at a question at most: the second question to a server that has let the first wait
    /// in vain does not wait as long.
    pub fn attempts(&self, usual: u32) -> u32 {
        match !self.has_answered() && self.n_outages > 0 {
            true => usual.min(SECOND_ATTEMPTS),
            false => usual,
        }
    }

    /// A call begins. What was in doubt when an earlier one ended early is of its questions.
    pub fn begin_call(&mut self) {
        self.doubts.clear();
    }

    /// A question is sent.
    pub fn begin(&self) -> Began {
        Began(self.n_answered)
    }

    /// A question has its answer, or a failure of its own.
    pub fn heard(&mut self, is_answer: bool) {
        self.n_heard += 1;
        if is_answer {
            self.n_answered += 1;
            self.n_outages = 0;
            self.n_doubted = 0;
        }
    }

    /// A question got no answer in all its attempts; returned is what every further one would meet.
    pub fn outage(&mut self, began: Began, error: &Error) -> Option<Error> {
        self.n_heard += 1;
        if began.0 < self.n_answered {
            // Another was answered meanwhile.
            return None;
        }
        self.n_outages += 1;
        let most = match self.has_answered() {
            true => OUTAGES,
            false => FIRST_OUTAGES,
        };
        let n = self.n_outages;
        (n >= most).then(|| {
            let told = |text: &str| format!("{n} questions in a row got no answer: {text}");
            error.clone().map_message(told)
        })
    }

    /// A question has met an error that may be everybody's. Returned is the error where it is known
    /// to be the question's own.
    pub fn doubt(&mut self, i: usize, error: Error) -> Option<Error> {
        self.n_heard += 1;
        if self.has_answered() {
            return Some(error);
        }
        self.n_doubted += 1;
        self.doubts.push((i, error));
        None
    }

    /// Decides about what is in doubt, when nothing is under way: the errors that are of their
    /// questions alone. While another question is to tell, none is.
    ///
    /// # Errors
    /// One that is everybody's.
    pub fn settle(&mut self, is_last: bool) -> Result<Vec<(usize, Error)>, Error> {
        let is_everybodys = !self.has_answered() && self.n_doubted >= DOUBTS;
        match self.doubts.first() {
            Some((_, error)) if is_everybodys => {
                let error = error.clone();
                self.doubts.clear();
                self.n_doubted = 0;
                Err(error.hint("no question was answered: is this a model and a server for chat?"))
            }
            Some(_) if self.has_answered() || is_last => Ok(std::mem::take(&mut self.doubts)),
            _ => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_sdk::ErrorCode;

    fn error() -> Error {
        Error::new(ErrorCode::NETWORK, "m")
    }

    #[test]
    fn the_first_question_goes_alone() {
        let mut evidence = Evidence::default();
        assert_eq!(evidence.limit(), 1);
        evidence.heard(true);
        assert_eq!(evidence.limit(), usize::MAX);
    }

    #[test]
    fn outages_in_a_row_end_a_call_and_those_beside_answers_do_not() {
        let mut evidence = Evidence::default();
        let began = evidence.begin();
        assert!(evidence.outage(began, &error()).is_none());
        let end = evidence.outage(began, &error()).unwrap();
        assert!(end.message().contains("2 questions in a row"));
        evidence.heard(true);
        // These were under way while another was answered.
        for _ in 0..9 {
            assert!(evidence.outage(began, &error()).is_none());
        }
        let began = evidence.begin();
        assert!(evidence.outage(began, &error()).is_none());
        assert!(evidence.outage(began, &error()).is_none());
        assert!(evidence.outage(began, &error()).is_some());
    }

    #[test]
    fn a_doubt_is_settled_by_another_question() {
        let mut evidence = Evidence::default();
        assert!(evidence.doubt(0, error()).is_none());
        // Nothing is known yet, and one more is asked.
        assert_eq!(evidence.limit(), 1);
        assert!(evidence.settle(false).unwrap().is_empty());
        evidence.heard(true);
        assert_eq!(evidence.settle(false).unwrap().len(), 1);
        // Now errors are of their questions.
        assert!(evidence.doubt(3, error()).is_some());

        let mut evidence = Evidence::default();
        assert!(evidence.doubt(0, error()).is_none());
        assert!(evidence.doubt(1, error()).is_none());
        assert_eq!(evidence.limit(), 0);
        assert!(evidence.settle(false).is_err());

        // The only question there is tells nothing of others, and a second one in the next call
        // does.
        let mut evidence = Evidence::default();
        assert!(evidence.doubt(0, error()).is_none());
        assert_eq!(evidence.settle(true).unwrap().len(), 1);
        assert!(evidence.doubt(0, error()).is_none());
        assert!(evidence.settle(true).is_err());

        // A call that ends while one is in doubt leaves the next one no reply of its own.
        let mut evidence = Evidence::default();
        assert!(evidence.doubt(0, error()).is_none());
        evidence.begin_call();
        evidence.heard(true);
        assert!(evidence.settle(true).unwrap().is_empty());
    }
}
