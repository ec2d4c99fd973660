//! The executor round stages that are none.

use std::{cell::RefCell, path::Path};

use harness_contract::{
    cell::Cell,
    protocol::{Counters, Init},
    stages::{JudgeRef, PluginRef, PredictParams, ScoreParams, StageParams},
};
use harness_engine::{error::CellError, plugin::Registry};

use super::*;
use crate::{
    asking::for_tests::{keep_reply, question, respondent},
    stage::Inputs,
    worker::for_tests::init,
};

/// What a fake stage does with the numbers of its members.
type Runs<'a> = dyn Fn(&mut Worker, &[u64], Progress<'_>) -> Result<Vec<f64>, CellError> + 'a;

/// A stage whose cells are numbers. It cannot prepare [`UNPREPARED`].
struct Fake<'a, P> {
    number: fn(&P) -> u64,
    shares_pass: bool,
    runs: &'a Runs<'a>,
    /// The members of each run.
    ran: RefCell<Vec<Vec<u64>>>,
}

const UNPREPARED: u64 = 13;

impl<P: StageParams> Stage for Fake<'_, P> {
    type Params = P;
    type Member = u64;
    type Output = f64;

    fn shares_pass(&self) -> bool {
        self.shares_pass
    }

    fn prepare(&self, _: &mut Worker, params: &P) -> Result<u64, CellError> {
        match (self.number)(params) {
            UNPREPARED => Err(CellError::BadInput("cannot be prepared".to_owned())),
            number => Ok(number),
        }
    }

    fn run(
        &self,
        worker: &mut Worker,
        members: &[u64],
        _: &Inputs<'_>,
        progress: Progress<'_>,
    ) -> Result<Vec<f64>, CellError> {
        self.ran.borrow_mut().push(members.to_vec());
        (self.runs)(worker, members, progress)
    }
}

fn sharing<'a>(runs: &'a Runs<'a>) -> Fake<'a, ScoreParams> {
    Fake {
        number: |params| params.seed,
        shares_pass: true,
        runs,
        ran: RefCell::default(),
    }
}

fn asking<'a>(runs: &'a Runs<'a>) -> Fake<'a, PredictParams> {
    Fake {
        number: |params| params.judge.component.name.parse().unwrap(),
        shares_pass: false,
        runs,
        ran: RefCell::default(),
    }
}

fn cells_of<P: StageParams>(numbers: &[u64], params: fn(u64) -> P) -> Vec<Cell> {
    (numbers.iter())
        .map(|number| Cell::new(params(*number), Vec::new()).unwrap())
        .collect()
}

fn scores(numbers: &[u64]) -> Vec<Cell> {
    cells_of(numbers, |seed| ScoreParams {
        seed,
        ..ScoreParams::default()
    })
}

fn predictions(numbers: &[u64]) -> Vec<Cell> {
    cells_of(numbers, |number| PredictParams {
        judge: JudgeRef {
            component: PluginRef {
                kind: "judge".to_owned(),
                name: number.to_string(),
                plugin: String::new(),
                hash: String::new(),
            },
            model: None,
        },
    })
}

fn worker(dir: &Path, reproducible: bool) -> Worker {
    let registry = Registry::load(&[]).unwrap();
    let init = Init {
        reproducible,
        ..init(dir)
    };
    Worker::new(registry, init).unwrap()
}

/// Runs a stage as the executor does; each cell's value, or its message.
fn run<P: StageParams>(
    stage: &Fake<'_, P>,
    worker: &mut Worker,
    cells: &[Cell],
) -> Vec<Result<(f64, Counters), String>> {
    let cells: Vec<_> = cells.iter().map(|cell| (cell, Vec::new())).collect();
    let results = within_memory::run(worker, &cells, |worker, cells| {
        run_stage(stage, worker, cells, &mut |_, _, _| Ok(()))
    });
    (results.into_iter())
        .map(|result| match result {
            Ok((value, counters)) => Ok((value.as_f64().unwrap(), counters)),
            Err(error) => Err(error.to_string()),
        })
        .collect()
}

fn doubled(members: &[u64]) -> Vec<f64> {
    members.iter().map(|member| 2.0 * *member as f64).collect()
}

#[test]
fn the_one_that_fails_a_group_is_found_and_the_others_have_values() {
    let dir = tempfile::tempdir().unwrap();
    let runs = |worker: &mut Worker, members: &[u64], _: Progress<'_>| {
        worker.counters.batches += 1;
        match members.contains(&6) {
            true => Err(CellError::OutOfMemory("too large".to_owned())),
            false => Ok(doubled(members)),
        }
    };
    let stage = sharing(&runs);
    let found = run(
        &stage,
        &mut worker(dir.path(), true),
        &scores(&[1, 2, 3, UNPREPARED, 4, 5, 6, 7, 8]),
    );
    let values: Vec<f64> = found.iter().flatten().map(|(value, _)| *value).collect();
    assert_eq!(values, [2.0, 4.0, 6.0, 8.0, 10.0, 14.0, 16.0]);
    let message = |i: usize| found[i].as_ref().unwrap_err().as_str();
    assert_eq!(
        (message(3), message(6)),
        ("cannot be prepared", "too large")
    );
    let ran = stage.ran.take();
    assert_eq!(
        ran[..3],
        [
            vec![1, 2, 3, 4, 5, 6, 7, 8],
            vec![1, 2, 3, 4],
            vec![5, 6, 7, 8]
        ]
    );
    assert_eq!(ran[3..], [vec![5, 6], vec![5], vec![6], vec![7, 8]]);
    // Shared work is counted once a run, and failed runs count nothing.
    let batches: u64 = found.iter().flatten().map(|(_, own)| own.batches).sum();
    assert_eq!(batches, 3);
    assert_eq!(found[1].as_ref().unwrap().1, Counters::default());
}

#[test]
fn what_is_shared_fails_all_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let runs =
        |_: &mut Worker, _: &[u64], _: Progress<'_>| Err(CellError::BadInput("no text".to_owned()));
    let stage = sharing(&runs);
    let found = run(&stage, &mut worker(dir.path(), false), &scores(&[1, 2, 3]));
    assert!(
        found
            .iter()
            .all(|found| *found == Err("no text".to_owned()))
    );
    assert_eq!(stage.ran.take(), [[1, 2, 3]]);
}

/// Takes memory for 40 rows of a batch.
fn of_40_rows(
    worker: &mut Worker,
    members: &[u64],
    _: Progress<'_>,
) -> Result<Vec<f64>, CellError> {
    let rows = worker.batches.rows(64);
    worker.batches.begin(rows);
    match rows > 40 {
        true => Err(CellError::OutOfMemory("no room".to_owned())),
        false => Ok(doubled(members)),
    }
}

#[test]
fn cells_that_memory_is_too_small_for_are_run_in_half_batches() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = sharing(&of_40_rows);
    stage.shares_pass = false;
    let mut halving = worker(dir.path(), false);
    let found = run(&stage, &mut halving, &scores(&[1, 2]));
    let values: Vec<_> = (found.iter().flatten())
        .map(|(value, own)| (*value, own.halved_cells))
        .collect();
    assert_eq!(values, [(2.0, 1), (4.0, 1)]);
    let notes = halving.notes.take();
    assert_eq!(
        notes,
        ["out of memory in batches of 64 rows; run again in batches of 32"]
    );
    assert_eq!(stage.ran.take(), [[1], [2], [1], [2]]);

    // Rounding is part of what is promised then.
    let found = run(&stage, &mut worker(dir.path(), true), &scores(&[1]));
    assert_eq!(found, [Err("no room".to_owned())]);
}

#[test]
fn a_second_attempt_in_vain_says_what_was_tried() {
    let dir = tempfile::tempdir().unwrap();
    let runs = |worker: &mut Worker, _: &[u64], _: Progress<'_>| {
        worker.batches.begin(worker.batches.rows(8));
        Err(CellError::OutOfMemory("no room".to_owned()))
    };
    let found = run(
        &sharing(&runs),
        &mut worker(dir.path(), false),
        &scores(&[1]),
    );
    let message = found[0].as_ref().unwrap_err();
    assert!(
        message.starts_with("no room; batches of 8 and of 4 rows were tried"),
        "{message}"
    );
}

#[test]
fn cells_that_ask_are_run_once_to_collect_and_once_with_the_answers() {
    let dir = tempfile::tempdir().unwrap();
    let mut worker = worker(dir.path(), false);
    for number in [1, 3] {
        keep_reply(&worker.judges, &question(number), "7");
    }
    let runs = |worker: &mut Worker, members: &[u64], progress: Progress<'_>| {
        let mut who = respondent();
        let answers = worker
            .judges
            .ask(&mut who, &[question(members[0])], progress)?;
        let answer = answers[0]
            .as_ref()
            .map_err(|failure| CellError::Plugin(failure.clone()))?;
        Ok(vec![answer.text.parse().unwrap()])
    };
    let stage = asking(&runs);
    let found = run(&stage, &mut worker, &predictions(&[1, 2, 3]));
    assert_eq!(stage.ran.take(), [[1], [2], [3], [1], [2], [3]]);
    let value = |i: usize| found[i].as_ref().map(|(value, _)| *value);
    assert_eq!((value(0), value(2)), (Ok(7.0), Ok(7.0)));
    let message = value(1).unwrap_err();
    assert!(message.contains("`question-2` got no answer"), "{message}");
    // What is shared is counted with the first that has a value.
    let kept = |i: usize| found[i].as_ref().unwrap().1.judge_kept;
    assert_eq!((kept(0), kept(2)), (2, 0));
}
