//! What a session holds of judges: those that were asked, and how far cells are that ask together.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use harness_contract::{protocol::Failure, stages::JudgeRef};

use crate::plugin::{Answer, Judge, JudgeIdentity, PluginFailure, Question};

/// Judges that were asked before: what they have learnt of their server's pace holds for the next
/// cell.
#[derive(Default)]
pub(in crate::run) struct Judges {
    pub(super) known: Vec<(JudgeRef, Shared)>,
    /// What they have learnt of their servers and was told.
    told: BTreeSet<String>,
}

/// A judge that cells ask one after the other.
pub(super) type Shared = Rc<RefCell<Judge>>;

impl Judges {
    /// What they have learnt since the last call.
    pub(in crate::run) fn take_learnt(&mut self) -> Vec<String> {
        let learnt: Vec<String> = (self.known.iter())
            .flat_map(|(_, judge)| judge.borrow().learnt())
            .collect();
        let told = &mut self.told;
        let is_new = |line: &String| told.insert(line.clone());
        learnt.into_iter().filter(is_new).collect()
    }

    /// After a panic an instance is not used again.
    pub(super) fn forget(&mut self, judge: &Shared) {
        self.known.retain(|(_, known)| !Rc::ptr_eq(known, judge));
    }
}

/// Who answers the questions of a cell.
#[derive(Clone)]
pub(in crate::run) struct Respondent {
    pub(in crate::run) identity: JudgeIdentity,
    /// `None` answers from kept replies alone.
    pub(super) judge: Option<Shared>,
}

impl Respondent {
    /// Whether both are one instance of a judge.
    pub(super) fn is_same(&self, other: &Respondent) -> bool {
        match (&self.judge, &other.judge) {
            (Some(a), Some(b)) => Rc::ptr_eq(a, b),
            (None, None) => self.identity == other.identity,
            _ => false,
        }
    }
}

/// Where cells that ask together stand: each is run twice.
pub(in crate::run) enum TwoPass {
    /// In the first pass their questions are collected, and each cell ends at them.
    Collect(Vec<Asked>),
    /// In the second pass everything was asked.
    Answer {
        /// Answers by the key of their question.
        answers: BTreeMap<String, Result<Answer, PluginFailure>>,
        /// Why some questions have none.
        failure: Option<Failure>,
    },
}

/// What one cell asks.
pub(in crate::run) struct Asked {
    pub(super) who: Respondent,
    pub(super) questions: Vec<Question>,
}
