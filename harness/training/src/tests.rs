//! The stream and the grid with a recorder in place of the trainers.

use std::{collections::BTreeMap, fs, path::Path};

use harness_core::{policy::Policy, rng::Stream};
use harness_engine::{
    data::{TokenBatch, TokenRow},
    error::CellError,
    plugin::MetricValue,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use crate::{
    checkpoint::Checkpoints,
    grid::{Grid, Learner},
    passes::{masked_positions, positions},
    pool::Keep,
    settings::Settings,
};

/// Remembers the batches it saw, as their first column.
#[derive(Clone, Debug, PartialEq)]
struct Recorder {
    scale: f64,
    seen: Vec<Vec<i64>>,
}

impl Learner for Recorder {
    fn step(&mut self, x: &Tensor) -> Result<Vec<MetricValue>, CellError> {
        let ids = x.select(1, 0).round().to_kind(Kind::Int64);
        self.seen.push(Vec::try_from(ids).unwrap());
        let value = |name: &str, v| MetricValue {
            name: name.into(),
            value: Some(v),
            std_err: None,
            n: 1,
        };
        let n = self.seen.len() as f64;
        Ok(vec![
            value("loss", n),
            value("ev", 1.0 / n),
            value("l0", 2.0),
            value("n_dead", 3.0),
        ])
    }

    fn save(&mut self, _: &Path, _: &str, _: Kind, _: &Value) -> Result<(), CellError> {
        Ok(())
    }

    fn save_state(&mut self, path: &Path) -> Result<(), CellError> {
        fs::write(path, json!(self.seen).to_string()).unwrap();
        Ok(())
    }

    fn load_state(&mut self, path: &Path) -> Result<(), CellError> {
        self.seen = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        Ok(())
    }
}

pub(crate) fn settings(steps: u64, pool_steps: u64, batch: usize) -> Settings {
    Settings {
        policies: vec![Policy::Mask, Policy::Unmask],
        layers: vec![1, 3],
        k: vec![4, 8, 16],
        batch,
        steps,
        pool_steps,
        checkpoint_every: 5,
        log_every: 7,
        seed: 11,
        t_min: 0.05,
        t_max: 0.5,
    }
}

/// Rows of a pass: between 0 and 12 of them, numbered over the whole stream; layer 3 has them
/// negated.
fn pass_rows(policy: Policy, pass: u64) -> Vec<Tensor> {
    let sizes = Stream::new(5, policy.name());
    let start: u64 = (0..pass).map(|p| sizes.below_at(p, 13)).sum();
    let n = sizes.below_at(pass, 13);
    let ids: Vec<f32> = (start..start + n).map(|i| (i + 1) as f32).collect();
    let rows = Tensor::from_slice(&ids).view([-1, 1]).repeat([1, 2]);
    vec![rows.shallow_clone(), -rows]
}

fn make(_: usize, _: usize, scale: f64) -> Result<Recorder, CellError> {
    Ok(Recorder {
        scale,
        seen: Vec::new(),
    })
}

/// Runs all policies until they are done or `stop_after` steps in all have been made.
fn run(settings: &Settings, out: &Path, stop_after: u64) -> BTreeMap<Policy, Grid<Recorder>> {
    run_with(settings, &Keep::Memory, out, stop_after)
}

fn run_with(
    settings: &Settings,
    keep: &Keep,
    out: &Path,
    stop_after: u64,
) -> BTreeMap<Policy, Grid<Recorder>> {
    let mut fingerprint = Map::new();
    fingerprint.insert("seed".into(), json!(settings.seed));
    let mut checkpoints = Checkpoints::open(out, fingerprint).unwrap();
    let mut grids = BTreeMap::new();
    for policy in &settings.policies {
        let grid = match checkpoints.saved(*policy).cloned() {
            Some(saved) => {
                let dir = checkpoints.folder(*policy, &saved.progress);
                Grid::resume(
                    *policy,
                    settings,
                    keep.clone(),
                    saved.progress,
                    &dir,
                    &mut make,
                )
                .unwrap()
            }
            None => Grid::new(*policy, settings, keep.clone()),
        };
        grids.insert(*policy, grid);
    }
    let mut made = 0;
    for pass in 0..100_000 {
        for grid in grids.values_mut() {
            if !grid.wants(pass) {
                continue;
            }
            let fed = grid.feed(
                pass,
                &pass_rows(grid.policy, pass),
                &mut make,
                &mut |grid| {
                    made += 1;
                    if made > stop_after {
                        return Err(CellError::Stopped);
                    }
                    if grid
                        .progress
                        .steps
                        .is_multiple_of(settings.checkpoint_every)
                    {
                        checkpoints.save(grid)?;
                    }
                    Ok(())
                },
            );
            if fed.is_err() {
                return grids;
            }
        }
        if grids.values().all(Grid::is_done) {
            return grids;
        }
    }
    panic!("not done after 100000 passes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn killed_anywhere_it_ends_the_same(
        steps in 1u64..60, pool in 1u64..9, batch in 2usize..6, kills in proptest::collection::vec(0u64..60, 0..4)
    ) {
        let settings = settings(steps, pool.min(steps), batch);
        let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let expected = run(&settings, whole.path(), u64::MAX);
        for after in kills {
            run(&settings, broken.path(), after);
        }
        let found = run(&settings, broken.path(), u64::MAX);
        for (policy, grid) in &expected {
            prop_assert_eq!(&grid.trainers, &found[policy].trainers);
            prop_assert_eq!(&grid.progress, &found[policy].progress);
        }
    }
}

#[test]
fn rows_in_files_give_the_same_bits() {
    let settings = settings(40, 7, 5);
    let out: Vec<tempfile::TempDir> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let pools = tempfile::tempdir().unwrap();
    let files = Keep::Files(pools.path().to_path_buf());
    let memory = run(&settings, out[0].path(), u64::MAX);
    let filed = run_with(&settings, &files, out[1].path(), u64::MAX);
    // A run that was killed in one way may go on in the other.
    run(&settings, out[2].path(), 33);
    let mixed = run_with(&settings, &files, out[2].path(), u64::MAX);
    for (policy, grid) in &memory {
        for other in [&filed[policy], &mixed[policy]] {
            assert_eq!(grid.trainers, other.trainers);
            assert_eq!(grid.progress, other.progress);
        }
        assert_eq!(
            grid.trainers[0][0].scale.to_bits(),
            filed[policy].trainers[0][0].scale.to_bits()
        );
    }
    let left = fs::read_dir(pools.path()).unwrap().count();
    assert_eq!(left, 0, "the files have no names");
}

#[test]
fn bf16_rows_come_back_from_files_as_they_were() {
    use super::pool::{Place, Pool};
    let pools = tempfile::tempdir().unwrap();
    let start = Place { pass: 0, row: 0 };
    let rows = (Tensor::arange(40, (Kind::Float, tch::Device::Cpu)) * 0.37)
        .view([10, 4])
        .to_kind(Kind::BFloat16);
    let pick = |keep: Keep| {
        let mut pool = Pool::new(8, start, keep);
        let at = pool.add(&[rows.narrow(0, 0, 3)], start).unwrap();
        assert_eq!((at.row, pool.have()), (3, 3));
        let at = pool.add(&[rows.shallow_clone()], Place { pass: 1, row: 2 });
        assert_eq!((at.unwrap().row, pool.is_full()), (7, true));
        let picked = pool.pick(0, &[7, 0, 3, 3]).unwrap();
        assert_eq!(picked.kind(), Kind::Float);
        (
            Vec::<f32>::try_from(picked.flatten(0, -1)).unwrap(),
            pool.scale(0).unwrap(),
        )
    };
    let expected = rows
        .index_select(0, &Tensor::from_slice(&[6i64, 0, 2, 2]))
        .to_kind(Kind::Float);
    let memory = pick(Keep::Memory);
    assert_eq!(
        memory.0,
        Vec::<f32>::try_from(expected.flatten(0, -1)).unwrap()
    );
    assert_eq!(memory, pick(Keep::Files(pools.path().to_path_buf())));
}

#[test]
fn every_row_is_used_once_and_all_trainers_see_the_same() {
    let settings = settings(40, 8, 5);
    let out = tempfile::tempdir().unwrap();
    let grids = run(&settings, out.path(), u64::MAX);
    for grid in grids.values() {
        let first = &grid.trainers[0][0];
        assert_eq!(first.seen.len(), 40);
        let mut rows: Vec<i64> = first.seen.concat();
        assert!(!rows.is_sorted(), "shuffled");
        // A pool is shuffled within itself: the first 8 batches hold the first 40 rows.
        let mut pool: Vec<i64> = first.seen[..8].concat();
        pool.sort_unstable();
        assert_eq!(pool, (1..=40).collect::<Vec<i64>>());
        rows.sort_unstable();
        assert_eq!(rows, (1..=200).collect::<Vec<i64>>());
        for (layer, row) in grid.trainers.iter().enumerate() {
            for trainer in row {
                let sign = if layer == 0 { 1 } else { -1 };
                let seen: Vec<i64> = trainer.seen.concat().iter().map(|v| v * sign).collect();
                assert_eq!(seen, first.seen.concat());
                assert!(trainer.scale > 0.0);
            }
        }
        let mean = (1..=40).map(|i| f64::from(i * i) * 2.0).sum::<f64>() / 40.0;
        assert!((grid.progress.scales[0] - mean.sqrt()).abs() < 1e-6);
    }
    assert_ne!(
        grids[&Policy::Mask].trainers[0][0].seen,
        grids[&Policy::Unmask].trainers[0][0].seen
    );
}

#[test]
fn a_run_takes_exactly_the_rows_it_is_trained_on() {
    // Two whole pools, and three steps of a third.
    let settings = settings(11, 4, 5);
    let out = tempfile::tempdir().unwrap();
    let grids = run(&settings, out.path(), u64::MAX);
    for grid in grids.values() {
        let mut rows: Vec<i64> = grid.trainers[0][0].seen.concat();
        assert!(!rows[40..].is_sorted(), "the last pool is shuffled too");
        rows.sort_unstable();
        assert_eq!(rows, (1..=55).collect::<Vec<i64>>());
    }
    let rows: Vec<usize> = (0..11).map(|steps| settings.pool_rows_at(steps)).collect();
    assert_eq!(rows, [20, 20, 20, 20, 20, 20, 20, 20, 15, 15, 15]);
}

#[test]
fn the_report_is_over_the_last_hundred_steps() {
    let out = tempfile::tempdir().unwrap();
    let grids = run(&settings(250, 7, 2), out.path(), u64::MAX);
    let tail = grids[&Policy::Mask].progress.tails[0][0];
    assert_eq!(
        (tail.steps, tail.loss),
        (100, (151..=250).sum::<i32>().into())
    );
}

#[test]
fn one_checkpoint_of_each_policy_is_kept() {
    let settings = settings(40, 8, 5);
    let out = tempfile::tempdir().unwrap();
    run(&settings, out.path(), 57);
    let names: Vec<String> = fs::read_dir(out.path().join(".train"))
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let mut other = Map::new();
    other.insert("seed".into(), json!(12));
    let error = Checkpoints::open(out.path(), other)
        .unwrap_err()
        .to_string();
    assert!(error.contains("seed") && error.contains("--out"), "{error}");
}

fn batch() -> TokenBatch {
    let row = |item, n: u32| TokenRow {
        item,
        ids: (0..n).collect(),
        documents: 1,
    };
    TokenBatch::collate(&[row(0, 400), row(1, 250), row(2, 400)], 0)
}

#[test]
fn masks_spare_the_first_token_and_padding_and_follow_the_rate() {
    let (batch, settings) = (batch(), settings(1, 1, 2));
    let mut rates = Vec::new();
    for pass in 0..200 {
        let masked = masked_positions(&batch, &settings, pass);
        for row in 0..3 {
            assert!(!masked[row * 400]);
        }
        assert!(masked[400 + 250..800].iter().all(|m| !m), "padding");
        rates.push(masked.iter().filter(|m| **m).count() as f64 / 1047.0);
        let (mask, unmask) = (
            positions(&batch, &masked, Policy::Mask),
            positions(&batch, &masked, Policy::Unmask),
        );
        assert_eq!(mask.len() + unmask.len(), 1050);
        assert!(unmask.contains(&0), "the first token is visible");
        assert_eq!(
            positions(&batch, &vec![false; 1200], Policy::Clean).len(),
            1050
        );
    }
    assert!(rates.iter().all(|r| (0.02..0.56).contains(r)));
    let mean = rates.iter().sum::<f64>() / 200.0;
    assert!((mean - 0.275).abs() < 0.03, "{mean}");
    assert_eq!(
        masked_positions(&batch, &settings, 7),
        masked_positions(&batch, &settings, 7)
    );
}
