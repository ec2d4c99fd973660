use std::fs;

use serde_json::{Value, json};

use super::{Access, Lookup, Provenance, Put, Store, StoreError};
use harness_contract::{
    cell::Cell,
    protocol::{Failure, FailureKind},
    stages::ScoreParams,
};

fn cell(i: u32) -> Cell {
    Cell::new(
        ScoreParams {
            resamples: i,
            ..ScoreParams::default()
        },
        vec![],
    )
    .unwrap()
}

fn failure() -> Failure {
    Failure {
        plugin: Some("bad".into()),
        ..Failure::new(FailureKind::Plugin, "it panicked")
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("out"), Access::Write).unwrap();
    (dir, store)
}

fn put(store: &Store, i: u32, value: f64) -> Put {
    store
        .put_done(&cell(i), &json!({ "value": value }), Provenance::default())
        .unwrap()
}

#[test]
fn results_are_found_again_by_another_process() {
    let (_dir, store) = store();
    assert_eq!(put(&store, 1, 0.1), Put::Stored);
    let again = Store::open(store.dir(), Access::Read).unwrap();
    assert_eq!(
        again.output::<Value>(&cell(1).key).unwrap(),
        json!({"value": 0.1})
    );
    assert_eq!(again.lookup(&cell(2).key).unwrap(), Lookup::Missing);
    assert!(matches!(
        again.output::<Value>(&cell(2).key),
        Err(StoreError::NotDone { .. })
    ));
    let wrong = again.output::<Vec<u8>>(&cell(1).key).unwrap_err();
    assert!(matches!(wrong, StoreError::Output { .. }), "{wrong}");
}

#[test]
fn a_second_result_is_the_same_or_a_conflict() {
    let (_dir, store) = store();
    put(&store, 1, 0.1);
    let other = Provenance {
        device: "cuda:0".into(),
        ..Provenance::default()
    };
    assert_eq!(
        store
            .put_done(&cell(1), &json!({"value": 0.1}), other)
            .unwrap(),
        Put::Same
    );
    let Put::Conflict { path } = put(&store, 1, 0.2) else {
        panic!("no conflict")
    };
    assert!(path.is_file());
    assert_eq!(
        store.output::<Value>(&cell(1).key).unwrap(),
        json!({"value": 0.1})
    );
}

#[test]
fn a_failure_gives_way_to_a_result_and_never_the_reverse() {
    let (_dir, store) = store();
    store
        .put_failed(&cell(1), failure(), Provenance::default())
        .unwrap();
    let Lookup::Failed(record) = store.lookup(&cell(1).key).unwrap() else {
        panic!("not failed")
    };
    assert_eq!(record.failure, Some(failure()));
    assert_eq!(put(&store, 1, 0.1), Put::Stored);
    store
        .put_failed(&cell(1), failure(), Provenance::default())
        .unwrap();
    assert!(store.is_done(&cell(1).key).unwrap());
}

#[test]
fn an_open_cell_has_an_output_and_is_not_done() {
    let (_dir, store) = store();
    let open = |value: f64| {
        let output = json!({ "value": value });
        (store.put_open(&cell(1), output, failure(), Provenance::default())).unwrap();
    };
    open(0.1);
    assert!(!store.is_done(&cell(1).key).unwrap());
    assert!(store.output::<Value>(&cell(1).key).is_err());
    let there = store.available::<Value>(&cell(1).key).unwrap().unwrap();
    assert_eq!(
        (there.output, there.is_whole),
        (json!({"value": 0.1}), false)
    );
    // What there is may change until it is whole, and no longer then.
    open(0.2);
    assert_eq!(put(&store, 1, 0.3), Put::Stored);
    open(0.4);
    let there = store.available::<Value>(&cell(1).key).unwrap().unwrap();
    assert_eq!(
        (there.output, there.is_whole),
        (json!({"value": 0.3}), true)
    );
    assert_eq!(store.available::<Value>(&cell(2).key).unwrap(), None);
}

#[test]
fn the_output_of_an_open_cell_outlasts_a_failure() {
    let (_dir, store) = store();
    let output = json!({"value": 0.1});
    (store.put_open(&cell(1), output.clone(), failure(), Provenance::default())).unwrap();
    let worse = Failure::new(FailureKind::Plugin, "it panicked when run again");
    (store.put_failed(&cell(1), worse.clone(), Provenance::default())).unwrap();
    let Lookup::Failed(record) = store.lookup(&cell(1).key).unwrap() else {
        panic!("not open")
    };
    assert_eq!((record.output, record.failure), (Some(output), Some(worse)));
}

/// Cut at every length, and with a byte changed at every place: never read as a result, never in
/// the way.
#[test]
fn damaged_files_are_quarantined_and_replaced() {
    let (_dir, store) = store();
    put(&store, 1, 0.1);
    let path = store.cell_path(&cell(1).key);
    let whole = fs::read(&path).unwrap();
    let cut = (0..whole.len() - 1)
        .step_by(37)
        .map(|n| whole[..n].to_vec());
    let flipped = (0..whole.len() - 1).step_by(41).map(|n| {
        let mut bytes = whole.clone();
        bytes[n] ^= 1;
        bytes
    });
    for bytes in cut.chain(flipped) {
        fs::write(&path, &bytes).unwrap();
        let read_only = Store::open(store.dir(), Access::Read)
            .unwrap()
            .lookup(&cell(1).key)
            .unwrap();
        assert!(
            matches!(read_only, Lookup::Damaged { .. }),
            "{}",
            String::from_utf8_lossy(&bytes)
        );
        assert!(path.is_file());
        let Lookup::Damaged { path: moved, .. } = store.lookup(&cell(1).key).unwrap() else {
            panic!("not damaged")
        };
        assert!(moved.is_file() && !path.exists());
        assert_eq!(put(&store, 1, 0.1), Put::Stored);
    }
}

#[test]
fn stray_temporary_files_are_not_results() {
    let (_dir, store) = store();
    put(&store, 1, 0.1);
    let folder = store.cell_path(&cell(1).key).parent().unwrap().to_owned();
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        1,
        "no temporary file is left"
    );
    fs::write(folder.join(".abc.tmp"), "half").unwrap();
    assert!(store.is_done(&cell(1).key).unwrap());
}

#[test]
fn stores_that_cannot_be_written_are_refused_before_work() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = Store::open(&path, Access::Write).unwrap_err();
        assert_eq!(error.exit_code(), 110, "{error}");
    }
    assert_eq!(
        Store::open(&dir.path().join("none"), Access::Read)
            .unwrap_err()
            .exit_code(),
        20
    );
}

#[test]
fn a_newer_store_is_read_and_not_written() {
    let (_dir, store) = store();
    put(&store, 1, 0.1);
    fs::write(store.dir().join("store.json"), "{\"schema\":2}").unwrap();
    let error = Store::open(store.dir(), Access::Write).unwrap_err();
    assert_eq!(
        (error.exit_code(), error.to_string().contains("schema 2")),
        (3, true)
    );
    assert!(
        Store::open(store.dir(), Access::Read)
            .unwrap()
            .is_done(&cell(1).key)
            .unwrap()
    );
}

#[test]
fn two_writers_of_one_cell_leave_one_result() {
    let (_dir, store) = store();
    let outcomes: Vec<Put> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| put(&store, 7, 0.5)))
            .collect();
        writers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    assert_eq!(
        outcomes.iter().filter(|o| **o == Put::Stored).count(),
        1,
        "{outcomes:?}"
    );
    assert!(
        outcomes
            .iter()
            .all(|o| matches!(o, Put::Stored | Put::Same))
    );
}

/// Results used to be readable by their owner alone, as temporary files are.
#[cfg(unix)]
#[test]
fn results_have_the_mode_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (ours, any) = (dir.path().join("ours"), dir.path().join("any"));
    harness_contract::files::replace_file(&ours, b"x").unwrap();
    std::fs::write(&any, b"x").unwrap();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&any));
}
