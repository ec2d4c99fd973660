//! Judges that were asked, and how far cells are that ask together.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use harness_contract::{
    protocol::{Counters, Failure, Judging},
    stages::JudgeRef,
};
use harness_engine::plugin::{Answer, Judge, JudgeIdentity, PluginFailure, Question, Registry};

use super::unanswered::Unanswered;

/// The asking of judges. An instance that was asked is kept: what it has learnt of its server's
/// pace holds for the next cell.
pub(crate) struct Judges {
    pub(super) registry: Rc<Registry>,
    pub(super) judging: Judging,
    pub(super) known: Vec<(JudgeRef, Shared)>,
    /// What they have learnt of their servers and was told.
    told: BTreeSet<String>,
    /// Cells that ask together; `None` where each asks by itself.
    pub(super) two_pass: Option<TwoPass>,
    /// What the cell under way has asked and paid.
    pub(crate) counters: Counters,
    /// Questions of the cell under way that have no answer for reasons outside.
    pub(super) unanswered: Unanswered,
}

/// A judge that cells ask one after the other.
pub(super) type Shared = Rc<RefCell<Judge>>;

impl Judges {
    /// None was asked yet.
    pub(crate) fn new(registry: Rc<Registry>, judging: Judging) -> Self {
        Self {
            registry,
            judging,
            known: Vec::new(),
            told: BTreeSet::new(),
            two_pass: None,
            counters: Counters::default(),
            unanswered: Unanswered::default(),
        }
    }

    /// A cell begins.
    pub(crate) fn begin(&mut self) {
        self.counters = Counters::default();
        self.unanswered = Unanswered::default();
    }

    /// How many questions of the cell have no answer for reasons outside, and why; `None` without
    /// any.
    pub(crate) fn unanswered(&self) -> Option<String> {
        self.unanswered.told()
    }

    /// What they have learnt since the last call.
    pub(crate) fn take_learnt(&mut self) -> Vec<String> {
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
pub(crate) struct Respondent {
    pub(crate) identity: JudgeIdentity,
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
pub(crate) enum TwoPass {
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
pub(crate) struct Asked {
    pub(super) who: Respondent,
    pub(super) questions: Vec<Question>,
}
